"""Publishing through the caller's own connection: one statement, in the caller's transaction.

The statements are text so that they also run through a bare DB-API cursor
(Django's connection), and so that PostgreSQL's every driver sends just one.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
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

#: Events of one statement, and bytes of their bodies.
_CHUNK, _CHUNK_BYTES = 200, 1_000_000
_COLUMNS = ", ".join(EVENT_COLUMNS)
_HELD = "SELECT id, fingerprint FROM notifykit_events WHERE tenant = {} AND idempotency_key = {}"

_NO_TABLE = ("no such table", "does not exist", "doesn't exist")
#: Errors of MySQL that quote the value: it is there already, has the wrong form, or is no text.
_QUOTING = frozenset({1062, 1292, 1366})

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
_INSERT_EVENTS = "INSERT INTO notifykit_events ({columns}) VALUES {values}"
_INSERT_OUTBOX = "INSERT INTO notifykit_outbox (event_id, tenant, priority, due_at, ordering_key) VALUES {values}"
_OUTBOX_COLUMNS = ("id", "tenant", "priority", "due_at", "ordering_key")
_SQLITE_EVENTS = "INSERT INTO notifykit_events ({columns}) VALUES {values} ON CONFLICT DO NOTHING RETURNING id"
_SQLITE_OUTBOX = (
    "INSERT INTO notifykit_outbox (event_id, tenant, priority, due_at, ordering_key) "
    "SELECT id, tenant, priority, due_at, ordering_key FROM notifykit_events WHERE (tenant, id) IN (VALUES {values})"
)


@lru_cache(maxsize=128)
def _insert(template: str, answer: str, rows: int, mark: str) -> str:
    return template.format(columns=_COLUMNS, values=_rows(EVENT_COLUMNS, range(rows), mark), answer=answer)


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
    for chunk in _chunks(ordered):
        with _without_values():
            found = _append_chunk(through, chunk, NOTIFY if notify else NO_NOTIFY)
        failpoint("pub.inserted")
        answers.update(zip((event.id for event in chunk), found, strict=True))
    return [answers[event.id] for event in events]


def _chunks(events: Sequence[StoredEvent]) -> Iterator[Sequence[StoredEvent]]:
    """Yield what one statement writes: a server takes none of any size."""
    chunk: list[StoredEvent] = []
    size = 0
    for event in events:
        if chunk and (len(chunk) == _CHUNK or size + len(event.body) > _CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(event)
        size += len(event.body)
    if chunk:
        yield chunk


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
        if "notifykit_" in problem and any(sign in problem for sign in _NO_TABLE):
            raise SchemaError("this database has no notifykit tables; run: notifykit migrate") from error
        raise


def _forget_values(error: BaseException) -> None:
    if isinstance(error, exc.StatementError):
        error.params, error.hide_parameters = None, True
    if isinstance(getattr(error, "detail", None), str):  # of asyncpg, which adds it to the text
        vars(error)["detail"] = None
    if error.args[:1] and error.args[0] in _QUOTING:  # of MySQL
        error.args = (error.args[0], "a value does not fit")
    error.args = tuple(arg.partition("\n")[0] if isinstance(arg, str) else arg for arg in error.args)


def _append_chunk(through: _Through, events: Sequence[StoredEvent], answer: str) -> list[Appended]:
    values = {
        f"{name}_{i}": value
        for i, event in enumerate(events)
        for name, value in zip(EVENT_COLUMNS, event_values(event), strict=True)
    }
    if through.dialect == "mysql":
        return _append_to_mysql(through, events, values)
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
    return _answers(through, events, stored, held)


def _append_to_mysql(through: _Through, events: Sequence[StoredEvent], values: Mapping[str, Any]) -> list[Appended]:
    """Insert events together or, if one is there already, one by one.

    An insert that fails undoes that statement alone, and the caller's transaction goes on.
    """
    numbers = {event.id: number for number, event in enumerate(events)}
    stored = events if _is_inserted(through, range(len(events)), values) else []
    if not stored and len(events) > 1:
        stored = [event for event in events if _is_inserted(through, [numbers[event.id]], values)]
    if stored:
        rows = _rows(_OUTBOX_COLUMNS, [numbers[event.id] for event in stored], through.mark)
        binds = {
            f"{name}_{numbers[event.id]}": values[f"{name}_{numbers[event.id]}"]
            for event in stored
            for name in _OUTBOX_COLUMNS
        }
        through.execute(_INSERT_OUTBOX.format(values=rows), binds)
    # What another transaction has committed since ours began is seen by a read that locks.
    held = _HELD.format(through.mark.format("tenant"), through.mark.format("key")) + " LOCK IN SHARE MODE"
    return _answers(through, events, {event.id for event in stored}, held)


def _is_inserted(through: _Through, numbers: Sequence[int], values: Mapping[str, Any]) -> bool:
    statement = _INSERT_EVENTS.format(columns=_COLUMNS, values=_rows(EVENT_COLUMNS, numbers, through.mark))
    try:
        through.execute(statement, {f"{name}_{n}": values[f"{name}_{n}"] for n in numbers for name in EVENT_COLUMNS})
    except Exception as error:
        if not _is_duplicate(error):
            raise
        return False
    return True


def _rows(columns: Sequence[str], numbers: Sequence[int], mark: str) -> str:
    return ", ".join("(" + ", ".join(mark.format(f"{name}_{n}") for name in columns) + ")" for n in numbers)


def _is_duplicate(error: BaseException) -> bool:
    """Return whether an error of any driver of MySQL says that a key is there already."""
    causes = (error, getattr(error, "orig", None), error.__cause__)
    return any(cause is not None and cause.args[:1] == (1062,) for cause in causes)


def _answers(through: _Through, events: Sequence[StoredEvent], stored: Collection[str], held: str) -> list[Appended]:
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
        self.dialect = backend_of(connection.dialect.name)
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
            driver: Any = pooled.dbapi_connection
            asked = getattr(driver, "get_autocommit", None)  # of MySQL, where ``autocommit`` is what sets it
            return bool(asked()) if callable(asked) else getattr(driver, "autocommit", False) is True
        driver = pooled.driver_connection
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
