"""Receivers on real sockets that run a test's script, and the values that deliveries need."""

from __future__ import annotations

import asyncio
import socket
import struct
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self, cast

import attrs

from notifykit.channels.webhook import Guard
from notifykit.models.delivery import Claim, Priority
from notifykit.models.destination import Destination, destination_of
from notifykit.models.endpoint import Endpoint, EndpointSecret

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
SECRET = "whsec_" + b64encode(b"k" * 32).decode()
OTHER_SECRET = "whsec_" + b64encode(b"o" * 32).decode()
OK = b"HTTP/1.1 204 No Content\r\n\r\n"
PUBLIC = "93.184.216.34"

Script = Callable[["Exchange"], Awaitable[None]]


@attrs.define(eq=False)
class Exchange:
    """One connection, as the receiver sees it."""

    receiver: Receiver
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int

    async def request(self) -> bytes:
        """Read one request and return its head; the body is kept by the receiver."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        body = await self.reader.readexactly(length)
        self.receiver.requests.append((head, body))
        return head

    async def send(self, data: bytes) -> None:
        """Write ``data`` and wait until the network took most of it."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, data: bytes) -> None:
        """Read one request, then send ``data``."""
        await self.request()
        await self.send(data)

    def stop_reading(self) -> None:
        """Leave what arrives to the kernel's buffers."""
        cast(asyncio.Transport, self.writer.transport).pause_reading()

    def reset(self) -> None:
        """Close with a TCP reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Receiver:
    """A server on a free port of the loopback that runs ``script`` for each connection."""

    def __init__(self, script: Script, *, tls: Any = None, address: str = "127.0.0.1", port: int = 0) -> None:
        self._script = script
        self._tls = tls
        self._address = address
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = port
        self.connections = 0
        self.requests: list[tuple[bytes, bytes]] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._serve, self._address, self.port, ssl=self._tls, limit=1 << 20, backlog=256
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'http' if self._tls is None else 'https'}://{self._address}:{self.port}/hook"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            await self._script(Exchange(self, reader, writer, self.connections))
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()


async def always_ok(exchange: Exchange) -> None:
    """Accept every request on a connection."""
    while True:
        await exchange.answer(OK)


def answering(*answers: bytes) -> Script:
    """Return a script that sends ``answers`` in turn, the last one again and again, over all connections."""

    async def script(exchange: Exchange) -> None:
        while True:
            await exchange.request()
            number = min(len(exchange.receiver.requests), len(answers)) - 1
            await exchange.send(answers[number])

    return script


class FixedResolver:
    """Answers from a table; an answer may be a list of rounds, the last of which stays."""

    def __init__(
        self, table: Mapping[str, Sequence[str] | Sequence[Sequence[str]]], default: Sequence[str] = ()
    ) -> None:
        self._table = table
        self._default = default
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """Return the round that is due."""
        known = self._table.get(host, self._default)
        rounds: Sequence[Any] = known if known and not isinstance(known[0], str) else [known]
        answers: Sequence[str] = rounds[min(self.asked.count(host), len(rounds) - 1)]
        self.asked.append(host)
        if not answers:
            raise OSError("no such name")
        return answers


def local_guard() -> Guard:
    """Return a guard for receivers on the loopback."""
    return Guard(allow=["127.0.0.0/8"], allow_http=True)


def make_endpoint(url: str, **changes: Any) -> Endpoint:
    """Return an endpoint with one key and a short deadline."""
    values: dict[str, Any] = {
        "id": "end_1",
        "tenant": "acme",
        "url": url,
        "secrets": (EndpointSecret(value=SECRET, created_at=NOW),),
        "timeout": timedelta(seconds=5),
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Endpoint(**(values | changes))


def make_destination(url: str, **changes: Any) -> Destination:
    """Return what a channel is handed for such an endpoint."""
    return destination_of(make_endpoint(url, **changes))


def make_claim(body: bytes = b'{"order":"A-1"}', **changes: Any) -> Claim:
    """Return a claim on the first attempt of a delivery."""
    claim = Claim(
        delivery_id="dlv_1",
        fence=1,
        attempt=1,
        tries=0,
        abandoned=0,
        tenant="acme",
        event_id="evt_01JABCDEFGHJKMNPQRSTVWXYZA",
        event_type="order.shipped",
        subscription_id="sub_1",
        subscriber_id="end_1",
        channel="webhook",
        priority=Priority.NORMAL,
        ordering_key=None,
        published_at=NOW,
        expires_at=None,
        lease_until=NOW + timedelta(seconds=60),
        body=body,
        version=1,
    )
    return claim._replace(**changes)
