"""The network below httpcore: dials what the guard vetted, and filters what receivers send to the parser.

httpcore's own streams read nothing while they write, so an answer that comes before the
whole request was sent is lost when the receiver closes; and they hand over whatever has
come, which its parser then takes in one go.  These streams

- read all the time, and end a write once a final answer has begun;
- hand over little at a time, and one stream's further portions per turn of the event loop,
  so that hostile answers do not hold up everything else;
- follow each answer with the parser of the wire, which is fifty times as fast: what is
  broken or too long ends there, and a connection on which anything follows an answer is
  not used again.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Iterable
from typing import Any, Final, cast

import httpcore
import httptools

from .connection import MAX_INTERIM
from .guard import Guard
from .protocol import looking_for_unread
from .shortage import shortage
from .transport import MAX_HEAD_BYTES, MAX_HEAD_LINES, WireError

_MAX_DIALLED = 4
#: How much is handed to the parser at a time, and how much may be buffered here before reading pauses.
_PORTION: Final = 2048
_HELD: Final = 64 * 1024

_INTERIM: Final = re.compile(rb"HTTP/1\.[01] 1")
_FINAL: Final = re.compile(rb"HTTP/1\.[01] [2-9]")

#: How far an answer is.
_HEAD, _BODY, _DONE = range(3)


class TlsError(httpcore.ConnectError):
    """The TLS handshake failed."""


class Backend(httpcore.AsyncNetworkBackend):
    """Opens TCP connections, and no Unix sockets.

    Args:
        guard: What vets the addresses for the very connection; with a proxy there is none.
        body_cap: How much of an answer's body is kept.
    """

    def __init__(self, guard: Guard | None, body_cap: int) -> None:
        self._guard = guard
        self._body_cap = body_cap
        self._turns = _Turns()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the transport has one deadline for everything
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first of the vetted addresses that answers."""
        vetted = (host,) if self._guard is None else await self._guard.vet(host, port)
        lacking: str | None = None
        refused: OSError | None = None
        for address in vetted[:_MAX_DIALLED]:
            try:
                return await self._connect(address, port)
            except OSError as error:
                refused = error
                lacking = lacking or shortage(error, address, port)
        if lacking is not None:
            raise WireError(lacking, own=True) from refused
        raise httpcore.ConnectError(str(refused)) from refused

    async def _connect(self, address: str, port: int) -> Stream:
        loop = asyncio.get_running_loop()
        _, stream = await loop.create_connection(lambda: Stream(self._turns, self._body_cap), address, port)
        return stream

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class Stream(asyncio.Protocol, httpcore.AsyncNetworkStream):
    """A connection, before and after its TLS handshake."""

    def __init__(self, turns: _Turns, body_cap: int) -> None:
        self._turns = turns
        self._body_cap = body_cap
        self._answer: _Answer | None = _Answer(body_cap)
        self._received = bytearray()
        self._portions = 0
        self._changed = asyncio.Event()
        self._reading_pauses = self._writing_pauses = False
        self._ended = self._lost = False
        self._error: Exception | None = None

    # -- the loop's side ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(0)  # a write ends when the bytes are sent, not when they are buffered
        self._look = looking_for_unread(transport.get_extra_info("socket").fileno())

    def data_received(self, data: bytes) -> None:
        """Buffer what came until the parser asks for it."""
        self._received += data
        if len(self._received) > _HELD and not self._reading_pauses:
            self._reading_pauses = True
            self._transport.pause_reading()
        self._changed.set()

    def pause_writing(self) -> None:
        """Note that the transport's buffer is full."""
        self._writing_pauses = True

    def resume_writing(self) -> None:
        """Note that the transport's buffer is empty."""
        self._writing_pauses = False
        self._changed.set()

    def eof_received(self) -> bool:
        """Let the loop close the connection."""
        self._ended = True
        self._changed.set()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end and its reason."""
        self._ended = self._lost = True
        self._error = exc
        self._changed.set()

    # -- httpcore's side ---------------------------------------------------------------------

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        """Return the next portion, or nothing at the end."""
        while not self._received:
            if self._error is not None:
                raise httpcore.ReadError(str(self._error)) from self._error
            if self._ended:
                return b""
            await self._change()
        if self._portions:
            await self._turns.next()
        self._portions += 1
        size = min(max_bytes, _PORTION)
        data = bytes(self._received[:size])
        del self._received[:size]
        if self._reading_pauses and len(self._received) < _HELD // 2:
            self._reading_pauses = False
            self._transport.resume_reading()
        if self._answer is not None:
            self._answer.follow(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        """Send ``buffer``, all of it unless the receiver answers before that."""
        if not buffer:
            return
        if self._transport.is_closing():
            raise httpcore.WriteError("the connection is closed")
        self._portions = 0
        if self._answer is not None:
            self._answer.expect()
        self._transport.write(buffer)
        while self._transport.get_write_buffer_size() and not self._lost:
            if self._answer is not None and _final_began(self._received):
                raise httpcore.WriteError("the answer came early")
            await self._change()
        if self._lost and self._writing_pauses:
            raise httpcore.WriteError(str(self._error)) from self._error

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        """Encrypt the connection from here on; close it if that fails."""
        loop = asyncio.get_running_loop()
        transport: asyncio.BaseTransport | None = None
        try:
            # what was received in the clear is not taken for encrypted data
            if self._received or self._transport.is_closing():
                raise ConnectionAbortedError("the receiver spoke or closed before the handshake")
            transport = await loop.start_tls(self._transport, self, ssl_context, server_hostname=server_hostname)
        except OSError as error:  # an SSLError is one
            raise TlsError(str(error)) from error
        finally:
            if transport is None:
                self._transport.abort()
        assert transport is not None
        self._transport = transport
        self._transport.set_write_buffer_limits(1, 0)  # with 0 an encrypted transport pauses while nothing waits
        is_http2 = transport.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        self._answer = None if is_http2 else _Answer(self._body_cap)
        return self

    async def aclose(self) -> None:
        """Close at once."""
        self._answer = None  # breaks a reference cycle
        self._transport.abort()

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore asks for; ``is_readable`` means that a connection may not be used again."""
        match info:
            case "is_readable":
                follows = self._answer is not None and not self._answer.is_over
                return self._ended or follows or bool(self._received) or bool(self._look(0))
            case "server_addr":
                return self._transport.get_extra_info("peername")
            case "client_addr":
                return self._transport.get_extra_info("sockname")
        return self._transport.get_extra_info(info)


class _Turns:
    """Lets one waiter pass in each turn of the event loop."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    async def next(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._lock = loop, asyncio.Lock()
        async with self._lock:
            await asyncio.sleep(0)


class _Answer:
    """Follows the answer to one request after the other, ahead of httpcore's parser.

    Attributes:
        is_over: Whether an answer has ended, and nothing but that answer has come.
    """

    def __init__(self, body_cap: int) -> None:
        self._parser: Any = httptools.HttpResponseParser(self)
        self._most = MAX_HEAD_BYTES + 2 * body_cap
        self._stage = _HEAD
        self._size = self._lines = self._interim = 0
        self._is_broken = False

    @property
    def is_over(self) -> bool:
        return self._stage == _DONE and not self._is_broken

    def expect(self) -> None:
        """Reset the state for the answer to another request."""
        if self._stage == _DONE:
            self._stage = _HEAD
            self._size = self._lines = self._interim = 0

    def follow(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            WireError: They are not a valid answer, or longer than an answer may be.
        """
        self._size += len(data)
        if not self._is_broken:
            try:
                self._parser.feed_data(data)
            except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
                self._is_broken = True  # problems in a body are left to httpcore's parser
                if self._stage == _HEAD and isinstance(error, httptools.HttpParserError):
                    raise WireError("bad_response") from error
        if self._interim > MAX_INTERIM:
            raise WireError("bad_response")
        if self._lines > MAX_HEAD_LINES or self._size > (MAX_HEAD_BYTES if self._stage == _HEAD else self._most):
            raise WireError("bad_response" if self._interim else "response_too_large")

    def on_message_begin(self) -> None:
        if self._stage == _DONE:
            self._is_broken = True  # a second answer to one request

    def on_header(self, name: bytes, value: bytes) -> None:  # noqa: ARG002
        self._lines += 1

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self._interim += 1
            self._lines = 0
        else:
            self._stage = _BODY

    def on_message_complete(self) -> None:
        if self._stage == _BODY:
            self._stage = _DONE


def _final_began(received: bytearray) -> bool:
    """Return whether a final answer, not only an interim one, begins in ``received``."""
    at = 0
    while _INTERIM.match(received, at):
        end = received.find(b"\r\n\r\n", at)
        if end < 0:
            return False
        at = end + 4
    return _FINAL.match(received, at) is not None
