"""``notifykit templates check``: look for mistakes in templates.  Needs no store."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from ..environment import PUBLIC_URL, TEMPLATES
from . import inputs, stored_templates
from .failures import FAILED, OK, UsageError
from .parser import Commands
from .text import plain

if TYPE_CHECKING:
    from ..templates import Templates
    from .context import Context


def add(commands: Commands) -> None:
    """Add the commands."""
    group = commands.group("templates", help="templates of messages for people: check, list, history, set, rollback")
    stored_templates.add(group)
    parser = group.command(
        "check",
        check,
        help="look for mistakes, without a store",
        description="Check all templates of a folder: what cannot be compiled, locales that are missing, variables "
        "that are unknown, marketing without an address for unsubscribing, e-mail that mail programs cut off, SMS that "
        "take several segments. Exits with 1 if something was found.",
        example="notifykit templates check --templates templates\n"
        "notifykit templates check --marketing newsletter.sent --sms-segments 2 --json",
    )
    add_folder(parser)
    parser.add_argument(
        "--marketing", metavar="TYPE", action="append", default=[], help="a type that is marketing; repeatable"
    )
    parser.add_argument(
        "--sms-segments", type=inputs.positive, default=1, metavar="N", help="how many segments an SMS may have (1)"
    )
    parser.add_argument("--default-locale", metavar="LOCALE", default="en", help="of files without a locale (en)")


def add_folder(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the folder."""
    parser.add_argument("--templates", metavar="FOLDER", help="the folder of the templates (NOTIFYKIT_TEMPLATES)")


def load(context: Context) -> Templates:
    """Return the templates of the folder that the command line or the environment names."""
    from ..templates import Templates

    folder = os.environ.get(TEMPLATES) if context.args.templates is None else context.args.templates
    if folder is None:
        raise UsageError("no folder of templates; give --templates FOLDER, or set NOTIFYKIT_TEMPLATES")
    return Templates(folder, default_locale=getattr(context.args, "default_locale", "en"))


def check(context: Context) -> int:
    """Look for mistakes."""
    import attrs

    from ..templates import Lint

    args, out = context.args, context.out
    templates = load(context)
    unknown = sorted(set(args.marketing) - {type_ for type_, _ in templates.library.parts})
    if unknown:
        raise UsageError(f"--marketing: there are no templates for {plain(unknown[0][:80])!r}")
    lint = Lint(
        templates,
        marketing=args.marketing,
        sms_segments=args.sms_segments,
        has_page=bool(os.environ.get(PUBLIC_URL, "").strip()),
    )
    findings = lint.findings()
    for finding in findings:
        out.record(attrs.asdict(finding))
        place = finding.template if finding.line is None else f"{finding.template}:{finding.line}"
        out.line(plain(f"{place}: {finding.message} ({finding.code})"))
    if not findings:
        out.line(f"checked {len(templates.library.files)} files: nothing found")
    return FAILED if findings else OK
