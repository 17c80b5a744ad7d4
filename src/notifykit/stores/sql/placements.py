"""Rows that say where tenants are, in each of the databases that they are spread over.

Each function works on a SQLAlchemy connection inside a transaction that its caller owns.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from . import schema as s

#: The row that says which shard a database is has this in place of a tenant.
SELF = ""
#: The row that says that tenants are dealt to other shards than at first has this: no tenant can be named so.  Its
#: ``shard`` and ``source`` are the new and the old ring, as JSON.
RING = "*"
#: In the order in which a move goes through them.
ARRIVING, COPYING, HELD, MOVED = "arriving", "copying", "held", "moved"
STATES = (ARRIVING, COPYING, HELD, MOVED)


class Placement(NamedTuple):
    """Where a tenant is.

    Attributes:
        shard: Where it is, or is being moved to.
        source: Where it was before.
        generation: How often it has been moved; 0 if a ring that changed has left it where it was.
        state: ``copying``: it is still at its source, which says so.  ``arriving``: the same, as its target says it.
            ``held``: it is between the two.  ``moved``: it is at ``shard``.
        lease_until: Until when its mover is known to be alive, in microseconds.
    """

    tenant: str
    shard: str
    source: str
    generation: int
    state: str
    lease_until: int | None = None

    @property
    def rank(self) -> tuple[int, int]:
        """Of several rows of a tenant the one with the highest rank counts."""
        return self.generation, STATES.index(self.state)


def identity(connection: Connection) -> tuple[str, list[str]] | None:
    """Return which shard this database is, and the names of those that tenants are dealt to."""
    row = connection.execute(select(s.placements).where(s.placements.c.tenant == SELF)).mappings().first()
    return None if row is None else (row["shard"], json.loads(row["ring"]))


def is_unused(connection: Connection) -> bool:
    """Return whether the database has no tenant yet."""
    tables = (s.tenants, s.events, s.recipients, s.inboxes)
    return all(connection.execute(select(table.c.tenant).limit(1)).first() is None for table in tables)


def identify(connection: Connection, name: str, ring: Sequence[str]) -> None:
    """Write which shard this database is."""
    values = {"tenant": SELF, "shard": name, "source": name, "generation": 0, "state": MOVED, "seq": 0}
    connection.execute(insert(s.placements), [{**values, "ring": json.dumps(list(ring))}])


def changed_since(connection: Connection, seen: int) -> tuple[list[Placement], int]:
    """Return the placements that were written after the change ``seen``, and the number of the last change."""
    its = s.placements.c
    rows = connection.execute(select(s.placements).where(its.seq > seen, its.tenant != SELF)).mappings().all()
    return [_placement(row) for row in rows], max((row["seq"] for row in rows), default=seen)


def find(connection: Connection, tenant: str, *, lock: bool = False) -> Placement | None:
    """Return what this database says of a tenant; with ``lock`` it stays so until the end of the transaction."""
    query = select(s.placements).where(s.placements.c.tenant == tenant)
    row = connection.execute(query.with_for_update() if lock else query).mappings().first()
    return None if row is None else _placement(row)


def put(connection: Connection, placement: Placement) -> None:
    """Write a placement, unless the database knows a later one.

    The changes of one database are serialised by a row, so that a reader that has read up to a number has missed none.
    """
    its = s.placements.c
    seq = connection.execute(
        update(s.placements).where(its.tenant == SELF).values(seq=its.seq + 1).returning(its.seq)
    ).scalar_one()
    known = find(connection, placement.tenant)
    if known is not None and known.rank > placement.rank:
        return
    connection.execute(delete(s.placements).where(its.tenant == placement.tenant))
    connection.execute(insert(s.placements), [{**placement._asdict(), "seq": seq}])


def pin(connection: Connection, pins: Sequence[Placement]) -> None:
    """Write placements of tenants of which the database knows none."""
    its = s.placements.c
    raised = update(s.placements).where(its.tenant == SELF).values(seq=its.seq + 1).returning(its.seq)
    seq = connection.execute(raised).scalar_one()
    known = {*connection.scalars(select(its.tenant).where(its.tenant.in_([pin.tenant for pin in pins])))}
    if new := [{**pin._asdict(), "seq": seq} for pin in pins if pin.tenant not in known]:
        connection.execute(insert(s.placements), new)


def prolong(connection: Connection, tenant: str, until: int) -> None:
    """Say that the mover of a tenant is alive; no process needs to notice at once."""
    connection.execute(update(s.placements).where(s.placements.c.tenant == tenant).values(lease_until=until))


def _placement(row: object) -> Placement:
    values: dict[str, object] = dict(row)  # type: ignore[call-overload]
    return Placement(**{name: values[name] for name in Placement._fields})  # type: ignore[arg-type]
