"""Writes results in batches: whatever has come together while the last batch was written.

A result is kept until the store has taken it, and with it the lease of its delivery; telemetry
follows the write, so it never reports what did not happen.  While results cannot be written, or not as fast as
they come, no attempt is begun: each of them would be one more that may have to be repeated.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta

from ...errors import StoreError, ValueRefusedError
from ...failpoints import failpoint
from ...ports import Record
from ...telemetry import ClaimLost, LoopFailed, why
from ..context import Context
from ..round_robin import Pace
from .eager import EagerSends, Result, Written
from .leases import Leases

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
#: Seconds that a write may take while short transactions wait for it, and how many records it takes even then.
_LATENCY_TARGET, _LEAST = 0.0015, 10
#: Such a write takes at least one in so many of the results that wait, so that these do not become ever more.
_SHARE = 8
#: Attempts stop while more than so many batches of results wait: a result takes memory, and its delivery would be
#: sent again after a crash.
_BEHIND = 4
#: How much the last write counts for what is expected of the next.
_WEIGHT = 0.3
#: Seconds that a write may take before attempts stop until it is over.
_STALL = 1.0
#: Seconds in which a worker that has taken an event settles it.
_SETTLING = 0.5


class Recorder:
    """Collects records and writes them.

    Args:
        hurried: Tells whether short transactions of others would wait for a long write at this moment.
        on_stall: Called with ``True`` when results cannot be written, and with ``False`` when they can be again.

    Attributes:
        hurried: See above.
        eager_sends: Events whose records are written together with the plan.
    """

    def __init__(
        self,
        context: Context,
        leases: Leases,
        hurried: Callable[[], bool],
        on_stall: Callable[[bool], None],
    ) -> None:
        self._store = context.store
        self._leases = leases
        self._emit = context.emit
        self._batch = context.settings.batch
        self._most = self._batch
        self.hurried = hurried
        self._on_stall = on_stall
        self._stalled = False
        self._pace = Pace()
        self._open: list[Result] = []
        self._some = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._later = 0
        self.eager_sends = EagerSends(context, leases, self._note_some, self._add_later)
        #: Drops the first of what is being written, if it is refused even by itself.
        self._give_up: Callable[[], str | None] = self._give_up_record

    def add(self, record: Record, written: Written | None = None) -> None:
        """Write ``record`` soon; then call ``written``, but only if the fence let it through."""
        if not self.eager_sends.take(record, written):
            self._open.append((record, written))
            self._note_some()

    def _add_later(self, results: list[Result]) -> None:
        """Write the results for an event that another worker has taken, once that one has settled it.

        It takes them for abandoned, so that they count until their deliveries are sent again.
        """
        self._later += len(results)
        asyncio.get_running_loop().call_later(_SETTLING, self._add_now, results)

    def _add_now(self, results: list[Result]) -> None:
        self._later -= len(results)
        self._open += results
        self._note_some()

    async def run(self) -> None:
        """Write until cancelled."""
        pause = _FIRST_PAUSE
        while True:
            await self._some.wait()
            error = await self._try()
            if error is None:
                pause = _FIRST_PAUSE
                self._most = min(self._most * 2, self._batch)
            elif _may_pass(error):
                self._emit(LoopFailed(loop="record", error=why(error), pause=timedelta(seconds=pause)))
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _try(self) -> Exception | None:
        """Write a batch; return what went wrong, after which the next batch is half as large.

        So what the store refuses is found by bisection, and what was too much for a timeout is not tried again as
        it was.  A write that takes long, and one that fails because of the store, stall the process.
        """
        timer = asyncio.get_running_loop().call_later(_STALL, self._stall, True)
        started = time.monotonic()
        batch_size = self._batch_size()
        try:
            count = await self.write(batch_size)
        except Exception as error:
            if _may_pass(error):
                self._stall(True)
            elif batch_size == 1 and (what := self._give_up()) is not None:
                self._emit(LoopFailed(loop="record", error=f"{what}: {why(error)}", pause=timedelta(0)))
                self._note_empty()
            self._most = max(batch_size // 2, 1)
            return error
        finally:
            timer.cancel()
        self._pace.note(time.monotonic() - started, count, _WEIGHT)
        self._stall(self._waiting > _BEHIND * self._batch)
        return None

    def _stall(self, stalled: bool) -> None:
        if stalled is not self._stalled:
            self._stalled = stalled
            self._on_stall(stalled)

    @property
    def _waiting(self) -> int:
        return len(self._open) + len(self.eager_sends.flushing)

    def _batch_size(self) -> int:
        """Return how much may be written at a time."""
        if not self.hurried():
            return self._most
        return min(self._most, max(_LEAST, self._pace.fits(_LATENCY_TARGET), self._waiting // _SHARE))

    def _give_up_record(self) -> str:
        """Drop the first record, which the store refuses, and return whose it is; its lease will run out."""
        record, _ = self._open.pop(0)
        self._leases.drop(record.delivery_id, record.fence)
        return record.delivery_id

    async def write(self, limit: int | None = None) -> int:
        """Write one batch, and return of how many; it stays with us if the store does not take it."""
        count = await self._flush_eager(limit or self._batch) if self.eager_sends.flushing else 0
        count += await self._write(limit or self._batch) if self._open else 0
        if not count:
            self._note_empty()
        return count

    async def _flush_eager(self, limit: int) -> int:
        self._give_up = self.eager_sends.give_up
        count = min(limit, len(self.eager_sends.flushing))
        self._open += await self.eager_sends.flush_eager(limit)
        self._note_empty()
        return count

    async def _write(self, limit: int) -> int:
        self._give_up = self._give_up_record
        batch = self._open[:limit]
        done = await self._store.record([record for record, _ in batch])
        failpoint("res.committed")
        del self._open[: len(batch)]
        self._note_empty()
        for record, written in batch:
            self._leases.drop(record.delivery_id, record.fence)
            if record.delivery_id not in done:
                self._emit(ClaimLost(delivery_id=record.delivery_id, fence=record.fence))
            elif written is not None:
                written()
        return len(batch)

    def _note_some(self) -> None:
        self._some.set()
        self._empty.clear()

    def _note_empty(self) -> None:
        if not self._open and not self.eager_sends.flushing:
            self._some.clear()
            if not self._later:
                self._empty.set()

    async def flush(self) -> None:
        """Return when everything added so far has been written."""
        await self._empty.wait()


def _may_pass(error: Exception) -> bool:
    """Tell whether a write fails because of the store, and not because of what is to be written."""
    return isinstance(error, (StoreError, OSError)) and not isinstance(error, ValueRefusedError)
