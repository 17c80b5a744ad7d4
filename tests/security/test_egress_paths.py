"""Egress on every path: what registering, testing and delivering dial, counted where the socket connects.

The kit is the default one, with its own channel and either transport; only the resolver
is the test's.  The counter stands below asyncio and httpx, at :meth:`socket.socket.connect`,
and counts lookups beside the resolver too.  Verdicts and reasons are those of the corpus.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Literal

import attrs
import pytest

from notifykit import EgressRules, Endpoint, Event, Notifykit
from notifykit.admin.endpoints import TEST_EVENT
from notifykit.channels.webhook import Guard, WireError, addresses
from notifykit.channels.webhook import guard as guard_module
from notifykit.channels.webhook.guard import Resolver
from notifykit.dispatch.runtime.dispatcher import Dispatcher
from notifykit.errors import DestinationRefusedError, InvalidEndpointError
from notifykit.models.delivery import Delivery, DeliveryState
from notifykit.testing import FakeClock
from tests import report
from tests.unit.channels.receivers import PUBLIC, Exchange, FixedResolver, Receiver

from .test_ssrf_corpus import REASONS, Entry, answer_of, entries, rounds_of, spellings
from .test_ssrf_corpus import Resolver as Names

TENANT = "acme"
PLAIN_EVENT = "order.shipped"
TRANSPORTS = ("wire", "httpx")
GOOD = "https://good.test/hooks"


class Dials:
    """Every connect of this process, and every lookup that the resolver of the test did not make.

    Attributes:
        made: Where sockets were to connect to, in order.
        reachable: What they are really connected to; everything else is refused before a packet leaves.
        lookups: Names that were looked up with the system's resolver.
    """

    def __init__(self) -> None:
        self.made: list[tuple[str, int]] = []
        self.reachable: set[tuple[str, int]] = set()
        self.lookups: list[object] = []

    @property
    def hosts(self) -> list[str]:
        """The addresses alone, in their canonical text."""
        return [addresses.text(addresses.pack(host) or b"") for host, _ in self.made]

    def count(self, family: int, address: Any) -> None:
        """Count a connect; refuse it unless it leads to a receiver of the test."""
        if family in (socket.AF_INET, socket.AF_INET6):
            self.made.append(address[:2])
            if address[:2] not in self.reachable:
                raise ConnectionRefusedError("counted, not made")


@pytest.fixture
def dials(monkeypatch: pytest.MonkeyPatch) -> Iterator[Dials]:
    """The counter; at the end there must have been no lookup beside the resolver."""
    dials = Dials()

    def counted(real: Any) -> Any:
        def connect(sock: socket.socket, address: Any) -> Any:
            dials.count(sock.family, address)
            return real(sock, address)

        return connect

    def getaddrinfo(host: object, *_: object, **__: object) -> None:
        dials.lookups.append(host)
        raise socket.gaierror("only the resolver of the test is asked")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, counted(getattr(socket.socket, name)))
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield dials
    assert [] == dials.lookups


class Witness(Guard):
    """A guard that records the addresses that it allowed."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.vetted: list[str] = []

    async def vet(self, host: str, port: int, *, patience: float = 1.0) -> tuple[str, ...]:
        found = await super().vet(host, port, patience=patience)
        self.vetted += found
        return found


@attrs.frozen(kw_only=True)
class Rules(EgressRules):
    """Egress rules with the resolver of a test, and one guard that can be asked afterwards."""

    resolver: Resolver
    witness: list[Witness] = attrs.field(factory=list)

    def guard(self) -> Guard:
        self.witness.append(Witness(self.allow, allow_http=self.allow_http, resolver=self.resolver))
        return self.witness[-1]

    @property
    def vetted(self) -> set[str]:
        """Every address that was allowed."""
        return {address for guard in self.witness for address in guard.vetted}


@attrs.define
class Scene:
    """A kit with its dispatcher, and the clock of its retries."""

    kit: Notifykit
    dispatcher: Dispatcher
    clock: FakeClock
    rules: Rules

    async def store(self, url: str) -> Endpoint:
        """Store an endpoint as if it had been accepted under other rules, and subscribe it to everything."""
        model = await self.kit.endpoints.create(GOOD, tenant=TENANT)
        endpoint = attrs.evolve(model, url=url)
        await self.kit.store.save(endpoint)
        await self.kit.subscriptions.create("**", tenant=TENANT, endpoint_id=endpoint.id)
        return endpoint

    async def settle(self) -> None:
        """Plan, send and record until nothing is due."""
        async with asyncio.timeout(30):
            while await self.dispatcher.step():
                pass

    async def deliveries(self) -> list[Delivery]:
        """Return all deliveries."""
        return list(await self.kit.deliveries.list(tenant=TENANT, limit=10_000))


@asynccontextmanager
async def scene(resolver: Resolver, transport: Literal["wire", "httpx"] = "wire", **rules: Any) -> AsyncIterator[Scene]:
    """Open a kit with the test's resolver (and ``egress``, if rules of another kind are wanted)."""
    egress = rules.get("egress") or Rules(resolver=resolver, transport=transport, allow_http=True, **rules)
    clock = FakeClock()
    async with Notifykit("memory://", egress=egress, clock=clock) as kit:
        dispatcher = kit.dispatcher()
        yield Scene(kit, dispatcher, clock, egress)
        async with dispatcher:  # stopping it closes its channel
            pass


def both_spellings() -> list[tuple[Entry, str]]:
    """Return every URL of the corpus as it is and as https."""
    return [(entry, url) for entry in entries("url") for url in spellings(entry.value)]


async def register(kit: Notifykit, path: str, url: str, endpoint: Endpoint) -> Endpoint:
    """Register a URL by one of the ways there are."""
    match path:
        case "create":
            return await kit.endpoints.create(url, tenant=TENANT)
        case "update":
            return await kit.endpoints.update(endpoint.id, tenant=TENANT, url=url)
        case _:
            return (await kit.subscribe("order.*", tenant=TENANT, endpoint=url))[1]


@pytest.mark.parametrize("path", ["create", "update", "subscribe"])
async def test_nothing_is_registered_that_will_not_be_delivered_to(path, dials):
    """Denied URLs are refused with the reason of their category and leave no trace; no URL is dialled."""
    wrong = []
    async with scene(Names()) as at:
        kept = await at.kit.endpoints.create(GOOD, tenant=TENANT)
        for entry, url in both_spellings():
            before = list(await at.kit.endpoints.list(tenant=TENANT, limit=1000))
            try:
                made = await register(at.kit, path, url, kept)
            except InvalidEndpointError as error:
                cause = error.__cause__
                right = (
                    entry.verdict == "deny"
                    and isinstance(cause, DestinationRefusedError)
                    and cause.reason in REASONS[entry.category]
                    and error.problems == (f"url: {cause}",)
                    and before == list(await at.kit.endpoints.list(tenant=TENANT, limit=1000))
                )
            else:
                right = entry.verdict == "allow" and made.url == Guard(allow_http=True).parse(url).url
            if not right:
                wrong.append((entry, url))

        assert [] == wrong
        assert [] == dials.made
        report.note(f"egress: {path}", urls=len(entries("url")), judged=len(both_spellings()), connects_outside=0)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_what_was_stored_under_other_rules_is_not_dialled(transport, dials):
    """Test events and deliveries of every URL: denied ones end with their reason, controls dial what was vetted."""
    async with scene(Names(), transport) as at:
        stored = {(await at.store(url)).id: (entry, url) for entry, url in both_spellings()}
        await at.kit.apublish(Event(type=PLAIN_EVENT, data={}), tenant=TENANT)
        for endpoint_id in stored:
            await at.kit.endpoints.test(endpoint_id, tenant=TENANT)
        await at.settle()
        ended = await at.deliveries()

        wrong, due = [], Counter[str]()
        for delivery in ended:
            entry, url = stored[delivery.subscriber_id]
            if entry.verdict == "deny":
                reasons = {f"blocked_{reason}" for reason in REASONS[entry.category]}
                right = delivery.state is DeliveryState.DEAD and delivery.reason in reasons
            else:
                due.update((await Guard(allow_http=True, resolver=Names()).judge_url(url)).addresses)
                (attempt,) = await at.kit.deliveries.attempts(delivery.id, tenant=TENANT)
                right = delivery.state is DeliveryState.PENDING and attempt.reason == "connect_failed"
            if not right:
                wrong.append((entry, url, delivery))
        outside = set(dials.made and dials.hosts) - at.rules.vetted
        assert [] == wrong
        assert {PLAIN_EVENT, TEST_EVENT} == {delivery.event_type for delivery in ended}
        assert 2 * len(stored) == len(ended)
        assert set() == outside
        assert due == Counter(dials.hosts)
        assert due
    report.note(
        f"egress: test event and delivery, {transport}",
        urls=len(entries("url")),
        judged=len(ended),
        connects=len(dials.made),
        connects_outside=len(outside),
    )


class Scripted:
    """Answers lookups in rounds, and counts those with only public answers.

    Attributes:
        begun: Before that every name is a good one.
        harmless: How many lookups since then had only public answers.
    """

    def __init__(self, rounds: list[list[str]], *, begun: bool) -> None:
        self._round_robin = rounds
        self._asked = 0
        self.begun = begun
        self.harmless = 0

    async def resolve(self, host: str, port: int) -> list[str]:
        """Return the answers of the round that is due."""
        if host != "hook.test" or not self.begun:
            return [PUBLIC]
        if not self._round_robin:
            await asyncio.Event().wait()
        answers = self._round_robin[min(self._asked, len(self._round_robin) - 1)]
        self._asked += 1
        if not answers:
            raise OSError("no such name")
        self.harmless += all(addresses.judge(answer) is None for answer in answers)
        return answers


def is_bad(rounds: list[list[str]]) -> bool:
    """Return whether an answer of these rounds leads inwards."""
    return any(addresses.judge(answer) is not None for answers in rounds for answer in answers)


@pytest.mark.parametrize("begins", ["at registration", "at delivery"])
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("entry", entries("dns"), ids=lambda entry: entry.value[:60])
async def test_a_name_that_starts_to_point_inwards_is_not_dialled(entry, transport, begins, dials, monkeypatch):
    """Rebinding, mixed and hanging answers on the way from registration over a test event to retries."""
    monkeypatch.setattr(guard_module, "ANSWER_TTL", 0.0)
    monkeypatch.setattr(guard_module, "LOOKUP_TIMEOUT", 0.02)
    resolver = Scripted(rounds_of(entry.value), begun=begins == "at registration")
    async with scene(resolver, transport) as at:
        registered = at.kit.endpoints.create("https://hook.test/", tenant=TENANT)
        if resolver.begun and is_bad(rounds_of(entry.value)[:1]):
            with pytest.raises(InvalidEndpointError, match="destination refused"):
                await registered
        else:
            await registered
        assert [] == dials.made
        harmless_before = resolver.harmless
        endpoint = await at.store("https://hook.test/")
        resolver.begun = True
        await at.kit.endpoints.test(endpoint.id, tenant=TENANT)
        await at.settle()
        await at.kit.apublish(Event(type=PLAIN_EVENT, data={}), tenant=TENANT)
        for _ in range(3):
            await at.settle()
            at.clock.advance(timedelta(minutes=10))

        reasons = {delivery.reason for delivery in await at.deliveries()}
        expected = (
            {"dns_failure"} if not rounds_of(entry.value) else {r for r in reasons if str(r).startswith("blocked_")}
        )
        assert [PUBLIC] * (resolver.harmless - harmless_before) == dials.hosts
        assert expected == reasons
        assert reasons


def local(receiver: Receiver, dials: Dials) -> tuple[str, int]:
    """Let the counter through to a receiver of the test; return its address."""
    address = ("127.0.0.1", receiver.port)
    dials.reachable.add(address)
    return address


async def deliver_both(at: Scene, receiver: Receiver) -> list[Delivery]:
    """Register a receiver; send it a test event and an ordinary one."""
    _, endpoint = await at.kit.subscribe("**", tenant=TENANT, endpoint=receiver.url)
    await at.kit.endpoints.test(endpoint.id, tenant=TENANT)
    await at.kit.apublish(Event(type=PLAIN_EVENT, data={}), tenant=TENANT)
    await at.settle()
    return await at.deliveries()


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("entry", entries("redirect"), ids=lambda entry: entry.value[:40])
async def test_no_answer_leads_a_path_elsewhere(entry, transport, dials):
    """Whatever a receiver answers, test events and deliveries connect to it alone, once per event at the most."""

    async def script(exchange: Exchange) -> None:
        while True:
            await exchange.answer(answer_of(entry.value))

    async with Receiver(script) as receiver, scene(FixedResolver({}), transport, allow=["127.0.0.0/8"]) as at:
        address = local(receiver, dials)
        found = await deliver_both(at, receiver)

        taken = entry.value.startswith("2")
        assert {DeliveryState.DELIVERED if taken else DeliveryState.PENDING} == {delivery.state for delivery in found}
        assert 2 == len(found) == len(receiver.requests)
        assert {address} == set(dials.made)


ENVIRONMENTS = {
    "proxies": {"HTTP_PROXY": "proxy", "HTTPS_PROXY": "proxy", "ALL_PROXY": "proxy"},
    "proxies and exceptions": {"HTTP_PROXY": "proxy", "ALL_PROXY": "proxy", "NO_PROXY": "example.com"},
    "no proxy at all": {"HTTPS_PROXY": "proxy", "NO_PROXY": "*"},
    "credentials": {"NETRC": "file", "HOME": "folder"},
}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("kind", ENVIRONMENTS)
async def test_the_environment_of_a_worker_changes_no_path(kind, transport, dials, tmp_path, monkeypatch):
    """Proxies, exceptions from them and stored credentials are other programs' settings."""

    async def trap(exchange: Exchange) -> None:
        await exchange.reader.read(1)

    async def accept(exchange: Exchange) -> None:
        while True:
            await exchange.answer(b"HTTP/1.1 204 No Content\r\n\r\n")

    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login eve password s3cret\ndefault login eve password s3cret\n")
    async with Receiver(trap) as proxy, Receiver(accept) as receiver:
        local(proxy, dials)
        values = {"proxy": f"http://127.0.0.1:{proxy.port}", "file": str(tmp_path / ".netrc"), "folder": str(tmp_path)}
        for name, value in ENVIRONMENTS[kind].items():
            monkeypatch.setenv(name, values.get(value, value))
            monkeypatch.setenv(name.lower(), values.get(value, value))
        async with scene(FixedResolver({}), transport, allow=["127.0.0.0/8"]) as at:
            address = local(receiver, dials)
            found = await deliver_both(at, receiver)

            assert {DeliveryState.DELIVERED} == {delivery.state for delivery in found}
            assert {address} == set(dials.made)
            assert not any(b"authorization" in head.lower() for head, _ in receiver.requests)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_counter_counts(transport, dials):
    """With a guard that allows everything, the counter sees the same paths dial inwards."""

    class Blind(Guard):
        def judge(self, address: str) -> None:
            return None

    class Open(Rules):
        def guard(self) -> Guard:
            return Blind(allow_http=True, resolver=self.resolver)

    resolver = FixedResolver({"hook.test": ["10.1.2.3"]})
    async with scene(resolver, egress=Open(resolver=resolver, transport=transport)) as at:
        for url in ("http://hook.test:8080/", "http://169.254.169.254/", "https://[::1]/"):
            endpoint = await at.kit.endpoints.create(url, tenant=TENANT)
            await at.kit.endpoints.test(endpoint.id, tenant=TENANT)
        await at.settle()

        assert {("10.1.2.3", 8080), ("169.254.169.254", 80), ("::1", 443)} == set(dials.made)


async def test_a_name_that_does_not_resolve_is_no_permission(dials):
    """A lookup that fails at registration decides nothing: the attempt looks up again, and is refused."""
    resolver = FixedResolver({"hook.test": [[], ["127.0.0.1"]]})
    async with scene(resolver) as at:
        _, endpoint = await at.kit.subscribe("**", tenant=TENANT, endpoint="https://hook.test/")
        await at.kit.apublish(Event(type=PLAIN_EVENT, data={}), tenant=TENANT)
        await at.settle()

        (delivery,) = await at.deliveries()
        assert "blocked_loopback" == delivery.reason
        assert endpoint.id == delivery.subscriber_id
        assert ["hook.test"] * 2 == resolver.asked
        assert [] == dials.made
        with pytest.raises(WireError):
            await Guard(resolver=FixedResolver({})).vet("hook.test", 443)
