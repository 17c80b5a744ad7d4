"""``notifykit templates list|history|set|rollback|remove``: what a tenant has stored in place of the host's files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import inputs
from .failures import FAILED, OK, UsageError
from .paging import collect, note_more
from .parser import Commands
from .text import Column, plain

if TYPE_CHECKING:
    from ..models.template import StoredTemplate, TemplateRevision
    from .context import Context


def add(group: Commands) -> None:
    """Add the commands."""
    parser = group.command(
        "list",
        list_,
        help="list what a tenant has stored",
        description="List the templates that a tenant has stored in place of the host's files, by their names.",
        example="notifykit templates list --tenant acme",
    )
    parser.add_argument("--limit", type=inputs.positive, default=100, help="how many at the most (100)")
    parser = group.command(
        "history",
        history,
        help="show the revisions of a stored template",
        description="Show the revisions of a tenant's template that are kept, newest first; with --json also texts.",
        example="notifykit templates history order.shipped/sms.txt --tenant acme",
    )
    _add_name(parser)
    parser = group.command(
        "set",
        set_,
        help="store a template for a tenant",
        description="Store a template for a tenant, or its next revision. It takes the place of the host's file of the "
        "same name from the next message on. A template that could not be rendered is refused.",
        example="notifykit templates set order.shipped/sms.txt sms.txt --tenant acme --by eve --note shorter",
    )
    _add_name(parser)
    parser.add_argument("file", metavar="FILE", help="the text, in UTF-8; - for stdin")
    _add_by(parser)
    parser = group.command(
        "rollback",
        rollback,
        help="use an earlier revision again",
        description="Use the text of an earlier revision of a tenant's template again, as a new revision.",
        example="notifykit templates rollback order.shipped/sms.txt 1 --tenant acme",
    )
    _add_name(parser)
    parser.add_argument("to", metavar="REVISION", type=inputs.positive, help="the number of the revision")
    _add_by(parser)
    parser = group.command(
        "remove",
        remove,
        help="use the host's file again",
        description="Remove a tenant's template with its revisions. Exits with 1 if there was none.",
        example="notifykit templates remove order.shipped/sms.txt --tenant acme",
    )
    _add_name(parser)


def _add_name(parser: Any) -> None:
    parser.add_argument("name", metavar="NAME", help="as in the host's folder: order.shipped/email.de.html")


def _add_by(parser: Any) -> None:
    parser.add_argument("--by", default="", metavar="WHO", help="who changes it")
    parser.add_argument("--note", default="", metavar="TEXT", help="why")


async def list_(context: Context) -> int:
    """List a tenant's templates."""
    limit = context.args.limit
    async with context.open() as kit:
        found, more = await collect(
            lambda size, after: kit.templates.list(tenant=context.tenant, limit=size, after=after), limit
        )
    if not found:
        context.out.line(f"Tenant {plain(context.tenant)} has stored no templates.")
    columns = [Column("NAME"), Column("REVISION"), Column("AT"), Column("BY"), Column("NOTE", wraps=True)]
    rows = [(plain(each.name), *_row(each.current)) for each in found if each.revisions]
    context.out.rows(map(_record, found), columns, rows)
    note_more(context.out, more, limit)
    return OK


async def history(context: Context) -> int:
    """Show the revisions of a template."""
    async with context.open() as kit:
        found = await kit.templates.history(context.args.name, tenant=context.tenant)
    columns = [Column("REVISION"), Column("AT"), Column("BY"), Column("NOTE", wraps=True)]
    context.out.rows([{**_revision(each), "text": each.text} for each in found], columns, [*map(_row, found)])
    return OK


async def set_(context: Context) -> int:
    """Store a template, or its next revision."""
    args = context.args
    text = _read(args.file)
    async with context.open(create=True) as kit:
        saved = await kit.templates.save(args.name, text, tenant=context.tenant, by=args.by, note=args.note)
    return _answer(context, saved)


async def rollback(context: Context) -> int:
    """Use the text of an earlier revision again."""
    args = context.args
    async with context.open() as kit:
        saved = await kit.templates.rollback(args.name, args.to, tenant=context.tenant, by=args.by, note=args.note)
    return _answer(context, saved)


async def remove(context: Context) -> int:
    """Remove a template."""
    name = context.args.name
    async with context.open() as kit:
        removed = await kit.templates.remove(name, tenant=context.tenant)
    told = "is removed: the host's file is used again" if removed else "was not stored"
    context.out.answer({"removed": removed}, f"{plain(name)} {told}")
    return OK if removed else FAILED


def _read(file: str) -> str:
    try:
        return (sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()).decode()
    except (OSError, ValueError) as error:
        raise UsageError(f"{plain(file)} cannot be read as text: {plain(error)}") from error


def _answer(context: Context, saved: StoredTemplate) -> int:
    context.out.answer(_record(saved), f"{plain(saved.name)}: revision {saved.current.number} is used")
    return OK


def _record(template: StoredTemplate) -> dict[str, Any]:
    return {"name": template.name, **(_revision(template.current) if template.revisions else {})}


def _revision(revision: TemplateRevision) -> dict[str, Any]:
    return {"revision": revision.number, "at": revision.at.isoformat(), "by": revision.by, "note": revision.note}


def _row(revision: TemplateRevision) -> tuple[str, str, str, str]:
    at = revision.at.isoformat(timespec="seconds")
    return str(revision.number), at, plain(revision.by), plain(revision.note)
