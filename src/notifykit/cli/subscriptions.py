"""``notifykit subscriptions``: which endpoints and addresses get which events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import inputs
from .failures import OK, UsageError
from .paging import collect, note_more
from .parser import Commands, Parser
from .text import Cell, Column, fields, plain

if TYPE_CHECKING:
    from ..policies.unmatchable import SubscriptionWarning
    from .context import Context
    from .output import Output


def add(commands: Commands) -> None:
    """Add the commands."""
    group = commands.group("subscriptions", help="which endpoints get which events: create, change, delete")
    parser = group.command(
        "list",
        list_,
        help="list the tenant's subscriptions",
        description="List the tenant's subscriptions, oldest first.",
        example="notifykit subscriptions list --endpoint end_01J…",
    )
    parser.add_argument("--endpoint", metavar="ENDPOINT", help="only those of one endpoint")
    parser.add_argument("--recipient", metavar="RECIPIENT", help="only those of one recipient")
    parser.add_argument("--limit", type=inputs.positive, default=100, help="how many at the most (100)")
    parser = group.command(
        "create",
        create,
        help="subscribe an endpoint, a recipient, or an address of another channel, to events",
        description="Subscribe an endpoint, a recipient, or an address of another channel, to events. In a pattern, * "
        "matches one word and ** any number of words.",
        example="notifykit subscriptions create order.shipped 'invoice.*' --endpoint end_01J… --topic 'shop/7/**'\n"
        "notifykit subscriptions create 'order.**' --endpoint end_01J… "
        """--filter '{"total": [{"numeric": [">=", 100]}]}'""",
    )
    parser.add_argument("events", nargs="+", metavar="PATTERN", help="order.shipped, order.*, order.**, **")
    parser.add_argument("--endpoint", metavar="ENDPOINT", help="the endpoint that gets them, end_…")
    parser.add_argument("--recipient", metavar="RECIPIENT", help="a person, by the id of the recipient")
    parser.add_argument("--channel", default="webhook", metavar="NAME", help="another channel (see NOTIFYKIT_CHANNELS)")
    parser.add_argument("--subscriber", metavar="ID", help="on another channel, your own id of the subscriber: room:5")
    parser.add_argument("--address", metavar="ADDRESS", help="on another channel, the address of the subscriber")
    _add_conditions(parser)
    for name, handler, help in (
        ("show", show, "show one subscription"),
        ("delete", delete, "delete a subscription; existing deliveries stay"),
    ):
        parser = group.command(
            name,
            handler,
            help=help,
            description=help[0].upper() + help[1:] + ".",
            example=f"notifykit subscriptions {name} sub_01J…",
        )
        parser.add_argument("subscription", metavar="SUBSCRIPTION", help="its id, sub_…")
    parser = group.command(
        "update",
        update,
        help="change a subscription",
        description="Change the given settings and keep the others. Changes apply from the next event on.",
        example="notifykit subscriptions update sub_01J… --events 'order.**' --no-filter",
    )
    parser.add_argument("subscription", metavar="SUBSCRIPTION", help="its id, sub_…")
    parser.add_argument("--events", action="append", metavar="PATTERN", help="the new patterns; repeatable")
    _add_conditions(parser)
    parser.add_argument("--no-topic", action="store_true", help="match events of any topic")
    parser.add_argument("--no-filter", action="store_true", help="match events with any data")
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--enable", action="store_const", const=True, dest="enabled", help="match events again")
    either.add_argument("--disable", action="store_const", const=False, dest="enabled", help="match nothing")


def _add_conditions(parser: Parser) -> None:
    parser.add_argument("--topic", metavar="PATTERN", help="only topics like shop/7/**")
    parser.add_argument("--filter", metavar="JSON", help="conditions on the data; also @FILE or - for stdin")
    parser.add_argument("--description", metavar="TEXT", help="for people")


async def list_(context: Context) -> int:
    """List subscriptions."""
    from . import views

    args = context.args
    async with context.open() as kit:
        found, more = await collect(
            lambda size, after: kit.subscriptions.list(
                tenant=context.tenant, endpoint_id=args.endpoint, recipient=args.recipient, limit=size, after=after
            ),
            args.limit,
        )
    found = context.shown(found)
    columns = [Column("SUBSCRIPTION"), Column("STATE"), Column("SUBSCRIBER"), Column("EVENTS", wraps=True)]
    rows = [
        (s.id, Cell("on", "green") if s.enabled else Cell("off", "red"), s.subscriber_id, views.conditions(s))
        for s in found
    ]
    if not found:
        context.out.line(f"Tenant {plain(context.tenant)} has no such subscriptions.")
    context.out.rows(map(views.subscription, found), columns, rows)
    note_more(context.out, more, args.limit)
    return OK


async def create(context: Context) -> int:
    """Create a subscription."""
    from . import views

    args = context.args
    if args.endpoint is None and args.recipient is None and args.channel == "webhook":
        raise UsageError("give --endpoint or --recipient; for another channel --channel, --subscriber and --address")
    async with context.open() as kit:
        subscription = await kit.subscriptions.create(
            args.events,
            tenant=context.tenant,
            endpoint_id=args.endpoint,
            recipient=args.recipient,
            subscriber=args.subscriber,
            channel=args.channel,
            address=args.address,
            topic=args.topic,
            filter=None if args.filter is None else inputs.read_object(args.filter, "--filter"),
            description=args.description or "",
        )
        warnings = await kit.subscriptions.warnings(subscription.id, tenant=context.tenant)
    subscription = context.shown(subscription)
    context.out.answer(
        views.subscription(subscription, warnings),
        f"{subscription.id}: {subscription.subscriber_id} gets {plain(views.conditions(subscription))}",
    )
    note_warnings(context.out, warnings)
    return OK


def note_warnings(out: Output, warnings: Sequence[SubscriptionWarning]) -> None:
    """Write why a subscription can probably never match; in JSON mode the record has the warnings too."""
    for warning in warnings:
        out.note(f"notifykit: warning: no event can match this: {warning.path}: {plain(warning.text)}")


async def show(context: Context) -> int:
    """Show a subscription."""
    from . import views

    async with context.open() as kit:
        subscription = await kit.subscriptions.get(context.args.subscription, tenant=context.tenant)
        warnings = await kit.subscriptions.warnings(subscription.id, tenant=context.tenant)
    subscription = context.shown(subscription)
    context.out.record(views.subscription(subscription, warnings))
    context.out.lines(fields(views.subscription_fields(subscription)))
    note_warnings(context.out, warnings)
    return OK


async def update(context: Context) -> int:
    """Change a subscription."""
    from . import views

    args = context.args
    if (args.topic and args.no_topic) or (args.filter and args.no_filter):
        raise UsageError("a condition cannot be set and removed at the same time; give one of the two options")
    changes: dict[str, Any] = {
        "event_types": args.events,
        "topic": args.topic,
        "filter": None if args.filter is None else inputs.read_object(args.filter, "--filter"),
        "description": args.description,
        "enabled": args.enabled,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    given |= {name: None for name, remove in (("topic", args.no_topic), ("filter", args.no_filter)) if remove}
    if not given:
        raise UsageError("nothing to change; see: notifykit subscriptions update --help")
    async with context.open() as kit:
        subscription = await kit.subscriptions.update(args.subscription, tenant=context.tenant, **given)
        warnings = await kit.subscriptions.warnings(subscription.id, tenant=context.tenant)
    subscription = context.shown(subscription)
    state = "" if subscription.enabled else " (disabled)"
    context.out.answer(
        views.subscription(subscription, warnings),
        f"{subscription.id} updated: {plain(views.conditions(subscription))}{state}",
    )
    note_warnings(context.out, warnings)
    return OK


async def delete(context: Context) -> int:
    """Delete a subscription."""
    subscription_id = context.args.subscription
    async with context.open() as kit:
        await kit.subscriptions.delete(subscription_id, tenant=context.tenant)
    context.out.answer({"id": subscription_id, "deleted": True}, f"{subscription_id} deleted")
    return OK
