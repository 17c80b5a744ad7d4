"""Follows what happens to the deliveries of tenants: one look a second at each tenant with an open stream."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from ...codec import dumps, unstructure
from ...errors import StoreUnavailableError

if TYPE_CHECKING:
    from ...admin.changes import Changes
    from ...kit import Notifykit

#: Seconds between two looks.
EVERY = 1.0
#: Messages that are kept for clients that come back, or are slow.
KEPT = 1_000
#: Looks between two resets, while there are more deliveries than a look reads.
_RESETS = 10
#: Looks without a reader after which a tenant is not followed any more: about two minutes to come back.
_PATIENCE = 120
#: The id of an entry: the place of a log, and a number in it.
ENTRY_ID = re.compile(r"[0-9a-f]{12}-[0-9]{1,18}")


class Entry(NamedTuple):
    """Something that has happened, or that a client must read the list anew."""

    event: str
    id: str
    data: bytes


class ActivityWatch:
    """The tenants that are followed in this process."""

    def __init__(self, kit: Notifykit) -> None:
        self._kit = kit
        self._logs: dict[str, _Log] = {}

    async def next(self, tenant: str, last: str | None) -> Entry:
        """Return the entry after the one with the id ``last``, as soon as there is one.

        A client that begins, or whose ``last`` is not known here any more, gets ``reset``.

        Raises:
            StoreError: The store cannot be read, or was closed.
        """
        log = self._logs.get(tenant)
        if log is None or log.reading.done():
            log = self._logs[tenant] = _Log(self._kit, tenant)
            log.reading.add_done_callback(lambda _, ended=log: self._forget(tenant, ended))  # type: ignore[misc]
        return await log.after(last)

    def _forget(self, tenant: str, log: _Log) -> None:
        if self._logs.get(tenant) is log:
            del self._logs[tenant]
        if not log.reading.cancelled():
            log.reading.exception()  # is raised to the readers, of whom there may be none


class _Log:
    """What has lately happened to the deliveries of a tenant."""

    def __init__(self, kit: Notifykit, tenant: str) -> None:
        self._kit = kit
        self._tenant = tenant
        #: Tells ids of this log from those of other processes, and of earlier ones.
        self._place = secrets.token_hex(6)
        self._entries: deque[Entry] = deque(maxlen=KEPT)
        self._count = 0
        self._valid_from = 0
        self._changed = asyncio.Event()
        self._readers = 0
        self._idle = 0
        self._looks_until_reset = 0
        self.reading = asyncio.create_task(self._read(), name="notifykit-activity")

    async def after(self, last: str | None) -> Entry:
        self._readers += 1
        self._idle = 0
        try:
            while True:
                changed = self._changed
                if self._count and (entry := self._entry_after(last)) is not None:
                    return entry
                if self.reading.done():
                    raise self._error()
                await changed.wait()
        finally:
            self._readers -= 1

    def _entry_after(self, last: str | None) -> Entry | None:
        place, _, number = (last or "").partition("-")
        seen = int(number) if place == self._place and number else 0
        oldest = self._count - len(self._entries)
        if seen < max(oldest, self._valid_from, 1):
            return self._reset(self._count)
        return None if seen >= self._count else self._entries[seen - oldest]

    def _reset(self, number: int) -> Entry:
        return Entry("reset", f"{self._place}-{number}", b"{}")

    def _error(self) -> Exception:
        error = None if self.reading.cancelled() else self.reading.exception()
        return error if isinstance(error, Exception) else StoreUnavailableError("deliveries are not followed any more")

    async def _read(self) -> None:
        try:
            found = await self._kit.deliveries.changes(tenant=self._tenant)
            self._add(self._reset(1))
            while self._idle < _PATIENCE and self._kit.is_open:
                await asyncio.sleep(EVERY)
                self._idle = 0 if self._readers else self._idle + 1
                found = await self._kit.deliveries.changes(found.cursor, tenant=self._tenant)
                self._take(found)
        finally:
            self._wake()

    def _take(self, found: Changes) -> None:
        from ..routes.deliveries import AttemptView, DeliveryView

        for delivery, attempt in found.changes:
            shown = {
                "delivery": unstructure(DeliveryView.of(delivery)),
                "attempt": None if attempt is None else unstructure(AttemptView.of(attempt)),
            }
            self._add(Entry("activity", f"{self._place}-{self._count + 1}", dumps(shown)))
        self._looks_until_reset -= 1
        if not found.complete and self._looks_until_reset <= 0:  # something may be missing here
            self._looks_until_reset = _RESETS
            self._valid_from = self._count + 1
            self._add(self._reset(self._count + 1))
        self._wake()

    def _add(self, entry: Entry) -> None:
        self._entries.append(entry)
        self._count += 1
        if self._count == 1:
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
