"""Claims: what is due goes to one worker at a time, with all that sending takes."""

from __future__ import annotations

from ....models.delivery import WEBHOOK, Claim, DeliveryState, Lane, Priority
from ....ports import Store
from ...builders import make_delivery, make_endpoint, make_event
from ...clock import FakeClock
from .fixtures import needs
from .steps import (
    ACME,
    GLOBEX,
    HOUR,
    LANE,
    LEASE,
    MINUTE,
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
    load,
    plan,
    read,
    release,
    retry,
)


class ClaimPromises:
    """What a store promises of claims."""

    async def test_a_claim_carries_what_sending_takes(self, store: Store, clock: FakeClock) -> None:
        """A worker needs nothing but its claim: the bytes, the counts, the fence and the tenant's version."""
        await store.save(make_endpoint(at=clock.now()))
        event = make_event(at=clock.now(), ordering_key="A-1", expires_at=clock.now() + HOUR, body=bytes(range(256)))
        new = make_delivery(event, RECEIVER)
        await plan(store, clock, event, [new])
        clock.advance(SECOND)

        claimed = await claim_one(store, clock)

        expected = Claim(
            delivery_id=new.id,
            fence=1,
            attempt=1,
            tries=0,
            abandoned=0,
            tenant=event.tenant,
            event_id=event.id,
            event_type=event.type,
            subscription_id=new.subscription_id,
            subscriber_id=RECEIVER,
            channel=WEBHOOK,
            priority=Priority.NORMAL,
            ordering_key="A-1",
            published_at=event.published_at,
            expires_at=event.expires_at,
            lease_until=clock.now() + LEASE,
            body=event.body,
            version=(await load(store, event.tenant)).version,
        )
        assert expected == claimed

    async def test_a_claimed_delivery_is_sending(self, store: Store, clock: FakeClock) -> None:
        """Readers see that a delivery is being sent."""
        claimed = await given_claim(store, clock)

        assert DeliveryState.SENDING is (await read(store, claimed.delivery_id)).state

    async def test_only_what_is_due_is_claimed(self, store: Store, clock: FakeClock) -> None:
        """A delivery waits until exactly its ``due_at``."""
        new = await given_delivery(store, clock, due_at=clock.now() + HOUR)

        clock.advance(HOUR - TICK)
        early = await claim(store, clock)
        clock.advance(TICK)
        in_time = await claim(store, clock)

        assert ([], [new.id]) == (early, [one.delivery_id for one in in_time])

    async def test_only_the_lane_is_claimed(self, store: Store, clock: FakeClock) -> None:
        """A lane is one channel at one priority, and sees nothing of the others."""
        lanes = [Lane(channel, priority) for channel in (WEBHOOK, "e-mail") for priority in Priority]
        event = make_event(at=clock.now())
        made = {
            lane: make_delivery(event, channel=lane.channel, priority=lane.priority, address=str(lane))
            for lane in lanes
        }
        await plan(store, clock, event, list(made.values()))

        claimed = {lane: [one.delivery_id for one in await claim(store, clock, lane=lane)] for lane in lanes}

        assert {lane: [new.id] for lane, new in made.items()} == claimed

    async def test_held_deliveries_are_claimed_when_their_time_comes(self, store: Store, clock: FakeClock) -> None:
        """A held delivery is due like any other: its worker decides anew."""
        held = await given_delivery(store, clock, state=DeliveryState.HELD, reason="paused", due_at=clock.now() + HOUR)

        clock.advance(HOUR - SECOND)
        early = await claim(store, clock)
        clock.advance(SECOND)
        in_time = await claim(store, clock)

        assert ([], [held.id]) == (early, [one.delivery_id for one in in_time])

    async def test_no_more_are_claimed_than_asked_for(self, store: Store, clock: FakeClock) -> None:
        """Batches are limited, and together hold every delivery once."""
        made = await given_deliveries(store, clock, 10)

        batches = [await claim(store, clock, 4) for _ in range(4)]

        assert [4, 4, 2, 0] == [len(batch) for batch in batches]
        assert {new.id for new in made} == {one.delivery_id for batch in batches for one in batch}

    async def test_the_oldest_due_delivery_is_claimed_first(self, store: Store, clock: FakeClock) -> None:
        """Deliveries to one subscriber are claimed in the order in which they became due."""
        event = make_event(at=clock.now())
        made = [make_delivery(event, address=str(age), due_at=clock.now() - age * SECOND) for age in (1, 3, 2)]
        await plan(store, clock, event, made)

        claimed = [(await claim(store, clock, 1))[0].delivery_id for _ in range(3)]

        assert [made[1].id, made[2].id, made[0].id] == claimed

    async def test_a_claimed_delivery_is_left_alone(self, store: Store, clock: FakeClock) -> None:
        """A claimed delivery cannot be claimed again; when its lease has run out, only a rescue makes it due."""
        await given_claim(store, clock)

        within = await claim(store, clock)
        clock.advance(LEASE + MINUTE)
        after = await claim(store, clock)

        assert ([], []) == (within, after)

    async def test_every_claim_raises_the_fence_by_one(self, store: Store, clock: FakeClock) -> None:
        """The fence counts the claims of a delivery."""
        first = await given_claim(store, clock)
        await release(store, clock, first)
        second = await claim_one(store, clock)
        await retry(store, clock, second, after=MINUTE)
        clock.advance(MINUTE)

        third = await claim_one(store, clock)

        assert [1, 2, 3] == [first.fence, second.fence, third.fence]

    async def test_a_claim_counts_the_attempts_before_it(self, store: Store, clock: FakeClock) -> None:
        """A claim says which attempt it allows, and how many tries and abandonments came before."""
        first = await given_claim(store, clock)
        await retry(store, clock, first, after=MINUTE)
        clock.advance(MINUTE)
        second = await claim_one(store, clock)
        clock.advance(LEASE + SECOND)
        await store.rescue(10, now=clock.now(), max_abandoned=3)

        third = await claim_one(store, clock)

        counts = [(one.attempt, one.tries, one.abandoned) for one in (first, second, third)]
        assert [(1, 0, 0), (2, 1, 0), (3, 1, 1)] == counts

    async def test_what_has_ended_is_never_claimed(self, store: Store, clock: FakeClock) -> None:
        """A delivery that has been delivered is not due, now or later."""
        await finish(store, clock, await given_claim(store, clock))

        clock.advance(HOUR)

        assert [] == await claim(store, clock)

    async def test_excluded_subscribers_are_left_out(self, store: Store, clock: FakeClock) -> None:
        """A worker that excludes subscribers gets what the others wait for, and later what was excluded."""
        ours = await given_delivery(store, clock, subscriber=RECEIVER)
        theirs = await given_delivery(store, clock, subscriber=OTHER)

        without = await claim(store, clock, exclude={RECEIVER})
        rest = await claim(store, clock)

        assert ([theirs.id], [ours.id]) == ([c.delivery_id for c in without], [c.delivery_id for c in rest])

    async def test_an_excluded_backlog_hides_nothing(self, store: Store, clock: FakeClock) -> None:
        """Exclusion comes before the limit: a backlog of excluded deliveries uses up no batch."""
        await given_deliveries(store, clock, 300, subscriber=RECEIVER)
        clock.advance(SECOND)
        other = await given_delivery(store, clock, subscriber=OTHER)

        claimed = await claim(store, clock, 100, exclude=[RECEIVER, "end_unknown"])

        assert [other.id] == [one.delivery_id for one in claimed]

    async def test_excluded_tenants_are_left_out(self, store: Store, clock: FakeClock) -> None:
        """A worker that excludes tenants gets what the others wait for, whatever their subscribers are called."""
        await given_deliveries(store, clock, 300, tenant=ACME)
        clock.advance(SECOND)
        other = await given_delivery(store, clock, tenant=GLOBEX)

        claimed = await claim(store, clock, 100, exclude_tenants={ACME, RECEIVER})

        assert [other.id] == [one.delivery_id for one in claimed]

    async def test_only_named_subscribers_are_claimed_for(self, store: Store, clock: FakeClock) -> None:
        """A worker that names subscribers gets theirs only, less those that it excludes."""
        await given_deliveries(store, clock, 300, subscriber=RECEIVER)
        clock.advance(SECOND)
        other = await given_delivery(store, clock, subscriber=OTHER)

        none = await claim(store, clock, 100, only=())
        excluded = await claim(store, clock, 100, only=[OTHER], exclude=[OTHER])
        claimed = await claim(store, clock, 100, only=[OTHER, "end_unknown"])

        assert ([], [], [other.id]) == (none, excluded, [one.delivery_id for one in claimed])

    async def test_a_subscribers_backlog_does_not_hide_others(self, store: Store, clock: FakeClock) -> None:
        """A worker that excludes the subscribers of its first batch gets the others' deliveries in the second."""
        await given_deliveries(store, clock, 300, subscriber=RECEIVER)
        clock.advance(SECOND)
        other = await given_delivery(store, clock, subscriber=OTHER)

        first = await claim(store, clock, 100)
        second = await claim(store, clock, 100, exclude={one.subscriber_id for one in first} - {OTHER})

        assert other.id in {one.delivery_id for one in (*first, *second)}

    @needs("fair")
    async def test_a_batch_goes_round_subscribers(self, store: Store, clock: FakeClock) -> None:
        """One batch holds deliveries to every subscriber, however large the backlog of one of them is."""
        await given_deliveries(store, clock, 300, subscriber=RECEIVER)
        clock.advance(SECOND)
        other = await given_delivery(store, clock, subscriber=OTHER)

        batch = await claim(store, clock, 100)

        assert 100 == len(batch)
        assert other.id in {one.delivery_id for one in batch}

    @needs("fair")
    async def test_a_batch_goes_round_tenants_too(self, store: Store, clock: FakeClock) -> None:
        """One batch holds deliveries of every tenant, however many subscribers one of them has."""
        event = make_event(at=clock.now())
        await plan(store, clock, event, [make_delivery(event, f"end_{i:03}") for i in range(200)])
        clock.advance(SECOND)
        other = await given_delivery(store, clock, tenant=GLOBEX, subscriber=OTHER)

        batch = await claim(store, clock, 100)

        assert 100 == len(batch)
        assert other.id in {one.delivery_id for one in batch}

    async def test_waiting_deliveries_do_not_hide_due_ones(self, store: Store, clock: FakeClock) -> None:
        """Any number of deliveries that are not due yet leaves the way free for one that is."""
        await given_deliveries(store, clock, 300, due_at=clock.now() + HOUR)
        due = await given_delivery(store, clock)

        claimed = await store.claim(LANE, 10, now=clock.now(), lease=LEASE, worker="worker-1")

        assert [due.id] == [one.delivery_id for one in claimed]
