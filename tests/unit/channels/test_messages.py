"""A channel to people renders, sends through its provider, and loses nothing to a template that fails."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import attrs
import pytest

from notifykit import Event, InvalidInputError, Notifykit, TemplateError
from notifykit.channels.messages import MessageChannel
from notifykit.channels.plain import PlainRenderer
from notifykit.codec import dumps
from notifykit.models.delivery import Claim, Collected, DeliveryState, DigestItem
from notifykit.models.destination import Destination
from notifykit.models.messages import KINDS, EmailMessage, InAppMessage, Message, SmsMessage, title_of
from notifykit.models.outcome import Accepted, Outcome
from notifykit.ports import AddressedChannel
from notifykit.telemetry import RenderingFailed, TelemetryEvent
from notifykit.testing import FakeClock

from .receivers import NOW, make_claim

TENANT = "acme"


@attrs.define
class Recorder:
    """A provider that keeps what it was given."""

    name: str = "recorder"
    account: str = "recorder://account"
    sent: list[Message] = attrs.field(factory=list)
    closed: bool = False

    async def send(self, message: Message, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        self.sent.append(message)
        return Accepted()

    async def aclose(self) -> None:
        self.closed = True


@attrs.frozen
class Rendering:
    """Renders as the test says."""

    make: Callable[[], Any]

    def render(self, claim: Claim, destination: Destination, *, now: datetime) -> Message:
        return self.make()


def fail(error: Exception) -> Callable[[], Any]:
    def make() -> Any:
        raise error

    return make


def test_it_has_the_parts_of_a_channel_with_addresses() -> None:
    """Its destinations share the circuit of the provider's account."""
    channel = MessageChannel("email", PlainRenderer(), Recorder(), timeout=timedelta(seconds=7))

    found = channel.destination(tenant=TENANT, subscriber_id="user:42", address="ada@example.org")

    assert isinstance(channel, AddressedChannel)
    assert ("email", "recorder://account", 7) == (found.channel, found.circuit_key, found.timeout.total_seconds())


@pytest.mark.parametrize("address", ["", "a\nb", "x" * 5000])
def test_an_address_that_is_no_text_is_refused(address: str) -> None:
    """Even where a channel has no rule of its own."""
    channel = MessageChannel("chat", PlainRenderer(), Recorder())

    assert "room 5" == channel.check_address("room 5")
    with pytest.raises(InvalidInputError, match="address: "):
        channel.check_address(address)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (fail(TemplateError("order.paid/email.txt, line 3: 'total' is undefined")), "line 3: 'total'"),
        (fail(KeyError("total")), r"order.paid \(email\): KeyError: 'total'"),
        (lambda: SmsMessage(text="hello"), r"order.paid \(email\): made a SmsMessage, not a EmailMessage"),
        (lambda: None, "made a NoneType"),
        (lambda: EmailMessage(subject="Paid", text=" \n", html=""), r"order.paid \(email\): made an empty message"),
    ],
)
async def test_what_cannot_be_rendered_is_a_template_error(make: Callable[[], Any], said: str) -> None:
    """A function of the host that fails is reported as a template is; nothing is sent."""
    provider = Recorder()
    channel = MessageChannel("email", Rendering(make), provider)
    destination = channel.destination(tenant=TENANT, subscriber_id="user:42", address="ada@example.org")

    with pytest.raises(TemplateError, match=said):
        await channel.send(make_claim(event_type="order.paid"), destination, now=NOW)

    assert [] == provider.sent


async def test_a_failing_template_is_an_operational_event() -> None:
    """Once an hour for each type and channel, whatever process it is; after the fix what waits is woken."""
    clock, broken = FakeClock(), [True]

    def make() -> Message:
        if broken:
            raise TemplateError("order.paid/email.txt, line 3: `data.nope` is undefined")
        return EmailMessage(subject="Paid", text="Thank you.")

    customers, operator = Recorder(), Recorder()
    channels = [
        MessageChannel("email", Rendering(make), customers),
        MessageChannel("sms", PlainRenderer(), operator),
    ]
    async with Notifykit("memory://", channels=channels, clock=clock) as kit:
        given = {"email": ("order.*", "user:42", "ada@example.org"), "sms": ("template.*", "ops", "+4915123456789")}
        for channel, (types, subscriber, address) in given.items():
            await kit.subscriptions.create(
                types, tenant=TENANT, subscriber=subscriber, channel=channel, address=address
            )
        for _ in range(3):
            await kit.apublish(Event(type="order.paid", data={}), tenant=TENANT)
        for _ in range(2):  # processes, one after the other
            dispatcher = kit.dispatcher()
            while await dispatcher.step():
                pass
            await kit.deliveries.wake_all(tenant=TENANT)
        told = len(operator.sent)
        clock.advance(timedelta(hours=1))
        while await dispatcher.step():
            pass
        broken.clear()
        counts = [await kit.deliveries.wake_all(tenant=TENANT, reason=each) for each in ("paused", "template_failed")]
        while await dispatcher.step():
            pass

    (text,) = {each.text for each in operator.sent[:1]}  # type: ignore[union-attr]
    assert (1, 2) == (told, len(operator.sent))
    assert all(part in text for part in ("Template failed", "order.paid", "email", "line 3"))
    assert ([0, 3], 3) == (counts, len(customers.sent))


async def test_a_delivery_is_held_until_the_template_is_correct() -> None:
    """No attempt is used up, the operator is told, and waking sends what was held."""
    clock, told, broken = FakeClock(), list[TelemetryEvent](), [True]

    def make() -> Message:
        if broken:
            raise TemplateError("order.paid/email.txt: missing")
        return EmailMessage(subject="Paid", text="Thank you.")

    provider = Recorder()
    channel = MessageChannel("email", Rendering(make), provider)
    async with Notifykit("memory://", channels=[channel], clock=clock, subscribers=[told.append]) as kit:
        await kit.subscriptions.create(
            "**", tenant=TENANT, subscriber="user:42", channel="email", address="ada@example.org"
        )
        await kit.apublish(Event(type="order.paid", data={}), tenant=TENANT)
        dispatcher = kit.dispatcher()
        for _ in range(12):
            await dispatcher.step()
            clock.advance(timedelta(minutes=10))
        (held,) = await kit.deliveries.list(tenant=TENANT)
        broken.clear()
        woken = await kit.deliveries.wake_all(tenant=TENANT)
        await dispatcher.step()
        (sent,) = await kit.deliveries.list(tenant=TENANT)
        circuits = await kit.store.circuits()
        await dispatcher.aclose()

    failures = [event for event in told if isinstance(event, RenderingFailed)]
    assert (DeliveryState.HELD, "template_failed", 0) == (held.state, held.reason, held.attempts)
    assert (DeliveryState.DELIVERED, 1) == (sent.state, sent.attempts)
    assert ([], 1) == (list(circuits), woken)
    assert ("email", "order.paid", TENANT) == (failures[0].channel, failures[0].event_type, failures[0].tenant)
    assert 12 == len(failures)
    assert [EmailMessage(subject="Paid", text="Thank you.")] == provider.sent


@pytest.mark.parametrize("channel", KINDS)
def test_without_templates_every_channel_shows_the_data(channel: str) -> None:
    """The title is made of the type's name, the text of the fields."""
    body = dumps({"type": "order.line_shipped", "data": {"order_id": "A-1", "lines": [1, {"a": None}]}})
    destination = Destination(subscriber_id="user:42", tenant=TENANT, channel=channel, address="there")

    message = PlainRenderer().render(make_claim(body, event_type="order.line_shipped"), destination, now=NOW)

    assert isinstance(message, KINDS[channel])
    shown = str(attrs.asdict(message))
    assert all(part in shown for part in ("Order line shipped", "Order id: A-1", 'Lines: [1,{"a":null}]'))


def test_a_default_message_has_a_bounded_length() -> None:
    """Megabytes of data make a short text, and a note of what is missing."""
    many = dumps({"data": {f"field{n}": "x" * 10_000 for n in range(60)}})
    texts: dict[str, str] = {}
    for channel in ("in_app", "sms", "push"):
        destination = Destination(subscriber_id="user:42", tenant=TENANT, channel=channel, address="there")
        message = PlainRenderer().render(make_claim(many, event_type="a.b"), destination, now=NOW)
        texts[channel] = str(getattr(message, "text", "") or getattr(message, "body", ""))

    assert texts["in_app"].endswith("\n… 10 more")
    assert 30_000 > len(texts["in_app"])
    assert {300} == {len(texts["sms"]), len(texts["push"])}


def test_a_digest_says_how_many_and_which() -> None:
    """Several types have no common name; what does not fit is counted."""
    destination = Destination(subscriber_id="user:42", tenant=TENANT, channel="email", address="there")

    def item(type_: str, number: int) -> DigestItem:
        return DigestItem(f"dlv_{number}", f"evt_{number}", type_, NOW, dumps({"data": {"n": number}}))

    def rendered(total: int, *types: str) -> EmailMessage:
        items = tuple(item(type_, number) for number, type_ in enumerate(types))
        claim = make_claim(b"{}")._replace(digest="daily", collected=Collected(total, items))
        message = PlainRenderer().render(claim, destination, now=NOW)
        assert isinstance(message, EmailMessage)
        return message

    same, mixed = rendered(9, "a.b", "a.b"), rendered(2, "a.b", "c.d")

    assert ("A b (9)", "#1 A b: N: 0\n#2 A b: N: 1\n…: 7 more") == (same.subject, same.text)
    assert ("Notification (2)", "#1 A b: N: 0\n#2 C d: N: 1") == (mixed.subject, mixed.text)


def test_there_is_no_default_message_for_a_channel_of_another_kind() -> None:
    """The error names it."""
    destination = Destination(subscriber_id="user:42", tenant=TENANT, channel="letter", address="there")

    with pytest.raises(TemplateError, match="channel letter"):
        PlainRenderer().render(make_claim(dumps({"data": 5}), event_type="a.b"), destination, now=NOW)


def test_titles() -> None:
    """Words of the type's name."""
    assert ["Order shipped", "Vip", ""] == [title_of("order.shipped"), title_of("vip"), title_of("")]


def test_data_that_is_no_object_shows_nothing() -> None:
    """Only the title is left."""
    destination = Destination(subscriber_id="user:42", tenant=TENANT, channel="in_app", address="there")

    message = PlainRenderer().render(make_claim(dumps({"data": [5]}), event_type="a.b"), destination, now=NOW)

    assert InAppMessage(title="A b") == message
