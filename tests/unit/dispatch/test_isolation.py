"""A failing, slow or limited endpoint costs itself only, and its owner is told."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from notifykit import EndpointState, Event, RateLimit, RetryPolicy
from notifykit.models.circuit import OpenCircuit
from notifykit.models.delivery import Claim, DeliveryState
from notifykit.models.destination import destination_of
from notifykit.models.outcome import Accepted, Outcome, Transient
from notifykit.policies.circuits import IN_A_ROW
from notifykit.stores.memory import MemoryStore
from notifykit.telemetry import CircuitClosed, CircuitOpened
from notifykit.testing import FakeClock

from .support import TENANT, ScriptedChannel, bench

PATIENT = RetryPolicy(delays=(timedelta(milliseconds=1),) * 20, jitter=0)
DELIVERED = DeliveryState.DELIVERED


async def test_a_failing_endpoint_is_parked_and_its_deliveries_use_up_no_attempts() -> None:
    """Once it counts as failing nothing is sent until the probe; parked deliveries keep their attempts."""
    clock = FakeClock(datetime.now(UTC))
    async with bench(lambda claim: Transient(reason="http_503"), clock=clock) as b:
        await b.endpoint(retry=PATIENT)
        for _ in range(3 * IN_A_ROW):
            await b.publish()

        async with b.dispatcher:
            held = await b.until_states(DeliveryState.HELD, count=3 * IN_A_ROW - 20)
            await b.until(lambda: any(isinstance(told, CircuitOpened) for told in b.told))

        assert {"endpoint_failing"} == {delivery.reason for delivery in held}
        assert len(b.channel.sent) <= 64  # what was in flight when it was found out, and no more


async def test_recovery_ramps_up_within_the_cap_and_wakes_what_was_parked() -> None:
    """One probe, then more and more; nothing that was parked is lost."""
    clock = FakeClock(datetime.now(UTC))
    well = [False]

    def script(claim: Claim) -> Outcome:
        return Accepted() if well[0] else Transient(reason="http_503")

    async with bench(script, clock=clock) as b:
        await b.endpoint(retry=PATIENT, max_in_flight=8)
        for _ in range(200):
            await b.publish()

        async with b.dispatcher:
            await b.until(lambda: any(isinstance(told, CircuitOpened) for told in b.told))
            before = len(b.channel.sent)
            well[0] = True
            clock.advance(timedelta(seconds=30))
            while DELIVERED not in Counter(d.state for d in await b.deliveries()):
                await asyncio.sleep(0.01)
            await b.until(lambda: any(isinstance(told, CircuitClosed) for told in b.told))
            clock.advance(timedelta(minutes=10))
            await b.until_states(DELIVERED, count=200)

        assert before < 200
        assert b.channel.most_open <= 8


async def test_what_one_process_finds_out_another_keeps_to() -> None:
    """The ailment is in the store; a dispatcher that has seen no failure parks too."""
    clock = FakeClock(datetime.now(UTC))
    async with bench(lambda claim: Transient(reason="http_503"), clock=clock) as b:
        endpoint = await b.endpoint(retry=PATIENT)
        for _ in range(2 * IN_A_ROW):
            await b.publish()
        async with b.dispatcher:
            await b.until(lambda: any(isinstance(told, CircuitOpened) for told in b.told))
        clock.advance(timedelta(seconds=1))
        channel = ScriptedChannel()
        other = b.kit.dispatcher([channel], b.dispatcher.settings)

        await other._circuits.refresh()
        circuit = other._circuits.circuit(endpoint.id)
        async with other:
            await b.until_states(DeliveryState.HELD, count=2 * IN_A_ROW)

        assert circuit is not None
        assert (1, []) == (other._circuits.places(destination_of(endpoint)), channel.sent)


async def test_who_sends_nothing_asks_seldom_who_is_failing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle process asks the store every fifth time; one that sends, or knows of a failing endpoint, each time."""
    asked = []
    read = MemoryStore.circuits

    async def counted(store: MemoryStore) -> list[OpenCircuit]:
        asked.append(1)
        return await read(store)

    monkeypatch.setattr(MemoryStore, "circuits", counted)
    async with bench(lambda claim: Transient(reason="http_503")) as b:
        circuits = b.dispatcher._circuits
        endpoint = await b.endpoint()

        async def looks(count: int, before: Callable[[], object] = bool) -> int:
            asked.clear()
            for _ in range(count):
                before()
                await circuits.look()
            return len(asked)

        def sent(outcome: Outcome) -> None:
            circuits.note(destination_of(endpoint), outcome, datetime.now(UTC))

        idle = await looks(10)
        sending = await looks(10, lambda: sent(Accepted()))
        for _ in range(IN_A_ROW):
            sent(Transient(reason="http_503"))
        failing = await looks(10)

        assert (2, 10, 10) == (idle, sending, failing)


async def test_an_endpoint_that_only_fails_for_days_is_disabled() -> None:
    """Patience has an end, and the endpoint says why it was disabled."""
    clock = FakeClock(datetime.now(UTC))
    async with bench(lambda claim: Transient(reason="http_503"), clock=clock, patience=timedelta(days=2)) as b:
        endpoint = await b.endpoint(retry=RetryPolicy(delays=(timedelta(hours=1),) * 40, jitter=0))
        for _ in range(IN_A_ROW):
            await b.publish()

        async with b.dispatcher:
            await b.until(lambda: any(isinstance(told, CircuitOpened) for told in b.told))
            clock.advance(timedelta(days=2, minutes=1))
            async with asyncio.timeout(15):
                while (await b.kit.endpoints.get(endpoint.id, tenant=TENANT)).state is EndpointState.ACTIVE:
                    await asyncio.sleep(0.05)

        disabled = await b.kit.endpoints.get(endpoint.id, tenant=TENANT)
        assert "failing" == disabled.state_reason


async def test_the_tenant_is_told_of_what_it_subscribes_to_by_name() -> None:
    """Operational events go to those who name them; a bare ** does not get them."""

    def script(claim: Claim) -> Outcome:
        return Transient(reason="http_500") if claim.event_type == "order.paid" else Accepted()

    async with bench(script) as b:
        everything = await b.endpoint("**", retry=RetryPolicy(delays=()))
        watching = await b.endpoint(["endpoint.*", "delivery.*"])
        event_id = await b.publish()

        async with b.dispatcher:
            await b.until(lambda: [c for c in b.channel.sent if c.event_type == "delivery.exhausted"])
            await b.until_states(DELIVERED)

        (told,) = [claim for claim in b.channel.sent if claim.event_type == "delivery.exhausted"]
        data = json.loads(told.body)["data"]
        assert watching.id == told.subscriber_id
        assert (event_id, everything.id, 1, "exhausted:http_500") == (
            data["event_id"],
            data["endpoint_id"],
            data["attempts"],
            data["reason"],
        )


async def test_nobody_subscribed_means_no_operational_event() -> None:
    """A dead letter of a tenant that does not ask makes no event."""
    async with bench(lambda claim: Transient(reason="http_500")) as b:
        await b.endpoint("**", retry=RetryPolicy(delays=()))
        await b.publish()

        async with b.dispatcher:
            await b.until_states(DeliveryState.DEAD)

        assert ["order.paid"] == [event.type for event in await b.kit.events.list(tenant=TENANT)]


async def test_a_rate_limit_is_kept_over_the_burst() -> None:
    """So many at once, and then so many a second."""
    async with bench() as b:
        await b.endpoint(rate_limit=RateLimit(per_second=20, burst=5))
        for _ in range(15):
            await b.publish()
        started = time.monotonic()

        async with b.dispatcher:
            await b.until_states(DELIVERED, count=15)

        assert time.monotonic() - started >= 0.45  # 10 after the burst, at 20 a second


async def test_two_dispatchers_share_one_rate() -> None:
    """The bucket is in the store, not in a process."""
    async with bench() as b:
        await b.endpoint(rate_limit=RateLimit(per_second=20, burst=1), max_in_flight=4)
        for _ in range(12):
            await b.publish()
        other = b.kit.dispatcher([ScriptedChannel()], b.dispatcher.settings)
        started = time.monotonic()

        async with b.dispatcher, other:
            await b.until_states(DELIVERED, count=12)

        assert time.monotonic() - started >= 0.5


async def test_a_limited_endpoint_does_not_hold_up_another() -> None:
    """While one waits for tokens the other's deliveries go."""
    async with bench() as b:
        slow = await b.endpoint("slow.*", rate_limit=RateLimit(per_second=0.5, burst=1))
        await b.endpoint("fast.*")
        await b.kit.apublish_many([Event(type="slow.a", data={}, tenant=TENANT) for _ in range(50)])
        await b.kit.apublish_many([Event(type="fast.a", data={}, tenant=TENANT) for _ in range(50)])

        async with b.dispatcher:
            await b.until(lambda: Counter(c.event_type for c in b.channel.sent)["fast.a"] == 50)

        assert Counter(claim.subscriber_id for claim in b.channel.sent)[slow.id] <= 3
