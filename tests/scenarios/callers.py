"""Programs that publish inside their own transaction, each in its own way: what they do is the same."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from sqlalchemy import Engine, NullPool, create_engine, event, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from notifykit import Notifykit
from notifykit.models.event import Receipt
from tests.databases import async_url, sync_url

ORDERS = "CREATE TABLE IF NOT EXISTS orders (id VARCHAR(64) PRIMARY KEY)"
_ORDER = text("INSERT INTO orders (id) VALUES (:id)")


class Transaction(ABC):
    """A transaction of the program's own."""

    @abstractmethod
    async def order(self, id: str) -> None:
        """Write the program's own row."""

    @abstractmethod
    async def publish(self, kit: Notifykit, *events: object, **options: Any) -> Sequence[Receipt]:
        """Publish events in this transaction."""

    @abstractmethod
    def savepoint(self) -> AbstractAsyncContextManager[Any]:
        """Begin a nested transaction."""


class Caller(ABC):
    """A program with its own engine.

    Attributes:
        statements: What its engine has sent, in order.
    """

    def __init__(self, url: str) -> None:
        self.statements: list[str] = []
        self._url = url

    @abstractmethod
    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Begin a transaction; it is committed at the end, or rolled back by an error."""

    @abstractmethod
    async def aclose(self) -> None:
        """Disconnect."""

    async def orders(self) -> list[str]:
        """Return the program's rows."""
        engine = create_engine(sync_url(self._url), poolclass=NullPool)
        with engine.connect() as connection:
            return list(connection.scalars(text("SELECT id FROM orders ORDER BY id")))

    def _listen(self, engine: Engine) -> None:
        @event.listens_for(engine, "before_cursor_execute")
        def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            self.statements.append(statement)


class _SyncTransaction(Transaction):
    def __init__(self, **handle: Any) -> None:
        self._handle = handle
        (self._through,) = handle.values()

    async def order(self, id: str) -> None:
        self._through.execute(_ORDER, {"id": id})

    async def publish(self, kit: Notifykit, *events: object, **options: Any) -> Sequence[Receipt]:
        return kit.publish_many(events, **self._handle, **options)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        with self._through.begin_nested():
            yield


class _AsyncTransaction(_SyncTransaction):
    async def order(self, id: str) -> None:
        await self._through.execute(_ORDER, {"id": id})

    async def publish(self, kit: Notifykit, *events: object, **options: Any) -> Sequence[Receipt]:
        return await kit.apublish_many(events, **self._handle, **options)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        async with self._through.begin_nested():
            yield


class SyncSession(Caller):
    """Uses a ``Session``, on psycopg or sqlite3."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._engine = create_engine(sync_url(self._url))
        self._listen(self._engine)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        with Session(self._engine) as session, session.begin():
            yield _SyncTransaction(session=session)

    async def aclose(self) -> None:
        self._engine.dispose()


class SyncConnection(SyncSession):
    """Uses a ``Connection``, on psycopg or sqlite3."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        with self._engine.begin() as connection:
            yield _SyncTransaction(connection=connection)


class AsyncSessions(Caller):
    """Uses an ``AsyncSession``, on asyncpg or aiosqlite."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._engine: AsyncEngine = create_async_engine(async_url(self._url))
        self._listen(self._engine.sync_engine)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        async with AsyncSession(self._engine) as session, session.begin():
            yield _AsyncTransaction(session=session)

    async def aclose(self) -> None:
        await self._engine.dispose()


class AsyncConnections(AsyncSessions):
    """Uses an ``AsyncConnection``, on asyncpg or aiosqlite."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        async with self._engine.begin() as connection:
            yield _AsyncTransaction(connection=connection)


class SyncSessionInLoop(SyncSession):
    """Uses a ``Session`` but publishes with ``await``."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        with Session(self._engine) as session, session.begin():
            yield _Awaiting(session=session)


class _Awaiting(_SyncTransaction):
    async def publish(self, kit: Notifykit, *events: object, **options: Any) -> Sequence[Receipt]:
        return await kit.apublish_many(events, **self._handle, **options)


CALLERS: list[Callable[[str], Caller]] = [
    SyncSession,
    SyncConnection,
    AsyncSessions,
    AsyncConnections,
    SyncSessionInLoop,
]
