"""One endpoint's, tenant's or record's fault never ends a round for the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from notifykit import DispatchSettings, Endpoint, Event, RateLimit, StoreError, StoreUnavailableError
from notifykit.errors import ValueRefusedError
from notifykit.models.delivery import Claim, DeliveryState
from notifykit.models.destination import Destination, destination_of
from notifykit.models.outcome import (
    Accepted,
    Answer,
    BadRecipient,
    Permanent,
    Throttled,
    Transient,
    Unsent,
    outcome_problem,
    recordable,
)
from notifykit.policies.circuits import IN_A_ROW
from notifykit.ports import DeliveryFilter, Move
from notifykit.stores.memory import MemoryStore
from notifykit.telemetry import ChannelFailed, LoopFailed
from notifykit.testing import FakeClock
from notifykit.testing.suites.store.steps import is_planned

from .support import TENANT, Bench, bench

OTHER = "globex"
DELIVERED = DeliveryState.DELIVERED


def failing_for(monkeypatch: pytest.MonkeyPatch, method: str, bad: Any, error: Exception | None = None) -> None:
    """Let a verb of the store fail whenever one of its arguments is ``bad``, or has it as its tenant or id."""
    verb = getattr(MemoryStore, method)

    async def failing(store: MemoryStore, *arguments: Any, **options: Any) -> Any:
        each_of = [one for each in arguments for one in (each if isinstance(each, list) else [each])]
        fields = ("tenant", "key", "endpoint_id")
        named = [(each, *(getattr(each, field, None) for field in fields)) for each in each_of]
        if any(bad in names for names in named):
            raise error or ValueError("cannot be read")
        return await verb(store, *arguments, **options)

    monkeypatch.setattr(MemoryStore, method, failing)


def failures(b: Bench) -> set[str]:
    return {told.loop for told in b.told if isinstance(told, LoopFailed)}


async def subscribed(b: Bench, tenant: str, **options: Any) -> Endpoint:
    _, endpoint = await b.kit.subscribe("**", tenant=tenant, endpoint="https://203.0.114.7/hooks", **options)
    return endpoint


async def test_a_tenant_that_cannot_be_read_does_not_keep_others_from_being_planned(monkeypatch):
    """Its events wait for their leases to run out; those of the same batch go on."""
    failing_for(monkeypatch, "load_tenants", OTHER)
    async with bench() as b:
        await subscribed(b, TENANT)
        await subscribed(b, OTHER)
        for _ in range(3):
            await b.publish(tenant=OTHER)
            await b.publish()

        await b.dispatcher.step()

        assert 3 == len(await b.deliveries(DELIVERED))
        assert {"plan"} == failures(b)


async def test_an_event_that_cannot_be_read_does_not_keep_others_from_being_planned():
    """A damaged body stops nobody else, not even of the same tenant."""
    async with bench() as b:
        await subscribed(b, TENANT, filter={"n": [1]})
        damaged = await b.publish()
        await b.publish()
        store: Any = b.kit.store
        unplanned = store._tables.outbox[damaged]
        unplanned.event = unplanned.event._replace(body=b"{")

        await b.dispatcher.step()

        assert 1 == len(await b.deliveries(DELIVERED))
        assert {"plan"} == failures(b)


async def test_a_plan_that_the_store_refuses_does_not_keep_others_from_being_written(monkeypatch):
    """Its event waits for its lease to run out; those of the same batch are planned."""
    settle = MemoryStore.settle
    refused = []

    async def refusing(store: MemoryStore, settlements: Any, **options: Any) -> Any:
        if any(settlement.event_id in refused for settlement in settlements):
            raise ValueRefusedError("no such value")
        return await settle(store, settlements, **options)

    monkeypatch.setattr(MemoryStore, "settle", refusing)
    async with bench() as b:
        planner = b.kit.dispatcher([], DispatchSettings(roles=frozenset({"plan"})))
        await subscribed(b, TENANT)
        events = [await b.publish() for _ in range(5)]
        refused.append(events[2])

        await planner.step()

        assert {*events} - {*refused} == {delivery.event_id for delivery in await b.deliveries()}
        assert {"plan"} == failures(b)
        assert not await is_planned(b.kit.store, TENANT, events[2])


async def test_a_tenant_that_cannot_be_read_does_not_keep_others_from_being_claimed(monkeypatch):
    """Its deliveries are put back for a while, and nothing is counted."""
    clock = FakeClock(datetime.now(UTC))
    async with bench(lambda claim: Transient(reason="http_503"), clock=clock) as b:
        for tenant in (TENANT, OTHER):
            await subscribed(b, tenant)
            await b.publish(tenant=tenant)
        await b.dispatcher.step()
        sent = len(b.channel.sent)
        clock.advance(timedelta(minutes=1))
        failing_for(monkeypatch, "load_tenants", OTHER)
        b.dispatcher._directory.forget(OTHER)

        await b.dispatcher.step()

        retried = b.channel.sent[sent:]
        (waiting,) = await b.deliveries(tenant=OTHER)
        assert {TENANT} == {claim.tenant for claim in retried}
        assert (DeliveryState.PENDING, 1, 0) == (waiting.state, waiting.attempts, waiting.abandoned)
        assert {"claim webhook"} == failures(b)


async def test_a_database_that_is_away_is_no_tenants_fault(monkeypatch):
    """Then nothing goes on, and the duty says so."""
    failing_for(monkeypatch, "load_tenants", OTHER, StoreUnavailableError("away"))
    async with bench() as b:
        await subscribed(b, OTHER)
        await b.publish(tenant=OTHER)

        with pytest.raises(StoreUnavailableError):
            await b.dispatcher.step()


async def test_a_bucket_that_fails_does_not_keep_tokens_from_others(monkeypatch):
    """Each endpoint with a rate limit draws for itself."""
    async with bench() as b:
        bad = await subscribed(b, OTHER, rate_limit=RateLimit(per_second=1000, burst=10))
        await subscribed(b, TENANT, rate_limit=RateLimit(per_second=1000, burst=10))
        failing_for(monkeypatch, "acquire", bad.id)
        for _ in range(3):
            await b.publish(tenant=OTHER)
            await b.publish()

        async with b.dispatcher:
            await b.until_states(DELIVERED, count=3)

        assert "refill" in failures(b)
        assert not await b.deliveries(DELIVERED, tenant=OTHER)


async def test_the_health_of_one_endpoint_does_not_hide_that_of_others(monkeypatch):
    """What cannot be written is tried again, after the others."""
    clock = FakeClock(datetime.now(UTC))
    async with bench(clock=clock) as b:
        bad, good = await subscribed(b, OTHER), await subscribed(b, TENANT)
        circuits = b.dispatcher._circuits
        failing_for(monkeypatch, "save_circuit", bad.id)
        for endpoint in (bad, good):
            for _ in range(IN_A_ROW):
                circuits.note(destination_of(endpoint), Transient(reason="http_503"), clock.now())

        await circuits.refresh()

        assert [good.id] == [circuit.key for circuit in await b.kit.store.circuits()]
        assert {"circuits"} == failures(b)
        assert circuits.circuit(bad.id) is not None


@asynccontextmanager
async def answering(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Bench, list[Endpoint], list[str]]]:
    """Let the probes of three failing endpoints be answered, the second of another tenant; note which are woken."""
    clock = FakeClock(datetime.now(UTC))
    woken: list[str] = []
    move = MemoryStore.move

    async def noted(store: MemoryStore, tenant: str, wanted: DeliveryFilter, to: Move, **options: Any) -> int:
        if to is Move.WAKE and wanted.subscriber_id is not None:
            woken.append(wanted.subscriber_id)
        return await move(store, tenant, wanted, to, **options)

    monkeypatch.setattr(MemoryStore, "move", noted)
    async with bench(clock=clock) as b:
        endpoints = [await subscribed(b, tenant) for tenant in (TENANT, OTHER, TENANT)]
        circuits = b.dispatcher._circuits
        for endpoint in endpoints:
            for _ in range(IN_A_ROW):
                circuits.note(destination_of(endpoint), Transient(reason="http_503"), clock.now())
        await circuits.refresh()
        clock.advance(timedelta(minutes=1))
        for endpoint in endpoints:
            circuits.note(destination_of(endpoint), Accepted(), clock.now())
        yield b, endpoints, woken


async def test_an_endpoint_that_cannot_be_woken_does_not_keep_others_parked(monkeypatch):
    """What was parked behind the probes of the others follows them."""
    async with answering(monkeypatch) as (b, (first, bad, last), woken):
        failing_for(monkeypatch, "move", bad.tenant)

        await b.dispatcher._circuits.refresh()

        assert {first.id, last.id} == {*woken}
        assert {"circuits"} == failures(b)


async def test_an_endpoint_not_woken_while_the_database_was_away_is_woken_later(monkeypatch):
    """It is no endpoint's fault: each is woken at the next look."""
    async with answering(monkeypatch) as (b, endpoints, woken):
        with monkeypatch.context() as patch:
            failing_for(patch, "move", OTHER, StoreUnavailableError("away"))
            with pytest.raises(StoreUnavailableError):
                await b.dispatcher._circuits.refresh()
        await b.dispatcher._circuits.refresh()

        assert sorted(endpoint.id for endpoint in endpoints) == sorted(woken)


async def test_an_endpoint_that_cannot_be_disabled_does_not_keep_others(monkeypatch):
    """Each is disabled for itself, and a fault of one does not end the dispatcher."""
    async with bench(lambda claim: BadRecipient(reason="http_410")) as b:
        bad, good = await subscribed(b, OTHER), await subscribed(b, TENANT)
        failing_for(monkeypatch, "get", OTHER)
        await b.publish(tenant=OTHER)
        await b.publish()

        async with b.dispatcher:
            async with asyncio.timeout(10):
                while (await b.kit.endpoints.get(good.id, tenant=TENANT)).state_reason != "http_410":
                    await asyncio.sleep(0.02)
            await b.until(lambda: "invalidate" in failures(b))
            await b.publish(tenant=TENANT)

        assert bad.id != good.id


@pytest.mark.parametrize(
    ("outcome", "problem"),
    [
        (None, "an Outcome is needed, not None"),
        (200, "an Outcome is needed, not int"),
        (Accepted(answer=None), "answer: must be an Answer, not None"),  # type: ignore[arg-type]
        (Accepted(answer=Answer(body="ok")), "answer.body: must be bytes, not str"),  # type: ignore[arg-type]
        (Accepted(answer=Answer(status=2**31)), "answer.status: between 0 and 2147483647, got 2147483648"),
        (Permanent(reason=5), "reason: must be text, not int"),  # type: ignore[arg-type]
        (Throttled(reason="slow", retry_after=5), "retry_after: must be a timedelta, not int"),  # type: ignore[arg-type]
        (Transient(reason="x", circuit="open"), "circuit: must be a CircuitEffect, not str"),  # type: ignore[arg-type]
        (Unsent(reason="template_failed", hold=5), "hold: must be a timedelta, not int"),  # type: ignore[arg-type]
    ],
)
async def test_an_outcome_that_no_store_can_keep_is_the_channels_bug(outcome, problem):
    """The attempt counts as transient, the lane goes on, and telemetry says what was wrong."""
    answers = iter([outcome])
    async with bench(lambda claim: next(answers, Accepted())) as b:
        await b.endpoint()
        await b.publish()

        async with b.dispatcher:
            await b.until_states(DELIVERED)

        (delivery,) = await b.deliveries()
        first, _ = await b.kit.deliveries.attempts(delivery.id, tenant=TENANT)
        assert ("transient", "channel_error") == (first.outcome, first.reason)
        assert [problem] == [told.error for told in b.told if isinstance(told, ChannelFailed)]


@pytest.mark.parametrize("outcome", [Accepted(), Accepted(answer=Answer(status=200)), Throttled(reason="http_429")])
def test_a_sound_outcome_is_recorded(outcome):
    """As what it is."""
    assert outcome_problem(outcome) is None
    assert outcome is recordable(outcome)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("no\0 such\nuser", "no\\x00 such\\nuser"),
        ("half \ud800", "half \\ud800"),
        ("x" * 5000, "x" * 200),
        ("\0" * 500, "\\x00" * 50),
    ],
)
def test_a_reason_is_kept_in_a_form_that_every_store_takes(said, kept):
    """It may repeat what a provider said; the outcome stays what it is."""
    assert Permanent(reason=kept) == recordable(Permanent(reason=said))


@pytest.mark.interpreted  # puts itself into the place of a method
async def test_a_delivery_that_meets_what_nobody_foresaw_is_put_back(monkeypatch):
    """The lane that sends goes on with the next one."""
    async with bench() as b:
        await subscribed(b, TENANT)
        await subscribed(b, OTHER)
        sender = b.dispatcher._senders[1]
        deliver = type(sender)._deliver

        async def failing(self: Any, claim: Claim) -> None:
            if claim.tenant == OTHER:
                raise LookupError("unforeseen")
            await deliver(self, claim)

        monkeypatch.setattr(type(sender), "_deliver", failing)
        await b.publish(tenant=OTHER)
        await b.publish()

        async with b.dispatcher:
            await b.until_states(DELIVERED)
            await b.until(lambda: "send webhook" in failures(b))

        (waiting,) = await b.deliveries(tenant=OTHER)
        assert (DeliveryState.PENDING, 0) == (waiting.state, waiting.attempts)


@pytest.mark.interpreted  # puts itself into the place of a method
async def test_leases_of_other_pages_are_prolonged(monkeypatch):
    """A page of leases that cannot be prolonged takes no other page with it."""
    async with bench() as b:
        janitor = b.dispatcher._janitor
        monkeypatch.setattr("notifykit.dispatch.maintenance.janitor._PAGE", 1)
        await b.endpoint()
        b.channel.gate = asyncio.Event()
        for _ in range(2):
            await b.publish()
        async with b.dispatcher:
            await b.until_leased(2)
            asked: list[str] = []

            async def extend(store: MemoryStore, claims: list[tuple[str, int]], *, until: datetime) -> set[str]:
                asked.append(claims[0][0])
                if len(asked) == 1:
                    raise StoreError("refused")
                return {id_ for id_, _ in claims}

            monkeypatch.setattr(MemoryStore, "extend", extend)
            monkeypatch.setattr(type(janitor.leases), "until", lambda self, claim: datetime(2000, 1, 1, tzinfo=UTC))
            with pytest.raises(StoreError, match="refused"):
                await janitor.extend()
            monkeypatch.undo()
            b.channel.gate.set()

        assert 2 == len(set(asked))


async def test_every_channel_is_closed():
    """A channel that fails as it is closed does not keep the others open."""
    async with bench() as b:
        b.channel.name = "other"

        class Broken:
            name = "webhook"

            async def send(self, claim: Claim, destination: Destination, *, now: datetime) -> Accepted:
                return Accepted()

            async def aclose(self) -> None:
                raise OSError("stuck")

        async with b.kit.dispatcher([Broken(), b.channel]):
            pass

        assert b.channel.closed
        assert {"close webhook"} == failures(b)


async def test_publishing_is_not_part_of_this():
    """An event that is refused is refused alone; what is published beside it is stored."""
    async with bench() as b:
        good = b.kit.apublish(Event(type="a.b", data={}), tenant=TENANT)
        bad = b.kit.apublish(Event(type="a.b", data={"x": b""}), tenant=TENANT)

        stored, refused = await asyncio.gather(good, bad, return_exceptions=True)

        assert not isinstance(stored, BaseException)
        assert isinstance(refused, ValueError)
