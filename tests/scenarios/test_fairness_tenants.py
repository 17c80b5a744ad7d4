"""Fairness between tenants: a fan-out to thousands of endpoints, and endpoints that never answer.

As in :mod:`tests.scenarios.test_fairness` one tenant's delay is compared with its own on a quiet
dispatcher: in virtual time with costs like those of SQLite on a small machine, and over real sockets.
"""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from typing import Any

import attrs
import pytest

from notifykit import DispatchSettings, Event, Notifykit
from notifykit.models.delivery import Claim
from notifykit.models.destination import Destination
from notifykit.models.outcome import Accepted, Outcome, Uncertain
from notifykit.stores.sql.sqlite import store as sqlite
from tests import report
from tests.machine import is_busy, resident

from .model.virtual import VirtualClock, run_virtual
from .neighbours import Neighbours
from .test_fairness import (
    LOUD,
    NOISY_FLOOR,
    QUIET,
    RATE,
    TRIES,
    CostlyStore,
    Disturb,
    Figures,
    assert_fair,
    measure,
    modules_set_aside,
    neighbourhood,
)

#: Seconds: what is never too much.  A fan-out is written in many short transactions, of which several may come first.
FLOOR = 0.010
TIMEOUT = 15.0


@attrs.define
class PatientChannel:
    """A channel whose endpoints answer the quiet tenant at once, others after 50 ms, and silent ones never."""

    name: str = "webhook"
    ages: list[float] = attrs.field(factory=list)
    open: int = 0
    most_open: int = 0

    async def send(self, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        if claim.tenant == QUIET:
            self.ages.append(asyncio.get_running_loop().time() - json.loads(claim.body)["data"]["sent"])
            await asyncio.sleep(0.002)
            return Accepted()
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await asyncio.sleep(TIMEOUT if "/silent/" in destination.address else 0.05)
        finally:
            self.open -= 1
        return Uncertain(reason="timeout") if "/silent/" in destination.address else Accepted()

    async def aclose(self) -> None:
        """Hold nothing."""


@attrs.define
class Load:
    """Tenants with endpoints, and events for them.

    Attributes:
        rounds: How often each tenant publishes ``events``, a second after the last time.
    """

    endpoints: int
    tenants: int
    events: int
    rounds: int
    path: str

    async def prepare(self, kit: Notifykit) -> None:
        """Subscribe the endpoints."""
        for number in range(self.endpoints):
            url = f"https://203.0.114.9/{self.path}/{number}"
            await kit.subscribe("**", tenant=f"{LOUD}-{number % self.tenants}", endpoint=url)

    async def disturb(self, kit: Notifykit) -> None:
        """Publish the events."""
        for _ in range(self.rounds):
            events = [
                Event(type="page.seen", data={"n": n}, tenant=f"{LOUD}-{tenant}")
                for tenant in range(self.tenants)
                for n in range(self.events)
            ]
            for at in range(0, len(events), 50):
                await kit.apublish_many(events[at : at + 50])
                await asyncio.sleep(0.005)
            await asyncio.sleep(1)


def compare(load: Load, seconds: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Figures, PatientChannel]:
    """Return what the quiet tenant sees without and with a load, from its first second on."""
    monkeypatch.setattr(sqlite, "CHECK_EVERY", 10.0)  # nobody else writes to a database in memory
    channel = PatientChannel()

    async def measure(kit: Notifykit, count: int) -> float:
        channel.ages.clear()
        loop = asyncio.get_running_loop()
        published = []
        for _ in range(count):
            event = Event(type="order.paid", data={"sent": loop.time()})
            published.append(asyncio.create_task(kit.apublish(event, tenant=QUIET)))
            await asyncio.sleep(1 / RATE)
        await asyncio.gather(*published)
        while len(channel.ages) < count:
            await asyncio.sleep(0.01)
        return sorted(channel.ages)[int(count * 0.99)]

    async def main(clock: VirtualClock) -> Figures:
        store = CostlyStore()
        await store.open()
        async with Notifykit(store=store, clock=clock) as kit:
            await kit.subscribe("**", tenant=QUIET, endpoint="https://203.0.114.7/")
            await load.prepare(kit)
            settings = DispatchSettings(grace=timedelta(milliseconds=1), max_unproven=4096)
            async with kit.dispatcher([channel], settings):
                quiet = await measure(kit, 2 * RATE)
                disturbing = asyncio.ensure_future(load.disturb(kit))
                disturbed = await measure(kit, seconds * RATE)
                disturbing.cancel()
                await asyncio.gather(disturbing, return_exceptions=True)
        return Figures(quiet, disturbed)

    return run_virtual(1, main), channel


@pytest.mark.parametrize(
    "endpoints", [150, pytest.param(1500, marks=pytest.mark.thorough)], ids=["150_endpoints", "1500_endpoints"]
)
def test_a_fan_out_of_one_tenant_delays_no_other(endpoints, monkeypatch, request):
    """14 events to each of a tenant's endpoints are written and sent beside the events of another tenant."""
    load = Load(endpoints=endpoints, tenants=1, events=14, rounds=1, path="quick")

    figures, _ = compare(load, 4, monkeypatch)

    report.note(request.node.name, **figures.in_milliseconds())
    assert figures.fair(FLOOR), figures


@pytest.mark.parametrize(
    ("endpoints", "tenants", "seconds"),
    [
        (8, 8, 4),
        (8, 1, 4),
        pytest.param(150, 150, 20, marks=pytest.mark.thorough),
        pytest.param(150, 1, 20, marks=pytest.mark.thorough),
        pytest.param(10_000, 10_000, 30, marks=pytest.mark.soak),
        pytest.param(10_000, 1, 30, marks=pytest.mark.soak),
    ],
)
def test_endpoints_that_never_answer_delay_no_other(endpoints, tenants, seconds, monkeypatch, request):
    """An attempt that takes long leaves its place to others, and unproven destinations have a part of the room."""
    rounds = 1 if endpoints >= 10_000 else 30
    load = Load(endpoints=endpoints, tenants=tenants, events=64 if endpoints == 8 else 1, rounds=rounds, path="silent")

    figures, channel = compare(load, seconds, monkeypatch)

    report.note(request.node.name, most_open=channel.most_open, **figures.in_milliseconds())
    assert figures.fair(FLOOR), figures
    assert channel.most_open <= 4096 // 2 + 384


# -- over real sockets -----------------------------------------------------------------------------


def fan_out(endpoints: int, events: int) -> Disturb:
    """Publish events for a tenant with so many endpoints."""

    async def fanning_out(kit: Notifykit) -> None:
        (endpoint,) = await kit.endpoints.list(tenant=LOUD, limit=1)
        if len(await kit.endpoints.list(tenant=LOUD, limit=2)) == 1:
            for number in range(endpoints - 1):
                await kit.subscribe("**", tenant=LOUD, endpoint=f"{endpoint.url}/{number}")
        await kit.apublish_many([Event(type="page.seen", data={"n": n}) for n in range(events)], tenant=LOUD)

    return fanning_out


@pytest.mark.alone
@pytest.mark.thorough
async def test_a_fan_out_delays_nobody_else_over_sockets(store_url, request):
    """The same with a real receiver: 14 events to 300 endpoints of one tenant."""
    await assert_fair(store_url, fan_out(300, 14), seconds=3, name=request.node.name)


async def silent_from_the_first_second(url: str, endpoints: int, tenants: int, seconds: float) -> dict[str, Any]:
    """Return what the quiet tenant sees beside endpoints that accept a connection and never answer."""
    with Neighbours() as neighbours, modules_set_aside():
        async with neighbourhood(url, neighbours) as kit:
            await measure(kit, neighbours, 0.5)
            numbers = range(endpoints)
            for at in range(0, endpoints, 100):
                await asyncio.gather(*[
                    kit.subscribe(
                        "**",
                        tenant=f"{LOUD}-{number % tenants}",
                        endpoint=f"http://127.{1 + number // 62_500}.{number // 250 % 250}.{1 + number % 250}"
                        f":{neighbours.port}/silent",
                    )
                    for number in numbers[at : at + 100]
                ])  # fmt: skip
            quiet = await measure(kit, neighbours, seconds)
            before = resident()

            async def publish() -> None:
                for at in range(0, tenants, 50):
                    some = range(at, min(at + 50, tenants))
                    await kit.apublish_many([Event(type="a.b", data={}, tenant=f"{LOUD}-{t}") for t in some])
                    await asyncio.sleep(0.005)

            publishing = asyncio.ensure_future(publish())
            try:
                figures = Figures(quiet, await measure(kit, neighbours, seconds))
            finally:
                publishing.cancel()
                await asyncio.gather(publishing, return_exceptions=True)
            return {"figures": figures, "grown_mb": resident() - before}


@pytest.mark.alone
@pytest.mark.parametrize("store_url", ["sqlite", "postgres"], indirect=True)  # on MySQL workers poll
@pytest.mark.parametrize(
    ("endpoints", "tenants", "seconds"),
    [
        pytest.param(500, 500, 5, marks=pytest.mark.thorough),
        pytest.param(10_000, 10_000, 40, marks=pytest.mark.soak),
        pytest.param(10_000, 1, 40, marks=pytest.mark.soak),
    ],
)
async def test_silent_endpoints_delay_nobody_else_over_sockets(store_url, endpoints, tenants, seconds, request):
    """The same with real connections, each endpoint at an address of its own, in flat memory."""
    if is_busy():
        pytest.skip("this machine is busy with other things: its delays would be measured, not ours")
    tries: list[Figures] = []
    most = 1 if endpoints >= 10_000 else TRIES  # what so many left behind would disturb the next try
    while not (tries and tries[-1].fair(NOISY_FLOOR)) and len(tries) < most:
        found = await silent_from_the_first_second(store_url, endpoints, tenants, seconds)
        tries.append(found["figures"])
    best = min(tries, key=lambda figures: figures.ratio)
    report.note(request.node.name, tries=len(tries), grown_mb=found["grown_mb"], **best.in_milliseconds())
    assert best.fair(NOISY_FLOOR), f"p99 quiet and disturbed, in seconds: {[attrs.astuple(t) for t in tries]}"
    assert found["grown_mb"] < 150
