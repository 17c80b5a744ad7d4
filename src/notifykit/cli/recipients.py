"""``notifykit recipients``: the persons of a tenant."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from . import inputs
from .failures import OK
from .imports import add_file, import_file
from .paging import collect, note_more
from .parser import Commands
from .text import Column, fields, plain

if TYPE_CHECKING:
    from ..admin import ImportReport
    from ..kit import Notifykit
    from ..models.recipient import Recipient, RecipientAddress
    from .context import Context

#: Which method of ``kit.recipients`` gives an address the state.
_STATES = {"active": "verify", "suppressed": "suppress", "unsuppressed": "unsuppress", "gone": "mark_gone"}


def add(commands: Commands) -> None:
    """Add the commands."""
    group = commands.group("recipients", help="the persons of a tenant: save, import, export, erase")
    parser = group.command(
        "list",
        list_,
        help="list the tenant's recipients",
        description="List the tenant's recipients in the order of their ids.",
        example="notifykit recipients list --tenant acme",
    )
    parser.add_argument("--limit", type=inputs.positive, default=100, help="how many at the most (100)")
    _add_save(group)
    parser = group.command(
        "import",
        import_,
        help="save the recipients of a file",
        description="Save a recipient for each line of a file: JSON objects (id, name, email, sms, locale, zone, "
        "traits, addresses …), or CSV with a header of id, name, email, sms, locale, zone and traits.NAME. Lines that "
        "are wrong are reported with their number, the others are saved, and the exit code is 1.",
        example="notifykit recipients import people.csv --tenant acme",
    )
    add_file(parser)
    for name, handler, help in (
        ("show", show, "show one recipient"),
        ("export", export, "print everything that is known of a person, as JSON"),
        ("delete", delete, "delete a recipient; waiting deliveries are cancelled, and history stays"),
        ("erase", erase, "erase everything that is known of a person, with deliveries and attempts"),
    ):
        parser = group.command(
            name,
            handler,
            help=help,
            description=help[0].upper() + help[1:] + ".",
            example=f"notifykit recipients {name} user:42",
        )
        parser.add_argument("recipient", metavar="RECIPIENT", help="your own id of the person: user:42")
    parser = group.command(
        "address",
        address,
        help="say whether an address is used",
        description="Say whether an address of a recipient is used: active after the person has confirmed it, "
        "suppressed until it is unsuppressed, or gone.",
        example="notifykit recipients address user:42 email ada@example.org suppressed --reason 'asked by phone'",
    )
    parser.add_argument("recipient", metavar="RECIPIENT", help="your own id of the person: user:42")
    parser.add_argument("channel", metavar="CHANNEL", help="email, sms, push …")
    parser.add_argument("address", metavar="ADDRESS", help="one of the recipient's addresses")
    parser.add_argument("state", choices=tuple(_STATES), help="active, suppressed, unsuppressed or gone")
    parser.add_argument("--reason", help="shown with the address")


def _add_save(group: Commands) -> None:
    parser = group.command(
        "save",
        save,
        help="save a recipient: a new one, or changes of one",
        description="Save a recipient: make a new one, or change what is given and keep the rest. An address that the "
        "recipient has already keeps its state.",
        example="notifykit recipients save user:42 --email ada@example.org --locale de --zone Europe/Berlin",
    )
    parser.add_argument("recipient", metavar="RECIPIENT", help="your own id of the person: user:42")
    parser.add_argument("--name", metavar="TEXT", help="what texts call the person")
    parser.add_argument("--email", action="append", metavar="ADDRESS", help="replaces the e-mail addresses; repeatable")
    parser.add_argument("--sms", action="append", metavar="NUMBER", help="replaces the telephone numbers; repeatable")
    parser.add_argument("--locale", metavar="LOCALE", help="such as de-AT")
    parser.add_argument("--zone", metavar="ZONE", help="the time zone, such as Europe/Berlin")
    parser.add_argument("--traits", metavar="JSON", help="what templates need of the person; also @FILE or -")
    parser.add_argument(
        "--if-version", type=inputs.count, metavar="N", help="only if it still has this version (0: only a new one)"
    )


async def list_(context: Context) -> int:
    """List recipients."""
    from ..codec import unstructure

    limit = context.args.limit
    async with context.open() as kit:
        found, more = await collect(
            lambda size, after: kit.recipients.list(tenant=context.tenant, limit=size, after=after), limit
        )
    found = context.shown(found)
    if not found:
        tenant = plain(context.tenant)
        context.out.line(f"Tenant {tenant} has no recipients; save one: notifykit recipients save ID --email ADDRESS")
    columns = [Column("RECIPIENT"), Column("NAME"), Column("LOCALE"), Column("ZONE"), Column("ADDRESSES", wraps=True)]
    rows = [(r.id, r.name, r.locale, r.zone, " ".join(map(_told, r.addresses))) for r in found]
    context.out.rows(map(unstructure, found), columns, rows)
    note_more(context.out, more, limit)
    return OK


async def save(context: Context) -> int:
    """Save a recipient."""
    args = context.args
    given = {name: getattr(args, name) for name in ("name", "email", "sms", "locale", "zone")}
    given["version"] = args.if_version
    if args.traits is not None:
        given["traits"] = inputs.read_object(args.traits, "--traits")
    async with context.open(create=True) as kit:
        saved = await kit.recipients.save(
            args.recipient, tenant=context.tenant, **{name: value for name, value in given.items() if value is not None}
        )
    _answer(context, saved, f"{saved.id} saved, version {saved.version}")
    return OK


async def show(context: Context) -> int:
    """Show a recipient."""
    async with context.open() as kit:
        found = await kit.recipients.get(context.args.recipient, tenant=context.tenant)
    _answer(context, found)
    return OK


async def address(context: Context) -> int:
    """Say whether an address is used."""
    args = context.args
    options = {"reason": args.reason} if args.reason else {}
    async with context.open() as kit:
        change = getattr(kit.recipients, _STATES[args.state])
        changed = await change(args.recipient, args.channel, args.address, tenant=context.tenant, **options)
    state = next(one.state for one in changed.addresses_on(args.channel) if one.address == args.address)
    _answer(context, changed, f"{changed.id}: {args.channel} {plain(args.address)} is {state}")
    return OK


async def delete(context: Context) -> int:
    """Delete a recipient."""
    id_ = context.args.recipient
    async with context.open() as kit:
        await kit.recipients.delete(id_, tenant=context.tenant)
    context.out.answer({"id": id_, "deleted": True}, f"{plain(id_)} deleted")
    return OK


async def erase(context: Context) -> int:
    """Erase a person."""
    id_ = context.args.recipient
    async with context.open() as kit:
        rows = await kit.recipients.erase(id_, tenant=context.tenant)
    nothing = f"Nothing is known of {plain(id_)} in tenant {plain(context.tenant)}"
    context.out.answer({"id": id_, "rows": rows}, f"{plain(id_)} erased from {rows:,} rows" if rows else nothing)
    return OK


async def export(context: Context) -> int:
    """Print everything that is known of a person."""
    async with context.open() as kit:
        found = await kit.recipients.export(context.args.recipient, tenant=context.tenant)
    context.out.answer(found, json.dumps(found, indent=2))
    return OK


async def import_(context: Context) -> int:
    """Save the recipients of a file."""

    async def run(kit: Notifykit, lines: Any, format_: str, progress: Any) -> ImportReport:
        return await kit.recipients.import_(lines, tenant=context.tenant, format=format_, progress=progress)

    return await import_file(context, "recipients", run)


def _answer(context: Context, recipient: Recipient, text: str | None = None) -> None:
    """Write a recipient, as text in one sentence or in full."""
    from ..codec import unstructure

    recipient = context.shown(recipient)
    context.out.record(unstructure(recipient))
    context.out.lines(fields(_fields(recipient)) if text is None else [text])


def _fields(recipient: Recipient) -> dict[str, object]:
    from . import views

    shown: dict[str, object] = {
        "id": recipient.id,
        "name": recipient.name,
        "locale": recipient.locale,
        "zone": recipient.zone,
        "traits": views.compact(dict(recipient.traits)) if recipient.traits else None,
    }
    for number, each in enumerate(recipient.addresses, 1):
        about = ", ".join(part for part in (each.app, each.platform, each.reason) if part)
        shown[f"address {number}"] = _told(each) + (f" ({about})" if about else "")
    said = (len(recipient.settings), len(recipient.mutes), len(recipient.suppressions))
    return {
        **shown,
        "preferences": "{} settings, {} mutes, {} suppressions".format(*said) if any(said) else None,
        "quiet hours": "yes" if recipient.quiet_hours.windows else None,
        "consents": ", ".join(sorted(recipient.consented)) or None,
        "version": recipient.version,
        "created": views.clock(recipient.created_at),
        "updated": views.clock(recipient.updated_at),
    }


def _told(each: RecipientAddress) -> str:
    state = "" if each.state == "active" else f" {each.state}"
    return f"{each.channel}:{each.address if len(each.address) <= 60 else each.address[:59] + '…'}{state}"
