"""The kit for code without an event loop: the asynchronous methods, each awaited in the portal.

Nothing is written twice: a method here has the signature of the asynchronous one because it is made of
it.  Methods of the kit itself are spelled out, because this module must not import the kit; a test
compares the signatures.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, Unpack, overload

from .admin import (
    ApiKeys,
    AuditLog,
    Deliveries,
    Endpoints,
    Events,
    Preferences,
    Providers,
    RecipientInbox,
    Recipients,
    StoredTemplates,
    Subscriptions,
    Suppressions,
    TenantSettings,
    UnsubscribeLinks,
)
from .admin.endpoints import EndpointOptions
from .admin.explain import PersonExplanation
from .models.endpoint import Endpoint
from .models.event import EventType, Receipt
from .models.receipt import ProviderReceipt
from .models.subscription import Subscription
from .models.worker import WorkerRecord
from .portal import Portal
from .ports import StoreStats
from .publisher import PublishOptions

P = ParamSpec("P")
T = TypeVar("T")


class _Waits(Generic[P, T]):
    """A method of a part that waits for what the asynchronous ``method`` returns."""

    def __init__(self, method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(self, part: _Part, owner: type[_Part]) -> Callable[P, T]:
        return partial(_call, part, self._method)


class _Part:
    """A part of the kit; calls go to that part of the kit that the portal has open.

    Args:
        find: Returns the part of a kit.
    """

    def __init__(self, portal: Portal[Any], find: Callable[[Any], Any]) -> None:
        self._portal = portal
        self._find = find


def _call(
    part: _Part, method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]], *args: P.args, **options: P.kwargs
) -> T:
    return part._portal.call(lambda kit: method(part._find(kit), *args, **options))


class BlockingEndpoints(_Part):
    """See :class:`~notifykit.admin.endpoints.Endpoints`."""

    create = _Waits(Endpoints.create)
    get = _Waits(Endpoints.get)
    list = _Waits(Endpoints.list)
    update = _Waits(Endpoints.update)
    delete = _Waits(Endpoints.delete)
    pause = _Waits(Endpoints.pause)
    resume = _Waits(Endpoints.resume)
    disable = _Waits(Endpoints.disable)
    rotate_secret = _Waits(Endpoints.rotate_secret)
    revoke_secret = _Waits(Endpoints.revoke_secret)
    test = _Waits(Endpoints.test)


class BlockingApiKeys(_Part):
    """See :class:`~notifykit.admin.api_keys.ApiKeys`."""

    create = _Waits(ApiKeys.create)
    get = _Waits(ApiKeys.get)
    list = _Waits(ApiKeys.list)
    rotate = _Waits(ApiKeys.rotate)
    revoke = _Waits(ApiKeys.revoke)
    find = _Waits(ApiKeys.find)
    issue_token = _Waits(ApiKeys.issue_token)
    note_use = _Waits(ApiKeys.note_use)


class BlockingAuditLog(_Part):
    """See :class:`~notifykit.admin.audit.AuditLog`."""

    add = _Waits(AuditLog.add)
    page = _Waits(AuditLog.page)


class BlockingSubscriptions(_Part):
    """See :class:`~notifykit.admin.subscriptions.Subscriptions`."""

    create = _Waits(Subscriptions.create)
    get = _Waits(Subscriptions.get)
    list = _Waits(Subscriptions.list)
    update = _Waits(Subscriptions.update)
    delete = _Waits(Subscriptions.delete)
    warnings = _Waits(Subscriptions.warnings)


class BlockingDeliveries(_Part):
    """See :class:`~notifykit.admin.deliveries.Deliveries`."""

    get = _Waits(Deliveries.get)
    list = _Waits(Deliveries.list)
    attempts = _Waits(Deliveries.attempts)
    dead = _Waits(Deliveries.dead)
    redrive = _Waits(Deliveries.redrive)
    redrive_all = _Waits(Deliveries.redrive_all)
    recover = _Waits(Deliveries.recover)
    cancel = _Waits(Deliveries.cancel)
    cancel_all = _Waits(Deliveries.cancel_all)
    wake_all = _Waits(Deliveries.wake_all)
    changes = _Waits(Deliveries.changes)


class BlockingEvents(_Part):
    """See :class:`~notifykit.admin.events.Events`."""

    get = _Waits(Events.get)
    list = _Waits(Events.list)
    explain = _Waits(Events.explain)


class BlockingRecipients(_Part):
    """See :class:`~notifykit.admin.recipients.Recipients`."""

    save = _Waits(Recipients.save)
    get = _Waits(Recipients.get)
    list = _Waits(Recipients.list)
    delete = _Waits(Recipients.delete)
    erase = _Waits(Recipients.erase)
    export = _Waits(Recipients.export)
    import_ = _Waits(Recipients.import_)
    add_address = _Waits(Recipients.add_address)
    remove_address = _Waits(Recipients.remove_address)
    register_device = _Waits(Recipients.register_device)
    unregister_device = _Waits(Recipients.unregister_device)
    verify = _Waits(Recipients.verify)
    mark_gone = _Waits(Recipients.mark_gone)
    suppress = _Waits(Recipients.suppress)
    unsuppress = _Waits(Recipients.unsuppress)


class BlockingSuppressions(_Part):
    """See :class:`~notifykit.admin.suppressions.Suppressions`."""

    add = _Waits(Suppressions.add)
    check = _Waits(Suppressions.check)
    remove = _Waits(Suppressions.remove)
    page = _Waits(Suppressions.page)
    import_ = _Waits(Suppressions.import_)
    export = _Waits(Suppressions.export)
    inbound_sms = _Waits(Suppressions.inbound_sms)


class BlockingStoredTemplates(_Part):
    """See :class:`~notifykit.admin.stored_templates.StoredTemplates`."""

    save = _Waits(StoredTemplates.save)
    get = _Waits(StoredTemplates.get)
    list = _Waits(StoredTemplates.list)
    history = _Waits(StoredTemplates.history)
    rollback = _Waits(StoredTemplates.rollback)
    remove = _Waits(StoredTemplates.remove)


class BlockingUnsubscribeLinks(_Part):
    """See :class:`~notifykit.admin.unsubscribe_links.UnsubscribeLinks`."""

    follow = _Waits(UnsubscribeLinks.follow)
    undo = _Waits(UnsubscribeLinks.undo)


class BlockingPreferences(_Part):
    """See :class:`~notifykit.admin.preferences.Preferences`."""

    set = _Waits(Preferences.set)
    unset = _Waits(Preferences.unset)
    mute = _Waits(Preferences.mute)
    unmute = _Waits(Preferences.unmute)
    quiet_hours = _Waits(Preferences.quiet_hours)
    consent = _Waits(Preferences.consent)
    matrix = _Waits(Preferences.matrix)
    replace = _Waits(Preferences.replace)


class BlockingTenantSettings(_Part):
    """See :class:`~notifykit.admin.preferences.TenantSettings`."""

    get = _Waits(TenantSettings.get)
    set = _Waits(TenantSettings.set)
    unset = _Waits(TenantSettings.unset)
    localize = _Waits(TenantSettings.localize)


class BlockingProviders(_Part):
    """See :class:`~notifykit.admin.providers.Providers`."""

    set = _Waits(Providers.set)
    get = _Waits(Providers.get)
    list = _Waits(Providers.list)
    remove = _Waits(Providers.remove)


class BlockingRecipientInbox(_Part):
    """See :class:`~notifykit.admin.inbox.RecipientInbox`."""

    page = _Waits(RecipientInbox.page)
    counts = _Waits(RecipientInbox.counts)
    mark = _Waits(RecipientInbox.mark)
    mark_all = _Waits(RecipientInbox.mark_all)
    changes = _Waits(RecipientInbox.changes)
    next_changes = _Waits(RecipientInbox.next_changes)
    erase = _Waits(RecipientInbox.erase)


class Blocking:
    """A kit for sync callers: every asynchronous method, awaited in a background thread.

    Thread-safe.  ``kit.blocking.endpoints.create(...)`` returns the endpoint itself;
    publishes of many threads share transactions like those of many tasks.
    """

    def __init__(self, portal: Portal[Any]) -> None:
        self._portal = portal
        self.api_keys = BlockingApiKeys(portal, lambda kit: kit.api_keys)
        self.audit = BlockingAuditLog(portal, lambda kit: kit.audit)
        self.endpoints = BlockingEndpoints(portal, lambda kit: kit.endpoints)
        self.subscriptions = BlockingSubscriptions(portal, lambda kit: kit.subscriptions)
        self.deliveries = BlockingDeliveries(portal, lambda kit: kit.deliveries)
        self.events = BlockingEvents(portal, lambda kit: kit.events)
        self.recipients = BlockingRecipients(portal, lambda kit: kit.recipients)
        self.providers = BlockingProviders(portal, lambda kit: kit.providers)
        self.suppressions = BlockingSuppressions(portal, lambda kit: kit.suppressions)
        self.templates = BlockingStoredTemplates(portal, lambda kit: kit.templates)
        self.unsubscribe_links = BlockingUnsubscribeLinks(portal, lambda kit: kit.unsubscribe_links)

    def inbox(self, recipient_id: str, *, tenant: str) -> BlockingRecipientInbox:
        """Return a person's in-app inbox; see :meth:`notifykit.Notifykit.inbox`."""
        return BlockingRecipientInbox(self._portal, lambda kit: kit.inbox(recipient_id, tenant=tenant))

    @property
    def is_open(self) -> bool:
        """Whether the background thread runs."""
        return self._portal.is_open

    def close(self) -> None:
        """Disconnect and end the thread; the next call opens it again."""
        self._portal.close()

    def publish(self, event: object, **options: Unpack[PublishOptions]) -> Receipt:
        """Publish one event and wait until it is durable."""
        receipt: Receipt = self._portal.call(lambda kit: kit.apublish(event, **options))
        return receipt

    def publish_many(self, events: Iterable[object], **options: Unpack[PublishOptions]) -> list[Receipt]:
        """Publish events and wait until they are durable."""
        receipts: list[Receipt] = self._portal.call(lambda kit: kit.apublish_many(events, **options))
        return receipts

    def preferences(self, recipient_id: str, *, tenant: str) -> BlockingPreferences:
        """Return what a person wants, to change it; see :meth:`notifykit.Notifykit.preferences`."""
        return BlockingPreferences(self._portal, lambda kit: kit.preferences(recipient_id, tenant=tenant))

    def tenant_preferences(self, *, tenant: str) -> BlockingTenantSettings:
        """Return what a tenant says for all; see :meth:`notifykit.Notifykit.tenant_preferences`."""
        return BlockingTenantSettings(self._portal, lambda kit: kit.tenant_preferences(tenant=tenant))

    @overload
    def subscribe(
        self,
        event_types: str | Iterable[str],
        *,
        tenant: str,
        endpoint: str,
        topic: str | None = None,
        filter: Mapping[str, Any] | None = None,
        **endpoint_options: Unpack[EndpointOptions],
    ) -> tuple[Subscription, Endpoint]: ...

    @overload
    def subscribe(
        self,
        event_types: str | Iterable[str],
        *,
        tenant: str,
        recipient: str,
        topic: str | None = None,
        filter: Mapping[str, Any] | None = None,
    ) -> Subscription: ...

    def subscribe(
        self,
        event_types: str | Iterable[str],
        *,
        tenant: str,
        endpoint: str | None = None,
        recipient: str | None = None,
        topic: str | None = None,
        filter: Mapping[str, Any] | None = None,
        **endpoint_options: Unpack[EndpointOptions],
    ) -> tuple[Subscription, Endpoint] | Subscription:
        """Subscribe an endpoint (by its URL or id) or a recipient; see :meth:`notifykit.Notifykit.subscribe`."""
        made: tuple[Subscription, Endpoint] | Subscription = self._portal.call(
            lambda kit: kit.subscribe(
                event_types,
                tenant=tenant,
                endpoint=endpoint,
                recipient=recipient,
                topic=topic,
                filter=filter,
                **endpoint_options,
            )
        )
        return made

    def sync_event_types(self) -> int:
        """Store the event types that this program declares; return how many were new or changed."""
        count: int = self._portal.call(lambda kit: kit.sync_event_types())
        return count

    def explain(
        self,
        recipient_id: str,
        what: str | type | EventType,
        *,
        tenant: str,
        topic: str | None = None,
        at: datetime | None = None,
    ) -> PersonExplanation:
        """Explain why a person was told of an event or was not; see :meth:`notifykit.Notifykit.explain`."""
        found: PersonExplanation = self._portal.call(
            lambda kit: kit.explain(recipient_id, what, tenant=tenant, topic=topic, at=at)
        )
        return found

    def record_receipts(self, receipts: Iterable[ProviderReceipt]) -> int:
        """Store what providers report, and apply it; see :meth:`notifykit.Notifykit.record_receipts`."""
        count: int = self._portal.call(lambda kit: kit.record_receipts(receipts))
        return count

    def stats(self) -> StoreStats:
        """Return how much work waits."""
        stats: StoreStats = self._portal.call(lambda kit: kit.stats())
        return stats

    def tenants(self, *, limit: int = 100, after: str | None = None) -> list[str]:
        """Return the names of tenants in their order, from behind the name ``after``."""
        names: list[str] = self._portal.call(lambda kit: kit.tenants(limit=limit, after=after))
        return names

    def workers(self, *, limit: int = 100, after: str | None = None) -> list[WorkerRecord]:
        """Return the dispatchers that work on this store, by their ids, from behind the id ``after``."""
        records: list[WorkerRecord] = self._portal.call(lambda kit: kit.workers(limit=limit, after=after))
        return records
