"""A person's in-app inbox: its items, what a person does with them, and what a client reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

import attrs

from .checks import field_check, instance, one_of, optional
from .event import Resource
from .preferences import label

IN_APP: Final = "in_app"
#: Counts of an inbox stop here: it stands for 99 and more.
COUNT_CAP = 100


class InboxMark(StrEnum):
    """What a person does with an item.

    Attributes:
        SEEN: It was shown in the list.
        READ: It was opened; a read item is also seen.
        UNREAD: It counts as new again; it stays seen.
        ARCHIVED: It is put away.
        UNARCHIVED: It is back in the list.
        SNOOZED: It is hidden until a time.
        UNSNOOZED: It is back in the list before that time.
    """

    SEEN = "seen"
    READ = "read"
    UNREAD = "unread"
    ARCHIVED = "archived"
    UNARCHIVED = "unarchived"
    SNOOZED = "snoozed"
    UNSNOOZED = "unsnoozed"


class InboxState(StrEnum):
    """Which items a page shows.

    Attributes:
        ACTIVE: Those that are neither archived nor snoozed.
        UNSEEN: Active ones that were not seen.
        UNREAD: Active ones that were not read.
        READ: Active ones that were read.
        SNOOZED: Those that are hidden until a later time.
        ARCHIVED: Those that were put away.
    """

    ACTIVE = "active"
    UNSEEN = "unseen"
    UNREAD = "unread"
    READ = "read"
    SNOOZED = "snoozed"
    ARCHIVED = "archived"


class InboxMarks(NamedTuple):
    """What a person has done with an item, and when.

    Attributes:
        snoozed_until: When it comes back; a time that has passed hides nothing.
    """

    seen_at: datetime | None = None
    read_at: datetime | None = None
    archived_at: datetime | None = None
    snoozed_until: datetime | None = None

    @classmethod
    def of_all(cls, items: Iterable[InboxMarks]) -> InboxMarks:
        """Return the marks of several items as if they were one: the earliest of each."""
        return cls(*(min((at for at in each if at is not None), default=None) for each in zip(*items, strict=True)))

    def after(self, mark: InboxMark, now: datetime, until: datetime | None) -> InboxMarks:
        """Return the marks after one more; the same if it changes nothing."""
        match mark:
            case InboxMark.SEEN:
                return self._replace(seen_at=self.seen_at or now)
            case InboxMark.READ:
                return self._replace(read_at=self.read_at or now, seen_at=self.seen_at or now)
            case InboxMark.UNREAD:
                return self._replace(read_at=None)
            case InboxMark.ARCHIVED:
                return self._replace(archived_at=self.archived_at or now)
            case InboxMark.UNARCHIVED:
                return self._replace(archived_at=None)
            case InboxMark.SNOOZED:
                return self._replace(snoozed_until=until)
            case InboxMark.UNSNOOZED:
                return self._replace(snoozed_until=None)

    def is_in(self, state: InboxState, now: datetime) -> bool:
        """Return whether an item with these marks is in a state."""
        if state is InboxState.ARCHIVED or self.archived_at is not None:
            return state is InboxState.ARCHIVED and self.archived_at is not None
        is_snoozed = self.snoozed_until is not None and self.snoozed_until > now
        if state is InboxState.SNOOZED or is_snoozed:
            return state is InboxState.SNOOZED and is_snoozed
        return {
            InboxState.ACTIVE: True,
            InboxState.UNSEEN: self.seen_at is None,
            InboxState.UNREAD: self.read_at is None,
            InboxState.READ: self.read_at is not None,
        }[state]


NO_MARKS: Final = InboxMarks()


@attrs.frozen(kw_only=True)
class InboxItem:
    """A notification in a person's inbox.

    Attributes:
        id: The id of the delivery that brought it.
        recipient: The host's own id of the person.
        category: Of the event's type; ``None`` if the publisher did not know the type.
        resource: What the event is about.
        url: What a click opens.
        data: What the host's client needs beside the text: JSON types.
        marks: What the person has done with it.
        number: Its place in the inbox: newer items have higher numbers.
        change: The number of its last change.  Of two states of an item the one with the higher number is newer.
    """

    id: str
    tenant: str
    recipient: str
    event_id: str
    event_type: str
    category: str | None = None
    resource: Resource | None = None
    title: str
    body: str = ""
    url: str | None = None
    data: Mapping[str, Any] = attrs.field(factory=dict)
    created_at: datetime
    marks: InboxMarks = NO_MARKS
    number: int = 0
    change: int = 0


@attrs.frozen(kw_only=True)
class UnreadableInboxItem(InboxItem):
    """Stands in for an item whose content cannot be read: the row is damaged, or its key is missing."""


@attrs.frozen(kw_only=True)
class InboxFilter:
    """Which items are meant; a category and a resource that are ``None`` do not restrict.

    Raises:
        InvalidInputError: A field is not what it should be.
    """

    state: InboxState = attrs.field(default=InboxState.ACTIVE, validator=field_check(one_of(InboxState)))
    category: str | None = attrs.field(default=None, validator=field_check(optional(label)))
    resource: Resource | None = attrs.field(default=None, validator=field_check(optional(instance(Resource))))

    def takes(self, item: InboxItem, now: datetime) -> bool:
        """Return whether an item is meant."""
        return (
            item.marks.is_in(self.state, now)
            and self.category in (None, item.category)
            and self.resource in (None, item.resource)
        )


class InboxPage(NamedTuple):
    """Some items of an inbox, newest first.

    Attributes:
        next: Where the next page starts; ``None`` if there is none.
        cursor: What has happened since this page was read is what ``changes`` returns from here.
    """

    items: tuple[InboxItem, ...]
    next: int | None
    cursor: int


class InboxChanges(NamedTuple):
    """What has happened to an inbox since a cursor.

    Attributes:
        items: New and changed items as they are now, each once, in the order of their last changes.
        cursor: Where the next call starts.
        has_more: Whether there are more changes already.
        is_reset: The inbox was erased since: what the client has shown must go.
    """

    items: tuple[InboxItem, ...]
    cursor: int
    has_more: bool = False
    is_reset: bool = False


class InboxCounts(NamedTuple):
    """How many active items are new; a count of :data:`COUNT_CAP` stands for that many or more."""

    unseen: int
    unread: int
