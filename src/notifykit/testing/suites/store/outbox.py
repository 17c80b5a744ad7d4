"""Append and take: what is published once is planned, soon, by one planner at a time."""

from __future__ import annotations

from collections import Counter

from anyio import create_task_group

from ....models.delivery import Priority
from ....models.event import StoredEvent
from ....ports import Appended, Store
from ...builders import make_event
from ...clock import FakeClock
from .fixtures import needs
from .steps import ACME, GLOBEX, HOUR, LEASE, SECOND, TICK, find_event, settle, take, take_one


class OutboxPromises:
    """What a store promises of events that are not planned yet."""

    async def test_appends_are_answered_in_order(self, store: Store, clock: FakeClock) -> None:
        """Each event of a batch gets its own answer, in the order of the batch."""
        events = [make_event(at=clock.now()) for _ in range(5)]
        mixed = [events[i] for i in (3, 0, 4, 1, 2)]

        answers = await store.append(mixed)

        assert [Appended(event.id) for event in mixed] == answers

    async def test_an_empty_batch_is_no_error(self, store: Store) -> None:
        """Appending nothing does nothing."""
        assert [] == await store.append([])

    async def test_a_repeated_key_is_answered_with_the_first_event(self, store: Store, clock: FakeClock) -> None:
        """A second event with the same key is not stored; its publisher learns the first one's id and fingerprint."""
        first = make_event(at=clock.now(), key="ship-1", body=b'{"first":1}')
        second = make_event(at=clock.now(), key="ship-1", body=b'{"second":2}')
        await store.append([first])

        (answer,) = await store.append([second])

        assert Appended(first.id, duplicate=True, fingerprint=first.fingerprint) == answer
        assert True is answer.duplicate  # which callers are shown as it is
        assert await find_event(store, ACME, second.id) is None
        assert [first.id] == [taken.id for taken in await take(store, clock)]

    async def test_a_key_belongs_to_its_tenant(self, store: Store, clock: FakeClock) -> None:
        """Two tenants may use the same idempotency key."""
        ours = make_event(tenant=ACME, at=clock.now(), key="k")
        theirs = make_event(tenant=GLOBEX, at=clock.now(), key="k")
        await store.append([ours])

        answers = await store.append([theirs])

        assert [Appended(theirs.id)] == answers

    async def test_equal_events_without_a_key_are_two_events(self, store: Store, clock: FakeClock) -> None:
        """Only a key makes two events one."""
        events = [make_event(at=clock.now()) for _ in range(2)]

        answers = await store.append(events)

        assert [False, False] == [answer.duplicate for answer in answers]
        assert {event.id for event in events} == {taken.id for taken in await take(store, clock)}

    async def test_an_event_that_is_repeated_is_stored_once(self, store: Store, clock: FakeClock) -> None:
        """A caller that did not get the answer may append the same event again, though it has no key."""
        event, beside = make_event(at=clock.now()), make_event(at=clock.now())
        await store.append([event])

        answers = await store.append([event, beside])

        assert [Appended(event.id, duplicate=True, fingerprint=event.fingerprint), Appended(beside.id)] == answers
        assert {event.id, beside.id} == {taken.id for taken in await take(store, clock)}

    async def test_a_key_may_repeat_within_a_batch(self, store: Store, clock: FakeClock) -> None:
        """In a batch the first event with a key is stored, and later ones are its duplicates."""
        first = make_event(at=clock.now(), key="k", body=b"1")
        between = make_event(at=clock.now())
        again = make_event(at=clock.now(), key="k", body=b"2")

        answers = await store.append([first, between, again])

        duplicate = Appended(first.id, duplicate=True, fingerprint=first.fingerprint)
        assert [Appended(first.id), Appended(between.id), duplicate] == answers
        assert {first.id, between.id} == {taken.id for taken in await take(store, clock)}

    async def test_a_key_is_remembered_after_planning(self, store: Store, clock: FakeClock) -> None:
        """An event that has left the outbox still answers for its key."""
        first = make_event(at=clock.now(), key="k")
        await store.append([first])
        await settle(store, clock, await take_one(store, clock))

        (answer,) = await store.append([make_event(at=clock.now(), key="k")])

        assert (first.id, True) == (answer.event_id, answer.duplicate)
        assert [] == await take(store, clock)

    async def test_simultaneous_appends_of_one_key_store_one_event(self, store: Store, clock: FakeClock) -> None:
        """Of many publishes with one key at the same time, one stores its event and all learn its id."""
        answers: list[Appended] = []

        async def publish() -> None:
            answers.extend(await store.append([make_event(at=clock.now(), key="k")]))

        async with create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(publish)

        assert {False: 1, True: 19} == Counter(answer.duplicate for answer in answers)
        assert {answers[0].event_id} == {answer.event_id for answer in answers}
        assert [answers[0].event_id] == [taken.id for taken in await take(store, clock)]

    async def test_a_batch_may_be_large(self, store: Store, clock: FakeClock) -> None:
        """A batch is not limited by what one statement of a database may hold."""
        events = [make_event(at=clock.now()) for _ in range(3000)]

        answers = await store.append(events)

        assert [event.id for event in events] == [answer.event_id for answer in answers]
        assert {event.id for event in events} == {taken.id for taken in await take(store, clock, 3000)}

    async def test_an_event_is_taken_as_it_was_published(self, store: Store, clock: FakeClock) -> None:
        """A planner gets what planning needs, and the body byte by byte."""
        event = make_event(
            at=clock.now(),
            topic="shop/7/order/A-1",
            priority=Priority.HIGH,
            ordering_key="A-1",
            expires_at=clock.now() + HOUR + TICK,
            body=bytes(range(256)),
        )
        await store.append([event])

        taken = await take_one(store, clock)

        for field in (
            "id",
            "tenant",
            "type",
            "topic",
            "priority",
            "ordering_key",
            "published_at",
            "expires_at",
            "body",
        ):
            assert getattr(event, field) == getattr(taken, field), field
        assert taken.cursor is None

    async def test_an_event_is_not_taken_before_it_is_due(self, store: Store, clock: FakeClock) -> None:
        """An event waits until exactly its ``due_at``."""
        later = make_event(at=clock.now(), due_at=clock.now() + HOUR)
        await store.append([later])

        clock.advance(HOUR - TICK)
        early = await take(store, clock)
        clock.advance(TICK)
        in_time = await take(store, clock)

        assert [] == early
        assert [later.id] == [taken.id for taken in in_time]

    async def test_waiting_events_do_not_hide_due_ones(self, store: Store, clock: FakeClock) -> None:
        """Any number of urgent events that are not due yet leaves the way free for one that is."""
        waiting = [make_event(at=clock.now(), due_at=clock.now() + HOUR, priority=Priority.HIGH) for _ in range(200)]
        due = make_event(at=clock.now(), priority=Priority.LOW)
        await store.append([*waiting, due])

        assert [due.id] == [taken.id for taken in await take(store, clock, 10)]

    async def test_a_taken_event_is_left_alone_for_its_lease(self, store: Store, clock: FakeClock) -> None:
        """No event is handed to two planners before its lease has run out."""
        await store.append([make_event(at=clock.now()) for _ in range(3)])

        first = await take(store, clock)
        clock.advance(LEASE - TICK)
        second = await take(store, clock)

        assert (3, 0) == (len(first), len(second))

    async def test_an_event_is_taken_again_after_its_lease(self, store: Store, clock: FakeClock) -> None:
        """An event whose planner died comes back under a greater fence."""
        await store.append([make_event(at=clock.now())])
        first = await take_one(store, clock)

        clock.advance(LEASE + SECOND)
        second = await take_one(store, clock)

        assert first.id == second.id
        assert first.fence < second.fence

    async def test_no_more_are_taken_than_asked_for(self, store: Store, clock: FakeClock) -> None:
        """Batches are limited, and together hold every event once."""
        events = [make_event(at=clock.now(), priority=priority) for priority in Priority for _ in range(5)]
        await store.append(events)

        batches = [await take(store, clock, 7) for _ in range(3)]

        assert [7, 7, 1] == [len(batch) for batch in batches]
        assert {event.id for event in events} == {taken.id for batch in batches for taken in batch}

    async def test_urgent_events_are_taken_first(self, store: Store, clock: FakeClock) -> None:
        """High goes before normal, and normal before low, however long the others have waited."""
        low = make_event(at=clock.now(), priority=Priority.LOW)
        normal = make_event(at=clock.advance(SECOND), priority=Priority.NORMAL)
        high = make_event(at=clock.advance(SECOND), priority=Priority.HIGH)
        await store.append([low, normal, high])

        taken = [(await take(store, clock, 1))[0].id for _ in range(3)]

        assert [high.id, normal.id, low.id] == taken

    async def test_the_oldest_due_event_is_taken_first(self, store: Store, clock: FakeClock) -> None:
        """Events of one tenant and priority are taken in the order in which they became due."""
        events = [make_event(at=clock.now(), due_at=clock.now() - minutes * SECOND) for minutes in (1, 3, 2)]
        await store.append(events)

        taken = [(await take(store, clock, 1))[0].id for _ in range(3)]

        assert [events[1].id, events[2].id, events[0].id] == taken

    async def test_an_excluded_tenants_events_are_not_taken(self, store: Store, clock: FakeClock) -> None:
        """A planner that excludes tenants gets what the others have, and later what was excluded."""
        ours = make_event(tenant=ACME, at=clock.now())
        theirs = make_event(tenant=GLOBEX, at=clock.now())
        await store.append([ours, theirs])

        without = await take(store, clock, exclude={ACME})
        rest = await take(store, clock)

        assert ([theirs.id], [ours.id]) == ([t.id for t in without], [t.id for t in rest])

    async def test_a_tenants_backlog_does_not_hide_other_tenants(self, store: Store, clock: FakeClock) -> None:
        """A planner that excludes the tenants of its first batch gets the other tenants' events in the second."""
        other = await self._given_backlog(store, clock)

        first = await take(store, clock)
        second = await take(store, clock, exclude={taken.tenant for taken in first} - {GLOBEX})

        assert other.id in {taken.id for taken in (*first, *second)}

    async def test_what_has_just_come_is_found_behind_any_backlog(self, store: Store, clock: FakeClock) -> None:
        """A planner that asks for what came since an instant gets all of it, up to its limit, urgent first."""
        await store.append([make_event(tenant=ACME, at=clock.now()) for _ in range(300)])
        since = clock.advance(SECOND)
        normal = make_event(tenant=GLOBEX, at=since)
        high = make_event(tenant=GLOBEX, at=clock.advance(SECOND), priority=Priority.HIGH)
        await store.append([normal, high])

        taken = [await take(store, clock, 1, exclude={ACME}, since=since) for _ in range(3)]

        assert [[high.id], [normal.id], []] == [[event.id for event in batch] for batch in taken]

    @needs("fair")
    async def test_a_batch_goes_round_tenants(self, store: Store, clock: FakeClock) -> None:
        """One batch holds events of every tenant, however large the backlog of one of them is."""
        other = await self._given_backlog(store, clock)

        batch = await take(store, clock)

        assert 100 == len(batch)
        assert other.id in {taken.id for taken in batch}

    async def _given_backlog(self, store: Store, clock: FakeClock) -> StoredEvent:
        """Publish hundreds of events of one tenant, then one of another; return that one."""
        await store.append([make_event(tenant=ACME, at=clock.now()) for _ in range(300)])
        other = make_event(tenant=GLOBEX, at=clock.advance(SECOND))
        await store.append([other])
        return other
