"""Destinations that are no endpoints: eager sends, circuits of accounts, addresses that are gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import attrs

from notifykit import DispatchSettings, Event, Notifykit, RateLimit
from notifykit.dispatch.runtime.dispatcher import Dispatcher
from notifykit.models.delivery import Claim, Delivery, DeliveryState
from notifykit.models.destination import Destination
from notifykit.models.outcome import Accepted, BadRecipient, Outcome, Transient
from notifykit.policies.circuits import IN_A_ROW
from notifykit.ports import DeliveryFilter
from notifykit.telemetry import CircuitOpened, DeliveryNotSent, SubscriptionDisabled, TelemetryEvent
from notifykit.testing import FakeClock

from .support import QUICK, TENANT


@attrs.define
class Rooms:
    """A channel to rooms: what it makes of an address, and what it answers."""

    make: dict[str, object] = attrs.field(factory=dict)
    answer: Callable[[Claim], Outcome] = lambda _: Accepted()
    name: str = "toy"
    kit: Notifykit | None = None
    sent: list[tuple[str | None, Destination]] = attrs.field(factory=list)
    stored: list[int] = attrs.field(factory=list)

    def check_address(self, address: str) -> str:
        return address

    def destination(self, *, tenant: str, subscriber_id: str, address: str) -> Destination:
        given = {"retry": QUICK, **self.make}
        return Destination(tenant=tenant, subscriber_id=subscriber_id, channel=self.name, address=address, **given)  # type: ignore[arg-type]

    async def send(self, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        assert self.kit is not None
        self.sent.append((claim.address, destination))
        self.stored.append(len(await self.kit.store.find_deliveries(TENANT, DeliveryFilter(), limit=99)))
        return self.answer(claim)

    async def aclose(self) -> None:
        pass


@asynccontextmanager
async def rooms(
    channel: Rooms, *numbers: int, clock: FakeClock | None = None, **settings: object
) -> AsyncIterator[tuple[Notifykit, Dispatcher, list[TelemetryEvent]]]:
    """Open a kit whose tenant has subscribed these rooms."""
    told: list[TelemetryEvent] = []
    async with Notifykit("memory://", channels=[channel], subscribers=[told.append], clock=clock) as kit:
        channel.kit = kit
        for number in numbers:
            await kit.subscriptions.create(
                "order.*", tenant=TENANT, subscriber=f"room:{number}", channel="toy", address=f"toy:{number}"
            )
        yield kit, kit.dispatcher([channel], DispatchSettings(**settings)), told  # type: ignore[arg-type]


async def publish(kit: Notifykit, dispatcher: Dispatcher, times: int = 1) -> list[Delivery]:
    """Publish and deliver; return all deliveries."""
    for _ in range(times):
        await kit.apublish(Event(type="order.paid", data={}), tenant=TENANT)
        while await dispatcher.step():
            pass
    return list(await kit.deliveries.list(tenant=TENANT, limit=1000))


async def test_a_slow_channel_is_used_after_its_deliveries_are_stored() -> None:
    """Only what a channel says is fast is sent before its plan is written."""
    for is_fast, stored in ((False, [1]), (True, [0])):
        channel = Rooms({"is_fast": is_fast})
        async with rooms(channel, 5) as (kit, dispatcher, _):
            (delivery,) = await publish(kit, dispatcher)

        assert (DeliveryState.DELIVERED, "toy:5") == (delivery.state, delivery.address)
        assert stored == channel.stored


async def test_a_destination_is_made_once_and_within_the_dispatchers_bounds() -> None:
    """The channel is asked once for each address, and no attempt may take longer than the dispatcher allows."""
    channel = Rooms({"timeout": timedelta(minutes=9), "rate_limit": RateLimit(per_second=1000, burst=9)})
    async with rooms(channel, 5, 6, max_timeout=timedelta(seconds=2)) as (kit, dispatcher, _):
        await publish(kit, dispatcher, times=3)

    assert 6 == len(channel.sent)
    assert 2 == len({id(destination) for _, destination in channel.sent})
    assert {timedelta(seconds=2)} == {destination.timeout for _, destination in channel.sent}


async def test_accounts_share_a_circuit() -> None:
    """Failures of many addresses open one circuit, which holds all of them and is nobody's endpoint."""
    clock = FakeClock(datetime.now(UTC))
    channel = Rooms({"circuit_key": "toy:account"}, lambda _: Transient(reason="busy"))
    async with rooms(channel, *range(IN_A_ROW + 2), clock=clock) as (kit, dispatcher, told):
        await kit.subscribe("endpoint.*", tenant=TENANT, endpoint="https://203.0.114.7/hooks")
        await publish(kit, dispatcher)
        (circuit,) = await kit.store.circuits()
        sent = len(channel.sent)
        channel.answer = lambda _: Accepted()
        await kit.apublish(Event(type="order.paid", data={}), tenant=TENANT)
        while await dispatcher.step():
            pass
        held = await kit.deliveries.list(DeliveryFilter(states=["held"]), tenant=TENANT, limit=99)
        waited = len(channel.sent)
        for _ in range(20):
            clock.advance(timedelta(seconds=20))
            while await dispatcher.step():
                pass
        closed = await kit.store.circuits()
        left = await kit.deliveries.list(DeliveryFilter(states=["held", "pending"]), tenant=TENANT, limit=99)
        events = await kit.events.list(tenant=TENANT)

    assert ("toy:account", "", "busy") == (circuit.key, circuit.tenant, circuit.reason)
    assert ["toy:account"] == [one.key for one in told if isinstance(one, CircuitOpened)]
    assert {"provider_failing"} == {delivery.reason for delivery in held}
    assert sent == waited
    assert ([], []) == (closed, list(left))
    assert {"order.paid"} == {one.type for one in events}
    assert "endpoint_failing" not in {one.reason for one in told if isinstance(one, DeliveryNotSent)}


async def test_an_address_without_an_account_opens_no_circuit() -> None:
    """A dead mailbox says nothing about others."""
    channel = Rooms({}, lambda _: Transient(reason="busy"))
    async with rooms(channel, 5) as (kit, dispatcher, _):
        await publish(kit, dispatcher, times=2 * IN_A_ROW)

        assert [] == await kit.store.circuits()


async def test_an_address_that_is_gone_disables_its_subscriptions_only() -> None:
    """Others of the subscriber stay, and enabling one again forgets the reason."""
    channel = Rooms({}, lambda claim: BadRecipient(reason="gone") if claim.address == "toy:5" else Accepted())
    async with rooms(channel, 5) as (kit, dispatcher, told):
        other = await kit.subscriptions.create(
            "order.*", tenant=TENANT, subscriber="room:5", channel="toy", address="toy:5b"
        )
        await publish(kit, dispatcher)
        first, second = await kit.subscriptions.list(tenant=TENANT)
        again = await kit.subscriptions.update(first.id, tenant=TENANT, enabled=True)
        await asyncio.sleep(0)

    assert [(False, "gone"), (True, None)] == [(one.enabled, one.disabled_reason) for one in (first, second)]
    assert other.id == second.id
    assert (True, None) == (again.enabled, again.disabled_reason)
    assert [first.id] == [one.subscription_id for one in told if isinstance(one, SubscriptionDisabled)]
