"""What an operator wants to know of a database beside :meth:`notifykit.ports.Store.stats`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

import attrs
from sqlalchemy import BigInteger, Connection, cast, func, literal, select

from ..encoding.rows import instant, micros
from . import migrate
from . import schema as s
from .reading import IS_SENDING
from .store import SqlStore
from .writing import is_mysql

#: Leases that ran out are looked for every few seconds; only those that are older than that are stuck.
GRACE = timedelta(seconds=15)
_COUNT_CAP = 10_000
_MYSQL_CLOCK = "SELECT CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED)"


@attrs.frozen(kw_only=True)
class Health:
    """The state of the tables.

    Attributes:
        version: The schema's version.
        expired_leases: Claims whose lease ran out and that no janitor has ended; counts stop at 10,000.
        oldest_expiry: How long ago the oldest of them ran out.
        dead: How many dead letters each tenant has, the most first; of more than 10,000 the rest is left out.
        skew: How far our clock is ahead of the database's; ``None`` if it has none of its own.
    """

    version: str | None
    expired_leases: int
    oldest_expiry: timedelta
    dead: dict[str, int]
    skew: timedelta | None


async def health(store: SqlStore, *, now: datetime) -> Health:
    """Return the state of an open store.

    Args:
        now: The instant of this call, by our clock.
    """
    return await store._read(lambda connection: _health(connection, now))


def together(found: Sequence[Health]) -> Health:
    """Return the state of several databases, all of which have the version of this package: the worst of each."""
    dead: Counter[str] = Counter()
    for each in found:
        dead.update(each.dead)
    return Health(
        version=found[0].version,
        expired_leases=min(sum(each.expired_leases for each in found), _COUNT_CAP),
        oldest_expiry=max(each.oldest_expiry for each in found),
        dead=dict(dead.most_common()),
        skew=max((each.skew for each in found if each.skew is not None), key=abs, default=None),
    )


def _health(connection: Connection, now: datetime) -> Health:
    stuck = (IS_SENDING, s.queue.c.lease_until < micros(now - GRACE))
    capped = select(literal(1)).select_from(s.queue).where(*stuck).limit(_COUNT_CAP).subquery()
    count = connection.scalar(select(func.count()).select_from(capped)) or 0
    oldest = connection.scalar(select(func.min(s.queue.c.lease_until)).where(*stuck)) if count else None
    skew = None
    if connection.dialect.name == "postgresql":
        theirs = connection.scalar(select(cast(func.extract("epoch", func.clock_timestamp()) * 1_000_000, BigInteger)))
        skew = now - instant(theirs or 0)
    if is_mysql(connection):
        skew = now - instant(connection.exec_driver_sql(_MYSQL_CLOCK).scalar() or 0)
    return Health(
        version=migrate.version(connection),
        expired_leases=count,
        oldest_expiry=timedelta(0) if oldest is None else now - instant(oldest),
        dead=_dead_by_tenant(connection),
        skew=skew,
    )


def _dead_by_tenant(connection: Connection) -> dict[str, int]:
    # The second condition is that of the index of deliveries that failed.
    dead = (s.deliveries.c.state == "dead", s.deliveries.c.state != "delivered")
    capped = select(s.deliveries.c.tenant).where(*dead).limit(_COUNT_CAP).subquery()
    count = func.count()
    rows = connection.execute(select(capped.c.tenant, count).group_by(capped.c.tenant).order_by(count.desc()))
    return {row[0]: row[1] for row in rows}
