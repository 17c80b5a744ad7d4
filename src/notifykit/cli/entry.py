"""Parse the arguments, run the command, and turn its result or error into an exit code."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress

from .commands import build
from .context import Context
from .failures import BROKEN_PIPE, FAILED, INTERRUPTED, OK, USAGE, CommandError, explained
from .inputs import join_relative_times
from .logs import logging_to_stderr
from .text import encodable, plain


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    arguments = join_relative_times(sys.argv[1:] if argv is None else argv)
    verbose = 0
    try:
        parser = build()
        args = parser.parse_args(arguments)
        if args.version:
            from .. import __version__

            print(f"notifykit {__version__}")
            return OK
        handler = getattr(args, "handler", None)
        if handler is None:
            getattr(args, "parser", parser).print_help(sys.stderr)
            return USAGE
        context = Context(args)
        verbose = context.verbose
        with logging_to_stderr(verbose):
            code = _called(handler, context)
        sys.stdout.flush()
    except SystemExit as error:  # --help
        return error.code if isinstance(error.code, int) else FAILED
    except CommandError as error:
        return _report(str(error), error.code)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return _quiet()
    except Exception as error:  # noqa: BLE001 - users get one line, not a traceback
        if verbose:
            traceback.print_exc()
        return _report(
            f"unexpected {type(error).__name__}: {error}; "
            + ("please report it" if verbose else "run it again with -v to see the traceback, and please report it"),
            FAILED,
        )
    return code


def _called(handler: object, context: Context) -> int:
    from ..errors import NotifykitError

    assert callable(handler)
    try:
        if inspect.iscoroutinefunction(handler):
            return int(asyncio.run(handler(context)))
        return int(handler(context))
    except NotifykitError as error:
        raise explained(error, context.tenant) from error


def _report(message: str, code: int) -> int:
    print(encodable(f"notifykit: {plain(message)}", sys.stderr), file=sys.stderr)
    return code


def _quiet() -> int:
    """End without a message, because the reader has closed the output."""
    with suppress(OSError, ValueError):
        # The interpreter flushes stdout once more when it ends; that must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BROKEN_PIPE
