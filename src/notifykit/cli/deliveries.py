"""``notifykit deliveries``: list, show and cancel deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from . import inputs
from .failures import OK, UsageError
from .paging import collect, note_more
from .parser import Commands, Parser
from .text import Cell, Column, cut, fields, plain, table

if TYPE_CHECKING:
    from ..models.delivery import Attempt, Delivery
    from ..models.event import StoredEvent
    from ..models.receipt import ProviderReceipt
    from ..ports import DeliveryFilter
    from .context import Context

#: What chooses deliveries to cancel, as options and as parameters.
_CHOSEN = {"event": "event_id", "key": "key", "recipient": "recipient", "type": "type", "category": "category"}
STATES = ("pending", "sending", "held", "delivered", "dead", "cancelled", "expired", "suppressed")


def add(commands: Commands) -> None:
    """Add the commands."""
    group = commands.group("deliveries", help="deliveries of events: list, show the timeline, cancel")
    parser = group.command(
        "list",
        list_,
        help="list deliveries, newest first",
        description="List the tenant's deliveries, newest first.",
        example="notifykit deliveries list --state pending --state dead --since -2h\n"
        "notifykit deliveries list --endpoint end_01J… --type order.shipped --json",
    )
    parser.add_argument("--state", action="append", choices=STATES, help="only in this state; repeatable")
    parser.add_argument("--event", metavar="EVENT", help="only those of one event, evt_…")
    add_filter(parser)
    parser = group.command(
        "show",
        show,
        help="show one delivery's timeline",
        description="Show the timeline of a delivery: published, planned, each attempt with its outcome, and the final "
        "state.",
        example="notifykit deliveries show dlv_01J…",
    )
    parser.add_argument("delivery", metavar="DELIVERY", help="its id, dlv_…")
    parser = group.command(
        "cancel",
        cancel,
        help="cancel waiting deliveries",
        description="Cancel waiting deliveries (pending or held): by their ids, all of an event, or all for a "
        "recipient. By id, a delivery that is being sent, or has ended, is not changed and is an error. An event that "
        "is not planned yet, such as a scheduled one, is cancelled as a whole. 'notifykit dead redrive DELIVERY' sends "
        "a cancelled delivery after all.",
        example="notifykit deliveries cancel dlv_01J… dlv_01K…\n"
        "notifykit deliveries cancel --key invoice-7-reminder\n"
        "notifykit deliveries cancel --recipient user:42 --category comments",
    )
    parser.add_argument("deliveries", nargs="*", metavar="DELIVERY", help="their ids, dlv_…")
    parser.add_argument("--event", metavar="EVENT", help="all that waits of an event, evt_…")
    parser.add_argument("--key", metavar="KEY", help="all that waits of the event with this idempotency key")
    parser.add_argument("--recipient", metavar="RECIPIENT", help="all that waits for a recipient")
    parser.add_argument("--type", metavar="TYPE", help="with --recipient: only events of this type")
    parser.add_argument("--category", metavar="CATEGORY", help="with --recipient: only types of this category")


def add_filter(parser: Parser, *, limit: bool = True) -> None:
    """Add the options that select deliveries."""
    parser.add_argument("--endpoint", metavar="ENDPOINT", help="only those to one endpoint, end_…")
    parser.add_argument("--type", metavar="TYPE", help="only events of this type")
    parser.add_argument(
        "--since", type=inputs.past_time, metavar="TIME", help="planned at or after: 2026-01-31T09:00Z or -2h"
    )
    parser.add_argument("--until", type=inputs.past_time, metavar="TIME", help="planned before")
    if limit:
        parser.add_argument("--limit", type=inputs.positive, default=50, help="how many at the most (50)")


def filter_of(args: Any, states: Sequence[str] | None) -> DeliveryFilter:
    """Return the filter that the options describe."""
    from ..models.delivery import DeliveryState
    from ..ports import DeliveryFilter

    return DeliveryFilter(
        states=None if states is None else frozenset(map(DeliveryState, states)),
        subscriber_id=args.endpoint,
        event_id=getattr(args, "event", None),
        event_type=args.type,
        since=args.since,
        until=args.until,
    )


async def list_(context: Context) -> int:
    """List deliveries."""
    found, more = await find(context, filter_of(context.args, context.args.state))
    if not found:
        context.out.line(f"Tenant {plain(context.tenant)} has no matching deliveries.")
    write(context, found)
    note_more(context.out, more, context.args.limit)
    return OK


async def find(context: Context, wanted: DeliveryFilter) -> tuple[list[Delivery], bool]:
    """Return matching deliveries up to the limit, and whether there are more."""
    async with context.open() as kit:
        found, more = await collect(
            lambda size, before: kit.deliveries.list(wanted, tenant=context.tenant, limit=size, before=before),
            context.args.limit,
        )
    return context.shown(found), more


def write(context: Context, found: Sequence[Delivery]) -> None:
    """Write deliveries as a table or as JSON lines."""
    from . import views

    columns = [
        Column("DELIVERY"),
        Column("STATE"),
        Column("EVENT TYPE"),
        Column("ENDPOINT"),
        Column("ATTEMPTS", right=True),
        Column("WHEN"),
        Column("REASON"),
    ]
    rows: list[tuple[object, ...]] = [
        (
            d.id,
            views.state(d.state),
            d.event_type,
            d.subscriber_id,
            d.attempts,
            _when(d),
            d.reason,
        )
        for d in found
    ]
    if any(d.receipt for d in found):  # of messages to people
        columns.append(Column("RECEIPT"))
        rows = [(*row, d.receipt) for row, d in zip(rows, found, strict=True)]
    context.out.rows(map(views.delivery, found), columns, rows)


def _when(delivery: Delivery) -> str:
    from . import views

    if delivery.finished_at is not None:
        return views.clock(delivery.finished_at)
    return f"due {views.clock(delivery.due_at)}"


async def show(context: Context) -> int:
    """Show a delivery's timeline."""
    from ..errors import NotFoundError
    from . import views

    delivery_id, tenant = context.args.delivery, context.tenant
    async with context.open() as kit:
        delivery = await kit.deliveries.get(delivery_id, tenant=tenant)
        attempts = await kit.deliveries.attempts(delivery_id, tenant=tenant)
        event: StoredEvent | None
        try:
            event = await kit.events.get(delivery.event_id, tenant=tenant)
        except NotFoundError:
            event = None  # deleted after the retention
    delivery, attempts = context.shown((delivery, attempts))
    context.out.record(
        {
            **views.delivery(delivery),
            "published_at": None if event is None else views.instant(event.published_at),
            "timeline": [views.attempt(attempt) for attempt in attempts],
        }
    )
    if context.out.json:
        return OK
    context.out.lines(
        fields(
            {
                "delivery": delivery.id,
                "state": delivery.state.value + (f" ({delivery.reason})" if delivery.reason else ""),
                "event": f"{delivery.event_id} ({delivery.event_type})",
                "receipt": delivery.receipt,
                "endpoint": delivery.subscriber_id,
                "subscription": delivery.subscription_id,
                "redriven": f"{delivery.generation} times" if delivery.generation else None,
            }
        )
    )
    context.out.line()
    context.out.lines(timeline(delivery, attempts, event))
    return OK


async def cancel(context: Context) -> int:
    """Cancel deliveries in order; stop with an error at the first one that cannot be cancelled."""
    args = context.args
    chosen = {parameter: getattr(args, option) for option, parameter in _CHOSEN.items()}
    if bool(args.deliveries) == any(value is not None for value in chosen.values()):
        raise UsageError("which deliveries is not clear; give ids, or --event, --key or --recipient")
    async with context.open() as kit:
        if not args.deliveries:
            count = await kit.deliveries.cancel_all(tenant=context.tenant, **chosen)
            context.out.answer({"cancelled": count}, f"{count} cancelled")
        for delivery_id in args.deliveries:
            await kit.deliveries.cancel(delivery_id, tenant=context.tenant)
            context.out.answer({"id": delivery_id, "state": "cancelled"}, f"{delivery_id} cancelled")
    return OK


def timeline(delivery: Delivery, attempts: Sequence[Attempt], event: StoredEvent | None) -> list[str]:
    """Return the lines of a delivery's timeline."""
    from . import views

    rows: list[tuple[datetime | None, object, object]] = []
    if event is not None:
        rows.append((event.published_at, "published", f"{event.type}, {len(event.body)} bytes"))
    where = "" if delivery.address is None else f" at {plain(delivery.address)}"
    rows.append((delivery.created_at, "planned", f"for {delivery.subscriber_id}{where}"))
    rows += [(attempt.started_at, _attempt_cell(attempt), attempt_text(attempt)) for attempt in attempts]
    if delivery.finished_at is not None:
        rows.append((delivery.finished_at, views.state(delivery.state), delivery.reason or ""))
    else:
        rows.append((delivery.due_at, views.state(delivery.state), delivery.reason or "the next attempt may start"))
    receipts = [receipt for attempt in attempts for receipt in attempt.receipts]
    rows += [(each.at, _receipt_cell(each), _receipt_text(each)) for each in sorted(receipts, key=lambda each: each.at)]
    first = rows[0][0]
    shown = []
    for at, what, text in rows:
        after = "" if at is None or first is None else f"+{views.span(at - first)}"
        shown.append((views.clock(at, millis=True), after, what, text))
    return table([Column("TIME"), Column("AFTER", right=True), Column("WHAT"), Column("", wraps=True)], shown)


def _attempt_cell(attempt: Attempt) -> Cell:
    return Cell(f"attempt {attempt.number}", "green" if attempt.outcome == "accepted" else "red")


def _receipt_cell(receipt: ProviderReceipt) -> Cell:
    from ..models.receipt import ReceiptKind

    failed = receipt.kind in (ReceiptKind.BOUNCED, ReceiptKind.FAILED, ReceiptKind.COMPLAINED)
    return Cell(receipt.kind.value, "red" if failed else "green")


def _receipt_text(receipt: ProviderReceipt) -> str:
    """Return what a provider has reported, on one line, without the address."""
    parts = [f"reported by {plain(receipt.provider)}"]
    if receipt.code is not None:
        parts.append(plain(receipt.code))
    if receipt.permanent:
        parts.append("there is no such address")
    return ", ".join(parts)


def attempt_text(attempt: Attempt) -> str:
    """Return the result of an attempt, on one line."""
    from . import views

    parts = [attempt.outcome]
    if attempt.reason and attempt.reason != f"http_{attempt.status}":
        parts.append(attempt.reason)
    if attempt.status is not None:
        parts.append(f"http {attempt.status}")
    parts.append(f"in {views.span(attempt.took)}")
    if attempt.account is not None:
        parts.append(f"over {plain(attempt.account)}")
    if attempt.cost is not None:
        parts.append(f"cost {attempt.cost.normalize():f}")
    if attempt.reference is not None:
        parts.append(f"reference {cut(plain(attempt.reference), 100)}")
    if attempt.retry_at is not None:
        parts.append(f"retry at {views.clock(attempt.retry_at, millis=True)}")
    if attempt.outcome != "accepted" and attempt.response.strip():
        parts.append(f"response: {cut(plain(attempt.response.decode('utf-8', 'replace').strip()), 200)}")
    return ", ".join(parts)
