"""An SMS provider fails under load, in one way or another, and another one takes over: nothing is lost or paid twice.

A real dispatcher on SQLite sends through the adapters of two vendors to two local servers; e-mail goes over a third.
Time is real but for leaps from one retry to the next, so that hours of backoff take seconds.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import attrs
import httptools
import pytest

from notifykit import Delivery, DeliveryState, DispatchSettings, Event, Notifykit
from notifykit.ports import DeliveryFilter
from notifykit.telemetry import CircuitOpened, DeliveryAttempted, TelemetryEvent
from tests import report

pytestmark = pytest.mark.in_turn

TENANT = "acme"
MAILBOXES = 4
ACCOUNT = "AC" + "0" * 32
#: Seconds that a slow provider takes, and those from which on one counts as slow.
SLOWNESS, SLOW = 1.2, 0.5

#: What a vendor does with a message: status and body of its answer, whether it sends (and charges for) the message,
#: and how it answers.
Behaviour = Callable[["Vendor"], tuple[int, bytes, bool, str]]


def takes(vendor: Vendor) -> tuple[int, bytes, bool, str]:
    return *vendor.success, True, ""


def refuses(vendor: Vendor) -> tuple[int, bytes, bool, str]:
    return 503, b"{}", False, ""


def hangs(vendor: Vendor) -> tuple[int, bytes, bool, str]:
    return *vendor.success, True, "slow"


def throttles(vendor: Vendor) -> tuple[int, bytes, bool, str]:
    return 429, b'{"code": 20429}', False, ""


def falls_silent(vendor: Vendor) -> tuple[int, bytes, bool, str]:
    return 0, b"", True, "half"


def knows_no_key(vendor: Vendor) -> tuple[int, bytes, bool, str]:
    return 401, b'{"code": 20003}', False, ""


FAULTS: dict[str, Behaviour] = {
    "down": refuses,
    "slow": hangs,
    "throttling": throttles,
    "half_answering": falls_silent,
    "wrong_credentials": knows_no_key,
}


@attrs.define(eq=False)
class Vendor:
    """A vendor's server.

    Attributes:
        paid: How often each message was sent and charged for.
        first_at: When the first one of now came.
    """

    success: tuple[int, bytes]
    behaviour: Behaviour = takes
    paid: Counter[str] = attrs.field(factory=Counter)
    asked: int = 0
    first_at: float | None = None
    port: int = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Vendor]:
        """Serve inside a block."""
        server = await asyncio.get_running_loop().create_server(lambda: Exchange(self), "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    def take(self, body: bytes) -> tuple[int, bytes, str]:
        """Take a message, or do not."""
        status, answer, sends, how = self.behaviour(self)
        self.asked += 1
        if self.first_at is None:
            self.first_at = time.monotonic()
        if sends:
            self.paid[message_of(body)] += 1
        return status, answer, how


def message_of(body: bytes) -> str:
    """Return the number and the text of a message, whatever the vendor's API."""
    if body.startswith(b"{"):
        fields = json.loads(body)
        return f"{fields['To']} {fields['TextBody']}"
    form = {name.lower(): values[0] for name, values in parse_qs(body.decode()).items()}
    return f"{form['to'].removeprefix('+')} {form.get('body') or form['text']}"


class Exchange(asyncio.Protocol):
    """One connection to a vendor."""

    def __init__(self, vendor: Vendor) -> None:
        self._vendor = vendor
        self._body = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._body = b""

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        status, body, how = self._vendor.take(self._body)
        if how == "half":
            self._transport.close()
        elif how == "slow":
            asyncio.get_running_loop().call_later(SLOWNESS, self._answer, status, body)
        else:
            self._answer(status, body)

    def _answer(self, status: int, body: bytes) -> None:
        self._transport.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))


@attrs.define
class LeapingClock:
    """The machine's clock, which a test moves on while nothing happens."""

    ahead: timedelta = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def leap(self, until: datetime) -> None:
        """Move on to ``until``."""
        self.ahead += max(timedelta(0), until - self.now()) + timedelta(milliseconds=1)


@attrs.define
class Site:
    """An application with two SMS providers and one of e-mail."""

    kit: Notifykit
    clock: LeapingClock
    primary: Vendor
    secondary: Vendor
    post: Vendor
    told: list[tuple[float, TelemetryEvent]] = attrs.field(factory=list)
    published: int = 0

    async def subscribe(self, persons: int) -> None:
        """Subscribe as many telephone numbers, and a few mailboxes."""
        phones = [("sms", f"+49151{number:07}") for number in range(persons)]
        for channel, address in (*phones, *(("email", f"p{number}@example.org") for number in range(MAILBOXES))):
            await self.kit.subscriptions.create(
                f"{channel}.sent", tenant=TENANT, subscriber=f"user:{address}", channel=channel, address=address
            )

    async def publish(self, events: int, pause: float = 0.0) -> None:
        """Publish events, each a text message to every number and an e-mail to every mailbox."""
        for _ in range(events):
            self.published += 1
            for channel in ("sms", "email"):
                data = {"n": f"<{self.published}>"}
                await self.kit.apublish(Event(type=f"{channel}.sent", data=data), tenant=TENANT)
            await asyncio.sleep(pause)

    async def settled(self, dispatcher: Any) -> None:
        """Return when every delivery has ended; leap from one retry to the next."""
        while True:
            await dispatcher.drained()
            due = (await self.kit.store.next_due()).first
            if due is None:
                return
            self.clock.leap(due)

    async def deliveries(self) -> list[Delivery]:
        """Return all text messages."""
        found: list[Delivery] = []
        while True:
            before = found[-1].id if found else None
            page = await self.kit.deliveries.list(DeliveryFilter(), tenant=TENANT, limit=1000, before=before)
            found += page
            if len(page) < 1000:
                return [each for each in found if each.channel == "sms"]

    def attempts(self, channel: str) -> list[DeliveryAttempted]:
        """Return the attempts over a channel so far."""
        return [each for _, each in self.told if isinstance(each, DeliveryAttempted) and each.channel == channel]


@asynccontextmanager
async def site(folder: Any, persons: int, slow: float) -> AsyncIterator[tuple[Site, Any]]:
    """Run an application with a dispatcher."""
    primary = Vendor((201, b'{"sid": "SM1"}'))
    secondary = Vendor((200, b'{"messages": [{"status": "0", "message-id": "V1"}]}'))
    post = Vendor((200, b'{"ErrorCode": 0, "MessageID": "P1"}'))
    told: list[tuple[float, TelemetryEvent]] = []
    clock = LeapingClock()
    async with primary.serving(), secondary.serving(), post.serving():
        first, second, third = (f"endpoint=http://127.0.0.1:{each.port}" for each in (primary, secondary, post))
        kit = Notifykit(
            f"sqlite:///{folder / 'routing.db'}",
            create=True,
            clock=clock,
            sms=f"twilio://{ACCOUNT}:TOKEN@?from=+4915100&countries=DE&slow={slow}&{first} || "
            f"vonage://KEY:SECRET@?from=+4915100&countries=DE&{second}",
            email=f"postmark://TOKEN@?sender=shop@example.org&batch=1&{third}",
            subscribers=[lambda event: told.append((time.monotonic(), event))],
        )
        async with kit:
            found = Site(kit, clock, primary, secondary, post, told)
            await found.subscribe(persons)
            settings = DispatchSettings(lease=timedelta(hours=1), poll=timedelta(milliseconds=100))
            async with kit.dispatcher(settings=settings) as dispatcher:
                yield found, dispatcher


async def drifts_back(it: Site, dispatcher: Any) -> int:
    """Publish until the primary carries most of it again; return how many rounds that took."""
    for number in range(1, 30):
        it.clock.leap(it.clock.now() + timedelta(seconds=5))
        before = it.primary.asked - it.secondary.asked
        await it.publish(1)
        await it.settled(dispatcher)
        if it.primary.asked - it.secondary.asked > before:
            return number
    raise AssertionError("the traffic does not come back")


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    ("persons", "events", "rate"),
    [(12, 5, 500), pytest.param(20, 30, 500, marks=pytest.mark.thorough)],
    ids=["60_messages", "600_messages"],
)
async def test_another_provider_takes_over(tmp_path, request, persons, events, rate, fault):
    """No message is lost, none is paid for twice, and the traffic comes back; e-mails do not notice."""
    async with site(tmp_path, persons, SLOW if fault == "slow" else 5) as (it, dispatcher):
        await it.publish(2)
        await it.settled(dispatcher)
        quiet = len(it.attempts("sms"))
        it.primary.behaviour = FAULTS[fault]
        # What is slow shows after a while only, so the messages come over more than a second.
        await it.publish(events, pause=max(persons / rate, 0.4 if fault == "slow" else 0))
        await it.settled(dispatcher)
        opened = [at for at, event in it.told if isinstance(event, CircuitOpened)]
        troubled = it.attempts("sms")[quiet:]
        it.primary.behaviour = takes
        rounds = await drifts_back(it, dispatcher)
        deliveries = await it.deliveries()
        uncertain = [each for each in deliveries if each.reason == "uncertain"]
        async with asyncio.timeout(9):  # what has become of a circuit is stored once a second
            while await it.kit.store.circuits():
                await asyncio.sleep(0.05)

    paid = it.primary.paid + it.secondary.paid
    assert it.secondary.first_at is not None
    assert [] == [at for at in opened if it.secondary.first_at - at > 2]
    assert persons * it.published == len(deliveries) == len(paid)
    assert {DeliveryState.DELIVERED} == {each.state for each in deliveries if each.reason != "uncertain"}
    assert [] == [message for message, count in paid.items() if count > 1]
    assert (fault == "half_answering") is bool(uncertain)
    mails = it.attempts("email")
    assert {("accepted", 1)} == {(each.outcome, each.attempt) for each in mails}
    assert MAILBOXES * it.published == len(mails)
    accounts = Counter((each.account or "").partition(":")[0] for each in troubled)
    report.note(
        request.node.name,
        messages=len(deliveries),
        lost=len(deliveries) - len(paid),
        uncertain=len(uncertain),
        attempts=dict(accounts),
        rounds_until_back=rounds,
        email_p99_ms=round(sorted(each.waited.total_seconds() for each in mails)[len(mails) * 99 // 100] * 1000),
    )
