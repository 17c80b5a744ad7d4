"""The rows of planned deliveries and of ended ones, for databases whose statements take rows."""

from __future__ import annotations

from typing import Any

from ...models.delivery import DeliveryState, NewDelivery
from ...ports import Record
from ..encoding.rows import NamedRow, last_values, micros, micros_or_none, planned_values

_PLANNED = ("id", "event_id", "tenant", "subscription_id", "subscriber_id", "channel", "priority")
QUEUED = (
    *_PLANNED,
    *("state", "reason", "created_at", "due_at", "expires_at", "ordering_key", "fence", "lease_until", "worker"),
    "address",
)
ENDED = (
    *_PLANNED,
    *("state", "reason", "attempts", "abandoned", "generation", "fence", "ordering_key", "created_at", "expires_at"),
    *("finished_at", "last_started_at", "last_took", "last_outcome", "last_reason", "last_status", "last_response"),
    *("last_worker", "last_reference", "last_account", "last_cost", "address", "digest"),
)
#: What an ended delivery keeps of its row in the queue.
KEPT = (
    *_PLANNED,
    "attempts",
    "abandoned",
    "generation",
    "ordering_key",
    "created_at",
    "expires_at",
    "address",
    "digest",
)


def queued_values(new: NewDelivery, now: int, until: int, worker: str) -> tuple[Any, ...]:
    """Return the row of a planned delivery, with the columns of :data:`QUEUED`."""
    leased = new.state is DeliveryState.SENDING
    due_at = micros(new.due_at)
    return (
        *planned_values(new),
        new.state.value,
        new.reason,
        due_at if leased else now,
        due_at,
        micros_or_none(new.expires_at),
        new.ordering_key,
        1 if leased else 0,
        until if leased else None,
        worker if leased else None,
        new.address,
    )


def ended_values(new: NewDelivery, now: int, record: Record | None = None) -> tuple[Any, ...]:
    """Return the row, with the columns of :data:`ENDED`, of a delivery that has ended before its plan is written."""
    state, reason, created_at, finished_at, fence = new.state, new.reason, now, now, 0
    attempts, *last = last_values(None if record is None else record.attempt)
    if record is not None:
        state, reason, created_at, finished_at, fence = (
            record.state,
            record.reason,
            micros(new.due_at),
            micros(record.at),
            1,
        )
    return (
        *planned_values(new),
        state.value,
        reason,
        attempts or 0,
        0,
        0,
        fence,
        new.ordering_key,
        created_at,
        micros_or_none(new.expires_at),
        finished_at,
        *last,
        new.address,
        None,
    )


def recorded_values(row: NamedRow, record: Record) -> tuple[Any, ...]:
    """Return the row, with the columns of :data:`ENDED`, of a delivery that leaves the queue.

    Args:
        row: Its row of the queue, with the columns of :data:`KEPT`.
    """
    number, *last = last_values(record.attempt)
    return (
        *(row[name] for name in _PLANNED),
        record.state.value,
        record.reason,
        number or row["attempts"],
        row["abandoned"],
        row["generation"],
        record.fence,
        row["ordering_key"],
        row["created_at"],
        row["expires_at"],
        micros(record.at),
        *last,
        row["address"],
        row["digest"],
    )
