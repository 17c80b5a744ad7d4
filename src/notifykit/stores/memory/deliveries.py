"""The memory store's deliveries: claims, records, rescues, and what operators read and move."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from heapq import merge
from itertools import islice
from operator import attrgetter

import attrs
from anyio.lowlevel import checkpoint

from ...models.delivery import FINAL_STATES, Attempt, Claim, Delivery, DeliveryState, Lane
from ...models.receipt import UNCERTAIN, ReceiptMatch, ReceiptRecord, with_receipts
from ...ports import CANCELLED, DeliveryFilter, Dismissal, Move, Outstanding, Record, Ticket
from .notifications import Notifications
from .planned import collect_claimed
from .tables import WAITING, Row, Tables


class MemoryDeliveries:
    """The verbs of :class:`notifykit.ports.Queue` and :class:`notifykit.ports.Operations` about deliveries."""

    _tables: Tables
    _notifications: Notifications

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
        await checkpoint()
        queue = self._tables.waiting.get(lane)
        if queue is None:
            return []
        if ids is None:
            ids = queue.deal(limit, now=now, exclude=exclude, exclude_tenants=exclude_tenants, only=only)
        else:
            named = (row.delivery for id_ in ids if (row := self._tables.rows.get(id_)) is not None)
            meant = (
                delivery.id
                for delivery in named
                if self._tables.is_claimable(delivery, lane, now)
                and delivery.subscriber_id not in exclude
                and delivery.tenant not in exclude_tenants
                and (only is None or delivery.subscriber_id in only)
            )
            ids = list(islice(meant, limit))
        return [self._claim(self._tables.rows[id_], now, now + lease, worker) for id_ in ids]

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
        await checkpoint()
        tables = self._tables
        queue = tables.waiting.get(lane)
        if queue is None:
            return []
        out = [tables.rows[id_].delivery for id_, until in tables.handed.items() if until > now]
        out = [delivery for delivery in out if lane == (delivery.channel, delivery.priority)]
        subscribers, tenants = (Counter(getattr(each, name) for each in out) for name in ("subscriber_id", "tenant"))
        dealt = queue.deal(
            min(limit, max(most.lane - len(out), 0)),
            now=now,
            exclude={*exclude, *(name for name, count in subscribers.items() if count >= most.subscriber)},
            exclude_tenants={*exclude_tenants, *(name for name, count in tenants.items() if count >= most.tenant)},
        )
        tickets = []
        for id_ in dealt:
            delivery = tables.rows[id_].delivery
            if subscribers[delivery.subscriber_id] >= most.subscriber or tenants[delivery.tenant] >= most.tenant:
                tables.offer(delivery)
                continue
            subscribers[delivery.subscriber_id] += 1
            tenants[delivery.tenant] += 1
            tables.hand_over(delivery, now + hold)
            tickets.append(Ticket(id_, lane, delivery.tenant, delivery.subscriber_id))
        return tickets

    def _claim(self, row: Row, now: datetime, until: datetime, worker: str) -> Claim:
        delivery = self._tables.move(row, state=DeliveryState.SENDING, reason=None)
        row.fence += 1
        row.worker, row.claimed_at = worker, now
        self._tables.lease(row, until)
        self._tables.digests.close(delivery.id, now)
        event = self._tables.events[delivery.event_id]
        return Claim(
            delivery_id=delivery.id,
            fence=row.fence,
            attempt=delivery.attempts + 1,
            tries=row.tries,
            abandoned=delivery.abandoned,
            tenant=delivery.tenant,
            event_id=delivery.event_id,
            event_type=delivery.event_type,
            subscription_id=delivery.subscription_id,
            subscriber_id=delivery.subscriber_id,
            channel=delivery.channel,
            priority=delivery.priority,
            ordering_key=delivery.ordering_key,
            published_at=event.published_at,
            expires_at=delivery.expires_at,
            lease_until=until,
            body=event.body,
            version=self._tables.versions[delivery.tenant],
            address=delivery.address,
            details=event.details,
            digest=delivery.digest,
        )

    async def record(self, records: Sequence[Record]) -> set[str]:
        await checkpoint()
        return {record.delivery_id for record in records if self._record(record)}

    def _record(self, record: Record) -> bool:
        return write(self._tables, self._notifications, record)

    async def extend(self, claims: Sequence[tuple[str, int]], *, until: datetime) -> set[str]:
        held = set()
        for delivery_id, fence in claims:
            row = self._tables.held_row(delivery_id, fence)
            if row is not None:
                self._tables.lease(row, until)
                held.add(delivery_id)
        return held

    async def rescue(self, limit: int, *, now: datetime, max_abandoned: int) -> list[Delivery]:
        await checkpoint()
        rescued = [self._rescue(row, now, max_abandoned) for row in islice(self._tables.expired(now), limit)]
        if rescued:
            self._notifications.give()
        return rescued

    def _rescue(self, row: Row, now: datetime, max_abandoned: int) -> Delivery:
        row.fence += 1
        number, abandoned = row.delivery.attempts + 1, row.delivery.abandoned + 1
        poison = abandoned >= max_abandoned
        claimed_at = row.claimed_at or now
        self._tables.history[row.delivery.id].append(
            Attempt(
                delivery_id=row.delivery.id,
                number=number,
                started_at=claimed_at,
                took=now - claimed_at,
                outcome="abandoned",
                reason="lease_expired",
                retry_at=None if poison else now,
                worker=row.worker,
            )
        )
        if poison:
            return self._tables.end(row, DeliveryState.DEAD, "quarantined", now, attempts=number, abandoned=abandoned)
        return self._tables.move(row, state=DeliveryState.PENDING, due_at=now, attempts=number, abandoned=abandoned)

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
        return self._move(tenant, wanted, to, now, limit, reason)

    def _move(
        self, tenant: str, wanted: DeliveryFilter, to: Move, now: datetime, limit: int | None, reason: str
    ) -> int:
        withdrawn = self._withdraw(tenant, wanted, limit, reason, now) if to is Move.CANCEL else 0
        states = wanted.states_for(to)
        rows = (self._tables.rows[id_] for id_ in self._tables.row_ids.oldest(tenant, wanted.ids))
        chosen = (
            row
            for row in rows
            if row.delivery.state in states
            and matches(row.delivery, wanted)
            and (wanted.means_digests(to) or not self._tables.digests.is_one(row.delivery.id))
        )
        moved = list(islice(chosen, None if limit is None else limit - withdrawn))
        match to:
            case Move.CANCEL:
                self._cancel(moved, reason, now)
                withdrawn += wanted.means_event(to) and self._drop_unplanned(tenant, wanted.event_id or "", now)
            case Move.REDRIVE:
                for row in moved:
                    self._redrive(row, now)
            case Move.WAKE:
                self._wake(moved, now)
        return withdrawn + len(moved)

    def _drop_unplanned(self, tenant: str, event_id: str, now: datetime) -> bool:
        """Take an event out of the outbox, unless a planner has it; return whether that was done."""
        unplanned, event = self._tables.outbox.get(event_id), self._tables.event(tenant, event_id)
        if unplanned is None or event is None or now < unplanned.due_at != event.due_at:
            return False
        self._tables.planned(event)
        return True

    def _withdraw(self, tenant: str, wanted: DeliveryFilter, limit: int | None, reason: str, now: datetime) -> int:
        """Cancel deliveries in digests that are open; return how many."""
        states = wanted.states_for(Move.CANCEL)
        found = (each for each in self._collected(tenant) if each.state in states and matches(each, wanted))
        withdrawn = list(islice(found, limit))
        for delivery in withdrawn:
            self._end_collected(delivery, DeliveryState.CANCELLED, reason, now)
        return len(withdrawn)

    async def dismiss(
        self, tenant: str, delivery_id: str, fence: int, dismissals: Sequence[Dismissal], *, now: datetime
    ) -> bool:
        await checkpoint()
        held = self._tables.held_row(delivery_id, fence)
        if held is None or held.delivery.tenant != tenant:
            return False
        collected = {each.id: each for each in self._collected(tenant)}
        for id_, state, reason in dismissals:
            if id_ in collected:
                self._end_collected(collected[id_], state, reason, now)
        return True

    def _end_collected(self, delivery: Delivery, state: DeliveryState, reason: str, now: datetime) -> None:
        """Take a delivery out of its digest, as one of its own that has ended."""
        self._tables.digests.withdraw(delivery.id)
        ended = attrs.evolve(
            delivery, state=state, reason=reason, attempts=0, abandoned=0, due_at=None, finished_at=now, digest=None
        )
        self._tables.add(Row(ended))

    def _collected(self, tenant: str) -> Iterator[Delivery]:
        """Yield the deliveries that digests have collected, each as far as its digest has come."""
        for id_, (event_id, at), digest in self._tables.digests.items():
            if digest.tenant == tenant:
                event = self._tables.events[event_id]
                its = self._tables.rows[digest.id].delivery
                yield attrs.evolve(its, id=id_, event_id=event.id, event_type=event.type, created_at=at)

    def _cancel(self, rows: Iterable[Row], reason: str, now: datetime) -> None:
        for row in rows:
            if row.delivery.state in WAITING:
                self._tables.end(row, DeliveryState.CANCELLED, reason, now)

    def _redrive(self, row: Row, now: datetime) -> None:
        row.tries = 0
        # A redriven delivery is to be sent now, even if it has expired.
        self._tables.move(
            row,
            state=DeliveryState.PENDING,
            reason=None,
            abandoned=0,
            generation=row.delivery.generation + 1,
            due_at=now,
            expires_at=None,
            finished_at=None,
        )
        self._notifications.give()

    def _wake(self, rows: Iterable[Row], now: datetime) -> None:
        for row in rows:
            self._tables.move(row, state=DeliveryState.PENDING, reason=None, due_at=now)
        self._notifications.give()

    async def find_deliveries(
        self, tenant: str, wanted: DeliveryFilter, *, limit: int, before: str | None = None
    ) -> list[Delivery]:
        rows = (self._tables.rows[id_].delivery for id_ in self._tables.row_ids.before(tenant, before, wanted.ids))
        collected = (each for each in self._collected(tenant) if before is None or each.id < before)
        newest = merge(rows, sorted(collected, key=_by_id, reverse=True), key=_by_id, reverse=True)
        return [*map(self._shown, islice((delivery for delivery in newest if matches(delivery, wanted)), limit))]

    async def attempts(self, tenant: str, delivery_id: str) -> list[Attempt]:
        row = self._tables.row(tenant, delivery_id)
        if row is None:
            return []
        attempts = self._tables.history.get(delivery_id, ())
        return with_receipts(attempts, (each.receipt for each in self._tables.receipts.of(row.delivery)))

    async def record_receipts(self, records: Sequence[ReceiptRecord], *, now: datetime) -> list[ReceiptMatch]:
        await checkpoint()
        its = self._tables.receipts
        if not records:
            return [ReceiptMatch(each.receipt, row.delivery) for each in its.due(now) if (row := self._row_of(each))]
        found = []
        for record in records:
            row = self._row_of(record)
            its.put(record, None if row is None else row.delivery, now)
            if row is not None:
                if record.confirms and (row.delivery.state, row.delivery.reason) == (DeliveryState.DEAD, UNCERTAIN):
                    self._tables.move(row, state=DeliveryState.DELIVERED, reason=None)
                found.append(ReceiptMatch(record.receipt, self._shown(row.delivery)))
        return found

    def _row_of(self, record: ReceiptRecord) -> Row | None:
        """Return the delivery that a receipt is about."""
        receipt = record.receipt
        named = self._tables.rows.get(receipt.delivery_id or "")
        return named or self._tables.rows.get(self._tables.receipts.references.get(receipt.reference or "", ""))

    def _shown(self, delivery: Delivery) -> Delivery:
        """Return a delivery with its strongest receipt."""
        return attrs.evolve(delivery, receipt=self._tables.receipts.strongest(delivery))


_by_id = attrgetter("id")


def write(tables: Tables, notifications: Notifications, record: Record) -> bool:
    """Write what became of one claimed delivery; return whether its fence was right."""
    row = tables.held_row(record.delivery_id, record.fence)
    if row is None:
        return False
    if record.digest is not None:
        collect_claimed(tables, row, record.digest, record.at)
        return True
    attempts = row.delivery.attempts
    if record.attempt is not None:
        attempts = record.attempt.number
        row.tries += 1
        tables.history[record.delivery_id].append(record.attempt)
        tables.receipts.expect(record.attempt)
    if record.state in FINAL_STATES:
        tables.end(row, record.state, record.reason, record.at, attempts=attempts)
    else:
        due_at = record.due_at or record.at
        tables.move(row, state=record.state, reason=record.reason, due_at=due_at, attempts=attempts)
    if record.event is not None:
        tables.append(record.event)
        notifications.give()
    return True


def matches(delivery: Delivery, wanted: DeliveryFilter) -> bool:
    """Return whether ``delivery`` is meant by ``wanted``."""
    return (
        (wanted.ids is None or delivery.id in wanted.ids)
        and (wanted.states is None or delivery.state in wanted.states)
        and (wanted.subscriber_id is None or delivery.subscriber_id == wanted.subscriber_id)
        and (wanted.event_id is None or delivery.event_id == wanted.event_id)
        and (wanted.event_type is None or delivery.event_type == wanted.event_type)
        and (wanted.since is None or delivery.created_at >= wanted.since)
        and (wanted.until is None or delivery.created_at < wanted.until)
    )
