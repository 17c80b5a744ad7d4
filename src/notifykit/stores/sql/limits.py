"""Circuits and token buckets: written once for every database.

Each function works on a SQLAlchemy connection inside a transaction that its caller owns.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, select, text, tuple_, update

from ...errors import StaleWriteError
from ...models.circuit import OpenCircuit
from ...ports import TokenRequest
from . import schema as s
from . import transitions
from .readable import fetch
from .records import insert_new_rows, save_row
from .rows import Row, instant, micros

#: Buckets that are asked for by one statement.
_BUCKETS = 500
_log = logging.getLogger("notifykit")

#: Every open circuit; read each second by every process, mostly in vain.
OPEN_CIRCUITS = "SELECT key, tenant, since, probe_at, probes, reason, version FROM notifykit_circuits"


def circuits(connection: Connection) -> list[OpenCircuit]:
    """Return every open circuit."""
    return readable(fetch(connection, text(OPEN_CIRCUITS)))


def save(connection: Connection, tenant: str, key: str, circuit: OpenCircuit) -> int:
    """Insert or replace a circuit; return its new version."""
    values: dict[str, Any] = {
        "key": key,
        "tenant": tenant,
        "since": micros(circuit.since),
        "probe_at": micros(circuit.probe_at),
        "probes": circuit.probes,
        "reason": circuit.reason,
        "version": circuit.version,
    }
    if circuit.version == 0 and tenant and not _keep_endpoint(connection, tenant, key):
        raise StaleWriteError("endpoint", key)
    return save_row(connection, s.circuits, values, "circuit")


def _keep_endpoint(connection: Connection, tenant: str, endpoint_id: str) -> bool:
    """Return whether there is such an endpoint, which then stays until the end of the transaction."""
    its = (s.endpoints.c.tenant == tenant, s.endpoints.c.id == endpoint_id)
    found = select(s.endpoints.c.id).where(*its).with_for_update(read=True, key_share=True)
    return connection.execute(found).first() is not None


def close(connection: Connection, tenant: str, key: str, now: datetime) -> OpenCircuit | None:
    """Remove a circuit and wake what it holds back; return it, if there was one."""
    where = (s.circuits.c.key == key, s.circuits.c.tenant == tenant)
    row = connection.execute(delete(s.circuits).where(*where).returning(s.circuits)).mappings().first()
    if row is None:
        return None
    transitions.wake(connection, and_(s.queue.c.tenant == tenant, s.queue.c.subscriber_id == key), now)
    return _circuit_from(row)


def acquire(connection: Connection, requests: Sequence[TokenRequest], now: datetime) -> list[int]:
    """Take tokens out of buckets."""
    acquired = [0] * len(requests)
    # In one order, so that two processes never wait for each other; of one bucket the first request comes first.
    ordered = sorted(range(len(requests)), key=lambda at: requests[at][:2])
    for first in range(0, len(ordered), _BUCKETS):
        page = ordered[first : first + _BUCKETS]
        for at, got in zip(page, _acquire(connection, [requests[at] for at in page], micros(now)), strict=True):
            acquired[at] = got
    return acquired


def _acquire(connection: Connection, requests: Sequence[TokenRequest], at: int) -> list[int]:
    full = {
        (request.tenant, request.endpoint_id): {
            "tenant": request.tenant,
            "endpoint_id": request.endpoint_id,
            "tokens": float(request.limit.burst),
            "filled_at": at,
        }
        for request in requests
    }
    insert_new_rows(connection, s.buckets, list(full.values()))
    bucket = s.buckets.c
    its = tuple_(bucket.tenant, bucket.endpoint_id).in_(list(full))
    query = select(s.buckets).where(its).order_by(bucket.tenant, bucket.endpoint_id).with_for_update()
    buckets = {(row.tenant, row.endpoint_id): (row.tokens, row.filled_at) for row in connection.execute(query)}
    acquired = []
    for tenant, endpoint_id, wanted, limit in requests:
        left, filled_at = buckets[tenant, endpoint_id]
        # A clock that is behind the one that filled last adds nothing and takes nothing back.
        tokens = min(float(limit.burst), left + max(at - filled_at, 0) / 1e6 * limit.per_second)
        got = min(wanted, int(tokens))
        acquired.append(got)
        buckets[tenant, endpoint_id] = tokens - got, max(at, filled_at)
    changed = [
        {"its_tenant": tenant, "its_id": id_, "tokens": tokens, "filled_at": filled_at}
        for (tenant, id_), (tokens, filled_at) in buckets.items()
    ]
    one = and_(bucket.tenant == bindparam("its_tenant"), bucket.endpoint_id == bindparam("its_id"))
    connection.execute(update(s.buckets).where(one), changed)
    return acquired


def readable(rows: Iterable[Row]) -> list[OpenCircuit]:
    """Return the circuits of rows without those that are damaged, because every process reads all of them."""
    found = []
    for row in rows:
        try:
            found.append(_circuit_from(row))
        except (ValueError, TypeError, ArithmeticError) as error:
            _log.error("circuit.unreadable id=%s error=%s", row["key"], type(error).__name__)
    return found


def _circuit_from(row: Row) -> OpenCircuit:
    return OpenCircuit(
        key=row["key"],
        tenant=row["tenant"],
        since=instant(row["since"]),
        probe_at=instant(row["probe_at"]),
        probes=row["probes"],
        reason=row["reason"],
        version=row["version"],
    )
