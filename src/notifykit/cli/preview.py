"""``notifykit preview``: what people would get of a type of event.  Needs no store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import inputs
from .failures import NOT_FOUND, OK, CommandError, UsageError
from .parser import Commands
from .templates import add_folder, load
from .text import fields, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..models.messages import Message
    from ..templates.library import Library
    from .context import Context


def add(commands: Commands) -> None:
    """Add the command."""
    parser = commands.command(
        "preview",
        preview,
        help="render the messages of a type from its example, without a store",
        description="Render what people would get of a type of event, from the payload in TYPE/example.json of the "
        "templates' folder, or from --data; with --tenant as that tenant's people would get it.",
        example="notifykit preview order.shipped --templates templates\n"
        "notifykit preview order.shipped --channel email --locale de --html order.html",
    )
    parser.add_argument("type", metavar="TYPE", help="the type of event: order.shipped")
    add_folder(parser)
    parser.add_argument("--channel", metavar="NAME", help="only this channel: email, sms, push, in_app, chat")
    parser.add_argument("--locale", metavar="LOCALE", help="the person's locale: de, de-AT (none)")
    parser.add_argument("--data", metavar="DATA", help="the payload: a JSON object, @FILE, or - for stdin")
    parser.add_argument("--html", metavar="FILE", help="write the HTML of the e-mail to this file")


def preview(context: Context) -> int:
    """Render the messages of a type."""
    args = context.args
    templates = load(context)  # says which extra is needed, if it is not installed
    from ..templates.lint import render_example

    library = templates.library_of(context.tenant)
    channels = _channels(library, args.type, "email" if args.html is not None else args.channel)
    if args.html is not None and args.channel not in (None, "email"):
        raise UsageError("--html is for e-mail; leave out --channel, or give --channel email")
    data = _data(library, args.type, args.data)
    for number, channel in enumerate(channels):
        message = render_example(templates, args.type, channel, data, _locale(args.locale), context.tenant)
        if args.html is not None:
            return _write(context, args.html, getattr(message, "html", None))
        context.out.record(_record(channel, message))
        if number:
            context.out.line()
        _show(context, channel, message)
    return OK


def _channels(library: Library, event_type: str, channel: str | None) -> list[str]:
    known = library.parts
    found = sorted(name for type_, name in known if type_ == event_type)
    if not found:
        types = ", ".join(sorted({type_ for type_, _ in known})) or "none"
        raise CommandError(f"there are no templates for {plain(event_type)!r}; there are for: {types}", NOT_FOUND)
    if channel is None:
        return found
    if channel not in found:
        raise CommandError(
            f"{event_type} has no templates for {plain(channel)!r}, only for {', '.join(found)}", NOT_FOUND
        )
    return [channel]


def _locale(given: str | None) -> str | None:
    from ..templates.renderer import babel_locale

    if given is not None and babel_locale(given) is None:
        raise UsageError(f"{plain(given[:80])!r} is no locale; write one like de or de-AT")
    return given


def _data(library: Library, event_type: str, given: str | None) -> Mapping[str, Any]:
    if given is not None:
        return inputs.read_object(given, "--data")
    example = library.examples.get(event_type)
    if example is None:
        raise CommandError(f"there is no {event_type}/example.json; write one, or give the payload with --data")
    return example


def _record(channel: str, message: Message) -> dict[str, Any]:
    from ..codec import unstructure

    return {"channel": channel, **unstructure(message)}


def _show(context: Context, channel: str, message: Message) -> None:
    html: str | None = getattr(message, "html", None)
    shown = {
        "channel": channel,
        "template": message.template,
        "subject": getattr(message, "subject", None),
        "title": getattr(message, "title", None),
        "url": getattr(message, "url", None),
        "unsubscribe": getattr(message, "unsubscribe_url", None),
        "html": f"{len(html.encode()):,} bytes; to see it: --html FILE"
        if (html := getattr(message, "html", None))
        else None,
    }
    context.out.lines(fields(shown))
    text: str = getattr(message, "text", "") or getattr(message, "body", "")
    if text:
        context.out.line()
        context.out.lines(f"  {plain(line)}" for line in text.splitlines())


def _write(context: Context, file: str, html: str | None) -> int:
    if html is None:
        raise CommandError("the e-mail has no HTML; there is no email.html for this type and locale")
    try:
        Path(file).write_text(html, "utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"cannot write {plain(file[:80])!r}: {inputs.unreadable(error)}; give --html a file"
        ) from error
    context.out.answer({"file": file}, f"wrote {plain(file)}")
    return OK
