"""Receipts through a kit: what a provider reports changes addresses and deliveries, and tenants are told."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import attrs
import pytest

from notifykit import EgressRules, Event, EventType, InvalidInputError, Notifykit, Step
from notifykit.channels.messages import MessageChannel
from notifykit.channels.plain import PlainRenderer
from notifykit.dispatch.receipts import Receipts
from notifykit.models.delivery import Delivery
from notifykit.models.outcome import Accepted, Answer, Outcome, Uncertain
from notifykit.models.receipt import ProviderReceipt, ReceiptKind, ReceiptMatch
from notifykit.stores.memory import MemoryStore
from notifykit.telemetry import AddressGone, AddressSuppressed, BouncesUnusual, ReceiptRecorded, TelemetryEvent
from notifykit.testing import FakeClock, make_receipt

ACME, ADA, PHONE = "acme", "ada@example.org", "+4915123456789"
TYPES = [
    EventType(name="order.shipped", steps=[Step("email")]),
    EventType(name="code.sent", steps=[Step("sms")]),
    EventType(name="news.sent", purpose="marketing", steps=[Step("email")]),
]


class FakeProvider:
    """Takes every message and gives it a number."""

    def __init__(self, name: str, outcome: type[Outcome] = Accepted) -> None:
        self.name = self.account = name
        self.sent = 0
        self.outcome = outcome

    async def send(self, message: Any, claim: Any, destination: Any, *, now: Any) -> Outcome:
        self.sent += 1
        if self.outcome is Uncertain:
            return Uncertain(reason="answer_lost")
        return Accepted(answer=Answer(reference=f"{self.name}-{self.sent}"))

    async def aclose(self) -> None:
        """Nothing is open."""


@attrs.define
class World:
    """A kit with people, and providers that report."""

    kit: Notifykit
    clock: FakeClock
    mail: FakeProvider
    sms: FakeProvider
    dispatcher: Any
    told: list[TelemetryEvent]

    async def settles(self) -> None:
        while await self.dispatcher.step():
            pass

    async def sent(self, type: str = "order.shipped", to: str = "user:1", tenant: str = ACME) -> Delivery:
        """Publish an event, deliver it, and return its delivery."""
        receipt = await self.kit.apublish(Event(type=type, data={}, to=to), tenant=tenant)
        await self.settles()
        found = await self.kit.deliveries.list(tenant=tenant, limit=1000)
        return next(each for each in found if each.event_id == receipt.event_id)

    async def report(self, kind: str, number: int, **changes: Any) -> ProviderReceipt:
        """Have the mail provider report on the message with a number."""
        fields = {"at": self.clock.now(), "reference": f"mail-{number}", **changes}
        receipt = make_receipt(f"{kind} {number}", kind=kind, **fields)
        await self.kit.record_receipts([receipt])
        return receipt

    async def address(self, id: str = "user:1") -> tuple[str, str | None]:
        recipient = await self.kit.recipients.get(id, tenant=ACME)
        first = recipient.addresses_on("email")[0]
        return first.state.value, first.reason

    async def people(self, count: int, tenant: str = ACME) -> None:
        for i in range(1, count + 1):
            await self.kit.recipients.save(f"user:{i}", tenant=tenant, email=f"u{i}@example.org", sms=PHONE)

    def telemetry(self, kind: type[TelemetryEvent]) -> list[Any]:
        return [event for event in self.told if isinstance(event, kind)]


@pytest.fixture
async def world():
    told: list[TelemetryEvent] = []
    clock, mail, sms = FakeClock(), FakeProvider("mail"), FakeProvider("sms")
    egress = EgressRules(allow=["127.0.0.0/8"], allow_http=True)
    channels = [MessageChannel(name, PlainRenderer(), by) for name, by in (("email", mail), ("sms", sms))]
    async with Notifykit(
        "memory://", clock=clock, event_types=TYPES, egress=egress, subscribers=[told.append], channels=channels
    ) as kit:
        world = World(kit, clock, mail, sms, kit.dispatcher(), told)
        await world.people(1)
        yield world


async def test_a_delivery_shows_what_its_provider_reported(world):
    """It stays delivered, because the provider took it; what became of the message is beside it."""
    delivery = await world.sent()
    await world.report("delivered", 1)
    await world.report("sent", 1)

    found = await world.kit.deliveries.get(delivery.id, tenant=ACME)
    (attempt,) = await world.kit.deliveries.attempts(delivery.id, tenant=ACME)

    assert ("delivered", "delivered") == (found.state, found.receipt)
    assert [ReceiptKind.DELIVERED, ReceiptKind.SENT] == sorted(each.kind for each in attempt.receipts)
    assert [("postmark", "delivered", delivery.id, ACME, "email")] == [
        (each.provider, each.kind, each.delivery_id, each.tenant, each.channel)
        for each in world.telemetry(ReceiptRecorded)[:1]
    ]


async def test_a_definitive_bounce_marks_the_address(world):
    """Nothing is sent there any more."""
    await world.sent()
    await world.report("bounced", 1, permanent=True, code="5.1.1", address=ADA)

    assert ("gone", "postmark_5.1.1") == await world.address()
    assert [("user:1", "email", "postmark_5.1.1")] == [
        (each.recipient_id, each.channel, each.reason) for each in world.telemetry(AddressGone)
    ]
    assert "suppressed" == (await world.sent()).state
    assert ADA not in repr(world.telemetry(ReceiptRecorded))


@pytest.mark.parametrize("kind", ["bounced", "failed", "deferred", "delivered", "opened"])
async def test_other_receipts_leave_the_address(world, kind):
    """A full mailbox is empty tomorrow."""
    await world.sent()
    await world.report(kind, 1)

    assert ("active", None) == await world.address()


async def test_an_address_that_was_changed_meanwhile_is_left_alone(world):
    """A receipt that was kept back says nothing about what the person did after it."""
    await world.sent()
    before = world.clock.now()
    await world.report("bounced", 1, permanent=True)
    world.clock.advance(timedelta(minutes=1))
    await world.kit.recipients.verify("user:1", tenant=ACME, channel="email", address="u1@example.org")

    await world.kit.record_receipts(
        [make_receipt("another", reference="mail-1", kind="bounced", permanent=True, at=before)]
    )

    assert "active" == (await world.address())[0]


async def test_a_receipt_of_a_recipient_who_is_gone_changes_nothing(world):
    """The delivery is still there, and shows it."""
    delivery = await world.sent()
    await world.kit.recipients.delete("user:1", tenant=ACME)

    await world.report("bounced", 1, permanent=True)
    await world.report("complained", 1)

    assert "complained" == (await world.kit.deliveries.get(delivery.id, tenant=ACME)).receipt


async def test_marketing_stops_when_a_person_unsubscribes(world):
    """And still gets the rest."""
    await world.kit.preferences("user:1", tenant=ACME).consent()
    before = await world.sent("news.sent")
    await world.report("unsubscribed", 1)

    after = [(await world.sent(type_)).state.value for type_ in ("news.sent", "order.shipped")]

    assert "delivered" == before.state
    assert ["suppressed", "delivered"] == after
    assert [("marketing", "unsubscribe")] == [
        (each.purposes, each.reason) for each in world.telemetry(AddressSuppressed)
    ]


async def test_everything_but_security_stops_after_a_complaint(world):
    """Repeating it changes nothing more, and to unsubscribe after it takes nothing back."""
    await world.sent()
    await world.report("complained", 1)
    await world.report("complained", 1)
    await world.report("unsubscribed", 1)

    found = await world.kit.suppressions.check("email", "u1@example.org", tenant=ACME)

    assert [("complaint", ("marketing", "transactional")), ("unsubscribe", ("marketing",))] == [
        (each.reason, each.purposes) for each in found.entries
    ]
    assert found.entries[0].evidence.startswith("postmark:")
    assert "suppressed" == (await world.sent()).state
    assert ["complaint", "unsubscribe"] == [each.reason for each in world.telemetry(AddressSuppressed)]


async def test_an_uncertain_sms_is_delivered_when_a_receipt_says_so(world):
    """It was not sent a second time; the receipt names the delivery, since no answer gave a reference."""
    world.sms.outcome = Uncertain
    before = await world.sent("code.sent")

    await world.kit.record_receipts([make_receipt(reference="SM1", delivery_id=before.id, kind="delivered")])
    after = await world.kit.deliveries.get(before.id, tenant=ACME)

    assert [("dead", "uncertain", None), ("delivered", None, "delivered")] == [
        (each.state.value, each.reason, each.receipt) for each in (before, after)
    ]
    assert 1 == world.sms.sent


async def test_an_early_receipt_is_applied_by_a_dispatcher(world):
    """A provider may be faster than the record of the attempt."""
    await world.report("bounced", 1, permanent=True)
    assert [] == world.telemetry(ReceiptRecorded)
    delivery = await world.sent()
    assert ("active", None) == await world.address()

    world.clock.advance(timedelta(seconds=2))
    await world.settles()

    assert "gone" == (await world.address())[0]
    assert "bounced" == (await world.kit.deliveries.get(delivery.id, tenant=ACME)).receipt
    world.clock.advance(timedelta(hours=1))
    await world.settles()
    assert 1 == len(world.telemetry(ReceiptRecorded))


# ── the alarm ──────────────────────────────────────────────────────────────────────────────────


async def test_when_everything_bounces_no_address_is_marked(world):
    """The fault is ours then; the operator and the tenant are told once."""
    await world.kit.subscribe("provider.*", tenant=ACME, endpoint="http://127.0.0.1:8080/hooks")
    await world.people(30)
    receipts = []
    for i in range(1, 31):
        await world.sent(to=f"user:{i}")
        receipts.append(make_receipt(f"r{i}", reference=f"mail-{i}", kind="bounced", permanent=True))

    await world.kit.record_receipts(receipts)
    await world.kit.record_receipts(receipts)

    states = {(await world.address(f"user:{i}"))[0] for i in range(1, 31)}
    events = [each for each in await world.kit.events.list(tenant=ACME) if each.type == "provider.bouncing"]
    assert {"active"} == states
    assert [("postmark", "", 30, 30), ("postmark", ACME, 30, 30)] == [
        (each.provider, each.tenant, each.bounced, each.total) for each in world.telemetry(BouncesUnusual)
    ]
    assert 1 == len(events)


async def test_a_few_bounces_among_many_are_applied(world):
    """Twenty bounces out of seventy are usual for an old list."""
    await world.people(70)
    receipts = []
    for i in range(1, 71):
        await world.sent(to=f"user:{i}")
        kind = {"kind": "bounced", "permanent": True} if i <= 20 else {"kind": "delivered"}
        receipts.append(make_receipt(f"r{i}", reference=f"mail-{i}", **kind))

    await world.kit.record_receipts(receipts)

    assert ["gone", "active"] == [(await world.address(f"user:{i}"))[0] for i in (20, 21)]
    assert [] == world.telemetry(BouncesUnusual)


async def test_processes_count_bounces_together(world):
    """Of thirty bounces each of three processes gets ten, and together they notice; the tenant is told once."""
    await world.kit.subscribe("provider.*", tenant=ACME, endpoint="http://127.0.0.1:8080/hooks")
    await world.people(30)
    processes = [Receipts(world.kit.store, world.clock, world.told.append) for _ in range(3)]
    receipts = []
    for i in range(1, 31):
        await world.sent(to=f"user:{i}")
        receipts.append(make_receipt(f"r{i}", reference=f"mail-{i}", kind="bounced", permanent=True))

    for number, receipt in enumerate(receipts):
        await processes[number % 3].record([receipt])

    states = [(await world.address(f"user:{i}"))[0] for i in range(1, 31)]
    events = [each for each in await world.kit.events.list(tenant=ACME) if each.type == "provider.bouncing"]
    assert ["gone"] * 19 + ["active"] * 11 == states
    assert 1 == len(events)


async def test_the_windows_of_bounces_are_bounded(monkeypatch):
    """A process that serves very many tenants forgets those that it has not heard of for long."""
    monkeypatch.setattr("notifykit.dispatch.receipts._MOST_WINDOWS", 5)
    receipts = Receipts(MemoryStore(), FakeClock(), lambda event: None)
    for i in range(20):
        delivery = SimpleNamespace(tenant=f"t{i}", id="dlv_1", channel="email", address=None, event_type="a.b")
        await receipts._count([ReceiptMatch(make_receipt(), delivery)], FakeClock().now())  # type: ignore[arg-type]
        await receipts._apply([])

    assert 5 == len(receipts._windows)
    assert ("postmark", "t19") in receipts._windows


# ── who is told ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["bounced", "failed", "complained", "unsubscribed"])
async def test_a_tenant_can_subscribe_to_what_becomes_of_messages(world, kind):
    """Each report is published once, without the address."""
    await world.kit.subscribe("delivery.*", tenant=ACME, endpoint="http://127.0.0.1:8080/hooks")
    delivery = await world.sent()

    for _ in range(2):
        await world.report(kind, 1, code="x1", address=ADA)

    (event,) = [each for each in await world.kit.events.list(tenant=ACME) if each.type == f"delivery.{kind}"]
    assert delivery.id.encode() in event.body
    assert ADA.encode() not in event.body


async def test_nothing_is_published_without_a_subscription(world):
    """A bare ``**`` means the business's own events."""
    await world.kit.subscribe("**", tenant=ACME, endpoint="http://127.0.0.1:8080/hooks")
    await world.sent()
    await world.report("bounced", 1)

    assert ["order.shipped"] == [each.type for each in await world.kit.events.list(tenant=ACME)]


async def test_receipts_of_operational_events_are_not_published(world):
    """Otherwise an e-mail about a bounce that bounces would be one for ever."""
    await world.kit.subscribe("delivery.*", tenant=ACME, recipient="user:1")
    await world.sent()
    await world.report("bounced", 1)
    await world.settles()
    await world.report("bounced", 2)
    await world.settles()

    assert ["delivery.bounced", "order.shipped"] == [each.type for each in await world.kit.events.list(tenant=ACME)]


async def test_many_receipts_are_stored_in_pages(world):
    """However many a vendor sends at once."""
    await world.sent()
    receipts = [make_receipt(f"r{i}", reference=f"mail-{i % 2}", kind="opened") for i in range(1200)]

    assert 600 == await world.kit.record_receipts(iter(receipts))


@pytest.mark.parametrize("given", ["text", 7, None])
async def test_receipts_are_an_iterable(world, given):
    """Anything else is refused."""
    with pytest.raises(InvalidInputError, match="receipts"):
        await world.kit.record_receipts(given)


def test_code_without_an_event_loop_can_record_receipts():
    """For frameworks that are not ASGI."""
    kit = Notifykit("memory://")
    try:
        assert 0 == kit.blocking.record_receipts([make_receipt()])
    finally:
        kit.close()


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "exploded"},
        {"kind": 7},
        {"provider": ""},
        {"id": ""},
        {"at": None},
        {"permanent": 1},
        {"reference": ""},
        {"code": "\x00"},
        {"address": "x" * 5000},
    ],
)
def test_a_receipt_is_valid_from_birth(changes):
    """The error names the field."""
    with pytest.raises(InvalidInputError, match=next(iter(changes))):
        make_receipt(**changes)
