"""The SQL store on SQLite: one writer thread, whole transactions, group commit.

SQLite has one writer, so this store has one thread, and ships it whole
transactions: handing single statements to a thread costs more than running them.
Before that thread short transactions go before long ones (see :mod:`.line`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Engine, StaticPool, create_engine, event, make_url

from ...errors import StoreUnavailableError
from ...failpoints import failpoint
from ...models.delivery import FINAL_STATES, Attempt, Claim, DeliveryState, Lane, NewDelivery
from ...models.event import StoredEvent, TakenEvent
from ...ports import Appended, Record, Settlement
from ...vault import KeyRing
from . import migrate
from .line import SHORT, Line
from .rows import (
    CLAIM_COLUMNS,
    EVENT_COLUMNS,
    FIRST_LOOK,
    LATER_LOOK,
    PRIORITIES,
    RANK,
    TAKEN_COLUMNS,
    WINDOW,
    attempt_values,
    claim_from,
    event_values,
    micros,
    micros_or_none,
    taken_from,
    with_records,
)
from .sealing import Seals, payloads_are_sealed, vault_for
from .store import NOT_OPEN, SqlStore, translated

T = TypeVar("T")
Told = TypeVar("Told")

#: Seconds that a connection waits for another one's transaction.
BUSY = 30
_PATIENT = f"PRAGMA busy_timeout={BUSY * 1000}"
#: Seconds between two tries to begin a transaction.
_LOCK_LOOK = 0.0003

#: Seconds between two looks of a waiting process whether another process has committed, the same when nobody has for
#: a while, and how long that is.
LOOK, _IDLE_LOOK, _IDLE = 0.02, 0.06, 1.0

_MARKS = ", ".join("?" for _ in EVENT_COLUMNS)
_EVENT = f"INSERT INTO notifykit_events ({', '.join(EVENT_COLUMNS)}) VALUES ({_MARKS}) ON CONFLICT DO NOTHING"
_OUTBOX = "INSERT INTO notifykit_outbox (event_id, tenant, priority, due_at, ordering_key) VALUES (?, ?, ?, ?, ?)"
_HELD = "SELECT id, fingerprint FROM notifykit_events WHERE tenant = ? AND idempotency_key = ?"
#: What is due, and whether it waits behind another one of its ordering key (see ADR 0012).
_DUE_EVENTS = """
SELECT event_id, ordering_key IS NOT NULL AND EXISTS (SELECT 1 FROM notifykit_outbox b
  WHERE b.tenant = o.tenant AND b.ordering_key = o.ordering_key AND b.event_id < o.event_id)
FROM notifykit_outbox o
WHERE priority = :rank AND due_at BETWEEN :since AND :now AND (taken_until IS NULL OR taken_until <= :now)
  AND tenant NOT IN (SELECT value FROM json_each(:exclude))
ORDER BY due_at LIMIT :window
"""
_LOOK = f"CASE WHEN behind THEN {LATER_LOOK} ELSE {FIRST_LOOK} END * (1000 + abs(random() % 1000)) / 1000"
_ASIDE_EVENTS = f"""
UPDATE notifykit_outbox SET due_at = :now + {_LOOK}, behind = 1
WHERE event_id IN (SELECT value FROM json_each(:ids))
"""
_TAKE = """
UPDATE notifykit_outbox SET fence = fence + 1, taken_until = :until, behind = 0
WHERE event_id IN (SELECT value FROM json_each(:ids)) RETURNING event_id
"""
_TURN_EVENT = """
UPDATE notifykit_outbox SET due_at = ?, behind = 0 WHERE behind AND event_id = (
  SELECT event_id FROM notifykit_outbox WHERE tenant = ? AND ordering_key = ? ORDER BY event_id LIMIT 1)
"""
_TAKEN = f"""
SELECT {TAKEN_COLUMNS}
FROM json_each(?) c JOIN notifykit_outbox o ON o.event_id = c.value
JOIN notifykit_events e ON e.tenant = o.tenant AND e.id = o.event_id
LEFT JOIN notifykit_tenants t ON t.tenant = o.tenant ORDER BY o.event_id
"""
_PLANNED = """
DELETE FROM notifykit_outbox WHERE event_id IN (SELECT value FROM json_each(?)) AND fence = ?
RETURNING event_id, fence, tenant, ordering_key
"""
_PAGED = "UPDATE notifykit_outbox SET cursor = ?, taken_until = NULL WHERE event_id = ? AND fence = ? RETURNING tenant"
_QUEUE = """
INSERT INTO notifykit_queue (id, event_id, tenant, subscription_id, subscriber_id, channel, priority,
  state, reason, created_at, due_at, expires_at, ordering_key, fence, lease_until, worker)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING
"""
_ENDED = """
INSERT OR IGNORE INTO notifykit_deliveries (id, event_id, tenant, subscription_id, subscriber_id, channel, priority,
  state, reason, attempts, abandoned, generation, fence, ordering_key, created_at, expires_at, finished_at,
  last_started_at, last_took, last_outcome, last_reason, last_status, last_response, last_worker)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_NOT_TRIED: tuple[Any, ...] = (None,) * 7
_KNOWN = """
SELECT 1 FROM notifykit_queue WHERE id = :id
UNION ALL SELECT 1 FROM notifykit_deliveries WHERE tenant = :tenant AND id = :id
"""
_DUE = """
SELECT id, ordering_key IS NOT NULL AND (EXISTS (SELECT 1 FROM notifykit_queue b
  WHERE b.subscriber_id = o.subscriber_id AND b.ordering_key = o.ordering_key AND b.id < o.id)
  OR EXISTS (SELECT 1 FROM notifykit_queue b
  WHERE b.subscriber_id = o.subscriber_id AND b.ordering_key = o.ordering_key AND b.state = 'sending'))
FROM notifykit_queue o INDEXED BY notifykit_queue_due
WHERE channel = :channel AND priority = :rank AND state <> 'sending' AND due_at <= :now
  AND subscriber_id NOT IN (SELECT value FROM json_each(:exclude))
ORDER BY due_at LIMIT :window
"""
_ASIDE = f"""
UPDATE notifykit_queue SET due_at = :now + {_LOOK}, behind = 1
WHERE id IN (SELECT value FROM json_each(:ids))
"""
_CLAIM = """
UPDATE notifykit_queue SET state = 'sending', reason = NULL, fence = fence + 1, lease_until = :until, worker = :worker,
  behind = 0
WHERE id IN (SELECT value FROM json_each(:ids)) RETURNING id
"""
_TURN = """
UPDATE notifykit_queue SET due_at = ?, behind = 0 WHERE behind AND id = (
  SELECT id FROM notifykit_queue WHERE subscriber_id = ? AND ordering_key = ? ORDER BY id LIMIT 1)
"""
_CLAIMED = f"""
SELECT {CLAIM_COLUMNS} FROM json_each(?) c JOIN notifykit_queue q ON q.id = c.value
JOIN notifykit_events e ON e.tenant = q.tenant AND e.id = q.event_id
LEFT JOIN notifykit_tenants t ON t.tenant = q.tenant ORDER BY q.due_at, q.id
"""
_FINISH = """
DELETE FROM notifykit_queue WHERE id IN (SELECT value FROM json_each(?)) AND fence = ? AND state = 'sending'
RETURNING id, event_id, tenant, subscription_id, subscriber_id, channel, priority, attempts, abandoned, generation,
  ordering_key, created_at, expires_at, fence
"""
_KEEP = """
UPDATE notifykit_queue SET state = ?, reason = ?, due_at = ?, lease_until = NULL, worker = NULL,
  attempts = coalesce(?, attempts), tries = tries + ? WHERE id = ? AND fence = ? AND state = 'sending'
"""
_ATTEMPT = """
INSERT INTO notifykit_attempts (delivery_id, number, started_at, took, outcome, reason, status, retry_at, response,
  worker)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_EXTEND = "UPDATE notifykit_queue SET lease_until = ? WHERE id = ? AND fence = ? AND state = 'sending'"


class SqliteStore(SqlStore):
    """A store in one SQLite file: WAL, ``synchronous=FULL``, one writer thread.

    Args:
        url: ``sqlite:///file.db``.
        synchronous: SQLite's pragma; ``NORMAL`` survives a killed process but not a power cut.
        create: Make the tables when the file has none.
        keys: What secrets are sealed under; by default ``NOTIFYKIT_KEYS``, or a key made for development.
        environment: ``production`` refuses to work without keys; by default ``NOTIFYKIT_ENV``.
        encrypt_payloads: Seal what events say, too; by default ``NOTIFYKIT_ENCRYPT_PAYLOADS``.
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
        self.url = url
        self.seals = Seals(vault_for(url, keys, environment), payloads=payloads_are_sealed(encrypt_payloads))
        self._path = make_url(url).database or ":memory:"
        #: Whether no second store can be opened on the same data.
        self.private = self._path == ":memory:"
        self._synchronous = synchronous
        self._create = create
        self._thread: ThreadPoolExecutor | None = None
        self._line: Line[Callable[[], None]] = Line()
        self._engine: Engine | None = None
        self._db: sqlite3.Connection | None = None
        self._watch: sqlite3.Connection | None = None
        self._seen = -1
        self._heard = float("-inf")
        self._waiters: set[asyncio.Future[bool]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self) -> None:
        self.seals.vault.check()
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
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="notifykit-sqlite")
        try:
            await self._run(connect)
        except BaseException:
            await self.aclose()
            raise

    def _connect(self) -> None:
        try:
            if not self.private:
                Path(self._path).absolute().parent.mkdir(parents=True, exist_ok=True)
            self._db = db = sqlite3.connect(
                self._path, isolation_level=None, check_same_thread=False, timeout=BUSY, cached_statements=256
            )
            _into_wal(db)
            for pragma in (f"synchronous={self._synchronous}", "temp_store=MEMORY", "cache_size=-64000"):
                db.execute(f"PRAGMA {pragma}")
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailableError(f"cannot open {self._path}: {error}") from error
        self._engine = create_engine("sqlite://", creator=lambda: db, poolclass=StaticPool, hide_parameters=True)
        event.listen(self._engine, "begin", _begin)

    def _connect_and_check(self) -> None:
        self._connect()
        if self._create and self._in_transaction(migrate.is_empty, write=False):
            self._in_transaction(migrate.create, write=True)
        self._in_transaction(migrate.check, write=False)
        self._watch = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=0)

    async def aclose(self) -> None:
        thread, self._thread = self._thread, None
        if thread is None:
            return
        try:
            await asyncio.get_running_loop().run_in_executor(thread, self._disconnect)
        except RuntimeError:  # the interpreter is ending: its threads have ended already
            self._disconnect()
        thread.shutdown(wait=True)

    def _disconnect(self) -> None:
        if self._watch is not None:
            self._watch.close()
        if self._engine is not None:
            self._engine.dispose()
        if self._db is not None:
            self._db.close()
        self._db = self._watch = self._engine = None

    async def _run(self, work: Callable[[], T], rows: int = 1) -> T:
        if self._thread is None:
            raise StoreUnavailableError(NOT_OPEN)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def job() -> None:
            if answer.cancelled():
                return
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - it is raised to who waits
                self._tell(loop, answer, answer.set_exception, error)
            else:
                self._tell(loop, answer, answer.set_result, result)

        self._line.join(job, short=rows <= SHORT)
        self._thread.submit(self._next)
        try:
            return await answer
        except sqlite3.Error as error:
            raise translated(_as_unavailable(error)) from error
        except Exception as error:
            if isinstance(error, UnicodeError) or type(error).__module__.startswith("sqlalchemy"):
                raise translated(error) from error
            raise

    def _next(self) -> None:
        self._line.next()()

    @staticmethod
    def _tell(
        loop: asyncio.AbstractEventLoop, answer: asyncio.Future[T], tell: Callable[[Told], None], what: Told
    ) -> None:
        """Give the answer to who waits for it, from the writer's thread."""

        def told() -> None:
            if not answer.done():
                tell(what)

        with contextlib.suppress(RuntimeError):  # the loop may be gone
            loop.call_soon_threadsafe(told)

    async def _read(self, work: Callable[[Connection], T]) -> T:
        return await self._run(lambda: self._in_transaction(work, write=False))

    async def _write(self, work: Callable[[Connection], T]) -> T:
        return await self._run(lambda: self._in_transaction(work, write=True))

    def _in_transaction(self, work: Callable[[Connection], T], *, write: bool) -> T:
        if self._engine is None:
            raise StoreUnavailableError(NOT_OPEN)
        with self._engine.connect().execution_options(notifykit_write=write) as connection, connection.begin():
            return work(connection)

    async def _change(self, work: Callable[[sqlite3.Connection], T], rows: int) -> T:
        return await self._run(lambda: self._immediate(work), rows)

    def _immediate(self, work: Callable[[sqlite3.Connection], T]) -> T:
        db = self._db
        if db is None:
            raise StoreUnavailableError(NOT_OPEN)
        _begin_immediate(db)
        try:
            result = work(db)
            db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise
        return result

    # -- the frequent verbs ----------------------------------------------------------------------

    async def append(self, events: Sequence[StoredEvent]) -> list[Appended]:
        sealed = self.seals.events(events)
        answers = await self._change(lambda db: _append(db, sealed), len(events))
        self.hint()
        return self.seals.answers(events, answers)

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
            "exclude": _json(exclude),
            "since": 0 if since is None else micros(since),
        }
        return self.seals.taken(await self._change(lambda db: _take(db, limit, binds), limit))

    async def settle(
        self, settlements: Sequence[Settlement], *, now: datetime, lease: timedelta, worker: str
    ) -> set[str]:
        at, until = micros(now), micros(now + lease)
        sealed = self.seals.settlements(settlements)
        settled = await self._change(lambda db: _settle(db, sealed, at, until, worker), _size(settlements))
        if any(map(_leaves_work, settlements)):
            self.hint()
        return settled

    async def claim_due(
        self,
        lane: Lane,
        limit: int,
        *,
        now: datetime,
        lease: timedelta,
        worker: str,
        exclude: Collection[str] = (),
    ) -> list[Claim]:
        lease_until = now + lease
        binds = {
            "channel": lane.channel,
            "rank": RANK[lane.priority],
            "now": micros(now),
            "until": micros(lease_until),
            "worker": worker,
            "exclude": _json(exclude),
        }

        def work(db: sqlite3.Connection) -> list[Claim]:
            ids = [row[0] for row in _hand_out(db, limit, _DUE, _ASIDE, _CLAIM, binds)]
            if not ids:
                return []
            return [claim_from(row, lease_until) for row in db.execute(_CLAIMED, (_json(ids),))]

        return self.seals.claims(await self._change(work, limit))

    async def record(self, records: Sequence[Record]) -> set[str]:
        sealed = self.seals.records(records)
        # Never short: nobody waits for it who is not already served.
        return await self._change(lambda db: _record(db, sealed), SHORT + 1)

    async def extend(self, claims: Sequence[tuple[str, int]], *, until: datetime) -> set[str]:
        at = micros(until)

        def work(db: sqlite3.Connection) -> set[str]:
            return {id_ for id_, fence in claims if db.execute(_EXTEND, (at, id_, fence)).rowcount}

        return await self._change(work, len(claims))

    # -- hints -----------------------------------------------------------------------------------

    def hint(self) -> None:
        loop = self._loop
        if loop is None or not self._waiters:
            return
        if threading.get_ident() == getattr(loop, "_thread_id", None):
            self._wake()
        else:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        for woken in self._waiters:
            self._answer(woken, hinted=True)

    async def wait(self, timeout: timedelta) -> bool:
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[bool] = loop.create_future()
        end = loop.time() + timeout.total_seconds()

        def look() -> None:
            if self._others_committed():
                self._heard = loop.time()
                self._answer(woken, hinted=True)
            elif (left := end - loop.time()) <= 0:
                self._answer(woken, hinted=False)
            else:
                idle = loop.time() - self._heard > _IDLE
                timers[0] = loop.call_later(min(max(LOOK, _IDLE_LOOK) if idle else LOOK, left), look)

        timers: list[asyncio.Handle] = [loop.call_soon(look)]
        self._waiters.add(woken)
        try:
            return await woken
        finally:
            timers[0].cancel()
            self._waiters.discard(woken)

    def _answer(self, woken: asyncio.Future[bool], *, hinted: bool) -> None:
        if not woken.done():
            woken.set_result(hinted)

    def _others_committed(self) -> bool:
        """Whether any connection has committed since the last look (``PRAGMA data_version``: no lock, no I/O)."""
        if self._watch is None:
            return False
        try:
            version = self._watch.execute("PRAGMA data_version").fetchone()[0]
        except sqlite3.Error:
            return False
        changed = version != self._seen
        self._seen = version
        return bool(changed)


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
    """Begin to write; look often while another process does, for SQLite's own waits grow to 100 ms."""
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
            time.sleep(_LOCK_LOOK)
    finally:
        db.execute(_PATIENT)


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get("notifykit_write"):
        db = connection.connection.driver_connection
        assert isinstance(db, sqlite3.Connection)
        _begin_immediate(db)
    else:
        connection.exec_driver_sql("BEGIN")


def _as_unavailable(error: sqlite3.Error) -> BaseException:
    if isinstance(error, sqlite3.OperationalError) and "no such table" not in str(error):
        return OSError(str(error))
    return error


def _size(settlements: Sequence[Settlement]) -> int:
    return sum(1 + len(settlement.deliveries) for settlement in settlements)


def _leaves_work(settlement: Settlement) -> bool:
    """Whether somebody has to be woken: for another page, or for a delivery that its planner does not send itself."""
    ended = {r.delivery_id for r in settlement.records if r.state in FINAL_STATES and r.event is None}
    return settlement.cursor is not None or any(
        new.state is DeliveryState.PENDING and new.id not in ended for new in settlement.deliveries
    )


def _json(values: Collection[str]) -> str:
    return json.dumps(list(values))


def _rows(cursor: sqlite3.Cursor) -> Iterator[tuple[Any, ...]]:
    return iter(cursor.fetchall())


def _append(db: sqlite3.Connection, events: Sequence[StoredEvent]) -> list[Appended]:
    answers = []
    fresh = []
    for item in events:
        if db.execute(_EVENT, event_values(item)).rowcount:
            fresh.append((item.id, item.tenant, RANK[item.priority], micros(item.due_at), item.ordering_key))
            answers.append(Appended(item.id))
        else:
            held, fingerprint = db.execute(_HELD, (item.tenant, item.idempotency_key)).fetchone()
            answers.append(Appended(held, duplicate=True, fingerprint=fingerprint))
    db.executemany(_OUTBOX, fresh)
    failpoint("pub.inserted")
    return answers


def _hand_out(
    db: sqlite3.Connection, limit: int, due: str, aside: str, pick: str, binds: dict[str, Any]
) -> list[tuple[Any, ...]]:
    """Return up to ``limit`` picked rows; set aside what is due but waits behind another row."""
    window = limit
    while True:
        met = db.execute(due, {**binds, "window": window}).fetchall()
        behind = [id_ for id_, waits in met if waits]
        if behind:
            db.execute(aside, {**binds, "ids": _json(behind)})
        free = [id_ for id_, waits in met if not waits][:limit]
        if free:
            return db.execute(pick, {**binds, "ids": _json(free)}).fetchall()
        if not behind:
            return []
        window = max(limit, WINDOW)


def _take(db: sqlite3.Connection, limit: int, binds: dict[str, Any]) -> list[TakenEvent]:
    taken: list[TakenEvent] = []
    for rank in range(len(PRIORITIES)):
        rows = _hand_out(db, limit - len(taken), _DUE_EVENTS, _ASIDE_EVENTS, _TAKE, {**binds, "rank": rank})
        if rows:
            taken += map(taken_from, db.execute(_TAKEN, (_json([row[0] for row in rows]),)))
        if len(taken) >= limit:
            break
    return taken


def _settle(db: sqlite3.Connection, settlements: Sequence[Settlement], now: int, until: int, worker: str) -> set[str]:
    settled = set()
    queue: list[tuple[Any, ...]] = []
    ended: list[tuple[Any, ...]] = []
    lines = set()
    rest: list[Record] = []
    whole = [(event_id, fence) for event_id, fence, _, cursor, _ in settlements if cursor is None]
    gone = {row[:2]: row[2:] for row in _by_fence(db, _PLANNED, whole)}
    for settlement in settlements:
        event_id, fence, _, cursor, _ = settlement
        if cursor is None:
            line = gone.pop((event_id, fence), None)
            if line is None:
                continue
            if line[1] is not None:
                lines.add(line)
        elif not db.execute(_PAGED, (cursor, event_id, fence)).fetchone():
            continue
        settled.add(event_id)
        planned, left = with_records(settlement)
        rest += left
        for new, record in planned:
            if fence > 1 and db.execute(_KNOWN, {"id": new.id, "tenant": new.tenant}).fetchone():
                continue  # an earlier page of the same event made it; it waits, or has ended since
            if record is not None or new.state in FINAL_STATES:
                ended.append(_ended_values(new, now, record))
            else:
                queue.append(_queue_values(new, now, until, worker))
    failpoint("fan.half")
    db.executemany(_QUEUE, queue)
    if ended:
        db.executemany(_ENDED, ended)
    db.executemany(_TURN_EVENT, [(now, *line) for line in lines])
    if any(settlement.records for settlement in settlements):
        _record(db, rest)
    return settled


def _queue_values(new: NewDelivery, now: int, until: int, worker: str) -> tuple[Any, ...]:
    leased = new.state is DeliveryState.SENDING
    due_at = micros(new.due_at)
    return (
        new.id,
        new.event_id,
        new.tenant,
        new.subscription_id,
        new.subscriber_id,
        new.channel,
        RANK[new.priority],
        new.state.value,
        new.reason,
        due_at if leased else now,
        due_at,
        micros_or_none(new.expires_at),
        new.ordering_key,
        1 if leased else 0,
        until if leased else None,
        worker if leased else None,
    )


def _ended_values(new: NewDelivery, now: int, record: Record | None = None) -> tuple[Any, ...]:
    """Return the row of a delivery that has ended as it was planned, or was sent before its plan is written."""
    state, reason, created_at, finished_at, fence = new.state, new.reason, now, now, 0
    attempts, last = 0, _NOT_TRIED
    if record is not None:
        state, reason, created_at, finished_at, fence = (
            record.state,
            record.reason,
            micros(new.due_at),
            micros(record.at),
            1,
        )
        if record.attempt is not None:
            attempts, last = _last_attempt(record.attempt)
    return (
        new.id,
        new.event_id,
        new.tenant,
        new.subscription_id,
        new.subscriber_id,
        new.channel,
        RANK[new.priority],
        state.value,
        reason,
        attempts,
        0,
        0,
        fence,
        new.ordering_key,
        created_at,
        micros_or_none(new.expires_at),
        finished_at,
        *last,
    )


def _last_attempt(attempt: Attempt) -> tuple[int, tuple[Any, ...]]:
    number, *before_retry, _, response, worker = attempt_values(attempt)
    return number, (*before_retry, response, worker)


def _by_fence(db: sqlite3.Connection, statement: str, wanted: Iterable[tuple[str, int]]) -> list[tuple[Any, ...]]:
    """Return what ``statement`` says of the ids whose fence is right; one run for each fence, and most are equal."""
    ids: dict[int, list[str]] = {}
    for id_, fence in wanted:
        ids.setdefault(fence, []).append(id_)
    return [row for fence, these in ids.items() for row in db.execute(statement, (_json(these), fence)).fetchall()]


def _record(db: sqlite3.Connection, records: Sequence[Record]) -> set[str]:
    written = set()
    ended = []
    tries = []
    lines = {}
    final = [(record.delivery_id, record.fence) for record in records if record.state in FINAL_STATES]
    gone = {(row[0], row[-1]): row for row in _by_fence(db, _FINISH, final)}
    for delivery_id, fence, state, reason, due_at, at, attempt, told in records:
        if state in FINAL_STATES:
            row = gone.pop((delivery_id, fence), None)
            if row is None:
                continue
            *ids, attempts, abandoned, generation, ordering_key, created_at, expires_at, _ = row
            last = _NOT_TRIED
            if attempt is not None:
                attempts, last = _last_attempt(attempt)
            history = (attempts, abandoned, generation, fence, ordering_key, created_at, expires_at, micros(at))
            ended.append((*ids, state.value, reason, *history, *last))
            if ordering_key is not None:
                lines[row[4], ordering_key] = micros(at)
        else:
            number, tried = (None, 0) if attempt is None else (attempt.number, 1)
            due = micros(due_at or at)
            if not db.execute(_KEEP, (state.value, reason, due, number, tried, delivery_id, fence)).rowcount:
                continue
            if attempt is not None:
                tries.append((delivery_id, *attempt_values(attempt)))
        written.add(delivery_id)
        if told is not None:
            _append(db, [told])
    db.executemany(_ENDED, ended)
    db.executemany(_TURN, [(at, *line) for line, at in lines.items()])
    failpoint("res.half")
    db.executemany(_ATTEMPT, tries)
    return written


if TYPE_CHECKING:
    from ...ports import Store

    _conforms: type[Store] = SqliteStore
