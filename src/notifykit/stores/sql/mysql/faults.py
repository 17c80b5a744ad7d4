"""What an error of MySQL or MariaDB means, by its number: for the caller, and for the transaction that met it."""

from __future__ import annotations

from typing import Any

from ....errors import NotifykitError, SchemaError, StoreError, StoreUnavailableError, ValueRefusedError
from .. import faults

READ_ONLY = "the database is read-only: it is a replica, or its read_only is on; use the address of the primary"
#: ``--read-only`` or ``--super-read-only``, InnoDB is read-only (an Amazon Aurora reader), the transaction is.
_READ_ONLY = frozenset({1290, 1792, 1836, 1874})
DUPLICATE = 1062
#: The transaction was chosen to end a deadlock, or has waited too long for a lock: nothing of it is left.
RETRIED = frozenset({1205, 1213})
#: No row that is too long or of no valid form, nothing larger than ``max_allowed_packet``.
_VALUE = frozenset({1048, 1062, 1118, 1153, 1264, 1265, 1292, 1366, 1406, 1690, 3140})
#: No such column, no such table, no default, other columns than values.
_NO_TABLE, _SCHEMA = 1146, frozenset({1054, 1136, 1364})
#: No such user, no such database, no right to use it.
_REFUSED = frozenset({1044, 1045, 1049, 1142, 1143, 1227, 1698})
#: The connection or the server is gone, as the client says it.
_LOST = frozenset({2002, 2003, 2006, 2013, 2014, 2055})
#: Too many connections, the server shuts down, the statement was stopped, no memory, the disk is full.
_MAY_PASS = frozenset({1020, 1021, 1028, 1030, 1037, 1038, 1040, 1041, 1053, 1105, 1114, 1158, 1159, 1160, 1161, 1203})
_STOPPED = frozenset({1317, 1927, 1969, 3024, 4031})


def number(error: BaseException) -> int:
    """Return the number of an error of the driver, or of SQLAlchemy about one; 0 if it has none."""
    cause: Any = getattr(error, "orig", None) or error
    first = cause.args[0] if cause.args else 0
    return first if isinstance(first, int) else 0


def means_read_only(error: BaseException) -> bool:
    """Return whether nothing can be written on this server."""
    return number(error) in _READ_ONLY


def translated(error: BaseException) -> NotifykitError:
    """Return our error for one of SQLAlchemy's or the driver's."""
    cause: Any = getattr(error, "orig", None) or error
    code = number(error)
    text = str(cause.args[1]).partition("\n")[0] if len(cause.args) > 1 else str(cause).partition("\n")[0]
    if code in _READ_ONLY:
        return StoreUnavailableError(f"{READ_ONLY} ({code})")
    if code == _NO_TABLE and "notifykit_" in text:
        return SchemaError(f"the database has no notifykit tables ({text}); run: notifykit migrate")
    if code in _SCHEMA:
        return SchemaError(f"the tables are not those of this version ({text}); run: notifykit check")
    if code in _VALUE:  # the text may repeat the value, which may be private
        return ValueRefusedError(f"the database takes no such value (error {code})")
    if code in _REFUSED:
        return StoreError(f"the database refused the login, or a right that the store needs: {text}")
    if code in RETRIED or code in _MAY_PASS or code in _STOPPED:
        return StoreUnavailableError(f"the database is not available: {text}")
    if code in _LOST or isinstance(error, (OSError, TimeoutError)) or isinstance(cause, (OSError, TimeoutError)):
        return StoreUnavailableError(f"the database is not available: {text or 'it did not answer in time'}")
    return faults.translated(error)
