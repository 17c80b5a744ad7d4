"""A vendor's API over HTTP/2 and TLS that gives scripted answers, and misbehaves as servers do."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, cast

import attrs
import trustme
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset, WindowUpdated
from h2.settings import Settings

from notifykit.testing import Reply, VendorServer
from notifykit.testing.receiver import HOST

AUTHORITY = trustme.CA()


def server_context(*, alpn: str = "h2") -> ssl.SSLContext:
    """Return the TLS settings of a server on the loopback."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert(HOST).configure_cert(context)
    context.set_alpn_protocols([alpn])
    return context


def client_context() -> ssl.SSLContext:
    """Return the TLS settings of a client that trusts it."""
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


@attrs.frozen(kw_only=True)
class Act(Reply):
    """An answer, or what a server does in its place.

    Attributes:
        act: ``refuse`` or ``reset`` the stream; ``leave`` (the request is not processed) or ``finish`` (it is) with a
            ``GOAWAY``; ``crash`` with one that names an error; ``garbage`` that is no HTTP/2.
    """

    act: str = ""


class Http2Server(VendorServer):
    """Stands in for a vendor's API.

    Args:
        settings: What it tells its clients.
        alpn: The protocol that it offers.
        early: Whether it answers without waiting for the end of a request.
    """

    def __init__(
        self, usual: Reply, *, settings: dict[Any, int] | None = None, alpn: str = "h2", early: bool = False
    ) -> None:
        super().__init__(usual)
        self._settings = settings or {}
        self._early = early
        self._tls = server_context(alpn=alpn)

    @property
    def url(self) -> str:
        return super().url.replace("http:", "https:")

    async def _listen(self) -> asyncio.Server:
        loop = asyncio.get_running_loop()

        def make() -> _Exchange:
            return _Exchange(cast(Any, self._exchanges), self._answer, self._settings, self._early)

        return await loop.create_server(make, HOST, self._port, ssl=self._tls)


class _Exchange(asyncio.Protocol):
    """One connection."""

    def __init__(self, others: set[Any], answer: Callable[..., Reply], settings: dict[Any, int], early: bool) -> None:
        self._others, self._answer, self._settings = others, answer, settings
        self._early = early
        self._requests: dict[int, tuple[list[tuple[str, str]], bytearray]] = {}
        self._left: dict[int, bytes] = {}

    def close(self) -> None:
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._others.add(self)
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding="latin-1"))
        self._h2.local_settings = Settings(client=False, initial_values=self._settings)
        self._h2.initiate_connection()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._others.discard(self)

    def data_received(self, data: bytes) -> None:
        for event in self._h2.receive_data(data):
            match event:
                case RequestReceived(stream_id=int(id_), headers=headers):
                    self._requests[id_] = (cast(Any, headers), bytearray())
                    if self._early:
                        self._ask(id_)
                case DataReceived(stream_id=int(id_), data=data, flow_controlled_length=int(size)):
                    self._requests[id_][1].extend(data)
                    self._h2.acknowledge_received_data(size, id_)
                case StreamEnded(stream_id=int(id_)):
                    self._ask(id_)
                case StreamReset(stream_id=int(id_)):
                    self._left.pop(id_, None)
                case WindowUpdated():
                    for id_ in list(self._left):
                        self._pump(id_)
        self._flush()

    def _ask(self, id_: int) -> None:
        headers, body = self._requests.pop(id_)
        named = dict(headers)
        plain = [(name, value) for name, value in headers if not name.startswith(":")]
        reply = self._answer(named[":method"], named[":path"], plain, bytes(body))
        act = reply.act if isinstance(reply, Act) else ""
        if act in ("refuse", "reset"):
            self._h2.reset_stream(id_, ErrorCodes.REFUSED_STREAM if act == "refuse" else ErrorCodes.INTERNAL_ERROR)
        elif act in ("leave", "crash", "finish"):
            code = ErrorCodes.INTERNAL_ERROR if act == "crash" else ErrorCodes.NO_ERROR
            if self._early:
                self._h2.increment_flow_control_window(1000, id_)
            self._goaway(code, 0 if act == "leave" else id_)
            if act == "crash":
                self._transport.close()
        elif act == "garbage":
            self._transport.write(b"\0\0\1\0\0\0\0\0\0x")  # data that belongs to no stream
        elif reply.hang_up:
            self._transport.close()
        if act in ("", "finish") and not reply.hang_up:
            asyncio.get_running_loop().call_later(reply.delay.total_seconds() or 0.001, self._send, id_, reply)

    def _goaway(self, code: ErrorCodes, last: int) -> None:
        """Write the frame as it is, because h2 sends nothing after one of its own."""
        self._flush()
        self._transport.write(b"\0\0\x08\x07\0\0\0\0\0" + last.to_bytes(4, "big") + int(code).to_bytes(4, "big"))

    def _send(self, id_: int, reply: Reply) -> None:
        if self._transport.is_closing() or self._is_closed(id_):
            return
        headers = [(":status", str(reply.status)), *((name.lower(), value) for name, value in reply.headers.items())]
        self._h2.send_headers(id_, headers, end_stream=not reply.body)
        self._left[id_] = reply.body
        self._pump(id_)
        self._flush()

    def _pump(self, id_: int) -> None:
        while left := b"" if self._is_closed(id_) else self._left[id_]:
            room = min(self._h2.local_flow_control_window(id_), self._h2.max_outbound_frame_size)
            if room <= 0:
                return
            self._h2.send_data(id_, left[:room], end_stream=room >= len(left))
            self._left[id_] = left[room:]
        del self._left[id_]

    def _is_closed(self, id_: int) -> bool:
        return id_ not in self._h2.streams or self._h2.streams[id_].closed

    def _flush(self) -> None:
        self._transport.write(self._h2.data_to_send())
