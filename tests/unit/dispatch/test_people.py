"""People: from an event to the deliveries of its recipients, and what is decided anew when these wake."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from notifykit import Event, EventType, InvalidInputError, Notifykit, event
from notifykit.dispatch import directory
from notifykit.dispatch.planning import planner
from notifykit.dispatch.runtime.dispatcher import Dispatcher
from notifykit.errors import StoreError
from notifykit.models.addresses import AddressState
from notifykit.models.delivery import Claim, Delivery, DeliveryState
from notifykit.models.destination import Destination
from notifykit.models.inbox import InboxMarks
from notifykit.models.outcome import Accepted, BadRecipient, Outcome, Permanent, Transient
from notifykit.models.preferences import Mute, MuteSelector, Scope, Selector, Setting
from notifykit.models.quiet_hours import QuietHours, Weekday, Window
from notifykit.models.recipient import Person, Recipient, RecipientAddress, TenantPreferences
from notifykit.models.steps import Step
from notifykit.models.suppression import SuppressedAddress
from notifykit.ports import DeliveryFilter
from notifykit.stores.memory import MemoryStore
from notifykit.telemetry import AddressGone, LoopFailed, TelemetryEvent
from notifykit.testing import FakeClock
from notifykit.testing.builders import make_recipient

from .support import QUICK, TENANT, ScriptedChannel

#: A Monday, at noon.
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
ADA, BOB = "user:ada", "user:bob"


@event(
    "comment.created",
    category="comments",
    steps=[Step("in_app"), Step("email", after=QUARTER, unless={"read"}), Step("sms", fallback=True)],
)
@attrs.frozen
class CommentCreated:
    text: str = "hi"


@event("order.shipped", category="orders")
@attrs.frozen
class OrderShipped:
    order: str = "A-1"


@attrs.define
class Messages:
    """A channel of messages in memory."""

    name: str
    answer: Callable[[Claim], Outcome] = lambda _: Accepted()
    sent: list[Destination] = attrs.field(factory=list)

    def check_address(self, address: str) -> str:
        return address

    def destination(self, *, tenant: str, subscriber_id: str, address: str, app: str | None = None) -> Destination:
        if address.startswith("bad"):
            raise InvalidInputError(["address: cannot be used"])
        return Destination(
            tenant=tenant,
            subscriber_id=subscriber_id,
            channel=self.name,
            address=address,
            app=app,
            retry=QUICK,
            is_fast=self.name == "in_app",
        )

    async def send(self, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        self.sent.append(destination)
        return self.answer(claim)

    async def aclose(self) -> None:
        pass


@attrs.define
class Town:
    """A kit with channels to people, and its dispatcher."""

    kit: Notifykit
    dispatcher: Dispatcher
    clock: FakeClock
    channels: dict[str, Messages]
    told: list[TelemetryEvent]

    async def save(self, id: str = ADA, **changes: Any) -> Recipient:
        """Save a new recipient."""
        return await self.kit.store.save(make_recipient(id, **changes))

    async def change(self, id: str = ADA, **changes: Any) -> None:
        """Change a recipient."""
        (found,) = await self.kit.store.get(Recipient, TENANT, [id])
        await self.kit.store.save(attrs.evolve(found, **changes))

    async def publish(self, source: object = CommentCreated(), **options: Any) -> str:
        """Publish, and deliver what is due; return the event's id."""
        receipt = await self.kit.apublish(source, tenant=TENANT, **options)
        await self.work()
        return receipt.event_id

    async def work(self, later: timedelta = timedelta(0)) -> None:
        """Do everything that is due."""
        self.clock.advance(later)
        while await self.dispatcher.step():
            pass

    async def found(self, **wanted: Any) -> dict[tuple[str, str, str], tuple[str, str | None]]:
        """Return state and reason of each delivery, by recipient, channel and address."""
        found = await self.deliveries(**wanted)
        return {(d.subscriber_id, d.channel, d.address or ""): (d.state.value, d.reason) for d in found}

    async def deliveries(self, **wanted: Any) -> list[Delivery]:
        return list(await self.kit.store.find_deliveries(TENANT, DeliveryFilter(**wanted), limit=9999))

    def sent(self, channel: str) -> list[str]:
        """Return the addresses that a channel has sent to."""
        return [destination.address for destination in self.channels[channel].sent]


@pytest.fixture(params=["memory", "sqlite", "postgres", "redis"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return "memory://"
    found: str = request.getfixturevalue(f"{request.param}_store_url")
    return found


Open = Callable[..., Any]


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    """Return a function that opens a town."""
    async with AsyncExitStack() as stack:

        async def open(url: str = "memory://", store: MemoryStore | None = None, names: Iterable[str] = ()) -> Town:
            clock = FakeClock(NOON)
            told: list[TelemetryEvent] = []
            channels = {name: Messages(name) for name in names or ("in_app", "email", "sms", "webhook")}
            kit = Notifykit(
                None if store else url,
                store=store,
                event_types=[CommentCreated, OrderShipped],
                clock=clock,
                subscribers=[told.append],
            )
            await stack.enter_async_context(kit)
            await kit.sync_event_types()
            return Town(kit, kit.dispatcher(list(channels.values())), clock, channels, told)

        yield open


@pytest.fixture
async def town(opened: Open) -> Town:
    made: Town = await opened()
    return made


async def test_a_person_is_told_over_the_steps_of_the_type(opened: Open, url: str) -> None:
    """In every store the inbox item comes at once, and the e-mail when its time has come."""
    town: Town = await opened(url)
    await town.save(locale="de", zone="Europe/Berlin")

    await town.publish(to=[ADA])
    at_once = await town.found()
    await town.work(QUARTER)

    assert {
        (ADA, "in_app", ADA): ("delivered", None),
        (ADA, "email", "ada@example.org"): ("held", "later_step"),
        (ADA, "sms", ""): ("suppressed", "no_address"),
    } == at_once
    assert ("delivered", None) == (await town.found())[ADA, "email", "ada@example.org"]
    assert [ADA] == town.sent("in_app")
    (mail,) = town.channels["email"].sent
    assert Person(id=ADA, locale="de", zone="Europe/Berlin") == mail.config


async def test_a_type_without_steps_uses_the_channels_that_there_are(town: Town) -> None:
    """In-app and e-mail; a channel without an address is left out, and so is one that no process has."""
    await town.save()
    await town.save(BOB, addresses=())

    await town.publish(OrderShipped(), to=[ADA, BOB])

    found = await town.found()
    assert {(ADA, "in_app", ADA), (ADA, "email", "ada@example.org"), (BOB, "in_app", BOB)} == found.keys()


async def test_recipients_and_endpoints_are_subscribed_alike(opened: Open, url: str) -> None:
    """A recipient who is named, and matched by two subscriptions, is told once; the tenant's webhook goes out too."""
    town: Town = await opened(url)
    await town.save()
    await town.save(BOB)
    for pattern in ("order.*", "**"):
        subscription = await town.kit.subscribe(pattern, tenant=TENANT, recipient=ADA)
    await town.kit.subscribe("order.*", tenant=TENANT, recipient=BOB, topic="shop/7/**")
    await town.kit.subscribe("order.*", tenant=TENANT, endpoint="https://203.0.114.7/hooks")

    await town.publish(OrderShipped(), topic="shop/7/order/1", to=[ADA, ADA])
    await town.publish(OrderShipped(), topic="shop/8/order/1")

    assert [ADA, BOB, ADA] == town.sent("in_app")
    assert 2 == len(town.sent("webhook"))
    assert (ADA, "*", None) == (subscription.subscriber_id, subscription.channel, subscription.address)


async def test_the_actor_is_not_told(town: Town) -> None:
    """Whoever caused the event knows of it."""
    await town.save()
    await town.save(BOB)

    await town.publish(OrderShipped(), to=[ADA, BOB], actor=ADA)

    assert [BOB] == town.sent("in_app")


async def test_channels_narrow_the_steps(town: Town) -> None:
    """A publish can leave channels out; what the person has refused stays refused."""
    off = Setting(scope=Scope.RECIPIENT, select=Selector(channel="email"), value="off")
    await town.save(settings=(off,))

    await town.publish(to=ADA, channels="email")
    await town.publish(OrderShipped(), to=ADA, channels=["sms"])

    assert {
        (ADA, "email", "ada@example.org"): ("suppressed", "turned_off"),
        (ADA, "sms", ""): ("suppressed", "no_address"),
    } == await town.found()


async def test_someone_unknown_is_a_decision(town: Town) -> None:
    """The others are told, and the delivery says why this one was not; saved later, they can be told by a redrive."""
    await town.save()

    await town.publish(OrderShipped(), to=["user:nobody", ADA])
    found = await town.found()
    await town.save("user:nobody")
    (unknown,) = await town.deliveries(subscriber_id="user:nobody")
    await town.kit.deliveries.redrive(unknown.id, tenant=TENANT)
    await town.work()

    assert ("suppressed", "unknown_recipient") == found["user:nobody", "in_app", "user:nobody"]
    assert [ADA, "user:nobody"] == town.sent("in_app")


async def test_quiet_hours_defer(opened: Open, url: str) -> None:
    """What comes at night waits for the morning; a change of the quiet hours meanwhile counts."""
    town: Town = await opened(url)
    night = Window(days=(Weekday.MON, Weekday.TUE), from_="11:00", to="14:00")
    await town.save(quiet_hours=QuietHours(windows=(night,)), zone="UTC")

    await town.publish(OrderShipped(), to=[ADA])
    (held, *_) = await town.deliveries(states=["held"])
    later = attrs.evolve(night, to="15:00")
    await town.change(quiet_hours=QuietHours(windows=(later,)))
    await town.work(timedelta(hours=2))
    held_again = await town.found()
    await town.work(timedelta(hours=1))

    assert ("quiet_hours", NOON + timedelta(hours=2)) == (held.reason, held.due_at)
    assert {("held", "quiet_hours")} == set(held_again.values())
    assert {("delivered", None)} == set((await town.found()).values())


@pytest.mark.parametrize(
    ("changes", "ended"),
    [
        ({"addresses": ()}, ("suppressed", "address_removed")),
        (
            {"addresses": (RecipientAddress(channel="email", address="new@example.org"),)},
            ("suppressed", "address_removed"),
        ),
        ({"mutes": (Mute(select=MuteSelector(topic="thread/*")),)}, ("suppressed", "muted")),
        (
            {"addresses": (RecipientAddress(channel="email", address="ada@example.org", state=AddressState.GONE),)},
            ("suppressed", "address_gone"),
        ),
    ],
)
async def test_the_decision_is_taken_anew_when_a_step_wakes(
    town: Town, changes: dict[str, Any], ended: tuple[str, str]
) -> None:
    """What the person has changed since the event was planned counts."""
    await town.save()
    await town.publish(to=[ADA], topic="thread/7")

    await town.change(**changes)
    await town.work(QUARTER)

    assert ended == (await town.found())[ADA, "email", "ada@example.org"]
    assert [] == town.sent("email")


async def test_what_waits_for_someone_who_was_removed_is_cancelled(town: Town) -> None:
    """Nothing is sent to a person whose record is gone."""
    await town.save()
    await town.publish(to=[ADA])
    (waits,) = await town.deliveries(states=["held"])

    del town.kit.store._tables.records[Recipient][TENANT, ADA]  # type: ignore[attr-defined]  # without what depends on it
    await town.work(QUARTER)

    assert ("cancelled", "recipient_deleted") == (await town.found(ids=[waits.id]))[ADA, "email", "ada@example.org"]
    assert [] == town.sent("email")


class MarkedStore(MemoryStore):
    """A store whose inbox items were seen or read as the test says."""

    marks: Mapping[str, InboxMarks] = {}

    async def inbox_marks(self, tenant: str, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], InboxMarks]:
        return {each: self.marks[each[0]] for each in wanted if each[0] in self.marks}


async def test_an_item_that_was_read_cancels_the_later_step(opened: Open) -> None:
    """Only for the one who has read it; to have seen it is less."""
    store = MarkedStore()
    town: Town = await opened(store=store)
    people = [ADA, BOB, "user:eve"]
    for id_ in people:
        await town.save(id_)
    await town.publish(to=people)

    store.marks = {ADA: InboxMarks(NOON, NOON), BOB: InboxMarks(NOON, None)}
    await town.work(QUARTER)

    found = await town.found()
    assert [("cancelled", "read"), ("delivered", None), ("delivered", None)] == [
        found[id_, "email", "ada@example.org"] for id_ in people
    ]


@pytest.mark.parametrize(("is_read", "ended"), [(True, ("cancelled", "earlier_step_delivered")), (False, None)])
async def test_a_fallback_runs_only_if_no_earlier_step_arrived(
    town: Town, is_read: bool, ended: tuple[str, str] | None
) -> None:
    """It waits as long as one of them may still arrive."""
    mobile = RecipientAddress(channel="sms", address="+4915112345678")
    await town.save(addresses=(*make_recipient().addresses, mobile))
    for name in ("in_app", "email"):
        town.channels[name].answer = lambda _: Permanent(reason="broken")
    await town.publish(to=[ADA])
    at_first = (await town.found())[ADA, "sms", mobile.address]
    await town.work(timedelta(minutes=2))
    waiting = (await town.found())[ADA, "sms", mobile.address]

    if is_read:
        town.channels["email"].answer = lambda _: Accepted()
    await town.work(QUARTER)
    await town.work(timedelta(minutes=2))

    assert ("held", "fallback") == at_first == waiting
    assert (ended or ("delivered", None)) == (await town.found())[ADA, "sms", mobile.address]


async def test_an_address_that_is_gone_is_marked_on_the_recipient(town: Town) -> None:
    """The provider says so once; then other addresses of the channel are used, and in the end none."""
    addresses = tuple(RecipientAddress(channel="email", address=f"{name}@example.org") for name in ("old", "new"))
    await town.save(addresses=addresses)
    town.channels["email"].answer = lambda claim: (
        BadRecipient(reason="no_mailbox") if claim.address == "old@example.org" else Accepted()
    )

    await town.publish(OrderShipped(), to=[ADA])
    first = sorted(town.sent("email"))
    await town.publish(OrderShipped(), to=[ADA])

    (ada,) = await town.kit.store.get(Recipient, TENANT, [ADA])
    assert ["new@example.org", "old@example.org"] == first
    assert ["new@example.org"] == town.sent("email")[2:]
    assert [("gone", "no_mailbox"), ("active", None)] == [(each.state.value, each.reason) for each in ada.addresses]
    assert [ADA] == [one.recipient_id for one in town.told if isinstance(one, AddressGone)]


async def test_a_channel_is_told_of_which_app_a_device_is(town: Town) -> None:
    """At the first attempt, which follows the plan at once, and at later ones."""
    devices = [RecipientAddress(channel="email", address=f"{app}@example.org", app=app) for app in ("shop", None)]
    await town.save(addresses=tuple(devices))
    town.channels["email"].answer = lambda claim: Transient(reason="http_503") if claim.attempt == 1 else Accepted()

    await town.publish(OrderShipped(), to=[ADA])
    await town.work(timedelta(minutes=5))

    told = [(sent.address, sent.app) for sent in town.channels["email"].sent]
    assert [("None@example.org", None)] * 2 + [("shop@example.org", "shop")] * 2 == sorted(told)


@pytest.mark.parametrize("large", [2000, 5])
async def test_a_large_fan_out_is_planned_in_pages(
    opened: Open, url: str, large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is left out or told twice, also who is named beside being subscribed, and in large tenants."""
    monkeypatch.setattr(directory, "LARGE", large)
    monkeypatch.setattr(planner, "_PAGE", 1000 if url == "memory://" else 4)
    town: Town = await opened(url)
    count = 1100 if url == "memory://" else 30
    people = [f"user:{number}" for number in range(count)]
    for id_ in people:
        await town.save(id_, addresses=())
        await town.kit.subscribe("order.*", tenant=TENANT, recipient=id_)

    await town.publish(OrderShipped(), to=people[:7])

    assert sorted(people) == sorted(town.sent("in_app"))
    assert {DeliveryState.DELIVERED} == {delivery.state for delivery in await town.deliveries()}


async def test_a_type_that_is_not_stored_yet_is_known_to_its_own_program(town: Town) -> None:
    """A class may be declared after the dispatcher has started."""
    await town.save()
    town.kit.catalog.include([EventType(name="late.type", steps=[Step("email")])])

    await town.publish(Event(type="late.type", data={}), to=[ADA])

    assert [(ADA, "email", "ada@example.org")] == list(await town.found())


async def test_a_channel_that_takes_no_addresses_cannot_reach_people(opened: Open) -> None:
    """Its deliveries wait for a process that has a better one."""
    town: Town = await opened()
    await town.save()
    plain = ScriptedChannel(name="email")
    town.dispatcher = town.kit.dispatcher([plain])

    await town.publish(OrderShipped(), to=[ADA], channels=["email"])

    assert {(ADA, "email", "ada@example.org"): ("held", "no_channel")} == await town.found()
    assert [] == plain.sent


async def test_an_address_that_its_channel_cannot_use_stops_no_other(town: Town) -> None:
    """The delivery says so."""
    for id_, address in ((ADA, "bad@example.org"), (BOB, "good@example.org")):
        await town.save(id_, addresses=(RecipientAddress(channel="email", address=address),))

    await town.publish(OrderShipped(), to=[ADA, BOB], channels=["email"])

    assert {
        (ADA, "email", "bad@example.org"): ("suppressed", "address_refused"),
        (BOB, "email", "good@example.org"): ("delivered", None),
    } == await town.found()


async def test_an_event_that_cannot_be_planned_stops_no_other(opened: Open) -> None:
    """It comes back when its lease has run out."""
    store = BrokenStore()
    town: Town = await opened(store=store)
    await town.save()
    await town.save(BOB)
    store.broken = BOB

    for who in (ADA, BOB, ADA):
        await town.kit.apublish(OrderShipped(), tenant=TENANT, to=[who])
    await town.work()
    while_broken = town.sent("in_app")
    store.broken = None
    for _ in range(2):  # another worker may have sent it, until that one's lease has run out
        await town.work(timedelta(minutes=5))

    assert [ADA, ADA] == while_broken
    assert [ADA, ADA, BOB] == town.sent("in_app")
    assert 1 == len([one for one in town.told if isinstance(one, LoopFailed) and "cannot be read" in one.error])


async def test_what_a_tenant_says_counts_at_once(town: Town) -> None:
    """It is kept, and read again when it has changed."""
    await town.save()
    await town.publish(OrderShipped(), to=[ADA], channels=["email"])
    lock = Setting(scope=Scope.TENANT, select=Selector(channel="email"), value="off", locked=True)
    await town.kit.store.save(TenantPreferences(tenant=TENANT, settings=(lock,)))

    second = await town.publish(OrderShipped(), to=[ADA], channels=["email"])

    assert ["ada@example.org"] == town.sent("email")
    assert [("suppressed", "locked_off")] == list((await town.found(event_id=second)).values())


class BrokenStore(MemoryStore):
    """A store with a recipient that cannot be read."""

    broken: str | None = None

    async def get(self, kind: type[Any], tenant: str, ids: Collection[str]) -> list[Any]:
        if kind is Recipient and self.broken in ids:
            raise StoreError("cannot be read")
        return await super().get(kind, tenant, ids)


class CountingStore(MemoryStore):
    """A store that counts what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[type] = []

    async def get(self, kind: type[Any], tenant: str, ids: Collection[str]) -> list[Any]:
        self.read.append(kind)
        return await super().get(kind, tenant, ids)


async def test_recipients_are_read_by_the_batch(opened: Open) -> None:
    """A batch of claims or events costs one read of recipients, and what has no people none."""
    store = CountingStore()
    town: Town = await opened(store=store)
    for number in range(50):
        await town.save(f"user:{number}")
    await town.kit.subscribe("webhook.*", tenant=TENANT, endpoint="https://203.0.114.7/hooks")
    store.read.clear()

    await town.kit.apublish_many([Event(type="webhook.only", data={})] * 50, tenant=TENANT)
    await town.work()
    for_webhooks = list(store.read)
    for number in range(50):
        await town.kit.apublish(CommentCreated(), to=[f"user:{number}"], tenant=TENANT)
    await town.work()
    planned = store.read.count(Recipient)
    await town.work(QUARTER)

    assert [] == for_webhooks
    assert 1 == planned
    assert 2 == store.read.count(Recipient)
    assert 1 == store.read.count(TenantPreferences)
    assert 50 == len(town.sent("email"))


async def test_an_address_on_the_suppression_list_is_not_used(opened: Open, url: str) -> None:
    """Whoever has it: what is planned after that, and what waits since before; other addresses and tenants go on."""
    town: Town = await opened(url)
    home = RecipientAddress(channel="email", address="home@example.org")
    await town.save()
    await town.save("user:43")
    await town.save("user:44", addresses=[home, RecipientAddress(channel="email", address="ADA@example.org")])
    first = await town.publish(to=[ADA, "user:43", "user:44"])
    await town.kit.suppressions.add("email", "Ada@Example.org", tenant=TENANT, reason="complaint", evidence="letter")
    await town.kit.suppressions.add("email", home.address, tenant="globex")

    await town.work(QUARTER)
    second = await town.publish(OrderShipped(), to=[ADA, "user:44"], channels=["email"])
    explained = await town.kit.explain(ADA, second, tenant=TENANT)
    what_if = await town.kit.explain(ADA, OrderShipped, tenant=TENANT)
    await town.kit.suppressions.remove("email", "ada@example.org", tenant=TENANT)
    third = await town.publish(OrderShipped(), to=[ADA], channels=["email"])

    woken = {key[0::2]: found for key, found in (await town.found(event_id=first)).items() if key[1] == "email"}
    assert {
        (ADA, "ada@example.org"): ("suppressed", "suppressed"),
        ("user:43", "ada@example.org"): ("suppressed", "suppressed"),
        ("user:44", "ADA@example.org"): ("suppressed", "suppressed"),
        ("user:44", "home@example.org"): ("delivered", None),
    } == woken
    assert {
        (ADA, "email", "ada@example.org"): ("suppressed", "suppressed"),
        ("user:44", "email", "home@example.org"): ("delivered", None),
    } == await town.found(event_id=second)
    assert [("delivered", None)] == list((await town.found(event_id=third)).values())
    assert "email: suppressed, suppressed: Every address for this channel is on the suppression list" in str(explained)
    assert "on the suppression list, email: complaint since 2026" in str(explained)
    assert ["suppressed"] == [step.code for step in what_if.steps if step.channel == "email"]


async def test_a_list_is_read_by_the_batch_and_only_where_there_is_one(opened: Open) -> None:
    """A tenant without suppressed addresses costs no read; the first address is noticed at once."""
    store = CountingStore()
    town: Town = await opened(store=store)
    people = [f"user:{number}" for number in range(50)]
    for id_ in people:
        await town.save(id_)
    await town.publish(OrderShipped(), to=people)
    without = store.read.count(SuppressedAddress)

    await town.kit.suppressions.add("email", "ada@example.org", tenant=TENANT, purposes=["security"])
    store.read.clear()
    for id_ in people:
        await town.kit.apublish(CommentCreated(), to=[id_], tenant=TENANT)
    await town.work()
    planned = store.read.count(SuppressedAddress)
    await town.work(QUARTER)

    assert (0, 1, 2) == (without, planned, store.read.count(SuppressedAddress))
    assert 50 + 50 == len(town.sent("email"))


async def test_a_running_dispatcher_tells_people(url: str) -> None:
    """Over every channel, each once, with nobody moving the clock."""
    channels = [Messages(name) for name in ("in_app", "email")]
    people = [f"user:{number}" for number in range(20)]
    async with Notifykit(url, event_types=[OrderShipped]) as kit:
        for id_ in people:
            await kit.store.save(make_recipient(id_))
        async with kit.dispatcher(channels) as dispatcher:
            await kit.apublish_many([OrderShipped()] * 3, tenant=TENANT, to=people)
            await kit.apublish_many([OrderShipped()] * 3, tenant=TENANT, to=people[0])
            await dispatcher.drained()

    for channel in channels:
        assert 63 == len(channel.sent)
        assert people == sorted({destination.subscriber_id for destination in channel.sent}, key=people.index)
        assert {Person} == {type(destination.config) for destination in channel.sent}
