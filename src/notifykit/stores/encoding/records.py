"""Records as they are kept: the columns of each kind, how they are encrypted, and what stands in for a damaged row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

import attrs

from ...errors import StoreError
from ...models.access import ApiKey, Role, UnreadableApiKey
from ...models.audit import AuditEntry, UnreadableAuditEntry
from ...models.ended_session import EndedSession
from ...models.endpoint import Endpoint, EndpointState
from ...models.event_type import StoredEventType
from ...models.provider_account import ProviderAccount
from ...models.recipient import Recipient, TenantPreferences
from ...models.subscription import Subscription
from ...models.suppression import SuppressedAddress, SuppressionEntry, SuppressionReason
from ...models.template import StoredTemplate
from ...models.unreadable import (
    UnreadableEndpoint,
    UnreadableProviderAccount,
    UnreadableRecipient,
    UnreadableSubscription,
    UnreadableSuppression,
    UnreadableTemplate,
    UnreadableTenantPreferences,
)
from ...models.worker import UnreadableWorker, WorkerRecord
from . import config_rows, json_rows, recipient_rows
from .encryption import Encryption
from .readable import DAMAGED, UNREADABLE, log_damage, require_bounds
from .rows import EPOCH, Row

K = TypeVar("K")


def _as_it_is(_: Encryption, record: Any) -> Any:
    return record


@attrs.frozen(kw_only=True)
class RecordForm:
    """How one kind of record is kept, whatever the database.

    Attributes:
        name: What errors call it.
        logged: What the log calls it.
        write: Returns the columns of a record.
        parse: Returns the record of a row.
        stand_in: Returns what stands in for the record of a damaged row.
        never_written: The class of stand-ins, which are not written back.
        encrypted: Returns a record as it is stored.
        decrypted: Returns the record of a stored one, or a stand-in for one that cannot be decrypted.
        raises_version: Whether planning or sending depends on it.
        first_raises_version: Whether only the first record of a tenant does, because what depends on it is whether
            there are any.
    """

    name: str
    logged: str
    write: Callable[[Any], dict[str, Any]]
    parse: Callable[[Row], Any]
    stand_in: Callable[[Row], Any]
    never_written: type[Any] | None
    encrypted: Callable[[Encryption, Any], Any] = _as_it_is
    decrypted: Callable[[Encryption, Any], Any] = _as_it_is
    raises_version: bool = True
    first_raises_version: bool = False

    def values(self, record: Any) -> dict[str, Any]:
        """Return the columns of a record.

        Raises:
            StoreError: It is a stand-in for a damaged row.
            VaultError: It is a stand-in for a record that cannot be decrypted.
        """
        if self.never_written and isinstance(record, self.never_written):
            whose = record.tenant if isinstance(record, TenantPreferences) else record.id
            raise getattr(record, "error", None) or StoreError(
                f"the row of {self.name} {whose} cannot be read (the log says why), so it is not written either: "
                "repair it in the database, or delete it and create it anew"
            )
        return self.write(record)

    def read(self, row: Row) -> Any:
        """Return the record of a row, or a stand-in for one that is damaged."""
        try:
            require_bounds(row)
            return self.parse(row)
        except DAMAGED as error:
            log_damage(self.logged, row, error)
            return self.stand_in(row)


def kind_of(record: object, kinds: Mapping[type[Any], K]) -> K:
    """Return what ``kinds`` has for a record, or for a stand-in for one."""
    return next(kinds[base] for base in type(record).__mro__ if base in kinds)


def _endpoint(row: Row) -> Endpoint:
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


def _subscription(row: Row) -> Subscription:
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


def _suppression(row: Row) -> SuppressedAddress:
    entry = SuppressionEntry(reason=SuppressionReason.MANUAL, evidence=UNREADABLE, since=EPOCH)
    return UnreadableSuppression(id=row["id"], tenant=row["tenant"], entries=[entry])


def _audit_entry(row: Row) -> AuditEntry:
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


#: Every kind of record; a new one needs an entry here.
FORMS: dict[type[Any], RecordForm] = {
    Endpoint: RecordForm(
        name="endpoint",
        logged="endpoint",
        write=config_rows.endpoint_values,
        parse=config_rows.endpoint_from,
        stand_in=_endpoint,
        never_written=UnreadableEndpoint,
        encrypted=Encryption.endpoint,
        decrypted=Encryption.usable_endpoint,
    ),
    Subscription: RecordForm(
        name="subscription",
        logged="subscription",
        write=config_rows.subscription_values,
        parse=config_rows.subscription_from,
        stand_in=_subscription,
        never_written=UnreadableSubscription,
    ),
    StoredEventType: RecordForm(
        name="event type",
        logged="event_type",
        write=config_rows.event_type_values,
        parse=config_rows.event_type_from,
        stand_in=lambda row: StoredEventType(id=row["id"], tenant=row["tenant"], version=row["version"]),
        never_written=None,  # programs declare their types anew
        raises_version=False,
    ),
    Recipient: RecordForm(
        name="recipient",
        logged="recipient",
        write=recipient_rows.recipient_values,
        parse=recipient_rows.recipient_from,
        stand_in=lambda row: UnreadableRecipient(
            id=row["id"], tenant=row["tenant"], created_at=EPOCH, updated_at=EPOCH
        ),
        never_written=UnreadableRecipient,
        raises_version=False,  # planning and sending read them as they need them, and keep none
    ),
    TenantPreferences: RecordForm(
        name="preferences of tenant",
        logged="tenant_preferences",
        write=recipient_rows.details_values,
        parse=recipient_rows.preferences_from,
        stand_in=lambda row: UnreadableTenantPreferences(tenant=row["tenant"]),
        never_written=UnreadableTenantPreferences,
    ),
    ProviderAccount: RecordForm(
        name="provider account",
        logged="provider_account",
        write=config_rows.account_values,
        parse=config_rows.account_from,
        stand_in=lambda row: UnreadableProviderAccount(tenant=row["tenant"], id=row["id"], url=UNREADABLE),
        never_written=UnreadableProviderAccount,
        encrypted=Encryption.account,
        decrypted=Encryption.usable_account,
    ),
    SuppressedAddress: RecordForm(
        name="suppressed address",
        logged="suppression",
        write=recipient_rows.details_values,
        parse=recipient_rows.suppression_from,
        stand_in=_suppression,
        never_written=UnreadableSuppression,
        raises_version=False,  # they come in by the thousand after a bad mailing
        first_raises_version=True,
    ),
    StoredTemplate: RecordForm(
        name="template",
        logged="template",
        write=recipient_rows.details_values,
        parse=recipient_rows.template_from,
        stand_in=lambda row: UnreadableTemplate(id=row["id"], tenant=row["tenant"], revisions=[]),
        never_written=UnreadableTemplate,
    ),
    ApiKey: RecordForm(
        name="api key",
        logged="api_key",
        write=json_rows.record_values,
        parse=lambda row: json_rows.record_from(row, ApiKey),
        stand_in=lambda row: UnreadableApiKey(id=row["id"], tenant=row["tenant"], role=Role.VIEWER, created_at=EPOCH),
        never_written=UnreadableApiKey,
        raises_version=False,
        first_raises_version=True,  # so that its tenant is listed
    ),
    AuditEntry: RecordForm(
        name="audit entry",
        logged="audit_entry",
        write=json_rows.record_values,
        parse=lambda row: json_rows.record_from(row, AuditEntry),
        stand_in=_audit_entry,
        never_written=UnreadableAuditEntry,
        raises_version=False,
    ),
    WorkerRecord: RecordForm(
        name="worker",
        logged="worker",
        write=json_rows.record_values,
        parse=lambda row: json_rows.record_from(row, WorkerRecord),
        stand_in=lambda row: UnreadableWorker(id=row["id"], tenant=row["tenant"], started_at=EPOCH, seen_at=EPOCH),
        never_written=UnreadableWorker,
        raises_version=False,
    ),
    EndedSession: RecordForm(
        name="ended session",
        logged="ended_session",
        write=json_rows.record_values,
        parse=lambda row: json_rows.record_from(row, EndedSession),
        stand_in=lambda row: EndedSession(id=row["id"], tenant=row["tenant"], version=row["version"]),
        never_written=None,  # what is damaged says as much: its id is enough
        raises_version=False,
    ),
}
