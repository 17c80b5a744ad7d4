"""Settle: a plan is written as a whole, by the planner that still owns the event, or not at all."""

from __future__ import annotations

import pytest

from ....models.delivery import Delivery, DeliveryState
from ....ports import DeliveryFilter, Record, Settlement, Store
from ...builders import make_delivery, make_event
from ...clock import FakeClock
from .steps import (
    ACME,
    HOUR,
    LEASE,
    MINUTE,
    OTHER,
    RECEIVER,
    SECOND,
    TICK,
    claim,
    claim_one,
    finish,
    plan,
    read,
    settle,
    take,
    take_one,
)


class PlanningPromises:
    """What a store promises of plans."""

    async def test_a_settled_event_leaves_the_outbox(self, store: Store, clock: FakeClock) -> None:
        """A planned event is never taken again, but stays readable."""
        event = make_event(at=clock.now())
        await store.append([event])

        settled = await settle(store, clock, await take_one(store, clock), [make_delivery(event)])
        clock.advance(HOUR)

        assert {event.id} == settled
        assert [] == await take(store, clock)
        assert event == await store.get_event(ACME, event.id)

    async def test_planned_deliveries_can_be_read(self, store: Store, clock: FakeClock) -> None:
        """A delivery is readable as it was planned, made at the instant of the plan."""
        event = make_event(at=clock.now(), type="order.shipped")
        new = make_delivery(
            event,
            state=DeliveryState.HELD,
            reason="paused",
            ordering_key="A-1",
            due_at=clock.now() + HOUR + TICK,
            expires_at=clock.now() + 2 * HOUR,
        )
        await store.append([event])
        taken = await take_one(store, clock)
        planned_at = clock.advance(SECOND)

        await settle(store, clock, taken, [new])

        expected = Delivery(
            id=new.id,
            event_id=event.id,
            event_type="order.shipped",
            tenant=ACME,
            subscription_id=new.subscription_id,
            subscriber_id=RECEIVER,
            channel=new.channel,
            priority=new.priority,
            state=DeliveryState.HELD,
            reason="paused",
            ordering_key="A-1",
            created_at=planned_at,
            due_at=new.due_at,
            expires_at=new.expires_at,
        )
        assert expected == await store.get_delivery(ACME, new.id)

    async def test_an_event_without_deliveries_is_settled(self, store: Store, clock: FakeClock) -> None:
        """An event without subscriptions leaves the outbox as well."""
        event = make_event(at=clock.now())
        await store.append([event])

        settled = await settle(store, clock, await take_one(store, clock), [])
        clock.advance(HOUR)

        assert {event.id} == settled
        assert [] == await take(store, clock)

    async def test_a_stale_settlement_writes_nothing(self, store: Store, clock: FakeClock) -> None:
        """A planner that lost its event to another one cannot plan it any more."""
        event = make_event(at=clock.now())
        late = make_delivery(event, RECEIVER)
        await store.append([event])
        lost = await take_one(store, clock)
        clock.advance(LEASE + SECOND)
        owned = await take_one(store, clock)

        settled = await settle(store, clock, lost, [late])

        assert set() == settled
        assert await store.get_delivery(ACME, late.id) is None
        assert {event.id} == await settle(store, clock, owned, [make_delivery(event, OTHER)])

    async def test_a_stale_settlement_does_not_stop_the_others(self, store: Store, clock: FakeClock) -> None:
        """In a batch each settlement stands or falls with its own fence."""
        events = [make_event(at=clock.now()) for _ in range(3)]
        made = {event.id: make_delivery(event) for event in events}
        await store.append(events)
        stale = events[1].id
        settlements = [
            Settlement(taken.id, taken.fence - (taken.id == stale), [made[taken.id]])
            for taken in await take(store, clock)
        ]

        settled = await store.settle(settlements, now=clock.now(), lease=LEASE, worker="planner-1")

        assert {events[0].id, events[2].id} == settled
        assert settled == {claimed.event_id for claimed in await claim(store, clock)}

    async def test_a_late_settlement_counts_while_nobody_else_has_taken(self, store: Store, clock: FakeClock) -> None:
        """The fence decides, not the time: a lease that ran out unnoticed does no harm."""
        event = make_event(at=clock.now())
        await store.append([event])
        taken = await take_one(store, clock)

        clock.advance(LEASE + HOUR)
        settled = await settle(store, clock, taken, [make_delivery(event)])

        assert {event.id} == settled
        assert event.id == (await claim_one(store, clock)).event_id

    async def test_an_event_is_settled_once(self, store: Store, clock: FakeClock) -> None:
        """A second settlement under the same fence writes nothing."""
        event = make_event(at=clock.now())
        await store.append([event])
        taken = await take_one(store, clock)
        await settle(store, clock, taken, [make_delivery(event, RECEIVER)])

        again = await settle(store, clock, taken, [make_delivery(event, OTHER)])

        assert set() == again
        assert [RECEIVER] == [claimed.subscriber_id for claimed in await claim(store, clock)]

    async def test_a_page_keeps_the_event_in_the_outbox(self, store: Store, clock: FakeClock) -> None:
        """After a page any planner may take the event at once and goes on at the cursor."""
        event = make_event(at=clock.now())
        await store.append([event])
        first = await take_one(store, clock)

        settled = await settle(store, clock, first, [make_delivery(event, RECEIVER)], cursor="page-2 ✓")
        second = await take_one(store, clock)

        assert {event.id} == settled
        assert (event.id, "page-2 ✓") == (second.id, second.cursor)
        assert first.fence < second.fence
        assert [RECEIVER] == [claimed.subscriber_id for claimed in await claim(store, clock)]

    async def test_an_event_is_planned_after_its_last_page(self, store: Store, clock: FakeClock) -> None:
        """Readers can tell whether planning is over, or whether more deliveries may come."""
        event = make_event(at=clock.now())
        await store.append([event])
        answers = [await store.is_planned(ACME, event.id)]

        for cursor in ("page-2", None):
            taken = await take_one(store, clock)
            answers.append(await store.is_planned(ACME, event.id))
            await settle(store, clock, taken, [], cursor=cursor)
            answers.append(await store.is_planned(ACME, event.id))

        assert [False, False, False, False, True] == answers

    async def test_a_page_is_fenced(self, store: Store, clock: FakeClock) -> None:
        """A planner that has planned one page must take the event again for the next."""
        event = make_event(at=clock.now())
        await store.append([event])
        first = await take_one(store, clock)
        await settle(store, clock, first, [make_delivery(event, RECEIVER)], cursor="page-2")
        second = await take_one(store, clock)

        stale = await settle(store, clock, first, [], cursor="page-9")
        last = await settle(store, clock, second, [make_delivery(event, OTHER)])
        clock.advance(HOUR)

        assert (set(), {event.id}) == (stale, last)
        assert [] == await take(store, clock)
        assert {RECEIVER, OTHER} == {claimed.subscriber_id for claimed in await claim(store, clock)}

    async def test_deliveries_that_wait_already_stay_as_they_are(self, store: Store, clock: FakeClock) -> None:
        """A delivery that two pages name is what the first made of it, whatever the second says."""
        event = make_event(at=clock.now())
        held = make_delivery(event, state=DeliveryState.HELD, reason="paused", due_at=clock.now() + HOUR)
        await store.append([event])
        await settle(store, clock, await take_one(store, clock), [held], cursor="again")
        before = await read(store, held.id)
        clock.advance(SECOND)

        twice = held._replace(state=DeliveryState.SUPPRESSED, reason="unwanted")
        settled = await settle(store, clock, await take_one(store, clock), [twice, make_delivery(event, OTHER)])

        found = await store.find_deliveries(ACME, DeliveryFilter(subscriber_id=RECEIVER), limit=10)
        redriven = await store.redrive(ACME, DeliveryFilter(), now=clock.now(), limit=10)

        assert {event.id} == settled
        assert [before] == found
        assert 0 == redriven
        assert [OTHER] == [claimed.subscriber_id for claimed in await claim(store, clock)]

    async def test_deliveries_that_have_ended_already_stay_ended(self, store: Store, clock: FakeClock) -> None:
        """A later page does not send again what an earlier one sent."""
        event = make_event(at=clock.now())
        new = make_delivery(event)
        await store.append([event])
        await settle(store, clock, await take_one(store, clock), [new], cursor="again")
        await finish(store, clock, await claim_one(store, clock))

        await settle(store, clock, await take_one(store, clock), [new])

        assert [] == await claim(store, clock)
        assert DeliveryState.DELIVERED is (await read(store, new.id)).state

    async def test_sending_deliveries_are_leased_to_the_planner(self, store: Store, clock: FakeClock) -> None:
        """A delivery that is settled as ``SENDING`` is leased to its planner, and is recorded under fence 1."""
        event = make_event(at=clock.now())
        new = make_delivery(event, state=DeliveryState.SENDING)
        await plan(store, clock, event, [new])

        claimed = await claim(store, clock)
        born = await read(store, new.id)
        record = Record(new.id, 1, DeliveryState.CANCELLED, "unwanted", None, clock.now(), None)
        recorded = await store.record([record])

        assert [] == claimed
        assert DeliveryState.SENDING is born.state
        assert {new.id} == recorded
        assert DeliveryState.CANCELLED is (await read(store, new.id)).state

    async def test_sending_deliveries_are_rescued_from_a_dead_planner(self, store: Store, clock: FakeClock) -> None:
        """A delivery that is born ``SENDING`` has a lease like any other, in its planner's name."""
        event = make_event(at=clock.now())
        new = make_delivery(event, state=DeliveryState.SENDING)
        await store.append([event])
        await settle(store, clock, await take_one(store, clock), [new], worker="planner-7")

        clock.advance(LEASE - SECOND)
        early = await store.rescue(10, now=clock.now(), max_abandoned=3)
        clock.advance(MINUTE)
        late = await store.rescue(10, now=clock.now(), max_abandoned=3)

        assert ([], [new.id]) == (early, [delivery.id for delivery in late])
        assert ["planner-7"] == [attempt.worker for attempt in await store.attempts(ACME, new.id)]
        assert (await claim_one(store, clock)).fence > 1

    @pytest.mark.parametrize("state", [DeliveryState.SUPPRESSED, DeliveryState.EXPIRED])
    async def test_a_refusal_is_ended_at_once(self, store: Store, clock: FakeClock, state: DeliveryState) -> None:
        """A delivery that planning refused is never sent, and says why."""
        event = make_event(at=clock.now())
        new = make_delivery(event, state=state, reason="unwanted")
        await plan(store, clock, event, [new])

        claimed = await claim(store, clock)
        delivery = await read(store, new.id)

        assert [] == claimed
        assert (state, "unwanted", None, clock.now()) == (
            delivery.state,
            delivery.reason,
            delivery.due_at,
            delivery.finished_at,
        )
        assert 0 == delivery.attempts

    async def test_a_plan_may_be_large(self, store: Store, clock: FakeClock) -> None:
        """A plan is one step, however many deliveries it has."""
        event = make_event(at=clock.now())
        made = [make_delivery(event, f"end_{i}") for i in range(3000)]
        await plan(store, clock, event, made)

        claimed = await claim(store, clock, 3000)

        assert {new.id for new in made} == {one.delivery_id for one in claimed}

    async def test_settling_nothing_is_no_error(self, store: Store, clock: FakeClock) -> None:
        """A batch of no settlements, and one of an unknown event, settle nothing."""
        unknown = Settlement(make_event(at=clock.now()).id, 1, [])

        assert set() == await store.settle([], now=clock.now(), lease=LEASE, worker="planner-1")
        assert set() == await store.settle([unknown], now=clock.now(), lease=LEASE, worker="planner-1")
