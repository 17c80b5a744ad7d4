"""The SQL store on MySQL and MariaDB: each verb is a short transaction, run again if it met a deadlock."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import Connection, exc
from sqlalchemy.ext.asyncio import AsyncEngine

from ....errors import StoreUnavailableError
from ....failpoints import failpoint
from ....models.delivery import Claim, Delivery, Lane
from ....models.event import StoredEvent, TakenEvent
from ....ports import Appended, NextDue, Outstanding, Record, Settlement, Ticket
from ....vault import KeyRing
from ...encoding.encryption import Encryption, payloads_are_encrypted
from ...encoding.rows import leaves_work, micros
from .. import migrate
from ..reading import next_due_from
from ..store import NOT_OPEN, SqlStore, end_wait, notified
from ..vault import vault_for
from . import faults, verbs
from .connections import IS_READ_ONLY, Connector, Server, check_server, refuse_read_only, server_of
from .driver import asyncmy
from .statements import next_due
from .url import MysqlUrl

T = TypeVar("T")

#: What the driver cannot put into a statement is a mistake of the value, and no error of the database.
_FAILURES = (asyncmy.errors.MySQLError, exc.SQLAlchemyError, OSError, TimeoutError, UnicodeError, OverflowError)
#: Seconds for which a transaction is begun again after a deadlock, and the longest pause before that.
_PATIENCE, _PAUSE = 15, 0.05
#: How often a row may turn out to be there although it was looked for: another process wrote it in between.
_RACES = 5
#: Seconds that disconnecting may take.
_CLOSE_TIMEOUT = 0.5
#: Has tables that are locked, as by a migration, refuse at once: see :meth:`rescue`.
_IMPATIENT, _PATIENT = "SET SESSION lock_wait_timeout = 1", "SET SESSION lock_wait_timeout = 10"
_RESULTS = tuple(f"SELECT 1 FROM notifykit_{table} LIMIT 0 FOR UPDATE" for table in ("queue", "deliveries", "attempts"))


class MysqlStore(SqlStore):
    """A store in a MySQL (8.0.17 or newer) or MariaDB (10.6 or newer) database.

    Other processes are not notified of what is published, since MySQL has no such message: they poll.

    Args:
        url: ``mysql://user:password@host/database``.
        pool_size: Connections kept open at the most.
        create: Make the tables when the database has none.
        keys: What secrets are encrypted under; by default ``NOTIFYKIT_KEYS``, or a key made for development.
        environment: ``production`` refuses to work without keys; by default ``NOTIFYKIT_ENV``.
        encrypt_payloads: Encrypt the content of events, too; by default ``NOTIFYKIT_ENCRYPT_PAYLOADS``.

    Raises:
        ConfigurationError: The URL has a parameter that cannot be kept.
    """

    #: Every other process polls.
    hears_notifications = False

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 10,
        create: bool = False,
        keys: KeyRing | None = None,
        environment: str | None = None,
        encrypt_payloads: bool | None = None,
    ) -> None:
        self.url = url
        self.connector = Connector(MysqlUrl.parse(url))
        self.encryption = Encryption(
            vault_for(url, keys, environment), payloads=payloads_are_encrypted(encrypt_payloads)
        )
        self._pool_size, self._create = pool_size, create
        self._engine: AsyncEngine | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiters: set[asyncio.Future[bool]] = set()
        self._inbox_readers: set[asyncio.Future[bool]] = set()
        self._notification_is_kept = False

    async def open(self) -> None:
        self.encryption.vault.check()
        try:
            self._connect()
            await self._read(check_server)
            if self._create:
                await self._write(migrate.create)
            await self._read(lambda connection: migrate.check(connection, self.schema))
        except BaseException:
            await self.aclose()
            raise

    def _connect(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._engine = self.connector.engine(self._pool_size)

    async def upgrade(self, work: Callable[[Connection], T]) -> T:
        """Run a migration on a store that is not open."""
        self.connector.silence = None  # to rebuild a large table takes long
        try:
            self._connect()
            await self._read(check_server)
            return await self._write(work)
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            await _disposed(engine)

    async def _read(self, work: Callable[[Connection], T]) -> T:
        return await self._write(work)

    async def _write(self, work: Callable[[Connection], T]) -> T:
        async with self._translating():
            return await self._retried(work)

    @contextlib.asynccontextmanager
    async def _translating(self) -> AsyncIterator[None]:
        """Raise our errors for those of the driver; after a failover, leave every connection to the old primary."""
        try:
            yield
        except _FAILURES as error:
            if faults.means_read_only(error) and self._engine is not None:
                await _disposed(self._engine)
            raise faults.translated(error) from error

    async def _retried(self, work: Callable[[Connection], T], *, patience: float = _PATIENCE) -> T:
        """Run a transaction, and again if it was undone because of other transactions."""
        end = time.monotonic() + patience
        while True:
            if self._engine is None:
                raise StoreUnavailableError(NOT_OPEN)
            try:
                async with self._engine.begin() as connection:
                    return await connection.run_sync(work)
            except exc.DBAPIError as error:
                if faults.number(error) not in faults.RETRIED or time.monotonic() > end:
                    raise
            await asyncio.sleep(random.random() * _PAUSE)  # noqa: S311 - spreads retries, hides nothing

    async def _write_new(self, work: Callable[..., T], *, careful: bool = False) -> T:
        """Run a transaction that inserts; if a row is there already, again and ``careful``, looking for such rows."""
        async with self._translating():
            for _ in range(_RACES):
                try:
                    return await self._retried(partial(work, careful=careful))
                except exc.IntegrityError as error:
                    if faults.number(error) != faults.DUPLICATE:
                        raise
                    careful = True
            return await self._retried(partial(work, careful=True))

    async def server(self) -> Server:
        """Return what the server says of itself."""
        return await self._read(server_of)

    # -- the frequent verbs ----------------------------------------------------------------------

    async def append(self, events: Sequence[StoredEvent]) -> list[Appended]:
        if not events:
            return []
        encrypted = self.encryption.events(events)
        answers = await self._write_new(
            lambda connection, *, careful: verbs.append(connection, encrypted, careful=careful),
            careful=verbs.has_keys(events),
        )
        self._wake()
        return self.encryption.answers(events, answers)

    async def take(
        self,
        limit: int,
        *,
        now: datetime,
        lease: timedelta,
        exclude: Collection[str] = (),
        since: datetime | None = None,
    ) -> list[TakenEvent]:
        edge, names = 0 if since is None else micros(since), sorted(exclude)
        at, until = micros(now), micros(now + lease)
        return self.encryption.taken(await self._write(lambda c: verbs.take(c, limit, at, until, names, edge)))

    async def settle(
        self, settlements: Sequence[Settlement], *, now: datetime, lease: timedelta, worker: str
    ) -> set[str]:
        if not settlements:
            return set()
        at, until, encrypted = micros(now), micros(now + lease), self.encryption.settlements(settlements)
        settled = await self._write_new(
            lambda connection, *, careful: verbs.settle(connection, encrypted, at, until, worker, careful=careful)
        )
        if leaves_work(settlements):
            self._wake()
        return settled

    async def claim(
        self,
        lane: Lane,
        limit: int,
        *,
        now: datetime,
        lease: timedelta,
        worker: str,
        exclude: Collection[str] = (),
        exclude_tenants: Collection[str] = (),
        only: Collection[str] | None = None,
        ids: Collection[str] | None = None,
    ) -> list[Claim]:
        until = now + lease
        asked = verbs.Lease(lane, limit, micros(now), until, worker, exclude, exclude_tenants, only, ids)
        # Another one of the same FIFO group may be handed out at this very moment; a second try sees it.
        claims = await self._write_new(lambda connection, **_: verbs.claim(connection, asked))
        return await self._decrypted_claims(claims, now, until)

    async def hand_off(
        self,
        lane: Lane,
        limit: int,
        *,
        now: datetime,
        hold: timedelta,
        most: Outstanding,
        exclude: Collection[str] = (),
        exclude_tenants: Collection[str] = (),
    ) -> list[Ticket]:
        at, until, left_out = micros(now), micros(now + hold), (exclude, exclude_tenants)
        return await self._write(lambda c: verbs.hand_off(c, lane, limit, at, until, most, left_out))

    async def record(self, records: Sequence[Record]) -> set[str]:
        if not records:
            return set()
        encrypted = self.encryption.records(records)
        failpoint("res.half")
        return await self._write_new(lambda connection, **_: verbs.record(connection, encrypted))

    async def extend(self, claims: Sequence[tuple[str, int]], *, until: datetime) -> set[str]:
        return await self._write(lambda c: verbs.extend(c, claims, micros(until))) if claims else set()

    async def rescue(self, limit: int, *, now: datetime, max_abandoned: int) -> list[Delivery]:
        async with self._translating():
            await self._retried(_require_results, patience=0)
        return await super().rescue(limit, now=now, max_abandoned=max_abandoned)

    def _next_due(self, connection: Connection) -> NextDue:
        channels = verbs.channels(connection)
        statement = next_due(len(channels), is_read_only=IS_READ_ONLY, stamp=migrate.STAMP)
        found = verbs.rows(connection, statement, *(channel for channel in channels for _ in range(6)))
        if found[0]["is_read_only"]:
            refuse_read_only(connection)
        migrate.refuse_newer(found[0]["schema_version"], self.schema)
        return next_due_from(found)

    # -- notifications ---------------------------------------------------------------------------

    def notify(self) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._wake)

    def _notification_is_due(self) -> bool:
        return False

    def _wake(self) -> None:
        self._notification_is_kept = not self._waiters
        for waiter in self._waiters:
            end_wait(waiter, notified=True)

    async def wait(self, timeout: timedelta, *, idle_timeout: timedelta | None = None) -> bool:
        del idle_timeout  # of what other processes append nothing is heard
        if self._notification_is_kept:  # it came while no call waited
            self._notification_is_kept = False
            return True
        return await notified(self._waiters, timeout)

    def _notify_inboxes(self, connection: Connection) -> None:
        del connection
        for reader in self._inbox_readers:
            end_wait(reader, notified=True)

    async def inbox_wait(self, timeout: timedelta) -> bool:
        return await notified(self._inbox_readers, timeout)


def _require_results(connection: Connection) -> None:
    """Raise an error if results cannot be written, because another connection has locked a table."""
    connection.exec_driver_sql(_IMPATIENT)
    try:
        for statement in _RESULTS:
            connection.exec_driver_sql(statement)
    finally:
        with contextlib.suppress(exc.SQLAlchemyError):  # the connection may be lost
            connection.exec_driver_sql(_PATIENT)


async def _disposed(engine: AsyncEngine) -> None:
    """Close the connections of a pool; the engine makes new ones."""
    try:
        async with asyncio.timeout(_CLOSE_TIMEOUT):
            await engine.dispose()
    except TimeoutError:  # the server is silent, and every connection would wait for its answer
        await engine.dispose(close=False)


if TYPE_CHECKING:
    from ....ports import Digests, Inbox, Store

    _conforms: type[Store] = MysqlStore
    _keeps_inboxes: type[Inbox] = MysqlStore
    _collects: type[Digests] = MysqlStore
