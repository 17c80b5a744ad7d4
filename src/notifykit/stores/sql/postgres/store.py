"""The SQL store on PostgreSQL: each frequent verb is one statement for hundreds of rows.

The frequent verbs hand arrays to the driver's own connection (asyncpg); everything
else runs through SQLAlchemy on the same pool.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sqlalchemy import Connection, exc
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import greenlet_spawn

from ....errors import NotifykitError, StoreError, StoreUnavailableError
from ....failpoints import failpoint
from ....models.circuit import OpenCircuit
from ....models.delivery import Claim, Lane
from ....models.event import StoredEvent, TakenEvent
from ....models.inbox import InboxItem
from ....models.subscription import Match, MatchQuery
from ....ports import Appended, ConfigRecord, NextDue, Outstanding, Record, Settlement, Ticket
from ....telemetry import why
from ....vault import KeyRing
from ...encoding.encryption import Encryption, payloads_are_encrypted
from ...encoding.inbox_rows import item_values
from ...encoding.readable import each
from ...encoding.rows import RANK, WINDOW, claim_from, in_key_order, leaves_work, micros, taken_from
from .. import faults, limits, migrate, subscription_index
from ..reading import NEXT_DUE, next_due_from
from ..records import KINDS
from ..store import NOT_OPEN, SHORT, SqlStore, end_wait, notified
from ..vault import vault_for
from . import digests, inbox
from . import statements as sql
from .checkout import IS_READ_ONLY, Checkout, refuse_read_only
from .columns import Shapes, event_columns, record_columns
from .connections import Connector, check_engine, pool_like, refuse_pooler
from .driver import asyncpg
from .matching import MATCH, key_columns
from .settling import Settling, Terms
from .url import Pooling, PostgresUrl

T = TypeVar("T")
R = TypeVar("R", bound=ConfigRecord)

#: What a connection that has died, or is about to, raises.  A driver whose connection was lost in the
#: middle of a statement may also find itself in a state that it takes for a mistake of its own.
_LOST = (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
_FAILURES = (*_LOST, asyncpg.PostgresError, exc.SQLAlchemyError)
#: Seconds that a frequent verb may take, which needs milliseconds, before its connection is given up for dead.
_STATEMENT_TIMEOUT = 15
#: Seconds that a connection may take to be closed.
_CLOSING = 1
_NOTIFY = "NOTIFY notifykit"
#: The channel of inboxes is another one: what people read wakes no dispatcher.
_NOTIFY_INBOXES = "NOTIFY notifykit_inbox"
#: So many failures in a row, some seconds apart, are reported: a server that was only restarted is not.
_DEAF_AFTER = 3
#: Seconds after which a listener that has received no notification, not even its own, is reported.
_LATE = 10
#: Seconds that disconnecting may take.
_CLOSE_TIMEOUT = 0.5
#: For so many seconds after the bypass has taken events, long statements go one at a time:
#: the short ones find a processor free (see ADR 0015).
_BYPASSED = 0.5
#: When work is due, and whether this process can still do it: on this server, with these tables.
_NEXT_DUE = f"SELECT d.*, ({IS_READ_ONLY}) AS is_read_only, ({migrate.STAMP}) AS schema_version FROM ({NEXT_DUE}) d"

#: A prepared statement is missing, or is there already: the server connection is not the one it was.
_FOREIGN = frozenset({"26000", "42P05"})

_BY_URGENCY = itemgetter("priority", "event_id")


class PostgresStore(SqlStore):
    """A store in a PostgreSQL database (14 or newer).

    Args:
        url: ``postgresql://user@host/database``.
        engine: An ``AsyncEngine`` on asyncpg, on the same database, to use instead; the kit does not close it.
        own_pool: Connect as ``engine`` does, but in a pool of our own: the engine belongs to another event loop.
        pool_size: Connections kept open at the most.
        create: Make the tables when the database has none.
        keys: What secrets are encrypted under; by default ``NOTIFYKIT_KEYS``, or a key made for development.
        environment: ``production`` refuses to work without keys; by default ``NOTIFYKIT_ENV``.
        encrypt_payloads: Encrypt the content of events, too; by default ``NOTIFYKIT_ENCRYPT_PAYLOADS``.
        notify: Send ``NOTIFY`` with what is published, so that other processes need not poll for it.

    Raises:
        ConfigurationError: The URL has a parameter that cannot be kept, or the engine is on another database.
    """

    def __init__(
        self,
        url: str,
        *,
        engine: AnyEngine | None = None,
        own_pool: bool = False,
        pool_size: int = 10,
        create: bool = False,
        keys: KeyRing | None = None,
        environment: str | None = None,
        encrypt_payloads: bool | None = None,
        notify: bool = True,
    ) -> None:
        self.url = url
        self.connector = Connector(PostgresUrl.parse(url))
        if engine is not None:
            check_engine(engine, self.connector.url)
        self._notify = notify
        self.encryption = Encryption(
            vault_for(url, keys, environment), payloads=payloads_are_encrypted(encrypt_payloads)
        )
        self._given, self._owns_engine = engine, engine is None or own_pool
        self._pool_size = pool_size
        self._engine = None if own_pool else engine
        self._create = create
        self._listening: asyncio.Task[None] | None = None
        self._listener: Any = None
        self._hears = False
        #: Why NOTIFY is not heard; ``None`` if it is, or if that is not known yet.
        self.listen_error: str | None = None
        self._deaf: StoreUnavailableError | None = None
        self._checkout = Checkout()
        self._waiters: set[asyncio.Future[bool]] = set()
        self._inbox_readers: set[asyncio.Future[bool]] = set()
        self._notification_is_kept = False
        self._bypassed_until = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._events, self._records = Shapes(), Shapes()
        self._settling = Settling()

    async def open(self) -> None:
        self.encryption.vault.check()
        try:
            await self._connect()
            await self._read(refuse_read_only)
            if self._create:
                await self._write(migrate.create)
            await self._read(lambda connection: migrate.check(connection, self.schema))
        except BaseException:
            await self.aclose()
            raise

    async def _connect(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._one_long, self._asking = asyncio.Lock(), asyncio.Lock()
        try:
            if self._given is None:
                await self.connector.find_pooler()
            if self._engine is None:
                self._engine = self.connector.engine(self._pool_size) if self._given is None else pool_like(self._given)
            self._checkout.watch(self._engine)
            if self._given is not None:
                await refuse_pooler(self._engine, self.connector)
        except _FAILURES as error:
            raise self._translated(error) from error

    async def upgrade(self, work: Callable[[Connection], T]) -> T:
        """Run a migration on a store that is not open."""
        try:
            await self._connect()
            await self._read(refuse_read_only)
            return await self._write(work)
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listening
            self._listening = None
        if self._engine is not None:
            self._checkout.unwatch(self._engine)
        if self._engine is not None and self._owns_engine:
            engine, self._engine = self._engine, None
            try:
                async with asyncio.timeout(_CLOSE_TIMEOUT):
                    await engine.dispose()
            except TimeoutError:  # the server is silent, and every connection would wait for its answer
                await engine.dispose(close=False)

    @contextlib.asynccontextmanager
    async def _driver(self, rows: int = 1) -> AsyncIterator[Any]:
        """Lend an asyncpg connection of the pool, for a statement of so many rows."""
        if self._engine is None:
            raise StoreUnavailableError(NOT_OPEN)
        if rows > SHORT and time.monotonic() < self._bypassed_until:
            async with self._one_long, self._driver() as pg:
                yield pg
            return
        try:
            lent = await _borrowed(self._engine)
            try:
                yield lent.driver_connection
            except _FAILURES as error:
                if isinstance(error, _LOST) or faults.ends_connection(error):
                    lent.invalidate(error)
                raise
            finally:
                if lent.is_valid:
                    await self._give_back(lent)
        except _FAILURES as error:
            raise self._translated(error) from error

    async def _give_back(self, lent: PoolProxiedConnection) -> None:
        """Return a connection to its pool, which closes it if it keeps no more: only other pools than ours do that."""
        pg: Any = lent.driver_connection
        if pg.is_in_transaction():  # its end was cut off; what is written there next would never be committed
            lent.invalidate()
            return
        if self._given is None:
            lent.close()  # a greenlet would cost as much as the statement of a small batch
        else:
            await asyncio.shield(greenlet_spawn(lent.close))

    async def _read(self, work: Callable[[Connection], T]) -> T:
        return await self._write(work)

    async def _write(self, work: Callable[[Connection], T]) -> T:
        if self._engine is None:
            raise StoreUnavailableError(NOT_OPEN)
        try:
            async with self._engine.begin() as connection:
                return await connection.run_sync(work)
        except _FAILURES as error:
            raise self._translated(error) from error

    def _translated(self, error: BaseException) -> Exception:
        """Return our error for one of the driver's; after a failover, leave every connection to the old primary."""
        if faults.state(error) == faults.READ_ONLY_STATE:
            self._leave_server()
        if faults.state(error) in _FOREIGN:
            return StoreUnavailableError(
                f"{error}: a pooler has put another server connection behind ours; "
                "add ?pooler=transaction to the store's URL, or connect to the server itself"
            )
        if isinstance(error, _LOST):
            return StoreUnavailableError(f"the database is not available: {str(error) or 'it did not answer in time'}")
        return faults.translated(error)

    def _leave_server(self) -> None:
        """Use no connection any more that was made before now: a new one may reach another server."""
        self._checkout.replace_all()
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.terminate()

    # -- the frequent verbs ----------------------------------------------------------------------

    async def append(self, events: Sequence[StoredEvent]) -> list[Appended]:
        if not events:
            return []
        varying, values = self._events.fit(event_columns(in_key_order(self.encryption.events(events))))
        careful = any(event.idempotency_key for event in events)
        async with self._driver(len(events)) as pg:
            notify = self._notification_is_due()
            failpoint("pub.inserted")
            answers = [Appended(event.id) for event in events]
            if careful or not await _is_new(pg, sql.append(varying, careful=False, notify=notify), values):
                statement = sql.append(varying, careful=True, notify=notify)
                rows = await pg.fetch(statement, *values, timeout=_STATEMENT_TIMEOUT)
                stored = {row["event_id"] for row in rows}
                for index, event in enumerate(events):
                    if event.id not in stored:
                        held = await pg.fetchrow(sql.HELD, event.tenant, event.idempotency_key, event.id)
                        answers[index] = Appended(*held)
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
        edge = 0 if since is None else micros(since)
        if exclude and since is None:
            async with self._driver() as pg:
                edge = await pg.fetchval(sql.FIRST_OF_OTHERS, list(exclude), timeout=_STATEMENT_TIMEOUT)
            if edge is None:
                return []
        values = (micros(now), limit, micros(now + lease), list(exclude), edge)
        rows = [row for row in await self._hand_out(limit, sql.TAKE, *values) if row["event_id"] is not None]
        rows.sort(key=_BY_URGENCY)  # the server would copy the bodies for that
        if since is not None and rows and limit <= SHORT:
            self._bypassed_until = time.monotonic() + _BYPASSED
        return self.encryption.taken(each(taken_from, rows, "event", key="event_id"))

    async def settle(
        self, settlements: Sequence[Settlement], *, now: datetime, lease: timedelta, worker: str
    ) -> set[str]:
        if not settlements:
            return set()
        terms = Terms(micros(now), micros(now + lease), worker, _STATEMENT_TIMEOUT, self._record)
        async with self._driver(sum(1 + len(settlement.deliveries) for settlement in settlements)) as pg:
            failpoint("fan.half")
            if any(settlement.records for settlement in settlements):
                failpoint("res.half")
            settled = await self._settling.settle(pg, self.encryption.settlements(settlements), terms)
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
        names = (list(exclude), list(exclude_tenants), None if only is None else list(only))
        values = (lane.channel, RANK[lane.priority], micros(now), limit, micros(until), worker, *names)
        if ids is None:
            rows = await self._hand_out(limit, sql.CLAIM, *values)
        else:
            rows = await self._hand_out(limit, sql.CLAIM_NAMED, *values, list(ids))
        found = [row for row in rows if row["id"] is not None]
        claims = each(lambda row: claim_from(row, until), found, "delivery")
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
        until, names = micros(now + hold), (list(exclude), list(exclude_tenants))
        values = (lane.channel, RANK[lane.priority], micros(now), limit, until, most.lane, *names, *most[1:])
        rows = await self._hand_out(limit, sql.HAND_OFF, *values)
        return [
            Ticket(row["id"], lane, row["tenant"], row["subscriber_id"]) for row in rows if row["fence"] is not None
        ]

    async def _hand_out(self, limit: int, statement: str, *values: Any) -> list[Any]:
        """Run ``TAKE``, ``CLAIM`` or ``HAND_OFF`` until it returns rows, or finds no more blocked rows to defer.

        The answer is never empty: one row of NULLs stands for no rows.
        """
        window = limit
        raced = False
        async with self._driver(limit) as pg:
            while True:
                try:
                    rows: list[Any] = await pg.fetch(statement, *values, window, timeout=_STATEMENT_TIMEOUT)
                except asyncpg.UniqueViolationError:
                    # Another one of the same FIFO group was handed out at this very moment; a second try sees it.
                    if raced:
                        raise
                    raced = True
                    continue
                if rows[0]["fence"] is not None or not rows[0]["deferred"]:
                    return rows
                window = max(limit, WINDOW)

    async def record(self, records: Sequence[Record]) -> set[str]:
        if not records:
            return set()
        records = self.encryption.records(records)
        async with self._driver(len(records)) as pg:
            failpoint("res.half")
            if not any(record.event or record.digest for record in records):
                return await self._record(pg, records)
            async with pg.transaction():
                collected = [record for record in records if record.digest is not None]
                written = await self._record(pg, [record for record in records if record.digest is None])
                return written | await digests.collect_claimed(pg, collected, _STATEMENT_TIMEOUT)

    async def _record(self, pg: Any, records: Sequence[Record]) -> set[str]:
        """Write records with their operational events; return the ids of those that were written."""
        if not records:
            return set()
        varying, values = self._records.fit(record_columns(records))
        written = {row["id"] for row in await pg.fetch(sql.record(varying), *values, timeout=_STATEMENT_TIMEOUT)}
        events = [record.event for record in records if record.event is not None and record.delivery_id in written]
        if events:
            varying, values = self._events.fit(event_columns(events))
            await pg.execute(sql.append(varying, careful=True, notify=True), *values)
        return written

    async def extend(self, claims: Sequence[tuple[str, int]], *, until: datetime) -> set[str]:
        if not claims:
            return set()
        ids, fences = zip(*claims, strict=True)
        async with self._driver() as pg:
            rows = await pg.fetch(sql.EXTEND, ids, fences, micros(until), timeout=_STATEMENT_TIMEOUT)
        return {row["id"] for row in rows}

    async def next_due(self) -> NextDue:
        rows = await self._ask(_NEXT_DUE)
        row = rows[0]
        if row["is_read_only"]:
            self._leave_server()
            raise StoreUnavailableError(faults.READ_ONLY)
        migrate.refuse_newer(row["schema_version"], self.schema)
        return next_due_from(rows)

    async def circuits(self) -> list[OpenCircuit]:
        return limits.readable(await self._ask(limits.OPEN_CIRCUITS))

    async def _ask(self, question: str) -> Sequence[Any]:
        """Return the rows of a short query that idle processes send, too.

        They need no other connection than the one that listens, and so notice if it is lost.
        """
        if self._engine is None:
            raise StoreUnavailableError(NOT_OPEN)
        async with self._asking:
            listener = self._listener
            if listener is None:
                async with self._driver() as pg:
                    return cast("Sequence[Any]", await pg.fetch(question, timeout=_STATEMENT_TIMEOUT))
            try:
                return cast("Sequence[Any]", await listener.fetch(question, timeout=_STATEMENT_TIMEOUT))
            except _FAILURES as error:
                self._listener = None
                listener.terminate()
                raise self._translated(error) from error

    # -- what planning and sending read of large tenants -----------------------------------------

    async def get(self, kind: type[R], tenant: str, ids: Collection[str]) -> list[R]:
        its = KINDS[kind]
        async with self._driver() as pg:
            rows = await pg.fetch(sql.get(its.table.name), tenant, list(ids), timeout=_STATEMENT_TIMEOUT)
        return self._decrypted(its, [its.form.read(row) for row in rows])

    async def match(self, tenant: str, queries: Sequence[MatchQuery], *, limit: int) -> list[list[Match]]:
        columns = key_columns(queries)
        async with self._driver() as pg:
            rows = await pg.fetch(MATCH, tenant, *columns, limit, timeout=_STATEMENT_TIMEOUT)
        found: list[list[Match]] = [[] for _ in queries]
        for row in rows:
            found[row["query"]].append(subscription_index.match_from(row))
        return found

    # -- notifications ---------------------------------------------------------------------------

    def notify(self) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._wake)

    def _notifying(self, connection: Connection, result: T) -> T:
        if self._notify:
            connection.exec_driver_sql(_NOTIFY)
        return result

    def _notification_is_due(self) -> bool:
        return self._notify and super()._notification_is_due()

    @property
    def hears_notifications(self) -> bool:
        """Whether NOTIFY of other processes is known to arrive here."""
        return self._hears

    def _hear(self, *_: object) -> None:
        self._hears = True
        self._wake()

    def _wake(self) -> None:
        self._notification_is_kept = not self._waiters
        for waiter in self._waiters:
            end_wait(waiter, notified=True)

    async def wait(self, timeout: timedelta, *, idle_timeout: timedelta | None = None) -> bool:
        if idle_timeout is not None and self._hears:
            timeout = idle_timeout
        self._start_to_listen()
        if self._deaf is not None:
            deaf, self._deaf = self._deaf, None
            raise deaf
        if self._notification_is_kept:  # it came while no call waited
            self._notification_is_kept = False
            return True
        return await notified(self._waiters, timeout)

    def _notify_inboxes(self, connection: Connection) -> None:
        if self._notify:
            connection.exec_driver_sql(_NOTIFY_INBOXES)

    async def inbox_put(self, items: Sequence[InboxItem]) -> None:
        rows = [item_values(item, self.encryption) for item in items]
        if not rows:
            return
        async with self._driver(len(rows)) as pg, pg.transaction():
            await inbox.put(pg, rows, _STATEMENT_TIMEOUT)
            if self._notify and self._speaks():
                await pg.execute(_NOTIFY_INBOXES, timeout=_STATEMENT_TIMEOUT)

    async def inbox_wait(self, timeout: timedelta) -> bool:
        self._start_to_listen()
        return await notified(self._inbox_readers, timeout)

    def _wake_inbox_readers(self, *_: object) -> None:
        for reader in self._inbox_readers:
            end_wait(reader, notified=True)

    def _start_to_listen(self) -> None:
        if self._listening is None and self.connector.pooling is not Pooling.TRANSACTION:
            self._listening = asyncio.create_task(self._listen(), name="notifykit-listen")

    async def _listen(self) -> None:
        """Hear NOTIFY on a connection of its own; polling carries on while it is lost."""
        failures = 0
        while True:
            try:
                connection = await self._separate_connection()
                try:
                    lost = asyncio.Event()
                    connection.add_termination_listener(lambda _, lost=lost: lost.set())
                    await connection.add_listener("notifykit", self._hear)
                    await connection.add_listener("notifykit_inbox", self._wake_inbox_readers)
                    self._wake()
                    self._listener = connection
                    failures, self.listen_error = 0, None
                    with contextlib.suppress(StoreError):  # if this arrives, what other processes send arrives, too
                        async with self._driver() as another:
                            await another.execute(_NOTIFY, timeout=_STATEMENT_TIMEOUT)
                    await self._heed(lost)
                finally:
                    self._listener, self._hears = None, False
                    await _closed(connection)
            except (*_FAILURES, NotifykitError) as error:
                failures += 1
                self.listen_error = why(error)
                if failures == _DEAF_AFTER:
                    self._deaf = StoreUnavailableError(
                        f"notifications cannot be heard, polling goes on: {self.listen_error}"
                    )
            await asyncio.sleep(1 + random.random())  # noqa: S311 - spreads reconnects, hides nothing

    async def _heed(self, lost: asyncio.Event) -> None:
        """Return when the connection is lost; report it if no notification arrives on it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LATE):
                await lost.wait()
        if not self._hears and not lost.is_set():
            self.listen_error = "NOTIFY does not arrive; with a pooler in between add ?pooler=transaction to the URL"
            self._deaf = StoreUnavailableError(f"notifications cannot be heard, polling goes on: {self.listen_error}")
        await lost.wait()

    async def _separate_connection(self) -> Any:
        """Return a connection outside of the pool, made as those of the pool are."""
        if self._given is None or self._engine is None:
            return await self.connector.connect()
        lent = await _borrowed(self._engine)
        connection = lent.driver_connection
        lent.detach()
        return connection


async def _closed(connection: Any) -> None:
    """Close a connection: to terminate it while asyncpg cancels a statement leaves an error that asyncio logs."""
    try:
        async with asyncio.timeout(_CLOSING):
            await connection.close()
    except _FAILURES:
        connection.terminate()


async def _borrowed(engine: AsyncEngine) -> PoolProxiedConnection:
    """Return a connection of the pool; an ``AsyncConnection`` around it would cost as much as a short statement."""
    try:
        return await engine.raw_connection()
    except engine.dialect.loaded_dbapi.Error as error:  # the driver's in other clothes, if it could not connect
        raise error.__cause__ or error from None


async def _is_new(pg: Any, statement: str, values: Sequence[Any]) -> bool:
    """Run a statement that fails, and then has done nothing, if anything that it writes is there already."""
    try:
        await pg.execute(statement, *values, timeout=_STATEMENT_TIMEOUT)
    except asyncpg.UniqueViolationError:
        return False
    return True


if TYPE_CHECKING:
    from sqlalchemy.pool import PoolProxiedConnection

    from ....ports import Digests, Inbox, Store
    from ..callers import AnyEngine

    _conforms: type[Store] = PostgresStore
    _keeps_inboxes: type[Inbox] = PostgresStore
    _collects: type[Digests] = PostgresStore
