"""``notifykit explain``: why an event matched a subscription or did not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from .deliveries import write
from .failures import FAILED, OK, CommandError, UsageError
from .parser import Commands
from .text import Cell, Column, fields, plain

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
        help="show who got an event, who did not, and why",
        description="Show the deliveries of an event, and for each subscription of the tenant whether it matches the "
        "event. Deliveries show what happened; verdicts are computed now, with the current subscriptions. With "
        "--recipient, show what a person was told of the event, and what would become of each step now; instead of an "
        "event, a type can be given.",
        example="notifykit explain evt_01J…\nnotifykit explain evt_01J… --recipient user:42\n"
        "notifykit explain comment.created --recipient user:42 --topic project/7",
    )
    parser.add_argument("event", metavar="EVENT", help="its id, evt_…; with --recipient also a type")
    parser.add_argument("--recipient", metavar="RECIPIENT", help="for a person, by the id of the recipient")
    parser.add_argument("--topic", metavar="TOPIC", help="with --recipient and a type: the event's topic")
    parser.add_argument("--endpoint", metavar="ENDPOINT", help="only this endpoint, end_…")


async def explain(context: Context) -> int:
    """Explain an event."""
    from . import views

    if context.args.recipient is not None:
        return await _explain_person(context)
    async with context.open() as kit:
        found = await kit.events.explain(context.args.event, tenant=context.tenant, subscriber_id=context.args.endpoint)
    found = context.shown(found)
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
    if not context.out.json:
        _tell(context, found)
    return OK


def _tell(context: Context, found: Explanation) -> None:
    """Write an explanation as text: the event, the verdict on each subscription, and the deliveries."""
    from . import views

    event = found.event
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


async def _explain_person(context: Context) -> int:
    """Explain an event or a type for a person."""
    from ..errors import InvalidInputError
    from . import views

    if context.args.endpoint is not None:
        raise UsageError("give either --endpoint or --recipient")
    async with context.open() as kit:
        try:
            found = await kit.explain(
                context.args.recipient, context.args.event, tenant=context.tenant, topic=context.args.topic
            )
        except InvalidInputError as error:
            raise CommandError(str(error), FAILED) from error
    found = context.shown(found)
    context.out.record(views.person_explanation(found))
    context.out.lines(plain(line) for line in str(found).splitlines())
    return OK


def _no_delivery(found: Explanation) -> str:
    """Return why there is no delivery; an event that is not planned may just not be due."""
    from . import views

    if found.planned:
        return "It has no deliveries: no subscription matched."
    if found.event.due_at > datetime.now(UTC):
        return f"It has no deliveries yet: it is planned when it is due, at {views.clock(found.event.due_at)}."
    return "It has no deliveries yet: no dispatcher has planned it. Start one: notifykit run"
