"""The line on stderr and the exit code for each error."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..errors import NotifykitError

OK, FAILED, USAGE, NOT_FOUND, NO_STORE, OUTDATED, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 3, 4, 5, 130, 141

#: The text about exit codes in ``--help``.
EXIT_CODES = """\
exit codes:
  0    success, or the answer is yes
  1    the answer is no, or something failed
  2    the command line or the configuration is invalid
  3    there is no such object for this tenant
  4    the store does not answer, or its tables are missing or of an earlier version
  5    the store's tables are of a newer version of notifykit than this one
  130  stopped by Ctrl-C
  141  the output was closed by its reader
"""


class CommandError(Exception):
    """A command has failed.

    Attributes:
        code: The exit code.
    """

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


class UsageError(CommandError):
    """The command line is invalid."""

    def __init__(self, message: str) -> None:
        super().__init__(message, USAGE)


def explained(error: NotifykitError, tenant: str) -> CommandError:
    """Return an error that says what happened and what to do next, with the exit code."""
    from .. import errors as e

    table: list[tuple[type[NotifykitError], int, Callable[[], str]]] = [
        (e.NotFoundError, NOT_FOUND, lambda: f"is it another tenant's? This is tenant {tenant!r} (--tenant)"),
        (e.NewerSchemaError, OUTDATED, lambda: "install the version that has migrated the tables"),
        (e.SchemaError, NO_STORE, lambda: "create or upgrade the tables with: notifykit migrate"),
        (e.StoreUnavailableError, NO_STORE, lambda: "check --url (or NOTIFYKIT_URL) and that the database runs"),
        (e.VaultError, NO_STORE, lambda: "check NOTIFYKIT_KEYS; see: notifykit keys --help"),
        (e.StaleWriteError, FAILED, lambda: "run the command again"),
        (e.StoreError, NO_STORE, lambda: "check --url (or NOTIFYKIT_URL)"),
        (e.ConfigurationError, USAGE, lambda: "see: notifykit --help"),
        (e.InvalidInputError, FAILED, lambda: _remedy(error)),
        (e.DestinationRefusedError, FAILED, lambda: _remedy(error)),
    ]
    text = str(error)
    for kind, code, remedy in table:
        if isinstance(error, kind):
            # Some messages of the library already name the next step.
            named = "notifykit migrate" in text or "notifykit keys" in text or "use " in text or "pip install" in text
            return CommandError(text if named else f"{text}; {remedy()}", code)
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
            return f"if that is intended, allow its block, here and for 'notifykit run': --allow {refused.block}"
        case "single_label" | "reserved_name":
            return "if it is a service in your own network, allow its name and its block: --allow-name, --allow"
        case "port":
            return "use 443, 80, or a port from 1024 up that is not the usual port of a database or the like"
        case "userinfo":
            return "remove user and password from the address and give --header 'Authorization: …'"
        case _:
            return "correct the address, and check it with: notifykit endpoints check URL"
