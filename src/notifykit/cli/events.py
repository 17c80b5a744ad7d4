"""``notifykit events``: list and show published events."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from . import inputs
from .deliveries import write
from .failures import OK
from .paging import collect, note_more
from .parser import Commands
from .text import Column, fields, plain

if TYPE_CHECKING:
    from ..kit import Notifykit
    from ..models.event import StoredEvent
    from .context import Context

#: Deliveries that ``show`` lists at the most.
_SHOWN = 100


def add(commands: Commands) -> None:
    """Add the commands."""
    group = commands.group("events", help="published events: list, show with the payload")
    parser = group.command(
        "list",
        list_,
        help="list events, newest first",
        description="List the tenant's events, newest first. With --json each event includes its payload.",
        example="notifykit events list --type order.shipped --limit 20\nnotifykit events list --since -1h --json",
    )
    parser.add_argument("--type", metavar="TYPE", help="only events of this type")
    parser.add_argument(
        "--since", type=inputs.past_time, metavar="TIME", help="published at or after: 2026-01-31T09:00Z or -2h"
    )
    parser.add_argument("--limit", type=inputs.positive, default=50, help="how many at the most (50)")
    parser = group.command(
        "show",
        show,
        help="show one event with its payload and its deliveries",
        description="Show an event with its payload, its metadata and its deliveries.",
        example="notifykit events show evt_01J…",
    )
    parser.add_argument("event", metavar="EVENT", help="its id, evt_…")


async def list_(context: Context) -> int:
    """List events."""
    from . import views

    limit = context.args.limit
    async with context.open() as kit:
        found, more = await collect(lambda size, before: _page(kit, context, size, before), limit)
    columns = [Column("EVENT"), Column("TYPE"), Column("PUBLISHED"), Column("BYTES", right=True), Column("TOPIC")]
    rows = [(e.id, e.type, views.clock(e.published_at), len(e.body), e.topic) for e in found]
    if not found:
        context.out.line(f"Tenant {plain(context.tenant)} has no matching events.")
    context.out.rows(map(views.event, found), columns, rows)
    note_more(context.out, more, limit)
    return OK


async def _page(kit: Notifykit, context: Context, size: int, before: str | None) -> list[StoredEvent]:
    """Return a page; the first event that is too old ends the list, since the newest come first."""
    args = context.args
    page = await kit.events.list(tenant=context.tenant, type=args.type, limit=size, before=before)
    return [event for event in page if args.since is None or event.published_at >= args.since]


async def show(context: Context) -> int:
    """Show an event."""
    from ..ports import DeliveryFilter
    from . import views

    async with context.open() as kit:
        event = await kit.events.get(context.args.event, tenant=context.tenant)
        deliveries = await kit.deliveries.list(DeliveryFilter(event_id=event.id), tenant=context.tenant, limit=_SHOWN)
    deliveries = context.shown(deliveries)
    record = views.event(event)
    context.out.record({**record, "deliveries": [views.delivery(delivery) for delivery in deliveries]})
    if context.out.json:
        return OK
    context.out.lines(fields(_fields(event, record)))
    context.out.line()
    context.out.lines(plain(line) for line in json.dumps(record["data"], ensure_ascii=False, indent=2).splitlines())
    context.out.line()
    if deliveries:
        write(context, deliveries)
    else:
        context.out.line(f"It has no deliveries; to see why: notifykit explain {event.id}")
    note_more(context.out, len(deliveries) == _SHOWN, _SHOWN)
    return OK


def _fields(event: StoredEvent, record: dict[str, Any]) -> dict[str, object]:
    from . import views

    shown: dict[str, object] = {
        "event": event.id,
        "type": event.type if event.version == 1 else f"{event.type}, version {event.version}",
        "topic": event.topic,
        "resource": f"{event.resource_kind}:{event.resource_id}" if event.resource_kind else None,
        "actor": event.actor,
        "priority": event.priority.value,
        "ordering key": event.ordering_key,
        "idempotency key": event.idempotency_key,
        "trace": event.trace,
        "occurred": views.clock(event.occurred_at),
        "published": views.clock(event.published_at),
        "due": None if event.due_at == event.published_at else views.clock(event.due_at),
        "expires": None if event.expires_at is None else views.clock(event.expires_at),
    }
    return shown | {f"metadata {name}": value for name, value in record["metadata"].items()}
