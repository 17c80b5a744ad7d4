"""Helpers of the tests of templates: one event, one person, one rendering."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import attrs

from notifykit.codec import dumps
from notifykit.models.delivery import Claim, Collected, DigestItem, EventDetails, Priority
from notifykit.models.destination import Destination
from notifykit.models.messages import Message
from notifykit.ports import Renderer
from notifykit.templates import Templates

NOW = datetime(2026, 3, 28, 22, 30, tzinfo=UTC)


@attrs.frozen(kw_only=True)
class Ada:
    """A person as renderers know them."""

    id: str = "user:42"
    name: str | None = "Ada"
    locale: str | None = None
    zone: str | None = None
    traits: Mapping[str, Any] = attrs.field(factory=dict)


def claim(channel: str, data: object, event_type: str = "order.shipped", **changes: Any) -> Claim:
    """Return the claim of a delivery of an event."""
    made = Claim(
        delivery_id="dlv_1",
        fence=1,
        attempt=1,
        tries=0,
        abandoned=0,
        tenant="acme",
        event_id="evt_1",
        event_type=event_type,
        subscription_id="sub_1",
        subscriber_id="user:42",
        channel=channel,
        priority=Priority.NORMAL,
        ordering_key=None,
        published_at=NOW,
        expires_at=None,
        lease_until=NOW,
        body=dumps({"type": event_type, "timestamp": "2026-03-28T22:00:00Z", "data": data}),
        version=1,
        address="ada@example.org",
        details=EventDetails(actor="user:7", metadata='{"source": "shop"}'),
    )
    return made._replace(**changes)


def digest(channel: str, *data: object, total: int | None = None) -> Claim:
    """Return the claim of a digest that has collected events with such data."""
    items = tuple(
        DigestItem(
            delivery_id=f"dlv_{number}",
            event_id=f"evt_{number}",
            event_type="comment.created",
            published_at=NOW,
            body=dumps({"type": "comment.created", "timestamp": "2026-03-28T22:00:00Z", "data": each}),
        )
        for number, each in enumerate(data)
    )
    collected = Collected(len(items) if total is None else total, items)
    return claim(channel, data[0], "comment.created", digest="comments", collected=collected)


def to(person: object, channel: str = "email") -> Destination:
    """Return where the messages of a person go."""
    return Destination(
        subscriber_id="user:42", tenant="acme", channel=channel, address="ada@example.org", config=person
    )


def message(renderer: Renderer, channel: str, data: object = (), person: object = None, **changes: Any) -> Any:
    """Render one message."""
    given = person or Ada()
    made: Message = renderer.render(claim(channel, dict(data), **changes), to(given, channel), now=NOW)  # type: ignore[call-overload]
    return made


def rendered(
    source: str,
    data: object = (),
    *,
    html: bool = False,
    person: object = None,
    files: Mapping[str, str] | None = None,
) -> str:
    """Return what one template makes of data; ``files`` are others beside it."""
    sources = {"order.shipped/email.html" if html else "order.shipped/chat.txt": source}
    made = message(Templates(sources | dict(files or {})), "email" if html else "chat", data, person)
    return str(made.html if html else made.text)
