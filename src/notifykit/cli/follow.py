"""``notifykit follow``: show changes of deliveries as they happen."""

from __future__ import annotations

import asyncio
import shutil
import sys
from datetime import timedelta
from typing import TYPE_CHECKING

from . import inputs
from .deliveries import STATES, attempt_text
from .failures import OK
from .parser import Commands
from .text import plain, styled, wrapped

if TYPE_CHECKING:
    from ..admin.changes import Change, Changes, Cursor
    from ..kit import Notifykit
    from ..ports import DeliveryFilter
    from .context import Context

POLL = timedelta(seconds=1)


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.command(
        "follow",
        follow,
        help="show attempts as they are made, until Ctrl-C",
        description="Show changes of the tenant's deliveries from now on: each attempt with its outcome, and "
        "deliveries that are held, suppressed, cancelled or expired. Stop with Ctrl-C. For past deliveries see: "
        "notifykit deliveries list.",
        example="notifykit follow --tenant acme\nnotifykit follow --endpoint end_01J… --state dead --json",
    )
    parser.add_argument("--endpoint", metavar="ENDPOINT", help="only those to one endpoint, end_…")
    parser.add_argument("--event", metavar="EVENT", help="only those of one event, evt_…")
    parser.add_argument("--type", metavar="TYPE", help="only events of this type")
    parser.add_argument(
        "--state",
        action="append",
        choices=STATES,
        help="only changes to this state; repeatable",
    )
    parser.add_argument(
        "--poll", type=inputs.duration, default=POLL, metavar="TIME", help="how often to ask the store (1s)"
    )
    parser.add_argument("--count", type=inputs.positive, metavar="N", help="stop after N lines")


async def follow(context: Context) -> int:
    """Poll the store and show the changes since the last poll."""
    from ..models.delivery import DeliveryState
    from ..ports import DeliveryFilter

    args = context.args
    wanted = DeliveryFilter(
        states=None if args.state is None else frozenset(map(DeliveryState, args.state)),
        subscriber_id=args.endpoint,
        event_id=args.event,
        event_type=args.type,
    )
    shown = 0
    noted = False
    async with context.open() as kit:
        cursor = (await kit.deliveries.changes(tenant=context.tenant, wanted=wanted)).cursor
        context.out.note(f"notifykit: following tenant {plain(context.tenant)}; Ctrl-C to stop")
        while True:
            await asyncio.sleep(args.poll.total_seconds())
            found = await _look(context, kit, cursor, wanted)
            if found is None:
                continue
            cursor = found.cursor
            for change in found.changes:
                _show(context, change)
                shown += 1
                if shown == args.count:
                    return OK
            if not found.complete and not noted:
                noted = True
                context.out.note("notifykit: there are very many deliveries; only the newest are shown")


async def _look(context: Context, kit: Notifykit, cursor: Cursor, wanted: DeliveryFilter) -> Changes | None:
    """Return the changes, or ``None`` if the database is unavailable; the next poll tries again."""
    from ..errors import StoreUnavailableError

    try:
        return await kit.deliveries.changes(cursor, tenant=context.tenant, wanted=wanted)
    except StoreUnavailableError as error:
        context.out.note(f"notifykit: {plain(error)}; trying again")
        return None


def _show(context: Context, change: Change) -> None:
    from . import views

    delivery, attempt = context.shown(change)
    if context.out.json:
        shown = None if attempt is None else views.attempt(attempt)
        context.out.record({"delivery": views.delivery(delivery), "attempt": shown})
        return
    state = f"{delivery.state.value} ({delivery.reason})" if delivery.reason else delivery.state.value
    if attempt is None:
        at, what, style = delivery.finished_at or delivery.created_at, state, views.state(delivery.state).style
    else:
        accepted = attempt.outcome == "accepted"
        at, style = attempt.started_at + attempt.took, "green" if accepted else "red"
        ends = f" -> {state}" if delivery.state.is_final and not accepted else ""
        what = f"attempt {attempt.number} {attempt_text(attempt)}{ends}"
    said = "  ".join([views.clock(at, millis=True), what, delivery.event_type, delivery.id, delivery.subscriber_id])
    room = shutil.get_terminal_size().columns - 2 if sys.stdout.isatty() else sys.maxsize
    first, *rest = wrapped(plain(said), room)
    context.out.line(styled(first, style))
    context.out.lines(f"  {line.strip()}" for line in rest)
