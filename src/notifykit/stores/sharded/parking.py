"""A tenant's open work while the tenant is between two shards: out of the queue of one, not yet in that of the other.

No process can take, claim or record what is parked, also one that has not heard of the move.
Each function works on a SQLAlchemy connection inside a transaction that its caller owns.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, delete, insert, select, update

from ..sql import schema as s

PAGE = 500
_VERSION = "version"
#: So far below zero that no change of a straggler makes it positive.
_LEFT = -(1 << 40)
_WORK: dict[str, tuple[Table, str]] = {
    "outbox": (s.outbox, "event_id"),
    "queue": (s.queue, "id"),
    "circuits": (s.circuits, "key"),
}


class Parked(NamedTuple):
    """A row that is parked."""

    kind: str
    row: dict[str, Any]


def park(connection: Connection, tenant: str) -> int:
    """Take some rows of open work out of the queue, and keep them; return how many."""
    _leave(connection, tenant)
    for kind, (table, id_) in _WORK.items():
        query = select(table).where(table.c.tenant == tenant).order_by(table.c[id_].desc()).limit(PAGE)
        rows = [dict(row) for row in connection.execute(query.with_for_update()).mappings()]
        if not rows:
            continue
        kept = [{"tenant": tenant, "kind": kind, "id": row[id_], "row": json.dumps(row)} for row in rows]
        ids = [row[id_] for row in rows]
        connection.execute(delete(s.parked).where(_named(s.parked, tenant, "id", ids), s.parked.c.kind == kind))
        connection.execute(insert(s.parked), kept)
        connection.execute(delete(table).where(_named(table, tenant, id_, ids)))
        return len(rows)
    return 0


def parked(connection: Connection, tenant: str) -> list[Parked]:
    """Return everything that is parked."""
    rows = connection.execute(select(s.parked).where(s.parked.c.tenant == tenant)).mappings()
    return [Parked(row["kind"], json.loads(row["row"])) for row in rows]


def unpark(connection: Connection, tenant: str, rows: list[Parked]) -> None:
    """Put parked rows into the queue of a database, with a version that no process has seen."""
    for kind, (table, _) in _WORK.items():
        its = [each.row for each in rows if each.kind == kind]
        for at in range(0, len(its), PAGE):
            connection.execute(insert(table), its[at : at + PAGE])
    (version,) = (each.row[_VERSION] for each in rows if each.kind == _VERSION)
    connection.execute(delete(s.tenants).where(s.tenants.c.tenant == tenant))
    connection.execute(insert(s.tenants), [{"tenant": tenant, "version": version + 1}])


def _leave(connection: Connection, tenant: str) -> None:
    """Keep the tenant's version, and mark the tenant as one that has left."""
    version = connection.scalar(select(s.tenants.c.version).where(s.tenants.c.tenant == tenant).with_for_update())
    if version is not None and version < 0:
        return
    row = json.dumps({_VERSION: version or 0})
    connection.execute(delete(s.parked).where(_named(s.parked, tenant, "id", [tenant]), s.parked.c.kind == _VERSION))
    connection.execute(insert(s.parked), [{"tenant": tenant, "kind": _VERSION, "id": tenant, "row": row}])
    # A version of a tenant that has left is negative: each event that is taken comes with it, and so says it.
    left = {"version": _LEFT - (version or 0)}
    if version is None:
        connection.execute(insert(s.tenants), [{"tenant": tenant, **left}])
    else:
        connection.execute(update(s.tenants).where(s.tenants.c.tenant == tenant).values(**left))


def _named(table: Table, tenant: str, column: str, ids: list[Any]) -> Any:
    return (table.c.tenant == tenant) & table.c[column].in_(ids)
