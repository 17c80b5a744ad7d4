"""Items of inboxes as rows, with their content encrypted where the store encrypts payloads."""

from __future__ import annotations

import json
import logging
from typing import Any

from ...codec import dumps
from ...errors import VaultError
from ...models.event import Resource
from ...models.inbox import InboxItem, InboxMarks, UnreadableInboxItem
from ...vault.ring import is_encrypted
from .encryption import Encryption, item_context
from .readable import DAMAGED, MAX_COLUMN
from .rows import EPOCH, NamedRow, Row, instant, instant_or_none, micros, micros_or_none

_log = logging.getLogger("notifykit")


def item_values(item: InboxItem, encryption: Encryption) -> dict[str, Any]:
    """Return the columns of ``inbox_items`` that an item starts with, but for its numbers."""
    content = _written([item.title, item.body, item.url, item.data])
    if encryption.payloads:
        at = item_context(item.tenant, item.recipient, item.id)
        content = encryption.vault.ring.encrypt_bytes(content, context=at)
    return {
        "tenant": item.tenant,
        "recipient": item.recipient,
        "id": item.id,
        "event_id": item.event_id,
        "event_type": item.event_type,
        "category": item.category,
        "resource_kind": None if item.resource is None else item.resource.kind,
        "resource_id": None if item.resource is None else item.resource.id,
        "content": content,
        "created_at": micros(item.created_at),
        **marks_values(item.marks),
    }


def _written(content: list[Any]) -> bytes:
    try:
        return dumps(content, is_finite=True)  # the channel has looked
    except TypeError:  # a text with half of a surrogate pair, which escapes can keep
        return json.dumps(content, default=dict).encode()


def item_from(row: Row, encryption: Encryption) -> InboxItem:
    """Return the item of a row, or its stand-in."""
    its = {name: row[name] for name in ("id", "tenant", "recipient", "event_id", "number", "change")}
    try:
        title, body, url, data = json.loads(_content(row, encryption))
        return InboxItem(
            **its,
            event_type=row["event_type"],
            category=row["category"],
            resource=None if row["resource_kind"] is None else Resource(row["resource_kind"], row["resource_id"]),
            title=title,
            body=body,
            url=url,
            data=data,
            created_at=instant(row["created_at"]),
            marks=marks_from(row),
        )
    except (VaultError, *DAMAGED) as error:
        _log.error("inbox_item.unreadable id=%s tenant=%r error=%s", row["id"], row["tenant"], type(error).__name__)
        return UnreadableInboxItem(**its, event_type=str(row["event_type"]), title="", created_at=EPOCH)


def _content(row: Row, encryption: Encryption) -> bytes:
    content = bytes(row["content"])
    if len(content) > MAX_COLUMN:
        raise ValueError(f"the content has {len(content)} bytes")
    if not is_encrypted(content):
        return content
    return encryption.vault.ring.open_bytes(content, context=item_context(row["tenant"], row["recipient"], row["id"]))


def marks_values(marks: InboxMarks) -> dict[str, int | None]:
    """Return the columns of marks."""
    return {name: micros_or_none(at) for name, at in marks._asdict().items()}


def marks_from(row: NamedRow) -> InboxMarks:
    """Return the marks of a row."""
    return InboxMarks(*(instant_or_none(row[name]) for name in InboxMarks._fields))
