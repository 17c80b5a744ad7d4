"""Receivers that misbehave in every known way: the attempt ends in time, with the right outcome and little memory.

The numbers are those of the list of hostile receivers in the threat notes.  A
complete status line counts whatever follows it; where the two transports differ,
because httpx's parser judges a head only as a whole, the table says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import ssl
import threading
import time
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from notifykit.channels.webhook import Guard, WebhookChannel, Wire
from notifykit.channels.webhook.pool import client_context
from notifykit.models.destination import destination_of
from notifykit.models.outcome import Accepted, Outcome, Throttled, Transient, Uncertain
from tests import report
from tests.unit.channels.receivers import (
    NOW,
    OK,
    Exchange,
    FixedResolver,
    Receiver,
    Script,
    always_ok,
    answering,
    local_guard,
    make_claim,
    make_endpoint,
)

#: Its tests share what is made once for the module.
pytestmark = pytest.mark.xdist_group("hostile receivers")

DEADLINE = 0.25
CAP = 4096
MEGABYTE = 1 << 20

TRANSPORTS = [
    pytest.param(("wire", False), id="wire"),
    pytest.param(("wire", True), id="wire-uvloop"),
    pytest.param(("httpx", False), id="httpx"),
]


@pytest.fixture(params=TRANSPORTS)
def variant(request):
    """The wire on both loops, and the other transport."""
    return request.param


@pytest.fixture
def anyio_backend(variant):
    """The loop of the variant."""
    if variant[1]:
        pytest.importorskip("uvloop", reason="needs uvloop")
    return "asyncio", {"use_uvloop": variant[1]}


@pytest.fixture
async def channel(variant):
    """A channel that keeps little of an answer."""
    channel = WebhookChannel(guard=local_guard(), transport=variant[0], body_cap=CAP)
    yield channel
    await channel.aclose()
    await asyncio.sleep(0)


async def attempt(channel: WebhookChannel, url: str, body: bytes = b"{}", *, deadline: float = DEADLINE) -> Outcome:
    """Make one attempt and insist that it ends in time with no more than the cap."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    endpoint = make_endpoint(url, timeout=timedelta(seconds=deadline))
    outcome = await channel.send(make_claim(body), destination_of(endpoint), now=NOW)
    assert loop.time() - started <= deadline + 5  # without a deadline it would not end at all, and machines are busy
    assert len(outcome.answer.body) <= CAP
    return outcome


# -- the scripts -----------------------------------------------------------------------------


async def silence(exchange: Exchange) -> None:
    await exchange.request()
    await exchange.reader.read()


async def close_without_answer(exchange: Exchange) -> None:
    await exchange.request()


async def reset_without_answer(exchange: Exchange) -> None:
    await exchange.request()
    exchange.reset()


async def reset_after_head(exchange: Exchange) -> None:
    await exchange.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
    await asyncio.sleep(0.05)
    exchange.reset()


async def reset_after_status_line(exchange: Exchange) -> None:
    await exchange.answer(b"HTTP/1.1 200 OK\r\n")
    await asyncio.sleep(0.05)
    exchange.reset()


async def close_within_status_line(exchange: Exchange) -> None:
    await exchange.answer(b"HTTP/1.1 200")


async def drip_head(exchange: Exchange) -> None:
    await exchange.request()
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":
        await exchange.send(bytes([byte]))
        await asyncio.sleep(0.1)


async def drip_body(exchange: Exchange) -> None:
    await exchange.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        await exchange.send(b"x")
        await asyncio.sleep(0.05)


def endless(first: bytes, again: bytes) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(first)
        while True:
            await exchange.send(again)

    return script


async def two_hundred_megabytes(exchange: Exchange) -> None:
    await exchange.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 209715200\r\n\r\n")
    block = b"x" * 65536
    for _ in range(3200):
        await exchange.send(block)


async def late(exchange: Exchange) -> None:
    await exchange.request()
    await asyncio.sleep(DEADLINE + 0.1)
    await exchange.send(OK)


async def never_read(exchange: Exchange) -> None:
    exchange.stop_reading()
    await asyncio.sleep(60)


def closing_after(answer: bytes) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(answer)

    return script


def ok(headers: str, body: bytes) -> Script:
    return answering(f"HTTP/1.1 200 OK\r\n{headers}\r\n".encode() + body)


BOMB = gzip.compress(bytes(20 * MEGABYTE))
NOISE = b"\x00\xff\xfe\x1b[31m<script>alert(1)</script>\xc3("
CHUNKED = "Transfer-Encoding: chunked\r\n"

#: Number and name, script, the outcome over the wire, and over httpx where it differs.
BEHAVIOURS: list[tuple[str, Script, object, object]] = [
    ("01 silence", silence, Uncertain(reason="timeout"), None),
    ("04 reset after the request", reset_without_answer, Uncertain(reason="reset"), None),
    ("04 reset after the head", reset_after_head, 200, None),
    ("05 close without answer", close_without_answer, Uncertain(reason="closed_early"), None),
    ("05 close within the status line", close_within_status_line, Uncertain(reason="closed_early"), None),
    ("07 head byte by byte", drip_head, Uncertain(reason="timeout"), None),
    ("08 body byte by byte", drip_body, 200, None),
    (
        "09 endless 100",
        endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 50),
        Transient(reason="bad_response"),
        None,
    ),
    (
        "10 endless 103",
        endless(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 50),
        Transient(reason="bad_response"),
        None,
    ),
    ("11 head of 120 KiB", ok("X: " + "a" * 120_000 + "\r\n", b""), Transient(reason="response_too_large"), None),
    (
        "11 endless header line",
        endless(b"HTTP/1.1 200 OK\r\nX: ", b"a" * 8192),
        Transient(reason="response_too_large"),
        None,
    ),
    (
        "12 a thousand header lines",
        ok("".join(f"X-{n}: v\r\n" for n in range(1000)), b""),
        Transient(reason="response_too_large"),
        None,
    ),
    (
        "13 body without end",
        endless(f"HTTP/1.1 200 OK\r\n{CHUNKED}\r\n".encode(), b"400\r\n" + b"x" * 1024 + b"\r\n"),
        200,
        None,
    ),
    ("13 chunk extension without end", endless(f"HTTP/1.1 200 OK\r\n{CHUNKED}\r\n1;".encode(), b"a" * 8192), 200, None),
    (
        "14 body shorter than announced",
        closing_after(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"),
        200,
        None,
    ),
    ("15 body longer than announced", ok("Content-Length: 2\r\n", b"okEXTRA"), 200, None),
    (
        "16 length and chunks",
        ok("Content-Length: 3\r\n" + CHUNKED, b"0\r\n\r\n"),
        Transient(reason="bad_response"),
        None,
    ),
    ("17 bad chunk size", ok(CHUNKED, b"zz\r\nabc\r\n0\r\n\r\n"), 200, None),
    ("17 negative chunk size", ok(CHUNKED, b"-1\r\nabc\r\n0\r\n\r\n"), 200, None),
    ("17 huge chunk size", ok(CHUNKED, b"ffffffffffffffffff\r\nabc"), 200, None),
    ("18 gzip bomb", ok(f"Content-Encoding: gzip\r\nContent-Length: {len(BOMB)}\r\n", BOMB), 200, None),
    (
        "19 brotli and zstd by name",
        ok("Content-Encoding: br, zstd\r\nContent-Length: 4\r\n", b"\xff\xff\xff\xff"),
        200,
        None,
    ),
    ("20 two hundred megabytes", two_hundred_megabytes, 200, None),
    ("21 noise in the body", ok(f"Content-Length: {len(NOISE)}\r\n", NOISE), 200, None),
    (
        "21 noise in the reason",
        answering(b"HTTP/1.1 200 \xff\x1b[31m<b>\r\nContent-Length: 0\r\n\r\n"),
        200,
        None,
    ),
    (
        "21 NUL in a header",
        answering(b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n"),
        Transient(reason="bad_response"),
        None,
    ),
    ("25 status line, then reset", reset_after_status_line, 200, Uncertain(reason="reset")),
    ("26 HTTP/0.9", answering(b"<html>hello</html>\r\n\r\n"), Transient(reason="bad_response"), None),
    ("26 garbage", answering(b"\x16\x03\x01\x00\x05garbage\r\n\r\n"), Transient(reason="bad_response"), None),
    ("26 another protocol", answering(b"SSH-2.0-OpenSSH_9.9\r\n\r\n"), Transient(reason="bad_response"), None),
    (
        "26 switch of protocols",
        answering(b"HTTP/1.1 101 Switch\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\nabc"),
        Transient(reason="http_101"),
        Transient(reason="bad_response"),
    ),
    ("29 an answer after the deadline", late, Uncertain(reason="timeout"), None),
]


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: behaviour[0])
async def test_an_attempt_ends_in_time_with_the_right_outcome(behaviour, channel, variant):
    """One attempt against one behaviour: in time, within the cap, with the outcome of the table."""
    _, script, expected, on_httpx = behaviour
    if variant[0] == "httpx" and on_httpx is not None:
        expected = on_httpx
    async with Receiver(script) as receiver:
        outcome = await attempt(channel, receiver.url)

        if expected == 200:
            assert (Accepted, 200) == (type(outcome), outcome.answer.status)
        else:
            answer = outcome.answer
            assert expected == attrs.evolve(outcome, answer=attrs.evolve(answer, status=None, body=b""))


async def test_memory_stays_small(channel):
    """Endless and huge answers, four of each at a time, take a few megabytes at the peak."""
    scripts = [
        two_hundred_megabytes,
        endless(f"HTTP/1.1 200 OK\r\n{CHUNKED}\r\n".encode(), b"400\r\n" + b"x" * 1024 + b"\r\n"),
        endless(b"HTTP/1.1 200 OK\r\nX: ", b"a" * 8192),
        ok(f"Content-Encoding: gzip\r\nContent-Length: {len(BOMB)}\r\n", BOMB),
        endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 50),
    ]
    async with Receiver(always_ok) as warm_up:
        await attempt(channel, warm_up.url)
    tracemalloc.start()
    try:
        for script in scripts:
            async with Receiver(script) as receiver:
                await asyncio.gather(*[attempt(channel, receiver.url, deadline=1) for _ in range(4)])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 8 * MEGABYTE


FLOODS = {
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2600),
    "small chunks": (f"HTTP/1.1 200 OK\r\n{CHUNKED}\r\n".encode(), b"1\r\nx\r\n" * 10_000),
    "header lines": (b"HTTP/1.1 200 OK\r\n" + b"a:\r\n" * 15_000 + b"\r\n", b" "),
    "trailers": (f"HTTP/1.1 200 OK\r\n{CHUNKED}\r\n0\r\n".encode() + b"a:\r\n" * 15_000 + b"\r\n", b" "),
}


@pytest.mark.alone
@pytest.mark.thorough
@pytest.mark.parametrize("flood", FLOODS)
async def test_floods_do_not_hold_up_the_loop(flood, channel):
    """However many receivers send what is slow to parse at once, each iteration of the loop stays short."""
    first, again = FLOODS[flood]
    longest, receivers = 0.0, 20

    def flood_it(listener: socket.socket) -> None:
        with listener.accept()[0] as accepted, contextlib.suppress(OSError):
            accepted.recv(65536)
            accepted.sendall(first)
            for _ in range(10):
                accepted.sendall(again)

    async def beat() -> None:
        nonlocal longest
        last = time.thread_time()  # of this thread alone: other work of the machine does not count
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            longest, last = max(longest, now - last), now

    async with Receiver(always_ok) as warm_up:
        await attempt(channel, warm_up.url)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        flooding = [threading.Thread(target=flood_it, args=(listener,), daemon=True) for _ in range(receivers)]
        for thread in flooding:
            thread.start()
        beating = asyncio.create_task(beat())
        endpoint = make_endpoint(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=timedelta(seconds=2))
        await asyncio.gather(*[channel.send(make_claim(), destination_of(endpoint), now=NOW) for _ in range(receivers)])
        beating.cancel()
        await asyncio.gather(beating, *[asyncio.to_thread(thread.join) for thread in flooding], return_exceptions=True)

    assert longest < 0.4


async def test_02_a_full_backlog(channel):
    """A receiver that never accepts holds an attempt no longer than its deadline."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        try:
            for _ in range(8):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
                fillers.append(filler)
            outcome = await attempt(channel, f"http://127.0.0.1:{listener.getsockname()[1]}/")
        finally:
            for filler in fillers:
                filler.close()

    # Some kernels complete the handshake all the same; then the request was taken by the kernel.
    assert outcome in (Transient(reason="timeout"), Uncertain(reason="timeout"))


async def test_03_no_process_listens(channel):
    """A refused connection is a failure that surely sent nothing."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        outcome = await attempt(channel, f"http://127.0.0.1:{unused.getsockname()[1]}/")

    assert Transient(reason="connect_failed") == outcome


async def test_06_a_connection_that_dies_while_idle(channel):
    """A receiver that closes idle connections without notice costs nothing, ten times in a row."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(OK)

    async with Receiver(script) as receiver:
        outcomes = [await attempt(channel, receiver.url) for _ in range(10)]

        assert [Accepted] * 10 == [type(outcome) for outcome in outcomes]
        assert 10 == len(receiver.requests)


@pytest.mark.parametrize(
    "location",
    ["http://169.254.169.254/latest/", "http://127.0.0.1:6379/", "gopher://127.0.0.1:1/_x", "//evil.test/", "\x00"],
)
async def test_22_redirects_are_not_followed(channel, location):
    """A redirect is a failed attempt, wherever it leads."""
    async with Receiver(
        answering(f"HTTP/1.1 307 X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())
    ) as receiver:
        outcome = await attempt(channel, receiver.url)

        reason = "bad_response" if location == "\x00" else "redirect"
        assert isinstance(outcome, Transient)
        assert reason == outcome.reason
        assert 1 == len(receiver.requests)


@pytest.mark.parametrize(
    ("values", "pause"),
    [
        (["-1"], None),
        (["1000000000000"], timedelta(days=7)),
        (["Thu, 01 Jan 1970 00:00:00 GMT"], None),
        (["3", "7"], timedelta(seconds=7)),
        (["a while"], None),
    ],
)
async def test_23_senseless_retry_after(channel, values, pause):
    """A senseless pause is ignored or clamped, never an exception."""
    headers = "".join(f"Retry-After: {value}\r\n" for value in values)
    async with Receiver(answering(f"HTTP/1.1 429 X\r\n{headers}Content-Length: 0\r\n\r\n".encode())) as receiver:
        outcome = await attempt(channel, receiver.url)

        assert isinstance(outcome, Throttled)
        assert pause == outcome.retry_after


async def test_27_nothing_in_an_answer_changes_the_next_request(channel):
    """Cookies, ``Alt-Svc``, HSTS and challenges are forgotten: the next request is the same, byte for byte."""
    answer = (
        b'HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/\r\nAlt-Svc: h2="127.0.0.1:443"\r\n'
        b"Strict-Transport-Security: max-age=999\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n"
    )
    async with Receiver(answering(answer)) as receiver:
        for _ in range(2):
            await attempt(channel, receiver.url, deadline=10)

        assert receiver.requests[0] == receiver.requests[1]


async def test_28_a_receiver_that_does_not_read(channel):
    """A large request that is not read ends in time, and surely was not accepted."""
    async with Receiver(never_read) as receiver:
        outcome = await attempt(channel, receiver.url, b"x" * (24 * MEGABYTE))

        assert Transient(reason="timeout") == outcome


async def test_30_a_name_with_several_receivers(variant):
    """Each address of a name may behave differently: only vetted ones are dialled, and an attempt uses one."""
    guard = Guard(
        allow=["127.0.0.0/8"],
        allow_http=True,
        resolver=FixedResolver({"hook.test": [["127.0.0.1", "127.0.0.2"]]}),
    )
    channel = WebhookChannel(guard=guard, transport=variant[0], body_cap=CAP)
    failing = answering(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
    async with (
        Receiver(failing) as first,
        Receiver(always_ok, address="127.0.0.2", port=first.port) as second,
    ):
        outcome = await attempt(channel, f"http://hook.test:{first.port}/")
        await channel.aclose()

        assert isinstance(outcome, Transient)
        assert "http_500" == outcome.reason
        assert (1, 0) == (len(first.requests), len(second.requests))


@pytest.mark.parametrize("variant", TRANSPORTS[:2])
async def test_hostile_receivers_leave_nothing_behind(variant):
    """After every behaviour at once the pool holds no busy connection, and the next delivery succeeds."""
    wire = Wire(local_guard(), body_cap=CAP)
    channel = WebhookChannel(guard=local_guard(), transport=wire)
    receivers = [Receiver(script) for _, script, _, _ in BEHAVIOURS]
    try:
        for receiver in receivers:
            await receiver.__aenter__()
        await asyncio.gather(*[attempt(channel, receiver.url, deadline=0.8) for receiver in receivers])
        pool = wire._pool
        await asyncio.sleep(0.05)

        assert pool is not None
        assert set() == pool._busy
        assert len(pool._by_age) == len(pool._open)
    finally:
        for receiver in receivers:
            await receiver.__aexit__(None, None, None)
    async with Receiver(always_ok) as healthy:
        assert isinstance(await attempt(channel, healthy.url), Accepted)
    await channel.aclose()


# -- 24: TLS ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def self_made(tmp_path: Path) -> ssl.SSLContext:
    """Return a server's settings with a certificate for hook.test that no authority signed."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hook.test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hook.test")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "server.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def tls_channel(variant, authority) -> WebhookChannel:
    tls = client_context()
    authority.configure_trust(tls)
    guard = Guard(allow=["127.0.0.0/8"], resolver=FixedResolver({"hook.test": ["127.0.0.1"]}))
    return WebhookChannel(guard=guard, transport=variant[0], tls=tls, body_cap=CAP)


@pytest.mark.parametrize("fault", ["expired", "wrong name", "self-made", "old TLS", "plain HTTP", "closes"])
async def test_24_tls_that_cannot_be_trusted(fault, variant, authority, tmp_path):
    """No certificate, no delivery: the request never leaves."""
    tls: ssl.SSLContext | None = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    assert tls is not None
    script = always_ok
    if fault == "expired":
        authority.issue_cert("hook.test", not_after=datetime.now(UTC) - timedelta(days=1)).configure_cert(tls)
    elif fault == "wrong name":
        authority.issue_cert("other.test").configure_cert(tls)
    elif fault == "self-made":
        tls = self_made(tmp_path)
    elif fault == "old TLS":
        authority.issue_cert("hook.test").configure_cert(tls)
        tls.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="deprecated"):
            tls.minimum_version = ssl.TLSVersion.TLSv1
        with pytest.warns(DeprecationWarning, match="deprecated"):
            tls.maximum_version = ssl.TLSVersion.TLSv1_1
    else:
        tls = None
        script = talk_plainly if fault == "plain HTTP" else close_at_once
    channel = tls_channel(variant, authority)
    async with Receiver(script, tls=tls) as receiver:
        outcome = await attempt(channel, f"https://hook.test:{receiver.port}/", deadline=2)
        await channel.aclose()

        assert Transient(reason="tls_failed") == outcome
        assert [] == receiver.requests


async def close_at_once(exchange: Exchange) -> None:
    await exchange.reader.read(1)


async def talk_plainly(exchange: Exchange) -> None:
    await exchange.reader.read(1)
    await exchange.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await asyncio.sleep(0.2)


async def test_24_a_handshake_that_stalls(variant, authority):
    """A receiver that never answers the TLS greeting holds an attempt no longer than its deadline."""

    async def script(exchange: Exchange) -> None:
        await exchange.reader.read(-1)

    channel = tls_channel(variant, authority)
    async with Receiver(script) as receiver:
        outcome = await attempt(channel, f"https://hook.test:{receiver.port}/")
        await channel.aclose()

        assert Transient(reason="timeout") == outcome


async def test_hostile_answers_over_tls(variant, authority):
    """The caps hold inside TLS as well."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("hook.test").configure_cert(tls)
    channel = tls_channel(variant, authority)
    for script, reason in ((two_hundred_megabytes, None), (silence, "timeout"), (close_without_answer, "closed_early")):
        async with Receiver(script, tls=tls) as receiver:
            outcome = await attempt(channel, f"https://hook.test:{receiver.port}/", deadline=1)

            assert reason == getattr(outcome, "reason", None)
            assert isinstance(outcome, Uncertain if reason else Accepted)
    await channel.aclose()


def test_every_behaviour_of_the_list_is_tested():
    """The thirty of the list, each by its number, and several of them in several variants."""
    names = [name for name, *_ in BEHAVIOURS] + [name.removeprefix("test_") for name in globals()]
    played = {int(name[:2]) for name in names if name[:2].isdigit()}

    report.note("hostile receivers", behaviours=len(played), scripts=len(BEHAVIOURS), transports=len(TRANSPORTS))
    assert set(range(1, 31)) == played
