"""The verbs of the Redis store about inboxes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from ...codec import loads
from ...models.inbox import (
    COUNT_CAP,
    InboxChanges,
    InboxCounts,
    InboxFilter,
    InboxItem,
    InboxMark,
    InboxMarks,
    InboxPage,
)
from ..encoding.encryption import Encryption
from ..encoding.inbox_rows import item_from, item_values
from ..encoding.readable import DAMAGED
from ..encoding.rows import instant_or_none, micros
from .connections import Connections, Listening
from .layout import json, or_false

_MARKS: Final = InboxMarks._fields
#: What is kept of an item as JSON, in a line before its content.
_COLUMNS: Final = ("event_id", "event_type", "category", "resource_kind", "resource_id", "created_at")
_ALL: Final = {"state": "all"}


class RedisInbox:
    """The verbs of :class:`notifykit.ports.Inbox`."""

    encryption: Encryption
    _connections: Connections
    _listening: Listening

    async def inbox_put(self, items: Sequence[InboxItem]) -> None:
        if not items:
            return
        rows = [item_values(item, self.encryption) for item in items]
        texts = [json([row[name] for name in _COLUMNS]) + b"\n" + row["content"] for row in rows]
        await self._connections.run("inbox_put", json(list(map(_meta, rows))), *texts)
        self._listening.wake_readers()

    async def inbox_page(
        self, tenant: str, recipient: str, wanted: InboxFilter, *, now: datetime, limit: int, after: int | None = None
    ) -> InboxPage:
        last, answers = await self._connections.run(
            "inbox_page", tenant, recipient, _filter(wanted), micros(now), limit + 1, "" if after is None else after
        )
        items = self._items(tenant, recipient, answers)
        return InboxPage(items[:limit], items[limit - 1].number if len(items) > limit else None, last)

    async def inbox_counts(self, tenant: str, recipient: str, *, now: datetime) -> InboxCounts:
        return InboxCounts(*await self._connections.run("inbox_counts", tenant, recipient, micros(now), COUNT_CAP))

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
        changed = await self._connections.run(
            "inbox_mark",
            tenant,
            recipient,
            mark,
            micros(now),
            "" if until is None else micros(until),
            json(_ALL) if wanted is None else _filter(wanted),
            json([] if ids is None else [list({*ids})]),
            limit,
        )
        self._listening.wake_readers()
        return [id_.decode() for id_ in changed]

    async def inbox_changes(self, tenant: str, since: Mapping[str, int], *, limit: int) -> dict[str, InboxChanges]:
        arguments = [argument for pair in since.items() for argument in pair]
        names = list(since)
        found = await self._connections.run("inbox_changes", tenant, limit, *arguments)
        return {
            names[place]: InboxChanges(
                self._items(tenant, names[place], answers), cursor, bool(has_more), bool(is_reset)
            )
            for place, answers, cursor, has_more, is_reset in found
        }

    async def inbox_marks(self, tenant: str, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], InboxMarks]:
        pairs = list(wanted)
        arguments = [argument for pair in pairs for argument in pair]
        found = await self._connections.run("inbox_marks", tenant, *arguments)
        return {pairs[place]: InboxMarks(*map(instant_or_none, marks)) for place, *marks in found}

    async def inbox_erase(self, tenant: str, recipient: str, *, limit: int) -> int:
        erased: int = await self._connections.run("inbox_erase", tenant, recipient, limit)
        self._listening.wake_readers()
        return erased

    async def inbox_wait(self, timeout: timedelta) -> bool:
        return await self._listening.inboxes(timeout.total_seconds())

    def _items(self, tenant: str, recipient: str, answers: Sequence[Any]) -> tuple[InboxItem, ...]:
        return tuple(item_from(_row(tenant, recipient, answer), self.encryption) for answer in answers)


def _meta(row: Mapping[str, Any]) -> list[Any]:
    """Return what scripts themselves know of an item."""
    known = ("category", "resource_kind", "resource_id")
    return [
        *(row[name] for name in ("tenant", "recipient", "id", "created_at")),
        *(or_false(row[name]) for name in known),
        [or_false(row[name]) for name in _MARKS],
    ]


def _row(tenant: str, recipient: str, answer: Sequence[Any]) -> dict[str, Any]:
    id_, number, change, *marks, text = answer
    line, _, content = text.partition(b"\n")
    row: dict[str, Any] = {"id": id_.decode(), "tenant": tenant, "recipient": recipient, "content": content}
    row |= {"number": number, "change": change, **dict(zip(_MARKS, marks, strict=True))}
    try:
        return row | dict(zip(_COLUMNS, loads(line), strict=True))
    except DAMAGED:
        return row | dict.fromkeys(_COLUMNS) | {"event_id": "", "event_type": ""}


def _filter(wanted: InboxFilter) -> bytes:
    resource = wanted.resource
    given = {
        "state": wanted.state,
        "category": wanted.category,
        "kind": None if resource is None else resource.kind,
        "id": None if resource is None else resource.id,
    }
    return json({name: value for name, value in given.items() if value is not None})
