"""Find out whether the keys at hand open what a store holds, before a dispatcher meets a value that they do not open.

All endpoints are read, up to a bound, since one that does not open gets no deliveries.  Of events and answers, which
may be many and large, the first and the last rows are read.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import attrs
from sqlalchemy import Connection, RowMapping, Table, select, tuple_

from ...errors import MissingKeyError, VaultError
from ...vault.ring import is_encrypted
from . import schema as s
from .encryption import event_context, header_context, response_context, secret_context
from .readable import DAMAGED
from .rewrap import TAMPERED
from .store import SqlStore

MOST_ENDPOINTS = 10_000
_PAGE = 500
#: Rows of a sampled table that are read from each of its ends.
_SAMPLE = 50

#: A stored value, which may be encrypted, and its encryption context.
_Value = tuple[str | bytes, str]


@attrs.define(kw_only=True)
class Survey:
    """What was read, and what of it cannot be decrypted.

    Attributes:
        endpoints: Endpoints that were read.
        sampled: Rows of events and answers that were read.
        encrypted: Rows with an encrypted value in them.
        unreadable: Rows that cannot be decrypted, by the id of the key that is missing, or :data:`.rewrap.TAMPERED`.
    """

    endpoints: int = 0
    sampled: int = 0
    encrypted: int = 0
    unreadable: Counter[str] = attrs.field(factory=Counter)


async def survey(store: SqlStore) -> Survey:
    """Open what an open store holds and return what was found."""
    found = Survey()
    after: tuple[Any, ...] | None = None
    while found.endpoints < MOST_ENDPOINTS:
        page = await store._read(_ENDPOINTS.reader(after=after, limit=_PAGE))
        found.endpoints += len(page)
        _note(found, store, _ENDPOINTS, page)
        if len(page) < _PAGE:
            break
        after = _ENDPOINTS.key_of(page[-1])
    for source in _SAMPLED:
        ends = [await store._read(source.reader(limit=_SAMPLE, last=last)) for last in (False, True)]
        rows = {source.key_of(row): row for end in ends for row in end}
        found.sampled += len(rows)
        _note(found, store, source, list(rows.values()))
    return found


def _note(found: Survey, store: SqlStore, source: _Source, rows: list[RowMapping]) -> None:
    for row in rows:
        try:
            encrypted = [(value, place) for value, place in source.values(row) if is_encrypted(value)]
        except DAMAGED:
            found.unreadable[TAMPERED] += 1
            continue
        found.encrypted += bool(encrypted)
        for value, place in encrypted:
            ring = store.encryption.vault.ring  # only read where something is encrypted: it may make a key
            try:
                _ = ring.open(value, context=place) if isinstance(value, str) else ring.open_bytes(value, context=place)
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
    values: Callable[[RowMapping], Iterator[_Value]]

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


def _of_endpoint(row: RowMapping) -> Iterator[_Value]:
    tenant, id_ = row["tenant"], row["id"]
    for value, *_ in json.loads(row["secrets"]):
        yield value, secret_context(tenant, id_)
    for name, value in json.loads(row["headers"]).items():
        yield value, header_context(tenant, id_, name)


def _of_event(row: RowMapping) -> Iterator[_Value]:
    tenant, id_ = row["tenant"], row["id"]
    yield bytes(row["body"]), event_context(tenant, id_, "body")
    if row["metadata"] is not None and is_encrypted(bytes(row["body"])):  # else it may only look like an encrypted one
        yield row["metadata"], event_context(tenant, id_, "metadata")


def _of_delivery(row: RowMapping) -> Iterator[_Value]:
    if row["last_response"] is not None:
        yield bytes(row["last_response"]), response_context(row["id"], row["attempts"])


def _of_attempt(row: RowMapping) -> Iterator[_Value]:
    if row["response"] is not None:
        yield bytes(row["response"]), response_context(row["delivery_id"], row["number"])


_ENDPOINTS = _Source(s.endpoints, ("tenant", "id"), ("secrets", "headers"), _of_endpoint)
_SAMPLED = (
    _Source(s.events, ("tenant", "id"), ("body", "metadata"), _of_event),
    _Source(s.deliveries, ("tenant", "id"), ("attempts", "last_response"), _of_delivery),
    _Source(s.attempts, ("delivery_id", "number"), ("response",), _of_attempt),
)
