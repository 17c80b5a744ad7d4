"""Dedupe stores on a database, shared by all processes of a receiver.

They are not in the module of :class:`~notifykit.signing.MemoryDedupe`, because
``notifykit.signing`` imports no database.

There is one narrow table.  ``until`` is the end of the lease of a message in progress, or of the
retention of a handled one.  Every step is a short transaction, so no lock is held while a handler
runs.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa

from notifykit.errors import StoreError, StoreUnavailableError
from notifykit.signing.dedupe import LEASE, TTL, AsyncDedupeStore, DedupeStore, Seen, seconds

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

TABLE = "notifykit_received"

_PROCESSING, _DONE = "processing", "done"
_PRUNE_EVERY = 3600.0
_ROUNDS = 5
_UNSTEADY = "the row of the message was inserted and deleted several times at the same time; try again"

P = ParamSpec("P")
T = TypeVar("T")


def received_table(metadata: sa.MetaData, name: str = TABLE) -> sa.Table:
    """Return the table, for a program that creates it with its own migrations."""
    return sa.Table(
        name,
        metadata,
        # A digest: it has a fixed width, and no collation can treat two ids as equal.
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("source", sa.String(255), nullable=False),
        sa.Column("message_id", sa.String(255), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("until", sa.Float(53), nullable=False, index=True),
    )


class _Steps:
    """The steps, each inside one transaction, on a connection that the caller owns."""

    def __init__(self, ttl: timedelta, lease: timedelta, clock: Callable[[], float], table: str) -> None:
        self.metadata = sa.MetaData()
        self._table = received_table(self.metadata, table)
        self._ttl, self._lease = seconds(ttl, "ttl"), seconds(lease, "lease")
        self._clock = clock
        self._prune_at = 0.0

    def begin(self, connection: sa.Connection, source: str, id: str) -> Seen:
        t, key = self._table, _key(source, id)
        for _ in range(_ROUNDS):
            now = self._clock()
            until = now + self._lease
            if self._inserted(connection, source, id, _PROCESSING, until):
                return Seen.NEW
            ran_out = t.update().where(t.c.key == key, t.c.until <= now)
            if connection.execute(ran_out.values(state=_PROCESSING, until=until)).rowcount:
                return Seen.NEW
            state = connection.scalar(sa.select(t.c.state).where(t.c.key == key))
            if state is not None:
                return Seen.DONE if state == _DONE else Seen.IN_PROGRESS
        raise StoreError(_UNSTEADY)

    def finish(self, connection: sa.Connection, source: str, id: str) -> None:
        t, key = self._table, _key(source, id)
        for _ in range(_ROUNDS):
            until = self._clock() + self._ttl
            update = t.update().where(t.c.key == key).values(state=_DONE, until=until)
            # The row is gone if the handler ran longer than its lease and the table was pruned.
            if connection.execute(update).rowcount or self._inserted(connection, source, id, _DONE, until):
                return
        raise StoreError(_UNSTEADY)

    def forget(self, connection: sa.Connection, source: str, id: str) -> None:
        t = self._table
        connection.execute(t.delete().where(t.c.key == _key(source, id), t.c.state == _PROCESSING))

    def prune(self, connection: sa.Connection) -> int:
        t = self._table
        return connection.execute(t.delete().where(t.c.until <= self._clock())).rowcount

    def prune_is_due(self) -> bool:
        """Return true once an hour, so that the table stays small without a scheduled job."""
        now = self._clock()
        if now < self._prune_at:
            return False
        self._prune_at = now + _PRUNE_EVERY
        return True

    def _inserted(self, connection: sa.Connection, source: str, id: str, state: str, until: float) -> bool:
        row = {"key": _key(source, id), "source": source[:255], "message_id": id[:255], "state": state, "until": until}
        try:
            with connection.begin_nested():  # a duplicate key must not abort the transaction
                connection.execute(self._table.insert(), row)
        except sa.exc.IntegrityError:
            return False
        return True


class SqlDedupe:
    """Remembers in a database table, through a SQLAlchemy engine.

    Args:
        engine: A synchronous engine.
        ttl: How long a handled message is remembered; longer than the sender's retries last.
        lease: How long a handler may take; afterwards a retry runs it again.
        clock: Returns the time in Unix seconds; the clocks of all processes must agree to within the lease.
        table: The name of the table.
    """

    def __init__(
        self,
        engine: sa.Engine,
        *,
        ttl: timedelta = TTL,
        lease: timedelta = LEASE,
        clock: Callable[[], float] = time.time,
        table: str = TABLE,
    ) -> None:
        self._engine = engine
        self._steps = _Steps(ttl, lease, clock, table)

    def create_table(self) -> None:
        """Create the table where it is not there yet."""
        self._run(self._steps.metadata.create_all)

    def begin(self, source: str, id: str) -> Seen:
        """See :meth:`.DedupeStore.begin`."""
        if self._steps.prune_is_due():
            self.prune()
        return self._run(self._steps.begin, source, id)

    def finish(self, source: str, id: str) -> None:
        """See :meth:`.DedupeStore.finish`."""
        self._run(self._steps.finish, source, id)

    def forget(self, source: str, id: str) -> None:
        """See :meth:`.DedupeStore.forget`."""
        self._run(self._steps.forget, source, id)

    def prune(self) -> int:
        """Delete what has run out and return how many rows; happens by itself once an hour."""
        return self._run(self._steps.prune)

    def _run(self, step: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        with _translated(), self._engine.begin() as connection:
            return step(connection, *args, **kwargs)


class AsyncSqlDedupe:
    """The same as :class:`SqlDedupe` with an ``AsyncEngine``; it takes the same arguments."""

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        ttl: timedelta = TTL,
        lease: timedelta = LEASE,
        clock: Callable[[], float] = time.time,
        table: str = TABLE,
    ) -> None:
        self._engine = engine
        self._steps = _Steps(ttl, lease, clock, table)

    async def create_table(self) -> None:
        """Create the table where it is not there yet."""
        await self._run(self._steps.metadata.create_all)

    async def begin(self, source: str, id: str) -> Seen:
        """See :meth:`.DedupeStore.begin`."""
        if self._steps.prune_is_due():
            await self.prune()
        return await self._run(self._steps.begin, source, id)

    async def finish(self, source: str, id: str) -> None:
        """See :meth:`.DedupeStore.finish`."""
        await self._run(self._steps.finish, source, id)

    async def forget(self, source: str, id: str) -> None:
        """See :meth:`.DedupeStore.forget`."""
        await self._run(self._steps.forget, source, id)

    async def prune(self) -> int:
        """Delete what has run out and return how many rows; happens by itself once an hour."""
        return await self._run(self._steps.prune)

    async def _run(self, step: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        with _translated():
            async with self._engine.begin() as connection:
                return await connection.run_sync(step, *args, **kwargs)


def _key(source: str, id: str) -> str:
    return hashlib.sha256(f"{len(source)}:{source}{id}".encode("utf-8", "surrogatepass")).hexdigest()


@contextmanager
def _translated() -> Iterator[None]:
    """Turn errors of the driver into errors of the library."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise StoreUnavailableError(f"the dedupe store did not answer: {type(error).__name__}") from error


if TYPE_CHECKING:
    _conforms: type[DedupeStore] = SqlDedupe
    _conforms_async: type[AsyncDedupeStore] = AsyncSqlDedupe
