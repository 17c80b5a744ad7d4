"""Leases: a worker that lives keeps its claim, and what a dead one held comes back."""

from __future__ import annotations

from ....models.delivery import DeliveryState
from ....ports import Store
from ...clock import FakeClock
from .steps import (
    ACME,
    DAY,
    HOUR,
    LEASE,
    MINUTE,
    SECOND,
    claim,
    claim_one,
    finish,
    given_claim,
    given_deliveries,
    read,
    retry,
)


class LeasePromises:
    """What a store promises of leases that are prolonged and of those that run out."""

    async def test_a_prolonged_lease_does_not_run_out(self, store: Store, clock: FakeClock) -> None:
        """A worker that needs more time gets it, until the instant it named."""
        claimed = await given_claim(store, clock)
        until = clock.now() + HOUR

        held = await store.extend([(claimed.delivery_id, claimed.fence)], until=until)
        clock.advance(HOUR - SECOND)
        early = await store.rescue(10, now=clock.now(), max_abandoned=3)
        clock.advance(MINUTE)
        late = await store.rescue(10, now=clock.now(), max_abandoned=3)

        assert {claimed.delivery_id} == held
        assert ([], [claimed.delivery_id]) == (early, [delivery.id for delivery in late])

    async def test_a_lost_lease_is_not_prolonged(self, store: Store, clock: FakeClock) -> None:
        """A worker that asks under an old fence learns that its claim is lost, and the new owner's lease stays."""
        lost = await given_claim(store, clock)
        clock.advance(LEASE + SECOND)
        await store.rescue(10, now=clock.now(), max_abandoned=3)
        owned = await claim_one(store, clock)

        held = await store.extend([(lost.delivery_id, lost.fence)], until=clock.now() + HOUR)
        clock.advance(LEASE + SECOND)
        rescued = await store.rescue(10, now=clock.now(), max_abandoned=3)

        assert set() == held
        assert [owned.delivery_id] == [delivery.id for delivery in rescued]

    async def test_only_held_claims_are_prolonged(self, store: Store, clock: FakeClock) -> None:
        """In a batch those that have ended, wait again or never were are left out."""
        await given_deliveries(store, clock, 3)
        held, ended, waiting = await claim(store, clock)
        await finish(store, clock, ended)
        await retry(store, clock, waiting, after=MINUTE)
        asked = [(one.delivery_id, one.fence) for one in (held, ended, waiting)]

        prolonged = await store.extend([*asked, ("dlv_unknown", 1)], until=clock.now() + HOUR)

        assert {held.delivery_id} == prolonged
        assert set() == await store.extend([], until=clock.now() + HOUR)

    async def test_a_rescued_delivery_is_due_at_once(self, store: Store, clock: FakeClock) -> None:
        """When a lease runs out the delivery is pending again, with one abandoned attempt and no try more."""
        claimed = await given_claim(store, clock)

        now = clock.advance(LEASE + SECOND)
        (rescued,) = await store.rescue(10, now=now, max_abandoned=3)
        again = await claim_one(store, clock)

        assert claimed.delivery_id == rescued.id
        assert (DeliveryState.PENDING, now, 1, 1) == (
            rescued.state,
            rescued.due_at,
            rescued.attempts,
            rescued.abandoned,
        )
        assert (2, 0, 1) == (again.attempt, again.tries, again.abandoned)

    async def test_a_rescue_returns_deliveries_as_they_read(self, store: Store, clock: FakeClock) -> None:
        """What a rescue returns, sent again or quarantined, is what a reader finds."""
        await given_deliveries(store, clock, 2)
        first, _ = await claim(store, clock)
        now = clock.advance(LEASE + SECOND)
        await store.rescue(1, now=now, max_abandoned=3)

        rescued = await store.rescue(10, now=now, max_abandoned=1)

        assert first.event_type == rescued[0].event_type
        assert [await read(store, delivery.id) for delivery in rescued] == rescued

    async def test_an_abandoned_attempt_is_recorded(self, store: Store, clock: FakeClock) -> None:
        """The attempt that was never recorded is in the history, with the name of the worker that was lost."""
        claimed = await given_claim(store, clock)

        now = clock.advance(LEASE + SECOND)
        await store.rescue(10, now=now, max_abandoned=3)

        history = await store.attempts(ACME, claimed.delivery_id)
        assert [(claimed.delivery_id, 1, "abandoned", "lease_expired", now, "worker-1")] == [
            (a.delivery_id, a.number, a.outcome, a.reason, a.retry_at, a.worker) for a in history
        ]
        assert history[0].started_at <= history[0].started_at + history[0].took <= now

    async def test_a_living_lease_is_not_rescued(self, store: Store, clock: FakeClock) -> None:
        """A claim is its worker's until its lease has run out."""
        claimed = await given_claim(store, clock)

        clock.advance(LEASE - SECOND)
        rescued = await store.rescue(10, now=clock.now(), max_abandoned=3)

        assert [] == rescued
        assert {claimed.delivery_id} == await finish(store, clock, claimed)

    async def test_waiting_and_ended_deliveries_are_not_rescued(self, store: Store, clock: FakeClock) -> None:
        """Only what is being sent can be abandoned."""
        await given_deliveries(store, clock, 3)
        ended, waiting, _ = await claim(store, clock, 3)
        await finish(store, clock, ended)
        await retry(store, clock, waiting, after=HOUR)

        clock.advance(LEASE + SECOND)
        rescued = await store.rescue(10, now=clock.now(), max_abandoned=3)

        assert 1 == len(rescued)
        assert [] == await store.rescue(10, now=clock.now(), max_abandoned=3)

    async def test_a_rescue_raises_the_fence(self, store: Store, clock: FakeClock) -> None:
        """A rescue takes the claim away: the next one is two fences on, and the zombie's is under neither."""
        zombie = await given_claim(store, clock)
        clock.advance(LEASE + SECOND)
        await store.rescue(10, now=clock.now(), max_abandoned=3)

        written = await finish(store, clock, zombie)
        again = await claim_one(store, clock)

        assert set() == written
        assert zombie.fence + 2 == again.fence

    async def test_a_delivery_that_kills_its_workers_is_quarantined(self, store: Store, clock: FakeClock) -> None:
        """A delivery abandoned ``max_abandoned`` times is dead, and is not sent again."""
        claimed = await given_claim(store, clock)
        clock.advance(LEASE + SECOND)
        (once,) = await store.rescue(10, now=clock.now(), max_abandoned=2)
        await claim_one(store, clock)

        now = clock.advance(LEASE + SECOND)
        (twice,) = await store.rescue(10, now=now, max_abandoned=2)

        assert DeliveryState.PENDING is once.state
        assert (DeliveryState.DEAD, "quarantined", 2, 2, now, None) == (
            twice.state,
            twice.reason,
            twice.attempts,
            twice.abandoned,
            twice.finished_at,
            twice.due_at,
        )
        assert [] == await claim(store, clock)
        assert 2 == len(await store.attempts(ACME, claimed.delivery_id))

    async def test_a_rescue_is_limited(self, store: Store, clock: FakeClock) -> None:
        """A rescue takes a batch at a time, and the batches together take each delivery once."""
        made = await given_deliveries(store, clock, 5)
        await claim(store, clock)
        clock.advance(LEASE + SECOND)

        batches = [await store.rescue(2, now=clock.now(), max_abandoned=3) for _ in range(4)]

        assert [2, 2, 1, 0] == [len(batch) for batch in batches]
        assert {new.id for new in made} == {delivery.id for batch in batches for delivery in batch}

    async def test_living_leases_do_not_hide_expired_ones(self, store: Store, clock: FakeClock) -> None:
        """Any number of long leases, older or newer, leaves the way free for one that has run out."""
        await given_deliveries(store, clock, 20)
        await claim(store, clock, 10, lease=DAY)
        (stuck,) = await claim(store, clock, 1)
        prolonged = await claim(store, clock, 9)
        await store.extend([(one.delivery_id, one.fence) for one in prolonged], until=clock.now() + DAY)

        clock.advance(LEASE + SECOND)
        rescued = await store.rescue(1, now=clock.now(), max_abandoned=3)

        assert [stuck.delivery_id] == [delivery.id for delivery in rescued]
