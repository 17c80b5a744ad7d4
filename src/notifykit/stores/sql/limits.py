"""Circuits and token buckets: written once for every database.

Each function works on a SQLAlchemy connection inside a transaction that its caller owns.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby, islice
from typing import Any

from sqlalchemy import Connection, and_, bindparam, select, text, update

from ...errors import StaleWriteError
from ...models.circuit import OpenCircuit
from ...ports import TokenRequest
from ..encoding.rows import Row, instant, micros
from . import schema as s
from . import transitions
from .fetching import fetch
from .records import save_row
from .writing import delete_returning, insert_new_rows

#: Buckets that are asked for by one statement.
_BUCKETS = 500
_log = logging.getLogger("notifykit")

#: Every open circuit; read each second by every process, mostly in vain.
OPEN_CIRCUITS = "SELECT c.key, c.tenant, c.since, c.probe_at, c.probes, c.reason, c.version FROM notifykit_circuits c"


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
    its = and_(s.circuits.c.key == key, s.circuits.c.tenant == tenant)
    rows = delete_returning(connection, s.circuits, its)
    if not rows:
        return None
    transitions.wake(connection, and_(s.queue.c.tenant == tenant, s.queue.c.subscriber_id == key), now)
    return _circuit_from(rows[0])


def acquire(connection: Connection, requests: Sequence[TokenRequest], now: datetime) -> list[int]:
    """Take tokens out of buckets."""
    acquired = [0] * len(requests)
    # In one order, so that two processes never wait for each other; of one bucket the first request comes first.
    ordered = sorted(range(len(requests)), key=lambda at: requests[at][:2])
    for tenant, its in groupby(ordered, key=lambda at: requests[at].tenant):
        while page := list(islice(its, _BUCKETS)):
            got = _acquire(connection, tenant, [requests[at] for at in page], micros(now))
            for at, tokens in zip(page, got, strict=True):
                acquired[at] = tokens
    return acquired


def _acquire(connection: Connection, tenant: str, requests: Sequence[TokenRequest], at: int) -> list[int]:
    full = {request.endpoint_id: float(request.limit.burst) for request in requests}
    new = [{"tenant": tenant, "endpoint_id": id_, "tokens": tokens, "filled_at": at} for id_, tokens in full.items()]
    insert_new_rows(connection, s.buckets, new)
    bucket = s.buckets.c
    its = select(s.buckets).where(bucket.tenant == tenant, bucket.endpoint_id.in_(list(full)))
    rows = connection.execute(its.order_by(bucket.endpoint_id).with_for_update())
    buckets = {row.endpoint_id: (row.tokens, row.filled_at) for row in rows}
    acquired = []
    for _, endpoint_id, wanted, limit in requests:
        left, filled_at = buckets.get(endpoint_id, (full[endpoint_id], at))  # it may have been purged just now
        # A clock that is behind the one that filled last adds nothing and takes nothing back.
        tokens = min(float(limit.burst), left + max(at - filled_at, 0) / 1e6 * limit.per_second)
        got = min(wanted, int(tokens))
        acquired.append(got)
        buckets[endpoint_id] = tokens - got, max(at, filled_at)
    changed = [{"its": id_, "tokens": tokens, "filled_at": at} for id_, (tokens, at) in buckets.items()]
    one = and_(bucket.tenant == tenant, bucket.endpoint_id == bindparam("its"))
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
