"""Failing endpoints and token buckets: written once for every database.

Each function works on a SQLAlchemy connection inside a transaction that its caller owns.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select, text, update

from ...errors import StaleWriteError
from ...models.circuit import OpenCircuit
from ...models.endpoint import RateLimit
from . import schema as s
from . import transitions
from .config import insert_new
from .config import save as save_record
from .readable import fetch
from .rows import Row, instant, micros

_log = logging.getLogger("notifykit")

#: Every failing endpoint; asked for each second by every process, mostly in vain.
FAILING = "SELECT endpoint_id, tenant, since, probe_at, probes, reason, version FROM notifykit_circuits"


def failing(connection: Connection) -> list[OpenCircuit]:
    """Return every failing endpoint."""
    return readable(fetch(connection, text(FAILING)))


def save(connection: Connection, circuit: OpenCircuit) -> int:
    """Insert or replace a circuit; return its new version."""
    values: dict[str, Any] = {
        "endpoint_id": circuit.endpoint_id,
        "tenant": circuit.tenant,
        "since": micros(circuit.since),
        "probe_at": micros(circuit.probe_at),
        "probes": circuit.probes,
        "reason": circuit.reason,
        "version": circuit.version,
    }
    if circuit.version == 0 and not _keep_endpoint(connection, circuit.tenant, circuit.endpoint_id):
        raise StaleWriteError("endpoint", circuit.endpoint_id)
    return save_record(connection, s.circuits, values, "circuit")


def _keep_endpoint(connection: Connection, tenant: str, endpoint_id: str) -> bool:
    """Tell whether there is such an endpoint, which then stays until the end of the transaction."""
    its = (s.endpoints.c.tenant == tenant, s.endpoints.c.id == endpoint_id)
    found = select(s.endpoints.c.id).where(*its).with_for_update(read=True, key_share=True)
    return connection.execute(found).first() is not None


def remove(connection: Connection, tenant: str, endpoint_id: str, now: datetime) -> bool:
    """Note a recovery and wake what is parked."""
    where = (s.circuits.c.endpoint_id == endpoint_id, s.circuits.c.tenant == tenant)
    if connection.execute(delete(s.circuits).where(*where)).rowcount == 0:
        return False
    transitions.wake(connection, tenant, endpoint_id, now)
    return True


def acquire(connection: Connection, tenant: str, endpoint_id: str, wanted: int, limit: RateLimit, now: datetime) -> int:
    """Take tokens out of a bucket."""
    at = micros(now)
    full = {"endpoint_id": endpoint_id, "tenant": tenant, "tokens": float(limit.burst), "filled_at": at}
    insert_new(connection, s.buckets, full)
    bucket = s.buckets.c
    its = (bucket.tenant == tenant, bucket.endpoint_id == endpoint_id)
    row = connection.execute(select(bucket.tokens, bucket.filled_at).where(*its).with_for_update()).one()
    # A clock that is behind the one that filled last adds nothing and takes nothing back.
    passed = max(at - row.filled_at, 0) / 1e6
    tokens = min(float(limit.burst), row.tokens + passed * limit.per_second)
    acquired = min(wanted, int(tokens))
    connection.execute(update(s.buckets).where(*its).values(tokens=tokens - acquired, filled_at=max(at, row.filled_at)))
    return acquired


def readable(rows: Iterable[Row]) -> list[OpenCircuit]:
    """Return the circuits of rows without those that cannot be read, because every process reads all of them."""
    found = []
    for row in rows:
        try:
            found.append(circuit_from(row))
        except (ValueError, TypeError, ArithmeticError) as error:
            _log.error("circuit.unreadable id=%s error=%s", row["endpoint_id"], type(error).__name__)
    return found


def circuit_from(row: Row) -> OpenCircuit:
    """Return a circuit from a row of its table."""
    return OpenCircuit(
        endpoint_id=row["endpoint_id"],
        tenant=row["tenant"],
        since=instant(row["since"]),
        probe_at=instant(row["probe_at"]),
        probes=row["probes"],
        reason=row["reason"],
        version=row["version"],
    )
