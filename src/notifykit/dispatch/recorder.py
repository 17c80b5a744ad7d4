"""Writes results in batches: whatever has come together while the last batch was written.

A result is kept until the store has taken it; telemetry follows the write, so it
never reports what did not happen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

from ..errors import StoreUnavailableError
from ..failpoints import failpoint
from ..ports import Deliveries, Record
from ..telemetry import ClaimLost, LoopFailed, TelemetryEvent, why

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0

Written = Callable[[], None]


class Recorder:
    """Collects records and writes them.

    Args:
        emit: Gets telemetry.
        batch: Records per statement at the most.
        portion: Tells how many they may be at this moment, so that nobody waits long for the write under way.
    """

    def __init__(
        self,
        store: Deliveries,
        emit: Callable[[TelemetryEvent], None],
        batch: int,
        portion: Callable[[], int] | None = None,
    ) -> None:
        self._store = store
        self._emit = emit
        self._batch = batch
        self._portion = portion or (lambda: batch)
        self._open: list[tuple[Record, Written | None]] = []
        self._some = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def add(self, record: Record, written: Written | None = None) -> None:
        """Write ``record`` soon; then call ``written``, but only if the fence let it through."""
        self._open.append((record, written))
        self._some.set()
        self._empty.clear()

    async def run(self) -> None:
        """Write until cancelled."""
        pause = _FIRST_PAUSE
        while True:
            await self._some.wait()
            try:
                await self.write(self._portion())
            except StoreUnavailableError as error:
                self._emit(LoopFailed(loop="record", error=why(error), pause=timedelta(seconds=pause)))
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            except Exception:  # something in the batch cannot be written, and must not hold up the rest
                await self._sift()
            pause = _FIRST_PAUSE

    async def _sift(self) -> None:
        """Write a batch one by one and drop what the store refuses: its lease will run out and it is rescued."""
        for _ in range(min(self._batch, len(self._open))):
            try:
                await self.write(1)
            except StoreUnavailableError:
                return
            except Exception as error:
                record, _ = self._open.pop(0)
                what = f"{record.delivery_id}: {why(error)}"
                self._emit(LoopFailed(loop="record", error=what, pause=timedelta(0)))
                self._note_empty()

    async def write(self, limit: int | None = None) -> None:
        """Write one batch; it stays with us if the store does not take it."""
        batch = self._open[: limit or self._batch]
        done = await self._store.record([record for record, _ in batch])
        failpoint("res.committed")
        del self._open[: len(batch)]
        self._note_empty()
        for record, written in batch:
            if record.delivery_id not in done:
                self._emit(ClaimLost(delivery_id=record.delivery_id, fence=record.fence))
            elif written is not None:
                written()

    def _note_empty(self) -> None:
        if not self._open:
            self._some.clear()
            self._empty.set()

    async def flush(self) -> None:
        """Return when everything added so far has been written."""
        await self._empty.wait()
