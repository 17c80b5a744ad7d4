"""Messages a second through vendors' HTTP APIs, simulated in another process: ``python -m benchmarks.providers``.

E-mails in batches, one a request, and as programs send with httpx alone; SMS, which no vendor takes in batches, with
this library and with httpx alone.  The ways take turns in one run, so that their ratios mean something on any machine.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing.connection import Connection as Pipe
from statistics import median

import attrs
import httpx

from benchmarks.email import HTML, SUBJECT, TEXT, Way, _claims, _run
from notifykit.channels import provider_channel_from_url
from notifykit.channels.http_provider import HttpProvider
from notifykit.channels.messages import MessageChannel
from notifykit.models.delivery import Claim
from notifykit.models.destination import Destination
from notifykit.models.messages import EmailMessage, Message, SmsMessage
from notifykit.models.outcome import Accepted
from notifykit.testing.vendors import PostmarkServer, SendGridServer, SimulatedVendor, TwilioServer

KINDS: dict[str, type[SimulatedVendor]] = {
    "postmark": PostmarkServer,
    "sendgrid": SendGridServer,
    "twilio": TwilioServer,
}
MESSAGES: dict[str, Message] = {
    "email": EmailMessage(subject=SUBJECT, text=TEXT, html=HTML),
    "sms": SmsMessage(text="Your order A-1 is on its way and arrives on Thursday. Your shop"),
}
#: The fewest messages a second that the documentation promises, by the first way of each channel.
TARGETS = {"email": 3000, "sms": 1500}


def _serve(pipe: Pipe) -> None:
    servers = {name: kind().__enter__() for name, kind in KINDS.items()}
    pipe.send({name: server.provider_url for name, server in servers.items()})
    while True:
        pipe.recv()
        pipe.send({name: server.total for name, server in servers.items()})


@attrs.frozen
class Vendors:
    """The vendors' process.

    Attributes:
        urls: Of their providers, by name.
    """

    urls: dict[str, str]
    pipe: Pipe

    def taken(self, name: str) -> int:
        """Return how many messages a vendor took so far."""
        self.pipe.send(None)
        return int(self.pipe.recv()[name])


@contextmanager
def vendors() -> Iterator[Vendors]:
    """Start the vendors in another process."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    try:
        yield Vendors(ours.recv(), ours)
    finally:
        process.terminate()
        process.join()


def address_of(channel: str, number: int) -> str:
    """Return the address of a person."""
    return f"user{number}@example.org" if channel == "email" else f"+4915{number:09}"


def ours(channel: str, url: str, concurrency: int) -> Callable[[int], None]:
    """Return how this library sends: many senders, and a provider."""
    message = MESSAGES[channel]

    async def sender(made: MessageChannel, claims: Iterator[tuple[int, Claim]]) -> None:
        for number, claim in claims:
            address = address_of(channel, number)
            to = Destination(subscriber_id=claim.subscriber_id, tenant="acme", channel=channel, address=address)
            outcome = await made.provider.send(message, claim, to, now=datetime.now(UTC))
            assert isinstance(outcome, Accepted), outcome

    async def main(count: int) -> None:
        made = provider_channel_from_url(channel, url)
        assert isinstance(made, MessageChannel)
        left = enumerate(_claims(count))
        await asyncio.gather(*(sender(made, left) for _ in range(concurrency)))
        await made.aclose()

    return lambda count: _run(main(count))


def plain(channel: str, url: str, concurrency: int) -> Callable[[int], None]:
    """Return how programs send without a library: an httpx client, a request for each message."""
    message = MESSAGES[channel]

    async def sender(client: httpx.AsyncClient, vendor: HttpProvider, left: Iterator[tuple[int, Claim]]) -> None:
        for number, claim in left:
            address = address_of(channel, number)
            to = Destination(subscriber_id=claim.subscriber_id, tenant="acme", channel=channel, address=address)
            request = vendor._vendor.request(message, claim, to, now=datetime.now(UTC))
            response = await client.post(request.url, content=request.body, headers=dict(request.headers))  # type: ignore[union-attr]
            response.raise_for_status()

    async def main(count: int) -> None:
        made = provider_channel_from_url(channel, url)
        assert isinstance(made, MessageChannel)
        assert isinstance(made.provider, HttpProvider)
        left = enumerate(_claims(count))
        limits = httpx.Limits(max_connections=32, max_keepalive_connections=32)
        async with httpx.AsyncClient(limits=limits, timeout=60, trust_env=False) as client:
            await asyncio.gather(*(sender(client, made.provider, left) for _ in range(min(concurrency, 32))))

    return lambda count: _run(main(count))


def ways(vendor: Vendors, messages: int, concurrency: int) -> dict[str, list[Way]]:
    """Return the ways to send, by channel; the first is what counts, the last what it is compared with."""
    urls = vendor.urls
    few = max(messages // 4, 1)
    return {
        "email": [
            Way("SendGrid, in batches", ours("email", urls["sendgrid"], concurrency), messages),
            Way("Postmark, in batches", ours("email", urls["postmark"], concurrency), messages),
            Way("SendGrid, one a request", ours("email", f"{urls['sendgrid']}&batch=1", concurrency), few),
            Way("SendGrid, httpx alone", plain("email", urls["sendgrid"], concurrency), few),
        ],
        "sms": [
            Way("Twilio", ours("sms", urls["twilio"], concurrency), few),
            Way("Twilio, httpx alone", plain("sms", urls["twilio"], concurrency), few),
        ],
    }


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=8000, help="messages of each round (8000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, whose median counts (3)")
    parser.add_argument("--concurrency", type=int, default=256, help="messages under way at a time (256)")
    given = parser.parse_args()
    with vendors() as vendor:
        chosen = ways(vendor, given.messages, given.concurrency)
        for _ in range(given.rounds):
            for each in chosen.values():
                for way in each:
                    way.measure()
        sent = sum(way.mails for way in chosen["sms"]) * given.rounds
        assert sent == vendor.taken("twilio"), "messages were lost or repeated"
    for channel, each in chosen.items():
        slowest = median(each[-1].rates)
        print(f"{channel} (at least {TARGETS[channel]:,} a second)")
        for way in each:
            rate = median(way.rates)
            ratio, cost = rate / slowest, median(way.costs)
            print(f"  {way.label:<26} {rate:8,.0f} messages/s  {ratio:5.1f} ×  {cost:6.0f} µs of CPU each")


if __name__ == "__main__":
    main()
