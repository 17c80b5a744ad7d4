"""``notifykit preferences``: what persons want, and what a tenant says for all of its recipients."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from . import inputs
from .failures import OK
from .parser import Commands, Parser
from .text import Column, plain

if TYPE_CHECKING:
    from ..admin import Preferences
    from ..models.preferences import Setting
    from ..models.quiet_hours import Window
    from ..models.recipient import Recipient, TenantPreferences
    from .context import Context

_SELECTORS = ("type", "category", "channel")
_WINDOW = re.compile(r"(?:([a-z]{3})(?:-([a-z]{3}))? )?(\S+)-(\S+)")


def add(commands: Commands) -> None:
    """Add the commands."""
    group = commands.group("preferences", help="what persons want, and what a tenant says for all")
    _command(group, "show", show, "show what a person gets on which channel", "user:42")
    parser = _command(group, "set", set_, "say what a person gets", "user:42 off --category orders --channel sms")
    _add_value(parser)
    _add_selectors(parser)
    parser = _command(
        group, "unset", unset, "take back what was set with the same options", "user:42 --category orders"
    )
    _add_selectors(parser)
    for name, handler, help in (
        ("mute", mute, "send a person nothing to which all options apply"),
        ("unmute", unmute, "end the mute that was made with the same options"),
    ):
        parser = _command(group, name, handler, help, "user:42 --topic 'project/7/**'")
        _add_selectors(parser)
        parser.add_argument("--topic", metavar="PATTERN", help="only topics like project/7/**")
        parser.add_argument(
            "--purpose", choices=("transactional", "marketing", "security"), help="only of this purpose"
        )
        if name == "mute":
            parser.add_argument("--until", type=inputs.future_time, metavar="TIME", help="until then: +2d (for good)")
    parser = _command(
        group,
        "quiet-hours",
        quiet_hours,
        "let what comes up at night wait until the morning; without windows end the quiet hours",
        "user:42 --window 22:00-07:00 --window 'sat-sun 07:00-10:00'",
    )
    parser.add_argument(
        "--window",
        type=inputs.argument(_window),
        action="append",
        default=[],
        metavar="[DAYS ]FROM-TO",
        help="repeatable",
    )
    parser.add_argument(
        "--except", action="append", default=[], dest="exceptions", metavar="CATEGORY", help="sent anyway"
    )
    parser = _command(group, "consent", consent, "record that a person agrees to marketing", "user:42 --how 'form 3'")
    parser.add_argument("--withdraw", action="store_true", help="record that the person no longer agrees")
    parser.add_argument("--by", default="", metavar="TEXT", help="who recorded it")
    parser.add_argument("--how", default="", metavar="TEXT", help="the form, its version, the text")
    _add_tenants(group)


def _add_tenants(group: Commands) -> None:
    parser = _command(group, "tenant", tenant, "show what the tenant says for all of its recipients", "")
    parser.add_argument("--locale", metavar="LOCALE", help="set the locale of recipients without one")
    parser.add_argument("--zone", metavar="ZONE", help="set the time zone of recipients without one")
    parser = _command(
        group, "tenant-set", tenant_set, "say what recipients get unless they say otherwise", "off --category news"
    )
    _add_value(parser)
    _add_selectors(parser)
    parser.add_argument("--lock", action="store_true", help="recipients cannot change it")
    parser = _command(
        group, "tenant-unset", tenant_unset, "take back what was set with the same options", "--category news"
    )
    _add_selectors(parser)


def _command(group: Commands, name: str, handler: Any, help: str, example: str) -> Parser:
    parser = group.command(
        name,
        handler,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        example=f"notifykit preferences {name} {example}".strip(),
    )
    if not name.startswith("tenant"):
        parser.add_argument("recipient", metavar="RECIPIENT", help="your own id of the person: user:42")
    return parser


def _add_value(parser: Parser) -> None:
    parser.add_argument("value", metavar="VALUE", help="on, off, or digest:NAME")


def _add_selectors(parser: Parser) -> None:
    parser.add_argument("--type", metavar="TYPE", help="only events of this type: order.shipped")
    parser.add_argument("--category", metavar="NAME", help="only events of types of this category")
    parser.add_argument("--channel", metavar="NAME", help="only on this channel: email, sms, push, in_app")


def _window(text: str) -> Window:
    """Read ``22:00-07:00`` or ``mon-fri 22:00-07:00``."""
    from ..errors import InvalidInputError
    from ..models.quiet_hours import Weekday, Window

    found = _WINDOW.fullmatch(text.lower())
    days = [*Weekday]
    if found is not None and found[1] is not None:
        first, last = found[1], found[2] or found[1]
        days = days[days.index(Weekday(first)) :] + days[: days.index(Weekday(first))] if first in days else []
        days = days[: days.index(Weekday(last)) + 1] if last in days else []
    if found is None or not days:
        raise ValueError(f"{plain(text)!r} is not a window; write it like 22:00-07:00 or mon-fri 22:00-07:00")
    try:
        return Window(days=tuple(days), from_=found[3], to=found[4])
    except InvalidInputError as error:
        raise ValueError("; ".join(error.problems).replace("from_", "from")) from error


async def show(context: Context) -> int:
    """Show what a person gets, and what else they have said."""
    async with context.open() as kit:
        said = await kit.recipients.get(context.args.recipient, tenant=context.tenant)
        cells = await kit.preferences(context.args.recipient, tenant=context.tenant).matrix()
    columns = [Column("TYPE"), Column("CATEGORY"), Column("CHANNEL"), Column("VALUE"), Column("SAID BY")]
    rows = [
        (
            cell.type,
            cell.category,
            cell.channel,
            cell.value + (", muted" if cell.muted else ""),
            (cell.scope or "nobody") + (", locked" if cell.locked else ""),
        )
        for cell in cells
    ]
    if not cells:
        context.out.line("No types of events are known; they are stored when a dispatcher of your program starts.")
    context.out.rows([cell._asdict() for cell in cells], columns, rows)
    context.out.lines([] if cells else map(_about, said.settings))
    context.out.lines(_personal(said))
    return OK


async def set_(context: Context) -> int:
    """Say what a person gets."""
    return await _changed(context, "set", value=context.args.value, **_selectors(context))


async def unset(context: Context) -> int:
    """Take back what was set."""
    return await _changed(context, "unset", **_selectors(context))


async def mute(context: Context) -> int:
    """Mute something."""
    args = context.args
    return await _changed(
        context, "mute", topic=args.topic, purpose=args.purpose, until=args.until, **_selectors(context)
    )


async def unmute(context: Context) -> int:
    """End a mute."""
    args = context.args
    return await _changed(context, "unmute", topic=args.topic, purpose=args.purpose, **_selectors(context))


async def quiet_hours(context: Context) -> int:
    """Set or end quiet hours."""
    return await _changed(context, "quiet_hours", windows=context.args.window, exceptions=context.args.exceptions)


async def consent(context: Context) -> int:
    """Record a consent or its end."""
    args = context.args
    return await _changed(context, "consent", granted=not args.withdraw, by=args.by, how=args.how)


async def tenant(context: Context) -> int:
    """Show what a tenant says, or change its locale or zone."""
    args = context.args
    async with context.open() as kit:
        its = kit.tenant_preferences(tenant=context.tenant)
        said = await its.get()
        if args.locale is not None or args.zone is not None:
            said = await its.localize(locale=args.locale or said.locale, zone=args.zone or said.zone)
    _answer(context, said, f"locale {said.locale or 'not set'}, time zone {said.zone or 'not set'}")
    return OK


async def tenant_set(context: Context) -> int:
    """Say what recipients get."""
    async with context.open() as kit:
        its = kit.tenant_preferences(tenant=context.tenant)
        said = await its.set(value=context.args.value, locked=context.args.lock, **_selectors(context))
    _answer(context, said)
    return OK


async def tenant_unset(context: Context) -> int:
    """Take back what a tenant has said."""
    async with context.open() as kit:
        said = await kit.tenant_preferences(tenant=context.tenant).unset(**_selectors(context))
    _answer(context, said)
    return OK


def _selectors(context: Context) -> dict[str, Any]:
    return {name: getattr(context.args, name) for name in _SELECTORS}


async def _changed(context: Context, change: str, **options: Any) -> int:
    async with context.open() as kit:
        its: Preferences = kit.preferences(context.args.recipient, tenant=context.tenant)
        changed: Recipient = await getattr(its, change)(**options)
    _answer(context, changed)
    return OK


def _answer(context: Context, said: Recipient | TenantPreferences, first: str | None = None) -> None:
    """Write everything that was said."""
    from ..codec import unstructure

    context.out.record(unstructure(said))
    context.out.lines([] if first is None else [first])
    context.out.lines([_about(setting) for setting in said.settings] or ["no settings"])
    from ..models.recipient import Recipient

    if isinstance(said, Recipient):
        context.out.lines(_personal(said))


def _about(setting: Setting) -> str:
    select = setting.select
    what = " ".join(f"{name} {plain(value)}" for name in _SELECTORS if (value := getattr(select, name)) is not None)
    return f"{setting.value}: {what or 'everything'}" + (", locked" if setting.locked else "")


def _personal(said: Recipient) -> list[str]:
    from . import views

    lines = []
    for mute in said.mutes:
        names = (*_SELECTORS, "topic", "purpose")
        what = [f"{name} {plain(value)}" for name in names if (value := getattr(mute.select, name)) is not None]
        until = "" if mute.until is None else f" until {views.clock(mute.until)}"
        lines.append(f"muted: {' '.join(what) or 'everything'}{until}")
    exceptions = ", ".join(map(plain, said.quiet_hours.exceptions))
    but = f", except {exceptions}" if exceptions else ""
    for window in said.quiet_hours.windows:
        days = "every day" if len(window.days) == 7 else " ".join(window.days)
        lines.append(f"quiet: {days} {window.from_} to {window.to}, {said.quiet_hours.zone}{but}")
    return [*lines, *(f"agrees to {purpose}" for purpose in sorted(said.consented))]
