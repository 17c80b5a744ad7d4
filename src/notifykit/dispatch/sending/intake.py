"""Tickets that this process has received from a broker and not claimed yet, of all of its lanes.

A ticket is acknowledged once its delivery was claimed, or turned out not to be due.  Those of subscribers that this
process may hold no more claims of are parked: for them there will be room soon, and the broker would only hand
the ticket out again.  One that is parked for as long as its hold lasts is dropped, since the relay hands it over again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import NamedTuple

import anyio

from ...models.delivery import Lane, Priority
from ...ports import Broker, Received
from ...telemetry import LoopFailed, why
from ..context import Context
from .backlog import Backlog

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
#: How long to wait for tickets, and the same while some lanes have no room: nothing ends that wait when they have.
_WAIT, _SHORT_WAIT = timedelta(seconds=5), timedelta(seconds=0.05)
#: Seconds after which it is asked again whether any lane has room, if nothing has told.
_LOOK_AGAIN = 0.25
#: Seconds that a stop may take to give tickets back.
_GIVE_BACK = 2.0


class Waiting(NamedTuple):
    """A ticket that waits to be claimed; ``until`` is when its hold has run out, in the event loop's time."""

    received: Received
    until: float


class _Lane:
    """The tickets of one lane."""

    __slots__ = ("backlog", "batch", "new", "parked", "prefetch")

    def __init__(self, backlog: Backlog, batch: int, prefetch: int) -> None:
        self.backlog = backlog
        self.batch = batch
        self.prefetch = prefetch
        self.new: deque[Waiting] = deque()
        self.parked: deque[Waiting] = deque()

    @property
    def wanted(self) -> int:
        """How many more tickets there is a use for."""
        return min(self.batch, self.backlog.room()) if len(self.new) < self.batch else 0


class Intake:
    """Receives tickets while there is room for claims.

    Args:
        context: Of the dispatcher.
        broker: Hands out the tickets.
        backlogs: Of the lanes of this process.
        wake: Called when a lane has tickets.
    """

    def __init__(
        self,
        context: Context,
        broker: Broker,
        backlogs: Mapping[tuple[str, Priority], Backlog],
        wake: Callable[[Lane], None],
    ) -> None:
        settings = context.settings
        self._broker = broker
        self._emit = context.emit
        self._wake = wake
        self._hold = settings.hold.total_seconds()
        self._lanes = {
            (lane := Lane(*key)): _Lane(backlog, settings.batch, settings.lane(lane).prefetch)
            for key, backlog in backlogs.items()
        }
        self._room = asyncio.Event()
        self._done: list[Received] = []
        self._some_done = asyncio.Event()

    # -- receiving -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Receive until cancelled, and for ever again when the broker was away."""
        pause = _FIRST_PAUSE
        while True:
            self._room.clear()
            wanted = self._wanted()
            if not wanted:
                with anyio.move_on_after(_LOOK_AGAIN):
                    await self._room.wait()
                continue
            try:
                await self.receive(wanted, _WAIT if len(wanted) == len(self._lanes) else _SHORT_WAIT)
                pause = _FIRST_PAUSE
            except Exception as error:  # a broker that fails is asked again, whatever the reason
                self._emit(LoopFailed(loop="receive", error=why(error), pause=timedelta(seconds=pause)))
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _wanted(self) -> dict[Lane, int]:
        return {lane: wanted for lane, its in self._lanes.items() if (wanted := its.wanted) > 0}

    async def receive(self, wanted: Mapping[Lane, int] | None = None, wait: timedelta = timedelta(0)) -> int:
        """Receive once; return how many tickets there were."""
        wanted = self._wanted() if wanted is None else wanted
        if not wanted:
            return 0
        received = await self._broker.receive(wanted, wait=wait)
        until = asyncio.get_running_loop().time() + self._hold
        lanes = {one.ticket.lane for one in received}
        for one in received:
            self._lanes[one.ticket.lane].new.append(Waiting(one, until))
        for lane in lanes:
            self._wake(lane)
        return len(received)

    # -- claiming --------------------------------------------------------------------------------

    def take(self, lane: Lane, limit: int, fits: Callable[[Received], bool]) -> list[Waiting]:
        """Take out up to ``limit`` tickets that fit; park the others that were looked at."""
        its = self._lanes[lane]
        now = asyncio.get_running_loop().time()
        taken: list[Waiting] = []
        parked: deque[Waiting] = deque()
        for waiting in (its.parked, its.new):
            while waiting and len(taken) < limit:
                one = waiting.popleft()
                if one.until <= now:
                    self.done([one])
                elif fits(one.received):
                    taken.append(one)
                else:
                    parked.append(one)
        its.parked.extendleft(reversed(parked))
        while len(its.parked) > its.prefetch:
            self.done([its.parked.popleft()])
        self._room.set()
        return taken

    def put_back(self, lane: Lane, taken: Iterable[Waiting]) -> None:
        """Keep tickets whose deliveries could not be claimed now."""
        self._lanes[lane].new.extendleft(reversed([*taken]))

    def look(self) -> None:
        """Look whether there is room in a lane that had none."""
        self._room.set()

    # -- acknowledging ---------------------------------------------------------------------------

    def done(self, taken: Iterable[Waiting]) -> None:
        """Acknowledge tickets soon: their deliveries were claimed, or were not due."""
        self._done += [one.received for one in taken]
        self._some_done.set()

    async def acknowledge(self) -> None:
        """Acknowledge what is done with, until cancelled."""
        while True:
            await self._some_done.wait()
            await self.flush()

    async def flush(self) -> None:
        """Acknowledge what is done with.

        What cannot be acknowledged comes again, and then finds nothing due.
        """
        done, self._done = self._done, []
        self._some_done.clear()
        if not done:
            return
        try:
            await self._broker.ack(done)
        except Exception as error:
            self._emit(LoopFailed(loop="acknowledge", error=why(error), pause=timedelta(0)))

    # -- life ------------------------------------------------------------------------------------

    async def give_back(self) -> None:
        """Hand tickets that were not claimed to other processes."""
        left = [one.received for its in self._lanes.values() for one in (*its.parked, *its.new)]
        for its in self._lanes.values():
            its.parked.clear()
            its.new.clear()
        try:
            with anyio.move_on_after(_GIVE_BACK):
                if left:
                    await self._broker.put([one.ticket for one in left])
                    self._done += left
                await self.flush()
        except Exception as error:  # their holds run out
            self._emit(LoopFailed(loop="give tickets back", error=why(error), pause=timedelta(0)))
