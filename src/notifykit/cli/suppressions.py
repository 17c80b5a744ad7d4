"""``notifykit suppressions``: the addresses that a tenant must not use."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from . import inputs, views
from .failures import FAILED, OK, USAGE, CommandError
from .imports import add_file, import_file
from .paging import collect, note_more
from .parser import Commands, Parser
from .text import Column, encodable, plain

if TYPE_CHECKING:
    from ..admin import ImportReport
    from ..kit import Notifykit
    from .context import Context

#: The members of ``SuppressionReason``, which is not imported to build the parser; a test compares them.
REASONS = ("hard_bounce", "complaint", "unsubscribe", "stop", "unregistered", "manual")
_PURPOSES = ("transactional", "marketing", "security")


def add(commands: Commands) -> None:
    """Add the commands."""
    group = commands.group("suppressions", help="addresses that must not be used: add, check, remove, import, export")
    parser = group.command(
        "list",
        list_,
        help="list the suppressed addresses",
        description="List what is on the tenant's suppression list. It has hashes of the addresses; to look for an "
        "address, use check.",
        example="notifykit suppressions list --tenant acme",
    )
    parser.add_argument("--limit", type=inputs.positive, default=100, help="how many at the most (100)")
    parser = _about_address(
        group,
        "add",
        add_,
        help="stop using an address, whoever it belongs to",
        description="Put an address on the tenant's suppression list. By default unsubscribe counts for marketing, "
        "complaint for everything but security, and every other reason for all.",
        example="notifykit suppressions add email ada@example.org --reason complaint --evidence 'letter of May 3'",
    )
    parser.add_argument("--reason", choices=REASONS, default="manual", help="why (manual)")
    parser.add_argument("--purpose", choices=_PURPOSES, action="append", help="only for these purposes; repeatable")
    parser.add_argument("--evidence", default="", metavar="TEXT", help="what shows it")
    parser.add_argument("--until", type=inputs.future_time, metavar="TIME", help="only until then: +30d (for good)")
    _about_address(
        group,
        "check",
        check,
        help="say whether an address is suppressed, and why",
        description="Say whether an address is on the tenant's suppression list, and why. Exits with 1 if it is.",
        example="notifykit suppressions check sms +4915123456789",
    )
    parser = _about_address(
        group,
        "remove",
        remove,
        help="use an address again",
        description="Take an address off the tenant's suppression list. Exits with 1 if it is not there.",
        example="notifykit suppressions remove email ada@example.org --reason complaint",
    )
    parser.add_argument("--reason", choices=REASONS, help="only what is there for this reason")
    parser = group.command(
        "import",
        import_,
        help="suppress the addresses of a file",
        description="Put an address on the tenant's suppression list for each line of a file: JSON objects with "
        "channel, address (or the id of an export), reason, purposes, evidence, since, until; or CSV with a header of "
        "these. Lines that are wrong are reported with their number, the others are saved, and the exit code is 1.",
        example="notifykit suppressions import bounces.csv --channel email --reason hard_bounce",
    )
    add_file(parser)
    parser.add_argument("--channel", help="of lines that name none")
    parser.add_argument("--reason", choices=REASONS, default="manual", help="of lines that name none (manual)")
    group.command(
        "export",
        export,
        help="write the list as lines of JSON, which import reads",
        description="Write the tenant's suppression list to stdout as lines of JSON, with hashes of the addresses. "
        "They can be imported for the same tenant of another store.",
        example="notifykit suppressions export --tenant acme > list.jsonl",
    )


def _about_address(group: Commands, name: str, handler: Any, **texts: str) -> Parser:
    parser = group.command(name, handler, **texts)
    parser.add_argument("channel", metavar="CHANNEL", help="email, sms, push …")
    parser.add_argument("address", metavar="ADDRESS", help="the mailbox, the telephone number …")
    return parser


async def list_(context: Context) -> int:
    """List the suppressed addresses."""
    limit = context.args.limit
    async with context.open() as kit:
        found, more = await collect(
            lambda size, after: kit.suppressions.page(tenant=context.tenant, limit=size, after=after), limit
        )
    if not found:
        context.out.line(f"Tenant {plain(context.tenant)} has no suppressed addresses.")
    columns = [Column("CHANNEL"), Column("HASH"), Column("WHY", wraps=True)]
    rows = [(each.channel, each.id.rpartition(":")[2][:12], plain(each)) for each in found]
    context.out.rows(map(views.suppressed, found), columns, rows)
    note_more(context.out, more, limit)
    return OK


async def add_(context: Context) -> int:
    """Suppress an address."""
    args = context.args
    async with context.open(create=True) as kit:
        saved = await kit.suppressions.add(
            args.channel,
            args.address,
            tenant=context.tenant,
            reason=args.reason,
            purposes=args.purpose,
            evidence=args.evidence,
            until=args.until,
        )
    context.out.answer(views.suppressed(saved), f"{plain(args.address)} is suppressed: {plain(saved)}")
    return OK


async def check(context: Context) -> int:
    """Say whether an address is suppressed."""
    from ..errors import InvalidInputError

    args = context.args
    async with context.open() as kit:
        try:
            found = await kit.suppressions.check(args.channel, args.address, tenant=context.tenant)
        except InvalidInputError as error:  # nothing is stored in any case
            raise CommandError(str(error), USAGE) from error
    if found is None:
        context.out.answer({"suppressed": False}, f"{plain(args.address)} is not suppressed")
        return OK
    context.out.answer({"suppressed": True, **views.suppressed(found)}, f"{plain(args.address)}: {plain(found)}")
    return FAILED


async def remove(context: Context) -> int:
    """Use an address again."""
    args = context.args
    async with context.open() as kit:
        removed = await kit.suppressions.remove(args.channel, args.address, tenant=context.tenant, reason=args.reason)
    told = "is taken off the suppression list" if removed else "was not on the suppression list"
    context.out.answer({"removed": removed}, f"{plain(args.address)} {told}")
    return OK if removed else FAILED


async def import_(context: Context) -> int:
    """Suppress the addresses of a file."""
    args = context.args

    async def run(kit: Notifykit, lines: Any, format_: str, progress: Any) -> ImportReport:
        return await kit.suppressions.import_(
            lines,
            tenant=context.tenant,
            format=format_,
            channel=args.channel,
            reason=args.reason,
            progress=progress,
        )

    return await import_file(context, "addresses", run)


async def export(context: Context) -> int:
    """Write the list."""
    async with context.open() as kit:
        await kit.suppressions.export(lambda line: sys.stdout.write(encodable(line, sys.stdout)), tenant=context.tenant)
    return OK
