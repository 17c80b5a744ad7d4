"""What all SQL stores share: the verbs that are written once.

A concrete store runs functions over a SQLAlchemy ``Connection`` (``_read`` and
``_write``) and brings its own form of the five frequent verbs.
"""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

import attrs
from sqlalchemy import Connection

from ...failpoints import failpoint
from ...models.circuit import OpenCircuit
from ...models.delivery import Attempt, Claim, Collected, Delivery, DeliveryState
from ...models.event import StoredEvent
from ...models.receipt import ReceiptMatch, ReceiptRecord, with_receipts
from ...models.subscription import Match, MatchQuery, TenantConfig
from ...ports import (
    CANCELLED,
    Appended,
    ConfigRecord,
    DeliveryFilter,
    Dismissal,
    EventFilter,
    Move,
    NextDue,
    Record,
    Rewrapped,
    StoreStats,
    Survey,
    TokenRequest,
)
from ..encoding.encryption import Encryption
from ..encoding.rows import EPOCH
from . import (
    digests,
    erasure,
    joined,
    limits,
    migrate,
    reading,
    receipts,
    records,
    rewrap,
    subscription_index,
    survey,
    transitions,
)
from .inbox import SqlInbox

T = TypeVar("T")
R = TypeVar("R", bound=ConfigRecord)

#: Notifications that a process may send a second, and how many it may save up.
NOTIFICATIONS_PER_SECOND, NOTIFICATIONS_TO_SPARE = 500, 10
#: So long after it was published an event may become visible, because its publisher's transaction was long.
LATE = timedelta(hours=1)
#: Why a delivery is held whose event cannot be decrypted here.
MISSING_KEY = "missing_key"
#: Rows of a short transaction at the most.
SHORT = 10
NOT_OPEN = "the store is not open: use 'async with' or open()"


def end_wait(waiter: asyncio.Future[bool], *, notified: bool) -> None:
    """End a wait, unless it has ended already."""
    if not waiter.done():
        waiter.set_result(notified)


async def notified(waiters: set[asyncio.Future[bool]], timeout: timedelta) -> bool:
    """Return whether a notification ended the wait."""
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[bool] = loop.create_future()
    timer = loop.call_later(timeout.total_seconds(), lambda: end_wait(waiter, notified=False))
    waiters.add(waiter)
    try:
        return await waiter
    finally:
        timer.cancel()
        waiters.discard(waiter)


class SqlStore(SqlInbox):
    """The verbs of :class:`notifykit.ports.Store` that are rare enough to share."""

    url: str
    encryption: Encryption
    #: The newest version of the tables that this store knows.
    schema = migrate.HEAD
    _notified = 0.0
    _allowance = 0.0
    #: Events that were published before have no idempotency keys: to look at them again would be to read all history.
    _keys_since = EPOCH

    @abstractmethod
    def notify(self) -> None:
        """Wake the calls of ``wait`` in this process."""

    def _notifying(self, connection: Connection, result: T) -> T:
        """Return a result, and notify processes that wait on the same data when it is committed."""
        del connection  # processes that share a file notice every commit
        return result

    def append_joined(self, connection: Any, events: Sequence[StoredEvent]) -> list[Appended]:
        encrypted = self.encryption.events(events)
        return self.encryption.answers(
            encrypted, joined.append(self.url, connection, encrypted, notify=self._notification_is_due())
        )

    async def _decrypted_claims(self, claims: list[Claim], now: datetime, until: datetime) -> list[Claim]:
        """Return the claims whose body can be decrypted; hold those whose key is missing for the length of a lease.

        Another worker may have the key, or this one may get it: nothing about the delivery is wrong.
        """
        decrypted, locked = self.encryption.claims(claims)
        if locked:
            await self.record(
                [
                    Record(claim.delivery_id, claim.fence, DeliveryState.HELD, MISSING_KEY, until, now, None)
                    for claim in locked
                ]
            )
        return decrypted

    @abstractmethod
    async def record(self, records: Sequence[Record]) -> set[str]:
        """See :meth:`notifykit.ports.Queue.record`."""

    def _notification_is_due(self) -> bool:
        """Whether the next append may carry a notification.

        A NOTIFY in every commit makes busy committers queue up behind one lock.  So there are
        only so many a second, with some to spare for a burst; a dispatcher that was just woken
        polls again by itself.
        """
        now = time.monotonic()
        self._allowance = min(
            self._allowance + (now - self._notified) * NOTIFICATIONS_PER_SECOND, NOTIFICATIONS_TO_SPARE
        )
        self._notified = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True

    async def rescue(self, limit: int, *, now: datetime, max_abandoned: int) -> list[Delivery]:
        found = await self._write(lambda c: transitions.rescue(c, limit, now, max_abandoned))
        if found:
            self.notify()
        return found

    async def transaction(self, work: Callable[[Connection], T], *, write: bool) -> T:
        """Run a function in a transaction, for what is beside the verbs: moving a tenant to another database."""
        return await (self._write(work) if write else self._read(work))

    # -- records ---------------------------------------------------------------------------------

    async def save(self, record: R) -> R:
        stored = records.kind_of(record).form.encrypted(self.encryption, record)
        version = await self._write(lambda c: records.save(c, stored))
        failpoint("ep.changed")
        changed: R = attrs.evolve(cast("Any", record), version=version)
        return changed

    async def save_many(self, records_: Sequence[R]) -> list[R | None]:
        if not records_:
            return []
        kind = records.kind_of(records_[0])
        stored = [kind.form.encrypted(self.encryption, record) for record in records_]
        saved = await self._write(lambda c: records.save_many(c, stored))
        return [
            attrs.evolve(cast("Any", record), version=record.version + 1) if record.id in saved else None
            for record in records_
        ]

    async def get(self, kind: type[R], tenant: str, ids: Collection[str]) -> list[R]:
        its = records.KINDS[kind]
        return self._decrypted(its, await self._read(lambda c: records.get(c, its, tenant, ids)))

    async def page(
        self, kind: type[R], tenant: str, *, limit: int, after: str | None = None, subscriber_id: str | None = None
    ) -> list[R]:
        its = records.KINDS[kind]
        stored = await self._read(lambda c: records.page(c, its, tenant, limit, after, subscriber_id))
        return self._decrypted(its, stored)

    def _decrypted(self, kind: records.RecordKind, stored: Sequence[Any]) -> list[Any]:
        return [kind.form.decrypted(self.encryption, record) for record in stored]

    async def remove(self, kind: type[R], tenant: str, id: str, *, now: datetime) -> bool:
        return await self._write(lambda c: records.remove(c, records.KINDS[kind], tenant, id, now))

    async def erase(self, tenant: str, recipient_id: str, *, now: datetime) -> int:
        return await self._write(lambda c: erasure.erase(c, tenant, recipient_id, now))

    async def tenants(self, *, limit: int, after: str | None = None) -> list[str]:
        return await self._read(lambda c: records.tenants(c, limit, after))

    async def load_tenants(
        self, tenants: Collection[str], *, most: int | None = None
    ) -> dict[str, TenantConfig | None]:
        stored = await self._read(lambda c: records.load_tenants(c, [*tenants], most))
        return {
            tenant: None if config is None else self.encryption.usable_config(config)
            for tenant, config in stored.items()
        }

    async def match(self, tenant: str, queries: Sequence[MatchQuery], *, limit: int) -> list[list[Match]]:
        return await self._read(lambda c: [subscription_index.matches(c, tenant, each, limit) for each in queries])

    # -- operations ------------------------------------------------------------------------------

    async def find_deliveries(
        self, tenant: str, wanted: DeliveryFilter, *, limit: int, before: str | None = None
    ) -> list[Delivery]:
        return await self._read(lambda c: reading.find_deliveries(c, tenant, wanted, limit, before))

    async def find_events(
        self, tenant: str, wanted: EventFilter, *, limit: int, before: str | None = None
    ) -> list[StoredEvent]:
        stored = await self._read(lambda c: reading.find_events(c, tenant, wanted, limit, before))
        return [*map(self.encryption.listed_event, stored)]

    async def collected(self, tenant: str, delivery_id: str) -> Collected | None:
        found = await self._read(lambda c: digests.collected(c, tenant, delivery_id))
        return None if found is None else Collected(found[0], tuple(self.encryption.digest_items(found[1])))

    async def dismiss(
        self, tenant: str, delivery_id: str, fence: int, dismissals: Sequence[Dismissal], *, now: datetime
    ) -> bool:
        return await self._write(lambda c: digests.dismiss(c, tenant, delivery_id, fence, dismissals, now))

    async def attempts(self, tenant: str, delivery_id: str) -> list[Attempt]:
        stored, reported = await self._read(
            lambda c: (reading.attempts(c, tenant, delivery_id), receipts.of_delivery(c, tenant, delivery_id))
        )
        return with_receipts([*map(self.encryption.decrypted_attempt, stored)], reported)

    async def record_receipts(self, records: Sequence[ReceiptRecord], *, now: datetime) -> list[ReceiptMatch]:
        if records:
            return await self._write(lambda c: receipts.record(c, records, now))
        if not await self._read(lambda c: receipts.waiting(c, now)):  # so that idling takes no lock
            return []
        return await self._write(lambda c: receipts.look(c, now))

    async def move(
        self,
        tenant: str,
        wanted: DeliveryFilter,
        to: Move,
        *,
        now: datetime,
        limit: int | None = None,
        reason: str = CANCELLED,
    ) -> int:
        def work(connection: Connection) -> int:
            count = transitions.move(connection, tenant, wanted, to, now, limit, reason)
            return self._notifying(connection, count) if to is Move.REDRIVE else count

        count = await self._write(work)
        if to is Move.REDRIVE:
            failpoint("replay.created")
        self.notify()
        return count

    async def stats(self, *, now: datetime) -> StoreStats:
        return await self._read(lambda c: reading.stats(c, now))

    # -- limits ----------------------------------------------------------------------------------

    async def circuits(self) -> list[OpenCircuit]:
        return await self._read(limits.circuits)

    async def save_circuit(
        self, tenant: str, key: str, circuit: OpenCircuit | None, *, now: datetime
    ) -> OpenCircuit | None:
        if circuit is not None:
            version = await self._write(lambda c: limits.save(c, tenant, key, circuit))
            return attrs.evolve(circuit, version=version)
        closed = await self._write(lambda c: limits.close(c, tenant, key, now))
        self.notify()
        return closed

    async def acquire(self, requests: Sequence[TokenRequest], *, now: datetime) -> list[int]:
        return await self._write(lambda c: limits.acquire(c, requests, now))

    # -- keys ------------------------------------------------------------------------------------

    async def rewrap(
        self, *, dry_run: bool = False, progress: Callable[[Rewrapped], None] = lambda _: None
    ) -> Rewrapped:
        return await rewrap.rewrap(self.encryption, self._read, self._write, dry_run=dry_run, progress=progress)

    async def survey(self) -> Survey:
        return await survey.survey(self.encryption, self._read)

    # -- maintenance -----------------------------------------------------------------------------

    async def next_due(self) -> NextDue:
        return await self._read(self._next_due)

    def _next_due(self, connection: Connection) -> NextDue:
        migrate.refuse_newer(migrate.stamp(connection), self.schema)
        return reading.next_due(connection)

    async def purge(self, *, before: datetime, keys_before: datetime, limit: int) -> int:
        gone = await self._write(lambda c: transitions.purge(c, before, keys_before, limit))
        since = self._keys_since
        forgotten = await self._write(lambda c: transitions.forget_keys(c, since, keys_before, limit))
        if forgotten < limit:
            self._keys_since = max(since, keys_before - LATE)
        return gone + forgotten
