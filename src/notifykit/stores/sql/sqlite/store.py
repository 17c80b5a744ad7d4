"""The SQL store on SQLite: one writer thread, whole transactions, group commit.

SQLite has one writer, so this store has one thread and hands it whole
transactions: handing over single statements costs more than running them.
In the queue of that thread short transactions go before long ones (see :mod:`.write_queue`).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Engine, FromClause, StaticPool, create_engine, event
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler

from ....errors import StoreUnavailableError
from ....models.circuit import OpenCircuit
from ....models.delivery import Claim, Lane
from ....models.event import StoredEvent, TakenEvent
from ....ports import Appended, NextDue, Outstanding, Record, Settlement, Ticket
from ....vault import KeyRing
from ...encoding.encryption import Encryption, payloads_are_encrypted
from ...encoding.rows import RANK, leaves_work, micros
from .. import migrate
from ..faults import translated
from ..store import NOT_OPEN, SHORT, SqlStore, end_wait
from ..vault import vault_for
from . import handing, verbs
from .filewatch import FileWatch
from .samefile import SameFile
from .url import file_of, url_of
from .write_queue import WriteQueue
from .writer import Writer

T = TypeVar("T")
V = TypeVar("V")

#: Seconds that a connection waits for another one's transaction.
BUSY = 30
_BUSY_TIMEOUT = f"PRAGMA busy_timeout={BUSY * 1000}"
#: Seconds between two tries to begin a transaction.
_LOCK_RETRY = 0.0003

#: Seconds between two checks of a waiting process whether another process has committed; the same when none has for a
#: while, where the file cannot be watched; and how long that is.
CHECK_EVERY, _IDLE_CHECK_EVERY, _IDLE = 0.02, 0.125, 1.0


class SqliteStore(SqlStore):
    """A store in one SQLite file: WAL, ``synchronous=FULL``, one writer thread.

    Args:
        url: ``sqlite:///file.db``; a relative path counts from the folder in which the process is now.
        synchronous: SQLite's pragma; ``NORMAL`` survives a killed process but not a power cut.
        create: Make the tables when the file has none.
        keys: What secrets are encrypted under; by default ``NOTIFYKIT_KEYS``, or a key made for development.
        environment: ``production`` refuses to work without keys; by default ``NOTIFYKIT_ENV``.
        encrypt_payloads: Encrypt the content of events, too; by default ``NOTIFYKIT_ENCRYPT_PAYLOADS``.
    """

    def __init__(
        self,
        url: str,
        *,
        synchronous: str = "FULL",
        create: bool = True,
        keys: KeyRing | None = None,
        environment: str | None = None,
        encrypt_payloads: bool | None = None,
    ) -> None:
        self._path = file_of(url) or ":memory:"
        #: The file with its absolute path: it stays the same wherever the process goes.
        self.url = url_of(self._path)
        self.encryption = Encryption(
            vault_for(self.url, keys, environment), payloads=payloads_are_encrypted(encrypt_payloads)
        )
        #: Whether no second store can be opened on the same data.
        self.private = self._path == ":memory:"
        self._synchronous = synchronous
        self._create = create
        self._thread: Writer | None = None
        self._queue: WriteQueue[Callable[[], None]] = WriteQueue()
        self._engine: Engine | None = None
        self._db: sqlite3.Connection | None = None
        self._watch: sqlite3.Connection | None = None
        self._files: SameFile | None = None
        self._seen = -1
        self._known: dict[str, tuple[int | None, Any]] = {}
        self._heard = float("-inf")
        self._log: FileWatch | None = None
        self._waiters: set[asyncio.Future[bool]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self) -> None:
        self.encryption.vault.check()
        await self._started(self._connect_and_check)

    async def upgrade(self, work: Callable[[Connection], T]) -> T:
        """Run a migration on a store that is not open."""
        await self._started(self._connect)
        try:
            return await self._write(work)
        finally:
            await self.aclose()

    async def _started(self, connect: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = Writer()
        try:
            await self._run(connect)
        except BaseException:
            await self.aclose()
            raise

    def _connect(self) -> None:
        try:
            if not self.private and not Path(self._path).parent.is_dir():
                raise OSError("its folder does not exist; make the folder, or name another file")
            self._db = db = sqlite3.connect(
                self._path, isolation_level=None, check_same_thread=False, timeout=BUSY, cached_statements=256
            )
            _into_wal(db)
            for pragma in (f"synchronous={self._synchronous}", "temp_store=MEMORY", "cache_size=-64000"):
                db.execute(f"PRAGMA {pragma}")
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailableError(f"cannot open {self._path}: {error}") from error
        self._engine = create_engine("sqlite://", creator=lambda: db, poolclass=StaticPool, hide_parameters=True)
        self._engine.dialect.statement_compiler = _HintingCompiler
        event.listen(self._engine, "begin", _begin)

    def _connect_and_check(self) -> None:
        self._connect()
        if self._create and self._in_transaction(migrate.is_empty, write=False):
            self._in_transaction(migrate.create, write=True)
        self._in_transaction(lambda c: migrate.check(c, self.schema), write=False)
        if not self.private:
            self._files = SameFile(self._path)
        self._watch = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=0)
        self._known.clear()

    async def aclose(self) -> None:
        log, self._log = self._log, None
        if log is not None:
            log.close()
        thread, self._thread = self._thread, None
        if thread is None:
            return
        gone, last = self._job(self._disconnect)
        thread.submit(last)
        try:
            await gone
        finally:
            thread.end()
            self._disconnect()  # where a cancelled close has withdrawn the job

    def _disconnect(self) -> None:
        if self._watch is not None:
            self._watch.close()
        if self._engine is not None:
            self._engine.dispose()
        if self._db is not None:
            self._db.close()
        self._db = self._watch = self._engine = self._files = None

    async def _run(self, work: Callable[[], T], rows: int = 1) -> T:
        if self._thread is None:
            raise StoreUnavailableError(NOT_OPEN)
        answer, job = self._job(work)
        self._queue.join(job, short=rows <= SHORT)
        self._thread.submit(self._next)
        try:
            return await answer
        except sqlite3.Error as error:
            raise translated(error) from error
        except Exception as error:
            if isinstance(error, (UnicodeError, OverflowError)) or type(error).__module__.startswith("sqlalchemy"):
                raise translated(error) from error
            raise

    def _job(self, work: Callable[[], T]) -> tuple[asyncio.Future[T], Callable[[], None]]:
        """Return what will hold the result of ``work``, and what to do for it in the writer's thread."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def job() -> None:
            if answer.cancelled():
                return
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - it is raised to the waiting caller
                self._finish(loop, answer, answer.set_exception, error)
            else:
                self._finish(loop, answer, answer.set_result, result)

        return answer, job

    def _next(self) -> None:
        self._queue.next()()

    @staticmethod
    def _finish(
        loop: asyncio.AbstractEventLoop, answer: asyncio.Future[T], finish: Callable[[V], None], value: V
    ) -> None:
        """Give the waiting caller its result, from the writer's thread."""

        def finish_now() -> None:
            if not answer.done():
                finish(value)

        with contextlib.suppress(RuntimeError):  # the loop may be gone
            loop.call_soon_threadsafe(finish_now)

    async def _read(self, work: Callable[[Connection], T]) -> T:
        return await self._run(lambda: self._in_transaction(work, write=False))

    async def _write(self, work: Callable[[Connection], T]) -> T:
        return await self._run(lambda: self._in_transaction(work, write=True))

    def _in_transaction(self, work: Callable[[Connection], T], *, write: bool) -> T:
        if self._engine is None:
            raise StoreUnavailableError(NOT_OPEN)
        self._check_files()
        with self._engine.connect().execution_options(notifykit_write=write) as connection, connection.begin():
            return work(connection)

    async def _change(self, work: Callable[[sqlite3.Connection], T], rows: int) -> T:
        return await self._run(lambda: self._immediate(work), rows)

    def _immediate(self, work: Callable[[sqlite3.Connection], T]) -> T:
        db = self._db
        if db is None:
            raise StoreUnavailableError(NOT_OPEN)
        self._check_files()
        _begin_immediate(db)
        try:
            result = work(db)
            db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise
        return result

    def _check_files(self) -> None:
        if self._files is not None:
            self._files.check()

    # -- the frequent verbs ----------------------------------------------------------------------

    async def append(self, events: Sequence[StoredEvent]) -> list[Appended]:
        encrypted = self.encryption.events(events)
        answers = await self._change(lambda db: verbs.append(db, encrypted), len(events))
        self.notify()
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
        binds = {
            "now": micros(now),
            "until": micros(now + lease),
            "exclude": verbs.json_list(exclude),
            "since": 0 if since is None else micros(since),
        }
        return self.encryption.taken(await self._change(lambda db: verbs.take(db, limit, binds), limit))

    async def settle(
        self, settlements: Sequence[Settlement], *, now: datetime, lease: timedelta, worker: str
    ) -> set[str]:
        at, until = micros(now), micros(now + lease)
        encrypted = self.encryption.settlements(settlements)
        settled = await self._change(lambda db: verbs.settle(db, encrypted, at, until, worker), _size(settlements))
        if leaves_work(settlements):
            self.notify()
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
        lease_until = now + lease
        binds = {
            "channel": lane.channel,
            "rank": RANK[lane.priority],
            "now": micros(now),
            "until": micros(lease_until),
            "worker": worker,
            "exclude": verbs.json_list(exclude),
            "exclude_tenants": verbs.json_list(exclude_tenants),
            "only": None if only is None else verbs.json_list(only),
            "named": None if ids is None else verbs.json_list(ids),
        }
        claims = await self._change(lambda db: verbs.claim(db, limit, binds, lease_until), limit)
        return await self._decrypted_claims(claims, now, lease_until)

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
        binds = {"channel": lane.channel, "rank": RANK[lane.priority], "now": micros(now)}
        until, left_out = micros(now + hold), (set(exclude), set(exclude_tenants))
        return await self._change(lambda db: handing.hand_off(db, lane, limit, binds, until, most, *left_out), limit)

    async def record(self, records: Sequence[Record]) -> set[str]:
        encrypted = self.encryption.records(records)
        # Never short: no caller waits for it.
        return await self._change(lambda db: verbs.record(db, encrypted), SHORT + 1)

    async def extend(self, claims: Sequence[tuple[str, int]], *, until: datetime) -> set[str]:
        return await self._change(lambda db: verbs.extend(db, claims, micros(until)), len(claims))

    # -- notifications ---------------------------------------------------------------------------

    def notify(self) -> None:
        loop = self._loop
        if loop is None or not self._waiters:
            return
        if threading.get_ident() == getattr(loop, "_thread_id", None):
            self._wake()
        else:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._wake)

    @property
    def hears_notifications(self) -> bool:
        """Whether every commit of another process is noticed here."""
        return self.private or (self._log is not None and self._log.armed)

    def _wake(self) -> None:
        for woken in self._waiters:
            end_wait(woken, notified=True)

    async def wait(self, timeout: timedelta, *, idle_timeout: timedelta | None = None) -> bool:
        loop = asyncio.get_running_loop()
        if idle_timeout is not None and self.hears_notifications:
            timeout = idle_timeout
        woken: asyncio.Future[bool] = loop.create_future()
        end = loop.time() + timeout.total_seconds()

        def check() -> None:
            pause = self._pause()
            if self._others_committed():
                self._heard = loop.time()
                end_wait(woken, notified=True)
            elif (left := end - loop.time()) <= 0:
                end_wait(woken, notified=False)
            else:
                timers[0] = loop.call_later(min(pause, left), check)

        timers: list[asyncio.Handle] = [loop.call_soon(check)]
        self._waiters.add(woken)
        try:
            return await woken
        finally:
            timers[0].cancel()
            self._waiters.discard(woken)

    def _notify_inboxes(self, connection: Connection) -> None:
        del connection
        self.notify()  # any commit ends a wait, except where nothing watches: in memory

    async def inbox_wait(self, timeout: timedelta) -> bool:
        return await self.wait(timeout)

    def _pause(self) -> float:
        """Return the seconds until the next check, if no write to the file causes one before."""
        if asyncio.get_running_loop().time() - self._heard <= _IDLE:
            return CHECK_EVERY
        if self.private:
            return math.inf
        try:
            if self._log is None:
                self._log = FileWatch(f"{self._path}-wal", self._note_write)
            self._log.arm()
        except OSError:
            return max(CHECK_EVERY, _IDLE_CHECK_EVERY)
        return math.inf

    def _note_write(self) -> None:
        """Wake the waiting calls: the writing process holds the lock, and has committed when they get it."""
        self._heard = asyncio.get_running_loop().time()
        self._wake()

    def _others_committed(self) -> bool:
        """Whether any connection has committed since the last check."""
        version = self._version()
        if version is None or version == self._seen:
            return False
        self._seen = version
        return True

    def _version(self) -> int | None:
        """Return what every commit of any connection changes (``PRAGMA data_version``: no lock), if that is known."""
        if self._watch is None or self._files is None or not self._files.is_there:
            return None
        try:
            version: int = self._watch.execute("PRAGMA data_version").fetchone()[0]
        except sqlite3.Error:
            return None
        return version

    # -- what an idle process reads again and again ------------------------------------------------

    async def next_due(self) -> NextDue:
        return await self._unless_known("next_due", super().next_due)

    async def circuits(self) -> list[OpenCircuit]:
        return list(await self._unless_known("circuits", super().circuits))

    async def _unless_known(self, name: str, read: Callable[[], Awaitable[T]]) -> T:
        """Return what was read last, and read it again only if any connection has committed since."""
        version = self._version()
        if version is None or self._known.get(name, (None,))[0] != version:
            self._known[name] = version, await read()
        known: T = self._known[name][1]
        return known


class _HintingCompiler(SQLiteCompiler):
    """Writes the hints of a query (``INDEXED BY``), which SQLAlchemy knows of other databases only."""

    def get_from_hint_text(self, table: FromClause, text: str | None) -> str | None:
        del table
        return text


def _into_wal(db: sqlite3.Connection) -> None:
    """Switch the file to WAL; SQLite's own timeout does not cover this, and several processes may start at once."""
    end = time.monotonic() + BUSY
    while True:
        try:
            if db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                db.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.02)


def _begin_immediate(db: sqlite3.Connection) -> None:
    """Begin to write; retry often while another process does, because SQLite's own waits grow to 100 ms."""
    end = time.monotonic() + BUSY
    db.execute("PRAGMA busy_timeout=0")
    try:
        while True:
            try:
                db.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                    raise
            time.sleep(_LOCK_RETRY)
    finally:
        db.execute(_BUSY_TIMEOUT)


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get("notifykit_write"):
        db = connection.connection.driver_connection
        assert isinstance(db, sqlite3.Connection)
        _begin_immediate(db)
    else:
        connection.exec_driver_sql("BEGIN")


def _size(settlements: Sequence[Settlement]) -> int:
    return sum(1 + len(settlement.deliveries) for settlement in settlements)


if TYPE_CHECKING:
    from ....ports import Digests, Inbox, Store

    _conforms: type[Store] = SqliteStore
    _keeps_inboxes: type[Inbox] = SqliteStore
    _collects: type[Digests] = SqliteStore
