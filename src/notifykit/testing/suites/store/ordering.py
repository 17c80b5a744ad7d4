"""Ordering keys: what shares one is taken, sent and ended one after the other, in the order of ids."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from ....models.delivery import WEBHOOK, Claim, DeliveryState, Lane, NewDelivery, Priority
from ....ports import DeliveryFilter, Store
from ...builders import make_delivery, make_endpoint, make_event, make_record
from ...clock import FakeClock
from .fixtures import MakeStore, needs
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
    finish,
    given_delivery,
    read,
    release,
    retry,
    settle,
    take,
    take_one,
)

KEY = "order A-1"
DELIVERED, DEAD = DeliveryState.DELIVERED, DeliveryState.DEAD

Ending = Callable[[Store, FakeClock, Claim], Coroutine[Any, Any, object]]


def _ids(claims: Sequence[Claim]) -> list[str]:
    return [one.delivery_id for one in claims]


async def given_group(
    store: Store,
    clock: FakeClock,
    count: int,
    *,
    key: str = KEY,
    subscriber: str = RECEIVER,
    tenant: str = ACME,
    **changes: Any,
) -> list[NewDelivery]:
    """Publish ``count`` events with one key and plan each as a delivery to one subscriber, in order."""
    events = [make_event(tenant=tenant, at=clock.now(), ordering_key=key) for _ in range(count)]
    await store.append(events)
    made = []
    for event in events:
        taken = await take_one(store, clock)
        made.append(make_delivery(event, subscriber, **changes))
        await settle(store, clock, taken, made[-1:])
    return made


async def drain(store: Store, clock: FakeClock) -> list[list[str]]:
    """Claim and deliver until nothing is due; return the ids of each batch."""
    batches = []
    while batch := await claim(store, clock):
        batches.append(_ids(batch))
        for one in batch:
            await finish(store, clock, one)
    return batches


async def _deliver(store: Store, clock: FakeClock, head: Claim) -> None:
    await finish(store, clock, head)


async def _bury(store: Store, clock: FakeClock, head: Claim) -> None:
    await finish(store, clock, head, DEAD)


async def _expire(store: Store, clock: FakeClock, head: Claim) -> None:
    await store.record([make_record(head, DeliveryState.EXPIRED, at=clock.now(), reason="expired")])


async def _cancel_at_send(store: Store, clock: FakeClock, head: Claim) -> None:
    record = make_record(head, DeliveryState.CANCELLED, at=clock.now(), reason="endpoint_disabled")
    await store.record([record])


async def _cancel_while_waiting(store: Store, clock: FakeClock, head: Claim) -> None:
    await retry(store, clock, head, after=HOUR)
    assert [] == await claim(store, clock)
    assert 1 == await store.cancel(ACME, [head.delivery_id], now=clock.now())


async def _quarantine(store: Store, clock: FakeClock, head: Claim) -> None:
    assert [] == await claim(store, clock)
    clock.advance(LEASE + SECOND)
    (rescued,) = await store.rescue(10, now=clock.now(), max_abandoned=1)
    assert (head.delivery_id, DEAD) == (rescued.id, rescued.state)


class OrderingPromises:
    """What a store promises of events and deliveries with an ordering key."""

    # -- events ----------------------------------------------------------------------------------

    async def test_events_of_a_key_are_taken_one_by_one(self, store: Store, clock: FakeClock) -> None:
        """An event is handed out once all earlier ones of its key have left the outbox."""
        events = [make_event(at=clock.now(), ordering_key=KEY) for _ in range(3)]
        await store.append(events)
        taken = []

        for _ in events:
            batch = await take(store, clock)
            assert [] == await take(store, clock)
            taken.append([event.id for event in batch])
            for event in batch:
                await settle(store, clock, event)

        assert [[event.id] for event in events] == taken

    async def test_the_order_of_ids_counts(self, store: Store, clock: FakeClock) -> None:
        """What was published first goes first, whatever the order of storing, the due times and the priorities."""
        first = make_event(at=clock.now(), ordering_key=KEY, priority=Priority.LOW)
        second = make_event(at=clock.now(), ordering_key=KEY, priority=Priority.HIGH, due_at=clock.now() - HOUR)
        await store.append([second])
        await store.append([first])

        taken = await take_one(store, clock)

        assert first.id == taken.id

    async def test_an_event_of_the_future_holds_back_later_ones(self, store: Store, clock: FakeClock) -> None:
        """An event that is not due yet is waited for by those that were published after it."""
        scheduled = make_event(at=clock.now(), ordering_key=KEY, due_at=clock.now() + HOUR)
        after = make_event(at=clock.now(), ordering_key=KEY)
        await store.append([scheduled, after])

        early = await take(store, clock)
        clock.advance(HOUR)
        in_time = await take_one(store, clock)
        await settle(store, clock, in_time)
        then = await take_one(store, clock)

        assert ([], scheduled.id, after.id) == (early, in_time.id, then.id)

    async def test_a_page_holds_back_later_events(self, store: Store, clock: FakeClock) -> None:
        """A fan-out in pages is finished before the next event of the key is planned."""
        first, second = (make_event(at=clock.now(), ordering_key=KEY) for _ in range(2))
        await store.append([first, second])
        taken = await take_one(store, clock)
        await settle(store, clock, taken, cursor="page 2")

        again = await take_one(store, clock)
        await settle(store, clock, again)
        then = await take_one(store, clock)

        assert (first.id, second.id) == (again.id, then.id)

    async def test_a_lost_planner_keeps_its_place(self, store: Store, clock: FakeClock) -> None:
        """When a planner dies, its event is taken again before any later one, and its own plan comes too late."""
        first, second = (make_event(at=clock.now(), ordering_key=KEY) for _ in range(2))
        await store.append([first, second])
        lost = await take_one(store, clock)
        assert [] == await take(store, clock)

        clock.advance(LEASE)
        again = await take_one(store, clock)
        late = await settle(store, clock, lost)
        await settle(store, clock, again)
        then = await take_one(store, clock)

        assert (first.id, set(), second.id) == (again.id, late, then.id)

    async def test_keys_of_events_are_independent(self, store: Store, clock: FakeClock) -> None:
        """Other keys, the same key of another tenant and events without a key are not waited for."""
        waiting = [make_event(at=clock.now(), ordering_key=KEY) for _ in range(2)]
        others = [
            make_event(at=clock.now(), ordering_key="order B-1"),
            make_event(at=clock.now(), ordering_key=KEY, tenant=GLOBEX),
            make_event(at=clock.now()),
            make_event(at=clock.now()),
        ]
        await store.append([*waiting, *others])

        taken = await take(store, clock)

        assert {event.id for event in (waiting[0], *others)} == {event.id for event in taken}

    async def test_events_that_wait_in_line_hide_nothing(self, store: Store, clock: FakeClock) -> None:
        """However many events wait behind another one, what is due beside them is found by a small batch."""
        events = [make_event(at=clock.now(), ordering_key=KEY) for _ in range(300)]
        await store.append(events)
        (first,) = await take(store, clock, 1)
        clock.advance(SECOND)
        other = make_event(at=clock.now())
        await store.append([other])

        taken = await take(store, clock, 10)

        assert (events[0].id, [other.id]) == (first.id, [event.id for event in taken])

    # -- deliveries ------------------------------------------------------------------------------

    async def test_deliveries_of_a_key_are_claimed_one_by_one(self, store: Store, clock: FakeClock) -> None:
        """A delivery is handed out once all earlier ones of its key to its subscriber have ended."""
        made = await given_group(store, clock, 4)

        batches = await drain(store, clock)

        assert [[new.id] for new in made] == batches

    async def test_nothing_overtakes_what_is_being_sent(self, store: Store, clock: FakeClock) -> None:
        """While one delivery of a key is being sent, no other one is claimed, not even after its lease has run out."""
        await given_group(store, clock, 3)
        await claim_one(store, clock)

        within = await claim(store, clock)
        clock.advance(LEASE + MINUTE)
        after = await claim(store, clock)

        assert ([], []) == (within, after)

    async def test_a_retry_holds_back_its_followers(self, store: Store, clock: FakeClock) -> None:
        """A delivery that failed is tried again before any later one of its key is sent."""
        first, second = await given_group(store, clock, 2)
        await retry(store, clock, await claim_one(store, clock), after=HOUR)

        meanwhile = await claim(store, clock)
        clock.advance(HOUR)
        again = await claim_one(store, clock)
        await finish(store, clock, again)
        then = await claim_one(store, clock)

        assert ([], first.id, second.id) == (meanwhile, again.delivery_id, then.delivery_id)

    async def test_a_released_claim_keeps_its_place(self, store: Store, clock: FakeClock) -> None:
        """A delivery that was given back unsent is still the first of its key."""
        first, _ = await given_group(store, clock, 2)

        await release(store, clock, await claim_one(store, clock))
        again = await claim_one(store, clock)

        assert first.id == again.delivery_id

    async def test_a_rescued_delivery_keeps_its_place(self, store: Store, clock: FakeClock) -> None:
        """When a worker dies, its delivery is sent again before any later one of its key."""
        first, second = await given_group(store, clock, 2)
        lost = await claim_one(store, clock)
        clock.advance(LEASE + SECOND)
        await store.rescue(10, now=clock.now(), max_abandoned=3)

        again = await claim_one(store, clock)
        late = await finish(store, clock, lost)
        assert [] == await claim(store, clock)
        await finish(store, clock, again)
        then = await claim_one(store, clock)

        assert (first.id, set(), second.id) == (again.delivery_id, late, then.delivery_id)

    async def test_a_held_delivery_holds_back_its_followers(self, store: Store, clock: FakeClock) -> None:
        """What is held, from birth or since a claim, is waited for; a wake sets the whole line going."""
        (first,) = await given_group(store, clock, 1, state=DeliveryState.HELD, due_at=clock.now() + HOUR)
        second, third = await given_group(store, clock, 2)
        asleep = await claim(store, clock)
        clock.advance(HOUR)
        held = await claim_one(store, clock)
        due_at = clock.now() + HOUR
        await store.record([make_record(held, DeliveryState.HELD, at=clock.now(), reason="paused", due_at=due_at)])
        asleep += await claim(store, clock)

        await store.wake(ACME, RECEIVER, now=clock.now())

        assert [] == asleep
        assert [[first.id], [second.id], [third.id]] == await drain(store, clock)

    @pytest.mark.parametrize(
        "end",
        [
            pytest.param(_deliver, id="delivered"),
            pytest.param(_bury, id="dead"),
            pytest.param(_expire, id="expired"),
            pytest.param(_cancel_at_send, id="cancelled-at-send"),
            pytest.param(_cancel_while_waiting, id="cancelled-while-waiting"),
            pytest.param(_quarantine, id="quarantined"),
        ],
    )
    async def test_every_end_gives_the_next_one_its_turn(self, store: Store, clock: FakeClock, end: Ending) -> None:
        """However the first delivery of a key ends, the next one is due at once."""
        _, second, third = await given_group(store, clock, 3)
        head = await claim_one(store, clock)
        assert [] == await claim(store, clock)

        await end(store, clock, head)

        assert [[second.id], [third.id]] == await drain(store, clock)

    async def test_a_cancelled_follower_is_skipped(self, store: Store, clock: FakeClock) -> None:
        """A line closes up when a delivery in its middle is cancelled."""
        first, second, third = await given_group(store, clock, 3)
        head = await claim_one(store, clock)
        assert [] == await claim(store, clock)

        assert 1 == await store.cancel(ACME, [second.id], now=clock.now())
        early = await claim(store, clock)
        await finish(store, clock, head)

        assert (first.id, []) == (head.delivery_id, early)
        assert [[third.id]] == await drain(store, clock)

    async def test_a_removed_endpoint_leaves_no_line(self, store: Store, clock: FakeClock) -> None:
        """Removing an endpoint ends all that waits in its lines, also behind a delivery that is being sent."""
        endpoint = make_endpoint(at=clock.now())
        await store.save_endpoint(endpoint)
        _, *followers = await given_group(store, clock, 3, subscriber=endpoint.id)
        head = await claim_one(store, clock)
        assert [] == await claim(store, clock)

        await store.remove_endpoint(ACME, endpoint.id, now=clock.now())
        await finish(store, clock, head)

        assert [] == await drain(store, clock)
        states = {(await read(store, new.id)).state for new in followers}
        assert {DeliveryState.CANCELLED} == states

    async def test_a_follower_is_not_sent_before_its_time(self, store: Store, clock: FakeClock) -> None:
        """The next of a key has its turn when the one before it has ended, and starts when it is due itself."""
        (first,) = await given_group(store, clock, 1)
        (second,) = await given_group(store, clock, 1, due_at=clock.now() + HOUR)
        head = await claim_one(store, clock)
        await finish(store, clock, head)

        early = await claim(store, clock)
        clock.advance(HOUR)
        in_time = await claim_one(store, clock)

        assert (first.id, [], second.id) == (head.delivery_id, early, in_time.delivery_id)

    async def test_a_redriven_delivery_goes_first_again(self, store: Store, clock: FakeClock) -> None:
        """A redriven delivery takes the place its id says, before later ones that still wait."""
        first, second, third = await given_group(store, clock, 3)
        await finish(store, clock, await claim_one(store, clock), DEAD)
        await retry(store, clock, await claim_one(store, clock), after=MINUTE)
        assert [] == await claim(store, clock)

        await store.redrive_one(ACME, first.id, now=clock.now())
        clock.advance(MINUTE)

        assert [[first.id], [second.id], [third.id]] == await drain(store, clock)

    async def test_a_redriven_delivery_waits_for_a_later_one_that_is_being_sent(
        self, store: Store, clock: FakeClock
    ) -> None:
        """Of one key, one delivery at a time is being sent, even if an earlier one comes back meanwhile."""
        first, second, third = await given_group(store, clock, 3)
        await finish(store, clock, await claim_one(store, clock), DEAD)
        sending = await claim_one(store, clock)

        await store.redrive_one(ACME, first.id, now=clock.now())
        meanwhile = await claim(store, clock)
        await finish(store, clock, sending)

        assert (second.id, []) == (sending.delivery_id, meanwhile)
        assert [[first.id], [third.id]] == await drain(store, clock)

    async def test_a_redriven_line_is_in_order(self, store: Store, clock: FakeClock) -> None:
        """Dead letters of one key that are redriven together are sent in the order of their ids."""
        made = await given_group(store, clock, 4)
        for _ in made:
            await finish(store, clock, await claim_one(store, clock), DEAD)

        await store.redrive(ACME, DeliveryFilter(subscriber_id=RECEIVER), now=clock.now(), limit=10)

        assert [[new.id] for new in made] == await drain(store, clock)

    async def test_lines_are_independent(self, store: Store, clock: FakeClock) -> None:
        """Other keys, other subscribers and deliveries without a key are not waited for."""
        first, _ = await given_group(store, clock, 2)
        elsewhere, _ = await given_group(store, clock, 2, subscriber=OTHER)
        stranger, _ = await given_group(store, clock, 2, subscriber="end_stranger", tenant=GLOBEX)
        another, _ = await given_group(store, clock, 2, key="order B-1")
        plain = [await given_delivery(store, clock) for _ in range(2)]

        claimed = await claim(store, clock)

        assert {new.id for new in (first, elsewhere, stranger, another, *plain)} == set(_ids(claimed))

    async def test_a_line_runs_through_all_lanes(self, store: Store, clock: FakeClock) -> None:
        """A more urgent delivery does not overtake an earlier one of its key."""
        (first,) = await given_group(store, clock, 1, priority=Priority.LOW)
        (second,) = await given_group(store, clock, 1, priority=Priority.HIGH)
        high, low = Lane(WEBHOOK, Priority.HIGH), Lane(WEBHOOK, Priority.LOW)

        early = await claim(store, clock, lane=high)
        (head,) = await claim(store, clock, lane=low)
        await finish(store, clock, head)
        then = await claim(store, clock, lane=high)

        assert ([], first.id, [second.id]) == (early, head.delivery_id, _ids(then))

    async def test_a_line_hides_nothing(self, store: Store, clock: FakeClock) -> None:
        """However many deliveries wait behind another one, what is due beside them is found by a small batch."""
        event = make_event(at=clock.now(), ordering_key=KEY)
        await store.append([event])
        line = [make_delivery(event, RECEIVER, address=f"{i}") for i in range(300)]
        await settle(store, clock, await take_one(store, clock), line)
        (head,) = await claim(store, clock, 1)
        clock.advance(SECOND)
        other = await given_delivery(store, clock, subscriber=OTHER)

        claimed = await claim(store, clock, 10)

        assert (min(line).id, [other.id]) == (head.delivery_id, _ids(claimed))

    async def test_a_line_that_waits_wakes_nobody(self, store: Store, clock: FakeClock) -> None:
        """A blocked row is not due: the next due time is that of the head, if any."""
        await given_group(store, clock, 5)
        scheduled = make_event(at=clock.now(), ordering_key=KEY, due_at=clock.now() + HOUR)
        await store.append([scheduled, make_event(at=clock.now(), ordering_key=KEY)])
        await retry(store, clock, await claim_one(store, clock), after=SECOND)

        nothing = (await take(store, clock), await claim(store, clock))
        due = (await store.next_due()).first

        assert ([], []) == nothing
        assert clock.now() + SECOND == due

    # -- together --------------------------------------------------------------------------------

    @needs("concurrent")
    async def test_processes_keep_the_order_together(
        self, store: Store, clock: FakeClock, make_second_store: MakeStore
    ) -> None:
        """Planners and workers of two processes, all at once, end every delivery of every key in order."""
        keys = [f"order {n}" for n in range(5)]
        events = [make_event(at=clock.now(), ordering_key=key) for _ in range(12) for key in keys]
        await store.append(events)
        made = {event.id: make_delivery(event, RECEIVER) for event in events}
        ended: dict[str, list[str]] = {key: [] for key in keys}
        sending: set[str] = set()
        overlaps: list[str] = []

        async def plan_all(through: Store) -> None:
            while any([not await through.is_planned(ACME, event.id) for event in events[-len(keys) :]]):
                for event in await take(through, clock, 3):
                    await settle(through, clock, event, [made[event.id]])
                await anyio.lowlevel.checkpoint()

        async def work(through: Store) -> None:
            while sum(map(len, ended.values())) < len(events):
                batch = await claim(through, clock, 3)
                overlaps.extend(key for one in batch if (key := one.ordering_key or "") in sending)
                sending.update(one.ordering_key or "" for one in batch)
                await anyio.lowlevel.checkpoint()
                for one in batch:
                    sending.discard(one.ordering_key or "")
                    ended[one.ordering_key or ""].append(one.event_id)
                    await finish(through, clock, one)

        other = await make_second_store()
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                for through in (store, other) * 2:
                    tasks.start_soon(plan_all, through)
                    tasks.start_soon(work, through)

        assert {key: [event.id for event in events if event.ordering_key == key] for key in keys} == ended
        assert [] == overlaps
