"""``notifykit audit``: what operators did, and what others changed, over the REST API and the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import inputs
from .failures import OK
from .paging import note_more
from .parser import Commands
from .text import Column, plain

if TYPE_CHECKING:
    from ..models.audit import AuditEntry
    from .context import Context

_COLUMNS = ("AT", "WHO", "ROLE", "ACTION", "TENANT", "OBJECT", "STATUS", "REQUEST")


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.command(
        "audit",
        audit,
        help="show what callers of the REST API and of the pages did",
        description="Show the audit log of the server, of all tenants, newest first: what operators did, and what "
        "others changed, apart from events, inboxes and preferences.",
        example="notifykit audit --about acme\nnotifykit audit --who key_01J… --action rotate --json",
    )
    parser.add_argument("--about", metavar="TENANT", help="only what was about this tenant")
    parser.add_argument("--who", metavar="TEXT", help="only of whom this is a part of the name")
    parser.add_argument("--action", metavar="TEXT", help="only if this is a part of what was done")
    parser.add_argument("--limit", type=inputs.positive, default=100, help="how many at the most (100)")


async def audit(context: Context) -> int:
    """Show the log."""
    from ..admin import AuditFilter

    args = context.args
    wanted = AuditFilter(about=args.about, subject=args.who, action=args.action)
    found: list[AuditEntry] = []
    after: str | None = None
    async with context.open() as kit:
        while len(found) <= args.limit:
            entries, after = await kit.audit.page(wanted, limit=200, after=after)
            found += entries
            if after is None:
                break
    shown = found[: args.limit]
    if not shown:
        context.out.line("The log has no such entries: it has what was changed over the REST API.")
    context.out.rows(map(_record, shown), [*map(Column, _COLUMNS)], [*map(_row, shown)])
    note_more(context.out, len(found) > args.limit, args.limit)
    return OK


def _record(entry: AuditEntry) -> dict[str, Any]:
    import attrs

    its = attrs.asdict(entry)
    about = its.pop("about")
    del its["version"]
    return {**its, "tenant": about or None, "at": entry.at.isoformat()}


def _row(entry: AuditEntry) -> tuple[str, ...]:
    at = entry.at.isoformat(timespec="seconds")
    texts = (entry.subject, entry.role, entry.action, entry.about or "-", entry.target or "-")
    return (at, *map(plain, texts), str(entry.status), plain(entry.request_id))
