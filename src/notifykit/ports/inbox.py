"""What a store with inboxes does beside."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from ..models.inbox import InboxChanges, InboxCounts, InboxFilter, InboxItem, InboxMark, InboxMarks, InboxPage


@runtime_checkable
class Inbox(Protocol):
    """Optional: a store that keeps the in-app inboxes of people.

    Every change of an inbox (a new item, a step that marks items) gets a number, in the order in which changes become
    visible: a client that has read up to a number has missed no smaller one, however many processes write.  Numbers
    never come back, also not in an inbox that was erased.
    """

    async def inbox_put(self, items: Sequence[InboxItem]) -> None:
        """Add items as they are new, of any inboxes; their numbers are the store's.

        An item that is there already, under the same id in the same inbox, stays as it is.
        """
        ...

    async def inbox_page(
        self, tenant: str, recipient: str, wanted: InboxFilter, *, now: datetime, limit: int, after: int | None = None
    ) -> InboxPage:
        """Return matching items, newest first, those with smaller numbers than ``after``."""
        ...

    async def inbox_counts(self, tenant: str, recipient: str, *, now: datetime) -> InboxCounts:
        """Count active items, up to :data:`~notifykit.models.inbox.COUNT_CAP`; the cost does not depend on the rest."""
        ...

    async def inbox_mark(
        self,
        tenant: str,
        recipient: str,
        mark: InboxMark,
        *,
        now: datetime,
        ids: Collection[str] | None = None,
        wanted: InboxFilter | None = None,
        until: datetime | None = None,
        limit: int,
    ) -> list[str]:
        """Mark up to ``limit`` items, newest first; return the ids of those that this has changed.

        Args:
            ids: Only these, whatever state they are in.
            wanted: Only those that match.
            until: Of a snooze.
        """
        ...

    async def inbox_changes(self, tenant: str, since: Mapping[str, int], *, limit: int) -> dict[str, InboxChanges]:
        """Return what is new in some of a tenant's inboxes, by recipient; those without changes are left out.

        Args:
            since: The number up to which each inbox was read; 0 for the beginning.
            limit: How many items of each inbox, the oldest changes first; only items that were marked in one step are
                returned together, even if they are more.
        """
        ...

    async def inbox_marks(self, tenant: str, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], InboxMarks]:
        """Return what people have done with the items of events, by (recipient, event id); absent ones are left out.

        If an event has several items in an inbox, a mark on one of them counts.
        """
        ...

    async def inbox_erase(self, tenant: str, recipient: str, *, limit: int) -> int:
        """Delete up to ``limit`` items of an inbox, and the inbox with its last item; return how many were deleted."""
        ...

    async def inbox_wait(self, timeout: timedelta) -> bool:
        """Return ``True`` when any inbox may have changed, ``False`` after ``timeout``; a change may come unnoticed."""
        ...
