"""``notifykit explain``: why an event matched a subscription or did not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .deliveries import write
from .failures import OK
from .parser import Commands
from .text import Cell, Column, fields

if TYPE_CHECKING:
    from ..admin import Explanation
    from .context import Context

#: The explanation of each verdict.
MEANINGS = {
    "matched": "it matches",
    "type_mismatch": "its patterns do not match the event's type",
    "topic_mismatch": "its topic does not match the event's topic",
    "filter_mismatch": "its filter does not match the event's data",
    "subscription_disabled": "the subscription is disabled",
    "subscription_invalid": "the subscription cannot be read; create it again",
    "endpoint_disabled": "the endpoint is disabled; the delivery is recorded as suppressed",
    "endpoint_missing": "the endpoint does not exist",
    "duplicate_endpoint": "another subscription of the same endpoint matches too",
}


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.command(
        "explain",
        explain,
        help="show which endpoints got an event, which did not, and why",
        description="Show the deliveries of an event, and for each subscription of the tenant whether it matches the "
        "event. Deliveries show what happened; verdicts are computed now, with the current subscriptions.",
        example="notifykit explain evt_01J…",
    )
    parser.add_argument("event", metavar="EVENT", help="its id, evt_…")
    parser.add_argument("--endpoint", metavar="ENDPOINT", help="only this endpoint, end_…")


async def explain(context: Context) -> int:
    """Explain an event."""
    from . import views

    async with context.open() as kit:
        found = await kit.events.explain(context.args.event, tenant=context.tenant, subscriber_id=context.args.endpoint)
    event = found.event
    context.out.record(
        {
            "event": views.event(event),
            "planned": found.planned,
            "deliveries": [views.delivery(delivery) for delivery in found.deliveries],
            "verdicts": [
                {"subscription": views.subscription(subscription), "verdict": str(verdict)}
                for subscription, verdict in found.verdicts
            ],
        }
    )
    if context.out.json:
        return OK
    context.out.lines(
        fields(
            {
                "event": event.id,
                "type": event.type,
                "topic": event.topic,
                "resource": f"{event.resource_kind}:{event.resource_id}" if event.resource_kind else None,
                "published": views.clock(event.published_at),
                "expires": None if event.expires_at is None else views.clock(event.expires_at),
                "planned": "yes" if found.planned else f"not yet, due {views.clock(event.due_at)}",
            }
        )
    )
    context.out.line()
    rows = [
        (
            subscription.id,
            subscription.subscriber_id,
            Cell(str(verdict), "green" if verdict == "matched" else None),
            views.conditions(subscription),
            MEANINGS.get(str(verdict), ""),
        )
        for subscription, verdict in found.verdicts
    ]
    columns = [
        Column("SUBSCRIPTION"),
        Column("ENDPOINT"),
        Column("VERDICT"),
        Column("CONDITIONS", wraps=True),
        Column("MEANING", wraps=True),
    ]
    if rows:
        context.out.rows([], columns, rows)
    else:
        owner = "The tenant" if context.args.endpoint is None else "The endpoint"
        context.out.line(f"{owner} has no subscriptions.")
    context.out.line()
    if found.deliveries:
        write(context, found.deliveries)
    else:
        context.out.line(_no_delivery(found))
    return OK


def _no_delivery(found: Explanation) -> str:
    """Return why there is no delivery; an event that is not planned may just not be due."""
    from . import views

    if found.planned:
        return "It has no deliveries: no subscription matched."
    if found.event.due_at > datetime.now(UTC):
        return f"It has no deliveries yet: it is planned when it is due, at {views.clock(found.event.due_at)}."
    return "It has no deliveries yet: no dispatcher has planned it. Start one: notifykit run"
