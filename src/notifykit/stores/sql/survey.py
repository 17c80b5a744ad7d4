"""Find out whether the keys at hand decrypt what a store holds, before a dispatcher comes to a value that they do not.

All endpoints are read, up to a bound, since one that cannot be decrypted gets no deliveries.  Of events and
responses, which may be many and large, the first and the last rows are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs
from sqlalchemy import Connection, RowMapping, Table, select, tuple_

from ...errors import MissingKeyError, VaultError
from ...ports import TAMPERED, Survey
from ...vault.ring import is_encrypted
from ..encoding.again import Value, values_of_account, values_of_endpoint, values_of_event
from ..encoding.encryption import Encryption, item_context, response_context
from ..encoding.readable import DAMAGED
from . import schema as s
from .rewrap import Transaction

MOST_ENDPOINTS = 10_000
_PAGE = 500
#: Rows of a sampled table that are read from each of its ends.
_SAMPLE = 50


async def survey(encryption: Encryption, read: Transaction) -> Survey:
    """Decrypt what an open store holds; return what was found.

    Args:
        read: Runs a function in a transaction that reads.
    """
    found = Survey()
    after: tuple[Any, ...] | None = None
    while found.endpoints < MOST_ENDPOINTS:
        page = await read(_ENDPOINTS.reader(after=after, limit=_PAGE))
        found.endpoints += len(page)
        _count(found, encryption, _ENDPOINTS, page)
        if len(page) < _PAGE:
            break
        after = _ENDPOINTS.key_of(page[-1])
    for source in _SAMPLED:
        ends = [await read(source.reader(limit=_SAMPLE, last=last)) for last in (False, True)]
        rows = {source.key_of(row): row for end in ends for row in end}
        found.sampled += len(rows)
        _count(found, encryption, source, list(rows.values()))
    return found


def _count(found: Survey, encryption: Encryption, source: _Source, rows: list[RowMapping]) -> None:
    for row in rows:
        try:
            encrypted = [(value, at) for value, at in source.values(row) if is_encrypted(value)]
        except DAMAGED:
            found.unreadable[TAMPERED] += 1
            continue
        found.encrypted += bool(encrypted)
        for value, at in encrypted:
            ring = encryption.vault.ring  # only where something is encrypted: asking for the ring may make a key
            try:
                _ = ring.open(value, context=at) if isinstance(value, str) else ring.open_bytes(value, context=at)
            except MissingKeyError as error:
                found.unreadable[error.key_id] += 1
                break
            except VaultError:
                found.unreadable[TAMPERED] += 1
                break


@attrs.frozen
class _Source:
    """A table with encrypted values.

    Attributes:
        values: Returns the values of a row.
    """

    table: Table
    key: tuple[str, ...]
    columns: tuple[str, ...]
    values: Callable[[RowMapping], Iterator[Value]]

    def key_of(self, row: RowMapping) -> tuple[Any, ...]:
        """Return the primary key of a row."""
        return tuple(row[name] for name in self.key)

    def reader(
        self, *, limit: int, after: tuple[Any, ...] | None = None, last: bool = False
    ) -> Callable[[Connection], list[RowMapping]]:
        """Return what reads the rows behind ``after``, or the last ones, in the order of the primary key."""
        key = [self.table.c[name] for name in self.key]
        order = [column.desc() for column in key] if last else key
        query = select(*key, *(self.table.c[name] for name in self.columns)).order_by(*order).limit(limit)
        if after is not None:
            query = query.where(tuple_(*key) > after)
        return lambda connection: list(connection.execute(query).mappings())


def _of_delivery(row: RowMapping) -> Iterator[Value]:
    if row["last_response"] is not None:
        yield bytes(row["last_response"]), response_context(row["id"], row["attempts"])


def _of_attempt(row: RowMapping) -> Iterator[Value]:
    if row["response"] is not None:
        yield bytes(row["response"]), response_context(row["delivery_id"], row["number"])


def _of_inbox_item(row: RowMapping) -> Iterator[Value]:
    yield bytes(row["content"]), item_context(row["tenant"], row["recipient"], row["id"])


_ENDPOINTS = _Source(s.endpoints, ("tenant", "id"), ("secrets", "headers"), values_of_endpoint)
_SAMPLED = (
    _Source(s.provider_accounts, ("tenant", "id"), ("url",), values_of_account),
    _Source(s.events, ("tenant", "id"), ("body", "metadata"), values_of_event),
    _Source(s.deliveries, ("tenant", "id"), ("attempts", "last_response"), _of_delivery),
    _Source(s.attempts, ("delivery_id", "number"), ("response",), _of_attempt),
    _Source(s.inbox_items, ("tenant", "recipient", "id"), ("content",), _of_inbox_item),
)
