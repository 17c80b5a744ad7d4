"""Publishing through the caller's own connection: one statement, in the caller's transaction.

The statements are text so that they also run through a bare DB-API cursor
(Django's connection), and so that PostgreSQL's every driver sends just one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, exc, make_url, text

from ...errors import CannotJoinError, SchemaError
from ...models.event import StoredEvent
from ...ports import Appended
from .rows import EVENT_COLUMNS, event_values

_CHUNK = 200
_COLUMNS = ", ".join(EVENT_COLUMNS)
_HELD = "SELECT id, fingerprint FROM notifykit_events WHERE tenant = {} AND idempotency_key = {}"

#: PostgreSQL writes the event and its outbox row in one statement.  The hint is part of the
#: transaction: listeners hear it when the caller commits, and never when it rolls back.
POSTGRES = """
WITH e AS (
  INSERT INTO notifykit_events ({columns}) VALUES {values}
  ON CONFLICT DO NOTHING RETURNING id, tenant, priority, due_at
), o AS (
  INSERT INTO notifykit_outbox (event_id, tenant, priority, due_at)
  SELECT e.id, e.tenant, e.priority, e.due_at FROM e RETURNING event_id
)
SELECT o.event_id{hint}
"""
HINT = ", h.sent FROM o, (SELECT pg_notify('notifykit', '') AS sent) h"
NO_HINT = " FROM o"
_SQLITE_EVENTS = "INSERT INTO notifykit_events ({columns}) VALUES {values} ON CONFLICT DO NOTHING RETURNING id"
_SQLITE_OUTBOX = (
    "INSERT INTO notifykit_outbox (event_id, tenant, priority, due_at) "
    "SELECT id, tenant, priority, due_at FROM notifykit_events WHERE (tenant, id) IN (VALUES {values})"
)


@lru_cache(maxsize=64)
def _insert(template: str, hint: str, rows: int) -> Any:
    values = ", ".join("(" + ", ".join(f":{name}_{i}" for name in EVENT_COLUMNS) + ")" for i in range(rows))
    return text(template.format(columns=_COLUMNS, values=values, hint=hint))


def append(url: str, connection: Any, events: Sequence[StoredEvent], *, hint: bool) -> list[Appended]:
    """Store ``events`` through ``connection``; never commit.

    Args:
        hint: Tell waiting dispatchers when the caller commits (PostgreSQL only).
    """
    if not isinstance(connection, Connection):
        raise CannotJoinError(f"a SQLAlchemy Connection is needed to join a transaction, got {type(connection).__name__}")
    _check_same_database(url, connection)
    answers: list[Appended] = []
    for start in range(0, len(events), _CHUNK):
        answers += _append_chunk(connection, events[start : start + _CHUNK], HINT if hint else NO_HINT)
    return answers


def _append_chunk(connection: Connection, events: Sequence[StoredEvent], hint: str) -> list[Appended]:
    values = {
        f"{name}_{i}": value
        for i, event in enumerate(events)
        for name, value in zip(EVENT_COLUMNS, event_values(event), strict=True)
    }
    template = POSTGRES if connection.dialect.name == "postgresql" else _SQLITE_EVENTS
    try:
        stored = {row[0] for row in connection.execute(_insert(template, hint, len(events)), values)}
    except (exc.OperationalError, exc.ProgrammingError) as error:
        if "notifykit_" in str(error.orig) and ("no such table" in str(error.orig) or "does not exist" in str(error.orig)):
            raise SchemaError("this database has no notifykit tables; run: notifykit migrate") from error
        raise
    if stored and connection.dialect.name == "sqlite":
        new = [event for event in events if event.id in stored]
        pairs = ", ".join(f"(:t_{i}, :i_{i})" for i in range(len(new)))
        binds = {f"{k}_{i}": v for i, e in enumerate(new) for k, v in (("t", e.tenant), ("i", e.id))}
        connection.execute(text(_SQLITE_OUTBOX.format(values=pairs)), binds)
    held = text(_HELD.format(":tenant", ":key"))
    answers = []
    for event in events:
        if event.id in stored:
            answers.append(Appended(event.id))
            continue
        row = connection.execute(held, {"tenant": event.tenant, "key": event.idempotency_key}).one()
        answers.append(Appended(row[0], duplicate=True, fingerprint=bytes(row[1])))
    return answers


def _check_same_database(url: str, connection: Connection) -> None:
    ours = make_url(url).get_backend_name()
    theirs = connection.dialect.name
    if ours != theirs:
        raise CannotJoinError(
            f"the transaction is on {theirs} but the kit's store is on {ours}: "
            "publish without session= or give the kit the same database"
        )
    if ours == "sqlite":
        mine, other = make_url(url).database, connection.engine.url.database
        if _file(mine) != _file(other):
            raise CannotJoinError(f"the transaction is on {other or 'memory'} but the kit's store is {mine or 'memory'}")


def _file(name: str | None) -> str:
    return os.path.realpath(name) if name and name != ":memory:" else ""
