"""Create and change a tenant's subscriptions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, TypedDict, Unpack

import attrs

from ..changes import change
from ..errors import InvalidSubscriptionError, NotFoundError
from ..models.checks import flag, identifier, optional, problems, prose
from ..models.event import EventType
from ..models.ids import SUBSCRIPTION, new_id
from ..models.subscription import Subscription
from ..policies.arguments import ARGUMENTS, checked
from ..policies.filters import check_filter
from ..policies.patterns import check_pattern
from ..policies.plan import OPERATIONAL_TYPES
from ..policies.unmatchable import SubscriptionWarning, unmatchable
from ..ports import Clock, Store

MAX_PATTERNS = 100
_CHANGES = {**ARGUMENTS, "enabled": flag}


class SubscriptionChanges(TypedDict, total=False):
    """What can be changed of a subscription."""

    event_types: str | Iterable[str]
    topic: str | None
    filter: Mapping[str, Any] | None
    description: str
    enabled: bool


class Subscriptions:
    """Which events are delivered to which endpoints.

    Every change reaches planners with the next event.  Changes that are made at the same time are made one
    after the other: none undoes another.
    """

    def __init__(self, store: Store, clock: Clock, declared: Iterable[EventType] = ()) -> None:
        self._store = store
        self._clock = clock
        self._declared = declared

    @checked(refusal=InvalidSubscriptionError)
    async def create(
        self,
        event_types: str | Iterable[str],
        *,
        tenant: str,
        endpoint_id: str,
        topic: str | None = None,
        filter: Mapping[str, Any] | None = None,
        description: str = "",
    ) -> Subscription:
        """Subscribe an endpoint.

        Args:
            event_types: One or several patterns: ``order.shipped``, ``order.*``, ``order.**``, ``**``.
            topic: A pattern of topic paths: ``shop/7/**``.
            filter: Conditions on the event's data.

        Raises:
            InvalidSubscriptionError: With every problem found.
            NotFoundError: The tenant has no such endpoint.
        """
        now = self._clock.now()
        subscription = Subscription(
            id=new_id(SUBSCRIPTION),
            tenant=tenant,
            event_types=listed_patterns(event_types),
            subscriber_id=endpoint_id,
            topic=topic,
            filter=filter,
            description=description,
            created_at=now,
            updated_at=now,
        )
        saved = await self._save(subscription)
        if await self._store.get_endpoint(tenant, endpoint_id) is None:  # removed at the same time
            await self._store.remove_subscription(tenant, saved.id)
            raise NotFoundError("endpoint", endpoint_id)
        return saved

    @checked()
    async def get(self, subscription_id: str, *, tenant: str) -> Subscription:
        """Return a subscription.

        Raises:
            NotFoundError: The tenant has no such subscription.
        """
        subscription = await self._store.get_subscription(tenant, subscription_id)
        if subscription is None:
            raise NotFoundError("subscription", subscription_id)
        return subscription

    @checked(endpoint_id=optional(identifier))
    async def list(
        self, *, tenant: str, endpoint_id: str | None = None, limit: int = 50, after: str | None = None
    ) -> Sequence[Subscription]:
        """Return a page of subscriptions in the order of their creation, from behind the id ``after``."""
        return await self._store.find_subscriptions(tenant, subscriber_id=endpoint_id, limit=limit, after=after)

    @checked()
    async def update(
        self, subscription_id: str, *, tenant: str, **changes: Unpack[SubscriptionChanges]
    ) -> Subscription:
        """Change ``event_types``, ``topic``, ``filter``, ``description`` or ``enabled``; keep the rest.

        ``topic=None`` and ``filter=None`` remove the condition.

        Raises:
            InvalidSubscriptionError: With every problem found; nothing is changed.
            NotFoundError: The tenant has no such subscription.
        """
        unknown = changes.keys() - SubscriptionChanges.__annotations__.keys()
        if unknown:
            raise InvalidSubscriptionError([f"{name}: cannot be changed" for name in sorted(unknown)])
        if wrong := problems(changes, _CHANGES):
            raise InvalidSubscriptionError(wrong)
        given: dict[str, Any] = {**changes}
        if "event_types" in changes:
            given["event_types"] = listed_patterns(changes["event_types"])

        async def read() -> Subscription:
            return await self.get(subscription_id, tenant=tenant)

        return await change(read, lambda subscription: attrs.evolve(subscription, **given), self._save)

    @checked()
    async def delete(self, subscription_id: str, *, tenant: str) -> None:
        """Remove a subscription; deliveries that exist stay.

        Raises:
            NotFoundError: The tenant has no such subscription.
        """
        if not await self._store.remove_subscription(tenant, subscription_id):
            raise NotFoundError("subscription", subscription_id)

    @checked()
    async def warnings(self, subscription_id: str, *, tenant: str) -> tuple[SubscriptionWarning, ...]:
        """Return why no event is to be expected for a subscription, as far as that is known; usually nothing.

        That is a pattern that matches none of the program's declared types and of the operational events, a topic
        that is no path, or a range of numbers that is empty.  None of these is refused.

        Raises:
            NotFoundError: The tenant has no such subscription.
        """
        subscription = await self.get(subscription_id, tenant=tenant)
        declared = {event_type.name for event_type in self._declared}
        if declared:
            declared |= OPERATIONAL_TYPES
        return unmatchable(subscription.event_types, subscription.topic, subscription.filter, declared=declared)

    async def _save(self, subscription: Subscription) -> Subscription:
        check(subscription.event_types, subscription.topic, subscription.filter, subscription.description)
        if await self._store.get_endpoint(subscription.tenant, subscription.subscriber_id) is None:
            raise NotFoundError("endpoint", subscription.subscriber_id)
        return await self._store.save_subscription(attrs.evolve(subscription, updated_at=self._clock.now()))


def listed_patterns(event_types: str | Iterable[str]) -> tuple[str, ...]:
    """Return patterns as a tuple; an iterator is read no further than there may be patterns."""
    return (event_types,) if isinstance(event_types, str) else tuple(islice(event_types, MAX_PATTERNS + 1))


def check(
    event_types: str | Iterable[str], topic: str | None, filter: Mapping[str, Any] | None, description: object = ""
) -> None:
    """Raise :class:`InvalidSubscriptionError` with every problem of a subscription's conditions."""
    patterns = listed_patterns(event_types)
    wrong: list[str] = []
    if not 1 <= len(patterns) <= MAX_PATTERNS:
        wrong.append(f"event_types: between 1 and {MAX_PATTERNS} patterns, got {len(patterns)}")
    for at, pattern in enumerate(patterns):
        wrong += check_pattern(pattern, ".", path=f"event_types[{at}]")
    if topic is not None:
        wrong += check_pattern(topic, "/", path="topic")
    if filter is not None:
        wrong += check_filter(filter)
    wrong += problems({"description": description}, {"description": prose})
    if wrong:
        raise InvalidSubscriptionError(wrong)
