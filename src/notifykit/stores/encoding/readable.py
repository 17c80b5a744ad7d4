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

from ...errors import InvalidInputError, StoreError
from ...models.access import ApiKey, Role, UnreadableApiKey
from ...models.audit import AuditEntry, UnreadableAuditEntry
from ...models.delivery import Attempt, Delivery, DeliveryState, Priority
from ...models.endpoint import Endpoint, EndpointState
from ...models.event import StoredEvent
from ...models.event_type import StoredEventType
from ...models.provider_account import ProviderAccount
from ...models.recipient import Recipient, TenantPreferences
from ...models.subscription import Subscription
from ...models.suppression import SuppressedAddress, SuppressionEntry, SuppressionReason
from ...models.template import StoredTemplate
from ...models.unreadable import (
    UnreadableAttempt,
    UnreadableDelivery,
    UnreadableEndpoint,
    UnreadableEvent,
    UnreadableProviderAccount,
    UnreadableRecipient,
    UnreadableSubscription,
    UnreadableSuppression,
    UnreadableTemplate,
    UnreadableTenantPreferences,
    unreadable_body,
)
from ...models.worker import UnreadableWorker, WorkerRecord
from . import json_rows, recipient_rows, rows
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
_JSON = ("secrets", "headers", "retry", "rate_limit", "event_types", "filter", "details")


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


# ── records ────────────────────────────────────────────────────────────────────────────────────


def endpoint_from(row: Row) -> Endpoint:
    """Return the endpoint of a row of ``endpoints``, or its stand-in."""
    try:
        _require_bounds(row)
        return rows.endpoint_from(row)
    except DAMAGED as error:
        log_damage("endpoint", row, error)
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


def endpoint_state(value: str) -> EndpointState:
    """Return the state of an endpoint; one that cannot be read is paused, as its stand-in is."""
    return _or(EndpointState.PAUSED, EndpointState, value)


def subscription_from(row: Row) -> Subscription:
    """Return the subscription of a row of ``subscriptions``, or its stand-in."""
    try:
        _require_bounds(row)
        return rows.subscription_from(row)
    except DAMAGED as error:
        log_damage("subscription", row, error)
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


def event_type_from(row: Row) -> StoredEventType:
    """Return the type of a row of ``event_types``; of a damaged row only the name is left."""
    try:
        _require_bounds(row)
        return rows.event_type_from(row)
    except (*DAMAGED, InvalidInputError) as error:
        log_damage("event_type", row, error)
        return StoredEventType(id=row["id"], tenant=row["tenant"], version=row["version"])


def recipient_from(row: Row) -> Recipient:
    """Return the recipient of a row of ``recipients``, or its stand-in."""
    try:
        _require_bounds(row)
        return recipient_rows.recipient_from(row)
    except (*DAMAGED, InvalidInputError) as error:
        log_damage("recipient", row, error)
        return UnreadableRecipient(id=row["id"], tenant=row["tenant"], created_at=EPOCH, updated_at=EPOCH)


def preferences_from(row: Row) -> TenantPreferences:
    """Return the preferences of a row of ``tenant_preferences``, or their stand-in."""
    try:
        _require_bounds(row)
        return recipient_rows.preferences_from(row)
    except (*DAMAGED, InvalidInputError) as error:
        log_damage("tenant_preferences", row, error)
        return UnreadableTenantPreferences(tenant=row["tenant"])


def account_from(row: Row) -> ProviderAccount:
    """Return the account of a row of ``provider_accounts``, or its stand-in."""
    try:
        _require_bounds(row)
        return rows.account_from(row)
    except (*DAMAGED, InvalidInputError) as error:
        log_damage("provider_account", row, error)
        return UnreadableProviderAccount(tenant=row["tenant"], id=row["id"], url=UNREADABLE)


def account_values(account: ProviderAccount) -> dict[str, Any]:
    """Return the columns of ``provider_accounts``.

    Raises:
        StoreError: It is a stand-in for a damaged row.
        VaultError: It is a stand-in for one that cannot be decrypted.
    """
    if isinstance(account, UnreadableProviderAccount):
        raise account.error or _refusal("provider account", account.id)
    return rows.account_values(account)


def suppression_from(row: Row) -> SuppressedAddress:
    """Return the suppressed address of a row of ``suppressions``, or its stand-in."""
    try:
        _require_bounds(row)
        return recipient_rows.suppression_from(row)
    except (*DAMAGED, InvalidInputError) as error:
        log_damage("suppression", row, error)
        entry = SuppressionEntry(reason=SuppressionReason.MANUAL, evidence=UNREADABLE, since=EPOCH)
        return UnreadableSuppression(id=row["id"], tenant=row["tenant"], entries=[entry])


def template_from(row: Row) -> StoredTemplate:
    """Return the template of a row of ``templates``, or its stand-in."""
    try:
        _require_bounds(row)
        return recipient_rows.template_from(row)
    except (*DAMAGED, InvalidInputError) as error:
        log_damage("template", row, error)
        return UnreadableTemplate(id=row["id"], tenant=row["tenant"], revisions=[])


def api_key_from(row: Row) -> ApiKey:
    """Return the key of a row of ``api_keys``, or its stand-in."""
    try:
        _require_bounds(row)
        return json_rows.record_from(row, ApiKey)
    except (*DAMAGED, InvalidInputError) as error:
        log_damage("api_key", row, error)
        return UnreadableApiKey(id=row["id"], tenant=row["tenant"], role=Role.VIEWER, created_at=EPOCH)


def api_key_values(key: ApiKey) -> dict[str, Any]:
    """Return the columns of ``api_keys``.

    Raises:
        StoreError: It is a stand-in.
    """
    if isinstance(key, UnreadableApiKey):
        raise _refusal("api key", key.id)
    return json_rows.record_values(key)


def audit_entry_from(row: Row) -> AuditEntry:
    """Return the entry of a row of ``audit``, or its stand-in."""
    try:
        _require_bounds(row)
        return json_rows.record_from(row, AuditEntry)
    except (*DAMAGED, InvalidInputError) as error:
        log_damage("audit_entry", row, error)
        return UnreadableAuditEntry(
            id=row["id"],
            tenant=row["tenant"],
            at=EPOCH,
            action=UNREADABLE,
            subject="",
            role="",
            status=0,
            request_id="",
        )


def audit_entry_values(entry: AuditEntry) -> dict[str, Any]:
    """Return the columns of ``audit``.

    Raises:
        StoreError: It is a stand-in.
    """
    if isinstance(entry, UnreadableAuditEntry):
        raise _refusal("audit entry", entry.id)
    return json_rows.record_values(entry)


def worker_from(row: Row) -> WorkerRecord:
    """Return the worker of a row of ``workers``, or its stand-in."""
    try:
        _require_bounds(row)
        return json_rows.record_from(row, WorkerRecord)
    except (*DAMAGED, InvalidInputError) as error:
        log_damage("worker", row, error)
        return UnreadableWorker(id=row["id"], tenant=row["tenant"], started_at=EPOCH, seen_at=EPOCH)


def worker_values(worker: WorkerRecord) -> dict[str, Any]:
    """Return the columns of ``workers``.

    Raises:
        StoreError: It is a stand-in.
    """
    if isinstance(worker, UnreadableWorker):
        raise _refusal("worker", worker.id)
    return json_rows.record_values(worker)


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


def recipient_values(recipient: Recipient) -> dict[str, Any]:
    """Return the columns of ``recipients``.

    Raises:
        StoreError: It is a stand-in.
    """
    if isinstance(recipient, UnreadableRecipient):
        raise _refusal("recipient", recipient.id)
    return recipient_rows.recipient_values(recipient)


def preferences_values(preferences: TenantPreferences) -> dict[str, Any]:
    """Return the columns of ``tenant_preferences``.

    Raises:
        StoreError: They are a stand-in.
    """
    if isinstance(preferences, UnreadableTenantPreferences):
        raise _refusal("preferences of tenant", preferences.tenant)
    return recipient_rows.preferences_values(preferences)


def template_values(template: StoredTemplate) -> dict[str, Any]:
    """Return the columns of ``templates``.

    Raises:
        StoreError: It is a stand-in.
    """
    if isinstance(template, UnreadableTemplate):
        raise _refusal("template", template.id)
    return recipient_rows.template_values(template)


def suppression_values(suppressed: SuppressedAddress) -> dict[str, Any]:
    """Return the columns of ``suppressions``.

    Raises:
        StoreError: They are a stand-in.
    """
    if isinstance(suppressed, UnreadableSuppression):
        raise _refusal("suppressed address", suppressed.id)
    return recipient_rows.suppression_values(suppressed)


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


def _instant(value: Any) -> datetime | None:
    return _or(None, instant_or_none, value)


def _or(default: T, read: Callable[[Any], T], value: Any) -> T:
    try:
        return read(value)
    except DAMAGED:
        return default


# ── what cannot be read ────────────────────────────────────────────────────────────────────────


def _require_text(values: Iterable[Any]) -> None:
    if any(type(value) is Garbled for value in values):
        raise ValueError("a text is not UTF-8")


def _require_bounds(row: Row) -> None:
    """Refuse to parse a column that is larger than anything that may be stored."""
    _require_text(row.values())
    for name in _JSON:
        column = row.get(name)
        if column is not None and len(column) > MAX_COLUMN:
            raise ValueError(f"{name} has {len(column)} characters")


def log_damage(kind: str, row: Row, error: Exception) -> None:
    """Log that what is stored under an id cannot be read."""
    # Only the kind of error: its text may repeat what stands in the row.
    _log.error("%s.unreadable id=%s tenant=%r error=%s", kind, row["id"], row["tenant"], type(error).__name__)


def _refusal(kind: str, id_: str) -> StoreError:
    return StoreError(
        f"the row of {kind} {id_} cannot be read (the log says why), so it is not written either: "
        "repair it in the database, or delete it and create it anew"
    )
