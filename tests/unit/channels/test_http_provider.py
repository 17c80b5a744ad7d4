"""What all providers with an HTTP API share, beside what :class:`~notifykit.testing.ProviderSuite` shows of each."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from datetime import timedelta

import attrs
import pytest
import trustme

from notifykit.channels.http_answers import HttpAnswer, Meaning
from notifykit.channels.http_provider import HttpProvider, HttpRequest
from notifykit.models.delivery import Claim
from notifykit.models.destination import Destination
from notifykit.models.messages import Message, SmsMessage
from notifykit.models.outcome import Accepted, CircuitEffect, Outcome, Throttled, Transient, Uncertain, Unsent
from notifykit.testing import START, Reply, VendorServer

from .receivers import NOW, make_claim


@attrs.frozen
class Vendor:
    """Posts a text and accepts what HTTP accepts."""

    url: str
    body: bytes = b"text"
    name: str = "vendor"
    account: str = "vendor://account"
    secrets: tuple[str, ...] = ("key-1",)

    def request(self, message: Message, claim: Claim, destination: Destination, *, now: object) -> HttpRequest:
        return HttpRequest(url=self.url, headers={"authorization": "key-1"}, body=self.body)

    def outcome(self, answer: HttpAnswer, *, now: object) -> Outcome:
        return answer.outcome(now=NOW)


def to(timeout: float = 5) -> Destination:
    return Destination(
        subscriber_id="user:42", tenant="acme", channel="sms", address="+1", timeout=timedelta(seconds=timeout)
    )


async def send(provider: HttpProvider, timeout: float = 5) -> Outcome:
    return await provider.send(SmsMessage(text="Hello"), make_claim(), to(timeout), now=NOW)


async def test_a_certificate_that_is_not_trusted_opens_the_circuit() -> None:
    """Nothing is sent to a server that may be another one."""
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(server_side)
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=server_side)
    provider = HttpProvider(Vendor(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"))
    try:
        assert Transient(reason="tls_failed", circuit=CircuitEffect.OPEN) == await send(provider)
    finally:
        await provider.aclose()
        server.close()


async def test_who_waits_for_a_connection_has_sent_nothing() -> None:
    """The limit is this process's own: the attempt does not count."""
    with VendorServer(Reply(delay=timedelta(seconds=30))) as server:
        provider = HttpProvider(Vendor(server.url), connections=1)
        first = asyncio.create_task(send(provider, timeout=0.6))
        await server.aexpect(1)

        assert Unsent(reason="connection_limit") == await send(provider, timeout=0.1)
        assert Uncertain(reason="timeout") == await first
        await provider.aclose()


async def test_no_files_are_the_fault_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process pauses, and no circuit opens."""

    def no_files(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    provider = HttpProvider(Vendor("http://127.0.0.1:1/"))
    assert Transient(reason="connect_failed") == await send(provider)
    monkeypatch.setattr(socket, "socket", no_files)

    assert Unsent(reason="no_files", pauses=True) == await send(provider)


async def test_an_answer_without_its_end_counts_by_its_status() -> None:
    """The vendor has said that it took the message."""

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"text")
        writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\nhalf")
        writer.close()

    server = await asyncio.start_server(half, "127.0.0.1", 0)
    provider = HttpProvider(Vendor(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"))
    try:
        outcome = await send(provider)
    finally:
        await provider.aclose()
        server.close()

    assert isinstance(outcome, Accepted)
    assert (202, b"half") == (outcome.answer.status, outcome.answer.body)


async def test_an_answer_that_is_no_http_is_uncertain() -> None:
    """The message may have been taken all the same."""

    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"text")
        writer.write(b"220 mail.example.org ESMTP\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    provider = HttpProvider(Vendor(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"))
    try:
        assert Uncertain(reason="bad_response") == await send(provider)
    finally:
        await provider.aclose()
        server.close()


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key goes nowhere that the URL does not name."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with VendorServer(Reply()) as server:
        provider = HttpProvider(Vendor(server.url))

        assert isinstance(await send(provider), Accepted)
        await provider.aclose()


async def test_a_secret_in_an_answer_is_not_kept() -> None:
    """A vendor may repeat the request."""
    with VendorServer(Reply(status=400, body=b"your key-1 is wrong")) as server:
        provider = HttpProvider(Vendor(server.url))

        assert b"your *** is wrong" == (await send(provider)).answer.body
        await provider.aclose()


@pytest.mark.parametrize("meaning", Meaning)
def test_every_meaning_has_an_outcome(meaning: Meaning) -> None:
    """With the reason that the vendor's module gives."""
    outcome = HttpAnswer(status=400).outcome(meaning, "vendor_1", now=START)

    assert isinstance(outcome, Accepted) or outcome.reason == "vendor_1"


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        *((status, Meaning.ACCEPTED) for status in (200, 201, 202, 204)),
        *((status, Meaning.CONFIGURATION) for status in (301, 307, 401, 402, 403, 404, 405)),
        *((status, Meaning.PERMANENT) for status in (400, 406, 409, 410, 413, 415, 422)),
        *((status, Meaning.TRANSIENT) for status in (408, 425, 500, 502, 503, 504, 529)),
        (429, Meaning.THROTTLED),
    ],
)
def test_what_a_status_means(status: int, meaning: Meaning) -> None:
    """As long as the vendor says nothing else."""
    assert meaning is HttpAnswer(status=status).meaning()


def test_the_pause_that_the_vendor_asks_for_comes_first() -> None:
    """Its default is for answers without one that makes sense."""
    wait = timedelta(minutes=1)
    asked = HttpAnswer(status=429, headers={"retry-after": "3"}).outcome(now=START, wait=wait)
    silent = HttpAnswer(status=429, headers={"retry-after": "soon"}).outcome(now=START, wait=wait)

    assert isinstance(asked, Throttled)
    assert isinstance(silent, Throttled)
    assert (timedelta(seconds=3), wait) == (asked.retry_after, silent.retry_after)
