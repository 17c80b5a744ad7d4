"""A person's in-app inbox, as the host's own client shows it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from datetime import datetime

from ..errors import InvalidInputError
from ..models.checks import either, identifier, many, optional, whole
from ..models.event import EventType, Resource
from ..models.inbox import InboxChanges, InboxCounts, InboxFilter, InboxMark, InboxPage, InboxState
from ..models.steps import Unless
from ..policies.arguments import checked
from ..ports import MAX_IDS, Clock, Inbox, Store
from .answered import cancel_answered

#: Items that one step marks or erases.
BATCH = 500
_ids = either(identifier, many(identifier, most=MAX_IDS, what="ids"))
_number = whole(0, 2**63 - 1)
#: Where the items are that a mark concerns, if they are not among the active ones.
_STATES = {InboxMark.UNARCHIVED: InboxState.ARCHIVED, InboxMark.UNSNOOZED: InboxState.SNOOZED}
#: The marks that can make later steps of an event needless.
_ANSWERS = {InboxMark.SEEN: Unless.SEEN, InboxMark.READ: Unless.READ}


class RecipientInbox:
    """One person's inbox: ``kit.inbox("user:42", tenant="acme")``.

    Args:
        store: Keeps the inboxes.
        deliveries: The same store, for the later steps that a mark makes needless.
        next_changes: Returns the changes of an inbox since a cursor, as soon as there are any.
        declared: Knows the event types of this program, for those that are not stored.
    """

    def __init__(
        self,
        store: Inbox,
        deliveries: Store,
        clock: Clock,
        next_changes: Callable[[str, str, int], Awaitable[InboxChanges]],
        declared: Callable[[str], EventType | None],
        *,
        tenant: str,
        recipient: str,
    ) -> None:
        self._store = store
        self._deliveries = deliveries
        self._declared = declared
        self._clock = clock
        self._next_changes = next_changes
        self._its = tenant, recipient

    @checked(after=optional(_number))
    async def page(
        self,
        *,
        state: InboxState | str = InboxState.ACTIVE,
        category: str | None = None,
        resource: Resource | None = None,
        limit: int = 50,
        after: int | None = None,
    ) -> InboxPage:
        """Return a page of items, newest first.

        Args:
            state: ``active`` (neither archived nor snoozed), ``unseen``, ``unread``, ``read``, ``snoozed`` or
                ``archived``.
            resource: Only items about this.
            after: The ``next`` of the page before.
        """
        wanted = InboxFilter(state=InboxState(state), category=category, resource=resource)
        return await self._store.inbox_page(*self._its, wanted, now=self._clock.now(), limit=limit, after=after)

    async def counts(self) -> InboxCounts:
        """Return how many active items are unseen and unread; 100 stands for that many or more."""
        return await self._store.inbox_counts(*self._its, now=self._clock.now())

    @checked(ids=_ids)
    async def mark(
        self, ids: str | Collection[str], mark: InboxMark | str, *, until: datetime | None = None
    ) -> Sequence[str]:
        """Mark items, at most 1,000; return the ids of those that this has changed.

        Args:
            ids: One id or several; ids of no item of this inbox are ignored.
            mark: ``seen``, ``read``, ``unread``, ``archived``, ``unarchived``, ``snoozed`` or ``unsnoozed``.
            until: When a snoozed item comes back.

        Raises:
            InvalidInputError: An argument is not what it should be; a snooze has no end, or one that has passed.
        """
        chosen = [ids] if isinstance(ids, str) else ids
        return await self._mark(InboxMark(mark), until, ids=chosen, limit=MAX_IDS)

    @checked()
    async def mark_all(
        self,
        mark: InboxMark | str,
        *,
        state: InboxState | str | None = None,
        category: str | None = None,
        resource: Resource | None = None,
        until: datetime | None = None,
    ) -> int:
        """Mark every item that matches, a few hundred in a step; return how many this has changed.

        Args:
            state: By default active items; archived or snoozed ones if the mark is about these.

        Raises:
            InvalidInputError: As for :meth:`mark`.
        """
        mark = InboxMark(mark)
        chosen = InboxState(state or _STATES.get(mark, InboxState.ACTIVE))
        wanted = InboxFilter(state=chosen, category=category, resource=resource)
        count = 0
        while True:
            changed = await self._mark(mark, until, wanted=wanted, limit=BATCH)
            count += len(changed)
            if len(changed) < BATCH:
                return count

    async def _mark(
        self,
        mark: InboxMark,
        until: datetime | None,
        *,
        ids: Collection[str] | None = None,
        wanted: InboxFilter | None = None,
        limit: int,
    ) -> list[str]:
        now = self._clock.now()
        if (mark is InboxMark.SNOOZED) != (until is not None):
            raise InvalidInputError(["until: give the end of a snooze, and only with the mark 'snoozed'"])
        if until is not None and until <= now:
            raise InvalidInputError([f"until: must be later than now ({now.isoformat(timespec='seconds')})"])
        changed = await self._store.inbox_mark(
            *self._its, mark, now=now, ids=ids, wanted=wanted, until=until, limit=limit
        )
        if changed and (answer := _ANSWERS.get(mark)) is not None:
            await cancel_answered(self._deliveries, self._declared, *self._its, changed, answer, now)
        return changed

    @checked(cursor=_number)
    async def changes(self, cursor: int = 0, *, limit: int = 1000) -> InboxChanges:
        """Return new and changed items since a cursor: with one call a client has caught up.

        Args:
            cursor: That of a page, or of the changes before; 0 for everything.
            limit: How many items, the oldest changes first; items that were marked together stay together.
        """
        tenant, recipient = self._its
        found = await self._store.inbox_changes(tenant, {recipient: cursor}, limit=limit)
        return found.get(recipient, InboxChanges((), cursor))

    async def follow(self, cursor: int | None = None) -> AsyncGenerator[InboxChanges, None]:
        """Yield changes as they happen, at once or within a second.

        Any number of followers in a process cost as much as one.

        Args:
            cursor: That of a page, or of the last changes; by default that of now.

        Raises:
            StoreUnavailableError: The database does not answer, or the kit was closed.  Follow again from the last
                cursor: nothing is missed.
        """
        if cursor is None:
            cursor = (await self.page(limit=1)).cursor
        while True:
            found = await self._next_changes(*self._its, cursor)
            cursor = found.cursor
            if found.items or found.is_reset:
                yield found

    async def erase(self) -> int:
        """Delete every item; return how many there were."""
        count = 0
        while True:
            erased = await self._store.inbox_erase(*self._its, limit=BATCH)
            count += erased
            if erased < BATCH:
                return count
