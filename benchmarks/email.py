"""Mails a second over SMTP to a sink in another process: ``python -m benchmarks.email``.

Pipelined, one command at a time, and as programs send without a library: smtplib with a connection for each mail.
The ways take turns in one run, so that their ratios mean something on any machine.
"""

from __future__ import annotations

import argparse
import asyncio
import email.message
import email.utils
import functools
import multiprocessing
import smtplib
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection as Pipe
from statistics import median
from typing import NamedTuple

import attrs

from notifykit.channels.email import parse_url
from notifykit.channels.email.provider import SmtpProvider
from notifykit.models.delivery import Claim
from notifykit.models.destination import Destination
from notifykit.models.messages import EmailMessage
from notifykit.models.outcome import Accepted
from notifykit.testing.builders import make_delivery, make_event
from notifykit.testing.clock import START

SENDER = "Example Shop <shop@example.org>"
SUBJECT = "Your order A-1 is on its way – thank you!"
TEXT = "Hello Ada,\n\nyour order A-1 has left our warehouse and arrives on Thursday.\n\nYour shop\n" * 3
HTML = f"<html><body>{'<p>Hello Ada, your order <b>A-1</b> is on its way.</p>' * 20}</body></html>\n"


class Sink(asyncio.Protocol):
    """A mail server that accepts everything and keeps nothing."""

    extensions = b""
    mails = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.buffer, self.is_mail = transport, b"", False
        transport.write(b"220 sink\r\n")

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        answers = []
        while answer := self._step():
            answers.append(answer)
        if answers:
            self.transport.write(b"".join(answers))

    def _step(self) -> bytes:
        """Take one command, or the end of a mail, out of the buffer; return the answer to it."""
        line, found, rest = self.buffer.partition(b"\r\n.\r\n" if self.is_mail else b"\r\n")
        if not found:
            return b""
        self.buffer = rest
        if self.is_mail:
            self.is_mail = False
            Sink.mails += 1
            return b"250 2.0.0 queued as 4F2A1\r\n"
        verb = line[:4].upper()
        self.is_mail = verb == b"DATA"
        if verb == b"EHLO":
            return b"250-sink\r\n" + self.extensions + b"250 SIZE 10000000\r\n"
        return b"354 go on\r\n" if self.is_mail else b"221 bye\r\n" if verb == b"QUIT" else b"250 2.0.0 ok\r\n"


class PipeliningSink(Sink):
    """One that takes several commands at a time."""

    extensions = b"250-PIPELINING\r\n"


class Sinks(NamedTuple):
    """The ports of both sinks, and the pipe to their process."""

    pipelining: int
    plain: int
    pipe: Pipe

    def taken(self) -> int:
        """Return how many mails they took so far."""
        self.pipe.send(None)
        return int(self.pipe.recv())


def _serve(pipe: Pipe) -> None:
    def tell() -> None:
        pipe.recv()
        pipe.send(Sink.mails)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        servers = [await loop.create_server(kind, "127.0.0.1", 0, backlog=512) for kind in (PipeliningSink, Sink)]
        pipe.send([server.sockets[0].getsockname()[1] for server in servers])
        loop.add_reader(pipe.fileno(), tell)
        await asyncio.Event().wait()

    asyncio.run(main())


@contextmanager
def sinks() -> Iterator[Sinks]:
    """Start both sinks in another process."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        pipelining, plain = ours.recv()
        yield Sinks(pipelining, plain, ours)
    finally:
        process.terminate()
        process.join()


@attrs.define
class Way:
    """One way to send, and what was measured of it.

    Attributes:
        rates: Mails a second.
        costs: Microseconds of this process's processor time for each mail.
    """

    label: str
    send: Callable[[int], None]
    mails: int
    rates: list[float] = attrs.field(factory=list)
    costs: list[float] = attrs.field(factory=list)

    def measure(self) -> None:
        """Send all mails once."""
        _claims(self.mails)
        cpu, started = time.process_time(), time.perf_counter()
        self.send(self.mails)
        self.rates.append(self.mails / (time.perf_counter() - started))
        self.costs.append((time.process_time() - cpu) / self.mails * 1e6)


@functools.cache
def _claims(count: int) -> list[Claim]:
    claims = []
    for number in range(count):
        event = make_event()
        delivery = make_delivery(event, f"user:{number}", channel="email", address=f"user{number}@example.org")
        claims.append(
            Claim(
                *(delivery.id, 1, 1, 0, 0, event.tenant, event.id, event.type, "sub_1", f"user:{number}", "email"),
                *(event.priority, None, START, None, START + timedelta(minutes=1), event.body, 1, delivery.address),
            )
        )
    return claims


def ours(port: int, concurrency: int) -> Callable[[int], None]:
    """Return how this library sends: a few connections, many senders."""
    message = EmailMessage(subject=SUBJECT, text=TEXT, html=HTML)

    async def sender(provider: SmtpProvider, claims: Iterator[Claim]) -> None:
        for claim in claims:
            address = claim.address or ""
            destination = Destination(
                subscriber_id=claim.subscriber_id, tenant="acme", channel="email", address=address
            )
            outcome = await provider.send(message, claim, destination, now=datetime.now(UTC))
            assert isinstance(outcome, Accepted), outcome

    async def main(claims: list[Claim]) -> None:
        provider = SmtpProvider(parse_url(f"smtp://127.0.0.1:{port}?sender={SENDER}&tls=off"))
        left = iter(claims)
        jobs: list[Awaitable[None]] = [sender(provider, left) for _ in range(concurrency)]
        await asyncio.gather(*jobs)
        await provider.aclose()

    def send(count: int) -> None:
        _run(main(_claims(count)))

    return send


def _run(job: Awaitable[None]) -> None:
    async def awaited() -> None:
        await job

    try:
        import uvloop
    except ImportError:
        asyncio.run(awaited())
    else:
        uvloop.run(awaited())


def smtplib_way(port: int) -> Callable[[int], None]:
    """Return how programs send without a library."""

    def send(count: int) -> None:
        for number in range(count):
            message = email.message.EmailMessage()
            message["From"], message["To"], message["Subject"] = SENDER, f"user{number}@example.org", SUBJECT
            message["Date"], message["Message-ID"] = email.utils.localtime(), email.utils.make_msgid("x", "example.org")
            message.set_content(TEXT)
            message.add_alternative(HTML, subtype="html")
            with smtplib.SMTP("127.0.0.1", port, local_hostname="client.example") as server:
                server.send_message(message)

    return send


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mails", type=int, default=5000, help="mails of each round (5000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, whose median counts (3)")
    parser.add_argument("--concurrency", type=int, default=64, help="mails under way at a time (64)")
    given = parser.parse_args()
    with sinks() as (pipelining, plain, _):
        ways = [
            Way("notifykit, pipelined", ours(pipelining, given.concurrency), given.mails),
            Way("notifykit, one command at a time", ours(plain, given.concurrency), given.mails),
            Way("smtplib, a connection for each mail", smtplib_way(plain), max(given.mails // 10, 1)),
        ]
        for _ in range(given.rounds):
            for way in ways:
                way.measure()
    slowest = median(ways[-1].rates)
    for way in ways:
        rate = median(way.rates)
        print(f"{way.label:<36} {rate:8,.0f} mails/s  {rate / slowest:5.1f} ×  {median(way.costs):6.0f} µs of CPU each")


if __name__ == "__main__":
    main()
