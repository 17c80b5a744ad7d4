"""Encrypt everything again under the current key, so that older keys can be thrown away.

Page by page, each a transaction of its own, beside running traffic: a value is written only where
the row has not changed since it was read.  Stopping half-way loses nothing; the next run continues with what is left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

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
from ...ports import TAMPERED, Rewrapped
from ...vault import KeyRing
from ...vault.ring import prefix
from ..encoding.again import account_again, attempt_again, bytes_again, endpoint_again, event_again, item_again
from ..encoding.encryption import Encryption, response_context
from ..encoding.readable import DAMAGED
from . import schema as s

PAGE = 200
_ENCRYPTED = b"nk1."
#: Rounds at the most, for rows that were changed between reading and writing them.
_ROUNDS = 5

T = TypeVar("T")
#: A row and the columns of it that change.
_Change = tuple[RowMapping, Mapping[str, Any]]


class Transaction(Protocol):
    """Runs a function in a transaction."""

    def __call__(self, work: Callable[[Connection], T], /) -> Awaitable[T]: ...


async def rewrap(
    encryption: Encryption,
    read: Transaction,
    write: Transaction,
    *,
    dry_run: bool,
    progress: Callable[[Rewrapped], None],
) -> Rewrapped:
    """Encrypt every secret of an open store under its current key; return what was done.

    Secrets from before anything was encrypted are encrypted, too; events and responses only if the store
    encrypts payloads.

    Args:
        read: Runs a function in a transaction that reads.
        write: Runs a function in a transaction that writes.
        dry_run: Only count.
        progress: Called after every page.
    """
    done = Rewrapped(key=encryption.vault.ring.current)
    for _ in range(_ROUNDS):
        done.endpoints, done.missed, done.unreadable = 0, 0, Counter()
        for each in _PASSES:
            async for page, changes in _pages(each, encryption, read, done):
                written = len(changes) if dry_run or not changes else await write(_writer(each, changes))
                done.endpoints += len(page) if each.table is s.endpoints else 0
                done.rows += written
                done.missed += len(changes) - written
                progress(done)
        if not done.missed:
            break
    return done


async def _pages(
    each: _Pass, encryption: Encryption, read: Transaction, done: Rewrapped
) -> AsyncIterator[tuple[list[RowMapping], list[_Change]]]:
    """Yield each page of a table, with what has to be changed in it."""
    ring = encryption.vault.ring
    after: tuple[Any, ...] | None = None
    while True:
        page = await read(each.reader(after, ring, plain=encryption.payloads))
        yield page, list(_changes(each, page, ring, done))
        if len(page) < PAGE:
            break
        after = tuple(page[-1][name] for name in each.key)


@attrs.frozen
class _Pass:
    """One table.

    Attributes:
        indicator: The column that shows whether a row is encrypted, and under which key; ``None`` if every row must be
            read.
        again: Returns the columns of a row that change.
    """

    table: Table
    key: tuple[str, ...]
    columns: tuple[str, ...]
    indicator: ColumnElement[Any] | None
    again: Callable[[RowMapping, KeyRing], dict[str, Any]]

    def reader(
        self, after: tuple[Any, ...] | None, ring: KeyRing, *, plain: bool
    ) -> Callable[[Connection], list[RowMapping]]:
        """Return what reads the page behind ``after``: rows that may have to be encrypted again."""
        key = [self.table.c[name] for name in self.key]
        query = select(*key, *(self.table.c[name] for name in self.columns)).order_by(*key).limit(PAGE)
        if after is not None:
            query = query.where(tuple_(*key) > after)
        if self.indicator is not None:
            query = query.where(_stale(self.indicator, ring, plain=plain))
        return lambda connection: list(connection.execute(query).mappings())


def _stale(column: ColumnElement[Any], ring: KeyRing, *, plain: bool) -> ColumnElement[bool]:
    """Whether a value is not encrypted under the current key (and, unless ``plain`` counts, is encrypted at all)."""
    current = prefix(ring.current).encode()
    elsewhere = and_(column.is_not(None), func.substr(column, 1, len(current), type_=LargeBinary) != current)
    encrypted = func.substr(column, 1, len(_ENCRYPTED), type_=LargeBinary) == _ENCRYPTED
    return elsewhere if plain else and_(elsewhere, encrypted)


def _changes(each: _Pass, page: list[RowMapping], ring: KeyRing, done: Rewrapped) -> Iterator[_Change]:
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


def _writer(each: _Pass, changes: list[_Change]) -> Callable[[Connection], int]:
    def write(connection: Connection) -> int:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA secure_delete = ON")  # else the old value stays in the page's free space
        written = 0
        for row, changed in changes:
            # A process that changed it meanwhile encrypted it under its own current key, which may be an old one.
            stands = [each.table.c[name] == row[name] for name in (*each.key, *changed)]
            written += connection.execute(update(each.table).where(*stands).values(**changed)).rowcount
        return written

    return write


# ── rows ───────────────────────────────────────────────────────────────────────────────────────


def _last_attempt(row: RowMapping, ring: KeyRing) -> dict[str, Any]:
    at = response_context(row["id"], row["attempts"])
    return {"last_response": bytes_again(bytes(row["last_response"]), ring, at)}


_PASSES = (
    _Pass(s.endpoints, ("tenant", "id"), ("secrets", "headers"), None, endpoint_again),
    _Pass(s.provider_accounts, ("tenant", "id"), ("url",), None, account_again),
    _Pass(s.events, ("tenant", "id"), ("body", "metadata", "fingerprint"), s.events.c.body, event_again),
    # Before the other attempts: a redrive moves the last one there.
    _Pass(s.deliveries, ("tenant", "id"), ("attempts", "last_response"), s.deliveries.c.last_response, _last_attempt),
    _Pass(s.attempts, ("delivery_id", "number"), ("response",), s.attempts.c.response, attempt_again),
    _Pass(s.inbox_items, ("tenant", "recipient", "id"), ("content",), s.inbox_items.c.content, item_again),
)
