"""Endpoints that accept a connection and never answer cost other tenants nothing once their deliveries are parked.

In virtual time: the figures are the same each time.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import attrs

from notifykit import DispatchSettings, Event, Notifykit
from notifykit.models.delivery import Claim
from notifykit.models.destination import Destination
from notifykit.models.outcome import Accepted, Outcome, Transient
from tests import report

from .model.virtual import VirtualClock, run_virtual

SILENT, BURST, LIMIT = 150, 10, 0.25
#: Seconds after which every silent endpoint counts as failing; how long the test goes on; between two bursts.
PARKED, END, EVERY = 90, 180, 30


@attrs.define
class SilentEndpoints:
    """A channel on which one tenant's endpoints time out, a little apart, and all others answer at once.

    Attributes:
        waits: For each delivery of the other tenant: when it was sent, and how long after its event was published.
        open: How many attempts are open now.
    """

    name: str = "webhook"
    waits: list[tuple[float, float]] = attrs.field(factory=list)
    open: int = 0

    async def send(self, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        if claim.tenant == "healthy":
            self.waits.append((asyncio.get_running_loop().time(), (now - claim.published_at).total_seconds()))
            return Accepted()
        self.open += 1
        await asyncio.sleep(destination.timeout.total_seconds() + 0.01 * int(destination.address.rpartition("/")[2]))
        self.open -= 1
        return Transient(reason="timeout")

    async def aclose(self) -> None:
        """Hold nothing."""


async def longest_wait(clock: VirtualClock) -> tuple[float, int]:
    """Publish bursts for the silent endpoints and a steady stream for the healthy one.

    Returns:
        The longest wait of the healthy tenant after the silent endpoints were parked, in seconds, and the most
        attempts that were open to them.
    """
    channel = SilentEndpoints()
    most_open = 0
    async with Notifykit("memory://", clock=clock) as kit:
        await kit.subscribe("**", tenant="healthy", endpoint="https://203.0.114.7/")
        for number in range(SILENT):
            await kit.subscribe("**", tenant="silent", endpoint=f"https://203.0.114.9/{number}")
        async with kit.dispatcher([channel], DispatchSettings(grace=timedelta(milliseconds=1))):
            for second in range(END):
                if second % EVERY == 0:
                    burst = [Event(type="report.made", data={"n": n}) for n in range(BURST)]
                    await kit.apublish_many(burst, tenant="silent")
                await kit.apublish(Event(type="order.paid", data={}), tenant="healthy")
                await asyncio.sleep(1)
                most_open = max(most_open, channel.open if second >= PARKED else 0)
    return max(waited for at, waited in channel.waits if at >= PARKED), most_open


def test_probes_of_silent_endpoints_delay_no_other_tenant(request):
    """150 failing endpoints with a backlog each: a healthy tenant's events are sent within 250 ms."""
    waited, most_open = run_virtual(1, longest_wait)

    report.note(request.node.name, longest_wait_ms=round(waited * 1000, 1), probes_open=most_open)
    assert waited <= LIMIT
    assert most_open >= SILENT / 2  # the probes do happen
    assert most_open <= SILENT
