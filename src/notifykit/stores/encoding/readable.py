"""Values as they are read: for a row that is damaged a stand-in is returned (see :mod:`notifykit.models.unreadable`).

Events and deliveries that are leased have no stand-in.  One that cannot be read is left out, and is due again
when its lease has run out; a delivery becomes a dead letter (``quarantined``) after as many leases as one whose
workers died.

Decoding is not checked before it fails: the rows of a page are read again one by one after the first error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from ...models.delivery import Attempt, Delivery, DeliveryState, Priority
from ...models.endpoint import EndpointState
from ...models.event import StoredEvent
from ...models.unreadable import (
    UnreadableAttempt,
    UnreadableDelivery,
    UnreadableEvent,
    unreadable_body,
)
from . import rows
from .rows import EPOCH, PRIORITIES, Row, instant_or_none

#: Why an endpoint is paused, and what a stand-in has for its reason, whose row cannot be read.
UNREADABLE = "record_unreadable"
#: The most characters of a column that are parsed; what may be stored is a good deal less.
MAX_COLUMN = 1024 * 1024

_log = logging.getLogger("notifykit")
T = TypeVar("T")
#: What decoding a row can raise.
DAMAGED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
#: The columns that are parsed.
_JSON = frozenset({"secrets", "headers", "retry", "rate_limit", "event_types", "filter", "details"})


class Garbled(str):
    """A text in an SQLite file that is not UTF-8, with marks where it cannot be read."""

    __slots__ = ()


# ── rows ───────────────────────────────────────────────────────────────────────────────────────


def each(decode: Callable[[Any], T], found: Sequence[Any], kind: str, *, key: str = "id") -> list[T]:
    """Return what ``decode`` makes of rows; those that it cannot read are left out and logged.

    Args:
        key: The column that holds the id.
    """
    try:
        return list(map(decode, found))
    except DAMAGED:
        return one_by_one(decode, found, kind, key=key)


def one_by_one(decode: Callable[[Any], T], found: Sequence[Any], kind: str, *, key: str = "id") -> list[T]:
    """Do as :func:`each`, for rows of which one is known to be damaged."""
    decoded = []
    for row in found:
        try:
            _require_text(tuple(row))
            decoded.append(decode(row))
        except DAMAGED as error:
            log_damage(kind, {"id": row[key], "tenant": row["tenant"]}, error)
    return decoded


# ── events, deliveries and attempts in lists ───────────────────────────────────────────────────


def event_from(row: Row) -> StoredEvent:
    """Return the event of a row of ``events``, or its stand-in."""
    try:
        _require_text(row.values())
        return rows.event_from(row)
    except DAMAGED as error:
        log_damage("event", row, error)
        described = ("topic", "resource_kind", "resource_id", "actor", "category", "purpose", "audience")
        texts = (*described, "ordering_key", "idempotency_key", "trace")
        return UnreadableEvent(
            id=row["id"],
            tenant=row["tenant"],
            type=str(row["type"]),
            version=_or(0, int, row["version"]),
            occurred_at=_instant(row["occurred_at"]) or EPOCH,
            published_at=_instant(row["published_at"]) or EPOCH,
            due_at=_instant(row["due_at"]) or EPOCH,
            expires_at=_instant(row["expires_at"]),
            priority=_or(Priority.NORMAL, PRIORITIES.__getitem__, row["priority"]),
            fingerprint=None,
            metadata=None,
            body=unreadable_body(UNREADABLE),
            **{name: None if row[name] is None else str(row[name]) for name in texts},
        )


def delivery_from(row: Row) -> Delivery:
    """Return the delivery of a row of ``queue`` or ``deliveries`` (its event's type beside it), or its stand-in."""
    try:
        _require_text(row.values())
        return rows.delivery_from(row)
    except DAMAGED as error:
        log_damage("delivery", row, error)
        finished_at = _instant(row["finished_at"])
        likely = DeliveryState.HELD if row["finished_at"] is None else DeliveryState.DEAD
        names = ("id", "event_id", "tenant", "subscription_id", "subscriber_id", "channel")
        return UnreadableDelivery(
            **{name: str(row[name]) for name in names},
            event_type=str(row["event_type"] or ""),
            priority=_or(Priority.NORMAL, PRIORITIES.__getitem__, row["priority"]),
            state=_or(likely, DeliveryState, row["state"]),
            reason=UNREADABLE,
            attempts=_or(0, int, row["attempts"]),
            abandoned=_or(0, int, row["abandoned"]),
            generation=_or(0, int, row["generation"]),
            created_at=_instant(row["created_at"]) or EPOCH,
            due_at=_instant(row["due_at"]),
            expires_at=_instant(row["expires_at"]),
            finished_at=finished_at,
            address=None if row["address"] is None else str(row["address"]),
        )


def attempt_from(row: Row) -> Attempt:
    """Return the attempt of a row of ``attempts``, or its stand-in."""
    try:
        _require_text(row.values())
        return rows.attempt_from(row)
    except DAMAGED as error:
        _log.error("attempt.unreadable delivery_id=%s error=%s", row["delivery_id"], type(error).__name__)
        return UnreadableAttempt(
            delivery_id=row["delivery_id"],
            number=_or(0, int, row["number"]),
            started_at=_instant(row["started_at"]) or EPOCH,
            took=timedelta(0),
            outcome=str(row["outcome"]),
            reason=UNREADABLE,
        )


def endpoint_state(value: str) -> EndpointState:
    """Return the state of an endpoint; one that cannot be read is paused, as its stand-in is."""
    return _or(EndpointState.PAUSED, EndpointState, value)


def _instant(value: Any) -> datetime | None:
    return _or(None, instant_or_none, value)


def _or(default: T, read: Callable[[Any], T], value: Any) -> T:
    try:
        return read(value)
    except DAMAGED:
        return default


# ── what cannot be read ────────────────────────────────────────────────────────────────────────


def _require_text(values: Iterable[Any]) -> None:
    for value in values:  # by hand: each row that is read comes here
        if type(value) is Garbled:
            raise ValueError("a text is not UTF-8")


def require_bounds(row: Row) -> None:
    """Refuse to parse a column that is larger than anything that may be stored."""
    _require_text(row.values())
    for name in _JSON.intersection(row.keys()):
        column = row[name]
        if column is not None and len(column) > MAX_COLUMN:
            raise ValueError(f"{name} has {len(column)} characters")


def log_damage(kind: str, row: Row, error: Exception) -> None:
    """Log that what is stored under an id cannot be read."""
    # Only the kind of error: its text may repeat what stands in the row.
    _log.error("%s.unreadable id=%s tenant=%r error=%s", kind, row["id"], row["tenant"], type(error).__name__)
