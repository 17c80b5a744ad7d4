"""Liveness: when work is due, and how much of it there is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import pytest

from ....models.delivery import DeliveryState, Lane, Priority
from ....ports import DeliveryFilter, Move, NextDue, Settlement, Store, StoreStats
from ...builders import make_delivery, make_event
from ...clock import FakeClock
from .steps import (
    ACME,
    HOUR,
    LANE,
    LEASE,
    MINUTE,
    SECOND,
    TICK,
    claim,
    claim_one,
    finish,
    given_claim,
    given_deliveries,
    given_delivery,
    given_ended,
    plan,
    retry,
    settle,
    take_one,
)

#: In real seconds: "at once" for a slow machine, and far less than the wait it must end.
PROMPTLY, LONG = 5, 60 * SECOND


class LivenessPromises:
    """What a store promises to processes that wait for work."""

    async def test_nothing_is_due_in_an_empty_store(self, store: Store) -> None:
        """Without events and deliveries there is nothing to wait for."""
        assert NextDue(None, {}, is_open=False) == await store.next_due()

    async def test_the_next_event_is_due(self, store: Store, clock: FakeClock) -> None:
        """The earliest unplanned event is the next one due, whatever its priority."""
        first = clock.now() + HOUR + TICK
        due = {Priority.HIGH: first + MINUTE, Priority.NORMAL: first + SECOND, Priority.LOW: first}
        await store.append([make_event(at=clock.now(), due_at=at, priority=priority) for priority, at in due.items()])

        assert NextDue(first, {}, is_open=True) == await store.next_due()

    async def test_the_next_delivery_is_due(self, store: Store, clock: FakeClock) -> None:
        """The earliest delivery of each lane that waits or is held is the next one due there."""
        first = clock.now() + HOUR + TICK
        await given_delivery(store, clock, due_at=first + MINUTE)
        await given_delivery(store, clock, due_at=first + SECOND)
        await given_delivery(store, clock, due_at=first, state=DeliveryState.HELD, channel="e-mail")

        found = await store.next_due()

        lanes = {LANE: first + SECOND, Lane("e-mail", Priority.NORMAL): first}
        assert NextDue(None, lanes, is_open=True) == found
        assert first == found.first

    async def test_work_that_waits_already_is_due(self, store: Store, clock: FakeClock) -> None:
        """A time that has passed says: now."""
        await given_delivery(store, clock)

        due = (await store.next_due()).lanes

        assert {LANE} == due.keys()
        assert due[LANE] <= clock.now()

    async def test_leased_work_is_not_due(self, store: Store, clock: FakeClock) -> None:
        """Work that is being planned or sent is not due before its lease is over."""
        claimed = await given_claim(store, clock)
        await store.append([make_event(at=clock.now())])
        taken = await take_one(store, clock)

        leased = (await store.next_due()).first
        await finish(store, clock, claimed)
        await settle(store, clock, taken)
        done = await store.next_due()

        assert leased is None or leased >= clock.now() + LEASE
        assert NextDue(None, {}, is_open=False) == done

    async def test_a_retry_is_due_at_its_time(self, store: Store, clock: FakeClock) -> None:
        """A delivery that is tried again says when."""
        await retry(store, clock, await given_claim(store, clock), after=HOUR)

        assert NextDue(None, {LANE: clock.now() + HOUR}, is_open=True) == await store.next_due()

    async def test_what_is_open_is_work(self, store: Store, clock: FakeClock) -> None:
        """Work is open from the append of an event until its last delivery has ended, taken and claimed or not."""
        seen = [(await store.next_due()).is_open]
        event = make_event(at=clock.now())
        await store.append([event])
        seen.append((await store.next_due()).is_open)
        taken = await take_one(store, clock)
        seen.append((await store.next_due()).is_open)
        await settle(store, clock, taken, [make_delivery(event, due_at=clock.now())])
        seen.append((await store.next_due()).is_open)
        claimed = await claim_one(store, clock)
        seen.append((await store.next_due()).is_open)
        await finish(store, clock, claimed)
        seen.append((await store.next_due()).is_open)

        assert [False, True, True, True, True, False] == seen

    async def test_a_redrive_is_work(self, store: Store, clock: FakeClock) -> None:
        """An ended delivery is no open work, until it is redriven."""
        dead = await given_ended(store, clock)
        ended = (await store.next_due()).is_open

        await store.move(ACME, DeliveryFilter(ids=dead.delivery_id), Move.REDRIVE, now=clock.now())

        assert (False, True) == (ended, (await store.next_due()).is_open)

    async def test_an_append_ends_the_wait(self, store: Store, clock: FakeClock) -> None:
        """A call that waits on a store is woken when an event is appended through it."""
        with anyio.fail_after(PROMPTLY):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(store.wait, LONG)
                tasks.start_soon(store.wait, LONG)
                await anyio.wait_all_tasks_blocked()

                await store.append([make_event(at=clock.now())])

    @pytest.mark.parametrize("verb", ["settle", "redrive", "redrive_one", "wake", "rescue"])
    async def test_work_that_becomes_due_ends_the_wait(self, store: Store, clock: FakeClock, verb: str) -> None:
        """A call that waits on a store is woken when deliveries become due through it."""
        held = await given_delivery(store, clock, state=DeliveryState.HELD, due_at=clock.now() + HOUR)
        dead = await given_ended(store, clock)
        await given_claim(store, clock)
        event = make_event(at=clock.now())
        await store.append([event])
        taken = await take_one(store, clock)
        now = clock.advance(LEASE + SECOND)
        verbs: dict[str, Callable[[], Awaitable[object]]] = {
            "settle": lambda: settle(store, clock, taken, [make_delivery(event)]),
            "redrive": lambda: store.move(ACME, DeliveryFilter(), Move.REDRIVE, now=now, limit=10),
            "redrive_one": lambda: store.move(ACME, DeliveryFilter(ids=dead.delivery_id), Move.REDRIVE, now=now),
            "wake": lambda: store.move(ACME, DeliveryFilter(subscriber_id=held.subscriber_id), Move.WAKE, now=now),
            "rescue": lambda: store.rescue(10, now=now, max_abandoned=3),
        }
        await store.wait(TICK)  # notifications of what was done so far

        with anyio.fail_after(PROMPTLY):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(store.wait, LONG)
                await anyio.wait_all_tasks_blocked()

                done = await verbs[verb]()

        assert done

    async def test_a_wait_ends_by_itself(self, store: Store) -> None:
        """A wait without news is over after its timeout, because work may come without a notification."""
        with anyio.fail_after(PROMPTLY):
            for _ in range(3):
                await store.wait(10_000 * TICK)

    async def test_an_idle_wait_is_ended_by_news_too(self, store: Store, clock: FakeClock) -> None:
        """A wait that may last longer while notifications arrive ends with the first one."""
        with anyio.fail_after(PROMPTLY):
            await store.wait(TICK, idle_timeout=TICK)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(store.wait, LONG, idle_timeout=2 * LONG))
                await anyio.wait_all_tasks_blocked()

                await store.append([make_event(at=clock.now())])

    async def test_an_empty_store_has_no_work(self, store: Store, clock: FakeClock) -> None:
        """Without events and deliveries every count is zero."""
        assert StoreStats(0, 0, 0, 0, None) == await store.stats(now=clock.now())

    async def test_work_is_counted(self, store: Store, clock: FakeClock) -> None:
        """Unplanned events, waiting, sent and dead deliveries are counted, each as what it is now."""
        await given_ended(store, clock, state=DeliveryState.DEAD)
        await given_ended(store, clock, state=DeliveryState.DELIVERED)
        await given_ended(store, clock, state=DeliveryState.CANCELLED)
        await given_deliveries(store, clock, 5)
        await claim(store, clock, 2)
        await given_delivery(store, clock, state=DeliveryState.HELD, due_at=clock.now() + HOUR)
        await store.append([make_event(at=clock.now(), due_at=clock.now() + HOUR) for _ in range(6)])

        stats = await store.stats(now=clock.now())

        assert (6, 4, 2, 1) == stats[:4]

    async def test_what_waits_is_counted_for_each_lane(self, store: Store, clock: FakeClock) -> None:
        """With since when it is due; a lane in which nothing waits is not named."""
        due = clock.now() + MINUTE
        await given_ended(store, clock)
        none = await store.stats(now=clock.now())
        await given_deliveries(store, clock, 3)
        await given_delivery(store, clock, channel="email", priority=Priority.HIGH, due_at=due)

        early = await store.stats(now=clock.now())
        late = await store.stats(now=due)

        webhook, email = Lane("webhook", Priority.NORMAL), Lane("email", Priority.HIGH)
        assert {} == none.lanes
        assert {webhook: (3, clock.now()), email: (1, None)} == early.lanes
        assert {webhook: (3, clock.now()), email: (1, due)} == late.lanes

    async def test_the_most_overdue_row_is_named(self, store: Store, clock: FakeClock) -> None:
        """The statistics say since when the oldest work waits, and nothing when none is overdue."""
        due = clock.now() + MINUTE
        await given_delivery(store, clock, due_at=due)
        await given_delivery(store, clock, due_at=due + SECOND)

        early = await store.stats(now=due - SECOND)
        late = await store.stats(now=due + HOUR)
        clock.advance(MINUTE)
        await finish(store, clock, await claim_one(store, clock))
        after = await store.stats(now=due + HOUR)

        assert [None, due, due + SECOND] == [stats.oldest_due for stats in (early, late, after)]

    async def test_an_unplanned_event_can_be_the_most_overdue(self, store: Store, clock: FakeClock) -> None:
        """Unplanned events are overdue work as well."""
        await plan(store, clock, make_event(at=clock.now()), [])
        await store.append([make_event(at=clock.now())])

        assert clock.now() == (await store.stats(now=clock.now() + HOUR)).oldest_due

    async def test_counts_are_capped(self, store: Store, clock: FakeClock) -> None:
        """Counting stops at 10,000, so that a health check costs the same on any backlog."""
        event = make_event(at=clock.now())
        await store.append([event])
        for page in range(11):
            taken = await take_one(store, clock)
            made = [make_delivery(event, address=f"{page} {i}") for i in range(1000)]
            settlement = Settlement(taken.id, taken.fence, made, None if page == 10 else str(page))
            await store.settle([settlement], now=clock.now(), lease=LEASE, worker="planner-1")
        await store.append([make_event(at=clock.now()) for _ in range(10_500)])

        stats = await store.stats(now=clock.now())

        assert (10_000, 10_000) == (stats.unplanned, stats.waiting)

    async def test_closing_twice_is_no_error(self, store: Store) -> None:
        """A store that is closed may be closed again."""
        await store.aclose()
        await store.aclose()
