"""Writes results in batches: whatever has come together while the last batch was written.

A result is kept until the store has taken it; telemetry follows the write, so it
never reports what did not happen.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

from ..errors import StoreUnavailableError
from ..failpoints import failpoint
from ..ports import Clock, Record, Store
from ..telemetry import ClaimLost, LoopFailed, TelemetryEvent, why
from .flights import Flights, Result, Written
from .leases import Leases
from .rounds import Pace
from .settings import DispatchSettings

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
#: How many seconds a write may take while somebody waits for it, and how much is written even then.
_MOMENT, _LEAST = 0.0015, 10
#: How much the last write counts for what is expected of the next.
_WEIGHT = 0.3


class Recorder:
    """Collects records and writes them.

    Args:
        emit: Gets telemetry.
        worker: Who this process is.
        hurried: Tells whether somebody would wait for a long write at this moment.

    Attributes:
        flights: Those whose records are written together with the plan.
    """

    def __init__(
        self,
        store: Store,
        leases: Leases,
        settings: DispatchSettings,
        clock: Clock,
        emit: Callable[[TelemetryEvent], None],
        worker: str,
        hurried: Callable[[], bool],
    ) -> None:
        self._store = store
        self._emit = emit
        self._batch = settings.batch
        self._hurried = hurried
        self._pace = Pace()
        self._open: list[Result] = []
        self._some = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self.flights = Flights(store, leases, clock, settings.lease, worker, emit, self._note_some)

    def add(self, record: Record, written: Written | None = None) -> None:
        """Write ``record`` soon; then call ``written``, but only if the fence let it through."""
        if not self.flights.take(record, written):
            self._open.append((record, written))
            self._note_some()

    async def run(self) -> None:
        """Write until cancelled."""
        pause = _FIRST_PAUSE
        while True:
            await self._some.wait()
            try:
                started = time.monotonic()
                count = await self.write(self._portion())
                self._pace.note(time.monotonic() - started, count, _WEIGHT)
            except StoreUnavailableError as error:
                self._emit(LoopFailed(loop="record", error=why(error), pause=timedelta(seconds=pause)))
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            except Exception:  # something in the batch cannot be written, and must not hold up the rest
                await self._sift()
            pause = _FIRST_PAUSE

    def _portion(self) -> int:
        """Return how much may be written at a time."""
        return min(self._batch, max(_LEAST, self._pace.fits(_MOMENT))) if self._hurried() else self._batch

    async def _sift(self) -> None:
        """Write a batch one by one and drop what the store refuses: its lease will run out and it is rescued."""
        flights, records = (min(self._batch, len(some)) for some in (self.flights.landing, self._open))
        try:
            for _ in range(flights):
                await self._try(self._land, lambda: self.flights.give_up().event_id)
            for _ in range(records):
                await self._try(self._write, lambda: self._open.pop(0)[0].delivery_id)
        except StoreUnavailableError:
            return

    async def _try(self, write: Callable[[int], Awaitable[int]], give_up: Callable[[], str]) -> None:
        try:
            await write(1)
        except StoreUnavailableError:
            raise
        except Exception as error:
            self._emit(LoopFailed(loop="record", error=f"{give_up()}: {why(error)}", pause=timedelta(0)))
            self._note_empty()

    async def write(self, limit: int | None = None) -> int:
        """Write one batch, and return of how many; it stays with us if the store does not take it."""
        count = await self._land(limit or self._batch) if self.flights.landing else 0
        return count + (await self._write(limit or self._batch) if self._open else 0)

    async def _land(self, limit: int) -> int:
        count = min(limit, len(self.flights.landing))
        self._open += await self.flights.land(limit)
        self._note_empty()
        return count

    async def _write(self, limit: int) -> int:
        batch = self._open[:limit]
        done = await self._store.record([record for record, _ in batch])
        failpoint("res.committed")
        del self._open[: len(batch)]
        self._note_empty()
        for record, written in batch:
            if record.delivery_id not in done:
                self._emit(ClaimLost(delivery_id=record.delivery_id, fence=record.fence))
            elif written is not None:
                written()
        return len(batch)

    def _note_some(self) -> None:
        self._some.set()
        self._empty.clear()

    def _note_empty(self) -> None:
        if not self._open and not self.flights.landing:
            self._some.clear()
            self._empty.set()

    async def flush(self) -> None:
        """Return when everything added so far has been written."""
        await self._empty.wait()
