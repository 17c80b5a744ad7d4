"""A small HTTP/1.1 server that receives webhooks: for ``notifykit listen`` and the demo.

Standard library only, one handler for every request, keep-alive, and a limit for bodies.  It is
for a developer's machine and a demo, not for the internet.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import NamedTuple, Self

MAX_HEAD = 64 * 1024
MAX_BODY = 4 * 1024 * 1024
#: Seconds that a client may take to send a request that it has begun.
REQUEST_TIMEOUT = 30.0


class Request(NamedTuple):
    """A request as received.

    Attributes:
        headers: Names in lower case, in the order of the request.
    """

    method: str
    path: str
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Reply(NamedTuple):
    """The response to a request."""

    status: int
    body: bytes = b""
    headers: Sequence[tuple[bytes, bytes]] = ()


class _BadRequestError(Exception):
    """The request is not valid HTTP/1.1."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Receiver:
    """Listens inside a block.

    Args:
        handle: Returns the response to a request.
        port: 0 means any free port.
    """

    def __init__(
        self, handle: Callable[[Request], Awaitable[Reply]], *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self._handle = handle
        self._host = host
        self.port = port
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, self._host, self.port, limit=MAX_HEAD)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._converse(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, TimeoutError, asyncio.CancelledError):
            pass  # the connection or this server was closed; a task of start_server must not end with an error
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await writer.wait_closed()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                request = await _read(reader, writer)
            except _BadRequestError as error:
                writer.write(_encoded(Reply(error.status), keep=False))
                await writer.drain()
                return
            if request is None:
                return
            reply = await self._handle(request)
            keep = dict(request.headers).get(b"connection", b"").lower() != b"close"
            writer.write(_encoded(reply, keep=keep))
            await writer.drain()
            if not keep:
                return


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    """Return the next request, or ``None`` if the client is done."""
    try:
        first = await reader.readexactly(1)
    except asyncio.IncompleteReadError:
        return None
    async with asyncio.timeout(REQUEST_TIMEOUT):
        try:
            head = first + await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            raise _BadRequestError(431) from None
        start, *lines = head[:-4].split(b"\r\n")
        try:
            method, path, _ = start.decode("ascii").split(" ")
        except ValueError:
            raise _BadRequestError(400) from None
        headers = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
        known = dict(headers)
        if known.get(b"expect", b"").lower() == b"100-continue":
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if b"chunked" in known.get(b"transfer-encoding", b"").lower():
            body = await _read_chunks(reader)
        else:
            body = await reader.readexactly(_length(known.get(b"content-length", b"0"), 10))
    return Request(method, path, headers, body)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while True:
        size = _length((await reader.readuntil(b"\r\n")).partition(b";")[0].strip(), 16)
        if len(body) + size > MAX_BODY:
            raise _BadRequestError(413)
        body += await reader.readexactly(size)
        if size == 0:
            while await reader.readuntil(b"\r\n") != b"\r\n":  # trailers
                pass
            return body
        await reader.readexactly(2)


def _length(text: bytes, base: int) -> int:
    try:
        length = int(text, base)
    except ValueError:
        raise _BadRequestError(400) from None
    if not 0 <= length <= MAX_BODY:
        raise _BadRequestError(413 if length > 0 else 400)
    return length


def _encoded(reply: Reply, *, keep: bool) -> bytes:
    try:
        phrase = HTTPStatus(reply.status).phrase
    except ValueError:
        phrase = "Unknown"
    head = f"HTTP/1.1 {reply.status} {phrase}\r\ncontent-length: {len(reply.body)}\r\n"
    if not keep:
        head += "connection: close\r\n"
    lines = b"".join(b"%b: %b\r\n" % header for header in reply.headers)
    return head.encode("ascii") + lines + b"\r\n" + reply.body
