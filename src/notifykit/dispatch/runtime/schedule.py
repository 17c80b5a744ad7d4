"""When a process does what it does every so often, and whether anything goes on at all (see ADR 0019)."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta

import anyio

from ...telemetry import LoopFailed, TelemetryEvent, why

#: The longest period that a process's own instant is chosen from, in seconds.
_LONGEST = 60.0
#: Seconds after which a task that has failed is tried again; doubled each time, as far as its period.
_SOON = 0.5


class Schedule:
    """Makes a process wake up once for all that is due, and seldom while nothing goes on.

    Args:
        emit: Gets telemetry.

    Attributes:
        astir: Set unless nothing goes on.
    """

    def __init__(self, emit: Callable[[TelemetryEvent], None]) -> None:
        self._emit = emit
        self.active = asyncio.Event()
        self.active.set()
        self._was_idle = False
        self._idle_wait: anyio.CancelScope | None = None
        self._phase = random.uniform(0, _LONGEST)  # noqa: S311 - spreads, hides nothing

    def mark_active(self) -> None:
        """Note that something goes on."""
        self._was_idle = False
        if not self.active.is_set():
            self.active.set()
            if self._idle_wait is not None:
                self._idle_wait.cancel()

    def note_idle(self) -> None:
        """Note that there is nothing to do; the second time in a row, nothing goes on any more."""
        if self._was_idle:
            self.active.clear()
        self._was_idle = True

    async def idle_wait(self, hint: Awaitable[bool]) -> bool:
        """Return what a wait returns, or ``False`` once something goes on again."""
        with anyio.CancelScope() as self._idle_wait:
            return await hint
        return False

    def until_next(self, seconds: float) -> float:
        """Return how long to wait for what is done every so many seconds.

        Each process counts from an instant of its own, so that processes do not march in step.
        """
        left = seconds - (asyncio.get_running_loop().time() + self._phase) % seconds
        return left if left > seconds / 4 else left + seconds

    async def every(
        self,
        name: str,
        seconds: float,
        role: Callable[[], Awaitable[object]],
        when_idle: float | None = None,
        retry: float = math.inf,
    ) -> None:
        """Do a task at once and then every so often, perhaps less often or not at all while nothing goes on.

        One that fails is tried again sooner, after ``retry`` seconds at the latest.
        """
        soon = _SOON
        while True:
            try:
                await role()
                soon = _SOON
            except Exception as error:  # a task that fails is tried again, whatever the reason
                pause = min(soon, seconds, retry)
                self._emit(LoopFailed(loop=name, error=why(error), pause=timedelta(seconds=pause)))
                await asyncio.sleep(pause)
                soon *= 2
                continue
            if when_idle is None or self.active.is_set():
                await asyncio.sleep(self.until_next(seconds))
            elif when_idle < math.inf:
                await asyncio.sleep(self.until_next(when_idle))
            else:
                await self.active.wait()
