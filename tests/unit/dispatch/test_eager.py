"""What is sent before its plan is written: when it is, and what becomes of it if something goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from notifykit import RateLimit
from notifykit.dispatch.directory import TenantView
from notifykit.dispatch.sending import eager
from notifykit.models.delivery import DeliveryState
from notifykit.models.event import TakenEvent
from notifykit.ports import Settlement
from notifykit.telemetry import ClaimLost, DeliveryAbandoned, EventsPlanned, LoopFailed
from notifykit.testing.suites.store.steps import is_planned

from .support import TENANT, Bench, bench, failing

DELIVERED, PENDING, SENDING = DeliveryState.DELIVERED, DeliveryState.PENDING, DeliveryState.SENDING
MINUTE = timedelta(minutes=1)


async def taken_by_somebody(b: Bench) -> list[TakenEvent]:
    """Take what is due as a worker that will be lost: its lease has run out already."""
    return await b.kit.store.take(10, now=datetime.now(UTC), lease=timedelta(0))


async def test_an_event_is_sent_before_its_plan_is_written() -> None:
    """While the attempt is under way the event still waits in the store, and nothing tells of the delivery."""
    async with bench() as b:
        await b.endpoint()
        b.channel.gate = asyncio.Event()
        event_id = await b.publish()

        async with b.dispatcher:
            await b.until(lambda: b.channel.open == 1)
            planned, found = await is_planned(b.kit.store, TENANT, event_id), await b.deliveries()
            b.channel.gate.set()
            (delivery,) = await b.until_states(DELIVERED)

        (attempt,) = await b.kit.deliveries.attempts(delivery.id, tenant=TENANT)
        assert (False, []) == (planned, found)
        assert (1, "accepted") == (attempt.number, attempt.outcome)
        assert delivery.created_at <= attempt.started_at
        assert [(1, 1)] == [(told.events, told.deliveries) for told in b.told if isinstance(told, EventsPlanned)]


async def test_what_takes_long_lands_and_is_leased() -> None:
    """Of two deliveries one is over and one is not: both are written, and the second is recorded by itself later."""
    async with bench() as b:
        for _ in range(2):
            await b.endpoint()
        b.channel.gate = asyncio.Event()
        await b.publish()

        async with b.dispatcher:
            await b.until_leased(2)
            b.channel.gate.set()
            await b.until_states(DELIVERED, count=2)

        assert 2 == len(b.channel.sent)
        assert [] == list(b.dispatcher._leases.held)


async def test_what_fails_is_tried_again() -> None:
    """The first attempt counts, and the second is claimed as ever."""
    async with bench(failing(1)) as b:
        await b.endpoint()
        await b.publish()

        async with b.dispatcher:
            (delivery,) = await b.until_states(DELIVERED)

        attempts = await b.kit.deliveries.attempts(delivery.id, tenant=TENANT)
        assert ["transient", "accepted"] == [attempt.outcome for attempt in attempts]


@pytest.mark.parametrize(
    ("endpoint", "event"),
    [({"rate_limit": RateLimit(per_second=100)}, {}), ({}, {"ordering_key": "A-1"})],
    ids=["metered", "ordered"],
)
async def test_what_may_have_to_wait_is_written_first(endpoint: dict[str, Any], event: dict[str, Any]) -> None:
    """An endpoint with a rate limit and an event in a line keep to the longer way."""
    async with bench() as b:
        await b.endpoint(**endpoint)
        b.channel.gate = asyncio.Event()
        event_id = await b.publish(**event)

        async with b.dispatcher:
            await b.until(lambda: b.channel.open == 1)
            planned = await is_planned(b.kit.store, TENANT, event_id)
            b.channel.gate.set()
            await b.until_states(DELIVERED)

        assert planned


async def test_many_deliveries_are_written_first() -> None:
    """An event for more endpoints than a few is settled before any of them is told."""
    async with bench() as b:
        for _ in range(9):
            await b.endpoint()
        b.channel.gate = asyncio.Event()
        event_id = await b.publish()

        async with b.dispatcher:
            await b.until(lambda: b.channel.open == 9)
            planned = await is_planned(b.kit.store, TENANT, event_id)
            b.channel.gate.set()
            await b.until_states(DELIVERED, count=9)

        assert planned


async def test_an_event_of_a_lost_worker_counts_as_an_abandoned_attempt() -> None:
    """Whoever took it first may have sent it, so the next attempt is the second."""
    async with bench() as b:
        await b.endpoint()
        await b.publish()
        await taken_by_somebody(b)

        async with b.dispatcher:
            (abandoned,) = await b.until_states(SENDING)
            await b.kit.store.extend([(abandoned.id, 1)], until=datetime.now(UTC) - MINUTE)
            await b.dispatcher._janitor.end_leases(datetime.now(UTC))
            (delivery,) = await b.until_states(DELIVERED)

        attempts = await b.kit.deliveries.attempts(delivery.id, tenant=TENANT)
        assert [(1, "abandoned"), (2, "accepted")] == [(attempt.number, attempt.outcome) for attempt in attempts]
        assert 1 == delivery.abandoned
        assert 1 == len([told for told in b.told if isinstance(told, DeliveryAbandoned)])


async def test_results_for_an_event_that_was_taken_away_do_not_count() -> None:
    """A worker that stood still finds its event settled by another one: it says so, and writes nothing."""
    async with bench() as b:
        await b.endpoint()
        b.channel.gate = asyncio.Event()
        event_id = await b.publish()

        async with b.dispatcher:
            await b.until(lambda: b.channel.open == 1)
            # Somebody whose clock is ahead takes the event, and finds that nobody wants it.
            (stolen,) = await b.kit.store.take(1, now=datetime.now(UTC) + 10 * MINUTE, lease=MINUTE)
            await b.kit.store.settle(
                [Settlement(event_id, stolen.fence, [])], now=datetime.now(UTC), lease=MINUTE, worker="thief"
            )
            b.channel.gate.set()
            await b.until(lambda: any(isinstance(told, ClaimLost) for told in b.told))

        assert [] == await b.deliveries()
        assert {} == b.dispatcher._recorder.eager_sends._of


async def test_an_attempt_that_ends_after_its_event_was_lost_does_not_count() -> None:
    """The flight lands while the attempt is under way, and its event is somebody else's by then."""
    async with bench() as b:
        await b.endpoint()
        b.channel.gate = asyncio.Event()
        event_id = await b.publish()

        async with b.dispatcher:
            await b.until(lambda: b.channel.open == 1)
            (stolen,) = await b.kit.store.take(1, now=datetime.now(UTC) + 10 * MINUTE, lease=MINUTE)
            await b.until(lambda: not b.dispatcher._recorder.eager_sends._of)  # it has landed in vain
            b.channel.gate.set()
            await b.until(lambda: any(isinstance(told, ClaimLost) for told in b.told))

        assert [] == await b.deliveries()
        assert event_id == stolen.id


async def test_a_result_under_a_later_fence_is_no_part_of_a_lost_flight() -> None:
    """The event was lost while its attempt went on, came back by a claim of its own, and that attempt counts."""
    async with bench() as b:
        await b.endpoint()
        b.channel.gate = asyncio.Event()
        await b.publish()

        async with b.dispatcher:
            await b.until(lambda: b.channel.open == 1)
            (stolen,) = await b.kit.store.take(1, now=datetime.now(UTC) + 10 * MINUTE, lease=MINUTE)
            await b.until(lambda: not b.dispatcher._recorder.eager_sends._of)
            view = await b.dispatcher._directory.view(TENANT, stolen.tenant_version)
            assert isinstance(view, TenantView)
            planned, _ = view.plan(stolen, now=datetime.now(UTC), most=9)
            lost = Settlement(stolen.id, stolen.fence, [new._replace(state=SENDING) for new in planned])
            await b.kit.store.settle([lost], now=datetime.now(UTC), lease=-MINUTE, worker="lost")
            gate, b.channel.gate = b.channel.gate, None
            await b.dispatcher._janitor.end_leases(datetime.now(UTC))
            (delivery,) = await b.until_states(DELIVERED)
            gate.set()
            await b.until(lambda: any(isinstance(told, ClaimLost) for told in b.told))

        assert (2, 1) == (delivery.attempts, delivery.abandoned)
        assert 1 == len([told for told in b.told if isinstance(told, ClaimLost)])


async def test_a_stop_leaves_nothing_in_the_air() -> None:
    """What is cut off at the end of the grace is leased, and can be seen."""
    async with bench(grace=timedelta(milliseconds=10)) as b:
        await b.endpoint()
        b.channel.gate = asyncio.Event()
        event_id = await b.publish()

        async with b.dispatcher:
            await b.until(lambda: b.channel.open == 1)

        assert [SENDING] == [delivery.state for delivery in await b.deliveries()]
        assert await is_planned(b.kit.store, TENANT, event_id)


async def test_an_event_whose_results_cannot_be_written_does_not_hold_up_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is told of and dropped: its lease will run out, and it is taken again."""
    async with bench() as b:
        await b.endpoint()
        settle = b.kit.store.settle
        poison = ""

        async def picky(settlements: Sequence[Settlement], **options: Any) -> set[str]:
            if any(settlement.event_id == poison for settlement in settlements):
                raise ValueError("this one cannot be stored")
            return await settle(settlements, **options)

        b.channel.gate = asyncio.Event()
        poison = [await b.publish() for _ in range(5)][2]
        monkeypatch.setattr(b.kit.store, "settle", picky)

        async with b.dispatcher:
            await b.until(lambda: b.channel.open == 5)
            b.channel.gate.set()
            await b.until_states(DELIVERED, count=4)
            await b.until(lambda: any(isinstance(told, LoopFailed) for told in b.told))

        (failed,) = [told for told in b.told if isinstance(told, LoopFailed)]
        assert failed.error.startswith(poison)
        assert 4 == len(await b.deliveries())
        assert {} == b.dispatcher._recorder.eager_sends._of


def test_a_flight_lands_in_good_time() -> None:
    """What is in the air is invisible to others, so it stays there for a moment only."""
    assert 0.5 >= eager.PATIENCE
