"""The kit for code without an event loop: the asynchronous methods, each awaited in the portal.

Nothing is written twice: a method here has the signature of the asynchronous one because it is made of
it.  Methods of the kit itself are spelled out, because this module must not import the kit; a test
compares the signatures.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, Unpack

from .admin import Deliveries, Endpoints, Events, Subscriptions
from .admin.endpoints import EndpointOptions
from .models.endpoint import Endpoint
from .models.event import Receipt
from .models.subscription import Subscription
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
    """A part of the kit; calls go to that part of the kit that the portal has open."""

    def __init__(self, portal: Portal[Any], name: str) -> None:
        self._portal = portal
        self._name = name


def _call(
    part: _Part, method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]], *args: P.args, **options: P.kwargs
) -> T:
    return part._portal.call(lambda kit: method(getattr(kit, part._name), *args, **options))


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
    wake_all = _Waits(Deliveries.wake_all)
    changes = _Waits(Deliveries.changes)


class BlockingEvents(_Part):
    """See :class:`~notifykit.admin.events.Events`."""

    get = _Waits(Events.get)
    list = _Waits(Events.list)
    explain = _Waits(Events.explain)


class Blocking:
    """A kit for sync callers: every asynchronous method, awaited in a background thread.

    Thread-safe.  ``kit.blocking.endpoints.create(...)`` returns the endpoint itself;
    publishes of many threads share transactions like those of many tasks.
    """

    def __init__(self, portal: Portal[Any]) -> None:
        self._portal = portal
        self.endpoints = BlockingEndpoints(portal, "endpoints")
        self.subscriptions = BlockingSubscriptions(portal, "subscriptions")
        self.deliveries = BlockingDeliveries(portal, "deliveries")
        self.events = BlockingEvents(portal, "events")

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

    def subscribe(
        self,
        event_types: str | Iterable[str],
        *,
        tenant: str,
        endpoint: str,
        topic: str | None = None,
        filter: Mapping[str, Any] | None = None,
        **endpoint_options: Unpack[EndpointOptions],
    ) -> tuple[Subscription, Endpoint]:
        """Subscribe a URL or an existing endpoint's id; see :meth:`notifykit.Notifykit.subscribe`."""
        made: tuple[Subscription, Endpoint] = self._portal.call(
            lambda kit: kit.subscribe(
                event_types, tenant=tenant, endpoint=endpoint, topic=topic, filter=filter, **endpoint_options
            )
        )
        return made

    def sync_event_types(self) -> int:
        """Store the event types that this program declares; return how many were new or changed."""
        count: int = self._portal.call(lambda kit: kit.sync_event_types())
        return count

    def stats(self) -> StoreStats:
        """Return how much work waits."""
        stats: StoreStats = self._portal.call(lambda kit: kit.stats())
        return stats
