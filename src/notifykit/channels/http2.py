"""Requests over HTTP/2: many at a time on one connection, without httpx, which takes ten times the processor time.

Only for hosts that are trusted, such as a vendor's API.  ``h2`` keeps the protocol's state; here are the connections.
What a server has surely not processed (a stream beyond the last of its ``GOAWAY``, or one that it refused) is sent
once more on another connection.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Mapping
from typing import Protocol, cast
from urllib.parse import urlsplit

import attrs
import httpx
from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import ProtocolError
from hpack import NeverIndexedHeaderTuple

from .single_flight import SingleFlight

# At DEBUG it logs each header with its value, and some are secrets.
if logging.getLogger("hpack").level == logging.NOTSET:
    logging.getLogger("hpack").setLevel(logging.INFO)

#: How long it may take to connect, until the server has sent its settings, in seconds.
_CONNECT_TIMEOUT = 10.0
#: A connection that has been idle for longer may be dead without either end's knowledge; in seconds.
_IDLE = 60.0
#: Requests at a time on one connection, whatever the server allows.
_MOST_STREAMS = 1000
#: Identifiers of streams end at 2**31.
_LAST_STREAM = 2**30
#: How often a request is sent that the server has not processed.
_TRIES = 3


class Exchange(Protocol):
    """What is known of a request and its answer."""

    began: bool
    sent: bool
    status: int
    headers: Mapping[str, str]
    body: bytearray


class Http2Client:
    """Posts to one host.  Errors are those of httpx.

    Args:
        base: A URL of the host.
        connections: How many are open at the most; another one is opened when all streams of the others are in use.
        body_cap: How much of an answer is read.
    """

    def __init__(self, base: str, *, tls: ssl.SSLContext, connections: int, body_cap: int) -> None:
        parts = urlsplit(base)
        self._host, self._port = parts.hostname or "", parts.port or 443
        self._authority = parts.netloc.encode()
        self._tls = tls
        self._tls.set_alpn_protocols(["h2"])
        self._most = connections
        self._body_cap = body_cap
        self._connections: list[_Connection] = []
        self._connecting = SingleFlight(self._connect)
        self._room = asyncio.Event()

    async def post(self, path: str, headers: Mapping[str, str], body: bytes, exchange: Exchange) -> None:
        """Send a request and read the answer into ``exchange``.

        Raises:
            httpx.TransportError: There is no answer.
        """
        head = [
            (b":method", b"POST"),
            (b":scheme", b"https"),
            (b":authority", self._authority),
            # What differs each time would only drive the rest out of the table of headers.
            NeverIndexedHeaderTuple(b":path", path.encode()),
            NeverIndexedHeaderTuple(b"content-length", b"%d" % len(body)),
            *((name.encode(), value.encode()) for name, value in headers.items()),
        ]
        tries = 0
        while True:
            tries += 1
            connection = await self._connection(exchange)
            exchange.began = True
            try:
                await connection.post(head, body, exchange)
            except _NotProcessedError:
                exchange.sent = False
                if tries == _TRIES:
                    raise
            else:
                return
            finally:
                self._room.set()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._connecting.aclose()
        for connection in self._connections:
            connection.close()
        await asyncio.sleep(0)  # lets the loop close the sockets

    async def _connection(self, exchange: Exchange) -> _Connection:
        while True:
            self._connections = [each for each in self._connections if each.is_usable()]
            for connection in self._connections:
                if connection.has_room():
                    return connection
            if len(self._connections) < self._most:
                exchange.began = True
                await self._connecting.get()
            else:
                self._room.clear()
                await self._room.wait()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                transport, connection = await loop.create_connection(
                    lambda: _Connection(self._body_cap), self._host, self._port, ssl=self._tls
                )
                try:
                    if transport.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
                        raise httpx.ConnectError("the server does not speak HTTP/2")
                    await connection.is_ready
                except BaseException:
                    connection.close()
                    raise
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error
        self._connections.append(connection)


class _NotProcessedError(httpx.ReadError):
    """The server says that it has not looked at the request."""


@attrs.define(eq=False)
class _Stream:
    """One request on a connection."""

    exchange: Exchange
    done: asyncio.Future[None]

    def take(self, event: object, body_cap: int) -> None:
        """Take what happens on it."""
        exchange = self.exchange
        match event:
            case ResponseReceived(headers=headers):
                found = {bytes(name).decode("latin-1"): bytes(value).decode("latin-1") for name, value in headers or ()}
                exchange.status = int(found.pop(":status"))
                exchange.headers = found
            case DataReceived(data=data):
                exchange.body += (data or b"")[: body_cap - len(exchange.body)]
                if len(exchange.body) == body_cap:
                    self.end()
            case StreamEnded():
                self.end()
            case StreamReset(error_code=ErrorCodes.REFUSED_STREAM):
                self.end(_NotProcessedError("the server refused the stream"))
            case StreamReset(error_code=code):
                self.end(httpx.ReadError(f"the server reset the stream: {code}"))

    def end(self, error: Exception | None = None) -> None:
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


class _Connection(asyncio.Protocol):
    """One connection, from the first byte on.

    Attributes:
        is_ready: Done when the server has sent its settings.
    """

    def __init__(self, body_cap: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.is_ready: asyncio.Future[None] = self._loop.create_future()
        self._body_cap = body_cap
        # Headers are ours, and already as they must be; those of answers are checked.
        config = H2Configuration(
            client_side=True, header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self._h2 = H2Connection(config)
        self._streams: dict[int, _Stream] = {}
        self._window = asyncio.Event()
        self._is_open = True
        self._heard = self._loop.time()
        self._flushes = False

    # -- for the client --------------------------------------------------------------------------

    def is_usable(self) -> bool:
        """Tell whether it may carry another request, now or later; one that is idle for long is closed."""
        if not self._streams and self._loop.time() - self._heard > _IDLE:
            self.close()
        return self._is_open

    def has_room(self) -> bool:
        return len(self._streams) < min(self._h2.remote_settings.max_concurrent_streams, _MOST_STREAMS)

    async def post(self, head: list[tuple[bytes, bytes]], body: bytes, exchange: Exchange) -> None:
        started = self._loop.time()
        id_ = self._h2.get_next_available_stream_id()
        if id_ > _LAST_STREAM:
            self._is_open = False
        stream = self._streams[id_] = _Stream(exchange, self._loop.create_future())
        try:
            self._h2.send_headers(id_, head)
            self._flush_soon()
            exchange.sent = True
            await self._send(id_, stream, body)
            await stream.done
        except ProtocolError as error:
            raise httpx.LocalProtocolError(str(error)) from error
        except asyncio.CancelledError:
            if self._heard < started:
                self._is_open = False  # nothing has come for as long as a request may take: it may be dead
            raise
        finally:
            del self._streams[id_]
            if stream.done.done() and not stream.done.cancelled():
                stream.done.exception()  # marks it as retrieved
            self._give_up(id_)
            if not self._is_open and not self._streams:
                self.close()

    def close(self) -> None:
        self._is_open = False
        self.is_ready.cancel()
        self._transport.abort()

    async def _send(self, id_: int, stream: _Stream, body: bytes) -> None:
        """Send a body, as far as the server's windows allow at a time."""
        while not stream.done.done():
            room = min(self._h2.local_flow_control_window(id_), self._h2.max_outbound_frame_size)
            if room > 0:
                self._h2.send_data(id_, body[:room], end_stream=room >= len(body))
                self._flush_soon()
                body = body[room:]
                if not body:
                    return
            else:
                self._window.clear()
                await self._window.wait()

    def _give_up(self, id_: int) -> None:
        """Tell the server that an answer is not waited for any more, unless it has ended."""
        stream = self._h2.streams.get(id_)
        if self._is_open and stream is not None and not stream.closed:
            self._h2.reset_stream(id_, ErrorCodes.CANCEL)
            self._flush_soon()

    def _flush_soon(self) -> None:
        """Write in one go what is sent in this iteration of the loop."""
        if not self._flushes:
            self._flushes = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushes = False
        data = self._h2.data_to_send()
        if data:
            self._transport.write(data)

    # -- what the loop calls ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are not declared as such
        self._h2.initiate_connection()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(httpx.ReadError(f"the connection was closed: {exc or 'by the server'}"))

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        try:
            events = self._h2.receive_data(data)
        except (ProtocolError, ValueError) as error:
            self._flush()
            self._fail(httpx.RemoteProtocolError(f"not HTTP/2: {error}"))
            self._transport.abort()
            return
        for event in events:
            self._take(event)
        self._window.set()  # some of it may have been a larger one, or the end of a stream that waits for it
        self._flush()

    def _take(self, event: object) -> None:
        match event:
            case RemoteSettingsChanged() if not self.is_ready.done():
                self.is_ready.set_result(None)
            case ConnectionTerminated(error_code=code, last_stream_id=last):
                self._terminate(code, last or 0)
            case DataReceived(stream_id=int(id_), flow_controlled_length=int(size)):
                self._h2.acknowledge_received_data(size, id_)
        stream = self._streams.get(getattr(event, "stream_id", None) or 0)
        if stream is not None:
            stream.take(event, self._body_cap)

    def _terminate(self, code: int | None, last: int) -> None:
        """Take no more requests; those beyond the last one that the server looks at have failed."""
        self._is_open = False
        for id_, stream in self._streams.items():
            if id_ > last:
                stream.end(_NotProcessedError("the server is shutting down"))
        if code == ErrorCodes.NO_ERROR:  # the others are still answered, which h2 does not expect
            self._h2.state_machine.state = ConnectionState.CLIENT_OPEN

    def _fail(self, error: httpx.TransportError) -> None:
        self._is_open = False
        if not self.is_ready.done():
            self.is_ready.set_exception(httpx.ConnectError(str(error)))
        for stream in self._streams.values():
            stream.end(error)
        self._window.set()
