"""Follows any number of inboxes for the cost of one: each look reads what is new in all of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import timedelta

import attrs

from ..errors import StoreUnavailableError
from ..models.inbox import InboxChanges
from ..ports import Inbox

#: How often the store is asked when no notification comes.
POLL = timedelta(seconds=1)
#: After a notification there is another look so soon: a change that is made shortly after another one relies on the
#: notification of that, and may be committed after the look.
SOON = timedelta(seconds=0.1)
#: Seconds between a notification, or a look, and the next look at the least: what changes meanwhile is read together.
#: After a look that took longer the watch pauses for as long as that took, so that it uses half of the time at most.
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
        self._readers: defaultdict[tuple[str, str], set[_Reader]] = defaultdict(set)
        #: The earliest cursor of the readers of each inbox, by tenant and recipient.
        self._since: defaultdict[str, dict[str, int]] = defaultdict(dict)
        #: Readers that no look has served: only their own inboxes are read for them.
        self._new: set[_Reader] = set()
        self._joined = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    async def next(self, tenant: str, recipient: str, since: int) -> InboxChanges:
        """Return the changes of an inbox since a cursor, as soon as there are any.

        Raises:
            StoreError: The store cannot be read, or was closed.
        """
        reader = _Reader(tenant, recipient, since, asyncio.get_running_loop().create_future())
        self._readers[tenant, recipient].add(reader)
        self._since[tenant][recipient] = min(since, self._since[tenant].get(recipient, since))
        self._new.add(reader)
        self._joined.set()
        if self._looking is None:
            self._looking = asyncio.create_task(self._look(), name="notifykit-inboxes")
        try:
            return await reader.found
        finally:
            self._discard(reader)

    async def aclose(self) -> None:
        """End every call that waits."""
        looking, self._looking = self._looking, None
        if looking is not None:
            looking.cancel()
            await asyncio.wait([looking])
        self._fail(StoreUnavailableError("the kit was closed while this inbox was followed"))

    async def _look(self) -> None:
        try:
            timeout = POLL
            while self._readers:
                # The wait begins before the look, so that what changes meanwhile ends it.
                changed = asyncio.create_task(self._store.inbox_wait(timeout))
                try:
                    await asyncio.sleep(0)
                    await self._serve(self._since)
                    timeout = SOON if await self._serve_new_until(changed) else POLL
                finally:
                    changed.cancel()
                    await asyncio.gather(changed, return_exceptions=True)
        except Exception as error:  # noqa: BLE001 - any error is raised to the waiting readers
            self._fail(error)
        finally:
            self._looking = None

    async def _serve_new_until(self, changed: asyncio.Task[bool]) -> bool:
        """Serve readers that join, until an inbox may have changed; return whether a notification said so."""
        while not changed.done():
            joined = asyncio.create_task(self._joined.wait())
            try:
                await asyncio.wait({changed, joined}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                joined.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await joined
            if not changed.done():
                await self._serve(_since(self._new))
        if changed.result():
            await asyncio.sleep(PAUSE)
        return changed.result()

    async def _serve(self, since: Mapping[str, Mapping[str, int]]) -> None:
        """Give readers what is new in inboxes since some places, and pause.

        Readers of an inbox whose cursor is that one are served; the others are, with the next look.
        """
        began = asyncio.get_running_loop().time()
        self._joined.clear()
        self._new = set()
        for tenant, cursors in [(tenant, dict(cursors)) for tenant, cursors in since.items()]:
            for recipient, changes in (await self._store.inbox_changes(tenant, cursors, limit=_LIMIT)).items():
                for reader in list(self._readers.get((tenant, recipient), ())):
                    if reader.since == cursors[recipient] and not reader.found.done():
                        reader.found.set_result(changes)
                        self._discard(reader)
                    elif not reader.found.done():
                        self._new.add(reader)
                        self._joined.set()
        await asyncio.sleep(max(PAUSE, asyncio.get_running_loop().time() - began))

    def _discard(self, reader: _Reader) -> None:
        self._new.discard(reader)
        tenant, recipient = reader.tenant, reader.recipient
        its = self._readers.get((tenant, recipient))
        if its is None or reader not in its:
            return
        its.remove(reader)
        if its:
            self._since[tenant][recipient] = min(each.since for each in its)
            return
        del self._readers[tenant, recipient], self._since[tenant][recipient]
        if not self._since[tenant]:
            del self._since[tenant]

    def _fail(self, error: Exception) -> None:
        for reader in [reader for its in self._readers.values() for reader in its]:
            if not reader.found.done():
                reader.found.set_exception(error)


def _since(readers: Iterable[_Reader]) -> Mapping[str, Mapping[str, int]]:
    """Return the earliest cursor of the readers of each inbox, by tenant and recipient."""
    since: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for reader in readers:
        cursors = since[reader.tenant]
        cursors[reader.recipient] = min(reader.since, cursors.get(reader.recipient, reader.since))
    return since
