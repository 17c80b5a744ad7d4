"""A few connections to one mail server, which mails take turns with."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from ...models.outcome import Transient
from .connection import Connection, DialError

if TYPE_CHECKING:
    from .dial import Dialer

#: For how many seconds a connection may be idle; servers close theirs after some minutes.
_IDLE = 60.0
#: How long opening a connection may take.
_DIAL = 15.0
#: How long no further connection is opened after one was refused while others work.
_PAUSE = 5.0


class Pool:
    """Hands out connections, the one that was used last first; opens new ones as far as it may.

    After a failure one connection at a time is tried, so that a wrong password is not tried by all at once, and
    everything that waits fails with the first.

    Args:
        size: How many connections there are at the most.
    """

    def __init__(self, dialer: Dialer, size: int) -> None:
        self._dialer = dialer
        self._size = size
        self._idle: list[Connection] = []
        self._waiters: deque[asyncio.Future[Connection]] = deque()
        self._dials: set[asyncio.Task[None]] = set()
        self._busy = 0
        self._is_proven = False
        self._paused_until = 0.0

    @property
    def is_proven(self) -> bool:
        """Whether the last connection that was tried could be opened; what waits then lacks only a free one."""
        return self._is_proven

    async def acquire(self, *, fresh: bool = False) -> Connection:
        """Return a connection, which must be given back.

        Args:
            fresh: Not one that has been used before, because such a one has just turned out to be closed.

        Raises:
            DialError: None could be opened.
        """
        if fresh:
            self._close_idle()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable and connection.idle_since > time.monotonic() - _IDLE:
                self._busy += 1
                return connection
            connection.close()
        waiter: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        self._dial_for_waiters()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.give_back(waiter.result())  # it came in the moment of the cancellation
            else:
                with suppress(ValueError):
                    self._waiters.remove(waiter)
            raise

    def give_back(self, connection: Connection) -> None:
        """Take a connection back that a mail was sent over, or that was aborted."""
        self._busy -= 1
        if not connection.is_usable:
            connection.close()
            self._dial_for_waiters()
        elif (waiter := self._next_waiter()) is not None:
            self._busy += 1
            waiter.set_result(connection)
        else:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)

    async def aclose(self) -> None:
        """Close all connections, also those that are being opened."""
        for task in self._dials:
            task.cancel()
        await asyncio.gather(*self._dials, return_exceptions=True)
        self._close_idle()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _dial_for_waiters(self) -> None:
        """Open connections for those that wait, if there may be more."""
        most = self._size - self._busy - len(self._idle)
        if not self._is_proven:
            most = min(most, 1)
        if self._busy and time.monotonic() < self._paused_until:
            return
        while len(self._dials) < min(most, len(self._waiters)):
            task = asyncio.create_task(self._dial())
            self._dials.add(task)
            task.add_done_callback(self._dialled)

    async def _dial(self) -> None:
        try:
            connection, _ = await self._dialer.dial(_DIAL)
        except DialError as error:
            self._is_proven = False
            self._paused_until = time.monotonic() + _PAUSE
            if not self._busy:  # otherwise one of the others becomes free
                self._fail_waiters(error)
        except Exception as error:  # noqa: BLE001 - a bug: those that wait are told, or would wait in vain
            self._fail_waiters(DialError(Transient(reason="connect_failed"), f"{type(error).__name__}: {error}"))
        else:
            self._is_proven, self._paused_until = True, 0.0
            self._busy += 1
            self.give_back(connection)

    def _dialled(self, task: asyncio.Task[None]) -> None:
        self._dials.discard(task)
        if not task.cancelled():
            self._dial_for_waiters()

    def _fail_waiters(self, error: DialError) -> None:
        while (waiter := self._next_waiter()) is not None:
            waiter.set_exception(DialError(error.outcome, error.detail))

    def _next_waiter(self) -> asyncio.Future[Connection] | None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                return waiter
        return None
