"""Failing endpoints and token buckets: written once for every database.

Each function works on a SQLAlchemy connection inside a transaction that its caller owns.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, select, update

from ...errors import StaleWriteError
from ...models.endpoint import RateLimit
from ...models.health import Ailment
from . import moves
from . import schema as s
from .config import insert_new
from .config import save as save_record
from .rows import instant, micros

_log = logging.getLogger("notifykit")

#: Every failing endpoint; asked for each second by every process, mostly in vain.
FAILING = "SELECT endpoint_id, tenant, since, probe_at, probes, reason, version FROM notifykit_ailments"


def failing(connection: Connection) -> list[Ailment]:
    """Return every failing endpoint."""
    return readable(connection.exec_driver_sql(FAILING).mappings())


def save(connection: Connection, ailment: Ailment) -> int:
    """Insert or replace an ailment; return its new version."""
    values: dict[str, Any] = {
        "endpoint_id": ailment.endpoint_id,
        "tenant": ailment.tenant,
        "since": micros(ailment.since),
        "probe_at": micros(ailment.probe_at),
        "probes": ailment.probes,
        "reason": ailment.reason,
        "version": ailment.version,
    }
    if ailment.version == 0 and not _keep_endpoint(connection, ailment.tenant, ailment.endpoint_id):
        raise StaleWriteError("endpoint", ailment.endpoint_id)
    return save_record(connection, s.ailments, values, "ailment")


def _keep_endpoint(connection: Connection, tenant: str, endpoint_id: str) -> bool:
    """Tell whether there is such an endpoint, which then stays until the end of the transaction."""
    its = (s.endpoints.c.tenant == tenant, s.endpoints.c.id == endpoint_id)
    found = select(s.endpoints.c.id).where(*its).with_for_update(read=True, key_share=True)
    return connection.execute(found).first() is not None


def remove(connection: Connection, tenant: str, endpoint_id: str, now: datetime) -> bool:
    """Note a recovery and wake what is parked."""
    where = (s.ailments.c.endpoint_id == endpoint_id, s.ailments.c.tenant == tenant)
    if connection.execute(delete(s.ailments).where(*where)).rowcount == 0:
        return False
    moves.wake(connection, tenant, endpoint_id, now)
    return True


def draw(connection: Connection, tenant: str, endpoint_id: str, wanted: int, limit: RateLimit, now: datetime) -> int:
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
    granted = min(wanted, int(tokens))
    connection.execute(update(s.buckets).where(*its).values(tokens=tokens - granted, filled_at=max(at, row.filled_at)))
    return granted


def readable(rows: Iterable[RowMapping]) -> list[Ailment]:
    """Return the ailments of rows; one that cannot be read is left out: every process asks for all of them."""
    found = []
    for row in rows:
        try:
            found.append(ailment_from(row))
        except (ValueError, TypeError, ArithmeticError) as error:
            _log.error("ailment.unreadable id=%s error=%s", row["endpoint_id"], type(error).__name__)
    return found


def ailment_from(row: RowMapping) -> Ailment:
    """Return an ailment from a row of its table."""
    return Ailment(
        endpoint_id=row["endpoint_id"],
        tenant=row["tenant"],
        since=instant(row["since"]),
        probe_at=instant(row["probe_at"]),
        probes=row["probes"],
        reason=row["reason"],
        version=row["version"],
    )
