"""Settle what was sent already: plan and outcome are written in one step, or neither is."""

from __future__ import annotations

from datetime import datetime, timedelta

from ....models.delivery import Attempt, DeliveryState, NewDelivery
from ....models.event import TakenEvent
from ....ports import Record, Settlement, Store
from ...builders import make_delivery, make_event
from ...clock import FakeClock
from .steps import ACME, LEASE, MINUTE, OTHER, RECEIVER, SECOND, claim, claim_one, finish, read, take, take_one


def _attempt(new: NewDelivery, at: datetime, outcome: str = "accepted", **changes: object) -> Attempt:
    fields: dict[str, object] = {"number": 1, "took": SECOND, "worker": "worker-1", **changes}
    return Attempt(delivery_id=new.id, started_at=at - SECOND, outcome=outcome, **fields)  # type: ignore[arg-type]


def _delivered(new: NewDelivery, at: datetime) -> Record:
    attempt = _attempt(new, at, status=204, response=b"thanks")
    return Record(new.id, 1, DeliveryState.DELIVERED, None, None, at, attempt)


def _failed(new: NewDelivery, at: datetime, after: timedelta = MINUTE) -> Record:
    attempt = _attempt(new, at, "transient", reason="http_503", status=503, retry_at=at + after)
    return Record(new.id, 1, DeliveryState.PENDING, "http_503", at + after, at, attempt)


async def _flush_eager(
    store: Store, clock: FakeClock, taken: TakenEvent, planned: list[NewDelivery], *records: Record
) -> set[str]:
    settlement = Settlement(taken.id, taken.fence, planned, None, records)
    return await store.settle([settlement], now=clock.now(), lease=LEASE, worker="worker-1")


class SentPromises:
    """What a store promises of deliveries that were sent before their plan was written."""

    async def test_what_arrived_is_written_with_its_plan(self, store: Store, clock: FakeClock) -> None:
        """The delivery has ended, shows its attempt, and cannot be claimed."""
        event = make_event(at=clock.now())
        await store.append([event])
        taken = await take_one(store, clock)
        new = make_delivery(event, due_at=clock.now())
        planned_at = clock.now()
        arrived = _delivered(new, clock.advance(SECOND))
        clock.advance(SECOND)

        settled = await _flush_eager(store, clock, taken, [new], arrived)

        found = await read(store, new.id)
        assert {event.id} == settled
        assert (DeliveryState.DELIVERED, 1, 0) == (found.state, found.attempts, found.abandoned)
        assert (planned_at, arrived.at, None) == (found.created_at, found.finished_at, found.due_at)
        assert [arrived.attempt] == await store.attempts(ACME, new.id)
        assert [] == [*await claim(store, clock), *await take(store, clock)]

    async def test_what_failed_waits_for_its_second_attempt(self, store: Store, clock: FakeClock) -> None:
        """It is due when its record says so, and the attempt counts."""
        event = make_event(at=clock.now())
        await store.append([event])
        new = make_delivery(event)
        failed = _failed(new, clock.now())

        await _flush_eager(store, clock, await take_one(store, clock), [new], failed)
        early = await claim(store, clock)
        clock.advance(MINUTE)
        claimed = await claim_one(store, clock)

        assert [] == early
        assert (2, 1, 0) == (claimed.attempt, claimed.tries, claimed.abandoned)
        assert claimed.fence > 1
        assert [failed.attempt] == await store.attempts(ACME, new.id)

    async def test_what_is_still_being_sent_is_leased(self, store: Store, clock: FakeClock) -> None:
        """Of several deliveries each is where it is: ended, waiting, or leased under fence 1 to be recorded later."""
        event = make_event(at=clock.now())
        await store.append([event])
        done, again, open_ = (make_delivery(event, subscriber) for subscriber in (RECEIVER, OTHER, "end_slow"))
        planned = [done, again, open_._replace(state=DeliveryState.SENDING)]

        await _flush_eager(
            store,
            clock,
            await take_one(store, clock),
            planned,
            _failed(again, clock.now()),
            _delivered(done, clock.now()),
        )
        states = [(await read(store, new.id)).state for new in (done, again, open_)]
        written = await store.record([_delivered(open_, clock.now())])

        assert [DeliveryState.DELIVERED, DeliveryState.PENDING, DeliveryState.SENDING] == states
        assert {open_.id} == written

    async def test_what_was_not_sent_after_all_is_due(self, store: Store, clock: FakeClock) -> None:
        """A record without an attempt counts as none."""
        event = make_event(at=clock.now())
        await store.append([event])
        new = make_delivery(event)
        released = Record(new.id, 1, DeliveryState.PENDING, None, clock.now(), clock.now(), None)

        await _flush_eager(store, clock, await take_one(store, clock), [new], released)

        claimed = await claim_one(store, clock)
        assert (1, 0) == (claimed.attempt, claimed.tries)
        assert [] == await store.attempts(ACME, new.id)

    async def test_a_stale_settlement_writes_none_of_its_records(self, store: Store, clock: FakeClock) -> None:
        """What a planner sent after it lost the event does not count, and its event is not stored."""
        event = make_event(at=clock.now())
        await store.append([event])
        lost = await take_one(store, clock)
        clock.advance(LEASE + SECOND)
        owned = await take_one(store, clock)
        new = make_delivery(event)
        told = make_event(type="delivery.exhausted", at=clock.now())
        dead = Record(new.id, 1, DeliveryState.DEAD, "gone", None, clock.now(), _attempt(new, clock.now(), "permanent"))

        stale = await _flush_eager(store, clock, lost, [new], dead._replace(event=told))
        found = await store.get_delivery(ACME, new.id), await store.get_event(ACME, told.id)
        settled = await _flush_eager(store, clock, owned, [new], _delivered(new, clock.now()))

        assert (set(), (None, None), {event.id}) == (stale, found, settled)
        assert DeliveryState.DELIVERED is (await read(store, new.id)).state

    async def test_an_event_comes_with_what_was_sent(self, store: Store, clock: FakeClock) -> None:
        """An operational event that a record brings is published in the same step."""
        event = make_event(at=clock.now())
        await store.append([event])
        new = make_delivery(event)
        told = make_event(type="delivery.exhausted", at=clock.now())
        dead = Record(new.id, 1, DeliveryState.DEAD, "gone", None, clock.now(), _attempt(new, clock.now(), "permanent"))

        await _flush_eager(store, clock, await take_one(store, clock), [new], dead._replace(event=told))

        found = await read(store, new.id)
        assert (DeliveryState.DEAD, "gone", 1) == (found.state, found.reason, found.attempts)
        assert [told.id] == [taken.id for taken in await take(store, clock)]

    async def test_what_was_sent_before_its_plan_can_be_redriven(self, store: Store, clock: FakeClock) -> None:
        """Its history goes on, under a fence that the first attempt did not have."""
        event = make_event(at=clock.now())
        await store.append([event])
        new = make_delivery(event)
        await _flush_eager(store, clock, await take_one(store, clock), [new], _delivered(new, clock.now()))

        await store.redrive_one(ACME, new.id, now=clock.now())
        claimed = await claim_one(store, clock)
        zombie = await store.record([_delivered(new, clock.now())])
        await finish(store, clock, claimed)

        assert (2, set()) == (claimed.attempt, zombie)
        assert [1, 2] == [attempt.number for attempt in await store.attempts(ACME, new.id)]

    async def test_a_batch_of_sent_and_unsent_goes_through_together(self, store: Store, clock: FakeClock) -> None:
        """Events with all kinds of outcomes are settled in one call."""
        events = [make_event(at=clock.now()) for _ in range(6)]
        made = {event.id: make_delivery(event) for event in events}
        await store.append(events)
        settlements = []
        for number, taken in enumerate(await take(store, clock)):
            new = made[taken.id]
            records = [(), (_delivered(new, clock.now()),), (_failed(new, clock.now()),)][number % 3]
            settlements.append(Settlement(taken.id, taken.fence, [new], None, records))

        settled = await store.settle(settlements, now=clock.now(), lease=LEASE, worker="worker-1")

        assert set(made) == settled
        states = [(await read(store, made[each.event_id].id)).state.value for each in settlements]
        assert ["pending", "delivered", "pending"] * 2 == states
        assert 2 == len(await claim(store, clock))
