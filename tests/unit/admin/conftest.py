"""A tenant with an endpoint, and receivers with scripted answers."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

import pytest

from notifykit import EgressRules, Event, Notifykit
from notifykit.models.delivery import WEBHOOK, Claim, Delivery
from notifykit.models.destination import Destination
from notifykit.models.outcome import Accepted, Outcome
from notifykit.testing import FakeClock

ACME = "acme"
URL = "http://127.0.0.1:8080/hooks"


class World:
    """Every receiver there is, and the dispatcher that delivers to them when :meth:`settles` is called.

    Attributes:
        answers: The next answers of an endpoint, by its id; it accepts when none is left.
        sent: The claims that were sent, in order.
    """

    name = WEBHOOK

    def __init__(self, kit: Notifykit) -> None:
        self.answers: dict[str, list[Outcome]] = defaultdict(list)
        self.sent: list[tuple[Claim, Destination]] = []
        self._kit = kit
        self._dispatcher = kit.dispatcher([self])

    async def send(self, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        self.sent.append((claim, destination))
        answers = self.answers[destination.subscriber_id]
        return answers.pop(0) if answers else Accepted()

    async def aclose(self) -> None:
        """Nothing is open."""

    async def settles(self) -> None:
        """Plan, send and record until nothing is due."""
        while await self._dispatcher.step():
            pass

    async def published(self, *, tenant: str = ACME, type: str = "order.shipped") -> list[Delivery]:
        """Publish an event and let it be delivered; return its deliveries."""
        receipt = await self._kit.apublish(Event(type=type, data={"order_id": "A-1"}), tenant=tenant)
        await self.settles()
        return await self.deliveries_of(receipt.event_id, tenant=tenant)

    async def deliveries_of(self, event_id: str, *, tenant: str = ACME) -> list[Delivery]:
        found = await self._kit.deliveries.list(tenant=tenant, limit=1000)
        return [delivery for delivery in found if delivery.event_id == event_id]


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def kit(clock):
    egress = EgressRules(allow=["127.0.0.0/8"], allow_http=True)
    async with Notifykit("memory://", egress=egress, clock=clock) as kit:
        yield kit


@pytest.fixture
def world(kit):
    return World(kit)


@pytest.fixture
async def endpoint(kit):
    """An endpoint of the tenant that gets every event."""
    _, endpoint = await kit.subscribe("**", tenant=ACME, endpoint=URL)
    return endpoint
