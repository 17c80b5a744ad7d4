"""A dispatcher on the memory store with a channel that does what the test says."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import attrs

from notifykit import DispatchSettings, Endpoint, Event, Notifykit, RetryPolicy
from notifykit.dispatch.context import Context
from notifykit.dispatch.runtime.dispatcher import Dispatcher
from notifykit.models.delivery import Claim, Delivery, DeliveryState
from notifykit.models.destination import Destination
from notifykit.models.outcome import Accepted, Outcome, Transient
from notifykit.ports import Clock, DeliveryFilter
from notifykit.telemetry import TelemetryEvent

TENANT = "acme"
QUICK = RetryPolicy(delays=(timedelta(milliseconds=5),) * 3, jitter=0)


def context(store: object, *, clock: Clock, emit: Callable[[TelemetryEvent], None], **settings: Any) -> Context:
    """Return what a part of the engine gets that is tried by itself, on a store that needs not have all verbs."""
    return Context(
        store=store,  # type: ignore[arg-type]
        clock=clock,
        rng=random.random,
        emit=emit,
        worker="worker-1",
        settings=DispatchSettings(**settings),
    )


@attrs.define
class ScriptedChannel:
    """Answers as ``script`` says and remembers every claim it was given."""

    script: Callable[[Claim], Outcome] = lambda claim: Accepted()
    name: str = "webhook"
    sent: list[Claim] = attrs.field(factory=list)
    gate: asyncio.Event | None = None
    open: int = 0
    most_open: int = 0
    closed: bool = False

    async def send(self, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        self.sent.append(claim)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            if self.gate is not None:
                await self.gate.wait()
            return self.script(claim)
        finally:
            self.open -= 1

    async def aclose(self) -> None:
        self.closed = True


@attrs.define
class Bench:
    """A kit, its dispatcher and what they were seen to do."""

    kit: Notifykit
    dispatcher: Dispatcher
    channel: ScriptedChannel
    told: list[TelemetryEvent]

    async def endpoint(self, pattern: str | list[str] = "**", **options: object) -> Endpoint:
        """Subscribe a new endpoint."""
        made: dict[str, Any] = {"tenant": TENANT, "endpoint": "https://203.0.114.7/hooks", "retry": QUICK, **options}
        _, endpoint = await self.kit.subscribe(pattern, **made)
        return endpoint

    async def publish(self, type: str = "order.paid", tenant: str = TENANT, **options: object) -> str:
        """Publish an event and return its id."""
        receipt = await self.kit.apublish(Event(type=type, data={"n": 1}, **options), tenant=tenant)  # type: ignore[arg-type]
        return receipt.event_id

    async def deliveries(self, *states: DeliveryState, tenant: str = TENANT) -> list[Delivery]:
        """Return the tenant's deliveries in these states (in any, if none is given)."""
        wanted = DeliveryFilter(states=frozenset(states) or None)
        return list(await self.kit.deliveries.list(wanted, tenant=tenant, limit=1000))

    async def until(self, condition: Callable[[], object], seconds: float = 60.0) -> None:
        """Wait until ``condition`` holds."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "the condition did not come true in time"
            await asyncio.sleep(0.002)

    async def until_leased(self, count: int = 1) -> None:
        """Wait until ``count`` attempts are under way and leased one by one."""
        await self.until(lambda: self.channel.open == count)
        await self.until_states(DeliveryState.SENDING, count=count)
        await self.until(lambda: len(self.dispatcher._leases.held) == count)

    async def until_states(self, *states: DeliveryState, count: int = 1, seconds: float = 60.0) -> list[Delivery]:
        """Wait until ``count`` deliveries are in one of these states and return them."""
        end = time.monotonic() + seconds
        while len(found := await self.deliveries(*states)) < count:
            assert time.monotonic() < end, f"only {len(found)} of {len(await self.deliveries())}"
            await asyncio.sleep(0.002)
        return found


@asynccontextmanager
async def bench(
    script: Callable[[Claim], Outcome] | None = None,
    *,
    url: str = "memory://",
    clock: Clock | None = None,
    **settings: object,
) -> AsyncIterator[Bench]:
    """Open a kit with a dispatcher that is not running yet."""
    channel = ScriptedChannel(script or (lambda claim: Accepted()))
    told: list[TelemetryEvent] = []
    async with Notifykit(url, clock=clock, subscribers=[told.append]) as kit:
        options = {"poll": timedelta(milliseconds=50), "grace": timedelta(seconds=5), **settings}
        dispatcher = kit.dispatcher([channel], DispatchSettings(**options))  # type: ignore[arg-type]
        yield Bench(kit, dispatcher, channel, told)


def failing(times: int, outcome: Outcome | None = None) -> Callable[[Claim], Outcome]:
    """Return a script that fails the first ``times`` attempts of each delivery."""
    seen: dict[str, int] = {}

    def script(claim: Claim) -> Outcome:
        seen[claim.delivery_id] = seen.get(claim.delivery_id, 0) + 1
        return (outcome or Transient(reason="http_503")) if seen[claim.delivery_id] <= times else Accepted()

    return script
