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
from .settings import DispatchSettings

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
#: How many seconds a write may take while somebody waits for it, and how much is written even then.
_MOMENT, _LEAST = 0.0025, 20
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
        self._pace = 0.0
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
                started, count = time.monotonic(), self._count()
                await self.write(self._portion())
                self._note_pace(time.monotonic() - started, count - self._count())
            except StoreUnavailableError as error:
                self._emit(LoopFailed(loop="record", error=why(error), pause=timedelta(seconds=pause)))
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            except Exception:  # something in the batch cannot be written, and must not hold up the rest
                await self._sift()
            pause = _FIRST_PAUSE

    def _count(self) -> int:
        return len(self._open) + len(self.flights.landing)

    def _portion(self) -> int:
        """Return how much may be written at a time."""
        if not self._pace or not self._hurried():
            return self._batch
        return min(self._batch, max(_LEAST, int(_MOMENT / self._pace)))

    def _note_pace(self, took: float, count: int) -> None:
        if count > 0:  # more may have come than was written; then the pace is as it was
            self._pace += (took / count - self._pace) * (_WEIGHT if self._pace else 1)

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

    async def _try(self, write: Callable[[int], Awaitable[None]], give_up: Callable[[], str]) -> None:
        try:
            await write(1)
        except StoreUnavailableError:
            raise
        except Exception as error:
            self._emit(LoopFailed(loop="record", error=f"{give_up()}: {why(error)}", pause=timedelta(0)))
            self._note_empty()

    async def write(self, limit: int | None = None) -> None:
        """Write one batch; it stays with us if the store does not take it."""
        if self.flights.landing:
            await self._land(limit or self._batch)
        if self._open:
            await self._write(limit or self._batch)

    async def _land(self, limit: int) -> None:
        self._open += await self.flights.land(limit)
        self._note_empty()

    async def _write(self, limit: int) -> None:
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
