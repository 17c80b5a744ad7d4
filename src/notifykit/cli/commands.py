"""All commands, in the order in which help lists them.

To add a command, write a module with ``add(commands)`` and name it here.  Command modules do not import this one.
"""

from __future__ import annotations

from functools import cache

from . import (
    api_keys,
    audit,
    checkup,
    completion,
    dead,
    decide,
    deliveries,
    endpoints,
    events,
    explain,
    follow,
    inbox,
    ingest,
    keys,
    listen,
    migrate,
    preferences,
    preview,
    providers,
    publish,
    recipients,
    run,
    serve,
    shards,
    stats,
    subscriptions,
    suppressions,
    templates,
)
from .catch import command as catch
from .demo import command as demo
from .failures import EXIT_CODES
from .options import add_globals
from .parser import Commands, Parser

#: Modules with an ``add`` that adds their commands.
COMMANDS = (
    demo,
    migrate,
    run,
    serve,
    publish,
    ingest,
    listen,
    catch,
    endpoints,
    subscriptions,
    recipients,
    preferences,
    suppressions,
    events,
    deliveries,
    dead,
    inbox,
    decide,
    preview,
    templates,
    providers,
    follow,
    explain,
    stats,
    shards,
    keys,
    api_keys,
    audit,
    checkup,
    completion,
)


@cache
def build() -> Parser:
    """Return the parser of the whole command line, always the same: to build it takes longer than many commands."""
    parser = Parser(
        prog="notifykit",
        description="Deliver signed webhooks from your own database.",
        epilog="try it:\n  notifykit demo\n\n" + EXIT_CODES,
    )
    add_globals(parser, 0)
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    commands = Commands(parser, 1)
    for module in COMMANDS:
        module.add(commands)
    return parser
