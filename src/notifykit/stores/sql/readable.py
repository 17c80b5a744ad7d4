"""Endpoints and subscriptions as they are read: for a row that is damaged a stand-in is returned.

See :mod:`notifykit.models.unreadable`.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from sqlalchemy import RowMapping

from ...errors import StoreError
from ...models.endpoint import Endpoint, EndpointState
from ...models.event_type import StoredEventType
from ...models.subscription import Subscription
from ...models.unreadable import UnreadableEndpoint, UnreadableSubscription
from . import rows
from .rows import EPOCH

#: Why an endpoint is paused whose row cannot be read.
UNREADABLE = "record_unreadable"
#: The most characters of a column that are parsed; what may be stored is a good deal less.
MAX_COLUMN = 1024 * 1024

_log = logging.getLogger("notifykit")
#: What decoding a row can raise.
_DAMAGED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
#: The columns that are parsed.
_JSON = ("secrets", "headers", "retry", "rate_limit", "event_types", "filter", "details")


def endpoint_from(row: RowMapping) -> Endpoint:
    """Return the endpoint of a row of ``endpoints``, or its stand-in."""
    try:
        _require_bounds(row)
        return rows.endpoint_from(row)
    except _DAMAGED as error:
        _log_damage("endpoint", row, error)
        return UnreadableEndpoint(
            id=row["id"],
            tenant=row["tenant"],
            url=str(row["url"]),
            state=EndpointState.PAUSED,
            state_reason=UNREADABLE,
            timeout=timedelta(seconds=15),
            created_at=EPOCH,
            updated_at=EPOCH,
        )


def subscription_from(row: RowMapping) -> Subscription:
    """Return the subscription of a row of ``subscriptions``, or its stand-in."""
    try:
        _require_bounds(row)
        return rows.subscription_from(row)
    except _DAMAGED as error:
        _log_damage("subscription", row, error)
        return UnreadableSubscription(
            id=row["id"],
            tenant=row["tenant"],
            subscriber_id=row["subscriber_id"],
            event_types=("**",),
            description=UNREADABLE,
            enabled=False,
            created_at=EPOCH,
            updated_at=EPOCH,
        )


def event_type_from(row: RowMapping) -> StoredEventType:
    """Return the type of a row of ``event_types``; of a damaged row only the name is left."""
    try:
        _require_bounds(row)
        return rows.event_type_from(row)
    except _DAMAGED as error:
        _log_damage("event_type", row, error)
        return StoredEventType(id=row["id"], tenant=row["tenant"], version=row["version"])


def endpoint_values(endpoint: Endpoint) -> dict[str, Any]:
    """Return the columns of ``endpoints``.

    Raises:
        StoreError: It is a stand-in for a damaged row.
        VaultError: It is a stand-in for an endpoint that cannot be decrypted.
    """
    if isinstance(endpoint, UnreadableEndpoint):
        raise endpoint.error or _refusal("endpoint", endpoint.id)
    return rows.endpoint_values(endpoint)


def subscription_values(subscription: Subscription) -> dict[str, Any]:
    """Return the columns of ``subscriptions``.

    Raises:
        StoreError: It is a stand-in.
    """
    if isinstance(subscription, UnreadableSubscription):
        raise _refusal("subscription", subscription.id)
    return rows.subscription_values(subscription)


def _require_bounds(row: RowMapping) -> None:
    """Refuse to parse a column that is larger than anything that may be stored."""
    for name in _JSON:
        column = row.get(name)
        if column is not None and len(column) > MAX_COLUMN:
            raise ValueError(f"{name} has {len(column)} characters")


def _log_damage(kind: str, row: RowMapping, error: Exception) -> None:
    # Only the kind of error: its text may repeat what stands in the row.
    _log.error("%s.unreadable id=%s tenant=%r error=%s", kind, row["id"], row["tenant"], type(error).__name__)


def _refusal(kind: str, id_: str) -> StoreError:
    return StoreError(
        f"the row of {kind} {id_} cannot be read (the log says why), so it is not written either: "
        "repair it in the database, or delete it and create it anew"
    )
