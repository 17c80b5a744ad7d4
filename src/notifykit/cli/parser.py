"""The argument parser: levels of commands, and help with examples.  The commands are listed in ``commands``."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from .failures import UsageError
from .options import add_globals
from .text import encodable

if TYPE_CHECKING:
    from .context import Context

Handler = Callable[["Context"], Awaitable[int] | int]


class Parser(argparse.ArgumentParser):
    """A parser that raises a :class:`.UsageError` instead of ending the process."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments; one that is unknown is a mistake of the command, whose help lists those that there are."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            getattr(found, "parser", self).error(f"unrecognized arguments: {' '.join(unknown)}")
        return found

    def error(self, message: str) -> NoReturn:
        """Report a mistake in the arguments."""
        raise UsageError(f"{message}; see: {self.prog} --help")

    def print_help(self, file: Any = None) -> None:
        """Write the help, with escapes for characters that the stream's encoding does not have."""
        stream: TextIO = file or sys.stdout
        stream.write(encodable(self.format_help(), stream))


class Commands:
    """A level of commands, to which commands and groups are added.

    Attributes:
        parser: The parser to which the commands are added.
    """

    def __init__(self, parser: argparse.ArgumentParser, level: int) -> None:
        self.parser = parser
        self._subparsers = parser.add_subparsers(metavar="COMMAND", title="commands", parser_class=Parser)
        self._level = level

    def group(self, name: str, *, help: str) -> Commands:
        """Add a group of commands and return it."""
        parser = self._subparsers.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
        add_globals(parser, self._level)
        parser.set_defaults(parser=parser)
        return Commands(parser, self._level + 1)

    def command(self, name: str, handler: Handler, *, help: str, description: str, example: str) -> Parser:
        """Add a command and return its parser."""
        examples = "\n".join(f"  {line}" for line in example.strip().splitlines())
        parser = self._subparsers.add_parser(
            name, help=help, description=textwrap.fill(description, 78), epilog=f"example:\n{examples}"
        )
        add_globals(parser, self._level)
        parser.set_defaults(handler=handler, parser=parser)
        return parser
