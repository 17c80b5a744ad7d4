"""Pushes a second to a sink over HTTP/2 and TLS in another process: ``python -m benchmarks.push``.

Through APNs and FCM, and as programs send without a library: a loop over httpx.  The ways take turns in one run, so
that their ratios mean something on any machine.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import multiprocessing
import os
import socket
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

import attrs
import httpx
import trustme
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from notifykit.channels import provider_channel_from_url
from notifykit.channels.messages import MessageChannel
from notifykit.models.delivery import Claim
from notifykit.models.messages import PushMessage
from notifykit.models.outcome import Accepted
from notifykit.testing.suites.provider import make_claim

MESSAGE = PushMessage(
    title="Your order A-1 is on its way", body="It arrives on Thursday.", url="https://shop.example/orders/A-1"
)


async def sink(scope: Any, protocol: Any) -> None:
    """Take every push, and give every access token: an application of granian."""
    await protocol()
    if scope.path == "/token":
        protocol.response_str(200, [], json.dumps({"access_token": "ya29.x" + "x" * 200, "expires_in": 3599}))
    elif scope.path.startswith("/3/"):
        protocol.response_empty(200, [("apns-id", "eabeae54-14a8-11e5-b60b-1697f925ec7b")])
    else:
        protocol.response_str(200, [], '{"name": "projects/example-shop/messages/0:1500415314455276"}')


def _serve(port: int, folder: Path, versions: str) -> None:
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces

    Granian(
        "benchmarks.push:sink",
        port=port,
        interface=Interfaces.RSGI,
        http=HTTPModes(versions),
        ssl_cert=folder / "cert.pem",
        ssl_key=folder / "key.pem",
        log_enabled=False,
        websockets=False,
    ).serve()


@contextmanager
def sinks() -> Iterator[tuple[int, int]]:
    """Start a sink for pushes and one for access tokens; return their ports."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1")
        authority.cert_pem.write_to_path(folder / "ca.pem")
        certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
        certificate.private_key_pem.write_to_path(folder / "key.pem")
        os.environ["SSL_CERT_FILE"] = str(folder / "ca.pem")
        ports = _free_port(), _free_port()
        spawn = multiprocessing.get_context("spawn")
        processes = [
            spawn.Process(target=_serve, args=(port, folder, versions))
            for port, versions in zip(ports, ("2", "1"), strict=True)
        ]
        for process in processes:
            process.start()
        try:
            for port in ports:
                _wait(port)
            yield ports
        finally:
            for process in processes:
                process.terminate()
                process.join()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("the sink does not start")


@attrs.define
class Way:
    """One way to send, and what was measured of it.

    Attributes:
        rates: Pushes a second.
        costs: Microseconds of this process's processor time for each push.
    """

    label: str
    send: Callable[[Iterator[Claim]], Awaitable[None]]
    pushes: int
    rates: list[float] = attrs.field(factory=list)
    costs: list[float] = attrs.field(factory=list)

    def measure(self) -> None:
        """Send all pushes once."""
        claims = _claims(self.pushes)
        cpu, started = time.process_time(), time.perf_counter()
        _run(self.send(iter(claims)))
        self.rates.append(self.pushes / (time.perf_counter() - started))
        self.costs.append((time.process_time() - cpu) / self.pushes * 1e6)


@functools.cache
def _claims(count: int) -> list[Claim]:
    return [make_claim("push", f"{number:064x}") for number in range(count)]


def _run(job: Awaitable[None]) -> None:
    async def awaited() -> None:
        await job

    try:
        import uvloop
    except ImportError:
        asyncio.run(awaited())
    else:
        uvloop.run(awaited())


def ours(url: str, token: Callable[[Claim], str], concurrency: int) -> Callable[[Iterator[Claim]], Awaitable[None]]:
    """Return how this library sends."""

    async def sender(channel: MessageChannel, claims: Iterator[Claim]) -> None:
        for claim in claims:
            to = channel.destination(tenant="acme", subscriber_id="user:42", address=token(claim))
            outcome = await channel.provider.send(MESSAGE, claim, to, now=datetime.now(UTC))
            assert isinstance(outcome, Accepted), outcome

    async def send(claims: Iterator[Claim]) -> None:
        channel = provider_channel_from_url("push", url)
        assert isinstance(channel, MessageChannel)
        await asyncio.gather(*(sender(channel, claims) for _ in range(concurrency)))
        await channel.aclose()

    return send


def plain(endpoint: str, concurrency: int) -> Callable[[Iterator[Claim]], Awaitable[None]]:
    """Return how programs send to APNs without a library."""
    headers = {"authorization": "bearer " + "x" * 200, "apns-topic": "org.example.shop", "apns-push-type": "alert"}
    payload = {"aps": {"alert": {"title": MESSAGE.title, "body": MESSAGE.body}}, "url": MESSAGE.url}

    async def sender(client: httpx.AsyncClient, claims: Iterator[Claim]) -> None:
        for claim in claims:
            answer = await client.post(f"{endpoint}/3/device/{claim.address}", json=payload, headers=headers)
            answer.raise_for_status()

    async def send(claims: Iterator[Claim]) -> None:
        async with httpx.AsyncClient(http2=True, verify=ssl.create_default_context(), timeout=60) as client:
            await asyncio.gather(*(sender(client, claims) for _ in range(concurrency)))

    return send


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _urls(port: int, tokens: int) -> tuple[str, str]:
    """Return the URLs of APNs and of FCM."""
    account = {
        "type": "service_account",
        "project_id": "example-shop",
        "client_email": "sender@example-shop.example",
        "private_key": _pem(rsa.generate_private_key(65537, 2048)),
        "private_key_id": "key-1",
        "token_uri": f"https://127.0.0.1:{tokens}/token",
    }
    endpoint = f"endpoint=https://127.0.0.1:{port}"
    apns = f"key={quote(_pem(ec.generate_private_key(ec.SECP256R1())))}&key_id=A&team=B&topic=org.example.shop"
    return f"apns://?{apns}&{endpoint}", f"fcm://?key={quote(json.dumps(account))}&{endpoint}"


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pushes", type=int, default=10_000, help="pushes of each round (10000)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, whose median counts (3)")
    parser.add_argument("--concurrency", type=int, default=64, help="pushes under way at a time (64)")
    given = parser.parse_args()
    with sinks() as (port, tokens):
        apns, fcm = _urls(port, tokens)
        ways = [
            Way("notifykit, APNs", ours(apns, lambda claim: str(claim.address), given.concurrency), given.pushes),
            Way("notifykit, FCM", ours(fcm, lambda claim: f"x:APA91b{claim.address}", given.concurrency), given.pushes),
            Way("httpx", plain(f"https://127.0.0.1:{port}", given.concurrency), max(given.pushes // 5, 1)),
        ]
        for _ in range(given.rounds):
            for way in ways:
                way.measure()
    slowest = median(ways[-1].rates)
    for way in ways:
        rate = median(way.rates)
        print(
            f"{way.label:<16} {rate:8,.0f} pushes/s  {rate / slowest:5.1f} ×  {median(way.costs):6.0f} µs of CPU each"
        )


if __name__ == "__main__":
    main()
