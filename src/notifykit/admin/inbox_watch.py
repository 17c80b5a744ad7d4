"""Follows any number of inboxes for the cost of one: each look reads what is new in all of them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import timedelta

import attrs

from ..errors import StoreUnavailableError
from ..models.inbox import InboxChanges
from ..ports import Inbox

#: How often the store is asked when no notification comes.
POLL = timedelta(seconds=1)
#: Seconds between two looks: what changes meanwhile is read together.
PAUSE = 0.02
#: Items that a look returns of one inbox at the most.
_LIMIT = 200


@attrs.frozen(eq=False)
class _Reader:
    """A call that waits for changes of an inbox."""

    tenant: str
    recipient: str
    since: int
    found: asyncio.Future[InboxChanges]


class InboxWatch:
    """The followers of one process; the store is only asked while there are any."""

    def __init__(self, store: Inbox) -> None:
        self._store = store
        self._readers: set[_Reader] = set()
        self._joined = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    async def next(self, tenant: str, recipient: str, since: int) -> InboxChanges:
        """Return the changes of an inbox since a cursor, as soon as there are any.

        Raises:
            StoreError: The store cannot be read, or was closed.
        """
        reader = _Reader(tenant, recipient, since, asyncio.get_running_loop().create_future())
        self._readers.add(reader)
        self._joined.set()
        if self._looking is None:
            self._looking = asyncio.create_task(self._look(), name="notifykit-inboxes")
        try:
            return await reader.found
        finally:
            self._readers.discard(reader)

    async def aclose(self) -> None:
        """End every call that waits."""
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
            await asyncio.wait([looking])
        self._fail(StoreUnavailableError("the kit was closed while this inbox was followed"))

    async def _look(self) -> None:
        try:
            while self._readers:
                self._joined.clear()
                if not await self._serve():
                    await self._wait()
                await asyncio.sleep(PAUSE)
        except Exception as error:  # noqa: BLE001 - any error is raised to the waiting readers
            self._fail(error)
        finally:
            self._looking = None

    async def _serve(self) -> bool:
        """Give readers what is new; return whether there was anything.

        Of an inbox those are served who have read least; the others are, with the next look.
        """
        since: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for reader in self._readers:
            cursors = since[reader.tenant]
            cursors[reader.recipient] = min(reader.since, cursors.get(reader.recipient, reader.since))
        found = {
            (tenant, recipient, cursors[recipient]): changes
            for tenant, cursors in since.items()
            for recipient, changes in (await self._store.inbox_changes(tenant, cursors, limit=_LIMIT)).items()
        }
        for reader in list(self._readers):
            changes = found.get((reader.tenant, reader.recipient, reader.since))
            if changes is not None and not reader.found.done():
                self._readers.discard(reader)
                reader.found.set_result(changes)
        return bool(found)

    async def _wait(self) -> None:
        """Wait until an inbox may have changed, or until there is another reader."""
        waits = [asyncio.create_task(self._store.inbox_wait(POLL)), asyncio.create_task(self._joined.wait())]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
        finally:
            for each in waits:
                each.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def _fail(self, error: Exception) -> None:
        for reader in list(self._readers):
            if not reader.found.done():
                reader.found.set_exception(error)
