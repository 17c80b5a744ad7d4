"""What the memory store holds, and the steps that keep it consistent.

A verb of the store is a few of these steps.  None of them awaits, so each verb is
one atomic step of the event loop.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from itertools import count
from typing import Any, NamedTuple, TypeVar

import attrs

from ...errors import StaleWriteError
from ...models.access import ApiKey
from ...models.audit import AuditEntry
from ...models.circuit import OpenCircuit
from ...models.delivery import FINAL_STATES, Attempt, Delivery, DeliveryState, Lane, Priority
from ...models.ended_session import EndedSession
from ...models.endpoint import Endpoint
from ...models.event import StoredEvent
from ...models.event_type import StoredEventType
from ...models.provider_account import ProviderAccount
from ...models.recipient import Recipient, TenantPreferences
from ...models.subscription import Subscription
from ...models.suppression import SuppressedAddress
from ...models.template import StoredTemplate
from ...models.worker import WorkerRecord
from ...policies.match_keys import MatchKey, keys_of
from ...ports import Appended
from .digests import MemoryDigests
from .due import FairQueue
from .fifo import FifoGroups
from .receipts import MemoryReceipts

V = TypeVar("V")

WAITING = (DeliveryState.PENDING, DeliveryState.HELD)


class Key(NamedTuple):
    """What is remembered of an idempotency key."""

    event_id: str
    fingerprint: bytes | None
    published_at: datetime


@attrs.define
class Unplanned:
    """An event in the outbox."""

    event: StoredEvent
    due_at: datetime
    fence: int = 0
    cursor: str | None = None


@attrs.define
class Row:
    """A delivery and what only the store knows of it."""

    delivery: Delivery
    tries: int = 0
    fence: int = 0
    worker: str = ""
    claimed_at: datetime | None = None
    lease_until: datetime | None = None


class Newest:
    """The ids of each tenant in their order, so that pages of the newest cost what they show."""

    def __init__(self) -> None:
        self._ids: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, tenant: str, id: str) -> None:
        """Add an id; it costs little when it is among the newest."""
        insort(self._ids[tenant], id)

    def remove(self, tenant: str, id: str) -> None:
        """Remove an id that was added."""
        ids = self._ids[tenant]
        del ids[bisect_left(ids, id)]
        if not ids:
            del self._ids[tenant]

    def before(self, tenant: str, id: str | None, among: Collection[str] | None = None) -> Iterator[str]:
        """Yield the tenant's ids that sort before ``id``, newest first, or those of them that are ``among`` some."""
        ids = self._ids.get(tenant, []) if among is None else self.oldest(tenant, among)
        end = len(ids) if id is None else bisect_left(ids, id)
        return (ids[i] for i in range(end - 1, -1, -1))

    def oldest(self, tenant: str, among: Collection[str] | None = None) -> list[str]:
        """Return the tenant's ids, oldest first, or those of them that are ``among`` some."""
        ids = self._ids.get(tenant, [])
        if among is None:
            return list(ids)
        places = ((bisect_left(ids, id_), id_) for id_ in sorted(among))
        return [id_ for place, id_ in places if ids[place : place + 1] == [id_]]


def newer(record: V, stored: V | None, kind: str, id: str) -> V:
    """Return a record with its next version, if the stored one still has the version that it was read at."""
    given: Any = record
    if given.version != getattr(stored, "version", 0):
        raise StaleWriteError(kind, id)
    changed: V = attrs.evolve(given, version=given.version + 1)
    return changed


class Tables:
    """All data of one memory store."""

    def __init__(self) -> None:
        self.events: dict[str, StoredEvent] = {}
        self.event_ids = Newest()
        self.keys: dict[tuple[str, str], Key] = {}
        self.outbox: dict[str, Unplanned] = {}
        self.unplanned = {priority: FairQueue() for priority in Priority}
        self._planning = FifoGroups()
        self.rows: dict[str, Row] = {}
        self.row_ids = Newest()
        self.counts: Counter[DeliveryState] = Counter()
        self.waiting: defaultdict[Lane, FairQueue] = defaultdict(FairQueue)
        self._sending = FifoGroups()
        self.history: defaultdict[str, list[Attempt]] = defaultdict(list)
        self.endpoints: dict[tuple[str, str], Endpoint] = {}
        self.subscriptions: dict[tuple[str, str], Subscription] = {}
        #: The records of each kind.
        self.records: dict[type[Any], dict[tuple[str, str], Any]] = {
            Endpoint: self.endpoints,
            Subscription: self.subscriptions,
            StoredEventType: {},
            Recipient: {},
            TenantPreferences: {},
            ProviderAccount: {},
            SuppressedAddress: {},
            StoredTemplate: {},
            ApiKey: {},
            AuditEntry: {},
            WorkerRecord: {},
            EndedSession: {},
        }
        #: Until when deliveries are handed over to a relay.
        self.handed: dict[str, datetime] = {}
        self.digests = MemoryDigests()
        self.receipts = MemoryReceipts()
        self.match_keys: defaultdict[tuple[str, MatchKey], list[str]] = defaultdict(list)
        self.versions: Counter[str] = Counter()
        self.circuits: dict[tuple[str, str], OpenCircuit] = {}
        self.buckets: dict[tuple[str, str], tuple[float, datetime]] = {}
        # Entries go stale when a lease ends early or is prolonged; `expired` skips them.
        self._leases: list[tuple[datetime, int, str]] = []
        self._order = count()

    def append(self, event: StoredEvent) -> Appended:
        """Store an event, unless it is known, or its idempotency key is held."""
        known = self.events.get(event.id)
        if known is not None and event.idempotency_key is None:
            return Appended(known.id, duplicate=True, fingerprint=known.fingerprint)
        if event.idempotency_key is not None:
            held = self.keys.get((event.tenant, event.idempotency_key))
            if held is not None:
                return Appended(held.event_id, duplicate=True, fingerprint=held.fingerprint)
            key = Key(event.id, event.fingerprint, event.published_at)
            self.keys[event.tenant, event.idempotency_key] = key
        self.events[event.id] = event
        self.event_ids.add(event.tenant, event.id)
        self.outbox[event.id] = unplanned = Unplanned(event, event.due_at)
        self.wait_for_planning(unplanned, event.due_at)
        return Appended(event.id)

    def wait_for_planning(self, unplanned: Unplanned, due_at: datetime) -> None:
        """Let an event be taken from ``due_at`` on, once it is at the head of its FIFO group."""
        unplanned.due_at = due_at
        event = unplanned.event
        if event.ordering_key is None:
            self._offer_event(unplanned)
            return
        group = (event.tenant, event.ordering_key)
        before = self._planning.head(group)
        self._planning.join(group, event.id)
        head = self._planning.head(group)
        if before is not None and before != head:
            self.unplanned[self.outbox[before].event.priority].discard(before)
        if head == event.id:
            self._offer_event(unplanned)

    def _offer_event(self, unplanned: Unplanned) -> None:
        event = unplanned.event
        self.unplanned[event.priority].put(event.id, tenant=event.tenant, group=event.tenant, due_at=unplanned.due_at)

    def planned(self, event: StoredEvent) -> None:
        """Take an event out of the outbox; the next one of its FIFO group becomes the head."""
        del self.outbox[event.id]
        self.unplanned[event.priority].discard(event.id)
        if event.ordering_key is not None:
            group = (event.tenant, event.ordering_key)
            self._planning.leave(group, event.id)
            head = self._planning.head(group)
            if head is not None:
                self._offer_event(self.outbox[head])

    def event(self, tenant: str, event_id: str) -> StoredEvent | None:
        """Return an event, if it is the tenant's."""
        event = self.events.get(event_id)
        return event if event is not None and event.tenant == tenant else None

    def index(self, old: Subscription | None, new: Subscription | None) -> None:
        """Replace the match keys of a subscription."""
        if old is not None:
            for key in keys_of(old):
                ids = self.match_keys[old.tenant, key]
                del ids[bisect_left(ids, old.id)]
                if not ids:
                    del self.match_keys[old.tenant, key]
        if new is not None:
            for key in keys_of(new):
                insort(self.match_keys[new.tenant, key], new.id)

    def row(self, tenant: str, delivery_id: str) -> Row | None:
        """Return a delivery's row, if it is the tenant's."""
        row = self.rows.get(delivery_id)
        return row if row is not None and row.delivery.tenant == tenant else None

    def held_row(self, delivery_id: str, fence: int) -> Row | None:
        """Return a delivery's row, if it is being sent under this very fence."""
        row = self.rows.get(delivery_id)
        held = row is not None and row.delivery.state is DeliveryState.SENDING and row.fence == fence
        return row if held else None

    def rows_of(self, tenant: str, subscriber_id: str) -> list[Row]:
        """Return the rows of one subscriber, oldest first."""
        rows = (self.rows[id_] for id_ in self.row_ids.oldest(tenant))
        return [row for row in rows if row.delivery.subscriber_id == subscriber_id]

    def add(self, row: Row) -> None:
        """Add a new delivery."""
        delivery = row.delivery
        self.rows[delivery.id] = row
        self.row_ids.add(delivery.tenant, delivery.id)
        self.counts[delivery.state] += 1
        self._queue(delivery)

    def move(self, row: Row, **changes: Any) -> Delivery:
        """Give a delivery another state; return it."""
        self.counts[row.delivery.state] -= 1
        self.handed.pop(row.delivery.id, None)
        row.delivery = attrs.evolve(row.delivery, **changes)
        self.counts[row.delivery.state] += 1
        self._queue(row.delivery)
        return row.delivery

    def remove(self, row: Row) -> Delivery:
        """Remove an open delivery that leaves no trace of its own; return what it was."""
        delivery = self.end(row, DeliveryState.CANCELLED, None, row.delivery.created_at)
        self.forget((delivery.id,), ())
        return delivery

    def end(self, row: Row, state: DeliveryState, reason: str | None, at: datetime, **changes: Any) -> Delivery:
        """End a delivery."""
        self.digests.close(row.delivery.id, at)
        return self.move(row, state=state, reason=reason, due_at=None, finished_at=at, **changes)

    def lease(self, row: Row, until: datetime) -> None:
        """Keep a delivery that is being sent for its worker until ``until``."""
        row.lease_until = until
        heapq.heappush(self._leases, (until, next(self._order), row.delivery.id))

    def expired(self, now: datetime) -> Iterator[Row]:
        """Yield the rows whose lease has run out, the oldest lease first; each must be moved before the next."""
        while self._leases and self._leases[0][0] < now:
            until, _, delivery_id = self._leases[0]
            row = self.rows.get(delivery_id)
            if row is not None and row.delivery.state is DeliveryState.SENDING and row.lease_until == until:
                yield row
            heapq.heappop(self._leases)

    def forget(self, deliveries: Iterable[str], events: Iterable[str]) -> None:
        """Delete ended deliveries with their attempts, and events."""
        for id_ in deliveries:
            row = self.rows.pop(id_)
            self.counts[row.delivery.state] -= 1
            self.row_ids.remove(row.delivery.tenant, id_)
            self.receipts.forget(row.delivery, self.history.pop(id_, ()))
            self.digests.forget(id_)
        for id_ in events:
            event = self.events.pop(id_)
            self.event_ids.remove(event.tenant, id_)

    def _queue(self, delivery: Delivery) -> None:
        """Offer a delivery to claims if it waits; with an ordering key, offer the head of its FIFO group."""
        if delivery.ordering_key is None:
            self.offer(delivery)
            return
        group = (delivery.subscriber_id, delivery.ordering_key)
        before = self._sending.head(group)
        if delivery.state in FINAL_STATES:
            self._sending.leave(group, delivery.id)
        else:
            self._sending.join(group, delivery.id, handed_out=delivery.state is DeliveryState.SENDING)
        head = self._sending.head(group)
        if before is not None and before != head:
            self._withdraw(self.rows[before].delivery)
        if head is not None and (head != before or head == delivery.id):
            self.offer(self.rows[head].delivery)

    def hand_over(self, delivery: Delivery, until: datetime) -> None:
        """Let a delivery that waits be due again only at ``until``, unless it is claimed by its id."""
        self.handed[delivery.id] = until
        self.offer(delivery)

    def is_claimable(self, delivery: Delivery, lane: Lane, now: datetime) -> bool:
        """Tell whether a delivery is of a lane and may be claimed by its id."""
        group = (delivery.subscriber_id, delivery.ordering_key or "")
        return (
            lane == (delivery.channel, delivery.priority)
            and delivery.state in WAITING
            and delivery.due_at is not None
            and delivery.due_at <= now
            and (delivery.ordering_key is None or self._sending.head(group) == delivery.id)
        )

    def _withdraw(self, delivery: Delivery) -> None:
        self.waiting[Lane(delivery.channel, delivery.priority)].discard(delivery.id)

    def offer(self, delivery: Delivery) -> None:
        """Let a delivery be dealt when it is due, if it waits."""
        queue = self.waiting[Lane(delivery.channel, delivery.priority)]
        due_at = self.handed.get(delivery.id, delivery.due_at)
        if delivery.state in WAITING and due_at is not None:
            queue.put(delivery.id, tenant=delivery.tenant, group=delivery.subscriber_id, due_at=due_at)
        else:
            queue.discard(delivery.id)

    def needed_events(self) -> set[str]:
        """Return the ids of the events that have deliveries, or that a digest has collected."""
        return {row.delivery.event_id for row in self.rows.values()} | self.digests.events()

    def ended_before(self, instant: datetime) -> Iterator[Row]:
        """Yield the deliveries that ended before ``instant``."""
        for row in self.rows.values():
            finished = row.delivery.finished_at
            if row.delivery.state in FINAL_STATES and finished is not None and finished < instant:
                yield row
