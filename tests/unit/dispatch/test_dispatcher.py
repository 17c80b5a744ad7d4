"""What a dispatcher does with claims, outcomes, stops and failures."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from notifykit import (
    ConfigurationError,
    DispatchSettings,
    EndpointState,
    Event,
    Priority,
    StoreUnavailableError,
)
from notifykit.dispatch.directory import TenantView
from notifykit.dispatch.planning import planner
from notifykit.errors import ValueRefusedError
from notifykit.models.delivery import Claim, DeliveryState
from notifykit.models.destination import destination_of
from notifykit.models.outcome import Accepted, BadRecipient, Outcome, Permanent, Throttled, Transient
from notifykit.ports import Record, Settlement
from notifykit.telemetry import (
    ChannelFailed,
    ClaimLost,
    DeliveryAbandoned,
    DeliveryAttempted,
    DeliveryNotSent,
    EndpointDisabled,
    LoopFailed,
)
from notifykit.testing.suites.store.steps import is_planned

from .support import TENANT, Bench, ScriptedChannel, bench, failing

DELIVERED, DEAD, PENDING = DeliveryState.DELIVERED, DeliveryState.DEAD, DeliveryState.PENDING


async def expire_leases(b: Bench) -> None:
    """Let every lease of the dispatcher run out, as if its process had stood still."""
    held = [(claim.delivery_id, claim.fence) for claim in b.dispatcher._leases.held.values()]
    await b.kit.store.extend(held, until=datetime.now(UTC) - timedelta(seconds=1))


async def test_an_event_reaches_its_endpoint_and_is_recorded() -> None:
    """The main job: publish, plan, send, record."""
    async with bench() as b:
        endpoint = await b.endpoint("order.*")
        event_id = await b.publish()

        async with b.dispatcher:
            (delivery,) = await b.until_states(DELIVERED)

        (attempt,) = await b.kit.deliveries.attempts(delivery.id, tenant=TENANT)
        assert (event_id, endpoint.id, 1) == (delivery.event_id, delivery.subscriber_id, delivery.attempts)
        assert (1, "accepted") == (attempt.number, attempt.outcome)
        assert b.channel.closed


async def test_failed_attempts_follow_the_schedule_until_one_is_accepted() -> None:
    """Two failures and a success are three attempts of one delivery, with the same bytes."""
    async with bench(failing(2)) as b:
        await b.endpoint()
        await b.publish()

        async with b.dispatcher:
            (delivery,) = await b.until_states(DELIVERED)

        tries = await b.kit.deliveries.attempts(delivery.id, tenant=TENANT)
        assert [1, 2, 3] == [attempt.number for attempt in tries]
        assert ["transient", "transient", "accepted"] == [attempt.outcome for attempt in tries]
        assert 1 == len({(claim.event_id, claim.body) for claim in b.channel.sent})


async def test_the_last_attempt_buries_and_a_redrive_digs_up() -> None:
    """A dead letter keeps its history and gets a new generation of attempts."""
    answers: list[Outcome] = [Transient(reason="http_500")]
    async with bench(lambda claim: answers[-1]) as b:
        await b.endpoint()
        await b.publish()

        async with b.dispatcher:
            (dead,) = await b.until_states(DEAD)
            answers.append(Accepted())
            await b.kit.deliveries.redrive(dead.id, tenant=TENANT)
            (delivered,) = await b.until_states(DELIVERED)

        assert ("exhausted:http_500", 4) == (dead.reason, dead.attempts)
        assert (dead.id, 1, 5) == (delivered.id, delivered.generation, delivered.attempts)
        assert [1, 2, 3, 4, 5] == [claim.attempt for claim in b.channel.sent]


async def test_a_permanent_refusal_is_not_tried_again() -> None:
    """413 and the like go straight to the dead letters."""
    async with bench(lambda claim: Permanent(reason="http_413")) as b:
        await b.endpoint()
        await b.publish()

        async with b.dispatcher:
            (dead,) = await b.until_states(DEAD)

        assert ("http_413", 1) == (dead.reason, dead.attempts)


async def test_gone_disables_the_endpoint_and_recover_brings_the_rest() -> None:
    """410 stops deliveries; what came meanwhile is suppressed, and can be recovered."""
    answers: list[Outcome] = [BadRecipient(reason="http_410")]
    started = datetime.now(UTC)
    async with bench(lambda claim: answers[-1]) as b:
        endpoint = await b.endpoint()
        await b.publish()

        async with b.dispatcher:
            await b.until_states(DEAD)
            await b.until(lambda: any(isinstance(told, EndpointDisabled) for told in b.told))
            await b.publish()
            (suppressed,) = await b.until_states(DeliveryState.SUPPRESSED)
            answers.append(Accepted())
            disabled = await b.kit.endpoints.get(endpoint.id, tenant=TENANT)
            await b.kit.endpoints.resume(endpoint.id, tenant=TENANT)
            recovered = await b.kit.deliveries.recover(endpoint.id, tenant=TENANT, since=started)
            await b.until_states(DELIVERED, count=2)

        assert (EndpointState.DISABLED, "http_410") == (disabled.state, disabled.state_reason)
        assert ("endpoint_disabled", 2) == (suppressed.reason, recovered)


async def test_a_receiver_that_asks_for_a_pause_gets_it() -> None:
    """Retry-After is honoured over a shorter schedule."""
    pause = Throttled(reason="http_429", retry_after=timedelta(hours=1))
    async with bench(lambda claim: pause) as b:
        await b.endpoint()
        await b.publish()

        async with b.dispatcher:
            await b.until(lambda: any(isinstance(told, DeliveryAttempted) for told in b.told))

        (waiting,) = await b.deliveries(PENDING)
        assert waiting.due_at is not None
        assert waiting.due_at > datetime.now(UTC) + timedelta(minutes=59)


async def test_a_paused_endpoint_uses_up_no_attempts_and_resumes() -> None:
    """Deliveries wait while an endpoint is paused, also those that were planned before."""
    async with bench(poll=timedelta(milliseconds=20)) as b:
        endpoint = await b.endpoint()
        await b.publish()
        await b.kit.endpoints.pause(endpoint.id, tenant=TENANT)
        await b.publish()

        async with b.dispatcher:
            held = await b.until_states(DeliveryState.HELD, count=2)
            await b.kit.endpoints.resume(endpoint.id, tenant=TENANT)
            delivered = await b.until_states(DELIVERED, count=2)

        assert {("endpoint_paused", 0)} == {(d.reason, d.attempts) for d in held}
        assert {1} == {d.attempts for d in delivered}


async def test_what_was_planned_before_a_pause_is_held_when_it_comes_up() -> None:
    """The decision is taken again at the claim, not only at planning."""
    async with bench(failing(1)) as b:
        endpoint = await b.endpoint()
        await b.publish()

        async with b.dispatcher:
            await b.until(lambda: b.channel.sent)
            await b.kit.endpoints.pause(endpoint.id, tenant=TENANT)
            (held,) = await b.until_states(DeliveryState.HELD, DELIVERED)

        assert held.state in {DeliveryState.HELD, DELIVERED}
        if held.state is DeliveryState.HELD:
            assert any(isinstance(told, DeliveryNotSent) for told in b.told)


async def test_an_expired_event_is_not_sent() -> None:
    """What comes too late is recorded as expired."""
    gate = asyncio.Event()
    async with bench() as b:
        await b.endpoint(max_in_flight=1)
        b.channel.gate = gate
        await b.publish()
        await b.publish(expires_at=datetime.now(UTC) + timedelta(milliseconds=150))

        async with b.dispatcher:
            await b.until(lambda: b.channel.sent)
            await asyncio.sleep(0.2)
            gate.set()
            (expired,) = await b.until_states(DeliveryState.EXPIRED)
            await b.until_states(DELIVERED)

        assert (0, 1) == (expired.attempts, len(b.channel.sent))


async def test_a_scheduled_event_waits_for_its_time() -> None:
    """deliver_at is kept to, and does not need a poll to be noticed."""
    at = datetime.now(UTC) + timedelta(milliseconds=120)
    async with bench(poll=timedelta(seconds=5)) as b:
        await b.endpoint()
        await b.publish(deliver_at=at)

        async with b.dispatcher:
            await b.until(lambda: b.channel.sent)
            late = datetime.now(UTC) - at

        assert timedelta(0) <= late < timedelta(seconds=1)


async def test_urgent_events_go_first() -> None:
    """With both waiting, the high lane is planned and sent before the others."""
    async with bench(concurrency={Priority.HIGH: 1, Priority.NORMAL: 1, Priority.LOW: 1}, batch=1) as b:
        await b.endpoint()
        for priority in (Priority.LOW, Priority.NORMAL, Priority.HIGH):
            await b.publish(priority=priority)

        async with b.dispatcher:
            await b.until(lambda: len(b.channel.sent) == 3)

        assert [Priority.HIGH, Priority.NORMAL, Priority.LOW] == [claim.priority for claim in b.channel.sent]


async def test_an_endpoint_never_has_more_open_than_its_cap() -> None:
    """The in-flight cap holds however much waits."""
    async with bench() as b:
        await b.endpoint(max_in_flight=3)
        b.channel.gate = asyncio.Event()
        for _ in range(20):
            await b.publish()

        async with b.dispatcher:
            await b.until(lambda: b.channel.open == 3)
            b.channel.gate.set()
            await b.until_states(DELIVERED, count=20)

        assert 3 == b.channel.most_open


async def test_a_crowd_of_one_tenant_lets_another_through() -> None:
    """A tenant that floods does not make another wait for its whole backlog."""
    async with bench(batch=10, prefetch=20) as b:
        for tenant in ("flood", "quiet"):
            await b.endpoint(tenant=tenant)
        await b.kit.apublish_many([Event(type="a", data={}, tenant="flood") for _ in range(400)])
        await b.publish("a", tenant="quiet")

        async with b.dispatcher:
            await b.until(lambda: any(claim.tenant == "quiet" for claim in b.channel.sent))

        before = Counter(claim.tenant for claim in b.channel.sent)["flood"]
        assert before < 100


async def test_a_stop_finishes_what_is_under_way_and_gives_back_the_rest() -> None:
    """Nothing is abandoned, nothing is lost, nothing is sent twice."""
    async with bench(concurrency=dict.fromkeys(Priority, 2)) as b:
        await b.endpoint(max_in_flight=2)
        b.channel.gate = asyncio.Event()
        for _ in range(10):
            await b.publish()

        async with b.dispatcher:
            await b.until(lambda: b.channel.open == 2)
            b.dispatcher.stop()
            b.channel.gate.set()

        states = Counter(d.state for d in await b.deliveries())
        assert {DELIVERED: 2, PENDING: 8} == dict(states)
        assert 2 == len(b.channel.sent)
        assert {0} == {d.attempts for d in await b.deliveries(PENDING)}


async def test_attempts_that_outlive_the_grace_are_cut_off_and_stay_leased() -> None:
    """A stop takes no longer than the grace; the lease brings the delivery back."""
    async with bench(grace=timedelta(milliseconds=50)) as b:
        await b.endpoint()
        b.channel.gate = asyncio.Event()
        await b.publish()

        async with b.dispatcher:
            await b.until(lambda: b.channel.open == 1)

        (sending,) = await b.deliveries()
        assert (DeliveryState.SENDING, 0) == (sending.state, b.channel.open)


async def test_a_host_that_is_cancelled_still_stops_in_order() -> None:
    """Cancelling the host's task drains like a stop."""
    async with bench() as b:
        await b.endpoint()
        b.channel.gate = asyncio.Event()
        await b.publish()
        host = asyncio.create_task(b.dispatcher.run())
        await b.until(lambda: b.channel.open == 1)

        host.cancel()
        await asyncio.sleep(0.02)
        b.channel.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await host

        assert [DELIVERED] == [d.state for d in await b.deliveries()]


async def test_a_channel_that_raises_is_told_of_and_tried_again() -> None:
    """A bug in a channel does not stop the lane."""
    seen: list[Claim] = []

    def script(claim: Claim) -> Outcome:
        seen.append(claim)
        if len(seen) == 1:
            raise RuntimeError("boom")
        return Accepted()

    async with bench(script) as b:
        await b.endpoint()
        await b.publish()

        async with b.dispatcher:
            await b.until_states(DELIVERED)

        (told,) = [told for told in b.told if isinstance(told, ChannelFailed)]
        assert "RuntimeError: boom" == told.error


async def test_an_unknown_channel_is_a_reason() -> None:
    """A dispatcher without the delivery's channel says so and leaves it for one that has it."""
    async with bench() as b:
        endpoint = await b.endpoint()
        await b.publish()
        other = b.kit.dispatcher([ScriptedChannel(name="sms")], b.dispatcher.settings)
        claim = Claim(
            "dlv_x", 1, 1, 0, 0, TENANT, "evt_x", "t", "sub", endpoint.id, "webhook", Priority.NORMAL,
            None, datetime.now(UTC), None, datetime.now(UTC) + timedelta(minutes=1), b"{}", 0,
        )  # fmt: skip

        outcome = await other._senders[0]._send(claim, destination_of(endpoint), datetime.now(UTC))

        assert Transient(reason="no_channel") == outcome


async def test_leases_that_run_out_are_rescued_and_poison_is_quarantined() -> None:
    """A worker that dies with a claim costs an abandoned attempt; too many of them end the delivery."""
    async with bench(max_abandoned=2) as b:
        await b.endpoint()
        b.channel.gate = asyncio.Event()
        await b.publish()

        async with b.dispatcher:
            for deaths in (1, 2):
                await b.until(lambda deaths=deaths: len(b.channel.sent) == deaths)  # type: ignore[misc]
                await b.until_states(DeliveryState.SENDING)
                await expire_leases(b)
                await b.dispatcher._janitor.end_leases(datetime.now(UTC))
            b.channel.gate.set()
            (dead,) = await b.until_states(DEAD)

        assert ("quarantined", 2, 2) == (dead.reason, dead.attempts, dead.abandoned)
        told = [told for told in b.told if isinstance(told, DeliveryAbandoned)]
        assert [(1, False), (2, True)] == [(one.abandoned, one.quarantined) for one in told]


async def test_a_result_that_comes_too_late_is_refused_and_told_of() -> None:
    """The fence stops a worker whose lease was taken away."""
    async with bench() as b:
        await b.endpoint()
        b.channel.gate = asyncio.Event()
        await b.publish()

        async with b.dispatcher:
            await b.until_leased()
            await expire_leases(b)
            await b.kit.store.rescue(10, now=datetime.now(UTC), max_abandoned=5)
            b.channel.gate.set()
            await b.until_states(DELIVERED)

        tries = await b.kit.deliveries.attempts((await b.deliveries())[0].id, tenant=TENANT)
        assert [(1, "abandoned"), (2, "accepted")] == [(a.number, a.outcome) for a in tries]
        assert 1 == len([told for told in b.told if isinstance(told, ClaimLost)])


async def test_leases_of_what_is_held_are_prolonged() -> None:
    """A claim that waits or is sent for long stays ours."""
    async with bench() as b:
        await b.endpoint()
        b.channel.gate = asyncio.Event()
        await b.publish()

        async with b.dispatcher:
            await b.until_leased()
            (claim,) = b.dispatcher._leases.held.values()
            b.dispatcher._leases.extended(claim.delivery_id, datetime.now(UTC))
            extended = await b.dispatcher._janitor.extend()
            until = b.dispatcher._leases.until(claim)
            b.channel.gate.set()
            await b.until_states(DELIVERED)

        assert 1 == extended
        assert until > datetime.now(UTC) + timedelta(seconds=50)


@pytest.mark.parametrize("url", ["memory://", "sqlite://"])
async def test_a_large_fan_out_goes_in_pages_and_lets_others_pass(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each endpoint is told once, and an event of a higher priority does not wait for the last page."""
    monkeypatch.setattr(planner, "_PAGE", 4)
    async with bench(url=url) as b:
        for _ in range(30):
            await b.endpoint("order.paid")
        urgent = await b.endpoint("alarm")
        large = await b.publish()
        await b.dispatcher._planner.turn()
        await b.publish("alarm", priority=Priority.HIGH)

        async with b.dispatcher:
            await b.until_states(DELIVERED, count=31)

        told = Counter(delivery.subscriber_id for delivery in await b.deliveries())
        order = [claim.subscriber_id for claim in b.channel.sent]
        assert ({1}, 31) == (set(told.values()), len(told))
        assert 31 == len(order)
        assert order.index(urgent.id) < 16
        assert await is_planned(b.kit.store, TENANT, large)


async def test_a_claim_that_could_not_be_prolonged_is_given_back_unsent() -> None:
    """What another worker may own before we are done is not sent."""
    async with bench() as b:
        await b.endpoint()
        await b.publish()
        now = datetime.now(UTC)
        (event,) = await b.kit.store.take(1, now=now, lease=timedelta(minutes=1))
        view = await b.dispatcher._directory.view(TENANT, event.tenant_version)
        short = timedelta(seconds=5)
        sender = b.dispatcher._senders[1]
        assert isinstance(view, TenantView)
        planned, _ = view.plan(event, now=now, most=10)
        await b.kit.store.settle([Settlement(event.id, 1, planned)], now=now, lease=short, worker="w")
        (claim,) = await b.kit.store.claim(sender.lane, 1, now=now, lease=short, worker="w")

        await sender._deliver(claim)
        await b.dispatcher._recorder.write()

        (waiting,) = await b.deliveries()
        assert (PENDING, 0, []) == (waiting.state, waiting.attempts, b.channel.sent)


async def test_a_store_that_is_away_is_waited_for() -> None:
    """Loops report and pause while the database is down, and go on when it is back."""
    async with bench() as b:
        await b.endpoint()
        store = b.kit.store
        take, settle = store.take, store.settle
        away = {"take": 2, "settle": 2}

        async def flaky_take(*args: object, **options: object) -> object:
            if away["take"]:
                away["take"] -= 1
                raise StoreUnavailableError("the database is not available")
            return await take(*args, **options)  # type: ignore[arg-type]

        async def flaky_settle(*args: object, **options: object) -> object:
            if away["settle"]:
                away["settle"] -= 1
                raise StoreUnavailableError("the database is not available")
            return await settle(*args, **options)  # type: ignore[arg-type]

        store.take, store.settle = flaky_take, flaky_settle  # type: ignore[method-assign,assignment]
        await b.publish()

        async with b.dispatcher:
            await b.until_states(DELIVERED)

        failed = Counter(told.loop for told in b.told if isinstance(told, LoopFailed))
        assert {"plan": 2, "record": 2} == dict(failed)
        assert 1 == len(b.channel.sent)


async def test_one_wide_event_for_each_attempt() -> None:
    """Telemetry follows the record, one event an attempt, and says what was decided."""
    async with bench(failing(1)) as b:
        endpoint = await b.endpoint()
        await b.publish()

        async with b.dispatcher:
            await b.until_states(DELIVERED)
            await b.until(lambda: len([t for t in b.told if isinstance(t, DeliveryAttempted)]) == 2)

        first, second = [told for told in b.told if isinstance(told, DeliveryAttempted)]
        assert ("transient", "http_503", "retry") == (first.outcome, first.reason, first.decision)
        assert ("accepted", None, "complete") == (second.outcome, second.reason, second.decision)
        assert (endpoint.id, "webhook", 2) == (second.subscriber_id, second.lane, second.attempt)
        assert first.due_in is not None
        assert second.due_in is None


@pytest.mark.parametrize(
    "settings",
    [
        {"lease": timedelta(seconds=39)},
        {"batch": 0},
        {"batch": 10, "prefetch": 9},
        {"idempotency_window": timedelta(hours=23)},
        {"roles": frozenset({"plan", "dance"})},
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, object]) -> None:
    """A lease shorter than an attempt, and other traps, are errors at start-up."""
    with pytest.raises(ConfigurationError):
        DispatchSettings(**settings)  # type: ignore[arg-type]


async def test_wiring_that_cannot_work_is_refused() -> None:
    """Two channels of one name, or none at all, are errors."""
    async with bench() as b:
        with pytest.raises(ConfigurationError, match="same name"):
            b.kit.dispatcher([ScriptedChannel(), ScriptedChannel()])
        with pytest.raises(ConfigurationError, match="at least one"):
            b.kit.dispatcher([])


async def test_a_record_that_cannot_be_written_does_not_hold_up_the_others() -> None:
    """The store refuses one result; its neighbours are written, and it is told of."""
    async with bench() as b:
        await b.endpoint()
        record = b.kit.store.record

        async def picky(records: Sequence[Record]) -> set[str]:
            if any(one.delivery_id == poison for one in records):
                raise ValueRefusedError("this one cannot be stored")
            return await record(records)

        b.channel.gate = asyncio.Event()
        for _ in range(5):
            await b.publish()
        b.kit.store.record = picky  # type: ignore[method-assign]

        async with b.dispatcher:
            await b.until_leased(5)
            poison = b.channel.sent[2].delivery_id
            b.channel.gate.set()
            await b.until_states(DELIVERED, count=4)
            await b.until(lambda: any(isinstance(told, LoopFailed) for told in b.told))

        (told,) = [told for told in b.told if isinstance(told, LoopFailed)]
        assert told.error.startswith(poison)


async def test_a_subscriber_that_raises_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    """What listens to telemetry cannot stop deliveries."""
    async with bench() as b:
        b.dispatcher._subscribers = (lambda told: 1 / 0,)  # type: ignore[assignment]
        await b.endpoint()
        await b.publish()

        async with b.dispatcher:
            await b.until_states(DELIVERED)
            await b.until(lambda: "a telemetry subscriber failed" in caplog.text)


async def test_a_duty_that_fails_unexpectedly_is_tried_again() -> None:
    """A bug in one turn of a loop does not end the dispatcher."""
    async with bench() as b:
        await b.endpoint()
        take = b.kit.store.take
        failures = [ValueError("unforeseen")]

        async def buggy(*args: object, **options: object) -> object:
            if failures:
                raise failures.pop()
            return await take(*args, **options)  # type: ignore[arg-type]

        b.kit.store.take = buggy  # type: ignore[method-assign,assignment]
        await b.publish()

        async with b.dispatcher:
            await b.until_states(DELIVERED)

        assert ["ValueError: unforeseen"] == [told.error for told in b.told if isinstance(told, LoopFailed)]
