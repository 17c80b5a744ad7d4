"""What ``notifykit check`` looks at: a list of small functions, each of which yields findings.

A new check is a function in ``software`` (needs no store) or in one of the other modules (gets the open store), and
its name in one of the two lists.  A check of the store may raise a ``NotifykitError``: then that is what is wrong.
"""

from __future__ import annotations

from . import connection, database, software, work
from .finding import Finding, Opened, SoftwareCheck, StoreCheck

__all__ = ["SOFTWARE", "STORE", "Finding", "Opened"]

#: Checks of this machine, in the order in which they are shown.
SOFTWARE: tuple[SoftwareCheck, ...] = (
    software.python,
    software.package,
    software.namesake,
    software.extras,
    software.environment,
)
#: Checks of an open store, in the order in which they are shown.
STORE: tuple[StoreCheck, ...] = (
    database.address,
    connection.connection,
    database.schema,
    database.leases,
    database.clock,
    database.keys,
    work.waiting,
    work.sending,
    work.dead_letters,
    work.failing,
    work.egress,
)
