"""The contract of :class:`notifykit.ports.Digests`, promise by promise.

Subclass :class:`DigestSuite` as ``TestSomething`` and give it the fixture ``store``, as for the suite of stores.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Protocol

from ...models.delivery import Claim, Collected, DeliveryState, DigestEntry, Lane, NewDelivery, Priority
from ...models.event import StoredEvent
from ...models.ids import delivery_id, recipient_key
from ...ports import DeliveryFilter, Digests, Dismissal, Move, Settlement, Store
from ..builders import make_delivery, make_event, make_record
from ..clock import FakeClock
from .store.fixtures import MakeStore, StoreFixtures, needs
from .store.steps import (
    ACME,
    DAY,
    GLOBEX,
    HOUR,
    LEASE,
    MINUTE,
    SECOND,
    TICK,
    claim,
    find_delivery,
    find_event,
    finish,
    plan,
    read,
    take_one,
)
from .store.steps import settle as settle_one

EMAIL = Lane("email", Priority.NORMAL)
ADA = "user:ada"
SUPPRESSED = DeliveryState.SUPPRESSED, "muted"


class DigestStore(Store, Digests, Protocol):
    """A store with digests."""


def collected_delivery(
    event: StoredEvent,
    clock: FakeClock,
    *,
    key: str = "comments",
    window: timedelta = HOUR,
    max_window: timedelta | None = None,
    subscriber: str = ADA,
    **entry: Any,
) -> NewDelivery:
    """Return a delivery as planning has a digest collect it."""
    new = make_delivery(event, subscriber, channel=EMAIL.channel, address=f"{subscriber}@example.org")
    its = DigestEntry(
        delivery_id=delivery_id(event.id, recipient_key(subscriber, EMAIL.channel, key)),
        key=key,
        name="comments",
        closes_at=clock.now() + window,
        closes_by=clock.now() + (max_window or window),
    )
    return new._replace(state=DeliveryState.HELD, reason="digest", digest=its._replace(**entry))


async def collect(store: Store, clock: FakeClock, **changes: Any) -> NewDelivery:
    """Publish an event and plan it for one person's digest; no other event may be due."""
    event = make_event(tenant=changes.pop("tenant", ACME), at=clock.now(), type=changes.pop("type", "comment.created"))
    new = collected_delivery(event, clock, **changes)
    await plan(store, clock, event, [new])
    return new


async def claims_of(store: Store, clock: FakeClock) -> list[Claim]:
    """Claim what is due."""
    return await claim(store, clock, lane=EMAIL)


async def close(store: Store, clock: FakeClock) -> Claim:
    """Claim the one digest that is due."""
    (claimed,) = await claims_of(store, clock)
    assert "comments" == claimed.digest
    return claimed


async def items_of(store: DigestStore, claimed: Claim) -> list[str]:
    """Return the ids of the deliveries that a digest has collected, of which none is left out."""
    found = await store.collected(claimed.tenant, claimed.delivery_id)
    assert found is not None
    assert found.total == len(found.items)
    return [item.delivery_id for item in found.items]


def ids(*deliveries: NewDelivery) -> list[str]:
    """Return the ids of deliveries, in the order in which a digest has them."""
    return sorted(new.id for new in deliveries)


class DigestSuite(StoreFixtures):
    """Everything that a store with digests promises."""

    # ── joining and closing ────────────────────────────────────────────────────────────────────

    async def test_a_digest_collects_until_it_closes(self, store: DigestStore, clock: FakeClock) -> None:
        """Nothing is due before; then one delivery is, with everything that was collected."""
        first = await collect(store, clock)
        clock.advance(HOUR - TICK)
        second = await collect(store, clock)
        early = await claims_of(store, clock)
        due = await store.next_due()
        clock.advance(TICK)

        claimed = await close(store, clock)

        assert [] == early
        assert first.digest is not None
        assert first.digest.closes_at == due.first == clock.now()
        assert (first.digest.delivery_id, first.address, ADA) == (
            *(claimed.delivery_id, claimed.address, claimed.subscriber_id),
        )
        assert ids(first, second) == await items_of(store, claimed)
        assert [] == await claims_of(store, clock)

    async def test_an_item_is_the_event(self, store: DigestStore, clock: FakeClock) -> None:
        """What rendering needs of an event comes with it, exactly as it was stored."""
        event = make_event(at=clock.now(), body='{"data":"☃"}'.encode(), actor="user:1", metadata='{"a":"b"}')
        new = collected_delivery(event, clock)
        await plan(store, clock, event, [new])
        clock.advance(HOUR)

        found = await store.collected(ACME, (await close(store, clock)).delivery_id)

        assert found is not None
        (item,) = found.items
        assert (new.id, event.id, event.type, event.published_at, event.body, event.details) == item

    async def test_keys_and_tenants_have_digests_of_their_own(self, store: DigestStore, clock: FakeClock) -> None:
        """One is open of each key of each tenant."""
        one = await collect(store, clock)
        other = await collect(store, clock, key="other")
        foreign = await collect(store, clock, tenant=GLOBEX)
        clock.advance(HOUR)

        claimed = await claims_of(store, clock)

        found = sorted([(each.tenant, await items_of(store, each)) for each in claimed])
        assert sorted([(ACME, ids(one)), (ACME, ids(other)), (GLOBEX, ids(foreign))]) == found

    async def test_what_comes_late_opens_the_next(self, store: DigestStore, clock: FakeClock) -> None:
        """A digest that is due collects until it is claimed; from then on another one does."""
        first = await collect(store, clock)
        clock.advance(HOUR + SECOND)
        last = await collect(store, clock)
        closed = await close(store, clock)
        late = await collect(store, clock)
        await finish(store, clock, closed)
        clock.advance(HOUR)

        following = await close(store, clock)

        assert ids(first, last) == await items_of(store, closed)
        assert ids(late) == await items_of(store, following)
        assert closed.delivery_id != following.delivery_id

    async def test_a_batch_joins_together(self, store: DigestStore, clock: FakeClock) -> None:
        """Events that are settled at once are collected as if they had been settled one by one."""
        before = await collect(store, clock)
        events = [make_event(at=clock.now()) for _ in range(6)]
        planned = [collected_delivery(event, clock, key=("comments", "other")[n % 2]) for n, event in enumerate(events)]
        alone = [make_delivery(event, "user:bob", channel="email", address="bob@example.org") for event in events]
        await store.append(events)
        taken = {each.id: each for each in await store.take(10, now=clock.now(), lease=LEASE)}
        settlements = [
            Settlement(event.id, taken[event.id].fence, [new, other])
            for event, new, other in zip(events, planned, alone, strict=True)
        ]
        settled = await store.settle(settlements, now=clock.now(), lease=LEASE, worker="planner-1")
        directly = await claims_of(store, clock)
        clock.advance(HOUR)

        found = sorted([await items_of(store, each) for each in await claims_of(store, clock)])

        assert {event.id for event in events} == settled
        assert ids(*alone) == sorted(each.delivery_id for each in directly)
        assert sorted([ids(before, *planned[::2]), ids(*planned[1::2])]) == found

    async def test_a_stale_plan_collects_nothing(self, store: DigestStore, clock: FakeClock) -> None:
        """As it makes no deliveries."""
        event = make_event(at=clock.now())
        await store.append([event])
        taken = await take_one(store, clock)
        clock.advance(LEASE + TICK)
        await take_one(store, clock)

        settled = await settle_one(store, clock, taken, [collected_delivery(event, clock)])

        clock.advance(HOUR)
        assert set() == settled
        assert [] == await claims_of(store, clock)

    async def test_a_page_that_is_planned_again_collects_nothing_twice(
        self, store: DigestStore, clock: FakeClock
    ) -> None:
        """Deliveries that an earlier page has made stay as they are, collected or sent ahead."""
        event = make_event(at=clock.now())
        await store.append([event])
        planned = [
            collected_delivery(event, clock),
            collected_delivery(event, clock, subscriber="user:bob", key="bob", sends_first=True),
        ]
        for cursor in ("1", None):
            await settle_one(store, clock, await take_one(store, clock), planned, cursor=cursor)
        directly = await claims_of(store, clock)
        clock.advance(HOUR)

        found = sorted([await items_of(store, each) for each in await claims_of(store, clock)])

        assert [planned[1].id] == [each.delivery_id for each in directly]
        assert [[], ids(planned[0])] == found

    @needs("concurrent")
    async def test_planners_at_once_open_one_digest(
        self, store: DigestStore, make_second_store: MakeStore, clock: FakeClock
    ) -> None:
        """Of a key one digest is open, whichever process opens it, and nothing is lost."""
        stores = [store, await make_second_store(), await make_second_store()]
        planned: list[NewDelivery] = []

        async def settle(of: Store, events: Sequence[StoredEvent], fences: dict[str, int]) -> None:
            for event in events:
                new = collected_delivery(event, clock)
                planned.append(new)
                await of.settle(
                    [Settlement(event.id, fences[event.id], [new])], now=clock.now(), lease=LEASE, worker="planner"
                )

        events = [make_event(at=clock.now()) for _ in range(30)]
        await store.append(events)
        fences = {each.id: each.fence for each in await store.take(30, now=clock.now(), lease=LEASE)}
        await asyncio.gather(*(settle(of, events[at::3], fences) for at, of in enumerate(stores)))
        clock.advance(HOUR)

        claimed = await close(store, clock)

        assert ids(*planned) == await items_of(store, claimed)

    @needs("concurrent")
    async def test_an_item_is_in_one_digest_however_closing_races(
        self, store: DigestStore, make_second_store: MakeStore, clock: FakeClock
    ) -> None:
        """What joins while others close is in the digest that closes, or in the next."""
        other = await make_second_store()
        claimed: list[Claim] = []
        planned: list[NewDelivery] = []

        async def settle() -> None:
            planned.extend([await collect(store, clock, window=timedelta(0)) for _ in range(20)])

        async def claim_all() -> None:
            for _ in range(20):
                claimed.extend(await claims_of(other, clock))

        await asyncio.gather(settle(), claim_all())
        claimed += await claims_of(store, clock)

        found = [id_ for each in claimed for id_ in await items_of(store, each)]
        assert ids(*planned) == sorted(found)

    # ── windows ────────────────────────────────────────────────────────────────────────────────

    async def test_a_window_slides_up_to_its_maximum(self, store: DigestStore, clock: FakeClock) -> None:
        """Each item moves the end, but not beyond what the digest's opening allowed."""
        sliding = {"window": 10 * MINUTE, "max_window": 25 * MINUTE}
        start = clock.now()
        made = []
        for minute in (0, 8, 16):
            clock.advance(start + minute * MINUTE - clock.now())
            assert [] == await claims_of(store, clock)
            made.append(await collect(store, clock, **sliding))
        clock.advance(start + 25 * MINUTE - TICK - clock.now())
        early = await claims_of(store, clock)
        clock.advance(TICK)

        assert [] == early
        assert ids(*made) == await items_of(store, await close(store, clock))

    async def test_a_window_without_a_maximum_stays(self, store: DigestStore, clock: FakeClock) -> None:
        """A later item does not move the end, nor does one whose own window would end sooner."""
        first = await collect(store, clock)
        clock.advance(MINUTE)
        second = await collect(store, clock)
        third = await collect(store, clock, window=MINUTE)
        clock.advance(HOUR - MINUTE - TICK)
        early = await claims_of(store, clock)
        clock.advance(TICK)

        assert [] == early
        assert ids(first, second, third) == await items_of(store, await close(store, clock))

    async def test_the_first_is_sent_ahead(self, store: DigestStore, clock: FakeClock) -> None:
        """It is due at once, like a delivery without a digest, and opens a digest for the others."""
        first = await collect(store, clock, sends_first=True)
        (ahead,) = await claims_of(store, clock)
        second = await collect(store, clock, sends_first=True)
        clock.advance(HOUR)

        claimed = await close(store, clock)

        assert (first.id, first.event_id, "comments") == (ahead.delivery_id, ahead.event_id, ahead.digest)
        assert await store.collected(ACME, ahead.delivery_id) is None
        assert ids(second) == await items_of(store, claimed)

    async def test_a_digest_may_stay_empty(self, store: DigestStore, clock: FakeClock) -> None:
        """If nothing followed what was sent ahead, its claim says so."""
        await collect(store, clock, sends_first=True)
        await claims_of(store, clock)
        clock.advance(HOUR)

        claimed = await close(store, clock)

        assert Collected(0, ()) == await store.collected(ACME, claimed.delivery_id)

    async def test_the_first_waits_unless_it_was_quiet(self, store: DigestStore, clock: FakeClock) -> None:
        """A digest that has just closed had something within the time that is looked back on."""

        async def again() -> NewDelivery:
            return await collect(store, clock, sends_first=True, quiet_since=clock.now() - 2 * HOUR)

        first = await again()
        (ahead,) = await claims_of(store, clock)
        clock.advance(HOUR)
        await close(store, clock)
        soon = await again()
        directly = await claims_of(store, clock)
        clock.advance(HOUR)
        closed = await close(store, clock)
        clock.advance(2 * HOUR)
        later = await again()

        (quiet,) = await claims_of(store, clock)

        assert (first.id, later.id) == (ahead.delivery_id, quiet.delivery_id)
        assert [] == directly
        assert ids(soon) == await items_of(store, closed)

    async def test_items_are_capped_and_their_count_is_exact(self, store: DigestStore, clock: FakeClock) -> None:
        """The first ones are returned, as many as the digest that was opened says."""
        made = [await collect(store, clock, max_items=2) for _ in range(5)]
        clock.advance(HOUR)

        found = await store.collected(ACME, (await close(store, clock)).delivery_id)

        assert found is not None
        assert (5, ids(*made)[:2]) == (found.total, [item.delivery_id for item in found.items])

    # ── what becomes of a digest ───────────────────────────────────────────────────────────────

    async def test_a_digest_outlives_its_worker(self, store: DigestStore, clock: FakeClock) -> None:
        """The worker that claims it again finds the same items; what came meanwhile is in the next one."""
        first = await collect(store, clock)
        clock.advance(HOUR)
        lost = await close(store, clock)
        late = await collect(store, clock)
        clock.advance(LEASE + TICK)
        await store.rescue(10, now=clock.now(), max_abandoned=3)

        again = await close(store, clock)
        await finish(store, clock, again)

        assert (lost.delivery_id, lost.fence + 1) == (again.delivery_id, again.fence - 1)
        assert ids(first) == await items_of(store, again)
        clock.advance(HOUR)
        assert ids(late) == await items_of(store, await close(store, clock))

    async def test_collected_deliveries_are_found(self, store: DigestStore, clock: FakeClock) -> None:
        """Each is found by its id and by its event, as far as its digest has come."""
        first = await collect(store, clock)
        second = await collect(store, clock, type="comment.edited")
        waiting = [await read(store, new.id) for new in (first, second)]
        of_type = await store.find_deliveries(ACME, DeliveryFilter(event_type="comment.edited"), limit=10)
        clock.advance(HOUR)
        await finish(store, clock, await close(store, clock))
        sent = [await read(store, new.id) for new in (first, second)]

        page = await store.find_deliveries(ACME, DeliveryFilter(), limit=2)
        rest = await store.find_deliveries(ACME, DeliveryFilter(), limit=10, before=page[-1].id)

        assert first.digest is not None
        assert [(DeliveryState.HELD, "digest", "comments", first.digest.closes_at)] * 2 == [
            (each.state, each.reason, each.digest, each.due_at) for each in waiting
        ]
        assert [second.id] == [each.id for each in of_type]
        assert [(first.event_id, DeliveryState.DELIVERED), (second.event_id, DeliveryState.DELIVERED)] == [
            (each.event_id, each.state) for each in sent
        ]
        assert sorted([*ids(first, second), first.digest.delivery_id], reverse=True) == [
            each.id for each in (*page, *rest)
        ]

    async def test_one_delivery_can_be_cancelled(self, store: DigestStore, clock: FakeClock) -> None:
        """By its id or by its event, the opening one like any other; the digest goes on without it."""
        first, second, third, stays = [await collect(store, clock) for _ in range(4)]
        by_id = await store.move(ACME, DeliveryFilter(ids=second.id), Move.CANCEL, now=clock.now())
        by_event = [
            await store.move(ACME, DeliveryFilter(event_id=new.event_id), Move.CANCEL, now=clock.now())
            for new in (first, third)
        ]
        clock.advance(HOUR)

        claimed = await close(store, clock)
        late = await store.move(ACME, DeliveryFilter(ids=stays.id), Move.CANCEL, now=clock.now())

        assert (1, [1, 1], 0) == (by_id, by_event, late)
        assert ids(stays) == await items_of(store, claimed)
        cancelled = [await read(store, new.id) for new in (first, second, third)]
        assert [(DeliveryState.CANCELLED, "cancelled", None, 0)] * 3 == [
            (each.state, each.reason, each.digest, each.attempts) for each in cancelled
        ]

    async def test_what_is_not_wanted_any_more_is_dismissed(self, store: DigestStore, clock: FakeClock) -> None:
        """While its digest is being sent it ends as a delivery of its own, which can be redriven; the others stay."""
        first, second, third = [await collect(store, clock) for _ in range(3)]
        clock.advance(HOUR)
        claimed = await close(store, clock)
        its = ACME, claimed.delivery_id
        refused = [Dismissal(first.id, *SUPPRESSED), Dismissal("dlv_x", *SUPPRESSED)]

        strange = await store.dismiss(GLOBEX, claimed.delivery_id, claimed.fence, refused, now=clock.now())
        stale = await store.dismiss(*its, claimed.fence - 1, refused, now=clock.now())
        unchanged = await items_of(store, claimed)
        done = await store.dismiss(*its, claimed.fence, refused, now=clock.now())
        again = await store.dismiss(*its, claimed.fence, refused, now=clock.now())

        ended = await read(store, first.id)
        assert (False, False, ids(first, second, third)) == (strange, stale, unchanged)
        assert (True, True, ids(second, third)) == (done, again, await items_of(store, claimed))
        assert (*SUPPRESSED, clock.now(), first.event_id) == (
            *(ended.state, ended.reason, ended.finished_at, ended.event_id),
        )
        await finish(store, clock, claimed)
        late = await store.dismiss(*its, claimed.fence, [Dismissal(second.id, *SUPPRESSED)], now=clock.now())
        await store.move(ACME, DeliveryFilter(ids=first.id), Move.REDRIVE, now=clock.now())
        (redriven,) = await claims_of(store, clock)
        assert (False, DeliveryState.DELIVERED) == (late, (await read(store, second.id)).state)
        assert (first.id, first.event_id, None) == (redriven.delivery_id, redriven.event_id, redriven.digest)

    async def test_a_cancelled_digest_is_closed(self, store: DigestStore, clock: FakeClock) -> None:
        """What it has collected is cancelled with it, and what comes later opens the next."""
        first = await collect(store, clock)
        assert first.digest is not None
        gone = await store.move(ACME, DeliveryFilter(ids=first.digest.delivery_id), Move.CANCEL, now=clock.now())
        second = await collect(store, clock)
        clock.advance(HOUR)

        claimed = await close(store, clock)

        assert 1 == gone
        assert (DeliveryState.CANCELLED, "cancelled") == ((ended := await read(store, first.id)).state, ended.reason)
        assert ids(second) == await items_of(store, claimed)

    async def test_all_of_a_subscriber_is_cancelled(self, store: DigestStore, clock: FakeClock) -> None:
        """The digest and what it has collected."""
        first = await collect(store, clock)

        count = await store.move(ACME, DeliveryFilter(subscriber_id=ADA), Move.CANCEL, now=clock.now())

        clock.advance(HOUR)
        assert 2 == count
        assert DeliveryState.CANCELLED is (await read(store, first.id)).state
        assert [] == await claims_of(store, clock)

    async def test_only_its_id_wakes_a_digest(self, store: DigestStore, clock: FakeClock) -> None:
        """Deliveries that are woken for their subscriber or event are others; a digest that is woken closes."""
        first = await collect(store, clock)
        assert first.digest is not None
        for wanted in (DeliveryFilter(subscriber_id=ADA), DeliveryFilter(event_id=first.event_id)):
            assert 0 == await store.move(ACME, wanted, Move.WAKE, now=clock.now())

        woken = await store.move(ACME, DeliveryFilter(ids=first.digest.delivery_id), Move.WAKE, now=clock.now())

        assert 1 == woken
        assert ids(first) == await items_of(store, await close(store, clock))

    async def test_a_digest_can_be_redriven(self, store: DigestStore, clock: FakeClock) -> None:
        """With the items that it had."""
        first = await collect(store, clock)
        clock.advance(HOUR)
        claimed = await close(store, clock)
        await finish(store, clock, claimed, DeliveryState.DEAD)
        await store.move(ACME, DeliveryFilter(ids=claimed.delivery_id), Move.REDRIVE, now=clock.now())

        again = await close(store, clock)

        assert claimed.delivery_id == again.delivery_id
        assert ids(first) == await items_of(store, again)

    async def test_events_stay_for_their_digest(self, store: DigestStore, clock: FakeClock) -> None:
        """Retention deletes an event after the digest that has collected it."""
        first = await collect(store, clock)
        clock.advance(DAY)
        second = await collect(store, clock)

        async def purge() -> int:
            now = clock.now() + TICK
            return await store.purge(before=now, keys_before=now, limit=100)

        waiting = await purge()
        found = await items_of(store, claimed := await close(store, clock))
        await finish(store, clock, claimed)
        while await purge():
            pass

        assert 0 == waiting
        assert ids(first, second) == found
        for new in (first, second):
            assert await find_event(store, ACME, new.event_id) is None
            assert await find_delivery(store, ACME, new.id) is None
        assert await store.collected(ACME, claimed.delivery_id) is None

    async def test_an_erased_person_leaves_no_digest(self, store: DigestStore, clock: FakeClock) -> None:
        """What was collected for others of the same event stays."""
        event = make_event(at=clock.now())
        mine = collected_delivery(event, clock)
        other = collected_delivery(event, clock, subscriber="user:bob", key="bob")
        await plan(store, clock, event, [mine, other])

        await store.erase(ACME, ADA, now=clock.now())

        clock.advance(HOUR)
        assert ids(other) == await items_of(store, await close(store, clock))
        assert mine.digest is not None
        assert await store.collected(ACME, mine.digest.delivery_id) is None
        assert await find_delivery(store, ACME, mine.id) is None

    async def test_a_claimed_delivery_moves_into_a_digest(self, store: DigestStore, clock: FakeClock) -> None:
        """One that was held for another reason joins when it wakes, under its fence."""
        event = make_event(at=clock.now())
        new = collected_delivery(event, clock, sends_first=True)
        await plan(store, clock, event, [new._replace(state=DeliveryState.PENDING, reason=None, digest=None)])
        (woken,) = await claims_of(store, clock)
        record = make_record(woken, DeliveryState.HELD, at=clock.now(), reason="digest")._replace(digest=new.digest)
        stale = await store.record([record._replace(fence=woken.fence + 1)])

        written = await store.record([record])

        other = await collect(store, clock)
        clock.advance(HOUR)
        assert (set(), {new.id}) == (stale, written)
        assert ids(new, other) == await items_of(store, await close(store, clock))
        assert [] == await claims_of(store, clock)

    async def test_a_stranger_reads_nothing(self, store: DigestStore, clock: FakeClock) -> None:
        """A digest is its tenant's, and so is what it has collected."""
        first = await collect(store, clock)
        clock.advance(HOUR)
        claimed = await close(store, clock)

        assert await store.collected(GLOBEX, claimed.delivery_id) is None
        assert await find_delivery(store, GLOBEX, first.id) is None
