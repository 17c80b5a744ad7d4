"""Create and change a tenant's subscriptions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, TypedDict, Unpack

import attrs

from ..changes import change
from ..errors import InvalidInputError, InvalidSubscriptionError, NotFoundError
from ..models.checks import flag, identifier, optional, problems, prose, text
from ..models.delivery import WEBHOOK
from ..models.endpoint import Endpoint
from ..models.event import EventType
from ..models.ids import RECIPIENT_SUBSCRIPTION, SUBSCRIPTION, new_id
from ..models.recipient import Recipient
from ..models.subscription import PEOPLE, Subscription
from ..policies.arguments import ARGUMENTS, checked
from ..policies.filters import check_filter
from ..policies.patterns import check_pattern
from ..policies.plan import OPERATIONAL_TYPES
from ..policies.unmatchable import SubscriptionWarning, unmatchable
from ..ports import AddressedChannel, Channel, Clock, Store

MAX_PATTERNS = 100
#: The longest address; push tokens and URLs of browsers' push services are the longest kinds.
MAX_ADDRESS = 4096
_CHANGES = {**ARGUMENTS, "enabled": flag}


class SubscriptionChanges(TypedDict, total=False):
    """What can be changed of a subscription."""

    event_types: str | Iterable[str]
    topic: str | None
    filter: Mapping[str, Any] | None
    description: str
    enabled: bool


class Subscriptions:
    """Which events are delivered to which endpoints, recipients and addresses.

    Every change reaches planners with the next event.  Changes that are made at the same time are made one
    after the other: none undoes another.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        declared: Iterable[EventType] = (),
        channels: Callable[[], Sequence[Channel]] = tuple,
    ) -> None:
        self._store = store
        self._clock = clock
        self._declared = declared
        self._channels = channels

    @checked(
        refusal=InvalidSubscriptionError,
        endpoint_id=optional(identifier),
        recipient=optional(identifier),
        subscriber=optional(identifier),
        channel=identifier,
        address=optional(text(most=MAX_ADDRESS)),
    )
    async def create(
        self,
        event_types: str | Iterable[str],
        *,
        tenant: str,
        endpoint_id: str | None = None,
        recipient: str | None = None,
        subscriber: str | None = None,
        channel: str = WEBHOOK,
        address: str | None = None,
        topic: str | None = None,
        filter: Mapping[str, Any] | None = None,
        description: str = "",
    ) -> Subscription:
        """Subscribe an endpoint, a recipient, or an address of another channel.

        Args:
            event_types: One or several patterns: ``order.shipped``, ``order.*``, ``order.**``, ``**``.
            endpoint_id: The endpoint (``end_…``), for webhooks.
            recipient: A person, by the id of the recipient; the event type's steps say over which channels.
            subscriber: For another channel your own id of what is reached: ``room:5``.
            channel: One of the kit's channels.
            address: Where on that channel the subscriber is reached.
            topic: A pattern of topic paths: ``shop/7/**``.
            filter: Conditions on the event's data.

        Raises:
            InvalidSubscriptionError: With every problem found.
            NotFoundError: The tenant has no such endpoint or recipient.
        """
        patterns = listed_patterns(event_types)
        check(patterns, topic, filter, description)
        now = self._clock.now()
        if recipient is None:
            prefix = SUBSCRIPTION
            subscriber_id, address = self._target(endpoint_id, subscriber, channel, address)
        else:
            prefix, subscriber_id, channel = RECIPIENT_SUBSCRIPTION, recipient, PEOPLE
            _require_only_recipient(endpoint_id, subscriber, address)
        subscription = Subscription(
            id=new_id(prefix),
            tenant=tenant,
            event_types=patterns,
            subscriber_id=subscriber_id,
            channel=channel,
            address=address,
            topic=topic,
            filter=filter,
            description=description,
            created_at=now,
            updated_at=now,
        )
        saved = await self._save(subscription)
        try:
            await self._require_target(saved)
        except NotFoundError:
            await self._store.remove(Subscription, tenant, saved.id, now=now)  # its target was removed meanwhile
            raise
        return saved

    def _target(
        self, endpoint_id: str | None, subscriber: str | None, channel: str, address: str | None
    ) -> tuple[str, str | None]:
        """Return the subscriber's id and its address in canonical form (``None`` for an endpoint)."""
        if channel == WEBHOOK:
            wrong = [
                f"{name}: webhooks go to endpoints, give endpoint_id"
                for name, value in (("subscriber", subscriber), ("address", address))
                if value is not None
            ]
            if endpoint_id is None:
                wrong = wrong or ["endpoint_id: missing; for another channel give subscriber, channel and address"]
            if wrong or endpoint_id is None:
                raise InvalidSubscriptionError(wrong)
            return endpoint_id, None
        known = {one.name: one for one in self._channels()}
        found = known.get(channel)
        if not isinstance(found, AddressedChannel):
            names = ", ".join(sorted(known))
            what = f"channel: {channel!r} is none of this kit's channels ({names})"
            raise InvalidSubscriptionError([f"{what}; give Notifykit(channels=[...]) or set NOTIFYKIT_CHANNELS"])
        wrong = [] if endpoint_id is None else [f"endpoint_id: only for webhooks, and the channel is {channel}"]
        wrong += [] if subscriber is not None else ["subscriber: missing; it is your own id of what is reached"]
        wrong += [] if address is not None else [f"address: missing; it is what {channel} delivers to"]
        if wrong or subscriber is None or address is None:
            raise InvalidSubscriptionError(wrong)
        try:
            return subscriber, found.check_address(address)
        except InvalidInputError as error:
            raise InvalidSubscriptionError([f"address: {problem}" for problem in error.problems]) from error

    @checked()
    async def get(self, subscription_id: str, *, tenant: str) -> Subscription:
        """Return a subscription.

        Raises:
            NotFoundError: The tenant has no such subscription.
        """
        found = await self._store.get(Subscription, tenant, [subscription_id])
        if not found:
            raise NotFoundError("subscription", subscription_id)
        return found[0]

    @checked(endpoint_id=optional(identifier), recipient=optional(identifier))
    async def list(
        self,
        *,
        tenant: str,
        endpoint_id: str | None = None,
        recipient: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Sequence[Subscription]:
        """Return a page of subscriptions in the order of their ids, from behind the id ``after``.

        Args:
            endpoint_id: Only those of this endpoint.
            recipient: Only those of this recipient.
        """
        if endpoint_id is not None and recipient is not None:
            raise InvalidSubscriptionError(["recipient: give either endpoint_id or recipient"])
        of = endpoint_id if recipient is None else recipient
        return await self._store.page(Subscription, tenant, subscriber_id=of, limit=limit, after=after)

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

        if given.get("enabled"):
            given["disabled_reason"] = None
        return await change(read, lambda subscription: attrs.evolve(subscription, **given), self._save)

    @checked()
    async def delete(self, subscription_id: str, *, tenant: str) -> None:
        """Remove a subscription; deliveries that exist stay.

        Raises:
            NotFoundError: The tenant has no such subscription.
        """
        if not await self._store.remove(Subscription, tenant, subscription_id, now=self._clock.now()):
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
        await self._require_target(subscription)
        return await self._store.save(attrs.evolve(subscription, updated_at=self._clock.now()))

    async def _require_target(self, subscription: Subscription) -> None:
        """Raise :class:`NotFoundError` if the tenant has no such endpoint or recipient."""
        if subscription.address is not None:
            return
        kind: type[Endpoint | Recipient] = Recipient if subscription.channel == PEOPLE else Endpoint
        if not await self._store.get(kind, subscription.tenant, [subscription.subscriber_id]):
            raise NotFoundError(kind.__name__.lower(), subscription.subscriber_id)


def _require_only_recipient(endpoint_id: str | None, subscriber: str | None, address: str | None) -> None:
    given = {"endpoint_id": endpoint_id, "subscriber": subscriber, "address": address}
    if wrong := [f"{name}: not together with recipient" for name, value in given.items() if value is not None]:
        raise InvalidSubscriptionError(wrong)


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
