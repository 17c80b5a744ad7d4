"""An SMS provider fails for a while under load: nothing is lost or paid twice, and e-mails do not notice.

The engine runs as it is, in virtual time, on a store that costs what one on a small machine does; the providers are
objects.  ``test_provider_routing`` has the same faults over the adapters of vendors and real sockets.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import attrs
import pytest

from notifykit import DeliveryState, DispatchSettings, Event, Notifykit
from notifykit.channels.accounts import Account
from notifykit.models.delivery import Claim
from notifykit.models.destination import Destination
from notifykit.models.outcome import Accepted, CircuitEffect, Outcome, Throttled, Transient, Uncertain
from notifykit.ports import DeliveryFilter
from notifykit.stores.sql.sqlite import store as sqlite
from notifykit.telemetry import CircuitOpened, TelemetryEvent
from tests import report

from .model.virtual import VirtualClock, run_virtual
from .test_fairness import FLOOR, CostlyStore, Figures

pytestmark = pytest.mark.in_turn

TENANT = "acme"
#: Numbers that an event goes to, and e-mails a second beside them.
PERSONS, MAILS = 20, 50
#: Seconds: how long an answer takes, one of a provider that is slow, and from which on it counts as slow.
ANSWER, SLOWNESS, SLOW = 0.02, 1.2, 0.5
#: Seconds within which the other provider must have taken over, and after which traffic must be back.
OVER, BACK = 2, 300

#: How a provider fails: how long it takes, whether it sends (and charges for) the message, and the outcome.
Fault = tuple[float, bool, Outcome]
HEALTHY: Fault = (ANSWER, True, Accepted())
FAULTS: dict[str, Fault] = {
    "down": (ANSWER, False, Transient(reason="http_503")),
    "slow": (SLOWNESS, True, Accepted()),
    "throttling": (ANSWER, False, Throttled(reason="http_429", retry_after=timedelta(seconds=1))),
    "half_answering": (ANSWER, True, Uncertain(reason="answer_lost")),
    "wrong_credentials": (ANSWER, False, Transient(reason="http_401", circuit=CircuitEffect.OPEN)),
}


@attrs.define(eq=False)
class Vendor:
    """A provider of text messages.

    Attributes:
        paid: How often each message was sent and charged for.
        asked: When it was asked to send one, in seconds.
    """

    name: str
    account: str
    fault: Fault = HEALTHY
    paid: Counter[str] = attrs.field(factory=Counter)
    asked: list[float] = attrs.field(factory=list)

    async def send(self, message: Any, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        seconds, sends, outcome = self.fault
        self.asked.append(asyncio.get_running_loop().time())
        if sends:
            self.paid[f"{destination.address} {claim.event_id}"] += 1
        await asyncio.sleep(seconds)
        return outcome

    async def aclose(self) -> None:
        """Hold nothing."""


@attrs.define(eq=False)
class Post:
    """A provider of e-mail, which is well all the time.

    Attributes:
        ages: How long after it was published each message came, in seconds.
    """

    ages: list[float] = attrs.field(factory=list)
    name: str = "post"
    account: str = "post://"

    async def send(self, message: Any, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        self.ages.append(asyncio.get_running_loop().time() - json.loads(claim.body)["data"]["sent"])
        await asyncio.sleep(ANSWER)
        return Accepted()

    async def aclose(self) -> None:
        """Hold nothing."""


@attrs.define
class Site:
    """An application with two SMS providers and one of e-mail."""

    kit: Notifykit
    primary: Vendor
    secondary: Vendor
    post: Post
    published: Counter[str] = attrs.field(factory=Counter)

    async def subscribe(self) -> None:
        """Subscribe telephone numbers and a mailbox."""
        phones = [("sms", f"+49151{number:07}") for number in range(PERSONS)]
        for channel, address in (*phones, ("email", "ada@example.org")):
            await self.kit.subscriptions.create(
                f"{channel}.sent", tenant=TENANT, subscriber=f"user:{address}", channel=channel, address=address
            )

    async def publish(self, channel: str, rate: float, seconds: float) -> None:
        """Publish events for a channel at a steady rate."""
        loop = asyncio.get_running_loop()
        start, publishing = loop.time(), []
        for number in range(int(rate * seconds)):
            event = Event(type=f"{channel}.sent", data={"sent": loop.time()})
            publishing.append(asyncio.create_task(self.kit.apublish(event, tenant=TENANT)))
            self.published[channel] += 1
            await asyncio.sleep(max(0.0, start + (number + 1) / rate - loop.time()))
        await asyncio.gather(*publishing)

    async def load(self, rate: float, seconds: float) -> float:
        """Publish text messages at a rate, and e-mails beside; return the 99th percentile of their delays."""
        self.post.ages.clear()
        await asyncio.gather(self.publish("sms", rate / PERSONS, seconds), self.publish("email", MAILS, seconds))
        while len(self.post.ages) < int(MAILS * seconds):
            await asyncio.sleep(0.01)
        return sorted(self.post.ages)[int(len(self.post.ages) * 0.99)]

    async def comes_back(self) -> float:
        """Publish until the primary carries most of it again; return how many seconds that took."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        while loop.time() - start < BACK:
            before = len(self.primary.asked), len(self.secondary.asked)
            await self.publish("sms", 1, 2)
            if len(self.primary.asked) - before[0] > len(self.secondary.asked) - before[1]:
                return loop.time() - start
        raise AssertionError("the traffic does not come back")

    async def settled(self) -> None:
        """Return when every delivery has ended."""
        while (await self.kit.store.next_due()).is_open:
            await asyncio.sleep(10)

    async def ends(self) -> Counter[tuple[str, str | None]]:
        """Return how many text messages have ended how."""
        found: Counter[tuple[str, str | None]] = Counter()
        before = None
        while page := await self.kit.deliveries.list(DeliveryFilter(), tenant=TENANT, limit=1000, before=before):
            found.update((each.state.value, each.reason) for each in page if each.channel == "sms")
            before = page[-1].id
        return found


def run(main: Callable[[Site], Any], told: list[TelemetryEvent]) -> Any:
    """Run an application in virtual time, with a dispatcher."""

    async def running(clock: VirtualClock) -> Any:
        store = CostlyStore()
        await store.open()
        primary, secondary, post = Vendor("primary", "primary://"), Vendor("secondary", "secondary://"), Post()
        accounts = [Account(each, slow=timedelta(seconds=SLOW)) for each in (primary, secondary)]
        async with Notifykit(store=store, clock=clock, sms=accounts, email=post, subscribers=[told.append]) as kit:
            site = Site(kit, primary, secondary, post)
            await site.subscribe()
            async with kit.dispatcher(kit.channels, DispatchSettings(grace=timedelta(0, 0, 1000))):
                return await main(site)

    return run_virtual(1, running)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    ("rate", "seconds"),
    [(100, 3), pytest.param(500, 10, marks=pytest.mark.thorough), pytest.param(500, 60, marks=pytest.mark.soak)],
)
def test_an_outage_of_the_primary(fault, rate, seconds, monkeypatch, request):
    """The secondary takes over within two seconds, and hands back later; the p99 of e-mail stays as it was."""
    monkeypatch.setattr(sqlite, "CHECK_EVERY", 10.0)  # nobody else writes to a database in memory
    told: list[TelemetryEvent] = []

    async def main(site: Site) -> tuple[Any, ...]:
        quiet = await site.load(rate, seconds)
        began, before = asyncio.get_running_loop().time(), len(site.primary.asked)
        site.primary.fault = FAULTS[fault]
        figures = Figures(quiet, await site.load(rate, seconds))
        site.primary.fault = HEALTHY
        tried = len(site.primary.asked) - before
        back = await site.comes_back()
        await site.settled()
        return site, figures, began, tried, back, await site.ends()

    site, figures, began, tried, back, ends = run(main, told)

    took_over = site.secondary.asked[0] - began
    paid = site.primary.paid + site.secondary.paid
    uncertain = ends.pop(("dead", "uncertain"), 0)
    report.note(
        request.node.name,
        messages=len(paid),
        uncertain=uncertain,
        tried_over_the_primary=tried,
        seconds_until_over=round(took_over, 3),
        seconds_until_back=round(back, 1),
        **figures.in_milliseconds(),
    )
    assert {(DeliveryState.DELIVERED.value, None)} == set(ends)
    assert PERSONS * site.published["sms"] == ends.total() + uncertain == len(paid)
    assert [] == [message for message, count in paid.items() if count > 1]
    assert (fault == "half_answering") is (uncertain > 0)
    assert (fault == "slow") is not any(isinstance(event, CircuitOpened) for event in told)
    assert 0 <= took_over <= OVER
    assert figures.fair(FLOOR), figures
