"""The in-app channel: what is delivered is an item of an inbox, once, and stored together with others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import attrs
import pytest

from notifykit import Event, InvalidInputError, Notifykit, Resource, StoreUnavailableError, TemplateError, event
from notifykit.channels.inbox import InboxChannel
from notifykit.channels.inbox.batches import Batches
from notifykit.channels.inbox.channel import MAX_CONTENT
from notifykit.errors import ValueRefusedError
from notifykit.models.delivery import Claim, Priority
from notifykit.models.inbox import InboxItem
from notifykit.models.messages import InAppMessage, Message, SmsMessage
from notifykit.models.outcome import Accepted, Permanent, Transient
from notifykit.testing import START, FakeClock, make_inbox_item

ADA = "user:ada"


@event("order.line_shipped", category="orders")
@attrs.frozen
class LineShipped:
    order_id: str


class Written:
    """Keeps the batches that it is given, after what the test does."""

    def __init__(self, before: Callable[[Sequence[InboxItem]], Any] = lambda items: None) -> None:
        self.batches: list[list[str]] = []
        self.before = before

    async def inbox_put(self, items: Sequence[InboxItem]) -> None:
        done = self.before(items)
        await (asyncio.sleep(0) if done is None else done)
        self.batches.append([item.id for item in items])


class Says:
    """Renders what it is given, or raises it."""

    def __init__(self, message: Message | Exception) -> None:
        self.message = message

    def render(self, claim: Claim, destination: object, *, now: object) -> Message:
        if isinstance(self.message, Exception):
            raise self.message
        return self.message


def claim_of(id: str = "dlv_1") -> Claim:
    return Claim(
        id, 1, 1, 0, 0, "acme", "evt_1", "order.shipped", "sub_1", ADA, "in_app", Priority.NORMAL, None, START, None,
        START, b'{"data":{}}', 1, ADA,
    )  # fmt: skip


async def sent(channel: InboxChannel, *ids: str, timeout: float = 9) -> list[Any]:
    """Send deliveries at the same time; return their outcomes."""
    to = channel.destination(tenant="acme", subscriber_id=ADA, address=ADA)
    to = attrs.evolve(to, timeout=timedelta(seconds=timeout))
    return await asyncio.gather(*(channel.send(claim_of(id_), to, now=START) for id_ in ids))


async def test_an_event_becomes_an_item():
    """Until there is a template, people read the name of the type, and a client gets the data."""
    clock = FakeClock()
    async with Notifykit("memory://", clock=clock, event_types=[LineShipped]) as kit:
        await kit.subscriptions.create("order.*", tenant="acme", subscriber=ADA, channel="in_app", address=ADA)
        receipt = await kit.apublish(LineShipped("A-1"), tenant="acme", resource=Resource("order", "A-1"))
        dispatcher = kit.dispatcher()
        while await dispatcher.step():
            pass
        (delivery,) = await kit.deliveries.list(tenant="acme")
        (item,) = (await kit.inbox(ADA, tenant="acme").page()).items

        await kit.deliveries.redrive(delivery.id, tenant="acme")
        while await dispatcher.step():
            pass
        again = (await kit.inbox(ADA, tenant="acme").page()).items

    assert InboxItem(
        id=delivery.id, tenant="acme", recipient=ADA, event_id=receipt.event_id, event_type="order.line_shipped",
        category="orders", resource=Resource("order", "A-1"), title="Order line shipped",
        body="Order id: A-1", data={"order_id": "A-1"},
        created_at=clock.now(), number=item.number, change=item.change,
    ) == item  # fmt: skip
    assert (item,) == again


async def test_what_comes_together_is_stored_together():
    """While a transaction is under way, the items of the next one gather."""
    store = Written()
    channel = InboxChannel(store)  # type: ignore[arg-type]

    outcomes = await sent(channel, *(f"dlv_{n}" for n in range(450)))
    await sent(channel, "dlv_last")

    assert {Accepted()} == set(outcomes)
    assert [20, 200, 200, 30, 1] == list(map(len, store.batches))


async def test_a_tenant_with_little_to_store_waits_for_no_queue():
    """Its item waits for two transactions at the most, however many items of another tenant wait."""
    allowed = asyncio.Semaphore(2)
    store = Written(lambda items: allowed.acquire())
    batches = Batches(store)  # type: ignore[arg-type]
    crowd = [make_inbox_item(id=f"dlv_{n}", tenant="acme") for n in range(1000)]

    async with asyncio.TaskGroup() as group:
        for item in crowd:
            group.create_task(batches.put(item, 9))
        while len(store.batches) < 2:
            await asyncio.sleep(0)
        group.create_task(batches.put(make_inbox_item(id="dlv_urgent", tenant="globex"), 9))
        await asyncio.sleep(0.01)
        for _ in range(100):
            allowed.release()

    assert [20, 200, 200, 200, 1, 200, 180] == list(map(len, store.batches))
    assert ["dlv_urgent"] == store.batches[4]


async def test_an_item_that_is_refused_keeps_no_other_from_being_stored():
    """Its delivery ends; the others of its transaction are stored without it."""

    def refuse(items: Sequence[InboxItem]) -> None:
        if any(item.id == "dlv_b" for item in items):
            raise ValueRefusedError("a value is out of range")

    store = Written(refuse)

    outcomes = await sent(InboxChannel(store), "dlv_a", "dlv_b", "dlv_c")  # type: ignore[arg-type]

    assert [Accepted(), Permanent(reason="value_refused"), Accepted()] == outcomes
    assert [["dlv_a"], ["dlv_c"]] == store.batches


async def test_a_store_that_is_away_is_tried_again_later():
    """Each delivery of the batch waits for its next attempt, and the channel works on."""
    errors = [StoreUnavailableError("away")]

    def fail(_: object) -> None:
        if errors:
            raise errors.pop()

    channel = InboxChannel(Written(fail))  # type: ignore[arg-type]

    assert [Transient(reason="store_unavailable")] * 2 == await sent(channel, "dlv_a", "dlv_b")
    assert [Accepted()] == await sent(channel, "dlv_a")


async def test_an_attempt_ends_with_its_deadline():
    """Others go on, and closing waits for them; what has waited for the next transaction is not in it."""
    gate = asyncio.Event()
    store = Written(lambda items: gate.wait())
    channel = InboxChannel(store)  # type: ignore[arg-type]
    patient = asyncio.create_task(sent(channel, "dlv_a"))
    await asyncio.sleep(0.01)

    assert [Transient(reason="timeout")] == await sent(channel, "dlv_b", timeout=0.01)
    closing = asyncio.create_task(channel.aclose())
    gate.set()
    assert [Accepted()] == await patient
    await closing

    assert [["dlv_a"]] == store.batches
    await channel.aclose()


@pytest.mark.parametrize("field", ["title", "body", "url", "data"])
async def test_an_item_has_a_size(field):
    """What is larger is refused for good."""
    large: Any = {"x": "y" * MAX_CONTENT} if field == "data" else "y" * MAX_CONTENT
    channel = InboxChannel(Written(), Says(InAppMessage(**{"title": "Large", field: large})))  # type: ignore[arg-type]

    assert [Permanent(reason="message_too_large")] == await sent(channel, "dlv_a")


@pytest.mark.parametrize("made", [TemplateError("order.shipped: line 3"), SmsMessage(text="hi")])
async def test_a_message_that_cannot_be_made_is_no_outcome(made):
    """The sender tells the operator, and nothing is stored."""
    store = Written()

    with pytest.raises(TemplateError, match=r"order\.shipped"):
        await sent(InboxChannel(store, Says(made)), "dlv_a")  # type: ignore[arg-type]

    assert [] == store.batches


@pytest.mark.parametrize("address", ["", "x" * 256, "user\n42"])
async def test_an_address_is_a_recipients_id(address):
    """Any text that can be one."""
    async with Notifykit("memory://") as kit:
        with pytest.raises(InvalidInputError, match="address"):
            await kit.subscriptions.create("**", tenant="acme", subscriber=ADA, channel="in_app", address=address)


async def test_untyped_events_have_no_category():
    """The publisher said none."""
    async with Notifykit("memory://") as kit:
        await kit.subscriptions.create("**", tenant="acme", subscriber=ADA, channel="in_app", address=ADA)
        await kit.apublish(Event(type="a.b", data={"n": 1}), tenant="acme")
        dispatcher = kit.dispatcher()
        while await dispatcher.step():
            pass
        (item,) = (await kit.inbox(ADA, tenant="acme").page()).items

    assert (None, None, "A b", {"n": 1}) == (item.category, item.resource, item.title, item.data)


async def test_a_channel_that_is_cancelled_leaves_no_sender_waiting():
    """Those whose items are being stored, and those that wait for the next transaction."""
    channel = InboxChannel(Written(lambda items: asyncio.Event().wait()))  # type: ignore[arg-type]
    first = asyncio.create_task(sent(channel, "dlv_a"))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(sent(channel, "dlv_b"))
    await asyncio.sleep(0.01)

    (storing,) = channel._batches._coalescer._tasks
    storing.cancel()

    for waiting in (first, second):
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_the_outbox_of_a_test_has_inboxes(outbox):
    """A program's test can read what a person would see."""
    await outbox.kit.store.inbox_put([make_inbox_item(ADA)])

    (item,) = (await outbox.kit.inbox(ADA, tenant="acme").page()).items

    assert ADA == item.recipient
