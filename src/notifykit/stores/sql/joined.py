"""Publishing through the caller's own connection: one statement, in the caller's transaction.

The statements are text so that they also run through a bare DB-API cursor
(Django's connection), and so that PostgreSQL's every driver sends just one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, TwoPhaseTransaction, exc, text

from ...errors import CannotJoinError, SchemaError
from ...failpoints import failpoint
from ...models.event import StoredEvent
from ...ports import Appended
from ..encoding.rows import EVENT_COLUMNS, event_values, in_key_order
from .database_url import backend_of
from .sqlite.url import file_of

_CHUNK = 200
_COLUMNS = ", ".join(EVENT_COLUMNS)
_HELD = "SELECT id, fingerprint FROM notifykit_events WHERE tenant = {} AND idempotency_key = {}"

#: PostgreSQL writes the event and its outbox row in one statement.  The notification is part of the
#: transaction: listeners receive it when the caller commits, and never when it rolls back.  A transaction
#: that is prepared (two-phase commit) must not have one: then the event is found by polling.
POSTGRES = """
WITH e AS (
  INSERT INTO notifykit_events ({columns}) VALUES {values}
  ON CONFLICT DO NOTHING RETURNING id, tenant, priority, due_at, ordering_key
), o AS (
  INSERT INTO notifykit_outbox (event_id, tenant, priority, due_at, ordering_key)
  SELECT e.id, e.tenant, e.priority, e.due_at, e.ordering_key FROM e RETURNING event_id
)
SELECT o.event_id{answer}
"""
NOTIFY = ", h.sent FROM o, (SELECT pg_notify('notifykit', '') AS sent) h"
NO_NOTIFY = " FROM o"
_SQLITE_EVENTS = "INSERT INTO notifykit_events ({columns}) VALUES {values} ON CONFLICT DO NOTHING RETURNING id"
_SQLITE_OUTBOX = (
    "INSERT INTO notifykit_outbox (event_id, tenant, priority, due_at, ordering_key) "
    "SELECT id, tenant, priority, due_at, ordering_key FROM notifykit_events WHERE (tenant, id) IN (VALUES {values})"
)


@lru_cache(maxsize=128)
def _insert(template: str, answer: str, rows: int, mark: str) -> str:
    values = ", ".join("(" + ", ".join(mark.format(f"{name}_{i}") for name in EVENT_COLUMNS) + ")" for i in range(rows))
    return template.format(columns=_COLUMNS, values=values, answer=answer)


def append(url: str, connection: Any, events: Sequence[StoredEvent], *, notify: bool) -> list[Appended]:
    """Store ``events`` through ``connection``; never commit.

    Args:
        connection: A SQLAlchemy ``Connection`` or a connection of Django.
        notify: Wake waiting dispatchers when the caller commits (PostgreSQL only).
    """
    through: _Through
    if isinstance(connection, Connection):
        through = _ThroughSqlalchemy(connection)
    elif hasattr(connection, "vendor") and hasattr(connection, "settings_dict"):
        through = _ThroughDjango(connection)
    else:
        raise CannotJoinError(
            f"a SQLAlchemy Connection or a Django connection is needed to join a transaction, "
            f"got {type(connection).__name__}"
        )
    _check_same_database(url, through)
    through.require_transaction(len(events))
    notify = notify and not through.is_two_phase
    answers: dict[str, Appended] = {}
    ordered = in_key_order(events)
    for start in range(0, len(ordered), _CHUNK):
        chunk = ordered[start : start + _CHUNK]
        with _without_values():
            found = _append_chunk(through, chunk, NOTIFY if notify else NO_NOTIFY)
        failpoint("pub.inserted")
        answers.update(zip((event.id for event in chunk), found, strict=True))
    return [answers[event.id] for event in events]


@contextmanager
def _without_values() -> Iterator[None]:
    """Name missing tables, and keep what was published out of every error.

    The error stays the one that the caller's engine raises, because the caller may handle it (a
    serialization failure is tried again).  But whether its text shows the parameters is up to that
    engine, and drivers add rows and statements with values below their first line.
    """
    try:
        yield
    except Exception as error:
        link: BaseException | None = error
        while link is not None:
            _forget_values(link)
            link = link.__cause__ or link.__context__
        problem = str(getattr(error, "orig", error))
        if "notifykit_" in problem and ("no such table" in problem or "does not exist" in problem):
            raise SchemaError("this database has no notifykit tables; run: notifykit migrate") from error
        raise


def _forget_values(error: BaseException) -> None:
    if isinstance(error, exc.StatementError):
        error.params, error.hide_parameters = None, True
    if isinstance(getattr(error, "detail", None), str):  # of asyncpg, which adds it to the text
        vars(error)["detail"] = None
    error.args = tuple(arg.partition("\n")[0] if isinstance(arg, str) else arg for arg in error.args)


def _append_chunk(through: _Through, events: Sequence[StoredEvent], answer: str) -> list[Appended]:
    values = {
        f"{name}_{i}": value
        for i, event in enumerate(events)
        for name, value in zip(EVENT_COLUMNS, event_values(event), strict=True)
    }
    template = POSTGRES if through.dialect == "postgresql" else _SQLITE_EVENTS
    stored = {row[0] for row in through.execute(_insert(template, answer, len(events), through.mark), values)}
    if stored and through.dialect == "sqlite":
        new = [event for event in events if event.id in stored]
        pairs = ", ".join(
            f"({through.mark.format(f't_{i}')}, {through.mark.format(f'i_{i}')})" for i in range(len(new))
        )
        binds = {f"{k}_{i}": v for i, e in enumerate(new) for k, v in (("t", e.tenant), ("i", e.id))}
        through.execute(_SQLITE_OUTBOX.format(values=pairs), binds)
    held = _HELD.format(through.mark.format("tenant"), through.mark.format("key"))
    answers = []
    for event in events:
        if event.id in stored:
            answers.append(Appended(event.id))
            continue
        (row,) = through.execute(held, {"tenant": event.tenant, "key": event.idempotency_key})
        answers.append(Appended(row[0], duplicate=True, fingerprint=bytes(row[1])))
    return answers


def _check_same_database(url: str, through: _Through) -> None:
    ours = backend_of(url)
    theirs = through.dialect
    if ours != theirs:
        raise CannotJoinError(
            f"the transaction is on {theirs} but the kit's store is on {ours}: "
            "publish outside of it or give the kit the same database"
        )
    if ours == "sqlite":
        _check_same_file(file_of(url), through)


def _check_same_file(mine: str | None, through: _Through) -> None:
    if mine is None:
        raise CannotJoinError("the kit's store is a database in memory, which no other connection can join")
    named = through.database
    if named is not None and Path(named).is_absolute() and os.path.realpath(named) == os.path.realpath(mine):
        return
    # A relative name may be that of another folder: the connection knows which file it has.
    other = {row[1]: row[2] for row in through.execute("PRAGMA database_list", {})}["main"]
    if not other or os.path.realpath(other) != os.path.realpath(mine):
        raise CannotJoinError(
            f"the transaction is on {other or 'a database in memory'} but the kit's store is {mine}: "
            "give both the same file, with its absolute path"
        )


# ── the caller's connection ───────────────────────────────────────────────────────────────────


class _Through(Protocol):
    """The caller's connection.

    Attributes:
        mark: How a parameter is written, with ``{}`` for its name.
        is_two_phase: Whether the transaction will be prepared before it is committed.
    """

    dialect: str
    mark: str
    is_two_phase: bool

    def require_transaction(self, count: int) -> None:
        """Raise :class:`CannotJoinError` if ``count`` events would not be part of a transaction."""
        ...

    @property
    def database(self) -> str | None: ...

    def execute(self, statement: str, values: Mapping[str, Any]) -> Sequence[Any]: ...


_text = lru_cache(maxsize=128)(text)


class _ThroughSqlalchemy:
    mark = ":{}"

    def __init__(self, connection: Connection) -> None:
        self.dialect = connection.dialect.name
        self.database = connection.engine.url.database
        self.is_two_phase = isinstance(connection.get_transaction(), TwoPhaseTransaction)
        self._connection = connection

    def require_transaction(self, count: int) -> None:
        del count  # one event would stay after a rollback, too
        level = self._connection.get_execution_options().get("isolation_level")
        if str(level).upper() == "AUTOCOMMIT" or self._driver_commits():
            raise CannotJoinError(
                "the connection commits each statement by itself (AUTOCOMMIT), so the event would stay although you "
                "roll back: publish without session= and connection=, or through a connection with transactions"
            )

    def _driver_commits(self) -> bool:
        """Tell whether the driver's connection is in autocommit mode, by whatever way it came there."""
        pooled = self._connection.connection
        if self.dialect != "sqlite":
            return getattr(pooled.dbapi_connection, "autocommit", False) is True
        driver: Any = pooled.driver_connection
        if driver.isolation_level is not None and getattr(driver, "autocommit", False) is not True:
            return False
        # Transactions may be begun by hand, in SQLAlchemy's event "begin": then there is one from there on.
        if not self._connection.in_transaction():
            self._connection.begin()
        return not driver.in_transaction

    def execute(self, statement: str, values: Mapping[str, Any]) -> Sequence[Any]:
        result = self._connection.execute(_text(statement), dict(values))
        return result.all() if result.returns_rows else ()


class _ThroughDjango:
    mark = "%({})s"

    def __init__(self, connection: Any) -> None:
        self.dialect = str(connection.vendor)
        self.database = str(connection.settings_dict["NAME"])
        self.is_two_phase = False  # Django has none; for transactions prepared by hand there is notify=False
        self._connection = connection

    def require_transaction(self, count: int) -> None:
        # Outside of ``atomic`` everything that Django saves is stored at once, and there is nothing to roll back.
        # That is fine for what is one statement; what takes several could be stored by half.
        is_one = count == 1 and self.dialect == "postgresql"
        if not is_one and self._connection.get_autocommit() and not self._connection.in_atomic_block:
            raise CannotJoinError(
                "no transaction of Django is open: publish inside transaction.atomic(), "
                "or with publish() of notifykit.contrib.django"
            )

    def execute(self, statement: str, values: Mapping[str, Any]) -> Sequence[Any]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else ()
