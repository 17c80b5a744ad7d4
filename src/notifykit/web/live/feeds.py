"""What a stream tells: the changes of an inbox with its counts, or what happens to the deliveries of a tenant.

A feed knows its place.  Each message has an id, and a feed that begins at the id of a message goes on after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ...codec import dumps, unstructure
from .activity import ActivityWatch

if TYPE_CHECKING:
    from ...admin.inbox import RecipientInbox
    from ...kit import Notifykit
    from ...models.inbox import InboxChanges


class StreamMessage(NamedTuple):
    """One message of a stream.

    Attributes:
        event: What kind it is.
        id: Where a client that comes back goes on.
        data: JSON.
    """

    event: str
    id: str
    data: bytes


class Feed(Protocol):
    """The messages of one stream, in order."""

    async def next(self) -> StreamMessage:
        """Return the next message, as soon as there is one; cancelled, it leaves the feed where it was.

        Raises:
            StoreError: The store cannot be read, or was closed.
        """
        ...


class Live:
    """What the streams of an application share.

    Attributes:
        activity: Follows the deliveries of tenants.
    """

    def __init__(self, kit: Notifykit) -> None:
        self.activity = ActivityWatch(kit)
        self._making: dict[Hashable, asyncio.Task[bytes]] = {}

    async def shared(self, key: Hashable, make: Callable[[], Awaitable[bytes]]) -> bytes:
        """Return what ``make`` returns; calls with the same key at the same time have it made once."""
        making = self._making.get(key)
        if making is None:
            making = self._making[key] = asyncio.create_task(_awaited(make))
            making.add_done_callback(lambda made: self._made(key, made))
        return await asyncio.shield(making)

    def _made(self, key: Hashable, made: asyncio.Task[bytes]) -> None:
        del self._making[key]
        if not made.cancelled():
            made.exception()  # is raised to the calls that wait, of which there may be none any more


async def _awaited(make: Callable[[], Awaitable[bytes]]) -> bytes:
    return await make()


class InboxFeed:
    """The changes of an inbox: ``counts`` first, then ``changes`` with the counts after them.

    Args:
        cursor: Where it begins; ``None`` for now.
    """

    def __init__(self, live: Live, inbox: RecipientInbox, cursor: int | None) -> None:
        self._live = live
        self._inbox = inbox
        self._cursor = cursor
        self._has_begun = False

    async def next(self) -> StreamMessage:
        """See :meth:`Feed.next`."""
        from ..routes.inbox import CountsView

        if not self._has_begun:
            cursor = (await self._inbox.page(limit=1)).cursor if self._cursor is None else self._cursor
            counts = unstructure(CountsView.of(await self._inbox.counts()))
            self._cursor, self._has_begun = cursor, True
            return StreamMessage("counts", str(cursor), dumps({"counts": counts}))
        assert self._cursor is not None
        while True:
            since = self._cursor
            changes = await self._inbox.next_changes(since)
            if not (changes.items or changes.is_reset):
                self._cursor = changes.cursor
                continue
            key = (self._inbox.key, since, changes.cursor)
            data = await self._live.shared(key, lambda found=changes: self._told(found))  # type: ignore[misc]
            self._cursor = changes.cursor
            return StreamMessage("changes", str(changes.cursor), data)

    async def _told(self, changes: InboxChanges) -> bytes:
        from ..routes.inbox import ChangesView, CountsView

        counts = unstructure(CountsView.of(await self._inbox.counts()))
        return dumps({**unstructure(ChangesView.of(changes)), "counts": counts})


class ActivityFeed:
    """What happens to the deliveries of a tenant: ``activity``, or ``reset`` where a client must read the list anew.

    Args:
        last: The id of the last message that the client has; ``None`` for one that begins.
    """

    def __init__(self, watch: ActivityWatch, tenant: str, last: str | None) -> None:
        self._watch = watch
        self._tenant = tenant
        self._last = last

    async def next(self) -> StreamMessage:
        """See :meth:`Feed.next`."""
        entry = await self._watch.next(self._tenant, self._last)
        self._last = entry.id
        return StreamMessage(entry.event, entry.id, entry.data)
