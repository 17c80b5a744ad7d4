"""``notifykit explain``: who got an event, who did not, and why."""

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

#: What the verdicts mean, for people.
MEANINGS = {
    "matched": "gets it",
    "type_mismatch": "its patterns do not match the event's type",
    "topic_mismatch": "its topic does not match the event's topic",
    "filter_mismatch": "its filter does not match the event's data",
    "subscription_disabled": "the subscription is disabled",
    "subscription_invalid": "the subscription cannot be read; write it again",
    "endpoint_disabled": "the endpoint is disabled; the delivery is recorded as suppressed",
    "endpoint_missing": "the endpoint does not exist any more",
    "duplicate_endpoint": "the endpoint gets it already through another subscription",
}


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.command(
        "explain",
        explain,
        help="say who got an event, who did not, and why",
        description="Say who got an event and who did not. The deliveries are what happened; the verdicts are what "
        "each subscription of the tenant says to the event as it is now.",
        example="notifykit explain evt_01J…",
    )
    parser.add_argument("event", metavar="EVENT", help="its id, evt_…")
    parser.add_argument("--endpoint", metavar="ENDPOINT", help="only what concerns this endpoint, end_…")


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
        Column("WANTS", wraps=True),
        Column("MEANING", wraps=True),
    ]
    if rows:
        context.out.rows([], columns, rows)
    else:
        whose = "The tenant" if context.args.endpoint is None else "That endpoint"
        context.out.line(f"{whose} has no subscriptions.")
    context.out.line()
    if found.deliveries:
        write(context, found.deliveries)
    else:
        context.out.line(_no_delivery(found))
    return OK


def _no_delivery(found: Explanation) -> str:
    """Return why there is no delivery: not every event that has not been planned lacks a dispatcher."""
    from . import views

    if found.planned:
        return "No endpoint got it."
    if found.event.due_at > datetime.now(UTC):
        return f"Nothing is planned before it is due, at {views.clock(found.event.due_at)}."
    return "Nothing was planned yet; does a dispatcher run?"
