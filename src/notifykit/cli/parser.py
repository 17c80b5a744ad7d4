"""The argument parser: global options that work before and after a command, and help that teaches."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from .failures import EXIT_CODES, UsageError
from .text import encodable

if TYPE_CHECKING:
    from .context import Context

Handler = Callable[["Context"], Awaitable[int] | int]

#: Options that every command has; each level keeps its own, and :func:`merged` makes one of them.
GLOBALS = ("url", "tenant", "json", "allow", "allow_name", "allow_http", "verbose")


class Parser(argparse.ArgumentParser):
    """A parser that reports a mistake as an error of ours instead of leaving the process."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Report a mistake in the arguments."""
        raise UsageError(f"{message}; see: {self.prog} --help")

    def print_help(self, file: Any = None) -> None:
        """Write the help, with escapes where the stream's encoding has no such character."""
        stream: TextIO = file or sys.stdout
        stream.write(encodable(self.format_help(), stream))


class Commands:
    """A level of commands, to which commands and groups are added."""

    def __init__(self, parser: argparse.ArgumentParser, level: int) -> None:
        self._subparsers = parser.add_subparsers(metavar="COMMAND", title="commands", parser_class=Parser)
        self._level = level

    def group(self, name: str, *, help: str) -> Commands:
        """Add a group of commands and return it."""
        parser = self._subparsers.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
        _add_globals(parser, self._level)
        parser.set_defaults(parser=parser)
        return Commands(parser, self._level + 1)

    def command(self, name: str, handler: Handler, *, help: str, description: str, example: str) -> Parser:
        """Add a command and return its parser."""
        examples = "\n".join(f"  {line}" for line in example.strip().splitlines())
        parser = self._subparsers.add_parser(
            name, help=help, description=textwrap.fill(description, 78), epilog=f"example:\n{examples}"
        )
        _add_globals(parser, self._level)
        parser.set_defaults(handler=handler, parser=parser)
        return parser


def build() -> Parser:
    """Return the parser of the whole command line."""
    from . import checkup, dead, deliveries, endpoints, explain, keys, listen, migrate, publish, run, subscriptions
    from .demo import command as demo

    parser = Parser(
        prog="notifykit",
        description="What happened, reliably, to everyone who should know.",
        epilog="see it work:\n  notifykit demo\n\n" + EXIT_CODES,
    )
    _add_globals(parser, 0)
    parser.add_argument("--version", action="store_true", help="print the version and stop")
    commands = Commands(parser, 1)
    for group in (
        demo,
        migrate,
        run,
        publish,
        listen,
        endpoints,
        subscriptions,
        deliveries,
        dead,
        explain,
        keys,
        checkup,
    ):
        group.add(commands)
    return parser


def _add_globals(parser: argparse.ArgumentParser, level: int) -> None:
    """Add the global options under names of this level.

    A subparser fills a namespace of its own that then covers its parent's, so one name for all
    levels would lose what was given before the command.
    """
    group = parser.add_argument_group("global options, before or after the command")

    def add(*flags: str, name: str, **options: Any) -> None:
        group.add_argument(*flags, dest=f"{name}@{level}", default=argparse.SUPPRESS, **options)

    add("--url", name="url", metavar="URL", help="the store: sqlite:///file.db or postgresql://… (NOTIFYKIT_URL)")
    add("--tenant", name="tenant", metavar="NAME", help="whose data it is (NOTIFYKIT_TENANT; else 'default')")
    add("--json", name="json", action="store_true", help="answer with JSON lines")
    add(
        "--allow",
        name="allow",
        metavar="CIDR",
        action="append",
        help="let deliveries out to this private block; repeatable (NOTIFYKIT_ALLOW)",
    )
    add(
        "--allow-name",
        name="allow_name",
        metavar="NAME",
        action="append",
        help="accept this name of a private network, or *.NAME for all below it; repeatable (NOTIFYKIT_ALLOW_NAMES)",
    )
    add("--allow-http", name="allow_http", action="store_true", help="accept http:// (NOTIFYKIT_ALLOW_HTTP=1)")
    add("-v", "--verbose", name="verbose", action="count", help="log more to stderr; twice for everything")


def merged(given: argparse.Namespace, name: str) -> Any:
    """Return a global option from all levels: lists and counts add up, else the innermost counts."""
    values = [getattr(given, f"{name}@{level}", None) for level in range(3)]
    found = [value for value in values if value is not None]
    if name in ("allow", "allow_name"):
        return [entry for entries in found for entry in entries]
    if name == "verbose":
        return sum(found)
    return found[-1] if found else None
