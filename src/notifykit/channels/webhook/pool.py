"""The connections of a wire: which one a request gets, when a new one is dialled, when one is too old.

Deadlines are not timed one by one: a single timer fires when the earliest of
them may have passed and sweeps all requests and idle connections.
"""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
from collections import OrderedDict, deque
from itertools import islice

from ...failpoints import failpoint
from .connection import Connection
from .guard import Guard
from .limits import Limits
from .protocol import WireProtocol
from .shortage import CONNECTION_LIMIT, NO_FILES, shortage
from .transport import Response, WireError
from .url import Target

#: How coarse a deadline is.
TICK = 0.05
_READ_BUFFER = 64 * 1024
#: How many addresses of a name are tried within one attempt.
_MAX_DIALLED = 4


def client_context() -> ssl.SSLContext:
    """Return the TLS settings for deliveries; making them takes some 20 ms, so share the result."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


class Pool:
    """The open connections of one event loop, last in, first out per tenant and origin.

    Attributes:
        last_answer: The bytes of the last answer that came in one piece, and what they mean: many receivers
            give the same one most of the time, and to compare costs less than to parse.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        guard: Guard,
        *,
        body_cap: int,
        tls: ssl.SSLContext | None,
        limits: Limits,
    ) -> None:
        self.loop = loop
        self.body_cap = body_cap
        self.last_answer: tuple[bytes, Response] | None = None
        self._guard = guard
        self._tls = tls
        self._limits = limits
        self._buffer = memoryview(bytearray(_READ_BUFFER))
        self._open: set[Connection] = set()
        self._busy: set[Connection] = set()
        self._idle: dict[str, list[Connection]] = {}
        self._by_age: OrderedDict[Connection, None] = OrderedDict()  # the idle ones, longest idle first
        self._idle_tls = 0
        self._dialling = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._sweep_at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def take(self, key: str, now: float) -> Connection | None:
        """Return the idle connection with this ``pool_key`` that was used last and has been silent since."""
        idle = self._idle.get(key)
        while idle:
            connection = idle.pop()
            self._note_used(connection)
            if not connection.closed and now < connection.stale_at and not connection.has_unread():
                return connection
            connection.abort()
        return None

    def start(self, connection: Connection, data: bytes, deadline: float) -> asyncio.Future[Response]:
        """Send ``data`` and watch the deadline."""
        self._busy.add(connection)
        if deadline < self._sweep_at:
            self.watch(deadline)
        return connection.request(data, deadline)

    def release(self, connection: Connection) -> None:
        """Take back a connection whose request has ended well."""
        self._busy.discard(connection)
        idle = self._idle.get(connection.key)
        if idle is None:
            idle = self._idle[connection.key] = []
        limits = self._limits
        if (
            self._waiting
            or len(self._by_age) >= limits.idle
            or len(idle) >= limits.idle_per_origin
            or (connection.is_tls and self._idle_tls >= limits.idle_tls)
        ):
            # The newest is closed, not the oldest: with more origins than room, evicting the oldest would hit exactly
            # the connections that a round through all endpoints needs next.
            connection.abort()
            return
        connection.stale_at = min(self.loop.time() + limits.idle_for, connection.retire_at)
        self._by_age[connection] = None
        self._idle_tls += connection.is_tls
        idle.append(connection)

    def discard(self, connection: Connection) -> None:
        """Close a connection that must not be used again."""
        self._busy.discard(connection)
        connection.abort()

    def lost(self, connection: Connection) -> None:
        """Drop a connection that is closed."""
        self._busy.discard(connection)
        self._open.discard(connection)
        self._forget_idle(connection)
        self._wake()

    def close(self) -> None:
        """Close every connection; running requests end as ``reset``."""
        for connection in list(self._busy):
            connection.fail("reset")
        for connection in self._open:
            connection.abort()
        if self._timer is not None:
            self._timer.cancel()

    def _forget_idle(self, connection: Connection) -> None:
        idle = self._idle.get(connection.key)
        if idle is None:
            return
        if connection in self._by_age:
            idle.remove(connection)
            self._note_used(connection)
        if not idle:
            del self._idle[connection.key]

    def _note_used(self, connection: Connection) -> None:
        del self._by_age[connection]
        self._idle_tls -= connection.is_tls

    # -- dialling ----------------------------------------------------------------------------

    async def dial(self, target: Target, deadline: float) -> Connection:
        """Open a connection to an address that the guard has vetted for this very call."""
        now = self.loop.time()
        # waiting for room takes at most half of the time, the rest is the receiver's
        latest = now + (deadline - now) / 2
        lacking = CONNECTION_LIMIT
        while True:
            try:
                async with asyncio.timeout_at(latest):
                    if lacking != CONNECTION_LIMIT:
                        await self._wait_for_a_loss()
                    while len(self._open) + self._dialling >= self._limits.connections:
                        await self._wait_for_a_loss()
            except TimeoutError as error:
                raise WireError(lacking, own=True) from error
            try:
                return await self._dial(target, deadline)
            except WireError as error:
                if error.reason == NO_FILES and (self._open or self._dialling):
                    lacking = NO_FILES  # our connections hold files: treat their present number as the limit
                    continue
                if error.own:
                    self._wake()  # wake another waiting attempt, which would otherwise wait for no event
                raise

    async def _dial(self, target: Target, deadline: float) -> Connection:
        self._dialling += 1
        try:
            async with asyncio.timeout_at(deadline):
                patience = (deadline - self.loop.time()) / 2  # the name and its receiver have the other half
                vetted = await self._guard.vet(target.host, target.port, patience=patience)
                connection = await self._connect_any(target, vetted, deadline)
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, WireError) and error.own:
                self._dialling -= 1  # nothing was opened
            else:  # the loop closes the socket of a handshake that failed in one of its next iterations
                self.loop.call_later(TICK, self._end_dial)
            if isinstance(error, TimeoutError):
                raise WireError("timeout") from error
            raise
        self._dialling -= 1
        return connection

    def _end_dial(self) -> None:
        self._dialling -= 1
        self._wake()

    async def _wait_for_a_loss(self) -> None:
        """Return when a connection is really closed: an idle one, if there is any."""
        if self._by_age:
            oldest = next(iter(self._by_age))
            self._forget_idle(oldest)
            oldest.abort()  # counts until the loop has closed it
        room = self.loop.create_future()
        self._waiting.append(room)
        try:
            await room
        except BaseException:
            if room in self._waiting:
                self._waiting.remove(room)
            else:
                self._wake()  # the room was assigned to this attempt already: pass it to the next
            raise

    def _wake(self) -> None:
        while self._waiting:
            room = self._waiting.popleft()
            if not room.done():
                room.set_result(None)
                return

    async def _connect_any(self, target: Target, vetted: tuple[str, ...], deadline: float) -> Connection:
        """Try the addresses in order, each with half of the time that is left and the last with all of it."""
        lacking: str | None = None
        *first, last = vetted[:_MAX_DIALLED]
        for address in first:
            now = self.loop.time()
            try:
                async with asyncio.timeout_at(now + (deadline - now) / 2):
                    return await self._connect(target, address)
            except OSError as error:  # includes TimeoutError and SSLError
                lacking = lacking or shortage(error, address, target.port)
        try:
            return await self._connect(target, last)
        except OSError as error:
            lacking = lacking or shortage(error, last, target.port)
            if lacking is not None:
                raise WireError(lacking, own=True) from error
            # A receiver that hangs up did so during the handshake: one that does not listen refuses.
            tls = isinstance(error, (ssl.SSLError, ConnectionResetError, ConnectionAbortedError))
            raise WireError("tls_failed" if tls and target.scheme == "https" else "connect_failed") from error

    async def _connect(self, target: Target, address: str) -> Connection:
        connection = Connection(self, target.pool_key, self._buffer)
        await self.loop.create_connection(
            lambda: WireProtocol(connection),
            address,
            target.port,
            ssl=self._context() if target.scheme == "https" else None,
            server_hostname=target.host if target.scheme == "https" else None,
        )
        failpoint("att.connected")
        if connection.closed:
            raise ConnectionResetError("closed at once")
        connection.retire_at = self.loop.time() + self._limits.max_age
        self._open.add(connection)
        return connection

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            socket.socket().close()  # raises if no file can be opened: settings made then would trust no certificate
            self._tls = client_context()
        return self._tls

    # -- sweeping ----------------------------------------------------------------------------

    def watch(self, deadline: float) -> None:
        """Sweep at ``deadline``, or a tick from now if that is later, unless a sweep comes earlier."""
        at = max(deadline, self.loop.time() + TICK)
        if at < self._sweep_at:
            if self._timer is not None:
                self._timer.cancel()
            self._sweep_at = at
            self._timer = self.loop.call_at(at, self._sweep)

    def _sweep(self) -> None:
        """Expire the requests and the idle connections whose time has come."""
        now = self.loop.time()
        self._sweep_at = math.inf
        self._timer = None
        for connection in [c for c in self._busy if c.deadline <= now]:
            connection.expire()
        # They are in the order in which they go stale, except those that reach their maximum age: these are closed
        # after those before them, or when they are taken.
        while self._by_age and (oldest := next(iter(self._by_age))).stale_at <= now:
            self._forget_idle(oldest)
            oldest.abort()
        upcoming = [c.deadline for c in self._busy]
        upcoming += [c.stale_at for c in islice(self._by_age, 1)]
        if upcoming:
            self.watch(min(upcoming))
