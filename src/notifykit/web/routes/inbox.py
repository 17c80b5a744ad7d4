"""A person's in-app inbox: what the host's own client shows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from ...errors import InvalidInputError
from ...models.access import AccessScope
from ...models.checks import field_check, identifier, many, optional, whole
from ...models.inbox import InboxChanges, InboxCounts, InboxItem, InboxMark, InboxState
from ...models.preferences import label
from ...ports import MAX_IDS
from ..live.feeds import InboxFeed
from ..live.stream import EventStream
from ..route import MOST, Call, Routes, described

ROUTES = Routes("Inbox")
_number = whole(0, 2**63 - 1)
_NUMBER = {"minimum": 0, "maximum": 2**63 - 1}
_LABEL = {"minLength": 1, "maxLength": 128}


@attrs.frozen(kw_only=True)
class ItemView:
    """A notification in an inbox.

    Attributes:
        url: What a click opens.
        data: What your client needs beside the text.
        change: The number of its last change: of two states of an item the one with the higher number is newer.
    """

    id: str
    event_id: str
    event_type: str
    category: str | None
    title: str
    body: str
    url: str | None
    data: Mapping[str, Any]
    created_at: datetime
    seen_at: datetime | None
    read_at: datetime | None
    archived_at: datetime | None
    snoozed_until: datetime | None
    number: int
    change: int

    @classmethod
    def of(cls, item: InboxItem) -> ItemView:
        """Return what is shown of an item."""
        marks = item.marks._asdict()
        names = {field.name for field in attrs.fields(cls)} - marks.keys()
        return cls(**{name: getattr(item, name) for name in names}, **marks)


@attrs.frozen(kw_only=True)
class InboxPageView:
    """Some items, newest first.

    Attributes:
        next: The ``cursor`` of the next page; ``null`` if there is none.
        changes: What has happened since this page was read is what the changes from here are.
    """

    data: tuple[ItemView, ...]
    next: int | None
    changes: int


@attrs.frozen(kw_only=True)
class InboxQuery:
    """Which items.

    Attributes:
        state: ``active`` is neither archived nor snoozed.
        category: Of this category.
        limit: How many at the most.
        cursor: The ``next`` of the page before.
    """

    state: InboxState = InboxState.ACTIVE
    category: str | None = described(optional(label), default=None, **_LABEL)
    limit: int = described(whole(1, MOST), default=50, minimum=1, maximum=MOST)
    cursor: int | None = described(optional(_number), default=None, **_NUMBER)


@ROUTES.add(
    "GET",
    "/v1/inbox/{user_id}",
    AccessScope.INBOX_READ,
    query=InboxQuery,
    answer=InboxPageView,
    person="user_id",
)
async def list_inbox(call: Call) -> Any:
    """List a person's inbox, newest first."""
    query: InboxQuery = call.query
    page = await call.kit.inbox(call.path["user_id"], tenant=call.tenant).page(
        state=query.state, category=query.category, limit=query.limit, after=query.cursor
    )
    return InboxPageView(data=tuple(map(ItemView.of, page.items)), next=page.next, changes=page.cursor)


@attrs.frozen(kw_only=True)
class CountsView:
    """How many active items are new; 100 stands for that many or more."""

    unseen: int
    unread: int

    @classmethod
    def of(cls, counts: InboxCounts) -> CountsView:
        """Return what is shown of counts."""
        return cls(unseen=counts.unseen, unread=counts.unread)


@ROUTES.add("GET", "/v1/inbox/{user_id}/counts", AccessScope.INBOX_READ, answer=CountsView, person="user_id")
async def count_inbox(call: Call) -> Any:
    """Return how many items are unseen and unread."""
    return CountsView.of(await call.kit.inbox(call.path["user_id"], tenant=call.tenant).counts())


@attrs.frozen(kw_only=True)
class MarkBody:
    """What a person does with items.

    Attributes:
        ids: Of the items; without them every item of ``state`` and ``category`` is marked.
        state: Which items, if no ids are given; by default active ones, or those that the mark is about.
        category: Only of this category, if no ids are given.
        until: When a snoozed item comes back.
    """

    mark: InboxMark
    ids: tuple[str, ...] | None = described(
        optional(many(identifier, most=MAX_IDS, what="ids")), default=None, maxItems=MAX_IDS
    )
    state: InboxState | None = None
    category: str | None = described(optional(label), default=None, **_LABEL)
    until: datetime | None = None


@attrs.frozen(kw_only=True)
class Marked:
    """What was changed.

    Attributes:
        count: How many items.
    """

    count: int


@ROUTES.add(
    "POST",
    "/v1/inbox/{user_id}/marks",
    AccessScope.INBOX_WRITE,
    body=MarkBody,
    answer=Marked,
    person="user_id",
)
async def mark_inbox(call: Call) -> Any:
    """Mark items as seen, read, unread, archived, unarchived, snoozed or unsnoozed."""
    asked: MarkBody = call.body
    inbox = call.kit.inbox(call.path["user_id"], tenant=call.tenant)
    if asked.ids is None:
        count = await inbox.mark_all(asked.mark, state=asked.state, category=asked.category, until=asked.until)
        return Marked(count=count)
    if asked.state is not None or asked.category is not None:
        raise InvalidInputError(["ids: not together with state or category"])
    return Marked(count=len(await inbox.mark(asked.ids, asked.mark, until=asked.until)))


@attrs.frozen(kw_only=True)
class ChangesView:
    """What has happened to an inbox since a cursor.

    Attributes:
        items: New and changed items as they are now.
        cursor: Where the next call starts.
        has_more: Whether there are more changes already.
        is_reset: The inbox was erased since: what the client has shown must go.
    """

    items: tuple[ItemView, ...]
    cursor: int
    has_more: bool
    is_reset: bool

    @classmethod
    def of(cls, changes: InboxChanges) -> ChangesView:
        """Return what is shown of changes."""
        return cls(
            items=tuple(map(ItemView.of, changes.items)),
            cursor=changes.cursor,
            has_more=changes.has_more,
            is_reset=changes.is_reset,
        )


@attrs.frozen(kw_only=True)
class ChangesQuery:
    """Since when.

    Attributes:
        cursor: The ``changes`` of a page, or the ``cursor`` of the changes before; 0 for everything.
        limit: How many items; those that were marked together stay together.
    """

    cursor: int = described(_number, default=0, **_NUMBER)
    limit: int = described(whole(1, 1000), default=200, minimum=1, maximum=1000)


@ROUTES.add(
    "GET",
    "/v1/inbox/{user_id}/changes",
    AccessScope.INBOX_READ,
    query=ChangesQuery,
    answer=ChangesView,
    person="user_id",
)
async def list_inbox_changes(call: Call) -> Any:
    """Return what is new and what has changed since a cursor: with one call a client has caught up."""
    query: ChangesQuery = call.query
    inbox = call.kit.inbox(call.path["user_id"], tenant=call.tenant)
    return ChangesView.of(await inbox.changes(query.cursor, limit=query.limit))


@attrs.frozen(kw_only=True)
class StreamQuery:
    """Since when.

    Attributes:
        cursor: The ``changes`` of a page, or the id of the last message; by default from now on.
    """

    cursor: int | None = attrs.field(
        default=None, validator=field_check(optional(_number)), metadata={"schema": _NUMBER}
    )


@ROUTES.add(
    "GET",
    "/v1/inbox/{user_id}/stream",
    AccessScope.INBOX_READ,
    query=StreamQuery,
    answer=ChangesView,
    person="user_id",
    media_type="text/event-stream",
)
async def stream_inbox(call: Call) -> Any:
    """Follow an inbox as it happens: what is new and what has changed, with the counts.

    Server-sent events, or the same as JSON messages over a WebSocket at the same address. The first event is
    ``counts``; each event ``changes`` has the changes as ``data``. A client that reconnects sends the ``id`` of the
    last event as ``Last-Event-ID`` (or as ``cursor``), and misses nothing.
    """
    given = call.request.headers.get("last-event-id")
    cursor = call.query.cursor
    if given is not None:
        if not (given.isascii() and given.isdecimal() and len(given) < 19):
            raise InvalidInputError(["header.Last-Event-ID: must be the id of an event of this stream"])
        cursor = int(given)
    inbox = call.kit.inbox(call.path["user_id"], tenant=call.tenant)
    return EventStream(InboxFeed(call.live, inbox, cursor))
