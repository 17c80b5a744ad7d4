"""Encrypt everything again with the current key, so that older keys can be deleted.

Page by page, each a transaction of its own, beside running traffic: a value is written only where
what was read still stands.  Stopping half-way loses nothing; the next run goes on with what is left.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    RowMapping,
    Table,
    and_,
    func,
    select,
    tuple_,
    update,
)

from ...errors import MissingKeyError, VaultError
from ...vault import KeyRing
from ...vault.ring import is_encrypted, key_id_of, prefix
from . import schema as s
from .encryption import event_context, header_context, response_context, secret_context
from .readable import DAMAGED
from .store import SqlStore

PAGE = 200
#: Under which name :class:`Rewrapped` counts what does not open although its key is there.
TAMPERED = "(tampered)"

_ENCRYPTED = b"nk1."
#: Rounds at the most, for rows that were changed between reading and writing them.
_ROUNDS = 5


@attrs.define(kw_only=True)
class Rewrapped:
    """How far it is, and in the end what was done.

    Attributes:
        rows: Rows that were encrypted again (or would have been, in a dry run).
        endpoints: Endpoints that were looked at.
        missed: Rows that another process changed at that moment, and that were not read again.
        unreadable: Rows that were left as they are, by the id of the key that is missing.
    """

    rows: int = 0
    endpoints: int = 0
    missed: int = 0
    unreadable: Counter[str] = attrs.field(factory=Counter)


async def rewrap(
    store: SqlStore, *, dry_run: bool = False, progress: Callable[[Rewrapped], None] = lambda _: None
) -> Rewrapped:
    """Encrypt every secret of an open store with its current key; return what was done.

    Secrets that are stored in the clear are encrypted, too; events and responses only if the store
    encrypts payloads.

    Args:
        dry_run: Only count.
        progress: Called after every page.
    """
    done = Rewrapped()
    for _ in range(_ROUNDS):
        done.endpoints, done.missed, done.unreadable = 0, 0, Counter()
        for each in _PASSES:
            await _run(each, store, done, progress, dry_run=dry_run)
        if not done.missed:
            break
    return done


async def _run(
    each: _Pass, store: SqlStore, done: Rewrapped, progress: Callable[[Rewrapped], None], *, dry_run: bool
) -> None:
    ring = store.encryption.vault.ring
    after: tuple[Any, ...] | None = None
    while True:
        page = await store._read(each.reader(after, ring, plain=store.encryption.payloads))
        changes = list(_changes(each, page, ring, done))
        written = len(changes) if dry_run or not changes else await store._write(_writer(each, changes))
        done.endpoints += len(page) if each.table is s.endpoints else 0
        done.rows += written
        done.missed += len(changes) - written
        progress(done)
        if len(page) < PAGE:
            break
        after = tuple(page[-1][name] for name in each.key)


@attrs.frozen
class _Pass:
    """One table.

    Attributes:
        telling: The column that shows whether a row is encrypted, and with which key; ``None`` if there is no such
            column and every row is read.
        again: Returns the columns of a row that change.
    """

    table: Table
    key: tuple[str, ...]
    columns: tuple[str, ...]
    telling: ColumnElement[Any] | None
    again: Callable[[RowMapping, KeyRing], dict[str, Any]]

    def reader(
        self, after: tuple[Any, ...] | None, ring: KeyRing, *, plain: bool
    ) -> Callable[[Connection], list[RowMapping]]:
        """Return what reads the page behind ``after``: rows that may have to be encrypted again."""
        key = [self.table.c[name] for name in self.key]
        query = select(*key, *(self.table.c[name] for name in self.columns)).order_by(*key).limit(PAGE)
        if after is not None:
            query = query.where(tuple_(*key) > after)
        if self.telling is not None:
            query = query.where(_stale(self.telling, ring, plain=plain))
        return lambda connection: list(connection.execute(query).mappings())


def _stale(column: ColumnElement[Any], ring: KeyRing, *, plain: bool) -> ColumnElement[bool]:
    """Whether a value is not encrypted with the current key (and, unless ``plain`` counts, is encrypted at all)."""
    current = prefix(ring.current).encode()
    elsewhere = and_(column.is_not(None), func.substr(column, 1, len(current), type_=LargeBinary) != current)
    encrypted = func.substr(column, 1, len(_ENCRYPTED), type_=LargeBinary) == _ENCRYPTED
    return elsewhere if plain else and_(elsewhere, encrypted)


def _changes(
    each: _Pass, page: list[RowMapping], ring: KeyRing, done: Rewrapped
) -> Iterator[tuple[RowMapping, Mapping[str, Any]]]:
    for row in page:
        try:
            changed = each.again(row, ring)
        except MissingKeyError as error:
            done.unreadable[error.key_id] += 1
        except (VaultError, *DAMAGED):
            done.unreadable[TAMPERED] += 1
        else:
            if changed:
                yield row, changed


def _writer(each: _Pass, changes: list[tuple[RowMapping, Mapping[str, Any]]]) -> Callable[[Connection], int]:
    def write(connection: Connection) -> int:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA secure_delete = ON")  # else the old value stays in the page's free space
        written = 0
        for row, changed in changes:
            # A process that changed it meanwhile encrypted it with its own current key, which may be an old one.
            stands = [each.table.c[name] == row[name] for name in (*each.key, *changed)]
            written += connection.execute(update(each.table).where(*stands).values(**changed)).rowcount
        return written

    return write


# ── rows ───────────────────────────────────────────────────────────────────────────────────────


def _endpoint(row: RowMapping, ring: KeyRing) -> dict[str, Any]:
    tenant, id_ = row["tenant"], row["id"]
    secrets, headers = json.loads(row["secrets"]), json.loads(row["headers"])
    place = secret_context(tenant, id_)
    encrypted = {
        "secrets": json.dumps([[_text(value, ring, place), *times] for value, *times in secrets]),
        "headers": json.dumps({n: _text(value, ring, header_context(tenant, id_, n)) for n, value in headers.items()}),
    }
    return {name: value for name, value in encrypted.items() if json.loads(value) != json.loads(row[name])}


def _event(row: RowMapping, ring: KeyRing) -> dict[str, Any]:
    tenant, id_ = row["tenant"], row["id"]
    plain = not is_encrypted(bytes(row["body"]))
    changed: dict[str, Any] = {"body": _bytes(bytes(row["body"]), ring, event_context(tenant, id_, "body"))}
    if row["metadata"] is not None:
        changed["metadata"] = _text(row["metadata"], ring, event_context(tenant, id_, "metadata"))
    if row["fingerprint"] is not None:
        place = event_context(tenant, id_, "fingerprint")
        stored = bytes(row["fingerprint"])
        changed["fingerprint"] = ring.encrypt_bytes(stored, context=place) if plain else _bytes(stored, ring, place)
    return changed


def _attempt(row: RowMapping, ring: KeyRing) -> dict[str, Any]:
    place = response_context(row["delivery_id"], row["number"])
    return {"response": _bytes(bytes(row["response"]), ring, place)}


def _last_attempt(row: RowMapping, ring: KeyRing) -> dict[str, Any]:
    place = response_context(row["id"], row["attempts"])
    return {"last_response": _bytes(bytes(row["last_response"]), ring, place)}


def _text(value: str, ring: KeyRing, place: str) -> str:
    if not is_encrypted(value):
        return ring.encrypt(value.encode(), context=place)
    # A value under the current key is opened all the same: a run tells whether everything can be read.
    plain = ring.open(value, context=place)
    return value if key_id_of(value) == ring.current else ring.encrypt(plain, context=place)


def _bytes(value: bytes, ring: KeyRing, place: str) -> bytes:
    return ring.encrypt_bytes(ring.open_bytes(value, context=place) if is_encrypted(value) else value, context=place)


_PASSES = (
    _Pass(s.endpoints, ("tenant", "id"), ("secrets", "headers"), None, _endpoint),
    _Pass(s.events, ("tenant", "id"), ("body", "metadata", "fingerprint"), s.events.c.body, _event),
    # Before the other attempts: a redrive moves the last one there.
    _Pass(s.deliveries, ("tenant", "id"), ("attempts", "last_response"), s.deliveries.c.last_response, _last_attempt),
    _Pass(s.attempts, ("delivery_id", "number"), ("response",), s.attempts.c.response, _attempt),
)
