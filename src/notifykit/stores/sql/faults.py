"""What an error of the database means: for the caller, and for the connection that met it.

Three kinds are distinguished, by the codes of SQLSTATE and of SQLite, because each needs another reaction:
what may pass is tried again, what is wrong with a value concerns that value alone, and what is
wrong with the tables needs an operator.
"""

from __future__ import annotations

import sqlite3

from sqlalchemy import exc

from ...errors import NotifykitError, SchemaError, StoreError, StoreUnavailableError, ValueRefusedError

READ_ONLY = (
    "the database is read-only: it is a standby, or its default_transaction_read_only is on; "
    "use the address of the primary"
)
#: The transaction is read-only: the server was a primary when the connection was made.
READ_ONLY_STATE = "25006"
#: Classes of SQLSTATE that may pass: no connection, read-only, rolled back (deadlock), no resources (disk, memory,
#: connections), not now (lock timeout), an operator or a timeout intervened, input and output failed.
_MAY_PASS = ("08", READ_ONLY_STATE, "25P03", "25P04", "40", "53", "55", "57", "58")
#: After these the connection is of no more use: it is lost or about to be, or leads to a server that is no primary.
_ENDS_CONNECTION = ("08", READ_ONLY_STATE, "25P03", "57P")
#: Data of no valid form, a broken constraint, and what exceeds a limit of the server.
_VALUE = ("22", "23", "54")
#: No such table, no such column, no such function, no unique constraint as a statement expects it.
_SCHEMA = ("42P01", "42703", "42883", "42P10", "42804")

#: Primary result codes of SQLite: busy, locked, no memory, read-only, interrupted, input or output failed, full,
#: cannot open, locking protocol.
_SQLITE_MAY_PASS = frozenset({5, 6, 7, 8, 9, 10, 13, 14, 15})
#: Too big, constraint, mismatch, range.
_SQLITE_VALUE = frozenset({18, 19, 20, 25})
_NO_TABLE = ("no such table", "does not exist", "UndefinedTable")
_OTHER_TABLES = ("no such column", "has no column named", "ON CONFLICT clause does not match")


def state(error: BaseException) -> str:
    """Return the SQLSTATE that an error of a driver, or of SQLAlchemy about one, carries; empty if none."""
    cause = getattr(error, "orig", None) or error
    return str(getattr(cause, "sqlstate", None) or "")


def ends_connection(error: BaseException) -> bool:
    """Tell whether the connection that met this error is of no more use."""
    return state(error).startswith(_ENDS_CONNECTION)


def translated(error: BaseException) -> NotifykitError:
    """Return our error for one of SQLAlchemy's or the driver's."""
    cause = getattr(error, "orig", None) or error
    text = str(cause).strip().split("\n")[0]
    code = state(error)
    if code == READ_ONLY_STATE:
        return StoreUnavailableError(f"{READ_ONLY} ({text})")
    if any(sign in text for sign in _NO_TABLE) and "notifykit_" in text and (code or "42P01").startswith("42P01"):
        return SchemaError(f"the database has no notifykit tables ({text}); run: notifykit migrate")
    if code.startswith(_SCHEMA) or any(sign in text for sign in _OTHER_TABLES):
        return SchemaError(f"the tables are not those of this version ({text}); run: notifykit check")
    if code.startswith(_VALUE) or _is_value(error, cause):
        # Behind the colon a driver repeats the value, which may be private.
        return ValueRefusedError(f"the database takes no such value ({type(cause).__name__}: {text.split(': ')[0]})")
    if code.startswith(_MAY_PASS) or _may_pass(error, cause):
        return StoreUnavailableError(f"the database is not available: {text}")
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return StoreUnavailableError(f"the connection to the database was lost: {text}")
    if isinstance(cause, sqlite3.OperationalError) and not _sqlite_code(cause):  # behind the column it repeats the text
        return StoreError(f"a row in the database cannot be read: {text.partition(' with text ')[0]}")
    return StoreError(f"{type(error).__name__}: {text}")


def _is_value(error: BaseException, cause: BaseException) -> bool:
    if isinstance(cause, sqlite3.Error) and _sqlite_code(cause) in _SQLITE_VALUE:
        return True
    return isinstance(cause, (UnicodeError, OverflowError)) or isinstance(error, (exc.IntegrityError, exc.DataError))


def _may_pass(error: BaseException, cause: BaseException) -> bool:
    if isinstance(cause, sqlite3.Error):
        return _sqlite_code(cause) in _SQLITE_MAY_PASS
    return isinstance(error, (exc.OperationalError, exc.InterfaceError, exc.TimeoutError, OSError))


def _sqlite_code(error: sqlite3.Error) -> int:
    code: int = getattr(error, "sqlite_errorcode", 0)  # none of its own: the module raised it, not SQLite
    return code & 0xFF
