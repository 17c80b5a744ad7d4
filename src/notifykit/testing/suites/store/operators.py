"""What operators do: cancel, redrive, wake."""

from __future__ import annotations

from typing import Any

import pytest

from ....models.delivery import FINAL_STATES, DeliveryState
from ....ports import DeliveryFilter, EventFilter, Move, Settlement, Store
from ...builders import make_delivery, make_event
from ...clock import FakeClock
from .steps import (
    ACME,
    GLOBEX,
    HOUR,
    LEASE,
    MINUTE,
    OTHER,
    RECEIVER,
    SECOND,
    claim,
    claim_one,
    find_event,
    finish,
    given_claim,
    given_deliveries,
    given_delivery,
    given_ended,
    plan,
    read,
    release,
    retry,
)

ALL = DeliveryFilter()


class OperatorPromises:
    """What a store promises to operators."""

    async def test_waiting_deliveries_can_be_cancelled(self, store: Store, clock: FakeClock) -> None:
        """What waits or is held ends as cancelled, and says when."""
        pending = await given_delivery(store, clock)
        held = await given_delivery(store, clock, state=DeliveryState.HELD, reason="paused", due_at=clock.now() + HOUR)
        now = clock.advance(SECOND)

        count = await store.move(ACME, DeliveryFilter(ids=[pending.id, held.id, "dlv_unknown"]), Move.CANCEL, now=now)
        cancelled = [await read(store, new.id) for new in (pending, held)]

        assert 2 == count
        expected = (DeliveryState.CANCELLED, "cancelled", now, None)
        assert [expected] * 2 == [(d.state, d.reason, d.finished_at, d.due_at) for d in cancelled]
        assert [] == await claim(store, clock)

    async def test_a_cancel_says_why(self, store: Store, clock: FakeClock) -> None:
        """The reason that is given is that of the deliveries."""
        waiting = await given_delivery(store, clock, due_at=clock.now() + HOUR)

        await store.move(ACME, DeliveryFilter(ids=[waiting.id]), Move.CANCEL, now=clock.now(), reason="read")

        assert (DeliveryState.CANCELLED, "read") == ((d := await read(store, waiting.id)).state, d.reason)

    async def test_only_waiting_deliveries_are_cancelled(self, store: Store, clock: FakeClock) -> None:
        """What is being sent or has ended stays as it is, and is not counted."""
        delivered = await given_ended(store, clock, state=DeliveryState.DELIVERED)
        sending = await given_claim(store, clock)

        count = await store.move(
            ACME, DeliveryFilter(ids=[delivered.delivery_id, sending.delivery_id]), Move.CANCEL, now=clock.now()
        )

        assert 0 == count
        assert DeliveryState.DELIVERED is (await read(store, delivered.delivery_id)).state
        assert {sending.delivery_id} == await finish(store, clock, sending)
        assert 0 == await store.move(ACME, DeliveryFilter(ids=[]), Move.CANCEL, now=clock.now())

    async def test_a_cancel_means_what_its_filter_says(self, store: Store, clock: FakeClock) -> None:
        """Subscriber, state and event type each narrow a cancel down, and a limit leaves the rest for the next one."""
        later = clock.now() + HOUR
        other = await given_delivery(store, clock, subscriber=OTHER, due_at=later)
        held = await given_delivery(store, clock, state=DeliveryState.HELD, due_at=later)
        waiting = [await given_delivery(store, clock, due_at=later) for _ in range(3)]

        async def cancel(limit: int | None = None, **wanted: Any) -> int:
            return await store.move(ACME, DeliveryFilter(**wanted), Move.CANCEL, now=clock.now(), limit=limit)

        counts = [
            await cancel(event_type="order"),
            await cancel(states="held"),
            await cancel(states="delivered"),
            await cancel(subscriber_id=OTHER, event_type="order.created"),
            await cancel(limit=2),
            await cancel(limit=2),
            await cancel(limit=2),
        ]

        assert [0, 1, 0, 1, 2, 1, 0] == counts
        for new in (other, held, *waiting):
            assert DeliveryState.CANCELLED is (await read(store, new.id)).state

    async def test_a_cancelled_event_is_not_planned(self, store: Store, clock: FakeClock) -> None:
        """What is due later is not taken any more; the event stays, and the next of its FIFO group has its turn."""
        later, now = clock.now() + HOUR, clock.now()
        scheduled, next_one = [make_event(at=now, due_at=due, ordering_key="k") for due in (later, now)]
        other = make_event(at=now, due_at=later)
        await store.append([scheduled, next_one, other])
        blocked = await store.take(9, now=now, lease=LEASE)

        cancelled = [
            await store.move(tenant, DeliveryFilter(event_id=scheduled.id), Move.CANCEL, now=now)
            for tenant in (GLOBEX, ACME, ACME)
        ]
        taken = await store.take(9, now=clock.advance(2 * HOUR), lease=LEASE)

        assert ([], [0, 1, 0]) == (blocked, cancelled)
        assert {next_one.id, other.id} == {one.id for one in taken}
        assert scheduled == await find_event(store, ACME, scheduled.id)
        assert [] == await store.find_events(ACME, EventFilter(ids=scheduled.id, planned=False), limit=9)

    async def test_an_event_that_a_planner_has_is_not_cancelled(self, store: Store, clock: FakeClock) -> None:
        """It may have been sent already; between two pages, and after the lease, the rest can be cancelled."""
        event, lost = make_event(at=clock.now()), make_event(at=clock.now())
        await store.append([event, lost])
        taken = {one.id: one for one in await store.take(9, now=clock.now(), lease=LEASE)}
        wanted = DeliveryFilter(event_id=event.id)

        leased = await store.move(ACME, wanted, Move.CANCEL, now=clock.now())
        page = Settlement(
            event.id, taken[event.id].fence, [make_delivery(event, to) for to in (RECEIVER, OTHER)], "cursor"
        )
        await store.settle([page], now=clock.now(), lease=LEASE, worker="")
        between = await store.move(ACME, wanted, Move.CANCEL, now=clock.now(), limit=1)
        rest = await store.move(ACME, wanted, Move.CANCEL, now=clock.now(), limit=9)
        clock.advance(2 * LEASE)
        after = await store.move(ACME, DeliveryFilter(event_id=lost.id), Move.CANCEL, now=clock.now())

        assert (0, 2, 1, 1) == (leased, between, rest, after)
        assert [] == await store.take(9, now=clock.now(), lease=LEASE)

    async def test_a_narrower_filter_leaves_the_event(self, store: Store, clock: FakeClock) -> None:
        """To cancel what one subscriber gets is not to cancel the event."""
        event = make_event(at=clock.now(), due_at=clock.now() + HOUR)
        await store.append([event])
        narrower: list[dict[str, Any]] = [{"subscriber_id": RECEIVER}, {"states": "held"}, {"event_type": event.type}]
        for more in narrower:
            wanted = DeliveryFilter(event_id=event.id, **more)
            assert 0 == await store.move(ACME, wanted, Move.CANCEL, now=clock.now())

        assert [event.id] == [one.id for one in await store.take(9, now=clock.advance(HOUR), lease=LEASE)]

    async def test_events_are_found_by_their_key(self, store: Store, clock: FakeClock) -> None:
        """Each tenant has its own keys."""
        events = [make_event(at=clock.now(), tenant=tenant, key="k") for tenant in (ACME, GLOBEX)]
        await store.append([*events, make_event(at=clock.now(), key="l"), make_event(at=clock.now())])

        assert events[:1] == await store.find_events(ACME, EventFilter(idempotency_key="k"), limit=9)
        assert [] == await store.find_events(ACME, EventFilter(idempotency_key="m"), limit=9)

    async def test_a_redriven_delivery_is_a_new_generation(self, store: Store, clock: FakeClock) -> None:
        """A redrive sends the same delivery again at once: its tries begin anew, its history goes on."""
        claimed = await given_claim(store, clock, expires_at=clock.now() + MINUTE)
        await retry(store, clock, claimed, after=SECOND)
        clock.advance(SECOND)
        await claim_one(store, clock)
        clock.advance(LEASE + SECOND)
        await store.rescue(10, now=clock.now(), max_abandoned=1)
        now = clock.advance(HOUR)

        count = await store.move(ACME, ALL, Move.REDRIVE, now=now, limit=10)
        delivery = await read(store, claimed.delivery_id)
        again = await claim_one(store, clock)
        await finish(store, clock, again)

        assert 1 == count
        assert (DeliveryState.PENDING, None, now, None) == (
            delivery.state,
            delivery.reason,
            delivery.due_at,
            delivery.finished_at,
        )
        assert (1, 2, 0) == (delivery.generation, delivery.attempts, delivery.abandoned)
        assert (3, 0, 0, claimed.body) == (again.attempt, again.tries, again.abandoned, again.body)
        assert [1, 2, 3] == [attempt.number for attempt in await store.attempts(ACME, claimed.delivery_id)]

    async def test_a_redriven_delivery_does_not_expire(self, store: Store, clock: FakeClock) -> None:
        """A redriven delivery is to be sent, even if it has expired."""
        claimed = await given_claim(store, clock, expires_at=clock.now() + SECOND)
        await finish(store, clock, claimed, DeliveryState.EXPIRED)
        clock.advance(HOUR)

        await store.move(ACME, DeliveryFilter(ids=claimed.delivery_id), Move.REDRIVE, now=clock.now())

        assert (await claim_one(store, clock)).expires_at is None

    async def test_fences_grow_over_generations(self, store: Store, clock: FakeClock) -> None:
        """A zombie of an earlier generation cannot record the result of the delivery's new one."""
        zombie = await given_claim(store, clock)
        clock.advance(LEASE + SECOND)
        await store.rescue(10, now=clock.now(), max_abandoned=1)
        await store.move(ACME, ALL, Move.REDRIVE, now=clock.now(), limit=10)
        owned = await claim_one(store, clock)

        written = await finish(store, clock, zombie)

        assert set() == written
        assert zombie.fence < owned.fence
        assert {owned.delivery_id} == await finish(store, clock, owned)

    async def test_no_redrive_repeats_a_success_unasked(self, store: Store, clock: FakeClock) -> None:
        """Without named states a redrive means all that ended, except what was delivered."""
        ended = {state: await given_ended(store, clock, state=state) for state in sorted(FINAL_STATES)}

        count = await store.move(ACME, ALL, Move.REDRIVE, now=clock.now(), limit=10)

        failed = {claimed.delivery_id for state, claimed in ended.items() if state is not DeliveryState.DELIVERED}
        assert len(failed) == count
        assert failed == {claimed.delivery_id for claimed in await claim(store, clock)}

    async def test_a_redrive_can_ask_for_what_was_delivered(self, store: Store, clock: FakeClock) -> None:
        """Named states are meant, and no others."""
        await given_ended(store, clock, state=DeliveryState.DEAD)
        delivered = await given_ended(store, clock, state=DeliveryState.DELIVERED)
        wanted = DeliveryFilter(states=frozenset({DeliveryState.DELIVERED}))

        count = await store.move(ACME, wanted, Move.REDRIVE, now=clock.now(), limit=10)

        assert 1 == count
        assert [delivered.delivery_id] == [claimed.delivery_id for claimed in await claim(store, clock)]

    async def test_what_has_not_ended_is_not_redriven(self, store: Store, clock: FakeClock) -> None:
        """A redrive leaves alone what waits or is being sent, even when its states are named."""
        sending = await given_claim(store, clock)
        waiting = await given_delivery(store, clock, due_at=clock.now() + HOUR)
        wanted = DeliveryFilter(states=frozenset(DeliveryState) - FINAL_STATES)

        count = await store.move(ACME, wanted, Move.REDRIVE, now=clock.now(), limit=10)
        one_by_one = [
            await store.move(ACME, DeliveryFilter(ids=id_), Move.REDRIVE, now=clock.now())
            for id_ in (sending.delivery_id, waiting.id, "dlv_unknown")
        ]

        assert (0, [False, False, False]) == (count, one_by_one)
        assert 0 == (await read(store, waiting.id)).generation

    async def test_a_redrive_means_what_its_filter_says(self, store: Store, clock: FakeClock) -> None:
        """Subscriber, event, type and time of creation each narrow a redrive down."""
        other = await given_ended(store, clock, subscriber=OTHER)
        clock.advance(HOUR)
        recent = await given_ended(store, clock)
        since, until = DeliveryFilter(since=clock.now()), DeliveryFilter(until=clock.now())
        filters = {
            DeliveryFilter(subscriber_id=OTHER): {other.delivery_id},
            DeliveryFilter(event_id=recent.event_id): {recent.delivery_id},
            DeliveryFilter(event_type="order.created"): {other.delivery_id, recent.delivery_id},
            DeliveryFilter(event_type="order"): set(),
            since: {recent.delivery_id},
            until: {other.delivery_id},
        }

        redriven = {}
        for wanted in filters:
            await store.move(ACME, wanted, Move.REDRIVE, now=clock.now(), limit=10)
            claims = await claim(store, clock)
            redriven[wanted] = {claimed.delivery_id for claimed in claims}
            for claimed in claims:
                await finish(store, clock, claimed, DeliveryState.DEAD)

        assert filters == redriven

    async def test_a_redrive_is_limited(self, store: Store, clock: FakeClock) -> None:
        """A redrive takes a batch at a time, and the batches together take each delivery once."""
        made = await given_deliveries(store, clock, 5)
        for claimed in await claim(store, clock):
            await finish(store, clock, claimed, DeliveryState.DEAD)

        counts = [await store.move(ACME, ALL, Move.REDRIVE, now=clock.now(), limit=2) for _ in range(4)]

        assert [2, 2, 1, 0] == counts
        assert {new.id for new in made} == {claimed.delivery_id for claimed in await claim(store, clock)}

    @pytest.mark.parametrize("state", sorted(FINAL_STATES))
    async def test_one_ended_delivery_is_redriven_whatever_its_end(
        self, store: Store, clock: FakeClock, state: DeliveryState
    ) -> None:
        """A delivery that is named is redriven once, even if it was delivered."""
        ended = await given_ended(store, clock, state=state)

        first = await store.move(ACME, DeliveryFilter(ids=ended.delivery_id), Move.REDRIVE, now=clock.now())
        second = await store.move(ACME, DeliveryFilter(ids=ended.delivery_id), Move.REDRIVE, now=clock.now())

        assert (True, False) == (first, second)
        assert ended.delivery_id == (await claim_one(store, clock)).delivery_id
        assert 1 == (await read(store, ended.delivery_id)).generation

    async def test_a_refusal_can_be_redriven(self, store: Store, clock: FakeClock) -> None:
        """What planning suppressed has an id, a body and a first attempt like any other."""
        event = make_event(at=clock.now())
        refused = make_delivery(event, state=DeliveryState.SUPPRESSED, reason="unwanted")
        await plan(store, clock, event, [refused])

        await store.move(ACME, DeliveryFilter(ids=refused.id), Move.REDRIVE, now=clock.now())
        claimed = await claim_one(store, clock)

        assert (refused.id, 1, event.body) == (claimed.delivery_id, claimed.attempt, claimed.body)

    async def test_waking_makes_held_deliveries_due(self, store: Store, clock: FakeClock) -> None:
        """All that is held for one subscriber is due at once; nothing else is."""
        later = clock.now() + HOUR
        for new in ({"subscriber": RECEIVER}, {"subscriber": RECEIVER}, {"subscriber": OTHER}):
            await given_delivery(store, clock, state=DeliveryState.HELD, reason="paused", due_at=later, **new)
        await given_delivery(store, clock, subscriber=RECEIVER, due_at=later)

        count = await store.move(ACME, DeliveryFilter(subscriber_id=RECEIVER), Move.WAKE, now=clock.now())
        claimed = await claim(store, clock)

        assert 2 == count
        assert [RECEIVER, RECEIVER] == [one.subscriber_id for one in claimed]

    async def test_a_wake_can_be_limited(self, store: Store, clock: FakeClock) -> None:
        """It takes a batch at a time, of whichever subscribers the filter means."""
        for subscriber in (RECEIVER, OTHER, RECEIVER):
            await given_delivery(
                store, clock, subscriber=subscriber, state=DeliveryState.HELD, due_at=clock.now() + HOUR
            )

        counts = [await store.move(ACME, ALL, Move.WAKE, now=clock.now(), limit=2) for _ in range(3)]

        assert [2, 1, 0] == counts
        assert 3 == len(await claim(store, clock))

    async def test_waking_without_held_deliveries_wakes_nothing(self, store: Store, clock: FakeClock) -> None:
        """A subscriber without held deliveries has nothing to wake."""
        await release(store, clock, await given_claim(store, clock))

        assert 0 == await store.move(ACME, DeliveryFilter(subscriber_id=RECEIVER), Move.WAKE, now=clock.now())
        assert 0 == await store.move(ACME, DeliveryFilter(subscriber_id="end_unknown"), Move.WAKE, now=clock.now())
