"""Makes every connection of a MySQL store, and says what the server must be."""

from __future__ import annotations

import asyncio
import re
from typing import Any, NamedTuple

from sqlalchemy import Connection, event, exc
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ....errors import ConfigurationError, StoreUnavailableError
from . import faults
from .driver import CLIENT, asyncmy, conversions
from .url import Encrypted, MysqlUrl

#: Seconds without an answer of the server after which a connection is given up for dead; locks end before.
SILENCE = 30
#: What a store needs: ``SKIP LOCKED``, recursive queries, and a collation that compares bytes.
_OLDEST = {True: (10, 6), False: (8, 0, 17)}
COLLATIONS = {True: "utf8mb4_nopad_bin", False: "utf8mb4_0900_bin"}
#: Bytes that a statement must be allowed to have: batches are cut at one million.
LEAST_PACKET = 4 * 2**20
#: Settings of our own connections, as ``SET SESSION`` takes them.  A value that does not fit is an error, whatever
#: the server's own ``sql_mode`` says.  Row locks are held for milliseconds; tables are locked by operators.
SETTINGS = {
    "sql_mode": (  # MySQL warns of a strict mode that has only some of them
        "'STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ZERO_DATE,NO_ZERO_IN_DATE,NO_ENGINE_SUBSTITUTION'"
    ),
    "innodb_lock_wait_timeout": "5",
    "lock_wait_timeout": "10",
    "time_zone": "'+00:00'",
}
_VERSION = re.compile(r"(?:5\.5\.5-)?(\d+)\.(\d+)\.(\d+)")
#: MySQL says ``read_only``, an Amazon Aurora reader only ``innodb_read_only``.
IS_READ_ONLY = "CAST(@@global.read_only AS CHAR) NOT IN ('0', 'OFF') OR @@global.innodb_read_only"
_STATE = f"SELECT {IS_READ_ONLY}, @@max_allowed_packet, @@log_bin, @@binlog_format"


class Connector:
    """Connects to the server of a URL.

    Attributes:
        silence: Seconds without an answer after which a connection is lost; ``None`` for work that may take long.
    """

    def __init__(self, url: MysqlUrl) -> None:
        self.url = url
        self.silence: float | None = SILENCE

    async def connect(self) -> Any:
        """Return a connection on which the settings hold."""
        context = self.url.context()
        try:
            connection = await self._dial(context)
        except asyncmy.errors.OperationalError as error:
            if self.url.encrypted is not Encrypted.PREFERRED or "SSL" not in str(error).upper():
                raise
            connection = await self._dial(None)
        try:
            is_mariadb = "mariadb" in connection.get_server_info().lower()
            settings = ", ".join(f"SESSION {name} = {value}" for name, value in SETTINGS.items())
            async with connection.cursor() as cursor:
                await cursor.execute(f"SET NAMES utf8mb4 COLLATE {COLLATIONS[is_mariadb]}")
                await cursor.execute(f"SET {settings}")
                await cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        except BaseException:
            connection.close()
            raise
        return connection

    async def _dial(self, context: Any) -> Any:
        dialing = asyncio.ensure_future(
            asyncmy.connect(
                **self.url.arguments(),
                charset="utf8mb4",
                ssl=context,
                read_timeout=self.silence,
                client_flag=CLIENT.FOUND_ROWS,  # as SQLAlchemy counts
                program_name="notifykit",
                conv={**conversions, memoryview: _literal},
            )
        )
        try:
            async with asyncio.timeout(self.url.connect_timeout):  # the driver's own ends before the handshake
                return await asyncio.shield(dialing)
        except TimeoutError as error:
            dialing.cancel()
            raise TimeoutError("the server does not answer on a new connection") from error
        except asyncio.CancelledError:
            dialing.add_done_callback(_hang_up)
            raise

    def engine(self, pool_size: int) -> AsyncEngine:
        """Return an engine with a pool of such connections."""

        def connect() -> Any:
            return engine.dialect.loaded_dbapi.connect(async_creator_fn=self.connect)

        engine = create_async_engine(
            "mysql+asyncmy://",
            creator=connect,
            pool_size=pool_size,
            pool_use_lifo=True,
            max_overflow=0,
            pool_timeout=30,
            pool_reset_on_return=None,  # every transaction of ours ends by itself; else one more message for each
            hide_parameters=True,
        )
        event.listen(engine.sync_engine, "checkout", _replace_lost)
        return engine


def _literal(value: memoryview, _: Any) -> str:
    """Return bytes as they stand in a statement.

    The driver's own form of ``bytes`` looks at each character by itself: at a kilobyte that is most of what storing an
    event costs the client.  The server needs an escape before two characters only.
    """
    text = value.tobytes().decode("ascii", "surrogateescape")  # as the driver encodes it again
    return "_binary'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _hang_up(dialing: asyncio.Future[Any]) -> None:
    """Close a connection that is no longer wanted."""
    if not dialing.cancelled() and not dialing.exception():
        dialing.result().close()


def _replace_lost(adapted: Any, _: Any, __: Any) -> None:
    """Have the pool connect again, if the server has closed a connection that waited in it."""
    if adapted.driver_connection._stream_broken:
        raise exc.DisconnectionError


class Server(NamedTuple):
    """What a server says of itself.

    Attributes:
        flushes_each_commit: Whether a power cut takes nothing that was committed.
    """

    version: str
    flushes_each_commit: bool


def server_of(connection: Connection) -> Server:
    """Return what the server says of itself."""
    version, flush = connection.exec_driver_sql("SELECT VERSION(), @@innodb_flush_log_at_trx_commit").one()
    name = "" if "mariadb" in version.lower() else "MySQL "
    return Server(f"{name}{version}", flush in (1, 3))


def refuse_read_only(connection: Connection) -> None:
    """Raise :class:`StoreUnavailableError` if nothing can be written on this server."""
    if connection.exec_driver_sql(f"SELECT {IS_READ_ONLY}").scalar():
        raise StoreUnavailableError(faults.READ_ONLY)


def check_server(connection: Connection) -> None:
    """Refuse a server on which a store cannot work.

    Raises:
        ConfigurationError: It is too old, or a setting of it is in the way.
    """
    text = str(connection.exec_driver_sql("SELECT VERSION()").scalar())
    is_mariadb = "mariadb" in text.lower()
    found = _VERSION.match(text)
    version = tuple(map(int, found.groups())) if found else ()
    if version < _OLDEST[is_mariadb]:
        raise ConfigurationError(f"the server is {text}; the store needs MySQL 8.0.17, or MariaDB 10.6, or a newer one")
    is_read_only, packet, has_binlog, binlog = connection.exec_driver_sql(_STATE).one()
    if is_read_only:
        raise StoreUnavailableError(faults.READ_ONLY)
    if packet < LEAST_PACKET:
        raise ConfigurationError(f"the server's max_allowed_packet is {packet}; set it to 16M, 4M at the least")
    if has_binlog and binlog == "STATEMENT":
        raise ConfigurationError(
            "the server's binlog_format is STATEMENT, which refuses to write at READ COMMITTED; set it to ROW or MIXED"
        )
