"""Injection: no text that a tenant, a publisher or a receiver chose adds a line to a request, a log or a terminal.

Each seed is tried in each place that takes an untrusted text.  It is either refused
with an error of ours, or it arrives where it belongs: requests are read as bytes from a raw
socket, the log is a file with the formatter of a plain host, and the terminal is what the
command line prints.  In all three, lines are those of :meth:`str.splitlines`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Self
from unicodedata import bidirectional, category

import pytest

from notifykit import EgressRules, Endpoint, Event, Notifykit, NotifykitError
from notifykit.channels.webhook import WebhookChannel
from notifykit.cli import main
from notifykit.contrib.receivers import Answer, Intake
from notifykit.models.delivery import Claim
from notifykit.models.event import Resource
from notifykit.models.outcome import Accepted, Outcome, Permanent, Transient
from notifykit.signing import VerificationError, Verifier
from notifykit.telemetry import ChannelFailed, TelemetryEvent, line
from notifykit.testing import START, FakeClock
from tests import report
from tests.unit.channels.receivers import NOW, SECRET, local_guard, make_claim, make_destination
from tests.unit.cli.driving import start
from tests.unit.dispatch.support import ScriptedChannel

TENANT = "acme"
MARK = "x-evil"
_BREAKS = [
    "\r",
    "\n",
    "\r\n",
    "\r\n ",  # folded
    "\n\t",
    "\r\n\r\n",
    "\r\n\r\nPOST /admin HTTP/1.1\r\nhost: a\r\n",
    "\x00",
    "\x0b",
    "\x0c",
    "\x1c",
    "\x1e",
    "\x85",
    "\u2028",
    "\u2029",
    "\u010a",  # a line feed to encoders that keep the low byte
    "\u010d\u010a",
    "\u560a",
    "\u560d\u560a",
    "\x1b[2K\x1b[1G",  # wipes the line on a terminal
    "\x9b2K",
    "\x08\x08",
    "\x7f",
    "\u202e",
    "\u2066",
    "\ud800",
    "%0d%0a",
    "\\r\\n",
    " ",
    '" ',
    ": ",
]
#: Texts that try to begin a line of their own, and others that are invalid as names or values.
SEEDS = [
    *(f"a{text}{MARK}: 1" for text in _BREAKS),
    "",
    " ",
    "a ",
    " a",
    "\ta",
    "a:b",
    "a b",
    "é",
    "\ufeffa",
    "a" * 65_536,
    "reason=ok outcome=accepted",
]
#: Those that are hardest on a database.
HARD = [seed for seed in SEEDS if set(seed) & {"\x00", "\ud800", "\n", "\u2028", "\ufeff"} or len(seed) in (0, 65_536)]
#: The headers that frame and authenticate a request, in the spellings that a tenant might use.
NAMES = [
    *("Host", "hOST", "Content-Length", "content_length", "Content-Length ", " content-length", "Content-Length:"),
    *("Transfer-Encoding", "transfer_encoding", "TRANSFER-ENCODING", "Transfer-Encoding\t", "Transfer-Encoding\x0b"),
    *("webhook-id", "Webhook_Id", "WEBHOOK-TIMESTAMP", "webhook_signature", "Webhook-Signature ", "Expect", "TE"),
]
HEAD = ("host", "user-agent", "content-type", "accept-encoding")
TAIL = ("content-length", "webhook-id", "webhook-timestamp", "webhook-signature")

Try = Callable[[Notifykit, str, str], Awaitable[object]]


# -- places that take an untrusted text ---------------------------------------------------------------


def publishing(**fixed: Any) -> Callable[[Callable[[str], dict[str, Any]]], Try]:
    """Return how to publish an event with the seed where the decorated function puts it."""

    def make(place: Callable[[str], dict[str, Any]]) -> Try:
        async def publish(kit: Notifykit, seed: str, url: str) -> object:
            given = {"type": "order.paid", "data": {}, "tenant": TENANT, **fixed, **place(seed)}
            tenant = given.pop("tenant")
            return await kit.apublish(Event(**given), tenant=tenant)

        return publish

    return make


async def endpoint(kit: Notifykit, url: str, **options: Any) -> Endpoint:
    """Create an endpoint with the key of these tests, subscribe it to ``probe``, and publish one for it."""
    made = await kit.endpoints.create(url, **{"tenant": TENANT, "secret": SECRET, **options})
    await kit.subscriptions.create("probe", tenant=made.tenant, endpoint_id=made.id)
    return made


async def paused(kit: Notifykit, seed: str, url: str) -> object:
    made = await endpoint(kit, url)
    await kit.endpoints.pause(made.id, tenant=TENANT, reason=seed)
    return await kit.endpoints.disable(made.id, tenant=TENANT, reason=seed)


async def subscription(kit: Notifykit, url: str, **options: Any) -> object:
    made = await endpoint(kit, url)
    given = {"event_types": "probe", "tenant": TENANT, "endpoint_id": made.id, **options}
    created = await kit.subscriptions.create(**given)
    changes = {name: given[name] for name in ("event_types", "topic", "filter", "description") if name in options}
    return await kit.subscriptions.update(created.id, tenant=TENANT, **changes)


async def unknown_options(kit: Notifykit, seed: str, url: str) -> object:
    made = await endpoint(kit, url)
    unknown: dict[str, Any] = {seed: "x"}
    return await kit.subscribe("probe", tenant=TENANT, endpoint=made.id, **unknown)


async def unknown_change(kit: Notifykit, seed: str, url: str) -> object:
    made = await endpoint(kit, url)
    created = await kit.subscriptions.create("probe", tenant=TENANT, endpoint_id=made.id)
    unknown: dict[str, Any] = {seed: "x"}
    return await kit.subscriptions.update(created.id, tenant=TENANT, **unknown)


#: Of an event: an accepted one is delivered.
EVENT_PLACES: dict[str, Try] = {
    "type": publishing()(lambda seed: {"type": seed}),
    "tenant": publishing()(lambda seed: {"tenant": seed}),
    "topic": publishing()(lambda seed: {"topic": seed}),
    "topic segment": publishing()(lambda seed: {"topic": f"shop/{seed}/order"}),
    "actor": publishing()(lambda seed: {"actor": seed}),
    "ordering key": publishing()(lambda seed: {"ordering_key": seed}),
    "idempotency key": publishing()(lambda seed: {"idempotency_key": seed}),
    "trace": publishing()(lambda seed: {"trace": seed}),
    "trace state": publishing()(lambda seed: {"trace": f"01-{'a' * 32}-{'b' * 16}-01-{seed}"}),
    "resource kind": publishing()(lambda seed: {"resource": Resource(seed, "1")}),
    "resource id": publishing()(lambda seed: {"resource": Resource("order", seed)}),
    "metadata key": publishing()(lambda seed: {"metadata": {seed: "1"}}),
    "metadata value": publishing()(lambda seed: {"metadata": {"note": seed}}),
    "data key": publishing()(lambda seed: {"data": {seed: 1}}),
    "data value": publishing()(lambda seed: {"data": {"note": seed}}),
    "data key of a bad value": publishing()(lambda seed: {"data": {seed: object()}}),
}
#: Of an endpoint or a subscription.
PLACES: dict[str, Try] = {
    "url path": lambda kit, seed, url: endpoint(kit, f"{url}/{seed}"),
    "url query": lambda kit, seed, url: endpoint(kit, f"{url}/?{seed}"),
    "url host": lambda kit, seed, url: endpoint(kit, url.replace("127.0.0.1", f"127.0.0.1{seed}")),
    "url name": lambda kit, seed, url: endpoint(kit, f"http://{seed}.example.com/"),
    "header value": lambda kit, seed, url: endpoint(kit, url, headers={"x-note": seed}),
    "header name": lambda kit, seed, url: endpoint(kit, url, headers={seed: "v"}),
    "secret": lambda kit, seed, url: endpoint(kit, url, secret=f"whsec_{seed}"),
    "description": lambda kit, seed, url: endpoint(kit, url, description=seed),
    "tenant of an endpoint": lambda kit, seed, url: endpoint(kit, url, tenant=seed),
    "reason": paused,
    "pattern": lambda kit, seed, url: subscription(kit, url, event_types=seed),
    "topic pattern": lambda kit, seed, url: subscription(kit, url, topic=seed),
    "filter key": lambda kit, seed, url: subscription(kit, url, filter={seed: ["x"]}),
    "filter key of a bad filter": lambda kit, seed, url: subscription(kit, url, filter={seed: []}),
    "filter value": lambda kit, seed, url: subscription(kit, url, filter={"a": [seed]}),
    "subscription's description": lambda kit, seed, url: subscription(kit, url, description=seed),
    "unknown option": unknown_options,
    "unknown change": unknown_change,
    "id of an endpoint": lambda kit, seed, url: kit.endpoints.get(seed, tenant=TENANT),
    "id of a subscription": lambda kit, seed, url: kit.subscriptions.get(seed, tenant=TENANT),
    "id of a delivery": lambda kit, seed, url: kit.deliveries.get(seed, tenant=TENANT),
    "id of an event": lambda kit, seed, url: kit.events.explain(seed, tenant=TENANT),
    "tenant of a question": lambda kit, seed, url: kit.endpoints.get("end_1", tenant=seed),
}
CASES = [(place, seed) for place in (*EVENT_PLACES, *PLACES) for seed in SEEDS]
CASES += [("header name", name) for name in NAMES]


# -- what observes -----------------------------------------------------------------------------------


class RawReceiver:
    """A server on loopback that keeps every byte of every connection; the path selects its answer.

    Attributes:
        answers: What ``/<number>`` is answered; everything else is 204.
        raw: The bytes of each connection, until the client closed it.
    """

    def __init__(self, answers: list[bytes] | None = None) -> None:
        self.answers = answers or []
        self.raw: list[bytes] = []
        self._tasks: set[asyncio.Task[None] | None] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20, backlog=256)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await asyncio.gather(*filter(None, self._tasks))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?im)^content-length: (\d+)\r$", head)
        body = await reader.readexactly(int(length[1])) if length else b""
        path = head.split(b" ", 2)[1].lstrip(b"/")
        answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"
        writer.write(self.answers[int(path)] if self.answers and path.isdigit() else answer)
        rest = b""
        with suppress(OSError):  # a client may close with answers unread
            writer.write_eof()
            async with asyncio.timeout(5):
                rest = await reader.read()  # what follows the request would be a second one
        self.raw.append(head + body + rest)
        writer.close()


def problems_of(raw: bytes, *, more: int = 1) -> list[str]:
    """Return what is wrong with the bytes of a connection that should have carried one request.

    Args:
        more: How many headers of the tenant's own there may be.
    """
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    text = head.decode("latin-1")
    fields = [(name, value) for name, _, value in (field.decode("latin-1").partition(": ") for field in lines[1:])]
    names = tuple(name for name, _ in fields)
    own = names[len(HEAD) : -len(TAIL)]
    found = []
    if text.splitlines() != text.split("\r\n") or not re.fullmatch(rb"POST /[!-~]* HTTP/1\.1", lines[0]):
        found.append("lines")
    if names[: len(HEAD)] != HEAD or names[-len(TAIL) :] != TAIL or len(own) > more or set(own) & {*HEAD, *TAIL, MARK}:
        found.append(f"headers {names}")
    elif len(body) != int(dict(fields)["content-length"]):
        found.append("length")
    else:
        try:
            Verifier(SECRET, clock=START.timestamp).verify(body, fields)
        except VerificationError as error:
            found.append(str(error))
    return found


class FifoGroups(logging.FileHandler):
    """A log file as a host writes it; counts its records.

    Attributes:
        records: How many records were written, which is how many lines there have to be.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8")
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self.records = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.records += 1
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        raise AssertionError(f"{record.msg!r} cannot be written")

    def lines(self) -> list[str]:
        """Return what was written, split at everything that a reader may take for the end of a line."""
        self.flush()
        return Path(self.baseFilename).read_bytes().decode("utf-8").splitlines()


@contextmanager
def logged(path: Path) -> Iterator[FifoGroups]:
    """Write everything that is logged to a file; in the end each record must be one line."""
    handler, root = FifoGroups(path), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield handler
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
        handler.close()
    written = handler.lines()
    assert [] == [
        text for text in written if not re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ [\w.]+: ", text)
    ]
    assert handler.records == len(written)


#: Invisible characters that turn the direction of writing.
_TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def is_clean(text: str) -> bool:
    """Return whether a terminal shows lines and nothing else, and no line begins with a seed's own text."""
    odd = {char for char in text if category(char) in ("Cc", "Cs", "Zl", "Zp") or bidirectional(char) in _TURNING}
    return odd <= {"\n"} and not any(shown.lstrip(' "|-').startswith(MARK) for shown in text.splitlines())


@asynccontextmanager
async def opened(
    url: str, transport: Literal["wire", "httpx"] = "wire", told: list[TelemetryEvent] | None = None
) -> AsyncIterator[tuple[Notifykit, Callable[[], Awaitable[None]]]]:
    """Open a kit for receivers on loopback; yields it, and what delivers everything that is due."""
    egress = EgressRules(allow=["127.0.0.0/8"], allow_http=True, transport=transport)
    told = [] if told is None else told
    async with Notifykit(url, egress=egress, clock=FakeClock(), subscribers=[told.append]) as kit:
        dispatcher = kit.dispatcher()

        async def settle() -> None:
            async with asyncio.timeout(60):
                while await dispatcher.step():
                    pass

        yield kit, settle
        async with dispatcher:  # stopping it closes its channel
            pass


async def tried(
    kit: Notifykit, url: str, places: dict[str, Try], seeds: list[str] = SEEDS
) -> tuple[list[NotifykitError], int]:
    """Try every case in these places; return the refusals and how many were accepted."""
    refused: list[NotifykitError] = []
    accepted = 0
    for place, seed in CASES:
        if place in places and (seed in seeds or seed in NAMES):
            try:
                await places[place](kit, seed, url)
                accepted += 1
            except NotifykitError as error:
                refused.append(error)
    return refused, accepted


# -- requests and logs -------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["wire", "httpx"])
async def test_no_text_adds_a_line_to_a_request_or_a_log(transport, tmp_path):
    """Every seed in every place: refused on one line, or delivered in a request with exactly its own lines."""
    told: list[TelemetryEvent] = []
    host = logging.getLogger("shop.orders")
    async with RawReceiver() as receiver, opened("memory://", transport, told) as (kit, settle):
        with logged(tmp_path / "host.log"):
            await kit.subscribe("order.*", tenant=TENANT, endpoint=receiver.url, secret=SECRET)
            refused, accepted = await tried(kit, receiver.url, EVENT_PLACES)
            others, kept = await tried(kit, receiver.url, PLACES)
            await kit.apublish(Event(type="probe", data={}), tenant=TENANT)
            await settle()
            deliveries = await kit.deliveries.list(tenant=TENANT, limit=10_000)
            for error in [*refused, *others]:
                host.warning("refused: %s", error)
            for value in [*told, *deliveries, *await kit.endpoints.list(tenant=TENANT, limit=10_000)]:
                host.info("%s", value)
            for event in told:
                host.info(line(event))

    wrong = [(problems, raw[:200]) for raw in receiver.raw if (problems := problems_of(raw))]
    assert [] == wrong
    assert len(CASES) == len(refused) + len(others) + accepted + kept
    assert 100 < len(receiver.raw)
    assert len(receiver.raw) == sum(delivery.state == "delivered" for delivery in deliveries)
    report.note(
        f"injection: requests and logs, {transport}",
        seeds=len(SEEDS) + len(NAMES),
        places=len({place for place, _ in CASES}),
        cases=len(CASES),
        refused=len(refused) + len(others),
        requests=len(receiver.raw),
        injected_lines=len(wrong),
    )


@pytest.mark.parametrize("transport", ["wire", "httpx"])
async def test_what_was_stored_by_other_means_adds_no_line_either(transport):
    """Event ids, headers and URLs that no check has seen: nothing is sent, or one clean request."""
    outcomes = []
    async with RawReceiver() as receiver:
        channel = WebhookChannel(guard=local_guard(), transport=transport)
        for number, seed in enumerate([*SEEDS, *NAMES]):
            cases = [
                (make_claim(event_id=seed), make_destination(receiver.url)),
                (make_claim(), make_destination(f"{receiver.url}/{seed}", id=f"end_{number}_url")),
                (make_claim(), make_destination(receiver.url, id=f"end_{number}_value", headers={"x-note": seed})),
                (make_claim(), make_destination(receiver.url, id=f"end_{number}_name", headers={seed: "v"})),
            ]
            outcomes += [await channel.send(claim, stored, now=START) for claim, stored in cases]
        await channel.aclose()

    reasons = {outcome.reason for outcome in outcomes if isinstance(outcome, Permanent)}
    assert {Accepted, Permanent} == set(map(type, outcomes))
    assert {"bad_event_id", "bad_headers", "blocked_control_character", "blocked_non_ascii"} <= reasons
    assert [] == [problems for raw in receiver.raw if (problems := problems_of(raw))]
    assert sum(isinstance(outcome, Accepted) for outcome in outcomes) == len(receiver.raw)


async def test_every_text_is_stored_or_refused(store_url, tmp_path):
    """No driver's error reaches the caller, and what is raised is one line, as is its traceback in the log."""
    url = "http://127.0.0.1:9000/hooks"
    async with opened(store_url) as (kit, _):
        refused, accepted = await tried(kit, url, EVENT_PLACES, HARD)
        others, kept = await tried(kit, url, PLACES, HARD)

    host, file = logging.getLogger("shop.traces"), tmp_path / "host.log"
    handler = FifoGroups(file)
    host.addHandler(handler)
    try:
        for error in [*refused, *others]:
            host.error("refused", exc_info=error)
    finally:
        host.removeHandler(handler)
        handler.close()
    assert [] == [str(error) for error in [*refused, *others] if not str(error).isprintable()]
    assert [] == [text for text in handler.lines() if text.lstrip(" |+-").startswith(MARK)]
    assert 20 < kept
    assert len(HARD) * len({**EVENT_PLACES, **PLACES}) + len(NAMES) == len(refused) + len(others) + accepted + kept


# -- answers -----------------------------------------------------------------------------------------


def answers() -> list[bytes]:
    """Return answers with each seed in the reason phrase, in header values and names, and in the body."""
    found = []
    for seed in SEEDS:
        raw = seed.encode("utf-8", "surrogatepass")
        for status, reason, header, body in (
            (500, raw, b"X: 1", b""),
            (503, b"No", b"Retry-After: " + raw, b""),
            (500, b"No", b"X-" + raw + b": 1", b""),
            (302, b"No", b"Location: " + raw, b""),
            (500, b"No", b"X: 1", raw),
            (200, b"Yes", b"X: 1", raw * 2),
        ):
            size = b"Content-Length: %d\r\nConnection: close\r\n" % len(body)
            found.append(b"HTTP/1.1 %d %b\r\n%b%b\r\n\r\n%b" % (status, reason, size, header, body))
    return found


async def deliver_to(receiver: RawReceiver, kit: Notifykit, settle: Callable[[], Awaitable[None]]) -> None:
    """Send an event to each of the receiver's answers."""
    for number in range(len(receiver.answers)):
        made = await kit.endpoints.create(f"{receiver.url}/{number}", tenant=TENANT)
        await kit.subscriptions.create("order.paid", tenant=TENANT, endpoint_id=made.id)
    await kit.apublish(Event(type="order.paid", data={}), tenant=TENANT)
    await settle()


@pytest.mark.parametrize("transport", ["wire", "httpx"])
async def test_no_answer_adds_a_line_to_a_log(transport, tmp_path):
    """Reason phrases, headers and bodies of receivers: what is logged of them is a code."""
    told: list[TelemetryEvent] = []
    host = logging.getLogger("shop.orders")
    async with RawReceiver(answers()) as receiver, opened("memory://", transport, told) as (kit, settle):
        with logged(tmp_path / "host.log"):
            await deliver_to(receiver, kit, settle)
            found = await kit.deliveries.list(tenant=TENANT, limit=10_000)
            attempts = [await kit.deliveries.attempts(delivery.id, tenant=TENANT) for delivery in found]
            for value in [*told, *map(line, told), *found, *attempts]:
                host.info("%s", value)

    reasons = [str(attempt.reason) for (attempt,) in attempts]
    assert len(receiver.answers) == len(reasons)
    assert [] == [reason for reason in reasons if not re.fullmatch(r"[a-z0-9_]+|None", reason)]
    assert {"http_500", "http_503", "redirect", "None"} <= set(reasons)


async def test_texts_of_a_channel_add_no_line_to_a_log(tmp_path):
    """Reasons and errors of a channel of the host's own may repeat a provider's text."""
    told: list[TelemetryEvent] = []

    def script(claim: Claim) -> Outcome:
        text = SEEDS[json.loads(claim.body)["data"]["n"]]
        if claim.event_type.endswith("raised"):
            raise ValueError(text)
        return Transient(reason=text) if claim.event_type.endswith("failed") else Permanent(reason=text)

    async with Notifykit("memory://", clock=FakeClock(), subscribers=[told.append]) as kit:
        with logged(tmp_path / "host.log") as log:
            for number in range(len(SEEDS)):  # an endpoint each: the circuit of one that only fails would open
                await kit.subscribe(f"order{number}.*", tenant=TENANT, endpoint="https://203.0.114.7/")
                for kind in ("raised", "failed", "refused"):
                    await kit.apublish(Event(type=f"order{number}.{kind}", data={"n": number}), tenant=TENANT)
            dispatcher = kit.dispatcher([ScriptedChannel(script)])
            while await dispatcher.step():
                pass
            attempted = [text for text in log.lines() if " delivery.attempted " in text]

    assert 3 * len(SEEDS) == len(attempted)
    assert len(SEEDS) == sum(isinstance(event, ChannelFailed) for event in told)


# -- the command line --------------------------------------------------------------------------------

READING = [
    ("endpoints", "list", "--limit", "1000"),
    ("subscriptions", "list", "--limit", "1000"),
    ("deliveries", "list", "--limit", "1000"),
    ("dead", "list", "--limit", "1000"),
]
#: The places whose texts are kept and shown.
SHOWN = ("url path", "header value", "description", "reason", "topic pattern", "filter key", "filter value")
WRITING: dict[str, Callable[[str], tuple[str, ...]]] = {
    "tenant": lambda seed: ("endpoints", "list", f"--tenant={seed}"),
    "tenant of dead letters": lambda seed: ("dead", "list", f"--tenant={seed}"),
    "tenant of subscriptions": lambda seed: ("subscriptions", "list", f"--tenant={seed}"),
    "tenant of deliveries": lambda seed: ("deliveries", "list", f"--tenant={seed}", f"--type={seed}"),
    "id": lambda seed: ("deliveries", "show", "--", seed),
    "event": lambda seed: ("explain", "--", seed),
    "type": lambda seed: ("publish", "--", seed),
    "topic": lambda seed: ("publish", "order.paid", f"--topic={seed}", f"--key={seed}", f"--metadata={seed}=1"),
    "data": lambda seed: ("publish", "order.paid", seed),
    "url": lambda seed: ("endpoints", "create", f"https://a.example/{seed}"),
    "check": lambda seed: ("endpoints", "check", f"https://a.example/{seed}", "--resolve", "a.example=93.184.216.34"),
    "header": lambda seed: ("endpoints", "create", "https://93.184.216.34/", f"--header=x-note: {seed}"),
    "command": lambda seed: (seed,),
}


@pytest.fixture
def command_line(sqlite_store_url, tmp_path, monkeypatch, capsys):
    """The command line over a store of its own; returns what was printed."""
    monkeypatch.setenv("NOTIFYKIT_URL", sqlite_store_url)
    monkeypatch.setenv("NOTIFYKIT_TENANT", TENANT)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[str, str]:
        capsys.readouterr()
        main(list(arguments))
        printed: tuple[str, str] = capsys.readouterr()
        return printed

    return run


def test_no_stored_text_and_no_answer_adds_a_line_to_a_terminal(command_line, sqlite_store_url):
    """Descriptions, reasons, filters and what receivers answered: shown on the line where they belong."""

    async def prepare() -> tuple[list[str], list[str], list[str]]:
        async with RawReceiver(answers()) as receiver, opened(sqlite_store_url) as (kit, settle):
            await tried(kit, receiver.url, {name: PLACES[name] for name in SHOWN})
            await deliver_to(receiver, kit, settle)
            endpoints = await kit.endpoints.list(tenant=TENANT, limit=10_000)
            odd = [e.id for e in endpoints if MARK in f"{e.description}{e.state_reason}{e.headers}"]
            subscriptions = await kit.subscriptions.list(tenant=TENANT, limit=10_000)
            filtered = [s.id for s in subscriptions if MARK in f"{s.description}{s.filter}{s.topic}"]
            told = [
                d.id for d in await kit.deliveries.list(tenant=TENANT, limit=10_000) if d.event_type == "order.paid"
            ]
            return odd, filtered, told

    odd, filtered, told = asyncio.run(prepare())
    kinds = {"endpoints": odd, "subscriptions": filtered, "deliveries": told}
    showing = [(kind, "show", id_) for kind, ids in kinds.items() for id_ in ids[:: len(ids) // 25]]
    shown = 0
    for arguments in [*READING, *showing]:
        out, err = command_line(*arguments)
        as_json, remarks = command_line(*arguments, "--json") if arguments in READING else ("", "")
        shown += MARK in out

        assert is_clean(out), (arguments, out)
        assert is_clean(err), (arguments, err)
        assert all(isinstance(json.loads(text), dict) for text in as_json.splitlines()), arguments
        assert as_json.isascii()
        assert is_clean(remarks)
    assert 20 < len(odd)
    assert 20 < len(filtered)
    assert 50 < shown
    report.note("injection: terminal", shown=len(showing) + len(READING), injected_lines=0)


def test_no_argument_adds_a_line_to_a_terminal(command_line):
    """What a script passes on is repeated on one line, in answers and in errors."""
    for number, (place, arguments) in enumerate(WRITING.items()):
        for seed in SEEDS[number % 3 :: 3]:
            out, err = command_line(*arguments(seed))

            assert is_clean(out), (place, seed, out)
            assert is_clean(err), (place, seed, err)


def test_no_request_adds_a_line_to_a_listener(tmp_path):
    """``notifykit listen`` shows untrusted requests: ids, types, bodies and paths stay on their lines."""
    requests = []
    for seed in SEEDS[: len(_BREAKS)]:
        raw = seed.encode("utf-8", "surrogatepass")
        bodies = [raw, json.dumps({"type": seed, "data": {seed: seed}}).encode()]
        requests += [b"POST / HTTP/1.1\r\nhost: a\r\nwebhook-id: %b\r\ncontent-length: 0\r\n\r\n" % raw]
        requests += [
            b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body) for body in bodies
        ]
    listener = start("listen", "--port", "0", cwd=tmp_path)
    try:
        assert listener.stdout is not None
        first = listener.stdout.readline()
        port = int(re.findall(r":(\d+)/", first)[0])
        for request in requests:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass
    finally:
        listener.terminate()
    out, err = listener.communicate(timeout=60)

    assert is_clean(out), out
    assert is_clean(err), err
    assert len(SEEDS) < out.count("-> 200")


# -- the receiver ------------------------------------------------------------------------------------


def test_no_request_adds_a_line_to_a_receivers_log(tmp_path):
    """What the receiving side logs of a refused request, details included, is one line."""
    intake = Intake(SECRET, dedupe=None, source="shop")
    good = {"webhook-id": "msg_1", "webhook-timestamp": str(int(NOW.timestamp())), "webhook-signature": "v1,x"}
    logger = logging.getLogger("notifykit.contrib.receivers")
    handler = FifoGroups(tmp_path / "receiver.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s source=%(source)s detail=%(detail)s"))
    logger.addHandler(handler)
    try:
        for seed in SEEDS:
            for name in good:
                refused = intake.open(b"{}", {**good, name: seed})
                assert isinstance(refused, Answer)
                assert re.fullmatch("[a-z_]+", refused.reason)
            assert isinstance(intake.open(b"{}", [*good.items(), (seed, seed)]), Answer)
    finally:
        logger.removeHandler(handler)
        handler.close()

    assert handler.records == len(SEEDS) * 4
    assert handler.records == len(handler.lines())


def test_injected_lines_are_detected(tmp_path):
    """Requests and logs with an injected line are noticed: the checks above can fail."""
    head = "\r\n".join(["POST / HTTP/1.1", *(f"{name}: 1" for name in (*HEAD, *TAIL))])

    assert problems_of(head.replace("webhook-id", f"{MARK}: 1\r\nwebhook-id").encode() + b"\r\n\r\n{}")
    assert problems_of(head.replace("host: 1", "host: 1\nx: 1").encode() + b"\r\n\r\n{")
    assert problems_of(head.encode() + b"\r\n\r\n{} and more")
    assert not is_clean(f"end_1\n{MARK}: 1\n")
    assert not is_clean("\x1b[2K")
    with pytest.raises(AssertionError), logged(tmp_path / "host.log"):
        logging.getLogger("shop").warning("refused: %s", f"a\n{MARK}: 1")
