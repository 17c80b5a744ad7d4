"""Makes every connection of a PostgreSQL store, and finds out whether a pooler stands in between.

A pooler (PgBouncer and its like) may refuse settings at the start of a session, and may put another
server connection behind ours for each transaction.  Then nothing outlives a transaction: neither a
setting, nor a prepared statement, nor ``LISTEN``.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, cast

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ....errors import ConfigurationError, StoreUnavailableError
from .driver import asyncpg
from .url import Pooling, PostgresUrl

#: Settings of our own connections.  Just-in-time compilation costs more than these short statements
#: run; and the joins are always "a few hundred rows into a primary key", which a plan that was made
#: while a table was still empty must not turn into a scan of the table it has become.
SETTINGS = {
    "jit": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "application_name": "notifykit",
}
#: What every pooler takes at the start of a session.
_ALWAYS_TAKEN = ("application_name", "options")
#: Which of two connections is asked which server connection is behind it.  In pairs, too: a pooler
#: that goes round two server connections would otherwise look as if each had its own.
_QUESTIONS = (0, 0, 1, 1, 0, 1)
#: Seconds that the questions may take.  A pooler without a connection to spare lets us wait for longer.
_PATIENCE = 5


class Connector:
    """Connects to the server of a URL; see :meth:`find_pooler`.

    Attributes:
        pooling: What is known of a pooler.
    """

    def __init__(self, url: PostgresUrl) -> None:
        self.url = url
        self.pooling = url.pooling or Pooling.NONE
        self.settings = {**SETTINGS, **url.settings}

    @property
    def prepares(self) -> bool:
        """Whether statements are prepared once for a connection."""
        return self.pooling is not Pooling.TRANSACTION and self.url.numbers.get("statement_cache_size") != 0

    async def connect(self) -> Any:
        """Return a connection on which the settings hold.

        Raises:
            ConfigurationError: The URL demands what cannot be had.
        """
        if self.pooling is Pooling.NONE:
            return await self._dial(self.settings)
        if self.pooling is Pooling.TRANSACTION:
            connection = await self._dial(self._taken, connection_class=TransactionConnection, statement_cache_size=0)
            connection.local_settings = _assigned(self._kept, local=True)
            return connection
        connection = await self._dial(self._taken, connection_class=SessionConnection)
        try:  # only now the pooler needs a server connection
            await connection.execute(_assigned(self._kept, local=False), timeout=_PATIENCE)
        except TimeoutError:
            connection.terminate()
            raise StoreUnavailableError(
                "the pooler has no server connection to spare: with session pooling each process needs "
                "pool_size (10) of them and one that listens; make pool_size smaller, or the pooler's pool larger"
            ) from None
        except BaseException:
            connection.terminate()
            raise
        return connection

    def engine(self, pool_size: int) -> AsyncEngine:
        """Return an engine with a pool of such connections."""
        caches = self.url.numbers.get("statement_cache_size", 100) if self.prepares else 0

        def connect() -> Any:
            return engine.dialect.loaded_dbapi.connect(
                async_creator_fn=self.connect,
                prepared_statement_cache_size=caches,
                prepared_statement_name_func=(lambda: None) if caches else (lambda: ""),
            )

        engine = create_async_engine(
            "postgresql+asyncpg://",
            creator=connect,
            pool_size=pool_size,
            pool_use_lifo=True,  # a connection in use has its statements prepared and its plans made
            max_overflow=0,
            pool_timeout=30,
            hide_parameters=True,
        )
        return engine

    async def find_pooler(self) -> None:
        """Find out whether a pooler stands in between, and what it pools, unless the URL says so.

        The server tells a client the number of the process that serves it, so that it can be cancelled.  A
        pooler tells a number of its own making: the number of the process that answers is another one.
        """
        if self.url.pooling is not None:
            return
        try:
            connection = await self._dial(self.settings, statement_cache_size=0)
        except asyncpg.PostgresError as error:
            if "startup parameter" not in str(error):
                raise
            connection = await self._dial(self._taken, statement_cache_size=0)
        try:
            if await _backend(connection) == connection.get_server_pid():
                self.pooling = Pooling.NONE
            else:
                self.pooling = await self._what_is_pooled(connection)
        except asyncpg.PostgresError as error:
            if "statement pooling" not in str(error):
                raise
            raise ConfigurationError(
                "the pooler pools statements, and a store needs transactions: use pool_mode=transaction or session"
            ) from error
        finally:
            await connection.close(timeout=_PATIENCE)

    async def _what_is_pooled(self, connection: Any) -> Pooling:
        """Two clients at the same time have the same server connection if it is theirs for a transaction only."""
        try:
            async with asyncio.timeout(_PATIENCE):
                other = await self._dial(self._taken, statement_cache_size=0)
                try:
                    pair = (connection, other)
                    seen: tuple[set[int], set[int]] = set(), set()
                    for which in _QUESTIONS:
                        seen[which].add(await _backend(pair[which]))
                finally:
                    other.terminate()
        except TimeoutError:  # what works behind every pooler
            return Pooling.TRANSACTION
        is_ours = all(len(backends) == 1 for backends in seen) and not seen[0] & seen[1]
        return Pooling.SESSION if is_ours else Pooling.TRANSACTION

    @property
    def _taken(self) -> dict[str, str]:
        return {name: value for name, value in self.settings.items() if name in _ALWAYS_TAKEN}

    @property
    def _kept(self) -> dict[str, str]:
        return {name: value for name, value in self.settings.items() if name not in _ALWAYS_TAKEN}

    async def _dial(self, settings: Mapping[str, str], **options: Any) -> Any:
        arguments = {"timeout": 10, "command_timeout": 60, **self.url.arguments(), **options}
        dialing = asyncio.ensure_future(asyncpg.connect(server_settings=dict(settings), **arguments))
        try:
            # Its own task: asyncpg that is cancelled while it connects leaves an error that asyncio logs.
            return await asyncio.shield(dialing)
        except asyncpg.exceptions.ClientConfigurationError as error:
            raise ConfigurationError(f"the store's URL does not work: {error}") from error
        except asyncio.CancelledError:
            dialing.add_done_callback(_hang_up)
            raise


def _hang_up(dialing: asyncio.Future[Any]) -> None:
    """Close a connection that is no longer wanted."""
    if not dialing.cancelled() and not dialing.exception():
        dialing.result().terminate()


class SessionConnection(asyncpg.Connection):  # type: ignore[misc]
    """A connection whose prepared statements have names that no other client uses.

    Should a pooler put another server connection behind it after all, a statement is missing there, and
    another client's is not run in its place.
    """

    def _get_unique_id(self, prefix: str) -> str:
        return f"notifykit_{prefix}_{uuid.uuid4().hex}"


class TransactionConnection(asyncpg.Connection):  # type: ignore[misc]
    """A connection of which only a transaction is one server connection.

    Even a single statement is several messages, so each is run in a transaction.

    Attributes:
        local_settings: The statement that follows each ``BEGIN`` in the same message.
    """

    local_settings = ""

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> Any:
        if not args:  # one message, which may hold several statements
            if query.startswith("BEGIN"):
                query += self.local_settings
            return await super().execute(query, timeout=timeout)
        async with self._one_server():
            return await super().execute(query, *args, timeout=timeout)

    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        async with self._one_server():
            return await super().fetch(query, *args, **options)

    async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:
        async with self._one_server():
            return await super().fetchrow(query, *args, **options)

    async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
        async with self._one_server():
            return await super().fetchval(query, *args, **options)

    def _one_server(self) -> AbstractAsyncContextManager[Any]:
        return nullcontext() if self.is_in_transaction() else self.transaction()


def check_engine(engine: AsyncEngine, url: PostgresUrl) -> None:
    """Refuse an engine that is no pool of connections to the database of ``url``.

    Raises:
        ConfigurationError: It is on another driver, or on another database.
    """
    if getattr(getattr(engine, "dialect", None), "driver", None) != "asyncpg" or not isinstance(engine, AsyncEngine):
        raise ConfigurationError(
            "engine= takes an AsyncEngine on asyncpg: create_async_engine('postgresql+asyncpg://user@host/database')"
        )
    theirs = engine.url
    if not (theirs.host or theirs.database or theirs.query):  # it connects by a function of its own
        return
    if PostgresUrl.parse(theirs.render_as_string(hide_password=False)).place != url.place:
        raise ConfigurationError(
            f"engine= is on {theirs.render_as_string(hide_password=True)}, which is another database than that of the "
            "kit's URL: leave the URL out, then the engine's counts"
        )


def pool_like(engine: AsyncEngine) -> AsyncEngine:
    """Return an engine that connects as another one does, with a pool of its own."""
    return create_async_engine(engine.url, pool=engine.pool.recreate(), hide_parameters=True)


async def refuse_pooler(engine: AsyncEngine, connector: Connector) -> None:
    """Refuse an engine behind a pooler, unless the URL says that it pools sessions.

    Raises:
        ConfigurationError: Its connections go through a pooler.
    """
    if connector.url.pooling in {Pooling.NONE, Pooling.SESSION}:
        return
    async with engine.connect() as connection:
        lent = await connection.get_raw_connection()
        answering = await connection.scalar(text("SELECT pg_backend_pid()"))
        if answering != cast("Any", lent.driver_connection).get_server_pid():
            raise ConfigurationError(
                "engine= connects through a pooler: leave it out and give the kit the URL, for which it finds the way; "
                "or, if the pooler gives each client a server connection of its own, add ?pooler=session to the URL"
            )


async def _backend(connection: Any) -> int:
    """Return the number of the server's process that answers."""
    async with connection.transaction():
        number: int = await connection.fetchval("SELECT pg_backend_pid()")
        return number


def _assigned(settings: Mapping[str, str], *, local: bool) -> str:
    """Return a statement that gives settings their values, for the session or for the transaction."""
    calls = [f"set_config({_quoted(name)}, {_quoted(value)}, {local})" for name, value in settings.items()]
    return f"SELECT {', '.join(calls)}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
