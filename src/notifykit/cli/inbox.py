"""``notifykit inbox``: list, mark, follow and erase the in-app inbox of a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import inputs
from .failures import OK, UsageError
from .paging import PAGE, note_more
from .parser import Commands, Parser
from .text import Cell, Column, plain

if TYPE_CHECKING:
    from ..models.inbox import InboxItem
    from .context import Context

STATES = ("active", "unseen", "unread", "read", "snoozed", "archived")
MARKS = ("seen", "read", "unread", "archived", "unarchived", "snoozed", "unsnoozed")


def add(commands: Commands) -> None:
    """Add the commands."""
    group = commands.group("inbox", help="in-app inboxes of people: list, mark, follow, erase")
    parser = group.command(
        "list",
        list_,
        help="list items, newest first",
        description="List the items of a person's inbox, newest first, and how many are new.",
        example="notifykit inbox list user:42\nnotifykit inbox list user:42 --state unread --category orders --json",
    )
    _add_recipient(parser)
    parser.add_argument("--state", choices=STATES, default="active", help="only in this state (active)")
    _add_filter(parser)
    parser.add_argument("--limit", type=inputs.positive, default=50, help="how many at the most (50)")
    parser = group.command(
        "mark",
        mark,
        help="mark items seen, read, unread, archived or snoozed",
        description="Mark items of a person's inbox, as the person would. Items that have the mark already are not "
        "changed, and ids of no item are ignored.",
        example="notifykit inbox mark user:42 read dlv_01J… dlv_01K…\n"
        "notifykit inbox mark user:42 read --all --category orders\n"
        "notifykit inbox mark user:42 snoozed dlv_01J… --until 8h",
    )
    _add_recipient(parser)
    parser.add_argument("mark", metavar="MARK", choices=MARKS, help=", ".join(MARKS))
    parser.add_argument("items", nargs="*", metavar="ITEM", help="their ids, dlv_…")
    parser.add_argument("--all", action="store_true", help="all items that match the other options")
    parser.add_argument("--state", choices=STATES, help="with --all: only in this state (active)")
    _add_filter(parser)
    parser.add_argument(
        "--until", type=inputs.future_time, metavar="TIME", help="when snoozed items come back: 2030-01-31T09:00Z or 8h"
    )
    parser = group.command(
        "follow",
        follow,
        help="show what happens to an inbox",
        description="Show new and changed items of a person's inbox as it happens, until Ctrl-C.",
        example="notifykit inbox follow user:42 --json",
    )
    _add_recipient(parser)
    parser.add_argument("--count", type=inputs.positive, metavar="N", help="stop after N items")
    parser = group.command(
        "erase",
        erase,
        help="delete every item of an inbox",
        description="Delete every item of a person's inbox.",
        example="notifykit inbox erase user:42",
    )
    _add_recipient(parser)


def _add_recipient(parser: Parser) -> None:
    parser.add_argument("recipient", metavar="RECIPIENT", help="your own id of the person, user:42")


def _add_filter(parser: Parser) -> None:
    parser.add_argument("--category", metavar="NAME", help="only of this category")
    parser.add_argument("--resource", type=inputs.resource, metavar="KIND:ID", help="only about this: order:A-1")


def _filter(args: Any) -> dict[str, Any]:
    from ..models.event import Resource

    resource = None if args.resource is None else Resource(*args.resource)
    return {"state": args.state, "category": args.category, "resource": resource}


async def list_(context: Context) -> int:
    """List items and how many are new."""
    args = context.args
    found: list[InboxItem] = []
    after: int | None = None
    async with context.open() as kit:
        inbox = kit.inbox(args.recipient, tenant=context.tenant)
        while True:
            size = min(PAGE, args.limit - len(found))
            page = await inbox.page(**_filter(args), limit=size, after=after)
            found += page.items
            after = page.next
            if after is None or len(found) == args.limit:
                break
        counts = await inbox.counts()
    if not found:
        context.out.line(f"The inbox of {plain(args.recipient)} has no such items.")
    _write(context, found)
    context.out.line(f"{_capped(counts.unseen)} unseen, {_capped(counts.unread)} unread")
    note_more(context.out, after is not None, args.limit)
    return OK


def _capped(count: int) -> str:
    from ..models.inbox import COUNT_CAP

    return f"{COUNT_CAP - 1}+" if count == COUNT_CAP else str(count)


def _write(context: Context, found: list[InboxItem]) -> None:
    from . import views

    columns = [Column("ITEM"), Column("STATE"), Column("WHEN"), Column("CATEGORY"), Column("TITLE", wraps=True)]
    rows = [
        (item.id, _state(item), views.clock(item.created_at), plain(item.category or "-"), plain(item.title))
        for item in found
    ]
    context.out.rows(map(views.inbox_item, found), columns, rows)


def _state(item: InboxItem) -> Cell:
    marks = item.marks
    if marks.archived_at is not None:
        return Cell("archived")
    if marks.read_at is not None:
        return Cell("read")
    return Cell("new" if marks.seen_at is None else "seen", "green" if marks.seen_at is None else None)


async def mark(context: Context) -> int:
    """Mark items by their ids, or all that match."""
    args = context.args
    narrowed = any(value is not None for value in (args.state, args.category, args.resource))
    if bool(args.items) == args.all or (args.items and narrowed):
        raise UsageError("which items is not clear; give their ids, or --all with or without what chooses them")
    async with context.open() as kit:
        inbox = kit.inbox(args.recipient, tenant=context.tenant)
        if args.all:
            count = await inbox.mark_all(args.mark, until=args.until, **_filter(args))
        else:
            count = len(await inbox.mark(args.items, args.mark, until=args.until))
    context.out.answer({"changed": count}, f"{count} changed")
    return OK


async def follow(context: Context) -> int:
    """Show changes as they happen."""
    from . import views

    args, shown = context.args, 0
    async with context.open() as kit:
        inbox = kit.inbox(args.recipient, tenant=context.tenant)
        cursor = (await inbox.page(limit=1)).cursor
        context.out.note(f"notifykit: following the inbox of {plain(args.recipient)}; Ctrl-C to stop")
        async for changes in inbox.follow(cursor):
            if changes.is_reset:
                context.out.note("notifykit: the inbox was erased")
            for item in changes.items:
                text = f"{views.clock(item.created_at)}  {_state(item).text}  {plain(item.title)}  {item.id}"
                context.out.answer(views.inbox_item(item), text)
                shown += 1
                if shown == args.count:
                    return OK
    return OK


async def erase(context: Context) -> int:
    """Delete every item."""
    args = context.args
    async with context.open() as kit:
        count = await kit.inbox(args.recipient, tenant=context.tenant).erase()
    context.out.answer({"erased": count}, f"{count} erased")
    return OK
