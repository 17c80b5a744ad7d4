"""From an exception to one line on stderr and an exit code."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..errors import NotifykitError

OK, FAILED, USAGE, NOT_FOUND, NO_STORE, OUTDATED, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 3, 4, 5, 130, 141

#: What ``--help`` says about them.
EXIT_CODES = """\
exit codes:
  0    done, or the answer is yes
  1    the answer is no, or something failed
  2    the command line or the configuration cannot be used
  3    there is no such object for this tenant
  4    the store does not answer, or its tables are missing or of an earlier version
  5    the store's tables are of a newer version of notifykit than this one
  130  stopped by Ctrl-C
  141  the reader of the output went away
"""


class CommandError(Exception):
    """A command cannot go on.

    Attributes:
        code: The exit code.
    """

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


class UsageError(CommandError):
    """The command line cannot be used."""

    def __init__(self, message: str) -> None:
        super().__init__(message, USAGE)


def explained(error: NotifykitError, tenant: str) -> CommandError:
    """Return what happened, what to do next, and the exit code."""
    from .. import errors as e

    table: list[tuple[type[NotifykitError], int, Callable[[], str]]] = [
        (e.NotFoundError, NOT_FOUND, lambda: f"is it another tenant's? This is tenant {tenant!r} (--tenant)"),
        (e.NewerSchemaError, OUTDATED, lambda: "other processes run a newer version already"),
        (e.SchemaError, NO_STORE, lambda: "create or upgrade the tables with: notifykit migrate"),
        (e.StoreUnavailableError, NO_STORE, lambda: "check --url (or NOTIFYKIT_URL) and that the database runs"),
        (e.VaultError, NO_STORE, lambda: "how keys are changed: notifykit keys --help"),
        (e.StaleWriteError, FAILED, lambda: "run the command again"),
        (e.StoreError, NO_STORE, lambda: "check --url (or NOTIFYKIT_URL)"),
        (e.ConfigurationError, USAGE, lambda: "see: notifykit --help"),
        (e.InvalidInputError, FAILED, lambda: _remedy(error)),
        (e.DestinationRefusedError, FAILED, lambda: _remedy(error)),
    ]
    text = str(error)
    for kind, code, hint in table:
        if isinstance(error, kind):
            # Some messages of the library name the next step themselves.
            told = "notifykit migrate" in text or "notifykit keys" in text or "use " in text or "pip install" in text
            return CommandError(text if told else f"{text}; {hint()}", code)
    return CommandError(text, FAILED)


def _remedy(error: NotifykitError) -> str:
    from ..errors import DestinationRefusedError

    refused = error if isinstance(error, DestinationRefusedError) else error.__cause__
    if not isinstance(refused, DestinationRefusedError):
        return "nothing was stored"
    match refused.reason:
        case "scheme":
            return "use https, or --allow-http on a network you trust"
        case "loopback" | "localhost" | "private" | "shared" | "link_local" if refused.block is not None:
            return f"if that is intended, let its block through, here and for 'notifykit run': --allow {refused.block}"
        case "single_label" | "reserved_name":
            return "if it is a service of your own network, let its name and its block through: --allow-name, --allow"
        case "port":
            return "use 443, 80, or a port from 1024 up that is no database's or the like"
        case "userinfo":
            return "take user and password out of the address and give --header 'Authorization: …'"
        case _:
            return "correct the address; notifykit endpoints check URL tells when it is acceptable"
