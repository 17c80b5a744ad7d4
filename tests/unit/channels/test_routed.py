"""A channel to people with several provider accounts, and with those of tenants, in a dispatcher that is stepped."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import pytest

from notifykit import Account, Delivery, DeliveryState, Event, InvalidInputError, Notifykit, Priority
from notifykit.channels import routed_channel
from notifykit.channels.accounts import accounts_of
from notifykit.channels.routed import RoutedChannel
from notifykit.channels.tenant_accounts import TenantAccounts
from notifykit.errors import StoreUnavailableError
from notifykit.models.delivery import Claim
from notifykit.models.destination import Destination
from notifykit.models.messages import Message
from notifykit.models.outcome import Accepted, Answer, CircuitEffect, Outcome, Throttled, Transient, Uncertain
from notifykit.models.provider_account import ProviderAccount
from notifykit.models.unreadable import UnreadableProviderAccount
from notifykit.telemetry import CircuitClosed, CircuitOpened, DeliveryNotSent, TelemetryEvent
from notifykit.testing import FakeClock, Reply, VendorServer

TENANT, OTHER = "acme", "globex"
GOOD = Accepted(answer=Answer(status=200, reference="ref"))
DOWN = Transient(reason="http_503")
NO_KEY = Transient(reason="http_401", circuit=CircuitEffect.OPEN)


@attrs.define(eq=False)
class Scripted:
    """A provider that answers as it is told."""

    name: str
    answer: Outcome = GOOD
    asked: int = 0
    is_closed: bool = False
    account: str = ""

    def __attrs_post_init__(self) -> None:
        self.account = f"{self.name}://"

    async def send(self, message: Message, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        self.asked += 1
        return self.answer

    async def aclose(self) -> None:
        self.is_closed = True


@attrs.define
class Bench:
    """A kit with persons' addresses, a clock and a dispatcher."""

    kit: Notifykit
    clock: FakeClock
    dispatcher: Any
    told: list[TelemetryEvent]

    async def subscribe(self, persons: int, *, channel: str = "sms", tenant: str = TENANT) -> None:
        for number in range(persons):
            address = f"+4915100000{number:02}" if channel == "sms" else f"p{number}@example.org"
            await self.kit.subscriptions.create(
                "**", tenant=tenant, subscriber=f"user:{number}", channel=channel, address=address
            )

    async def publish(self, tenant: str = TENANT, **options: Any) -> None:
        await self.kit.apublish(Event(type="order.paid", data={}, **options), tenant=tenant)
        await self.work()

    async def work(self, *, after: float = 0) -> None:
        self.clock.advance(timedelta(seconds=after))
        while await self.dispatcher.step():
            pass

    async def deliveries(self, tenant: str = TENANT) -> list[Delivery]:
        return list(await self.kit.deliveries.list(tenant=tenant, limit=1000))


@asynccontextmanager
async def bench(*given: Any, url: str = "memory://", **options: Any) -> AsyncIterator[Bench]:
    told: list[TelemetryEvent] = []
    clock = FakeClock(datetime.now(UTC))
    options[options.pop("channel", "sms")] = list(given)
    if "store" not in options:
        options["url"] = url
    async with Notifykit(clock=clock, subscribers=[told.append], **options) as kit:
        channels = [each for each in kit.channels if isinstance(each, RoutedChannel)]
        dispatcher = kit.dispatcher(channels)
        yield Bench(kit, clock, dispatcher, told)
        for each in channels:
            await each.aclose()


async def test_the_second_provider_takes_over_and_gives_back() -> None:
    """After failures the first gets nothing, then a probe, then everything; what failed is sent over the second."""
    first, second = Scripted("first", DOWN), Scripted("second")
    async with bench(first, second) as it:
        await it.subscribe(60)
        await it.publish()
        failed, taken_over = first.asked, second.asked
        for _ in range(3):
            await it.work(after=400)
        delivered = Counter(each.state for each in await it.deliveries())
        first.answer = GOOD
        for _ in range(6):
            await it.publish()
            await it.work(after=15)
        before = second.asked
        await it.publish()

    assert (5, 55) == (failed, taken_over)
    assert {DeliveryState.DELIVERED: 60} == delivered
    assert before == second.asked


async def test_credentials_that_are_wrong_open_the_circuit_at_once() -> None:
    """The operator is told, one message fails, and the others go over the second; nothing ends as a dead letter."""
    first, second = Scripted("first", NO_KEY), Scripted("second")
    async with bench(first, second) as it:
        await it.subscribe(9)
        await it.publish()
        opened = await it.kit.store.circuits()
        await it.work(after=7)
        states = {each.state for each in await it.deliveries()}

    assert (1, 9) == (first.asked, second.asked)
    assert [("first://", "http_401")] == [(each.key, each.reason) for each in opened]
    assert ["first://"] == [each.key for each in it.told if isinstance(each, CircuitOpened)]
    assert {DeliveryState.DELIVERED} == states


async def test_while_no_provider_works_messages_wait() -> None:
    """They use up no attempts; then one at a time is tried, then more, and all arrive."""
    first, second = Scripted("first", NO_KEY), Scripted("second", NO_KEY)
    async with bench(first, second) as it:
        await it.subscribe(12)
        await it.publish()
        held = [each for each in await it.deliveries() if each.state is DeliveryState.HELD]
        await it.work(after=11)
        asked = first.asked + second.asked
        first.answer = GOOD
        for _ in range(30):
            await it.work(after=1000)
        delivered = await it.deliveries()

    assert ({"provider_failing"}, 10, {0}) == (
        {each.reason for each in held},
        len(held),
        {each.attempts for each in held},
    )
    assert asked <= 5
    assert {DeliveryState.DELIVERED} == {each.state for each in delivered}
    assert ["first://"] == [each.key for each in it.told if isinstance(each, CircuitClosed)]


async def test_the_circuit_of_an_account_that_is_gone_is_forgotten() -> None:
    """After a day without a probe: with another key an account has another name."""
    async with bench(Scripted("first", NO_KEY)) as it:
        await it.subscribe(1)
        await it.publish()
    kept = []
    async with bench(Scripted("second"), store=it.kit.store) as again:
        for after in (3600, 90_000):
            await again.work(after=after)
            kept.append([each.key for each in await again.kit.store.circuits()])

    assert [["first://"], []] == kept


async def test_what_is_too_late_does_not_wait_for_a_provider() -> None:
    """It expires although no account can take it."""
    async with bench(Scripted("first", NO_KEY)) as it:
        await it.subscribe(1)
        await it.publish()
        await it.publish(expires_at=it.clock.now() + timedelta(seconds=5))
        held = [each.state for each in await it.deliveries()]
        await it.work(after=10)
        (late,) = [each for each in await it.deliveries() if each.expires_at is not None]

    assert DeliveryState.HELD in held
    assert DeliveryState.EXPIRED is late.state


async def test_a_text_message_that_may_have_arrived_is_not_sent_again() -> None:
    """Not over the other provider either; an e-mail is."""
    first, second = Scripted("first", Uncertain(reason="timeout")), Scripted("second")
    async with bench(first, second) as it:
        await it.subscribe(1)
        await it.publish()
        await it.work(after=4000)
        (text,) = await it.deliveries()
    asked = second.asked
    async with bench(first, second, channel="email") as it:
        await it.subscribe(1, channel="email")
        await it.publish()
        for _ in range(4):
            await it.work(after=4000)
        (mail,) = await it.deliveries()

    assert (DeliveryState.DEAD, "uncertain", 1, 0) == (text.state, text.reason, text.attempts, asked)
    assert (DeliveryState.DELIVERED, 1) == (mail.state, second.asked)


@pytest.mark.parametrize("url", ["memory://", "sqlite"])
async def test_each_attempt_says_over_which_account_and_for_how_much(tmp_path, url) -> None:
    """Failed ones cost nothing; what has failed twice is tried over the other one; an SMS costs its segments."""
    first, second = Scripted("first", Throttled(reason="http_429")), Scripted("second")
    accounts = [Account(first, costs={"DE": "1"}), Account(second, costs={"DE": "0.0751", "*": 9})]
    store = f"sqlite:///{tmp_path / 'n.db'}" if url == "sqlite" else url
    async with bench(*accounts, url=store) as it:
        await it.subscribe(1)
        await it.kit.apublish(Event(type="order.paid", data={"n": "x" * 200}, priority=Priority.NORMAL), tenant=TENANT)
        await it.work()
        for _ in range(3):
            await it.work(after=2000)
        (delivery,) = await it.deliveries()
        found = await it.kit.deliveries.attempts(delivery.id, tenant=TENANT)

    assert [("first://", None)] * 2 + [("second://", Decimal("0.1502"))] == [
        (each.account, each.cost) for each in found
    ]
    assert "ref" == found[-1].reference


async def test_what_is_not_critical_takes_the_cheapest() -> None:
    """By the costs for the country of the number."""
    first, second = Scripted("first"), Scripted("second")
    accounts = [Account(first, costs={"*": "0.05", "DE": "0.09"}), Account(second, costs={"*": "0.08"})]
    async with bench(*accounts) as it:
        await it.subscribe(3)
        await it.publish()
        urgent = first.asked, second.asked
        await it.publish(priority=Priority.LOW)

    assert (3, 0) == urgent
    assert (3, 3) == (first.asked, second.asked)


async def test_each_address_goes_to_a_provider_that_has_such_addresses() -> None:
    """Rooms of Slack are not posted to over Discord, whatever the order."""
    with VendorServer(Reply(body=b"ok")) as slack, VendorServer(Reply(status=204)) as discord:
        url = f"slack://?endpoint={slack.url.rstrip('/')} || discord://?endpoint={discord.url.rstrip('/')}"
        async with bench(url, channel="chat") as it:
            rooms = ("https://discord.com/api/webhooks/1/abc", "https://hooks.slack.com/services/T0/B0/x")
            for number, address in enumerate(rooms):
                await it.kit.subscriptions.create(
                    "**", tenant=TENANT, subscriber=f"room:{number}", channel="chat", address=address
                )
            with pytest.raises(InvalidInputError, match="slack"):
                await it.kit.subscriptions.create(
                    "**", tenant=TENANT, subscriber="room:9", channel="chat", address="https://example.org/"
                )
            await it.publish()
            found = {each.address: each for each in await it.deliveries()}
            accounts = [(await it.kit.deliveries.attempts(found[room].id, tenant=TENANT))[0].account for room in rooms]

    assert ["discord://", "slack://"] == accounts
    assert (1, 1) == (len(slack.requests), len(discord.requests))


# ── accounts of tenants ────────────────────────────────────────────────────────────────────────


def catching(tmp_path: Any, name: str) -> tuple[str, Callable[[], int]]:
    """Return the URL of a provider that writes to a file, and what counts its messages."""
    file = tmp_path / f"{name}.jsonl"
    return f"catch://{file}", lambda: len(file.read_text().splitlines()) if file.exists() else 0


async def test_a_tenants_own_account_goes_over_the_default(tmp_path) -> None:
    """From the next message on, until it is removed; other tenants keep the default."""
    own, count = catching(tmp_path, "own")
    default = Scripted("default")
    async with bench(default) as it:
        for tenant in (TENANT, OTHER):
            await it.subscribe(1, tenant=tenant)
        seen = []
        for change in ("none", "set", "removed"):
            if change == "set":
                await it.kit.store.save(ProviderAccount(tenant=TENANT, id="sms", url=own))
            if change == "removed":
                assert await it.kit.providers.remove("sms", tenant=TENANT)
            for tenant in (TENANT, OTHER):
                await it.publish(tenant)
            seen.append((default.asked, count()))

    assert [(2, 0), (3, 1), (5, 1)] == seen


@pytest.mark.parametrize("url", ["", "sendgrid://K@?sender=a@b.example", "nothing"])
async def test_messages_of_a_tenant_whose_account_is_not_usable_wait(url: str) -> None:
    """They do not go over the operator's account, which is another sender; when it is repaired they are sent."""
    default = Scripted("default")
    async with bench(default) as it:
        await it.subscribe(1)
        saved = await it.kit.store.save(ProviderAccount(tenant=TENANT, id="sms", url=url))
        await it.publish()
        (held,) = await it.deliveries()
        asked = default.asked
        await it.kit.store.remove(ProviderAccount, TENANT, saved.id, now=it.clock.now())
        await it.work(after=400)
        (delivery,) = await it.deliveries()

    assert (DeliveryState.HELD, "provider_misconfigured", 0, 0) == (held.state, held.reason, held.attempts, asked)
    assert (DeliveryState.DELIVERED, 1) == (delivery.state, default.asked)


async def test_a_store_that_is_away_loses_no_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message is due again in a moment."""
    default = Scripted("default")
    async with bench(default) as it:
        await it.subscribe(1)

        async def away(*_: Any) -> None:
            raise StoreUnavailableError("away")

        with monkeypatch.context() as patched:
            patched.setattr(TenantAccounts, "url", away)
            await it.publish()
            (waiting,) = await it.deliveries()
        await it.work(after=2)
        (delivery,) = await it.deliveries()

    assert (DeliveryState.PENDING, 0) == (waiting.state, waiting.attempts)
    assert (DeliveryState.DELIVERED, 1) == (delivery.state, delivery.attempts)
    assert [] == [each for each in it.told if isinstance(each, DeliveryNotSent) and each.decision == "held"]


@attrs.define
class CountingStore:
    """Answers with accounts, and counts how often it is asked."""

    accounts: list[ProviderAccount] = attrs.field(factory=list)
    asked: int = 0

    async def get(self, *_: Any) -> list[ProviderAccount]:
        self.asked += 1
        return self.accounts


async def test_accounts_are_read_once_for_each_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """And always if they cannot be read: a repair of the row need not change the version."""
    monkeypatch.setattr("notifykit.channels.tenant_accounts._KEPT", 2)
    store: Any = CountingStore([ProviderAccount(tenant=TENANT, id="sms", url="catch://")])
    accounts = TenantAccounts(store)

    urls = [await accounts.url(TENANT, channel, 3) for channel in ("sms", "email", "sms")]
    once = store.asked
    await accounts.url(TENANT, "sms", 4)
    for tenant in ("b", "c"):
        await accounts.url(tenant, "sms", 0)
    kept = store.asked
    await accounts.url(TENANT, "sms", 4)
    store.accounts = [UnreadableProviderAccount(tenant="d", id="sms", url="x")]
    unreadable = [await accounts.url("d", "sms", 1) for _ in range(2)]

    assert ["catch://", None, "catch://"] == urls
    assert (1, 4) == (once, kept)
    assert ["", ""] == unreadable
    assert 7 == store.asked


async def test_accounts_of_many_tenants_are_closed_when_they_are_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were used the longest ago; one that is sending stays."""
    monkeypatch.setattr("notifykit.channels.routed._KEPT", 2)
    channel = routed_channel("sms", accounts_of("catch://"))
    sets = [await channel._set_up_tenant(f"catch:///{name}") for name in ("a", "b")]
    ticket = sets[0][0].health.begin(datetime.now(UTC))
    for name in ("c", "d", "c"):
        await channel._set_up_tenant(f"catch:///{name}")
    kept = [*channel._of_tenants]
    sets[0][0].health.end(ticket, None, timedelta(0))
    await channel._set_up_tenant("catch:///e")

    assert ["catch:///a", "catch:///c"] == kept
    assert ["catch:///c", "catch:///e"] == [*channel._of_tenants]


async def test_all_accounts_are_closed_with_the_channel() -> None:
    """Objects as well."""
    provider = Scripted("own")
    channel = routed_channel("push", accounts_of([provider, "catch://"]))
    await channel._set_up_tenant("catch:///a")

    await channel.aclose()

    assert provider.is_closed
    assert isinstance(channel, RoutedChannel)


async def test_without_a_choice_the_first_account_sends() -> None:
    """Such as for who uses a channel without a dispatcher."""
    provider = Scripted("own")
    channel = routed_channel("push", accounts_of([provider, "catch://"]))
    destination = channel.destination(tenant=TENANT, subscriber_id="user:1", address="token")
    from notifykit.testing.builders import make_event

    event = make_event()
    claim = Claim(
        "dlv_1", 1, 1, 0, 0, TENANT, event.id, event.type, "", "user:1", "push", Priority.NORMAL, None,
        event.published_at, None, event.published_at, event.body, 1, "token",
    )  # fmt: skip

    assert GOOD == await channel.send(claim, destination, now=datetime.now(UTC))
    assert destination.circuit_key is None
