"""Purge: what has ended and is old is deleted, and nothing that is still needed."""

from __future__ import annotations

from itertools import pairwise

from ....models.delivery import DeliveryState
from ....ports import DeliveryFilter, EventFilter, Move, Store
from ...builders import make_delivery, make_event
from ...clock import FakeClock
from .steps import (
    ACME,
    DAY,
    GLOBEX,
    HOUR,
    OTHER,
    RECEIVER,
    SECOND,
    claim,
    claim_one,
    find_delivery,
    find_event,
    finish,
    given_claim,
    given_deliveries,
    given_delivery,
    given_ended,
    plan,
    settle,
    take_one,
)


class PurgePromises:
    """What a store promises of retention."""

    async def test_old_ended_deliveries_go_with_their_history(self, store: Store, clock: FakeClock) -> None:
        """An ended delivery goes, however it ended, with its attempts and its event."""
        ended = [
            await given_ended(store, clock, state=state, tenant=tenant)
            for state, tenant in ((DeliveryState.DELIVERED, ACME), (DeliveryState.DEAD, GLOBEX))
        ]

        clock.advance(DAY)
        await self._purge(store, clock)

        for claimed in ended:
            assert await find_delivery(store, claimed.tenant, claimed.delivery_id) is None
            assert [] == await store.attempts(claimed.tenant, claimed.delivery_id)
            assert await find_event(store, claimed.tenant, claimed.event_id) is None
        assert 0 == (await store.stats(now=clock.now())).dead

    async def test_a_second_purge_finds_nothing(self, store: Store, clock: FakeClock) -> None:
        """A purge says how many rows went, and 0 when there was nothing left to do."""
        await given_ended(store, clock)
        clock.advance(DAY)

        first = await self._purge(store, clock)
        second = await self._purge(store, clock)

        assert first >= 2
        assert 0 == second

    async def test_recent_ended_deliveries_stay(self, store: Store, clock: FakeClock) -> None:
        """What counts is when a delivery ended, not when it began; and its event stays for a redrive."""
        claimed = await given_claim(store, clock)
        clock.advance(DAY)
        before = clock.now()
        await finish(store, clock, claimed, DeliveryState.DEAD)
        delivery = await find_delivery(store, ACME, claimed.delivery_id)

        await store.purge(before=before, keys_before=before, limit=100)
        kept = await find_delivery(store, ACME, claimed.delivery_id)
        await store.move(ACME, DeliveryFilter(ids=claimed.delivery_id), Move.REDRIVE, now=clock.now())

        assert delivery is not None
        assert delivery == kept
        assert claimed.body == (await claim_one(store, clock)).body

    async def test_open_deliveries_stay_with_their_events(self, store: Store, clock: FakeClock) -> None:
        """What waits, is held or is being sent is never purged, however old it is, and neither is its body."""
        sending = await given_claim(store, clock)
        later = clock.now() + 30 * DAY
        waiting = await given_delivery(store, clock, due_at=later)
        held = await given_delivery(store, clock, state=DeliveryState.HELD, due_at=later)
        clock.advance(10 * DAY)

        count = await self._purge(store, clock)
        found = await store.find_deliveries(ACME, DeliveryFilter(), limit=10)
        clock.advance(30 * DAY)
        claimed = await claim(store, clock)

        assert 0 == count
        assert {sending.delivery_id, waiting.id, held.id} == {delivery.id for delivery in found}
        assert {waiting.id: sending.body, held.id: sending.body} == {one.delivery_id: one.body for one in claimed}

    async def test_an_event_stays_for_its_last_open_delivery(self, store: Store, clock: FakeClock) -> None:
        """Of an event's deliveries those that ended go, while the event stays for the others."""
        event = make_event(at=clock.now())
        ended = make_delivery(event, RECEIVER)
        waiting = make_delivery(event, OTHER, due_at=clock.now() + 30 * DAY)
        await plan(store, clock, event, [ended, waiting])
        await finish(store, clock, await claim_one(store, clock))
        clock.advance(DAY)

        await self._purge(store, clock)

        assert await find_delivery(store, ACME, ended.id) is None
        assert await find_delivery(store, ACME, waiting.id) is not None
        assert event == await find_event(store, ACME, event.id)

    async def test_unplanned_events_stay(self, store: Store, clock: FakeClock) -> None:
        """An event that was never planned, or only in part, is never purged."""
        unplanned = make_event(at=clock.now(), due_at=clock.now() + 30 * DAY)
        in_part = make_event(at=clock.now())
        await store.append([unplanned, in_part])
        await settle(store, clock, await take_one(store, clock), [], cursor="page-2")
        clock.advance(DAY)

        count = await self._purge(store, clock)

        assert 0 == count
        assert unplanned == await find_event(store, ACME, unplanned.id)
        assert in_part.id == (await take_one(store, clock)).id

    async def test_events_that_nobody_wanted_go(self, store: Store, clock: FakeClock) -> None:
        """An event without deliveries goes when it is old, and not before."""
        old = make_event(at=clock.now())
        await plan(store, clock, old, [])
        recent = make_event(at=clock.advance(DAY))
        await plan(store, clock, recent, [])

        await store.purge(before=clock.now(), keys_before=clock.now(), limit=100)

        assert [recent] == await store.find_events(ACME, EventFilter(), limit=10)

    async def test_a_purge_is_limited(self, store: Store, clock: FakeClock) -> None:
        """No purge deletes more deliveries and events than it may, and enough of them delete all."""
        await given_deliveries(store, clock, 5)
        for claimed in await claim(store, clock):
            await finish(store, clock, claimed)
        for _ in range(5):
            await plan(store, clock, make_event(at=clock.now()), [])
        clock.advance(DAY)

        sizes = [await self._rows(store)]
        while await store.purge(before=clock.now(), keys_before=clock.now(), limit=2):
            sizes.append(await self._rows(store))

        assert all(before - after <= 2 for before, after in pairwise(sizes))
        assert (11, 0) == (sizes[0], sizes[-1])

    async def test_old_keys_are_forgotten(self, store: Store, clock: FakeClock) -> None:
        """An idempotency key may be used again once it is older than keys are kept, even if its event stays."""
        first = make_event(at=clock.now(), key="k")
        await plan(store, clock, first, [make_delivery(first, due_at=clock.now() + 30 * DAY)])
        clock.advance(DAY)

        await store.purge(before=clock.now() - 30 * DAY, keys_before=clock.now(), limit=100)
        second = make_event(at=clock.now(), key="k")
        (answer,) = await store.append([second])

        assert (second.id, False) == (answer.event_id, answer.duplicate)
        assert await find_event(store, ACME, first.id) is not None

    async def test_each_purge_forgets_keys(self, store: Store, clock: FakeClock) -> None:
        """A purge finds the keys that have become old since the one before."""
        for _ in range(3):
            event = make_event(at=clock.now(), key="k")
            await plan(store, clock, event, [make_delivery(event, due_at=clock.now() + 30 * DAY)])
            clock.advance(DAY)
            await store.purge(before=clock.now() - 30 * DAY, keys_before=clock.now(), limit=100)

        (answer,) = await store.append([make_event(at=clock.now(), key="k")])

        assert not answer.duplicate

    async def test_recent_keys_are_remembered(self, store: Store, clock: FakeClock) -> None:
        """A purge forgets no key that is younger than keys are kept, even if deliveries and events are kept shorter."""
        first = make_event(at=clock.now(), key="k")
        await plan(store, clock, first, [])
        clock.advance(HOUR)

        await store.purge(before=clock.now(), keys_before=clock.now() - HOUR - SECOND, limit=100)
        (answer,) = await store.append([make_event(at=clock.now(), key="k")])

        assert (first.id, True, first.fingerprint) == (answer.event_id, answer.duplicate, answer.fingerprint)

    async def _purge(self, store: Store, clock: FakeClock) -> int:
        """Purge all that is over."""
        return await store.purge(before=clock.now(), keys_before=clock.now(), limit=1000)

    async def _rows(self, store: Store) -> int:
        deliveries = await store.find_deliveries(ACME, DeliveryFilter(), limit=100)
        return len(deliveries) + len(await store.find_events(ACME, EventFilter(), limit=100))
