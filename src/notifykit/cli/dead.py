"""``notifykit dead`` and ``notifykit recover``: list deliveries that did not arrive, and send them again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import inputs
from .deliveries import add_filter, filter_of, find, write
from .failures import FAILED, OK, CommandError, UsageError
from .paging import note_more
from .parser import Commands
from .text import plain

if TYPE_CHECKING:
    from .context import Context


def add(commands: Commands) -> None:
    """Add the commands."""
    group = commands.group("dead", help="dead letters: list them, send them again")
    parser = group.command(
        "list",
        list_,
        help="list dead letters, newest first",
        description="List the tenant's dead letters, newest first: deliveries that are not retried any more.",
        example="notifykit dead list --since -1d\nnotifykit dead list --fail-if-any --json",
    )
    add_filter(parser)
    parser.add_argument("--fail-if-any", action="store_true", help="exit with 1 if there are any; for monitoring")
    parser = group.command(
        "redrive",
        redrive,
        help="send dead letters again",
        description="Send dead letters again, with the same id and the same bytes; the retry schedule starts again. "
        "By id, any ended delivery can be sent again.",
        example="notifykit dead redrive dlv_01J… dlv_01K…\n"
        "notifykit dead redrive --all --endpoint end_01J… --since -6h",
    )
    parser.add_argument("deliveries", nargs="*", metavar="DELIVERY", help="their ids, dlv_…")
    parser.add_argument("--all", action="store_true", help="all dead letters that match the other options")
    add_filter(parser, limit=False)
    parser = commands.command(
        "recover",
        recover,
        help="send again all deliveries that did not arrive at an endpoint since a time",
        description="Send all deliveries again that did not arrive at an endpoint since a time: dead, cancelled, "
        "expired, or suppressed while the endpoint was disabled. Use it after an outage.",
        example="notifykit recover end_01J… --since -6h",
    )
    parser.add_argument("endpoint", metavar="ENDPOINT", help="its id, end_…")
    parser.add_argument(
        "--since", type=inputs.past_time, required=True, metavar="TIME", help="planned at or after: -6h"
    )
    parser.add_argument("--until", type=inputs.past_time, metavar="TIME", help="planned before")


async def list_(context: Context) -> int:
    """List dead letters."""
    found, more = await find(context, filter_of(context.args, ["dead"]))
    if not found:
        context.out.line(f"Tenant {plain(context.tenant)} has no matching dead letters.")
    write(context, found)
    note_more(context.out, more, context.args.limit)
    return FAILED if found and context.args.fail_if_any else OK


async def redrive(context: Context) -> int:
    """Send dead letters again."""
    args = context.args
    chosen = any(value is not None for value in (args.endpoint, args.type, args.since, args.until))
    if bool(args.deliveries) == (args.all or chosen):
        raise UsageError(
            "which dead letters is not clear; give ids, or --all, or what chooses them (--endpoint, --since)"
        )
    async with context.open() as kit:
        if not args.deliveries:
            count = await kit.deliveries.redrive_all(filter_of(args, ["dead"]), tenant=context.tenant)
        else:
            for delivery_id in args.deliveries:
                await kit.deliveries.redrive(delivery_id, tenant=context.tenant)
            count = len(args.deliveries)
    context.out.answer({"redriven": count}, _due(count, "due again"))
    return OK


async def recover(context: Context) -> int:
    """Send again the deliveries that did not arrive."""
    from ..models.endpoint import EndpointState

    args = context.args
    async with context.open() as kit:
        endpoint = await kit.endpoints.get(args.endpoint, tenant=context.tenant)
        if endpoint.state is EndpointState.DISABLED:
            raise CommandError(
                f"endpoint {endpoint.id} is disabled ({plain(endpoint.state_reason)}), so its deliveries would be "
                f"cancelled; resume it first: notifykit endpoints resume {endpoint.id}"
            )
        count = await kit.deliveries.recover(args.endpoint, tenant=context.tenant, since=args.since, until=args.until)
    if endpoint.state is EndpointState.PAUSED and count:
        text = f"{_counted(count)} held until the endpoint is resumed: notifykit endpoints resume {endpoint.id}"
    else:
        text = _due(count, "due again")
    context.out.answer({"recovered": count}, text)
    return OK


def _due(count: int, what: str) -> str:
    return f"{_counted(count)} {what}" + ("; a dispatcher sends them (notifykit run)" if count else "")


def _counted(count: int) -> str:
    return "1 delivery is" if count == 1 else f"{count} deliveries are"
