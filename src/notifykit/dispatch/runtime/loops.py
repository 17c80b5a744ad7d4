"""The loops that look for work, and what wakes them."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta

import anyio

from ...errors import NewerSchemaError, SchemaError
from ...models.delivery import Lane
from ...ports import NextDue
from ...telemetry import LoopFailed, why
from ..context import Context
from ..round_robin import PollResult
from .schedule import Schedule

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
#: After work was found, the store is asked again this often and this many times before waiting for a notification.
_GRACE_POLL, _GRACE_POLLS = 0.005, 4
#: Seconds between two questions for what is due next, and the same after a notification.
_ASK_EVERY, _ASK_SOON = 0.5, 0.05
#: Seconds to wait for a notification while there is no work and notifications arrive.
_IDLE_WAIT = 60.0
#: What is due before the store has been asked.
_UNKNOWN = NextDue(None, {}, is_open=False)


class Loops:
    """Polls the planner and the sources of the lanes when there may be work for them.

    Args:
        context: Of the dispatcher.
        schedule: Is told whether anything goes on.
        stop: Set when the dispatcher stops.
        retire: Called when the tables have become newer than this process knows.
        lanes: Those that this process sends.
        relayed: Those whose due deliveries it hands to a broker; ``None`` without one: then the sources claim them.
    """

    def __init__(
        self,
        context: Context,
        schedule: Schedule,
        stop: asyncio.Event,
        retire: Callable[[NewerSchemaError], None],
        lanes: Iterable[Lane],
        relayed: Iterable[Lane] | None = None,
    ) -> None:
        self._store = context.store
        self._clock = context.clock
        self._emit = context.emit
        self._poll = context.settings.poll.total_seconds()
        self._schedule = schedule
        self._stop = stop
        self._retire = retire
        self._planner = asyncio.Event()
        self._bypass = asyncio.Event()
        self._sources = {lane: asyncio.Event() for lane in lanes}
        self._relays = {lane: asyncio.Event() for lane in relayed or ()}
        #: The loops that take what is due in a lane.
        self._takers = self._sources if relayed is None else self._relays

    # -- wake-ups --------------------------------------------------------------------------------

    def wake(self) -> None:
        """Wake every loop."""
        self.wake_planner()
        self.wake_sources()
        for wakeup in self._relays.values():
            wakeup.set()

    def wake_planner(self) -> None:
        """Wake the loops of the planner."""
        self._planner.set()
        self._bypass.set()

    def wake_sources(self) -> None:
        """Wake the loops of all lanes."""
        for wakeup in self._sources.values():
            wakeup.set()

    def wake_source(self, lane: Lane) -> None:
        """Wake the loop of one lane."""
        self._sources[lane].set()

    # -- loops -----------------------------------------------------------------------------------

    async def plan(self, turn: Callable[[], Awaitable[PollResult]]) -> None:
        """Poll the planner."""
        await self._turns("plan", turn, self._planner)

    async def bypass(self, turn: Callable[[], Awaitable[PollResult]]) -> None:
        """Poll for what bypasses the planner's batches."""
        await self._turns("bypass", turn, self._bypass, 0)

    async def claim(self, lane: Lane, turn: Callable[[], Awaitable[PollResult]]) -> None:
        """Poll the source of a lane."""
        await self._turns(f"claim {lane}", turn, self._sources[lane])

    async def relay(self, lane: Lane, turn: Callable[[], Awaitable[PollResult]]) -> None:
        """Poll the relay for what is due in a lane."""
        await self._turns(f"relay {lane}", turn, self._relays[lane])

    async def _turns(
        self,
        name: str,
        turn: Callable[[], Awaitable[PollResult]],
        wakeup: asyncio.Event,
        most_grace_polls: int = _GRACE_POLLS,
    ) -> None:
        """Poll while there is work; wait for a wake-up when there is none."""
        pause = _FIRST_PAUSE
        grace_polls = 0
        while not self._stop.is_set():
            wakeup.clear()
            try:
                found = await turn()
                pause = _FIRST_PAUSE
                if found:
                    self._schedule.mark_active()
            except Exception as error:  # a loop that fails is tried again, whatever the reason
                self._emit(LoopFailed(loop=name, error=why(error), pause=timedelta(seconds=pause)))
                if isinstance(error, SchemaError):
                    self._schedule.mark_active()  # whether the tables are newer is asked sooner then
                await self._sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads, hides nothing
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            grace_polls = most_grace_polls if found else grace_polls - 1
            if found is PollResult.MUCH:
                continue
            if grace_polls > 0:
                with anyio.move_on_after(_GRACE_POLL):
                    await wakeup.wait()
            else:
                await wakeup.wait()

    async def _sleep(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self._stop.wait()

    async def listen(self) -> None:
        """Wake the loops when the store notifies, and when something is due.

        Notifications mostly announce events.  They wake the planner at once; a source is woken only when a
        delivery of its lane is due, which is asked for soon after a notification and now and then without one:
        under load the loops find their work without a wake-up.
        """
        due = _UNKNOWN
        asked = -_ASK_EVERY
        soon = False
        while True:
            at = time.monotonic()
            pause = self._schedule.until_next(self._poll)
            try:
                if at - asked >= (_ASK_SOON if soon else _ASK_EVERY):
                    due, asked, soon = await self._store.next_due(), at, False
                # Decided only now: something may have come up meanwhile.
                most = math.inf if due.first is None else max((due.first - self._clock.now()).total_seconds(), 0)
                if soon:
                    most = min(most, max(asked + _ASK_SOON - at, 0))
                idle = pause if self._schedule.active.is_set() else max(pause, _IDLE_WAIT)
                wait = self._store.wait(
                    timedelta(seconds=min(pause, most)), idle_timeout=timedelta(seconds=min(idle, most))
                )
                notified = await self._schedule.idle_wait(wait)
            except NewerSchemaError as error:
                self._retire(error)
                await asyncio.sleep(pause)
                continue
            except Exception as error:  # a loop that fails is tried again, whatever the reason
                self._emit(LoopFailed(loop="wait", error=why(error), pause=timedelta(seconds=pause)))
                await asyncio.sleep(pause)
                continue
            soon = soon or notified
            if notified:
                self._schedule.mark_active()
            if self._wake_due(due, notified):
                due, soon = _UNKNOWN, True  # what is due next is not known yet

    def _wake_due(self, due: NextDue, notified: bool) -> bool:
        """Wake the loops for which something is due; return whether anything is."""
        now = self._clock.now()
        is_due = due.first is not None and due.first <= now
        if notified or is_due:
            self.wake_planner()
        for lane, at in due.lanes.items():
            if at <= now and (taker := self._takers.get(lane)) is not None:
                taker.set()
        return is_due
