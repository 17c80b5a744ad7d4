"""A process with few files that sends to receivers of another: ``python -m tests.unit.channels.starved``.

Takes the case, the transport, the event loop and the port of a receiver that listens on every
address of the loopback, and prints the result as one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from collections import Counter
from collections.abc import Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

from notifykit import DeliveryFilter, DeliveryState, EgressRules, Event, Notifykit
from notifykit.channels.webhook import Guard, Limits, WebhookChannel, Wire, WireError
from notifykit.channels.webhook.httpx_transport import HttpxTransport
from notifykit.telemetry import SendingPaused
from tests.unit.channels.receivers import NOW, local_guard, make_claim, make_destination

TENANT = "acme"
DELIVERED = DeliveryFilter(states=frozenset({DeliveryState.DELIVERED}))


def allow_files(more: int) -> None:
    """Let this process open so many files beside those that it has open."""
    highest = max(int(file.name) for file in Path("/dev/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + more, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def take_all_files() -> list[int]:
    """Open files until there are no more."""
    taken = []
    while True:
        try:
            taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return taken


def url(number: int, port: int) -> str:
    """Return the URL of one of many origins."""
    return f"http://127.0.0.{1 + number % 120}:{port}/hook"


def make_channel(transport: str, limits: Limits | None) -> WebhookChannel:
    guard = local_guard()
    made = Wire(guard, limits=limits) if transport == "wire" else HttpxTransport(guard, limits=limits)
    return WebhookChannel(guard=guard, transport=made)


async def send_round(channel: WebhookChannel, port: int, count: int) -> Counter[str]:
    """Make so many attempts at once, each to another origin; count the outcomes."""
    there = [make_destination(url(n, port), id=f"end_{n}", timeout=timedelta(seconds=10)) for n in range(count)]
    outcomes = await asyncio.gather(*[channel.send(make_claim(), destination, now=NOW) for destination in there])
    return Counter(f"{type(outcome).__name__}:{getattr(outcome, 'reason', '')}" for outcome in outcomes)


async def within(transport: str, port: int) -> object:
    """The limit equals the free files: rounds through more origins than that get one each time."""
    await send_round(make_channel(transport, None), port, 1)
    allow_files(48)
    channel = make_channel(transport, Limits(connections=40))
    found = Counter[str]()
    for _ in range(3):
        found += await send_round(channel, port, 120)
    await channel.aclose()
    return found


async def beyond(transport: str, port: int) -> object:
    """The limit is higher than the free files: idle connections are closed, busy ones waited for."""
    await send_round(make_channel(transport, None), port, 1)
    allow_files(24)
    channel = make_channel(transport, Limits(connections=10_000))
    found = Counter[str]()
    for _ in range(3):
        found += await send_round(channel, port, 120)
    await channel.aclose()
    return found


async def lookup(transport: str, port: int) -> object:
    """There is no file for a lookup."""
    guard = Guard()
    allow_files(8)
    taken = take_all_files()
    try:
        await guard.vet("hooks.example.com", 443)
    except WireError as error:
        return [error.reason, error.own]
    finally:
        for file in taken:
            os.close(file)
    return "resolved"


async def trust(transport: str, port: int) -> object:
    """There is no file for the certificates of the authorities."""
    wire = Wire(local_guard())
    target = local_guard().parse(f"https://127.0.0.1:{port}/")
    allow_files(8)
    taken = take_all_files()
    try:
        await wire.post(target, b"", b"", timeout=5)
    except WireError as error:
        return [error.reason, wire._pool is not None and wire._pool._tls is None]
    finally:
        for file in taken:
            os.close(file)
        await wire.aclose()
    return "sent"


async def dispatch(transport: str, port: int) -> object:
    """A dispatcher whose process has no file left for a while, until it reports that."""
    told: list[object] = []
    rules = EgressRules(allow=["127.0.0.0/8"], allow_http=True, transport="httpx" if transport == "httpx" else "wire")
    async with Notifykit("memory://", egress=rules, subscribers=[told.append]) as kit:
        for number in range(4):
            await kit.subscribe("order.*", tenant=TENANT, endpoint=url(number, port))
        dispatcher = kit.dispatcher()
        allow_files(16)
        taken = take_all_files()
        for number in range(30):
            await kit.apublish(Event(type="order.shipped", data={"n": number}), tenant=TENANT)
        async with dispatcher, asyncio.timeout(60) as limit:
            while not any(isinstance(event, SendingPaused) for event in told):
                await asyncio.sleep(0.01)
            for file in taken:
                os.close(file)
            arrived = 0
            while arrived < 120:
                await asyncio.sleep(0.01)
                if arrived < (now := len(await kit.deliveries.list(DELIVERED, tenant=TENANT, limit=1000))):
                    arrived = now
                    limit.reschedule(asyncio.get_running_loop().time() + 60)  # as long as it goes on
            await dispatcher.drained()
        deliveries = await kit.deliveries.list(tenant=TENANT, limit=1000)
        paused = [event for event in told if isinstance(event, SendingPaused)]
        return {
            "states": Counter(delivery.state.value for delivery in deliveries),
            "attempts": Counter(delivery.attempts for delivery in deliveries),
            "failing": len(await kit.store.circuits()),
            "paused": sorted({event.reason for event in paused}),
        }


def main() -> None:
    case, transport, loop, port = sys.argv[1:]
    work: Coroutine[Any, Any, object] = globals()[case](transport, int(port))
    run: Any = asyncio.run
    if loop == "uvloop":
        import uvloop

        run = uvloop.run
    print(json.dumps(run(work)))


if __name__ == "__main__":
    main()
