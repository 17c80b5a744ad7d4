"""The fixture ``outbox`` knows people: what they are sent, when, and what becomes of it."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta

import attrs
import pytest

import notifykit
from notifykit import Digest, InvalidInputError, Step, Window
from notifykit.models.messages import EmailMessage
from notifykit.models.outcome import BadRecipient, Transient
from notifykit.ports import Inbox
from notifykit.testing import Outbox
from tests.unit.testing_kit.shop import OrderShipped, ship

#: A Wednesday, in the middle of the day.
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


@notifykit.event(
    "comment.created",
    category="comments",
    steps=[Step("in_app"), Step("email", after=timedelta(minutes=15), unless={"read"})],
)
@attrs.frozen
class CommentCreated:
    """Someone has commented."""

    text: str


@notifykit.event("stock.low", steps=[Step("email")], digest=Digest("stock", window=timedelta(minutes=10)))
@attrs.frozen
class StockLow:
    """An article runs out."""

    article: str


@notifykit.event("invoice.due")
@attrs.frozen
class InvoiceDue:
    """An invoice has to be paid."""

    number: str

    def email(self, to):
        if to.name is None:
            raise ValueError("no name")
        return EmailMessage(subject=f"Invoice {self.number}, {to.name}", text="Please pay.")


@pytest.fixture
def outbox_options():
    return {"start": NOON, "event_types": [CommentCreated, StockLow, InvoiceDue]}


@pytest.fixture
def ada(outbox):
    outbox.kit.blocking.recipients.save("user:42", tenant="acme", name="Ada", email="ada@example.org")
    return outbox.kit.blocking.preferences("user:42", tenant="acme")


# ── what a person is sent ──────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("ada")
def test_a_delivery_to_a_person_has_the_message_as_it_is_rendered(outbox):
    """Without a template it is the plain one; a webhook of the same event does not get in the way."""
    outbox.subscribe("order.*", tenant="acme")
    ship("A-1", to="user:42")

    outbox.deliver()

    mail = outbox.one(OrderShipped, to="user:42", channel="email")
    assert ("Order shipped", "Order id: A-1") == (mail.message.subject, mail.message.text)
    assert ("email", "user:42", "ada@example.org", "delivered") == (
        mail.channel,
        mail.recipient,
        mail.address,
        mail.state,
    )
    assert mail.id == outbox.one(to="ada@example.org").id
    assert "Order shipped" == outbox.one(to="user:42", channel="in_app").message.title
    assert {"order_id": "A-1"} == outbox.one(channel="webhook").json()["data"]
    assert ["webhook", "in_app", "email"] == [each.channel for each in outbox.deliveries]


@pytest.mark.usefixtures("ada")
def test_a_method_of_the_event_renders(outbox):
    """The renderer is that of the kit, so a class that renders itself does so in tests, too."""
    notifykit.publish(InvoiceDue("7"), tenant="acme", to="user:42")

    outbox.deliver()

    assert "Invoice 7, Ada" == outbox.one(InvoiceDue, channel="email").message.subject


@pytest.mark.parametrize("by", ["outbox", "program"])
def test_templates_render(tmp_path, by):
    """They are named by the test, or configured by the program."""
    pytest.importorskip("minijinja")
    folder = tmp_path / "order.shipped"
    folder.mkdir()
    (folder / "email.subject.txt").write_text("{{ to.name }}, {{ data.order_id }} is on its way")
    (folder / "email.html").write_text("<p>{{ data.order_id }}</p>")

    with Outbox(templates=tmp_path if by == "outbox" else "") as outbox:
        if by == "program":
            notifykit.configure("sqlite:///never-made.db", templates=tmp_path)
        outbox.kit.blocking.recipients.save("user:42", tenant="acme", name="Ada", email="ada@example.org")
        ship("A-1", to="user:42")
        outbox.deliver()

        mail = outbox.one(channel="email").message

    assert ("Ada, A-1 is on its way", "A-1") == (mail.subject, mail.text.strip())
    assert mail.template.startswith("order.shipped/email@")


def test_no_message_leaves_the_test(monkeypatch):
    """Providers of the environment are not used."""
    monkeypatch.setenv("NOTIFYKIT_EMAIL", "smtp://mail.example.org?sender=shop@example.org")
    with Outbox() as outbox:
        outbox.kit.blocking.recipients.save("user:42", tenant="acme", email="ada@example.org")
        ship("A-1", to="user:42")
        outbox.deliver()

        assert ["ada@example.org"] == [sent.address for sent in outbox.provider("email").messages]


# ── when ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("ada")
def test_a_later_step_is_sent_when_its_time_has_come(outbox):
    """``advance`` stops at each moment at which something is due."""
    notifykit.publish(CommentCreated("Nice!"), tenant="acme", to="user:42")

    assert ["in_app"] == [each.channel for each in outbox.advance(minutes=14)]
    assert ["email"] == [each.channel for each in outbox.advance(minutes=2)]
    assert NOON + timedelta(minutes=15) == outbox.one(channel="email").sent[0].at


@pytest.mark.usefixtures("ada")
def test_an_item_that_was_read_cancels_the_step(outbox):
    """``read`` is what the person does; only items of that kind are read."""
    notifykit.publish(CommentCreated("Nice!"), tenant="acme", to="user:42")
    ship("A-1", to="user:42", channels=["in_app"])
    outbox.deliver()

    outbox.read("user:42", CommentCreated)
    outbox.advance(minutes=15)

    assert [] == outbox.provider("email").messages
    unread = outbox.kit.blocking.inbox("user:42", tenant="acme").page(state="unread")
    assert ["order.shipped"] == [item.event_type for item in unread.items]


async def test_async_tests_use_the_same(outbox):
    """Recipients, publishing, the clock and reading, from the test's own loop."""
    await outbox.kit.recipients.save("user:42", tenant="acme", email="ada@example.org")
    await notifykit.apublish(CommentCreated("Nice!"), tenant="acme", to="user:42")

    await outbox.adeliver()
    outbox.read("user:42")
    read = await outbox.kit.inbox("user:42", tenant="acme").page(state="read")
    later = await outbox.aadvance(minutes=15)

    assert [outbox.one(channel="in_app").id] == [item.id for item in read.items]
    assert [] == later


@pytest.mark.usefixtures("ada")
def test_a_digest_is_one_message_at_the_end_of_its_window(outbox):
    """Both events are in it."""
    for article in ("tea", "salt"):
        notifykit.publish(StockLow(article), tenant="acme", to="user:42")

    assert [] == outbox.advance(minutes=9)
    (digest,) = outbox.advance(minutes=1)

    assert digest.id == outbox.one(StockLow, to="user:42").id
    assert "tea" in digest.message.text
    assert "salt" in digest.message.text


def test_quiet_hours_end_by_the_clock_of_the_person(outbox, ada):
    """In Berlin it is 13:00 when the test begins."""
    outbox.kit.blocking.recipients.save("user:42", tenant="acme", zone="Europe/Berlin")
    ada.quiet_hours([Window(days=["wed"], from_="12:30", to="14:00")])
    ship("A-1", to="user:42", channels=["email"])

    assert [] == outbox.advance(minutes=59)
    assert ["email"] == [each.channel for each in outbox.advance(minutes=1)]


# ── failures ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("outcomes", "options", "problem"),
    [
        (["x"], {}, r"outcomes: \[0\] must be an outcome such as Transient\(reason=...\), not str"),
        ([], {}, "outcomes: give at least one"),
        ([Transient(reason="smtp_451")], {"times": -1}, "times: between 1 and"),
    ],
)
def test_what_is_no_outcome_is_refused_at_once(outbox, outcomes, options, problem):
    """And not by the attempt that would lead to it."""
    with pytest.raises(InvalidInputError, match=problem):
        outbox.provider("email").fail_next(*outcomes, **options)
    if not options:
        with pytest.raises(InvalidInputError, match=problem):
            outbox.fail_next(*outcomes)


@pytest.mark.usefixtures("ada")
def test_a_provider_fails_as_often_as_the_test_says(outbox):
    """Each attempt is on record, and the next one is made at the time of the retry."""
    outbox.provider("email").fail_next(Transient(reason="smtp_451"), times=2)
    ship("A-1", to="user:42")

    outbox.advance(hours=1)

    mail = outbox.one(OrderShipped, to="user:42", channel="email")
    assert ["smtp_451", "smtp_451", None] == [getattr(each.outcome, "reason", None) for each in mail.sent]
    assert (3, "delivered") == (mail.attempts, mail.state)


@pytest.mark.usefixtures("ada")
def test_a_failure_can_be_that_of_one_address(outbox):
    """An address that is gone is marked on the recipient by the library itself."""
    outbox.kit.blocking.recipients.save("user:7", tenant="acme", email="bob@example.org")
    outbox.provider("email").fail_next(BadRecipient(reason="smtp_550"), to="bob@example.org")
    ship("A-1", to=["user:42", "user:7"])

    outbox.deliver()

    bob = outbox.kit.blocking.recipients.get("user:7", tenant="acme")
    states = {to: outbox.one(to=to, channel="email").state for to in ("user:42", "user:7")}
    assert {"user:42": "delivered", "user:7": "dead"} == states
    assert ["gone"] == [address.state for address in bob.addresses]


# ── assertions ─────────────────────────────────────────────────────────────────────────────────


def test_a_failing_assertion_says_what_was_not_sent_and_why(outbox, ada):
    """The code of the decision is what a developer looks for."""
    ada.mute(type="order.shipped", channel="email")
    ship("A-1", to="user:42")
    outbox.deliver()

    with pytest.raises(AssertionError, match="found 0") as failure:
        outbox.one(OrderShipped, to="user:42", channel="email")

    text = str(failure.value)
    assert "expected one delivery of order.shipped to user:42 by email" in text
    assert "order.shipped to user:42 by in_app (delivered)" in text
    assert "not sent: order.shipped to user:42 by email (suppressed: muted)" in text


def test_a_message_that_cannot_be_made_says_why(outbox):
    """The developer of a template sees its mistake in the failing test."""
    outbox.kit.blocking.recipients.save("user:7", tenant="acme", email="bob@example.org")
    notifykit.publish(InvoiceDue("7"), tenant="acme", to="user:7")
    outbox.deliver()

    with pytest.raises(AssertionError, match=r"by email \(held: .*InvoiceDue.email failed: ValueError: no name\)"):
        outbox.one(InvoiceDue, to="user:7", channel="email")


def test_only_channels_with_a_provider_have_one(outbox):
    """The inbox is the application's own."""
    with pytest.raises(InvalidInputError, match="channel: must be one of email, sms, push, chat, not 'in_app'"):
        outbox.provider("in_app")


@pytest.mark.usefixtures("ada")
def test_reading_needs_something_to_read(outbox):
    """A test that forgot to deliver learns it."""
    ship("A-1", to="user:42")

    with pytest.raises(AssertionError, match=r"expected an inbox item of order.shipped to user:42 by in_app"):
        outbox.read("user:42", OrderShipped)


@pytest.mark.usefixtures("ada")
def test_a_message_is_no_request(outbox):
    """What a delivery does not have is an assertion that says what it has."""
    outbox.subscribe("order.*", tenant="acme")
    ship("A-1", to="user:42")
    outbox.deliver()

    with pytest.raises(AssertionError, match=r"order.shipped to user:42 by email .* went to a person"):
        outbox.one(channel="email").json()
    with pytest.raises(AssertionError, match=r"order.shipped to https://receiver.example.* went to an endpoint"):
        _ = outbox.one(endpoint="https://receiver.example/hooks").message


def test_the_store_of_an_outbox_keeps_inboxes(outbox):
    """From Python 3.12 on only what the class has makes it one."""
    for name in (name for name in vars(Inbox) if name.startswith("inbox_")):
        assert inspect.getattr_static(outbox.kit.store, name)
