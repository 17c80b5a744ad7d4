"""The checks of ``notifykit check``: small functions, each of which yields findings.

To add a check, write a function in ``software`` (without a store) or in one of the other modules (with the open store),
and add it to one of the two lists.  If a check of the store raises a ``NotifykitError``, the error becomes a finding.
"""

from __future__ import annotations

from . import broker, connection, database, mysql, providers, redis, software, work
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
    redis.durability,
    mysql.server,
    database.schema,
    database.leases,
    database.clock,
    database.keys,
    work.waiting,
    work.sending,
    work.workers,
    work.dead_letters,
    work.failing,
    work.egress,
    providers.providers,
    broker.broker,
)
