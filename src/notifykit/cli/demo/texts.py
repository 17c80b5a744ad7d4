"""The text messages of the demo: a server that behaves as Twilio does takes them, and reports what becomes of them.

What is expected of each number is written down here, and compared with what the server counted and the store says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote

import attrs

from ...catalog import event
from ...channels.receipts import receipt_verifier
from ...kit import Notifykit
from ...models.steps import Step
from ...ports import DeliveryFilter
from ...signing import VerificationError
from ...testing.vendors import TwilioServer
from ..receiver import Receiver, Reply, Request
from ..text import Cell, Column, table


@event("code.requested", category="codes", steps=[Step("sms")])
@attrs.frozen
class CodeRequested:
    """A person wants to log in."""

    code: str


class Fate(NamedTuple):
    """What became of a message.

    Attributes:
        requests: How often the vendor was asked to send it.
        receipt: What the vendor reported later.
    """

    requests: int
    state: str
    reason: str | None = None
    receipt: str | None = None


class Phone(NamedTuple):
    """A number, what happens to messages to it, and what must follow."""

    number: str
    happens: str
    expected: Fate

    @property
    def id(self) -> str:
        """The recipient's id."""
        return f"user:{self.number}"


#: The last digit of a number names what happens, see :mod:`notifykit.policies.simulation`.
PHONES = (
    Phone("+12025550100", "is delivered", Fate(1, "delivered", receipt="delivered")),
    Phone("+12025550101", "is taken, and then bounces", Fate(1, "delivered", receipt="bounced")),
    Phone("+12025550103", "is refused: no route to it", Fate(1, "dead", "twilio_21612")),
    Phone("+12025550106", "is taken, but the answer is lost", Fate(1, "delivered", receipt="delivered")),
    Phone("+447700900000", "is simulated, and never leaves", Fate(0, "delivered")),
)


class Texts:
    """The vendor, and where it posts its receipts.

    Args:
        vendor: It is listening already.
    """

    def __init__(self, kit: Notifykit, vendor: TwilioServer, tenant: str) -> None:
        self._kit = kit
        self._vendor = vendor
        self._tenant = tenant
        self._verifier = receipt_verifier("twilio", vendor.token)
        #: Waits for receipts inside a block.
        self.receiver = Receiver(self._record)

    @property
    def provider_url(self) -> str:
        """The provider of the dispatcher."""
        return f"{self._vendor.provider_url}&callback={quote(self._base + '/receipts/twilio', safe='')}"

    @property
    def _base(self) -> str:
        return f"http://127.0.0.1:{self.receiver.port}"

    async def publish(self) -> None:
        """Save the people, and send each of them a code."""
        for phone in PHONES:
            await self._kit.recipients.save(phone.id, tenant=self._tenant, sms=phone.number)
            await self._kit.apublish(CodeRequested(phone.number[-4:]), tenant=self._tenant, to=[phone.id])

    async def report(self) -> None:
        """Have the vendor post its receipts, signed, to the URL that came with each message."""
        for message in tuple(self._vendor.messages):
            await asyncio.to_thread(self._vendor.post_receipts, message.content["StatusCallback"], [message])

    async def fates(self) -> list[Fate]:
        """Return what became of the message to each number."""
        asked = [parse_qs(request.body.decode()).get("To") for request in self._vendor.requests]
        found = []
        for phone in PHONES:
            wanted = DeliveryFilter(subscriber_id=phone.id)
            (delivery,) = await self._kit.deliveries.list(wanted, tenant=self._tenant, limit=2)
            requests = asked.count([phone.number])
            found.append(Fate(requests, delivery.state.value, delivery.reason, delivery.receipt))
        return found

    async def _record(self, request: Request) -> Reply:
        url = self._base + request.path
        try:
            found = self._verifier.receipts(request.headers, request.body, url, now=datetime.now(UTC))
        except VerificationError:
            return Reply(401)
        await self._kit.record_receipts(found)
        return Reply(200)


def problems(fates: Sequence[Fate]) -> list[str]:
    """Say what is not as expected."""
    return [
        f"the message to {phone.number}: {tuple(fate)}, expected {tuple(phone.expected)}"
        for phone, fate in zip(PHONES, fates, strict=True)
        if fate != phone.expected
    ]


def records(fates: Sequence[Fate]) -> list[dict[str, Any]]:
    """Return the messages for JSON."""
    return [{"number": phone.number, **fate._asdict()} for phone, fate in zip(PHONES, fates, strict=True)]


def lines(fates: Sequence[Fate]) -> list[str]:
    """Return what became of the messages as a table."""
    columns = [
        *(Column("NUMBER"), Column("THE MESSAGE", wraps=True), Column("REQUESTS", right=True)),
        *(Column("STATE"), Column("RECEIPT")),
    ]
    rows = [
        (
            phone.number,
            phone.happens,
            fate.requests,
            Cell(
                fate.state if fate.reason is None else f"{fate.state}: {fate.reason}",
                "green" if fate == phone.expected else "red",
            ),
            fate.receipt or "-",
        )
        for phone, fate in zip(PHONES, fates, strict=True)
    ]
    return table(columns, rows)
