"""Configuration records: written once for every database.

Each function works on a SQLAlchemy connection inside a transaction that its caller owns.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any

import attrs
from sqlalchemy import Connection, ScalarSelect, Select, Table, and_, delete, func, literal, select, update

from ...errors import StaleWriteError
from ...models.access import ApiKey
from ...models.audit import AuditEntry
from ...models.delivery import DeliveryState
from ...models.ended_session import EndedSession
from ...models.endpoint import Endpoint
from ...models.event_type import StoredEventType
from ...models.provider_account import ProviderAccount
from ...models.recipient import Recipient, TenantPreferences
from ...models.subscription import Subscription, TenantConfig
from ...models.suppression import SuppressedAddress
from ...models.template import StoredTemplate
from ...models.worker import WorkerRecord
from ..encoding import records as encoding
from ..encoding.records import FORMS, RecordForm
from . import schema as s
from . import subscription_index, transitions
from .fetching import fetch
from .writing import delete_returning, insert_new, save_versions, upsert

#: Rows that are looked up by one statement.
_AT_ONCE = 500


def _nothing(*_: Any) -> None:
    """Do nothing: most kinds have no dependents."""


@attrs.frozen(kw_only=True)
class RecordKind:
    """What is particular to one kind of record in tables.

    Attributes:
        form: How it is kept, whatever the database.
        table: Where it is kept; its primary key is (tenant, id).
        replaced: Called with the old record and the new one, of which one may be ``None``; ``None`` if the kind has
            no dependents that follow it, so that the old record need not be read.
        removed: Called with the removed record and the time.
    """

    form: RecordForm
    table: Table
    replaced: Callable[[Connection, Any, Any], None] | None = None
    removed: Callable[[Connection, Any, datetime], None] = _nothing


def kind_of(record: object) -> RecordKind:
    """Return the kind of a record, or of a stand-in for one."""
    return encoding.kind_of(record, KINDS)


def save(connection: Connection, record: Any) -> int:
    """Insert or replace an encrypted record; return its new version."""
    kind = kind_of(record)
    values = kind.form.values(record)
    if _raises_version(connection, kind, record.tenant):
        touch(connection, record.tenant)  # a lock: no other process changes the tenant's records until the end
    old = _stored(connection, kind, record.tenant, record.id) if kind.replaced else None
    version = save_row(connection, kind.table, values, kind.form.name)
    if kind.replaced:
        kind.replaced(connection, old, record)
    return version


def _raises_version(connection: Connection, kind: RecordKind, tenant: str) -> bool:
    return kind.form.raises_version or (
        kind.form.first_raises_version and not page(connection, kind, tenant, 1, None, None)
    )


def save_many(connection: Connection, records: Sequence[Any]) -> set[str]:
    """Insert or replace encrypted records of one kind and tenant; return the ids of those that were not stale."""
    kind, tenant = kind_of(records[0]), records[0].tenant
    if _raises_version(connection, kind, tenant):
        touch(connection, tenant)
    table, by_id = kind.table, {record.id: record for record in records}
    ids = sorted(by_id)
    stored = {
        row["id"]: row
        for at in range(0, len(ids), _AT_ONCE)
        for row in fetch(connection, _rows(table, tenant, ids[at : at + _AT_ONCE]).with_for_update())
    }
    current = [id_ for id_ in ids if by_id[id_].version == (stored[id_]["version"] if id_ in stored else 0)]
    if not current:
        return set()
    rows = [{**kind.form.values(by_id[id_]), "version": by_id[id_].version + 1} for id_ in current]
    saved = save_versions(connection, table, rows)
    if kind.replaced:
        for id_ in saved:
            kind.replaced(connection, kind.form.read(stored[id_]) if id_ in stored else None, by_id[id_])
    return saved


def get(connection: Connection, kind: RecordKind, tenant: str, ids: Collection[str]) -> list[Any]:
    """Return records by their ids, as they are stored."""
    wanted = sorted({*ids})
    found: list[Any] = []
    for at in range(0, len(wanted), _AT_ONCE):
        found += map(kind.form.read, fetch(connection, _rows(kind.table, tenant, wanted[at : at + _AT_ONCE])))
    return found


def _rows(table: Table, tenant: str, ids: Collection[str]) -> Select[Any]:
    return select(table).where(table.c.tenant == tenant, table.c.id.in_(ids))


def page(
    connection: Connection, kind: RecordKind, tenant: str, limit: int, after: str | None, subscriber_id: str | None
) -> list[Any]:
    """Return records in the order of their ids, as they are stored."""
    table = kind.table
    query = select(table).where(table.c.tenant == tenant, table.c.id > (after or ""))
    if subscriber_id is not None:
        query = query.where(table.c.subscriber_id == subscriber_id if "subscriber_id" in table.c else literal(False))
    return [*map(kind.form.read, fetch(connection, query.order_by(table.c.id).limit(limit)))]


def remove(connection: Connection, kind: RecordKind, tenant: str, id_: str, now: datetime) -> bool:
    """Remove a record and what depends on it."""
    if _stored(connection, kind, tenant, id_) is None:
        return False
    if kind.form.raises_version:
        touch(connection, tenant)
    old = _stored(connection, kind, tenant, id_)
    if old is None:  # another process removed it before the tenant was locked
        return False
    connection.execute(delete(kind.table).where(kind.table.c.tenant == tenant, kind.table.c.id == id_))
    if kind.replaced:
        kind.replaced(connection, old, None)
    kind.removed(connection, old, now)
    return True


def _stored(connection: Connection, kind: RecordKind, tenant: str, id_: str) -> Any:
    found = get(connection, kind, tenant, [id_])
    return found[0] if found else None


def save_row(connection: Connection, table: Table, values: dict[str, Any], kind: str) -> int:
    """Insert a row of version 0, or replace the one that still has its version; return the new version.

    Raises:
        StaleWriteError: There is none of that version, or (at version 0) there is one already.
    """
    version = values["version"]
    row = {**values, "version": version + 1}
    if version == 0:
        saved = insert_new(connection, table, row)
    else:
        its = [column == row.pop(column.name) for column in table.primary_key]
        saved = connection.execute(update(table).where(*its, table.c.version == version).values(row)).rowcount > 0
    if not saved:
        raise StaleWriteError(kind, values.get("id") or values["key"])
    return int(version) + 1


def touch(connection: Connection, tenant: str) -> None:
    """Raise the tenant's version: what was loaded of its configuration is stale once this commits."""
    done = connection.execute(
        update(s.tenants).where(s.tenants.c.tenant == tenant).values(version=s.tenants.c.version + 1)
    )
    if done.rowcount == 0:
        upsert(
            connection,
            s.tenants,
            [{"tenant": tenant, "version": 1}],
            lambda _: {"version": s.tenants.c.version + 1},
        )


def tenants(connection: Connection, limit: int, after: str | None) -> list[str]:
    """Return names of tenants in their order."""
    its = s.tenants.c.tenant
    return [*connection.scalars(select(its).where(its > (after or "")).order_by(its).limit(limit))]


def load_tenants(connection: Connection, tenants: Sequence[str], most: int | None) -> dict[str, TenantConfig | None]:
    """Return the configurations of tenants as they are stored, but none of one with too many rows.

    Args:
        most: How many endpoints or subscriptions are not too many.
    """
    if most is not None:
        counts = connection.execute(select(*(_count(t, tenants, most) for t in (s.endpoints, s.subscriptions))))
        if max(counts.one()) > most:
            if len(tenants) == 1:
                return {tenants[0]: None}
            middle = len(tenants) // 2  # together they have too many
            first = load_tenants(connection, tenants[:middle], most)
            return first | load_tenants(connection, tenants[middle:], most)
    # The versions first: rows that are newer than them only cause one reload more.
    its_version = select(s.tenants.c.tenant, s.tenants.c.version).where(s.tenants.c.tenant.in_(tenants))
    versions = {row.tenant: row.version for row in connection.execute(its_version)}
    endpoints: dict[str, list[Endpoint]] = {tenant: [] for tenant in tenants}
    for row in fetch(connection, select(s.endpoints).where(s.endpoints.c.tenant.in_(tenants))):
        endpoints[row["tenant"]].append(FORMS[Endpoint].read(row))
    subscriptions: dict[str, list[Subscription]] = {tenant: [] for tenant in tenants}
    its = select(s.subscriptions).where(s.subscriptions.c.tenant.in_(tenants)).order_by(s.subscriptions.c.id)
    for row in fetch(connection, its):
        subscriptions[row["tenant"]].append(FORMS[Subscription].read(row))
    return {
        tenant: TenantConfig(tenant, versions.get(tenant, 0), tuple(endpoints[tenant]), tuple(subscriptions[tenant]))
        for tenant in tenants
    }


def _count(table: Table, tenants: Sequence[str], most: int) -> ScalarSelect[int]:
    """Return a query that counts the rows of tenants and stops when there are more than ``most``."""
    some = select(literal(1)).select_from(table).where(table.c.tenant.in_(tenants)).limit(most + 1).subquery()
    return select(func.count()).select_from(some).scalar_subquery()


# ── what depends on a record ───────────────────────────────────────────────────────────────────


def _index(connection: Connection, old: Subscription | None, new: Subscription | None) -> None:
    subscription_index.replace(connection, () if old is None else (old,), () if new is None else (new,))


def _remove_dependents(connection: Connection, endpoint: Endpoint, now: datetime) -> None:
    """Remove what cannot be without an endpoint, and cancel what waits for it."""
    tenant, endpoint_id = endpoint.tenant, endpoint.id
    remove_subscriptions(connection, tenant, endpoint_id)
    for table, key in ((s.circuits, s.circuits.c.key), (s.buckets, s.buckets.c.endpoint_id)):
        connection.execute(delete(table).where(key == endpoint_id, table.c.tenant == tenant))
    waits = and_(s.queue.c.tenant == tenant, s.queue.c.subscriber_id == endpoint_id)
    transitions.end(connection, waits, DeliveryState.CANCELLED, "endpoint_deleted", now)


def _remove_person(connection: Connection, recipient: Recipient, now: datetime) -> None:
    """Remove a recipient's subscriptions, and cancel what waits."""
    tenant, recipient_id = recipient.tenant, recipient.id
    its = and_(s.subscriptions.c.tenant == tenant, s.subscriptions.c.subscriber_id == recipient_id)
    if connection.execute(select(s.subscriptions.c.id).where(its).limit(1)).first() is not None:
        touch(connection, tenant)  # planners must not match them any more
        remove_subscriptions(connection, tenant, recipient_id)
    waits = and_(s.queue.c.tenant == tenant, s.queue.c.subscriber_id == recipient_id)
    transitions.end(connection, waits, DeliveryState.CANCELLED, "recipient_deleted", now)


def remove_subscriptions(connection: Connection, tenant: str, subscriber_id: str) -> int:
    """Remove the subscriptions of a subscriber; return how many there were."""
    its = and_(s.subscriptions.c.tenant == tenant, s.subscriptions.c.subscriber_id == subscriber_id)
    removed = delete_returning(connection, s.subscriptions, its)
    subscription_index.replace(connection, map(FORMS[Subscription].read, removed), ())
    return len(removed)


#: Every kind of record; a new one needs an entry here, its table in ``schema`` and a migration.
KINDS: dict[type[Any], RecordKind] = {
    Endpoint: RecordKind(form=FORMS[Endpoint], table=s.endpoints, removed=_remove_dependents),
    Subscription: RecordKind(form=FORMS[Subscription], table=s.subscriptions, replaced=_index),
    StoredEventType: RecordKind(form=FORMS[StoredEventType], table=s.event_types),
    Recipient: RecordKind(form=FORMS[Recipient], table=s.recipients, removed=_remove_person),
    TenantPreferences: RecordKind(form=FORMS[TenantPreferences], table=s.tenant_preferences),
    ProviderAccount: RecordKind(form=FORMS[ProviderAccount], table=s.provider_accounts),
    SuppressedAddress: RecordKind(form=FORMS[SuppressedAddress], table=s.suppressions),
    StoredTemplate: RecordKind(form=FORMS[StoredTemplate], table=s.templates),
    ApiKey: RecordKind(form=FORMS[ApiKey], table=s.api_keys),
    AuditEntry: RecordKind(form=FORMS[AuditEntry], table=s.audit),
    WorkerRecord: RecordKind(form=FORMS[WorkerRecord], table=s.workers),
    EndedSession: RecordKind(form=FORMS[EndedSession], table=s.ended_sessions),
}
