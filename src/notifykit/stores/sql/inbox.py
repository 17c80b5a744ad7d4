"""Inboxes of people: written once for every database."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    delete,
    func,
    literal,
    or_,
    select,
    text,
    true,
    union_all,
    update,
)

from ...models.ids import DELIVERY, EVENT, event_of
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
from ..encoding.encryption import Encryption
from ..encoding.inbox_rows import item_from, item_values, marks_from
from ..encoding.rows import Row, micros, micros_or_none
from . import schema as s
from .fetching import fetch
from .writing import insert_new_rows, upsert

T = TypeVar("T")
Condition = ColumnElement[bool]

#: Seconds for which a notification speaks: readers wait that long before they read.
NOTIFIED_FOR = 0.02
#: Events, or inboxes, that one statement names at the most.
_NAMED = 200

_item, _inbox = s.inbox_items.c, s.inboxes.c
#: Which items a mark changes; a snooze changes those that do not end at the same time.
_UNMARKED: Mapping[InboxMark, Condition] = {
    InboxMark.SEEN: _item.seen_at.is_(None),
    InboxMark.READ: _item.read_at.is_(None),
    InboxMark.UNREAD: _item.read_at.is_not(None),
    InboxMark.ARCHIVED: _item.archived_at.is_(None),
    InboxMark.UNARCHIVED: _item.archived_at.is_not(None),
    InboxMark.UNSNOOZED: _item.snoozed_until.is_not(None),
}

#: The indexes of what few items of an inbox are.
_INDEXES: Mapping[InboxState | None, str] = {
    InboxState.UNSEEN: "notifykit_inbox_unseen",
    InboxState.UNREAD: "notifykit_inbox_unread",
}


def _effect(mark: InboxMark, now: int, until: int | None) -> Mapping[str, Any]:
    """Return the columns that a mark sets (see :meth:`InboxMarks.after`)."""
    effects: Mapping[InboxMark, Mapping[str, Any]] = {
        InboxMark.SEEN: {"seen_at": now},
        InboxMark.READ: {"read_at": now, "seen_at": func.coalesce(_item.seen_at, now)},
        InboxMark.UNREAD: {"read_at": None},
        InboxMark.ARCHIVED: {"archived_at": now},
        InboxMark.UNARCHIVED: {"archived_at": None},
        InboxMark.SNOOZED: {"snoozed_until": until},
        InboxMark.UNSNOOZED: {"snoozed_until": None},
    }
    return effects[mark]


class SqlInbox(ABC):
    """The verbs of :class:`notifykit.ports.Inbox`."""

    encryption: Encryption
    _inboxes_notified = float("-inf")

    @abstractmethod
    async def _read(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a transaction that reads."""

    @abstractmethod
    async def _write(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a transaction that writes, and commit."""

    @abstractmethod
    def _notify_inboxes(self, connection: Connection) -> None:
        """Wake the readers of inboxes when the transaction is committed."""

    @abstractmethod
    async def inbox_wait(self, timeout: timedelta) -> bool:
        """See :meth:`notifykit.ports.Inbox.inbox_wait`."""

    async def inbox_put(self, items: Sequence[InboxItem]) -> None:
        rows = [item_values(item, self.encryption) for item in items]
        if rows:
            await self._change_inbox(lambda c: put(c, rows))

    async def inbox_page(
        self, tenant: str, recipient: str, wanted: InboxFilter, *, now: datetime, limit: int, after: int | None = None
    ) -> InboxPage:
        chosen, state = matching(wanted, now), wanted.state
        last, rows = await self._read(lambda c: page(c, tenant, recipient, chosen, limit + 1, after, state))
        following = rows[limit - 1]["number"] if len(rows) > limit else None
        return InboxPage(self._items(rows[:limit]), following, last)

    async def inbox_counts(self, tenant: str, recipient: str, *, now: datetime) -> InboxCounts:
        return await self._read(lambda c: counts(c, tenant, recipient, now))

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
        chosen = [] if wanted is None else matching(wanted, now)
        if ids is not None:
            chosen.append(_item.id.in_(list(ids)))

        end = micros_or_none(until)
        chosen.append(_UNMARKED[mark] if mark in _UNMARKED else _item.snoozed_until.is_distinct_from(end))
        marks = _effect(mark, micros(now), end)
        state = None if wanted is None else wanted.state
        return await self._change_inbox(lambda c: mark_items(c, tenant, recipient, chosen, limit, marks, state))

    async def inbox_changes(self, tenant: str, since: Mapping[str, int], *, limit: int) -> dict[str, InboxChanges]:
        found = await self._read(lambda c: changes(c, tenant, since, limit))
        return {
            recipient: InboxChanges(self._items(rows), cursor, has_more, is_reset)
            for recipient, (rows, cursor, has_more, is_reset) in found.items()
        }

    async def inbox_marks(self, tenant: str, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], InboxMarks]:
        return await self._read(lambda c: marks_of(c, tenant, list(wanted)))

    async def inbox_erase(self, tenant: str, recipient: str, *, limit: int) -> int:
        return await self._change_inbox(lambda c: erase(c, tenant, recipient, limit))

    async def _change_inbox(self, work: Callable[[Connection], T]) -> T:
        def change(connection: Connection) -> T:
            result = work(connection)
            if self._speaks():
                self._notify_inboxes(connection)
            return result

        return await self._write(change)

    def _speaks(self) -> bool:
        """Tell whether a change wakes readers; soon after another one has, it need not."""
        now = time.monotonic()
        if now - self._inboxes_notified < NOTIFIED_FOR:
            return False
        self._inboxes_notified = now
        return True

    def _items(self, rows: Sequence[Row]) -> tuple[InboxItem, ...]:
        return tuple(item_from(row, self.encryption) for row in rows)


# ── conditions ─────────────────────────────────────────────────────────────────────────────────


def _of(table: Table, tenant: str, recipient: str) -> Condition:
    return and_(table.c.tenant == tenant, table.c.recipient == recipient)


def matching(wanted: InboxFilter, now: datetime) -> list[Condition]:
    """Return the conditions of a filter (see :meth:`InboxMarks.is_in`)."""
    conditions = [_is_in(wanted.state, micros(now))]
    if wanted.category is not None:
        conditions.append(_item.category == wanted.category)
    if wanted.resource is not None:
        conditions += (_item.resource_kind == wanted.resource.kind, _item.resource_id == wanted.resource.id)
    return conditions


def _is_in(state: InboxState, at: int) -> Condition:
    if state is InboxState.ARCHIVED:
        return _item.archived_at.is_not(None)
    if state is InboxState.SNOOZED:
        return and_(_item.archived_at.is_(None), _item.snoozed_until > at)
    marks: Mapping[InboxState, Condition] = {
        InboxState.ACTIVE: true(),
        InboxState.UNSEEN: _item.seen_at.is_(None),
        InboxState.UNREAD: _item.read_at.is_(None),
        InboxState.READ: _item.read_at.is_not(None),
    }
    awake = or_(_item.snoozed_until.is_(None), _item.snoozed_until <= at)
    return and_(_item.archived_at.is_(None), awake, marks[state])


def _select(state: InboxState | None, *columns: Any) -> Select[Any]:
    """Return a query for items in a state; SQLite would use the index of all active ones."""
    query, index = select(*columns), _INDEXES.get(state)
    return query if index is None else query.with_hint(s.inbox_items, f"INDEXED BY {index}", "sqlite")


# ── writing ────────────────────────────────────────────────────────────────────────────────────


def put(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Insert items that are new; an item that is there already only uses up a number."""
    opened = openings(rows)
    upsert(connection, s.inboxes, opened, lambda new: {"last": _inbox.last + new.last - new.base})
    last: dict[tuple[str, str], int] = {}
    for tenant, its in groupby(opened, key=itemgetter("tenant")):
        ends = _ends(connection, tenant, [each["recipient"] for each in its])
        last |= {(tenant, recipient): end for recipient, (_, end) in ends.items()}
    number(rows, last)
    insert_new_rows(connection, s.inbox_items, rows)


def openings(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of ``inboxes`` for new items, as they are if nothing was there before.

    They are in one order, so that two processes never wait for each other.
    """
    added = Counter((row["tenant"], row["recipient"]) for row in rows)
    began = {(row["tenant"], row["recipient"]): row["created_at"] for row in rows}
    return [
        {"tenant": key[0], "recipient": key[1], "base": began[key], "last": began[key] + count}
        for key, count in sorted(added.items())
    ]


def number(rows: Sequence[dict[str, Any]], last: Mapping[tuple[str, str], int]) -> None:
    """Give new items their numbers, up to the last one of their inboxes."""
    left = dict(last)
    for row in reversed(rows):
        key = row["tenant"], row["recipient"]
        row["number"] = row["change"] = left[key]
        left[key] -= 1


def mark_items(
    connection: Connection,
    tenant: str,
    recipient: str,
    chosen: Sequence[Condition],
    limit: int,
    marks: Mapping[str, Any],
    state: InboxState | None = None,
) -> list[str]:
    """Give chosen items new marks, as one change; return their ids, newest first."""
    its, of = _of(s.inboxes, tenant, recipient), _of(s.inbox_items, tenant, recipient)
    last = connection.scalar(select(_inbox.last).where(its).with_for_update())
    if last is None:
        return []
    newest = _select(state, _item.id, _item.number).where(of, *chosen).order_by(_item.number.desc()).limit(limit)
    rows = connection.execute(newest).all()
    if rows:
        these = and_(of, *chosen, _item.number >= rows[-1].number)
        connection.execute(update(s.inbox_items).where(these).values({**marks, "change": last + 1}))
        connection.execute(update(s.inboxes).where(its).values(last=last + 1))
    return [row.id for row in rows]


def erase(connection: Connection, tenant: str, recipient: str, limit: int) -> int:
    """Delete items of an inbox, and the inbox when it is empty."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete = ON")  # else the content stays in the file's free space
    its, of = _of(s.inboxes, tenant, recipient), _of(s.inbox_items, tenant, recipient)
    connection.execute(select(_inbox.last).where(its).with_for_update())
    ids = list(connection.scalars(select(_item.id).where(of).limit(limit)))
    connection.execute(delete(s.inbox_items).where(of, _item.id.in_(ids)))
    if connection.scalar(select(literal(1)).where(of).limit(1)) is None:
        connection.execute(delete(s.inboxes).where(its))
    return len(ids)


# ── reading ────────────────────────────────────────────────────────────────────────────────────


def page(
    connection: Connection,
    tenant: str,
    recipient: str,
    chosen: Sequence[Condition],
    limit: int,
    after: int | None,
    state: InboxState | None = None,
) -> tuple[int, list[Row]]:
    """Return the number of the inbox's last change and, as they were then, its items.

    Both come from one statement: between two, another process could change the inbox.
    """
    last = select(_inbox.last).where(_of(s.inboxes, tenant, recipient)).scalar_subquery()
    head = select(func.coalesce(last, 0).label("last")).subquery()
    items = _select(state, s.inbox_items).where(_of(s.inbox_items, tenant, recipient), *chosen)
    if after is not None:
        items = items.where(_item.number < after)
    found = items.order_by(_item.number.desc()).limit(limit).subquery()
    query = select(head.c.last, found).select_from(head.outerjoin(found, true())).order_by(found.c.number.desc())
    rows = fetch(connection, query)
    return rows[0]["last"], [row for row in rows if row["id"] is not None]


def counts(connection: Connection, tenant: str, recipient: str, now: datetime) -> InboxCounts:
    """Count new items, no further than any client shows."""

    def capped(state: InboxState) -> Any:
        chosen = matching(InboxFilter(state=state), now)
        items = _select(state, literal(1)).select_from(s.inbox_items)
        found = items.where(_of(s.inbox_items, tenant, recipient), *chosen).limit(COUNT_CAP).subquery()
        return select(func.count()).select_from(found).scalar_subquery()

    return InboxCounts(*connection.execute(select(capped(InboxState.UNSEEN), capped(InboxState.UNREAD))).one())


def changes(
    connection: Connection, tenant: str, since: Mapping[str, int], limit: int
) -> dict[str, tuple[Sequence[Row], int, bool, bool]]:
    """Return the changed items of each inbox with changes, the next cursor, and whether there are more or a reset."""
    found: dict[str, tuple[Sequence[Row], int, bool, bool]] = {}
    for recipient, base, last in _moved(connection, tenant, since):
        start = since[recipient]
        is_reset = start > 0 and (base == 0 or start < base)
        found[recipient] = (*_changed(connection, tenant, recipient, start, last, limit), is_reset)
    return found


def _changed(
    connection: Connection, tenant: str, recipient: str, since: int, last: int, limit: int
) -> tuple[Sequence[Row], int, bool]:
    """Return the changed items of an inbox, the next cursor, and whether there are more.

    Args:
        last: The number of the last change, read before: what came after may be among the items.
    """
    items = select(s.inbox_items).where(_of(s.inbox_items, tenant, recipient)).order_by(_item.change, _item.number)
    rows = fetch(connection, items.where(_item.change > since).limit(limit + 1))
    if len(rows) <= limit:
        return rows, max([last, *(row["change"] for row in rows[-1:])]), False
    end = rows[limit]["change"]
    whole = [row for row in rows if row["change"] < end]
    if whole:  # items that were marked together are not torn apart
        return whole, whole[-1]["change"], True
    return fetch(connection, items.where(_item.change == end)), end, end < last


#: Finds, by the name of the dialect, the inboxes that are not where their readers are: what comes back are those alone,
#: which takes a tenth of the time if they are few of thousands.
_MOVED = {
    dialect: text(
        f"SELECT j.key, coalesce(i.base, 0), coalesce(i.last, 0) FROM {each} LEFT JOIN {s.inboxes.name} AS i "
        "ON i.tenant = :tenant AND i.recipient = j.key WHERE coalesce(i.last, 0) <> CAST(j.value AS BIGINT)"
    )
    for dialect, each in {
        "sqlite": "json_each(:since) AS j",
        "postgresql": "json_each_text(CAST(:since AS json)) AS j(key, value)",
    }.items()
}


def _moved(connection: Connection, tenant: str, since: Mapping[str, int]) -> list[tuple[str, int, int]]:
    """Return the inboxes with another last change: recipient, the numbers before the first change and of the last."""
    query = _MOVED.get(connection.dialect.name)
    if query is not None:
        given = {"tenant": tenant, "since": json.dumps(since)}
        return [(recipient, base, last) for recipient, base, last in connection.execute(query, given)]
    ends = _ends(connection, tenant, list(since))
    moved = ((recipient, *ends.get(recipient, (0, 0))) for recipient in since)
    return [(recipient, base, last) for recipient, base, last in moved if last != since[recipient]]


def _ends(connection: Connection, tenant: str, recipients: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Return the numbers before the first change and of the last one, of inboxes that exist."""
    ends: dict[str, tuple[int, int]] = {}
    for first in range(0, len(recipients), _NAMED):
        these = _inbox.recipient.in_(recipients[first : first + _NAMED])
        query = select(_inbox.recipient, _inbox.base, _inbox.last).where(_inbox.tenant == tenant, these)
        ends |= {recipient: (base, last) for recipient, base, last in connection.execute(query)}
    return ends


def marks_of(
    connection: Connection, tenant: str, wanted: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], InboxMarks]:
    """Return the marks of events' items; an item's id begins with its event's ULID, so the primary key finds them."""
    found: dict[tuple[str, str], list[InboxMarks]] = {}
    columns = (_item.recipient, _item.id, *(_item[name] for name in InboxMarks._fields))
    for first in range(0, len(wanted), _NAMED):
        queries = [
            select(*columns).where(_of(s.inbox_items, tenant, recipient), _item.id >= start, _item.id < f"{start}~")
            for recipient, event_id in wanted[first : first + _NAMED]
            for start in (DELIVERY + event_id.removeprefix(EVENT),)
        ]
        query = union_all(*queries)  # with OR databases read all items of the tenant
        for row in connection.execute(query).mappings():
            found.setdefault((row["recipient"], event_of(row["id"])), []).append(marks_from(row))
    return {key: InboxMarks.of_all(marks) for key, marks in found.items()}
