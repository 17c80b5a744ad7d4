"""One keep-alive connection that carries one POST at a time.

It reads into a buffer that all connections of a pool share, so the event loop
allocates nothing per read; the parser copies out what is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import httptools

from ...failpoints import failpoint
from .protocol import looking_for_unread
from .transport import BODY_GRACE, MAX_HEAD_BYTES, MAX_HEAD_LINES, Response, WireError

if TYPE_CHECKING:
    from .pool import Pool

#: Interim answers (``100 Continue``, ``103 Early Hints``) that are read before the final one.
MAX_INTERIM = 16
_START_LINE_BYTES = 1024
#: The longest answer that is compared with the last one before it is parsed.
_SHORT = 1024
_ANSWER_LOST = frozenset({"timeout", "reset", "closed_early"})

# The stages of a connection.
_IDLE, _HEAD, _BODY, _DONE, _OVERSIZED = range(5)


class StaleConnectionError(Exception):
    """The receiver closed an idle connection just as it was used again; it read nothing."""


class Connection:
    """A connection of one tenant to one origin; opened, lent and swept by a :class:`~.pool.Pool`.

    Attributes:
        deadline: When the running request is given up, in the loop's time.
        stale_at: When it may not be used again although it is idle.
        retire_at: When it may not be used again whatever happens.
        closed: Whether it is closed, or about to be.
    """

    __slots__ = (
        "_body",
        "_buffer",
        "_headers",
        "_in_grace",
        "_interim",
        "_kept_alive",
        "_look",
        "_parser",
        "_pool",
        "_received",
        "_reused",
        "_size",
        "_stage",
        "_start",
        "_status",
        "_transport",
        "_waiter",
        "closed",
        "deadline",
        "is_tls",
        "key",
        "retire_at",
        "stale_at",
    )

    _transport: asyncio.Transport
    _look: Callable[[int], object]
    _headers: list[tuple[bytes, bytes]]
    _body: list[bytes]
    _start: bytes
    _received: int
    _in_grace: bool

    def __init__(self, pool: Pool, key: str, buffer: memoryview) -> None:
        self._pool = pool
        self._buffer = buffer
        self.key = key
        self.is_tls = key.startswith("https:")
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[Response] | None = None
        self._stage = _IDLE
        self._reused = False
        self.closed = False
        self.deadline = self.stale_at = self.retire_at = 0.0
        self._forget()

    # -- the request -------------------------------------------------------------------------

    def request(self, data: bytes, deadline: float) -> asyncio.Future[Response]:
        """Send ``data``; the future holds the answer or a :class:`~.transport.WireError`."""
        self._waiter = waiter = self._pool.loop.create_future()
        self.deadline = deadline
        self._stage = _HEAD
        self._transport.write(data)
        failpoint("att.sent")
        return waiter

    def has_unread(self) -> bool:
        """Whether the receiver sent bytes that the loop has not read yet, although no request is open."""
        return bool(self._look(0))

    def abandon(self, waiter: asyncio.Future[Response]) -> None:
        """Close, unless the request that ``waiter`` stands for has ended already."""
        if self._waiter is waiter:
            self.abort()

    def abort(self) -> None:
        """Close at once; no request waits for an answer any more."""
        self._waiter = None
        self._stage = _IDLE
        self.closed = True
        self._transport.abort()

    def expire(self) -> None:
        """End the request because its deadline has passed."""
        if self._answered():
            self._finish()
        else:
            self.fail("timeout")

    # -- the loop's side ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)
        self._look = looking_for_unread(transport.get_extra_info("socket").fileno())

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        """Offer the shared buffer; it is emptied before the loop serves another connection."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Feed the received bytes to the parser, and check how far the answer is."""
        parser = self._parser
        if self._stage == _IDLE or parser is None:
            self._pool.discard(self)  # no request is open: these bytes would be taken for the answer to the next one
            return
        data: bytes | memoryview = self._buffer[:nbytes]
        whole = not self._received and nbytes <= _SHORT
        if whole:
            data = bytes(data)
            known = self._pool.last_answer
            if known is not None and data == known[0]:  # the parser would give the same result
                self._end(known[1], kept_alive=True)
                return
        broken = False
        self._received += nbytes
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            broken = True
            self._kept_alive = False
        if self._stage != _DONE:
            self._continue(nbytes, broken)
            return
        kept_alive = self._kept_alive
        response = self._finish()
        if whole and kept_alive:  # so exactly this answer came, and the parser is ready for the next
            self._pool.last_answer = bytes(data), response

    def eof_received(self) -> bool:
        """Let the loop close the connection."""
        self.closed = True  # before the loop reports the loss, so that no request gets this connection in between
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End a running request with the part of its answer that has arrived."""
        self.closed = True
        if self._stage != _IDLE:
            if self._answered():
                self._finish()
            else:
                self.fail("closed_early" if exc is None else "reset")
        self._parser = None  # it refers back to this object
        self._pool.lost(self)

    # -- the parser's side -------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Detect a second answer to one request."""
        if self._stage == _DONE:
            self._kept_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header, but no trailer."""
        if self._stage == _HEAD:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Distinguish an interim answer from the final one."""
        if self._stage != _HEAD or self._parser is None:
            return
        if len(self._headers) > MAX_HEAD_LINES or (
            self._received > MAX_HEAD_BYTES and sum(len(n) + len(v) for n, v in self._headers) > MAX_HEAD_BYTES
        ):
            self._stage = _OVERSIZED
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self._interim += 1
            self._headers.clear()
        else:
            self._status = status
            self._stage = _BODY

    def on_body(self, data: bytes) -> None:
        """Keep the body up to the cap; beyond it the answer is taken for complete."""
        if self._stage != _BODY:
            return
        room = self._pool.body_cap - self._size
        self._size += len(data)
        if self._size > self._pool.body_cap:
            self._stage = _DONE
        if room > 0:
            self._body.append(data[:room])

    def on_message_complete(self) -> None:
        """Note whether the receiver keeps the connection."""
        if self._stage == _BODY and self._parser is not None:
            self._stage = _DONE
            self._kept_alive = self._parser.should_keep_alive()

    # -- endings -----------------------------------------------------------------------------

    def _continue(self, nbytes: int, broken: bool) -> None:
        """Decide what an unfinished answer means so far."""
        if self._stage == _BODY:
            if broken or self._received > MAX_HEAD_BYTES + 2 * self._pool.body_cap:
                self._finish()
            elif not self._in_grace:
                self._in_grace = True
                self.deadline = min(self.deadline, self._pool.loop.time() + BODY_GRACE)
                self._pool.watch(self.deadline)
        elif self._stage == _OVERSIZED or self._received > MAX_HEAD_BYTES or len(self._headers) > MAX_HEAD_LINES:
            self.fail("bad_response" if self._interim else "response_too_large")
        elif broken or self._interim > MAX_INTERIM:
            self.fail("bad_response")
        elif len(self._start) < _START_LINE_BYTES:
            self._start += bytes(self._buffer[: min(nbytes, _START_LINE_BYTES)])

    def _answered(self) -> bool:
        """Return whether a whole status line has come; the status counts even if the rest is lost."""
        if self._status:
            return True
        line_seen = self._headers or (b"\n" in self._start and not self._interim)
        if self._stage == _HEAD and line_seen and self._parser is not None:
            status = self._parser.get_status_code()
            self._status = status if status >= 200 else 0
        return self._status > 0

    def _forget(self) -> None:
        """Reset the state for the next answer."""
        self._headers, self._body = [], []
        self._status = self._size = self._received = self._interim = 0
        self._kept_alive = self._in_grace = False
        self._start = b""

    def _finish(self) -> Response:
        response = Response(self._status, self._headers, b"".join(self._body) if self._body else b"")
        kept_alive = self._kept_alive
        self._forget()
        self._end(response, kept_alive=kept_alive)
        return response

    def _end(self, response: Response, *, kept_alive: bool) -> None:
        waiter = self._waiter
        self._waiter = None
        self._stage = _IDLE
        if kept_alive and not self.closed and not self._transport.get_write_buffer_size():
            self._reused = True
            self._pool.release(self)
        else:
            self._pool.discard(self)
        if waiter is not None and not waiter.done():
            waiter.set_result(response)

    def fail(self, reason: str) -> None:
        """End the request without an answer."""
        waiter = self._waiter
        sent = not self._transport.get_write_buffer_size()
        self._waiter = None
        self._stage = _IDLE
        self._pool.discard(self)
        if waiter is None or waiter.done():
            return
        if self._reused and not self._received and reason in ("closed_early", "reset"):
            waiter.set_exception(StaleConnectionError())
        else:
            waiter.set_exception(WireError(reason, uncertain=sent and reason in _ANSWER_LOST))
