"""The memory store's inboxes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import deepcopy
from datetime import datetime, timedelta
from itertools import islice

import attrs

from ...models.ids import event_of
from ...models.inbox import (
    COUNT_CAP,
    InboxChanges,
    InboxCounts,
    InboxFilter,
    InboxItem,
    InboxMark,
    InboxMarks,
    InboxPage,
    InboxState,
)
from .notifications import Notifications


@attrs.define
class _Inbox:
    """One person's items, in the order of their numbers.

    Attributes:
        base: The number before its first change.
        last: The number of its last change.
    """

    base: int
    last: int
    items: dict[str, InboxItem] = attrs.field(factory=dict)

    def number(self) -> int:
        self.last += 1
        return self.last

    def newest(self, wanted: InboxFilter, now: datetime) -> Iterator[InboxItem]:
        return (item for item in reversed(self.items.values()) if wanted.takes(item, now))


def _by_change(item: InboxItem) -> tuple[int, int]:
    return item.change, item.number


class MemoryInbox:
    """The verbs of :class:`notifykit.ports.Inbox`."""

    _inboxes: dict[tuple[str, str], _Inbox]
    _inbox_notifications: Notifications

    async def inbox_put(self, items: Sequence[InboxItem]) -> None:
        for item in items:
            first = int(item.created_at.timestamp() * 1_000_000)
            inbox = self._inboxes.setdefault((item.tenant, item.recipient), _Inbox(first, first))
            if item.id not in inbox.items:
                number = inbox.number()
                inbox.items[item.id] = deepcopy(attrs.evolve(item, number=number, change=number))
        self._inbox_notifications.give()

    async def inbox_page(
        self, tenant: str, recipient: str, wanted: InboxFilter, *, now: datetime, limit: int, after: int | None = None
    ) -> InboxPage:
        inbox = self._inboxes.get((tenant, recipient))
        if inbox is None:
            return InboxPage((), None, 0)
        found = (item for item in inbox.newest(wanted, now) if after is None or item.number < after)
        items = tuple(islice(found, limit + 1))
        return InboxPage(items[:limit], items[limit - 1].number if len(items) > limit else None, inbox.last)

    async def inbox_counts(self, tenant: str, recipient: str, *, now: datetime) -> InboxCounts:
        inbox = self._inboxes.get((tenant, recipient), _Inbox(0, 0))
        unseen, unread = (
            sum(1 for _ in islice(inbox.newest(InboxFilter(state=state), now), COUNT_CAP))
            for state in (InboxState.UNSEEN, InboxState.UNREAD)
        )
        return InboxCounts(unseen, unread)

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
        inbox = self._inboxes.get((tenant, recipient), _Inbox(0, 0))
        chosen = [
            (item, marks)
            for item in reversed(inbox.items.values())
            if (ids is None or item.id in ids)
            and (wanted is None or wanted.takes(item, now))
            and (marks := item.marks.after(mark, now, until)) != item.marks
        ][:limit]
        change = inbox.number() if chosen else inbox.last
        for item, marks in chosen:
            inbox.items[item.id] = attrs.evolve(item, marks=marks, change=change)
        self._inbox_notifications.give()
        return [item.id for item, _ in chosen]

    async def inbox_changes(self, tenant: str, since: Mapping[str, int], *, limit: int) -> dict[str, InboxChanges]:
        found = {recipient: self._changes(tenant, recipient, start, limit) for recipient, start in since.items()}
        return {recipient: changes for recipient, changes in found.items() if changes.cursor != since[recipient]}

    def _changes(self, tenant: str, recipient: str, since: int, limit: int) -> InboxChanges:
        inbox = self._inboxes.get((tenant, recipient))
        if inbox is None:
            return InboxChanges((), 0, is_reset=since > 0)
        is_reset = 0 < since < inbox.base
        changed = sorted((item for item in inbox.items.values() if item.change > since), key=_by_change)
        if len(changed) <= limit:
            return InboxChanges(tuple(changed), inbox.last, is_reset=is_reset)
        end = changed[limit].change
        # Items that were marked together are not torn apart.
        part = [item for item in changed if item.change < end] or [item for item in changed if item.change == end]
        cursor = part[-1].change
        return InboxChanges(tuple(part), cursor, cursor < inbox.last, is_reset)

    async def inbox_marks(self, tenant: str, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], InboxMarks]:
        found: dict[tuple[str, str], InboxMarks] = {}
        for recipient, event_id in wanted:
            inbox = self._inboxes.get((tenant, recipient), _Inbox(0, 0))
            its = [item.marks for item in inbox.items.values() if event_of(item.id) == event_id]
            if its:
                found[recipient, event_id] = InboxMarks.of_all(its)
        return found

    async def inbox_erase(self, tenant: str, recipient: str, *, limit: int) -> int:
        inbox = self._inboxes.get((tenant, recipient), _Inbox(0, 0))
        gone = list(islice(inbox.items, limit))
        for id_ in gone:
            del inbox.items[id_]
        if not inbox.items:
            self._inboxes.pop((tenant, recipient), None)
        self._inbox_notifications.give()
        return len(gone)

    async def inbox_wait(self, timeout: timedelta) -> bool:
        return await self._inbox_notifications.wait(timeout)
