"""The guard: what is dialled is what was vetted, and after a failed lookup nothing is dialled."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from pathlib import Path

import pytest

from notifykit.channels.webhook import Guard, Refusal, SystemResolver, WireError, lookups
from notifykit.channels.webhook import guard as guard_module
from notifykit.errors import ConfigurationError, DestinationRefusedError

from .receivers import PUBLIC, FixedResolver


async def refusal(guard: Guard, host: str, port: int = 443) -> str:
    with pytest.raises(DestinationRefusedError) as caught:
        await guard.vet(host, port)
    return caught.value.reason


async def test_public_answers_are_returned_in_order():
    """The resolver's order of preference is kept."""
    answers = [PUBLIC, "2606:4700:4700::1111"]
    guard = Guard(resolver=FixedResolver({"hook.test": answers}))

    assert tuple(answers) == await guard.vet("hook.test", 443)


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (["127.0.0.1"], Refusal.LOOPBACK),
        ([PUBLIC, "10.0.0.1"], Refusal.PRIVATE),
        ([PUBLIC, "::ffff:169.254.169.254"], Refusal.METADATA),
        ([PUBLIC, "fe80::1%eth0"], Refusal.SCOPED),
        ([PUBLIC, "0177.0.0.1"], Refusal.NOT_AN_ADDRESS),
    ],
)
async def test_one_refused_address_refuses_the_name(answers, reason):
    """A mixed set of answers is refused as a whole."""
    assert reason == await refusal(Guard(resolver=FixedResolver({"hook.test": answers})), "hook.test")


async def test_addresses_are_judged_without_the_resolver():
    """An address is no name: it is judged and returned as it is."""
    resolver = FixedResolver({})
    guard = Guard(resolver=resolver)

    assert (PUBLIC,) == await guard.vet(PUBLIC, 443)
    assert Refusal.PRIVATE == await refusal(guard, "10.1.2.3")
    assert [] == resolver.asked


@pytest.mark.parametrize("answers", [[], [[]]])
async def test_no_answer_is_a_failure_and_never_permission(answers):
    """A name that cannot be resolved is a failed attempt."""
    guard = Guard(resolver=FixedResolver({"hook.test": answers}))

    with pytest.raises(WireError) as caught:
        await guard.vet("hook.test", 443)
    assert ("dns_failure", False) == (caught.value.reason, caught.value.uncertain)


async def test_a_lookup_has_a_deadline(monkeypatch):
    """A lookup that hangs is given up."""

    class Hanging:
        async def resolve(self, host, port):
            await asyncio.Event().wait()

    monkeypatch.setattr(guard_module, "LOOKUP_TIMEOUT", 0.05)

    with pytest.raises(WireError) as caught:
        await Guard(resolver=Hanging()).vet("hook.test", 443)
    assert "dns_failure" == caught.value.reason


async def test_vetted_answers_are_remembered_for_a_while(monkeypatch):
    """A burst of new connections makes one lookup; later the name is judged anew."""
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    resolver = FixedResolver({"hook.test": [[PUBLIC], ["127.0.0.1"]]})
    guard = Guard(resolver=resolver)

    assert (PUBLIC,) == await guard.vet("hook.test", 443)
    clock[0] += guard_module.ANSWER_TTL - 0.1
    assert (PUBLIC,) == await guard.vet("hook.test", 443)
    assert ["hook.test"] == resolver.asked
    clock[0] += 0.2
    assert Refusal.LOOPBACK == await refusal(guard, "hook.test")


async def test_refusals_and_failures_are_not_remembered():
    """A name that was repaired works at once."""
    guard = Guard(resolver=FixedResolver({"hook.test": [["10.0.0.1"], [], [PUBLIC]]}))

    assert Refusal.PRIVATE == await refusal(guard, "hook.test")
    with pytest.raises(WireError):
        await guard.vet("hook.test", 443)
    assert (PUBLIC,) == await guard.vet("hook.test", 443)


async def test_what_is_remembered_is_bounded(monkeypatch):
    """Many names do not fill the memory."""
    monkeypatch.setattr(guard_module, "MAX_REMEMBERED", 10)
    guard = Guard(resolver=FixedResolver({}, default=[PUBLIC]))

    for number in range(50):
        await guard.vet(f"h{number}.test", 443)

    assert 10 == len(guard._remembered)


async def test_only_so_many_answers_are_used():
    """A name with a hundred addresses costs no more than one with sixteen."""
    answers = [f"93.184.216.{n}" for n in range(100)]

    assert guard_module.MAX_ANSWERS == len(
        await Guard(resolver=FixedResolver({"hook.test": answers})).vet("hook.test", 1)
    )


@pytest.mark.parametrize(
    ("allow", "address", "expected"),
    [
        ("127.0.0.0/8", "127.0.0.1", None),
        ("127.0.0.0/8", "::ffff:127.0.0.1", None),
        ("127.0.0.0/8", "10.0.0.1", Refusal.PRIVATE),
        ("10.20.0.0/16", "10.20.3.4", None),
        ("10.20.0.0/16", "10.21.3.4", Refusal.PRIVATE),
        ("fd00::/8", "fd12::1", None),
        ("64:ff9b::/96", "64:ff9b::808:808", None),
        ("64:ff9b::/96", "64:ff9b::a00:1", Refusal.PRIVATE),
        ("64:ff9b::/96", "64:ff9b::a9fe:a9fe", Refusal.METADATA),
        ("2002::/16", "2002:a9fe:a9fe::1", Refusal.METADATA),
        ("::/0", "::127.0.0.1", Refusal.LOOPBACK),
    ],
)
def test_an_operator_may_allow_a_block(allow, address, expected):
    """An allow-list opens its own blocks, and what an address carries inside is judged too."""
    assert expected == Guard(allow=[allow]).judge(address)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.170.2",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "fd00:ec2::254",
        "fd20:ce::254",
        "::ffff:169.254.169.254",
        "fe80::a9fe:a9fe",
    ],
)
def test_metadata_services_cannot_be_allowed(address):
    """Even an allow-list of everything opens no metadata service."""
    assert Refusal.METADATA == Guard(allow=["0.0.0.0/0", "::/0"]).judge(address)


@pytest.mark.parametrize(
    ("address", "block"),
    [
        ("10.0.0.1", "10.0.0.0/8"),
        ("172.16.9.9", "172.16.0.0/12"),
        ("100.64.0.1", "100.64.0.0/10"),
        ("192.0.0.5", "192.0.0.0/24"),
        ("::1", "::1/128"),
        ("fd00::1", "fc00::/7"),
        ("::ffff:192.168.0.9", "192.168.0.0/16"),
        ("4000::1", "4000::1/128"),  # refused because it is not global unicast: the block would be all of IPv6
    ],
)
def test_a_refusal_names_the_block_that_would_lift_it(address, block):
    """With the block that the error names on the allow-list, the address is allowed."""
    with pytest.raises(DestinationRefusedError) as caught:
        Guard().parse(f"https://[{address}]/" if ":" in address else f"https://{address}/")

    assert block == caught.value.block
    assert Guard(allow=[block]).judge(address) is None
    assert block not in str(caught.value)


@pytest.mark.parametrize("host", ["169.254.169.254", "acme.example:22", "printer.local"])
def test_a_refusal_that_no_block_lifts_names_none(host):
    """Metadata services, ports and reserved names."""
    with pytest.raises(DestinationRefusedError) as caught:
        Guard().parse(f"https://{host}/")

    assert caught.value.block is None


async def test_a_name_that_points_inside_names_the_block_of_its_address():
    """The operator learns what to allow; the text, which the tenant may see, has no address."""
    guard = Guard(resolver=FixedResolver({"hook.test": [PUBLIC, "10.1.2.3"]}))

    with pytest.raises(DestinationRefusedError) as caught:
        await guard.vet("hook.test", 443)

    assert "10.0.0.0/8" == caught.value.block
    assert "10." not in str(caught.value)


def test_a_wrong_block_is_a_configuration_error():
    """A typing error in the allow-list is reported at the start."""
    with pytest.raises(ConfigurationError, match="CIDR"):
        Guard(allow=["127.0.0.1/8"])


NAMES = ["receiver", "*.svc.cluster.local", "Hooks.Internal."]


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("receiver", None),
        ("RECEIVER.", None),
        ("receiver2", Refusal.SINGLE_LABEL),
        ("a.receiver", None),  # its form is that of a public name
        ("orders.svc.cluster.local", None),
        ("orders.shop.svc.cluster.local", None),
        ("svc.cluster.local", Refusal.RESERVED_NAME),
        ("evilsvc.cluster.local", Refusal.RESERVED_NAME),
        ("hooks.internal", None),
        ("a.hooks.internal", Refusal.RESERVED_NAME),
        ("localhost", Refusal.LOCALHOST),
        ("x.localhost", Refusal.LOCALHOST),
    ],
)
async def test_an_operator_may_list_names(host, reason):
    """Names of a private network are allowed if they are listed; other private names do not."""
    guard = Guard(allow_names=NAMES, allow_http=True, resolver=FixedResolver({}, default=[PUBLIC]))

    assert reason == (await guard.judge_url(f"http://{host}:8080/")).reason


@pytest.mark.parametrize(
    ("answer", "reason"), [("10.0.0.1", None), ("192.168.0.1", Refusal.PRIVATE), ("169.254.169.254", Refusal.METADATA)]
)
async def test_a_listed_name_is_vetted_as_it_is_dialled(answer, reason):
    """The list of names opens no address: its block must be allowed as well, and metadata services stay refused."""
    guard = Guard(allow=["10.0.0.0/8"], allow_names=["receiver"], resolver=FixedResolver({"receiver": [answer]}))

    assert reason == (await guard.judge_url("https://receiver/")).reason


@pytest.mark.parametrize("name", ["", "*", "*.", "*.*", "10.0.0.1", "http://receiver", "a b", "*.localhost", "a.*.b"])
def test_a_wrong_name_is_a_configuration_error(name):
    """A typing error in the list of names is reported at the start."""
    with pytest.raises(ConfigurationError, match="name"):
        Guard(allow_names=[name])


async def test_localhost_needs_both_switches():
    """A receiver on this machine needs loopback on the allow-list, and plain http besides."""
    closed, no_http = Guard(allow_http=True), Guard(allow=["127.0.0.0/8"])
    opened = Guard(allow=["127.0.0.0/8"], allow_http=True)

    assert "localhost" == (await closed.judge_url("http://localhost:8080/")).reason
    assert "scheme" == (await no_http.judge_url("http://localhost:8080/")).reason
    assert ("allow", None, "http://localhost:8080/", ("127.0.0.1",)) == await opened.judge_url("http://localhost:8080")
    assert "allow" == (await opened.judge_url("http://127.0.0.1:8080")).verdict
    assert "localhost" == (await opened.judge_url("http://x.localhost:8080")).reason


async def test_judge_url_takes_given_answers():
    """A verdict can be had without any DNS."""
    guard = Guard(resolver=FixedResolver({}))

    assert ("allow", None, "https://hook.test/", (PUBLIC,)) == await guard.judge_url(
        "https://HOOK.test", {"hook.test": [PUBLIC]}
    )
    assert "loopback" == (await guard.judge_url("https://hook.test/", {"hook.test": [PUBLIC, "::1"]})).reason
    assert "dns_failure" == (await guard.judge_url("https://hook.test/", {"hook.test": []})).reason
    assert "dns_failure" == (await guard.judge_url("https://other.test/", {"hook.test": [PUBLIC]})).reason
    assert "private" == (await guard.judge_url("https://10.0.0.1/", {"10.0.0.1": [PUBLIC]})).reason


async def test_the_message_names_no_address():
    """The text that a tenant may read does not reveal where the name points."""
    guard = Guard(resolver=FixedResolver({"hook.test": ["10.11.12.13"]}))

    with pytest.raises(DestinationRefusedError) as caught:
        await guard.vet("hook.test", 443)
    assert "10.11" not in str(caught.value)


async def test_the_system_resolver_appends_no_search_domain(monkeypatch):
    """Names are looked up as complete names but for those of one label, and each address is returned once."""
    asked = []

    def getaddrinfo(host, port, **options):
        asked.append(host)
        return [(2, 1, 6, "", (PUBLIC, port)), (2, 1, 6, "", (PUBLIC, port)), (10, 1, 6, "", ("::1", port, 0, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    assert [PUBLIC, "::1"] == await SystemResolver().resolve("hook.test", 443)
    assert [PUBLIC, "::1"] == await SystemResolver().resolve("receiver", 443)
    assert ["hook.test.", "receiver"] == asked


async def test_a_hanging_lookup_holds_one_thread(monkeypatch):
    """All lookups of one name share one thread, even after other callers gave up."""
    release, calls = threading.Event(), []

    def getaddrinfo(host, port, **options):
        calls.append(host)
        release.wait(10)
        return [(2, 1, 6, "", (PUBLIC, port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    resolver = SystemResolver()
    try:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await resolver.resolve("slow.test", 443)
        waiting = asyncio.create_task(resolver.resolve("slow.test", 443))
        await asyncio.sleep(0)
        release.set()

        assert [PUBLIC] == await waiting
        assert ["slow.test."] == calls
    finally:
        release.set()


@pytest.fixture
def hanging(monkeypatch):
    """Let every name with "hang" in it hang until the event is set; return the event and the names looked up."""
    release, calls = threading.Event(), []

    def getaddrinfo(host, port, **options):
        calls.append(host)
        if "hang" in host:
            release.wait(30)
        return [(2, 1, 6, "", (PUBLIC, port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(lookups, "SLOW_AFTER", 0.05)
    yield release, calls
    release.set()


async def vets(guard: Guard, names: list[str]) -> list[asyncio.Task[tuple[str, ...]]]:
    """Begin to vet names."""
    tasks = [asyncio.create_task(guard.vet(name, 443)) for name in names]
    await asyncio.sleep(0)
    return tasks


async def ended(tasks: list[asyncio.Task[tuple[str, ...]]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_names_that_hang_leave_threads_for_others(hanging):
    """However many names of a domain hang, others are resolved, as is a name of that domain that has answered."""
    _, calls = hanging
    guard = Guard(resolver=SystemResolver())
    first = await vets(guard, [f"first{n}.hangs.test" for n in range(lookups.QUICK // 2)])
    await asyncio.sleep(lookups.SLOW_AFTER / 2)  # the others become slow later
    first += await vets(guard, [f"other{n}.hangs.test" for n in range(lookups.QUICK // 2)])

    assert (PUBLIC,) == await guard.vet("shop.example", 443)
    more = await vets(guard, [f"more{n}.hangs.test" for n in range(200)])
    assert (PUBLIC,) == await guard.vet("shop.example.net", 443)
    assert lookups.SLOW >= sum("hang" in name for name in calls)
    await ended([*first, *more])


async def test_a_lookup_that_never_began_is_no_failure_of_the_name(hanging):
    """When all threads are taken, those for names that hang included, the receiver is not at fault."""
    guard = Guard(resolver=SystemResolver())
    tasks = await vets(guard, [f"{n}.{n}.hang" for n in range(lookups.QUICK)])

    with pytest.raises(WireError) as caught:
        await asyncio.gather(*(guard.vet(f"x.{n}.hang", 443, patience=0.2) for n in range(100, 200)))

    assert ("lookup_limit", True) == (caught.value.reason, caught.value.own)
    await ended(tasks)


async def test_one_name_holds_one_thread_whatever_its_ports(hanging):
    """A name that is registered with many ports takes one thread."""
    release, calls = hanging
    guard = Guard(resolver=SystemResolver())
    tasks = [asyncio.create_task(guard.vet("one.hangs.test", port)) for port in range(8000, 8064)]
    await asyncio.sleep(0)
    release.set()

    assert {(PUBLIC,)} == {*await asyncio.gather(*tasks)}
    assert ["one.hangs.test."] == calls


async def test_a_name_that_answers_is_not_taken_for_one_that_hangs(hanging, monkeypatch):
    """Where many share a domain, those that have answered are resolved beside those that hang."""
    monkeypatch.setattr(guard_module, "ANSWER_TTL", 0)
    guard = Guard(resolver=SystemResolver())
    await guard.vet("shop.shared.test", 443)
    tasks = await vets(guard, [f"hang{n}.shared.test" for n in range(300)])
    while sum("hang" in name for name in hanging[1]) < lookups.SLOW:
        await asyncio.sleep(0.01)

    assert (PUBLIC,) == await guard.vet("shop.shared.test", 443)
    await ended(tasks)


def test_every_reason_is_documented():
    """The guide lists each code once, in its table."""
    guide = (Path(__file__).parents[3] / "docs" / "howto" / "egress.md").read_text(encoding="utf-8")

    for reason in Refusal:
        assert 1 == guide.count(f"| `{reason}` |"), reason
