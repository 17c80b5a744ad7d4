"""Handing over: a relay gets what is due for a while, and workers claim it by its id."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import timedelta

import pytest

from ....models.delivery import Claim, DeliveryState, Lane, Priority
from ....ports import DeliveryFilter, Move, Outstanding, Store, Ticket
from ...builders import make_delivery, make_event
from ...clock import FakeClock
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
    finish,
    given_deliveries,
    given_delivery,
    plan,
    read,
    release,
    retry,
)

HOLD = 20 * SECOND
#: More than any of these tests hands over.
ENOUGH = Outstanding(10_000, 10_000, 10_000)


async def hand_off(
    store: Store,
    clock: FakeClock,
    limit: int = 100,
    *,
    lane: Lane = LANE,
    hold: timedelta = HOLD,
    most: Outstanding = ENOUGH,
    **names: Collection[str],
) -> list[Ticket]:
    """Hand deliveries over as a relay does."""
    return await store.hand_off(lane, limit, now=clock.now(), hold=hold, most=most, **names)


async def claim_of(store: Store, clock: FakeClock, tickets: Collection[Ticket]) -> list[Claim]:
    """Claim the deliveries of tickets as a worker does."""
    return await claim(store, clock, ids=[ticket.delivery_id for ticket in tickets])


def ids_of(found: Sequence[Ticket | Claim]) -> list[str]:
    """Return the ids of deliveries."""
    return [one.delivery_id for one in found]


class HandOffPromises:
    """What a store promises of deliveries that are handed over."""

    async def test_a_ticket_says_where_its_delivery_belongs(self, store: Store, clock: FakeClock) -> None:
        """A relay needs nothing but the ticket to put it into the right queue."""
        new = await given_delivery(store, clock, tenant=ACME, subscriber=RECEIVER)

        assert [Ticket(new.id, LANE, ACME, RECEIVER)] == await hand_off(store, clock)

    async def test_what_is_handed_over_is_due_again_when_its_hold_runs_out(
        self, store: Store, clock: FakeClock
    ) -> None:
        """A ticket that a broker loses costs the hold, not the delivery."""
        new = await given_delivery(store, clock)
        await hand_off(store, clock)

        clock.advance(HOLD - TICK)
        early = ids_of(await hand_off(store, clock)), ids_of(await claim(store, clock))
        clock.advance(TICK)
        again = ids_of(await hand_off(store, clock))
        clock.advance(HOLD)
        claimed = ids_of(await claim(store, clock))

        assert (([], []), [new.id], [new.id]) == (early, again, claimed)

    async def test_a_ticket_claims_its_delivery(self, store: Store, clock: FakeClock) -> None:
        """A claim by id gets what was handed over, and what is due although no ticket of it is known."""
        made = await given_deliveries(store, clock, 3)
        tickets = await hand_off(store, clock, 2)
        unknown = {new.id for new in made} - set(ids_of(tickets))

        claimed = await claim_of(store, clock, tickets)
        rest = await claim(store, clock, ids=[*unknown, "dlv_nothing"])

        assert set(ids_of(tickets)) == set(ids_of(claimed))
        assert unknown == set(ids_of(rest))
        assert DeliveryState.SENDING is (await read(store, claimed[0].delivery_id)).state

    async def test_a_repeated_ticket_finds_nothing(self, store: Store, clock: FakeClock) -> None:
        """A ticket that comes twice is worth one claim: during the attempt, before a retry and after the end."""
        await given_delivery(store, clock)
        tickets = await hand_off(store, clock)
        claimed = await claim_of(store, clock, tickets)

        during = await claim_of(store, clock, tickets)
        await retry(store, clock, claimed[0], after=HOUR)
        before_the_retry = await claim_of(store, clock, tickets)
        clock.advance(HOUR)
        second = await claim_of(store, clock, tickets)
        await finish(store, clock, second[0])
        afterwards = await claim_of(store, clock, tickets)

        assert ([], [], 2, []) == (during, before_the_retry, second[0].fence, afterwards)

    async def test_a_late_ticket_does_not_hurry_a_retry(self, store: Store, clock: FakeClock) -> None:
        """What was handed over, claimed and put back waits for its own time, also while the hold would last."""
        await given_delivery(store, clock)
        tickets = await hand_off(store, clock, hold=HOUR)
        claimed = await claim_of(store, clock, tickets)
        await retry(store, clock, claimed[0], after=MINUTE)

        early = await claim_of(store, clock, tickets)
        clock.advance(MINUTE)

        assert [] == early
        assert ids_of(tickets) == ids_of(await hand_off(store, clock))

    async def test_what_is_given_back_is_handed_over_at_once(self, store: Store, clock: FakeClock) -> None:
        """A worker that stops gives its claims back: they wait for no hold."""
        await given_delivery(store, clock)
        tickets = await hand_off(store, clock)
        await release(store, clock, (await claim_of(store, clock, tickets))[0])

        assert ids_of(tickets) == ids_of(await hand_off(store, clock))

    async def test_only_the_lane_is_handed_over(self, store: Store, clock: FakeClock) -> None:
        """A lane sees nothing of the others, neither when it is handed over nor when it is claimed by id."""
        urgent = Lane(LANE.channel, Priority.HIGH)
        event = make_event(at=clock.now())
        made = [make_delivery(event, priority=lane.priority, address=str(lane)) for lane in (LANE, urgent)]
        await plan(store, clock, event, made)

        tickets = await hand_off(store, clock, lane=urgent)

        assert [made[1].id] == ids_of(tickets)
        assert [] == await claim(store, clock, ids=[made[1].id])
        assert [made[1].id] == ids_of(await claim(store, clock, lane=urgent, ids=[made[1].id]))

    async def test_what_is_not_due_is_not_handed_over(self, store: Store, clock: FakeClock) -> None:
        """Neither is it claimed by its id."""
        new = await given_delivery(store, clock, due_at=clock.now() + HOUR)

        clock.advance(HOUR - TICK)
        early = await hand_off(store, clock), await claim(store, clock, ids=[new.id])
        clock.advance(TICK)

        assert ([], []) == early
        assert [new.id] == ids_of(await hand_off(store, clock))

    async def test_held_deliveries_are_handed_over_when_their_time_comes(self, store: Store, clock: FakeClock) -> None:
        """Their worker decides anew."""
        held = await given_delivery(store, clock, state=DeliveryState.HELD, reason="paused", due_at=clock.now() + HOUR)
        clock.advance(HOUR)

        tickets = await hand_off(store, clock)

        assert [held.id] == ids_of(tickets) == ids_of(await claim_of(store, clock, tickets))

    async def test_excluded_names_are_left_out(self, store: Store, clock: FakeClock) -> None:
        """A relay and a worker leave out the subscribers and tenants that they exclude."""
        ours = await given_delivery(store, clock, tenant=ACME, subscriber=RECEIVER)
        theirs = await given_delivery(store, clock, tenant=GLOBEX, subscriber=OTHER)
        ids = [ours.id, theirs.id]

        by_subscriber = await hand_off(store, clock, exclude=[RECEIVER])
        nothing = await claim(store, clock, ids=ids, exclude=[RECEIVER], exclude_tenants=[GLOBEX])
        only = await claim(store, clock, ids=ids, only=[OTHER])
        by_tenant = await hand_off(store, clock, exclude_tenants=[ACME])

        assert ([theirs.id], [], [theirs.id], []) == tuple(
            ids_of(one) for one in (by_subscriber, nothing, only, by_tenant)
        )

    @pytest.mark.parametrize(
        ("most", "counts"),
        [
            (Outstanding(lane=7, tenant=100, subscriber=100), {7}),
            (Outstanding(lane=100, tenant=5, subscriber=100), {10}),
            (Outstanding(lane=100, tenant=100, subscriber=4), {8}),
        ],
    )
    async def test_only_so_many_are_out_at_a_time(
        self, store: Store, clock: FakeClock, most: Outstanding, counts: set[int]
    ) -> None:
        """A broker never holds the whole backlog: the rest is handed over as claims make room, or holds run out."""
        await given_deliveries(store, clock, 12, tenant=ACME, subscriber=RECEIVER)
        await given_deliveries(store, clock, 12, tenant=GLOBEX, subscriber=OTHER)

        tickets = [ticket for _ in range(8) for ticket in await hand_off(store, clock, 3, most=most)]
        claimed = await claim_of(store, clock, tickets[:2])
        after_claims = await hand_off(store, clock, most=most)
        clock.advance(HOLD)
        after_the_hold = [ticket for _ in range(8) for ticket in await hand_off(store, clock, 3, most=most)]

        assert len(tickets) in counts
        assert (2, 2) == (len(claimed), len(after_claims))
        assert len(after_the_hold) in counts

    async def test_fifo_groups_are_handed_over_one_by_one(self, store: Store, clock: FakeClock) -> None:
        """Of a FIFO group only the head is out; the next one follows when it has ended."""
        first = await given_delivery(store, clock, ordering_key="A-1")
        second = await given_delivery(store, clock, ordering_key="A-1")

        tickets = await hand_off(store, clock)
        too_early = await claim(store, clock, ids=[second.id])
        claimed = await claim_of(store, clock, tickets)
        during = await hand_off(store, clock)
        await finish(store, clock, claimed[0])
        following = await hand_off(store, clock)

        found = tickets, too_early, claimed, during, following
        assert ([first.id], [], [first.id], [], [second.id]) == tuple(ids_of(one) for one in found)

    async def test_an_abandoned_claim_is_handed_over_again(self, store: Store, clock: FakeClock) -> None:
        """A worker that dies after its claim is found by its lease, as without a broker."""
        await given_delivery(store, clock)
        tickets = await hand_off(store, clock)
        await claim_of(store, clock, tickets)

        clock.advance(LEASE + SECOND)
        await store.rescue(10, now=clock.now(), max_abandoned=5)

        assert ids_of(tickets) == ids_of(await hand_off(store, clock))

    async def test_what_is_handed_over_still_counts_as_due(self, store: Store, clock: FakeClock) -> None:
        """Operators see since when it waits, and may cancel it; its ticket then finds nothing."""
        new = await given_delivery(store, clock)
        due_at = clock.now()
        tickets = await hand_off(store, clock)
        clock.advance(SECOND)

        stats = await store.stats(now=clock.now())
        shown = await read(store, new.id)
        await store.move(ACME, DeliveryFilter(ids={new.id}), Move.CANCEL, now=clock.now())

        assert (1, due_at) == (stats.waiting, stats.oldest_due)
        assert [(1, due_at)] == list(stats.lanes.values())
        assert (DeliveryState.PENDING, due_at) == (shown.state, shown.due_at)
        assert [] == await claim_of(store, clock, tickets)

    async def test_the_store_says_when_a_hold_runs_out(self, store: Store, clock: FakeClock) -> None:
        """An idle relay sleeps until then."""
        await given_delivery(store, clock)
        await hand_off(store, clock)

        due = await store.next_due()

        assert clock.now() + HOLD == due.lanes[LANE]
        assert due.is_open
