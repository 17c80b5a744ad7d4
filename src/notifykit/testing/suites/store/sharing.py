"""Sharing: with other processes, with later ones, and with the caller's own transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import pytest
from sqlalchemy import Connection

from ....errors import CannotJoinError
from ....models.delivery import DeliveryState
from ....ports import Appended, Store
from ...builders import make_endpoint, make_event, make_subscription
from ...clock import FakeClock
from .fixtures import MakeStore, needs
from .steps import (
    ACME,
    LEASE,
    MINUTE,
    SECOND,
    claim,
    finish,
    given_claim,
    given_deliveries,
    given_ended,
    read,
    retry,
    settle,
    take,
    take_one,
)

Work = Callable[[Store], Coroutine[Any, Any, None]]

#: In real seconds: "at once" for a slow machine, and far less than the wait it must end.
PROMPTLY, LONG = 10, 60 * SECOND


class SharingPromises:
    """What a store promises if it declares ``durable``, ``concurrent``, ``hints`` or ``joins``."""

    @needs("durable")
    async def test_everything_outlives_the_store(
        self, store: Store, clock: FakeClock, make_second_store: MakeStore
    ) -> None:
        """Configuration, events, deliveries, attempts, leases, fences and keys are there when it is opened again."""
        endpoint = make_endpoint(at=clock.now())
        ended = await given_ended(store, clock)
        claimed = await given_claim(store, clock)
        event = make_event(at=clock.now(), key="k")
        await store.save_endpoint(endpoint)
        await store.save_subscription(make_subscription(endpoint, at=clock.now()))
        await store.append([event])
        config = await store.load_tenant(ACME)
        history = await store.attempts(ACME, ended.delivery_id)
        deliveries = [await read(store, id_) for id_ in (ended.delivery_id, claimed.delivery_id)]
        await store.aclose()

        again = await make_second_store()

        assert config == await again.load_tenant(ACME)
        assert history == await again.attempts(ACME, ended.delivery_id)
        assert deliveries == [await read(again, id_) for id_ in (ended.delivery_id, claimed.delivery_id)]
        assert [] == await claim(again, clock)
        assert event.id == (await take_one(again, clock)).id
        (answer,) = await again.append([make_event(at=clock.now(), key="k")])
        assert (event.id, True) == (answer.event_id, answer.duplicate)
        assert {claimed.delivery_id} == await finish(again, clock, claimed)

    @needs("concurrent")
    async def test_two_processes_share_one_key(
        self, store: Store, clock: FakeClock, make_second_store: MakeStore
    ) -> None:
        """Of many publishes with one key, through two stores at the same time, one stores its event."""
        answers: list[Appended] = []

        async def publish(through: Store) -> None:
            answers.extend(await through.append([make_event(at=clock.now(), key="k")]))

        other = await make_second_store()
        async with anyio.create_task_group() as tasks:
            for through in (store, other) * 10:
                tasks.start_soon(publish, through)

        assert {False: 1, True: 19} == Counter(answer.duplicate for answer in answers)
        assert 1 == len({answer.event_id for answer in answers})
        assert 1 == len(await take(store, clock))

    @needs("concurrent")
    async def test_two_processes_never_take_the_same_event(
        self, store: Store, clock: FakeClock, make_second_store: MakeStore
    ) -> None:
        """Planners of two processes, all at once, take each event once and miss none."""
        events = [make_event(at=clock.now()) for _ in range(200)]
        await store.append(events)
        taken: list[str] = []

        async def planner(through: Store) -> None:
            while batch := await take(through, clock, 7):
                taken.extend(event.id for event in batch)

        await self._run_on_both(store, await make_second_store(), planner)

        assert sorted(event.id for event in events) == sorted(taken)

    @needs("concurrent")
    async def test_two_processes_never_claim_the_same_delivery(
        self, store: Store, clock: FakeClock, make_second_store: MakeStore
    ) -> None:
        """Workers of two processes, all at once, claim each delivery once and miss none."""
        made = await given_deliveries(store, clock, 300)
        claimed: list[str] = []

        async def worker(through: Store) -> None:
            while batch := await claim(through, clock, 7):
                claimed.extend(one.delivery_id for one in batch)

        await self._run_on_both(store, await make_second_store(), worker)

        assert [new.id for new in made] == sorted(claimed)

    @needs("concurrent")
    async def test_two_processes_never_rescue_the_same_delivery(
        self, store: Store, clock: FakeClock, make_second_store: MakeStore
    ) -> None:
        """Janitors of two processes, all at once, record one abandoned attempt for each lease that ran out."""
        made = await given_deliveries(store, clock, 60)
        await claim(store, clock)
        clock.advance(LEASE + SECOND)
        rescued: list[str] = []

        async def janitor(through: Store) -> None:
            # A batch may be empty because the rows are another janitor's at the moment.
            for _ in range(10):
                batch = await through.rescue(7, now=clock.now(), max_abandoned=3)
                rescued.extend(delivery.id for delivery in batch)

        await self._run_on_both(store, await make_second_store(), janitor)

        assert [new.id for new in made] == sorted(rescued)
        assert {1} == {len(await store.attempts(ACME, new.id)) for new in made}

    @needs("concurrent")
    async def test_one_of_two_records_wins(self, store: Store, clock: FakeClock, make_second_store: MakeStore) -> None:
        """Of two results for one claim, written at the same time, one counts and the other learns that it does not."""
        claimed = await given_claim(store, clock)
        other = await make_second_store()
        written: list[set[str]] = []

        async def end(through: Store) -> None:
            written.append(await finish(through, clock, claimed))

        async def fail(through: Store) -> None:
            written.append(await retry(through, clock, claimed, after=MINUTE))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(end, store)
            tasks.start_soon(fail, other)

        assert [set(), {claimed.delivery_id}] == sorted(written, key=len)
        assert 1 == len(await store.attempts(ACME, claimed.delivery_id))

    @needs("concurrent")
    async def test_a_rescue_in_one_process_fences_the_other(
        self, store: Store, clock: FakeClock, make_second_store: MakeStore
    ) -> None:
        """A worker that was thought dead cannot record over the process that took its delivery."""
        zombie = await given_claim(store, clock)
        other = await make_second_store()
        clock.advance(LEASE + SECOND)
        await other.rescue(10, now=clock.now(), max_abandoned=3)
        (owned,) = await claim(other, clock)

        assert set() == await finish(store, clock, zombie, DeliveryState.DEAD)
        assert {owned.delivery_id} == await finish(other, clock, owned)
        assert DeliveryState.DELIVERED is (await read(store, owned.delivery_id)).state

    @needs("hints")
    async def test_an_append_elsewhere_ends_the_wait(
        self, store: Store, clock: FakeClock, make_second_store: MakeStore
    ) -> None:
        """A call that waits on one store is woken when an event is appended through another."""
        other = await make_second_store()
        await store.wait(SECOND / 20)

        with anyio.fail_after(PROMPTLY):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(store.wait, LONG)
                await anyio.wait_all_tasks_blocked()

                await other.append([make_event(at=clock.now())])

    @needs("joins")
    async def test_a_joined_append_is_committed_with_the_caller(
        self, store: Store, clock: FakeClock, connection: Connection
    ) -> None:
        """An event that joined the caller's transaction is there once the caller commits."""
        events = [make_event(at=clock.now()) for _ in range(3)]

        with connection.begin():
            answers = store.append_joined(connection, events)

        assert [Appended(event.id) for event in events] == answers
        assert {event.id for event in events} == {taken.id for taken in await take(store, clock)}
        assert events[0] == await store.get_event(ACME, events[0].id)

    @needs("joins")
    async def test_a_joined_append_is_rolled_back_with_the_caller(
        self, store: Store, clock: FakeClock, connection: Connection
    ) -> None:
        """When the caller's transaction fails, the event never happened, and its key is free."""
        event = make_event(at=clock.now(), key="k")

        with connection.begin() as transaction:
            store.append_joined(connection, [event])
            transaction.rollback()

        assert await store.get_event(ACME, event.id) is None
        assert [] == await take(store, clock)
        assert [Appended(event.id)] == await store.append([event])

    @needs("joins")
    async def test_a_joined_append_knows_earlier_keys(
        self, store: Store, clock: FakeClock, connection: Connection
    ) -> None:
        """Keys that were stored before, or earlier in the same transaction or batch, make duplicates."""
        stored, mine = make_event(at=clock.now(), key="stored"), make_event(at=clock.now(), key="mine")
        await store.append([stored])

        with connection.begin():
            first = store.append_joined(connection, [make_event(at=clock.now(), key="stored"), mine])
            second = store.append_joined(
                connection, [make_event(at=clock.now(), key=key) for key in ("mine", "new", "new")]
            )

        known = Appended(stored.id, duplicate=True, fingerprint=stored.fingerprint)
        assert [known, Appended(mine.id)] == first
        assert Appended(mine.id, duplicate=True, fingerprint=mine.fingerprint) == second[0]
        assert (False, True) == (second[1].duplicate, second[2].duplicate)
        assert second[1].event_id == second[2].event_id
        assert {stored.id, mine.id, second[1].event_id} == {taken.id for taken in await take(store, clock)}

    @needs("joins")
    async def test_a_joined_event_is_planned_like_any_other(
        self, store: Store, clock: FakeClock, connection: Connection
    ) -> None:
        """An event that joined a transaction is taken with its bytes and leaves the outbox when it is settled."""
        event = make_event(at=clock.now(), body=bytes(range(256)))
        with connection.begin():
            store.append_joined(connection, [event])

        taken = await take_one(store, clock)

        assert event.body == taken.body
        assert {event.id} == await settle(store, clock, taken)

    async def test_a_store_that_cannot_join_says_so(self, store: Store, clock: FakeClock) -> None:
        """What is no connection to the store's database is refused, and nothing is stored."""
        with pytest.raises(CannotJoinError):
            store.append_joined(object(), [make_event(at=clock.now())])

        assert [] == await take(store, clock)

    async def _run_on_both(self, store: Store, other: Store, work: Work) -> None:
        async with anyio.create_task_group() as tasks:
            for through in (store, other) * 4:
                tasks.start_soon(work, through)
