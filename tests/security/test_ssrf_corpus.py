"""The SSRF corpus: every entry is judged right, for the right reason, and nothing is dialled that was not vetted.

Each URL runs with plain http allowed and once more as https, through the verdict
that people see and through both transports, with every dial of the event loop recorded.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from notifykit.channels.webhook import Guard, Refusal, WebhookChannel, addresses
from notifykit.channels.webhook import guard as guard_module
from notifykit.models.outcome import Accepted, Permanent, Transient
from tests.shared_data import shared_data
from tests.unit.channels.receivers import (
    NOW,
    PUBLIC,
    Exchange,
    FixedResolver,
    Receiver,
    local_guard,
    make_claim,
    make_destination,
)

#: Where public names lead that point inwards; everything else leads to a public address.
INWARD = {
    "localtest.me": ["127.0.0.1"],
    "localh.st": ["127.0.0.1", "::1"],
    "make-1.2.3.4-rebind-169.254-169.254-rr.1u.ms": ["169.254.169.254"],
}
NIP = re.compile(r"(?:.*\.)?(\d+\.\d+\.\d+\.\d+)\.(?:nip|sslip)\.io")

#: The reasons that make sense for a category of the corpus.
REASONS: dict[str, set[str]] = {
    "localhost-name": {"localhost"},
    "loopback-v4": {"loopback", "ip_notation"},
    "unspecified": {"unspecified"},
    "short-v4": {"ip_notation"},
    "decimal-v4": {"ip_notation"},
    "octal-v4": {"ip_notation"},
    "hex-v4": {"ip_notation"},
    "overflow-v4": {"ip_notation"},
    "prefix-tricks-v4": {"ip_notation"},
    "v6-loopback": {"loopback", "userinfo", "syntax", "scoped"},
    "v4-mapped": {"loopback", "metadata", "link_local", "private", "broadcast"},
    "v4-compat-and-translated": {"transition"},
    "nat64": {"transition"},
    "6to4-teredo-isatap": {"transition", "private"},
    "v6-private": {"private", "link_local"},
    "v6-special": {"reserved", "documentation", "benchmarking", "multicast"},
    "metadata": {"metadata", "reserved_name"},
    "private-v4": {"private", "shared", "link_local"},
    "reserved-v4": {"reserved", "documentation", "multicast", "benchmarking", "transition", "broadcast"},
    "internal-services": {"loopback", "localhost", "single_label"},
    "dns-alias": {"loopback", "metadata", "private"},
    "scheme": {"scheme"},
    "malformed-authority": {"syntax", "backslash", "single_label"},
    "parser-confusion": {"backslash", "control_character", "fragment", "userinfo", "host_syntax"},
    "userinfo": {"userinfo"},
    "control-chars": {"control_character"},
    "unicode-host": {"non_ascii"},
    "port": {"port"},
    "length": {"host_too_long", "url_too_long"},
}


class Entry(NamedTuple):
    kind: str
    category: str
    verdict: str
    value: str


def read_corpus() -> Iterator[Entry]:
    for line in shared_data("ssrf-corpus.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            kind, category, verdict, value, *_ = line.split("\t")
            yield Entry(kind, category, verdict, json.loads(f'"{value}"'))


CORPUS = list(read_corpus())


def entries(kind: str) -> list[Entry]:
    return [entry for entry in CORPUS if entry.kind == kind]


class Resolver:
    """Public for every name except those that are known to point inwards."""

    async def resolve(self, host: str, port: int) -> list[str]:
        alias = NIP.fullmatch(host)
        return [alias.group(1)] if alias else INWARD.get(host, [PUBLIC])


@pytest.fixture
async def dialled(monkeypatch):
    """Record every address that the event loop is asked to connect to; none is connected."""
    seen: list[str] = []

    async def create_connection(factory, host=None, port=None, **options):
        seen.append(host)
        raise ConnectionRefusedError("recorded, not dialled")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", create_connection)
    return seen


def spellings(url: str) -> list[str]:
    return [url, url.replace("http://", "https://")]


def test_the_corpus_is_there():
    """Every category has its reasons, so that no entry is skipped."""
    assert len(entries("url")) > 100
    assert {entry.category for entry in entries("url")} - {"allow-control"} <= set(REASONS)


@pytest.mark.parametrize("entry", entries("url"), ids=lambda entry: f"{entry.category}-{ascii(entry.value)[1:60]}")
async def test_every_url_gets_its_verdict_and_reason(entry):
    """The verdict is right in both spellings, and the reason is one of its category."""
    guard = Guard(allow_http=True, resolver=Resolver())
    for url in spellings(entry.value):
        verdict = await guard.judge_url(url)

        assert entry.verdict == verdict.verdict
        if entry.verdict == "allow":
            assert verdict.addresses
        else:
            assert verdict.reason in REASONS[entry.category]
            assert Refusal(verdict.reason)


@pytest.mark.parametrize("transport", ["wire", "httpx"])
async def test_only_vetted_addresses_are_dialled(transport, dialled):
    """A whole delivery of every URL: the denied ones reach no socket, the allowed ones dial the public address."""
    guard = Guard(allow_http=True, resolver=Resolver())
    channel = WebhookChannel(guard=guard, transport=transport)
    wrong = []
    for number, entry in enumerate(entries("url")):
        for url in spellings(entry.value):
            dialled.clear()
            outcome = await channel.send(make_claim(), make_destination(url, id=f"end_{number}_{url[:5]}"), now=NOW)
            if entry.verdict == "deny":
                right = isinstance(outcome, Permanent) and outcome.reason.startswith("blocked_") and not dialled
            else:
                right = Transient(reason="connect_failed") == outcome and dialled == [PUBLIC]
            if not right:
                wrong.append((entry, outcome, list(dialled)))
    await channel.aclose()

    assert [] == wrong


@pytest.mark.parametrize("entry", entries("addr"), ids=lambda entry: entry.value)
def test_every_address_is_judged_right(entry):
    """Addresses of the corpus; of the embedding forms only the mapped one is judged by what it carries."""
    reason = addresses.judge(entry.value)

    expected = {"allow": True, "deny": False, "policy": entry.value == "::ffff:8.8.8.8"}[entry.verdict]
    assert expected == (reason is None)


def rounds_of(scenario: str) -> list[list[str]]:
    """Read ``hook.test A=1.2.3.4,… AAAA=… then A=…``: one list of answers per lookup."""
    if "lookup hangs" in scenario:
        return []
    special = {
        "CNAME metadata.google.internal": ["169.254.169.254"],
        "/etc/hosts": ["127.0.0.1"],
        "search domain": ["10.0.0.7"],
    }
    for mark, answers in special.items():
        if mark in scenario:
            return [answers]
    rounds = []
    for step in scenario.split(" then "):
        groups = re.findall(r"\bA{1,4}=(\S+?)(?=[\s;]|,?$|, )", step)
        rounds.append([address for group in groups for address in group.split(",") if address])
    return rounds


@pytest.mark.parametrize("transport", ["wire", "httpx"])
@pytest.mark.parametrize("remember", [0.0, 10.0], ids=["forgetful", "remembering"])
@pytest.mark.parametrize("entry", entries("dns"), ids=lambda entry: entry.value[:60])
async def test_no_dns_answer_leads_inwards(entry, transport, remember, dialled, monkeypatch):
    """Rebinding, mixed sets and hanging lookups: over several attempts only the vetted public address is dialled."""
    monkeypatch.setattr(guard_module, "ANSWER_TTL", remember)
    monkeypatch.setattr(guard_module, "LOOKUP_TIMEOUT", 0.02)
    rounds = rounds_of(entry.value)

    class Scripted:
        asked = 0

        async def resolve(self, host: str, port: int) -> list[str]:
            if not rounds:
                await asyncio.Event().wait()
            answers = rounds[min(self.asked, len(rounds) - 1)]
            self.asked += 1
            if not answers:
                raise OSError("no such name")
            return answers

    guard = Guard(allow_http=True, resolver=Scripted())
    channel = WebhookChannel(guard=guard, transport=transport)
    if remember:
        await guard.judge_url("https://hook.test/")
    outcomes = [await channel.send(make_claim(), make_destination("https://hook.test/"), now=NOW) for _ in range(3)]
    await channel.aclose()

    assert set(dialled) <= {PUBLIC}
    if not remember:  # each attempt asks anew: the first may see the public address, a later one never does
        assert ([PUBLIC] if rounds[:1] == [[PUBLIC]] else []) == dialled
        assert isinstance(outcomes[-1], Permanent) or (not rounds and Transient(reason="dns_failure") == outcomes[-1])


def answer_of(scenario: str) -> bytes:
    """Read ``302 -> url``, ``302 chain of 30``, ``200 with Name: value`` or ``401 with …`` into an answer."""
    status = int(scenario[:3])
    if "->" in scenario:
        header = "Location: " + scenario.split("->", 1)[1].partition(" (")[0].strip()
    elif "chain" in scenario:
        header = "Location: /next"
    elif "Alt-Svc" in scenario:
        header = "Alt-Svc: " + scenario.split("Alt-Svc:", 1)[1].strip()
    else:
        header = scenario.split(" with ", 1)[1]
    return f"HTTP/1.1 {status} Look\r\n{header}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize("transport", ["wire", "httpx"])
@pytest.mark.parametrize("entry", entries("redirect"), ids=lambda entry: entry.value[:40])
async def test_no_answer_leads_elsewhere(entry, transport):
    """Whatever a receiver answers, it gets one request for each attempt, and no other address gets any."""
    answer = answer_of(entry.value)

    async def script(exchange: Exchange) -> None:
        while True:
            await exchange.answer(answer)

    channel = WebhookChannel(guard=local_guard(), transport=transport)
    async with Receiver(script) as receiver:
        outcomes = [await channel.send(make_claim(), make_destination(receiver.url), now=NOW) for _ in range(2)]
        await channel.aclose()

        status = int(entry.value[:3])
        expected = {2: (Accepted, None), 3: (Transient, "redirect"), 4: (Transient, f"http_{status}")}[status // 100]
        assert [expected] * 2 == [(type(outcome), getattr(outcome, "reason", None)) for outcome in outcomes]
        assert 2 == len(receiver.requests)
        assert receiver.requests[0] == receiver.requests[1]


@pytest.mark.parametrize("transport", ["wire", "httpx"])
async def test_the_environment_changes_nothing(transport, tmp_path, monkeypatch):
    """Proxy variables and ``.netrc`` of the worker do not apply: no proxy is used, no credential added."""

    async def trap(exchange: Exchange) -> None:
        await exchange.reader.read(1)

    async def accept(exchange: Exchange) -> None:
        await exchange.answer(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with Receiver(trap) as proxy, Receiver(accept) as receiver:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{proxy.port}")
        (tmp_path / ".netrc").write_text("machine 127.0.0.1 login eve password s3cret\n")
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
        channel = WebhookChannel(guard=local_guard(), transport=transport)
        outcome = await channel.send(make_claim(), make_destination(receiver.url), now=NOW)
        await channel.aclose()

        assert Accepted is type(outcome)
        assert 0 == proxy.connections
        assert b"authorization" not in receiver.requests[0][0].lower()


@pytest.mark.parametrize("transport", ["wire", "httpx"])
async def test_random_sets_of_answers(transport, dialled):
    """Random sets of good and bad addresses, round after round: a bad set is never dialled, a good one always is."""
    rng = random.Random(7)
    bad = [
        "127.0.0.1",
        "::1",
        "10.1.2.3",
        "169.254.169.254",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "fd00::1",
        "0.0.0.0",
    ]
    good = ["93.184.216.34", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"]
    rounds = [[rng.choice(bad if rng.random() < 0.2 else good) for _ in range(rng.randint(1, 4))] for _ in range(300)]
    guard = Guard(resolver=FixedResolver({f"h{n}.test": answers for n, answers in enumerate(rounds)}))
    channel = WebhookChannel(guard=guard, transport=transport)
    wrong = []
    for number, answers in enumerate(rounds):
        dialled.clear()
        await channel.send(make_claim(), make_destination(f"https://h{number}.test/", id=f"end_{number}"), now=NOW)
        expected = [] if set(answers) & set(bad) else [addresses.pack(answer) for answer in answers]
        if expected != [addresses.pack(address) for address in dialled]:
            wrong.append((answers, list(dialled)))
    await channel.aclose()

    assert [] == wrong
