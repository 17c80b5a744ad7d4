"""Reading: what was stored comes back exactly, newest first, a page at a time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from ....models.delivery import DeliveryState, Priority
from ....ports import DeliveryFilter, Store
from ...builders import make_event
from ...clock import FakeClock
from .steps import (
    ACME,
    HOUR,
    OTHER,
    RECEIVER,
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
    take_one,
)


class ReadingPromises:
    """What a store promises to readers."""

    @pytest.mark.parametrize(
        "changes",
        [
            pytest.param({}, id="plain"),
            pytest.param(
                {"topic": "shop/7/order/Ä-𝟙", "actor": "user:🐘", "metadata": '{"k":"ü\\u0000"}'}, id="unicode"
            ),
            pytest.param({"body": bytes(range(256)) * 1024}, id="256-KiB"),
            pytest.param({"body": b""}, id="empty-body"),
            pytest.param({"priority": Priority.HIGH, "ordering_key": "A'1\\", "version": 7}, id="planning"),
            pytest.param(
                {"resource_kind": "order", "resource_id": "A%_1", "trace": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"},
                id="origin",
            ),
            pytest.param({"idempotency_key": "k ☃", "fingerprint": b"\x00\xff\x00"}, id="key"),
        ],
    )
    async def test_an_event_reads_back_as_it_was_published(
        self, store: Store, clock: FakeClock, changes: Mapping[str, Any]
    ) -> None:
        """Every field of an event is kept exactly, whatever bytes and characters it is made of."""
        event = make_event(at=clock.now(), **changes)
        await store.append([event])

        assert event == await store.get_event(ACME, event.id)

    async def test_instants_keep_their_microseconds_and_utc(self, store: Store, clock: FakeClock) -> None:
        """An instant comes back to the microsecond, and in UTC."""
        at = clock.now().replace(microsecond=999_999)
        event = make_event(
            at=at,
            occurred_at=at - 10_000 * HOUR - TICK,
            due_at=at + TICK,
            expires_at=at.replace(year=9999),
        )
        await store.append([event])

        found = await store.get_event(ACME, event.id)

        assert found is not None
        assert found.expires_at is not None
        instants = (found.occurred_at, found.published_at, found.due_at, found.expires_at)
        assert (event.occurred_at, event.published_at, event.due_at, event.expires_at) == instants
        assert {timedelta(0)} == {instant.utcoffset() for instant in instants}

    async def test_events_are_found_newest_first(self, store: Store, clock: FakeClock) -> None:
        """Events are listed from the newest to the oldest, in whatever order they were appended."""
        events = [make_event(at=clock.advance(SECOND)) for _ in range(5)]
        await store.append([events[i] for i in (2, 4, 0, 1, 3)])

        assert events[::-1] == await store.find_events(ACME, limit=10)

    async def test_events_are_found_page_by_page(self, store: Store, clock: FakeClock) -> None:
        """Pages that start before the last id seen show each event once, although new ones arrive."""
        events = [make_event(at=clock.advance(SECOND)) for _ in range(5)]
        await store.append(events)

        first = await store.find_events(ACME, limit=2)
        await store.append([make_event(at=clock.advance(SECOND))])
        second = await store.find_events(ACME, limit=2, before=first[-1].id)
        third = await store.find_events(ACME, limit=2, before=second[-1].id)

        assert [2, 2, 1] == [len(page) for page in (first, second, third)]
        assert events[::-1] == [*first, *second, *third]

    async def test_events_are_found_by_type(self, store: Store, clock: FakeClock) -> None:
        """The type of an event must be the one asked for, letter by letter."""
        events = [make_event(at=clock.now(), type=type_) for type_ in ("a.b", "a_b", "a.b", "a.b.c")]
        await store.append(events)

        found = await store.find_events(ACME, type="a.b", limit=10)
        older = await store.find_events(ACME, type="a.b", limit=10, before=events[2].id)

        assert [events[2], events[0]] == found
        assert [events[0]] == older

    async def test_deliveries_are_found_in_every_state(self, store: Store, clock: FakeClock) -> None:
        """What waits, is being sent or has ended is listed together, newest first, as each reads alone."""
        made = await self._given_one_in_each_state(store, clock)

        found = await store.find_deliveries(ACME, DeliveryFilter(), limit=20)

        assert sorted(made.values(), reverse=True) == [delivery.id for delivery in found]
        assert made == {delivery.state: delivery.id for delivery in found}
        assert found == [await store.get_delivery(ACME, delivery.id) for delivery in found]

    async def test_deliveries_are_found_by_state(self, store: Store, clock: FakeClock) -> None:
        """Named states are meant, and no others."""
        made = await self._given_one_in_each_state(store, clock)
        sets = [frozenset({state}) for state in DeliveryState]
        sets += [frozenset({DeliveryState.PENDING, DeliveryState.DEAD}), frozenset()]

        found = {
            states: {d.id for d in await store.find_deliveries(ACME, DeliveryFilter(states=states), limit=20)}
            for states in sets
        }

        assert {states: {made[state] for state in states} for states in sets} == found

    async def test_deliveries_are_found_page_by_page(self, store: Store, clock: FakeClock) -> None:
        """Pages that start before the last id seen show each delivery once, waiting and ended ones mixed."""
        made = await given_deliveries(store, clock, 7)
        for claimed in (await claim(store, clock))[::2]:
            await finish(store, clock, claimed)

        pages = [await store.find_deliveries(ACME, DeliveryFilter(), limit=3)]
        while pages[-1]:
            pages.append(await store.find_deliveries(ACME, DeliveryFilter(), limit=3, before=pages[-1][-1].id))

        assert [3, 3, 1, 0] == [len(page) for page in pages]
        assert [new.id for new in made[::-1]] == [delivery.id for page in pages for delivery in page]

    @pytest.mark.parametrize("ended", [False, True])
    async def test_deliveries_are_found_by_what_they_are_about(
        self, store: Store, clock: FakeClock, ended: bool
    ) -> None:
        """Subscriber, event, type and time of creation each narrow a search down, alone and together."""
        shipped = make_event(at=clock.now(), type="order.shipped")
        other = await given_delivery(store, clock, subscriber=OTHER)
        clock.advance(HOUR)
        recent = await given_delivery(store, clock, subscriber=RECEIVER)
        if ended:
            for claimed in await claim(store, clock):
                await finish(store, clock, claimed)
        await plan(store, clock, shipped, [])
        since, until = clock.now(), clock.now()
        expected = {
            DeliveryFilter(subscriber_id=OTHER): [other.id],
            DeliveryFilter(subscriber_id="end_unknown"): [],
            DeliveryFilter(event_id=recent.event_id): [recent.id],
            DeliveryFilter(event_id=shipped.id): [],
            DeliveryFilter(event_type="order.created"): [recent.id, other.id],
            DeliveryFilter(event_type="order.shipped"): [],
            DeliveryFilter(since=since): [recent.id],
            DeliveryFilter(since=since + TICK): [],
            DeliveryFilter(until=until): [other.id],
            DeliveryFilter(until=until + TICK): [recent.id, other.id],
            DeliveryFilter(subscriber_id=RECEIVER, until=until): [],
        }

        found = {
            wanted: [delivery.id for delivery in await store.find_deliveries(ACME, wanted, limit=10)]
            for wanted in expected
        }

        assert expected == found

    async def test_attempts_are_read_in_order(self, store: Store, clock: FakeClock) -> None:
        """The history of a delivery goes from its first attempt to its last, however many there were."""
        await given_delivery(store, clock)
        for _ in range(11):
            claimed = await claim_one(store, clock)
            await retry(store, clock, claimed, after=SECOND)
            clock.advance(SECOND)

        history = await store.attempts(ACME, claimed.delivery_id)

        assert list(range(1, 12)) == [attempt.number for attempt in history]

    async def test_what_is_not_there_is_not_found(self, store: Store) -> None:
        """Unknown ids are no errors."""
        assert await store.get_event(ACME, "evt_unknown") is None
        assert await store.get_delivery(ACME, "dlv_unknown") is None
        assert await store.get_endpoint(ACME, "end_unknown") is None
        assert await store.get_subscription(ACME, "sub_unknown") is None
        assert [] == await store.attempts(ACME, "dlv_unknown")
        assert [] == await store.find_events(ACME, limit=10)
        assert [] == await store.find_deliveries(ACME, DeliveryFilter(), limit=10)

    async def _given_one_in_each_state(self, store: Store, clock: FakeClock) -> dict[DeliveryState, str]:
        made = {
            state: (await given_ended(store, clock, state=state)).delivery_id
            for state in DeliveryState
            if state.is_final
        }
        made[DeliveryState.SENDING] = (await given_claim(store, clock)).delivery_id
        made[DeliveryState.PENDING] = (await given_delivery(store, clock)).id
        held = await given_delivery(store, clock, state=DeliveryState.HELD, reason="paused", due_at=clock.now() + HOUR)
        made[DeliveryState.HELD] = held.id
        return made

    async def test_an_event_that_is_taken_can_be_read(self, store: Store, clock: FakeClock) -> None:
        """Planning takes nothing away from readers."""
        event = make_event(at=clock.now())
        await store.append([event])

        await take_one(store, clock)

        assert [event] == await store.find_events(ACME, limit=10)
