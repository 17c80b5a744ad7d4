"""Tells operators which workers are alive: each writes so into a record of its own, and removes it when it ends."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Sequence

import attrs

from ...errors import StaleWriteError, StoreError
from ...models.access import OPERATORS
from ...models.worker import FORGOTTEN_AFTER, WorkerRecord
from ..context import Context

_PAGE = 500


@attrs.define
class Presence:
    """The record of this worker, and those of workers that are gone.

    Attributes:
        channels: What it sends over.
        in_flight: Returns how many attempts are in progress.
    """

    context: Context
    channels: Sequence[str]
    in_flight: Callable[[], int]

    _record: WorkerRecord | None = attrs.field(init=False, default=None)

    async def report(self) -> None:
        """Write that this worker is alive."""
        now = self.context.clock.now()
        record = self._record or WorkerRecord(
            id=self.context.worker,
            host=socket.gethostname(),
            process=os.getpid(),
            roles=tuple(sorted(self.context.settings.roles)),
            channels=tuple(sorted(self.channels)),
            started_at=now,
            seen_at=now,
        )
        record = attrs.evolve(record, seen_at=now, in_flight=self.in_flight())
        try:
            self._record = await self.context.store.save(record)
        except StaleWriteError:  # it was forgotten while the store was away, or a write whose answer was lost was made
            found = await self.context.store.get(WorkerRecord, OPERATORS, [record.id])
            version = found[0].version if found else 0
            self._record = await self.context.store.save(attrs.evolve(record, version=version))

    async def forget(self) -> int:
        """Remove workers that have said nothing for a day; return how many."""
        store, now = self.context.store, self.context.clock.now()
        after, gone = None, 0
        while page := await store.page(WorkerRecord, OPERATORS, limit=_PAGE, after=after):
            for worker in page:
                if now - worker.seen_at > FORGOTTEN_AFTER:
                    gone += await store.remove(WorkerRecord, OPERATORS, worker.id, now=now)
            after = page[-1].id
        return gone

    async def leave(self) -> None:
        """Remove the record of this worker, which ends; if that fails it is forgotten after a day."""
        self._record = None
        with contextlib.suppress(StoreError):
            now = self.context.clock.now()
            await self.context.store.remove(WorkerRecord, OPERATORS, self.context.worker, now=now)
