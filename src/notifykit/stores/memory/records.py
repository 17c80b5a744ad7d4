"""The memory store's configuration records: the kinds there are, and the verbs that they share."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from copy import deepcopy
from datetime import datetime
from typing import Any, TypeVar, cast

import attrs

from ...codec import dumps, loads
from ...errors import StaleWriteError
from ...models.access import ApiKey
from ...models.audit import AuditEntry
from ...models.delivery import DeliveryState
from ...models.ended_session import EndedSession
from ...models.endpoint import Endpoint, EndpointState
from ...models.event import OPERATIONAL, StoredEvent
from ...models.event_type import StoredEventType
from ...models.provider_account import ProviderAccount
from ...models.recipient import Recipient, TenantPreferences
from ...models.subscription import Match, MatchQuery, Subscription, TenantConfig
from ...models.suppression import SuppressedAddress
from ...models.template import StoredTemplate
from ...models.throttle import buckets_of
from ...models.worker import WorkerRecord
from ...policies.admit import body_without_data
from ...policies.match_keys import keys_for
from ...ports import ConfigRecord
from .deliveries import MemoryDeliveries
from .tables import Tables, newer

R = TypeVar("R", bound=ConfigRecord)


def _nothing(*_: Any) -> None:
    """Do nothing: most kinds have no dependents."""


@attrs.frozen(kw_only=True)
class RecordKind:
    """What is particular to one kind of record.

    Attributes:
        name: What errors call it.
        raises_version: Whether planning or sending depends on it.
        first_raises_version: Whether only the first record of a tenant does, because what depends on it is whether
            there are any.
        replaced: Called with the tables, the old record and the new one, of which one may be ``None``.
        removed: Called with the store, the removed record and the time.
    """

    name: str
    raises_version: bool = True
    first_raises_version: bool = False
    replaced: Callable[[Tables, Any, Any], None] = _nothing
    removed: Callable[[Any, Any, datetime], None] = _nothing


class MemoryRecords(MemoryDeliveries):
    """The verbs of :class:`notifykit.ports.Records`."""

    _tables: Tables

    async def save(self, record: R) -> R:
        return self._save(record)

    def _save(self, record: R) -> R:
        kind, table = KINDS[type(record)], self._tables.records[type(record)]
        key = record.tenant, record.id
        stored: R | None = table.get(key)
        saved = newer(record, stored, kind.name, record.id)
        # A copy, because the caller may go on to change the mappings inside.
        table[key] = deepcopy(saved)
        kind.replaced(self._tables, stored, saved)
        self._touch(kind, record.tenant)
        if kind.first_raises_version and stored is None and len(self._of_tenant(type(record), record.tenant)) == 1:
            self._tables.versions[record.tenant] += 1
        return saved

    async def save_many(self, records: Sequence[R]) -> list[R | None]:
        saved: list[R | None] = []
        for record in records:
            try:
                saved.append(self._save(record))
            except StaleWriteError:
                saved.append(None)
        return saved

    async def get(self, kind: type[R], tenant: str, ids: Collection[str]) -> list[R]:
        table = self._tables.records[kind]
        return [table[tenant, id_] for id_ in {*ids} if (tenant, id_) in table]

    async def page(
        self, kind: type[R], tenant: str, *, limit: int, after: str | None = None, subscriber_id: str | None = None
    ) -> list[R]:
        records = self._of_tenant(kind, tenant)
        if subscriber_id is not None:
            records = [each for each in records if getattr(each, "subscriber_id", None) == subscriber_id]
        return [each for each in records if after is None or each.id > after][:limit]

    async def remove(self, kind: type[R], tenant: str, id: str, *, now: datetime) -> bool:
        return self._remove(kind, tenant, id, now)

    def _remove(self, kind: type[Any], tenant: str, id: str, now: datetime) -> bool:
        removed = self._tables.records[kind].pop((tenant, id), None)
        if removed is None:
            return False
        KINDS[kind].replaced(self._tables, removed, None)
        KINDS[kind].removed(self, removed, now)
        self._touch(KINDS[kind], tenant)
        return True

    async def erase(self, tenant: str, recipient_id: str, *, now: datetime) -> int:
        count = self._remove_subscriptions(tenant, recipient_id, now)
        count += self._remove(Recipient, tenant, recipient_id, now)
        tables = self._tables
        theirs = [row.delivery.id for row in tables.rows_of(tenant, recipient_id)]
        for id_ in theirs:
            if not tables.rows[id_].delivery.state.is_final:
                tables.end(tables.rows[id_], DeliveryState.CANCELLED, None, now)
            count += 1 + len(tables.history.get(id_, ()))
        tables.forget(theirs, ())
        caps = buckets_of(recipient_id)
        for key in [*tables.buckets]:
            if key[0] == tenant and (key[1] == recipient_id or key[1].startswith(caps)):
                del tables.buckets[key]
                count += 1
        for event in [each for each in tables.events.values() if each.tenant == tenant]:
            count += self._take_out(event, recipient_id, now)
        self._tables.versions[tenant] += 1
        return count

    def _take_out(self, event: StoredEvent, recipient_id: str, now: datetime) -> int:
        """Take a recipient out of an event, or delete the event; planners that have it must take it again."""
        tables, changed = self._tables, event
        if event.actor == recipient_id:
            changed = changed._replace(actor=None)
            if event.topic == OPERATIONAL:
                changed = changed._replace(body=body_without_data(event.type, event.occurred_at))
            if event.id in tables.outbox:
                tables.outbox[event.id].event = changed
        fields = loads(event.audience.encode()) if event.audience else {}
        if recipient_id in fields.get("to", ()):
            others = [each for each in fields["to"] if each != recipient_id]
            if not others and event.id not in tables.needed_events():
                if event.id in tables.outbox:
                    tables.planned(event)
                if event.idempotency_key is not None:
                    tables.keys.pop((event.tenant, event.idempotency_key), None)
                tables.forget((), [event.id])
                return 1
            changed = changed._replace(audience=dumps({**fields, "to": others}).decode() if others else None)
            if event.id in tables.outbox:
                unplanned = tables.outbox[event.id]
                unplanned.event, unplanned.fence = changed, unplanned.fence + 1
                tables.wait_for_planning(unplanned, max(now, event.due_at))
        tables.events[event.id] = changed
        return int(changed is not event)

    def _touch(self, kind: RecordKind, tenant: str) -> None:
        self._tables.versions[tenant] += kind.raises_version

    async def load_tenants(
        self, tenants: Collection[str], *, most: int | None = None
    ) -> dict[str, TenantConfig | None]:
        return {tenant: self._config(tenant, most) for tenant in tenants}

    def _config(self, tenant: str, most: int | None) -> TenantConfig | None:
        endpoints, subscriptions = self._of_tenant(Endpoint, tenant), self._of_tenant(Subscription, tenant)
        if most is not None and max(len(endpoints), len(subscriptions)) > most:
            return None
        return TenantConfig(tenant, self._tables.versions[tenant], tuple(endpoints), tuple(subscriptions))

    async def tenants(self, *, limit: int, after: str | None = None) -> list[str]:
        return sorted(name for name in self._tables.versions if name > (after or ""))[:limit]

    async def match(self, tenant: str, queries: Sequence[MatchQuery], *, limit: int) -> list[list[Match]]:
        return [self._matches(tenant, query, limit) for query in queries]

    def _matches(self, tenant: str, query: MatchQuery, limit: int) -> list[Match]:
        found: set[str] = set()
        for key in keys_for(query):
            ids = self._tables.match_keys.get((tenant, key), [])
            first = bisect_right(ids, query.after)
            found.update(ids[first : first + limit])
        subscriptions = (self._tables.subscriptions[tenant, id_] for id_ in sorted(found)[:limit])
        return [Match(each, self._state(tenant, each.subscriber_id)) for each in subscriptions]

    def _state(self, tenant: str, endpoint_id: str) -> EndpointState | None:
        endpoint = self._tables.endpoints.get((tenant, endpoint_id))
        return None if endpoint is None else endpoint.state

    def _of_tenant(self, kind: type[R], tenant: str) -> list[R]:
        """Return a tenant's records of a kind in the order of their ids."""
        table = cast("dict[tuple[str, str], R]", self._tables.records[kind])
        return [record for key, record in sorted(table.items(), key=lambda item: item[0]) if key[0] == tenant]

    def _remove_dependents(self, endpoint: Endpoint, now: datetime) -> None:
        """Remove what cannot be without an endpoint, and cancel what waits for it."""
        tables, tenant = self._tables, endpoint.tenant
        self._remove_subscriptions(tenant, endpoint.id, now)
        tables.circuits.pop((tenant, endpoint.id), None)
        tables.buckets.pop((tenant, endpoint.id), None)
        self._cancel(tables.rows_of(tenant, endpoint.id), "endpoint_deleted", now)

    def _remove_recipient(self, recipient: Recipient, now: datetime) -> None:
        """Remove a recipient's subscriptions, and cancel what waits."""
        self._remove_subscriptions(recipient.tenant, recipient.id, now)
        self._cancel(self._tables.rows_of(recipient.tenant, recipient.id), "recipient_deleted", now)

    def _remove_subscriptions(self, tenant: str, subscriber_id: str, now: datetime) -> int:
        """Remove the subscriptions of a subscriber; return how many there were."""
        theirs = [each for each in self._of_tenant(Subscription, tenant) if each.subscriber_id == subscriber_id]
        for subscription in theirs:
            self._remove(Subscription, tenant, subscription.id, now)
        return len(theirs)


#: Every kind of record; a new one needs an entry here and its dictionary in :class:`~.tables.Tables`.
KINDS: dict[type[Any], RecordKind] = {
    Endpoint: RecordKind(name="endpoint", removed=MemoryRecords._remove_dependents),
    Subscription: RecordKind(name="subscription", replaced=Tables.index),
    StoredEventType: RecordKind(name="event type", raises_version=False),
    Recipient: RecordKind(name="recipient", raises_version=False, removed=MemoryRecords._remove_recipient),
    TenantPreferences: RecordKind(name="preferences of tenant"),
    ProviderAccount: RecordKind(name="provider account"),
    SuppressedAddress: RecordKind(name="suppressed address", raises_version=False, first_raises_version=True),
    StoredTemplate: RecordKind(name="template"),
    ApiKey: RecordKind(name="api key", raises_version=False, first_raises_version=True),  # so that its tenant is listed
    AuditEntry: RecordKind(name="audit entry", raises_version=False),
    WorkerRecord: RecordKind(name="worker", raises_version=False),
    EndedSession: RecordKind(name="ended session", raises_version=False),
}
