"""Planning: from an event and a tenant's subscriptions to deliveries.

Pure: the clock is an argument.  The index is made once for each version of a tenant's
configuration.  However many subscriptions there are, an event is compared only with those
whose patterns of types and topics start with its own words.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from operator import attrgetter
from typing import Any, Final, Generic, Protocol, Self, TypeVar

from ..codec import loads
from ..errors import InvalidSubscriptionError
from ..models.delivery import WEBHOOK, DeliveryState, NewDelivery
from ..models.endpoint import EndpointState
from ..models.event import OPERATIONAL, TakenEvent
from ..models.ids import delivery_id, recipient_key
from ..models.subscription import PEOPLE, MatchQuery, Subscription, TenantConfig
from .decide import HOLD
from .filters import Predicate, check_filter, compile_filter
from .patterns import TOPICS, TYPES, Matcher, check_pattern, compile_pattern, fits, literal_head

T = TypeVar("T")


class Verdict(StrEnum):
    """Why a subscription does or does not make a delivery of an event: stable codes."""

    MATCHED = "matched"
    TYPE_MISMATCH = "type_mismatch"
    TOPIC_MISMATCH = "topic_mismatch"
    FILTER_MISMATCH = "filter_mismatch"
    SUBSCRIPTION_DISABLED = "subscription_disabled"
    SUBSCRIPTION_INVALID = "subscription_invalid"
    ENDPOINT_DISABLED = "endpoint_disabled"
    ENDPOINT_MISSING = "endpoint_missing"
    DUPLICATE_ENDPOINT = "duplicate_endpoint"


class Content(Protocol):
    """What subscriptions look at: a ``TakenEvent`` or a ``StoredEvent``."""

    @property
    def type(self) -> str: ...

    @property
    def topic(self) -> str | None: ...

    @property
    def body(self) -> bytes: ...


# ── the index ──────────────────────────────────────────────────────────────────────────────────


#: Answers of an index that are kept at hand: events of a few types follow each other, and so do pages of one event.
_ASKED: Final = 16


def _never(_: Any) -> bool:
    return False


class _Target:
    """A subscriber's address on a channel: it gets at most one delivery of an event."""

    __slots__ = ("_key", "address", "channel", "state", "subscriber_id")

    def __init__(self, subscriber_id: str, channel: str, address: str | None, state: EndpointState) -> None:
        self.subscriber_id = subscriber_id
        self.channel = channel
        self.address = address
        self.state = state
        self._key: str | None = None

    @property
    def key(self) -> str:
        """The end of the ids of all deliveries to this target."""
        if self._key is None:
            self._key = recipient_key(self.subscriber_id, self.channel, self.address or "")
        return self._key


#: Subscriber, channel and address (``None`` for an endpoint): what gets one delivery of an event at the most.
Reached = tuple[str, str, str | None]


def reached_by(subscription: Subscription) -> Reached:
    """Return what a subscription delivers to."""
    return subscription.subscriber_id, subscription.channel, subscription.address


class _CompiledSubscription:
    """One subscription that can match; its filter is compiled when it is first needed."""

    __slots__ = ("_accepts", "filtered", "rank", "subscription", "target")

    def __init__(self, rank: int, subscription: Subscription, target: _Target) -> None:
        self.rank = rank
        self.subscription = subscription
        self.target = target
        self.filtered = subscription.filter is not None
        self._accepts: Predicate | None = None

    def accepts(self, data: Any) -> bool:
        """Tell whether ``data`` passes the filter."""
        if self._accepts is None:
            self._accepts = _compiled_filter(self.subscription)
        return self._accepts(data)


def _compiled_filter(subscription: Subscription) -> Predicate:
    """Compile a filter; one that cannot be read matches nothing, and must not stop the tenant's other events."""
    if subscription.filter is None:
        return lambda _: True
    try:
        return compile_filter(subscription.filter)
    except InvalidSubscriptionError:
        return _never


def _compiled_pattern(pattern: str, separator: str) -> Matcher:
    """Compile a pattern; one that cannot be read matches nothing."""
    try:
        return compile_pattern(pattern, separator)
    except InvalidSubscriptionError:
        return _never


class _Wild(Generic[T]):
    """What stands under one pattern with wildcards."""

    __slots__ = ("_matches", "found", "pattern")

    def __init__(self, pattern: str, found: T) -> None:
        self.pattern = pattern
        self.found = found
        self._matches: Matcher | None = None

    def matches(self, text: str, separator: str) -> bool:
        if self._matches is None:
            self._matches = _compiled_pattern(self.pattern, separator)
        return self._matches(text)


class _Patterns(Generic[T]):
    """Values under patterns: literal ones by their text, the others by the words before their first wildcard."""

    __slots__ = ("_exact", "_heads", "_make", "_separator", "_wild")

    def __init__(self, separator: str, make: Callable[[], T]) -> None:
        self._separator = separator
        self._make = make
        self._exact: dict[str, T] = {}
        self._wild: dict[str, _Wild[T]] = {}
        self._heads: dict[str, list[_Wild[T]]] = {}

    def under(self, pattern: str) -> T:
        """Return the value that stands under ``pattern``; make it if there is none."""
        if (head := literal_head(pattern, self._separator)) is None:
            if pattern not in self._exact:
                self._exact[pattern] = self._make()
            return self._exact[pattern]
        if pattern not in self._wild:
            wild = self._wild[pattern] = _Wild(pattern, self._make())
            self._heads.setdefault(head, []).append(wild)
        return self._wild[pattern].found

    def matching(self, text: str) -> list[T]:
        """Return the values under all patterns that match ``text``."""
        exact = self._exact.get(text)
        found = [] if exact is None else [exact]
        if self._heads:
            for head in _heads(text, self._separator):
                for wild in self._heads.get(head, ()):
                    if wild.matches(text, self._separator):
                        found.append(wild.found)  # noqa: PERF401  # two loops deep, a comprehension hides it
        return found


def _heads(text: str, separator: str) -> Iterator[str]:
    """Yield what the literal words of a matching pattern can be: no words, the first, … all of them."""
    yield ""
    at = text.find(separator)
    while at >= 0:
        yield text[:at]
        at = text.find(separator, at + 1)
    if text:
        yield text


class _Topics:
    """The subscriptions under one pattern of types."""

    __slots__ = ("anywhere", "by_topic")

    def __init__(self) -> None:
        self.anywhere: list[_CompiledSubscription] = []
        self.by_topic: _Patterns[list[_CompiledSubscription]] | None = None

    def add(self, compiled: _CompiledSubscription, topic: str | None) -> None:
        if topic is None:
            self.anywhere.append(compiled)
            return
        if self.by_topic is None:
            self.by_topic = _Patterns(TOPICS, list)
        self.by_topic.under(topic).append(compiled)


class SubscriptionIndex:
    """Subscriptions of a tenant, arranged so that an event is compared with few of them.

    Make a new index for a new version of the configuration.

    Args:
        subscriptions: Some of a tenant's.
        endpoints: The states of the endpoints that these name; an address of a subscription itself is active.

    Attributes:
        subscriptions: What it was made from, in the order of ids.
    """

    def __init__(self, subscriptions: Iterable[Subscription], endpoints: Mapping[str, EndpointState]) -> None:
        self.subscriptions = tuple(sorted(subscriptions, key=attrgetter("id")))
        self._endpoints = endpoints
        self._types: _Patterns[_Topics] = _Patterns(TYPES, _Topics)
        self._asked: dict[tuple[str, str | None], list[_CompiledSubscription]] = {}
        targets: dict[Reached, _Target] = {}
        for rank, subscription in enumerate(self.subscriptions):
            state = self.state_of(subscription)
            if state is None or not subscription.enabled:
                continue
            to = reached_by(subscription)
            if to not in targets:
                targets[to] = _Target(*to, state)
            compiled = _CompiledSubscription(rank, subscription, targets[to])
            if subscription.topic is not None and not fits(subscription.topic, TOPICS):
                continue
            for pattern in dict.fromkeys(subscription.event_types):
                if fits(pattern, TYPES):
                    self._types.under(pattern).add(compiled, subscription.topic)

    @classmethod
    def of(cls, config: TenantConfig) -> Self:
        """Return an index of all that a tenant has."""
        return cls(config.subscriptions, {endpoint.id: endpoint.state for endpoint in config.endpoints})

    def state_of(self, subscription: Subscription) -> EndpointState | None:
        """Return the state of what a subscription delivers to, or ``None`` if the tenant has no such endpoint."""
        if subscription.address is not None or subscription.channel == PEOPLE:
            return EndpointState.ACTIVE
        return self._endpoints.get(subscription.subscriber_id)

    def named(self, type: str) -> list[_CompiledSubscription]:
        """Return the subscriptions to events of this type that spell out the first word of it."""
        return [compiled for compiled in self.matching(type, None) if _names(compiled.subscription, type)]

    def target(self, endpoint_id: str) -> _Target | None:
        """Return an endpoint as a target of webhooks, or ``None`` if the tenant has no such endpoint."""
        state = self._endpoints.get(endpoint_id)
        return None if state is None else _Target(endpoint_id, WEBHOOK, None, state)

    def matching(self, type: str, topic: str | None) -> list[_CompiledSubscription]:
        """Return the subscriptions to events of this type and topic, in the order of their ids."""
        asked = type, topic
        found = self._asked.get(asked)
        if found is None:
            if len(self._asked) >= _ASKED:
                self._asked.clear()
            found = self._asked[asked] = self._find(type, topic)
        return found

    def _find(self, type: str, topic: str | None) -> list[_CompiledSubscription]:
        groups: list[list[_CompiledSubscription]] = []
        for topics in self._types.matching(type):
            if topics.anywhere:
                groups.append(topics.anywhere)
            if topics.by_topic is not None:
                groups += topics.by_topic.matching(topic or "")
        if len(groups) == 1:
            return groups[0]
        return sorted((compiled for group in groups for compiled in group), key=attrgetter("rank"))


# ── the rule ───────────────────────────────────────────────────────────────────────────────────

_UNREAD: Final = object()
#: How a topic begins that names one endpoint instead of what an event is about.
_ADDRESSED: Final = "@"
#: Types of operational events, which are only made if a subscription names them (``dispatch/operational_events.py``).
OPERATIONAL_TYPES: Final = frozenset(
    {
        "endpoint.failing",
        "endpoint.recovered",
        "endpoint.disabled",
        "delivery.exhausted",
        "delivery.bounced",
        "delivery.failed",
        "delivery.complained",
        "delivery.unsubscribed",
        "provider.bouncing",
        "template.failed",
    }
)


def plan(event: TakenEvent, index: SubscriptionIndex, *, now: datetime) -> list[NewDelivery]:
    """Return the deliveries of ``event``: one for each address, in the order of subscription ids.

    Where several subscriptions to one address match, the one with the smallest id counts.
    What is not sent is a delivery too (``SUPPRESSED``, ``EXPIRED``), so that it can be found.
    A subscribed recipient has one on the channel :data:`PEOPLE`, which stands for those of the steps (see
    ``policies/audience.py``).
    """
    return plan_page(event, index, now=now, most=sys.maxsize)[0]


def plan_page(
    event: TakenEvent, index: SubscriptionIndex, *, now: datetime, most: int
) -> tuple[list[NewDelivery], str | None]:
    """Return at most so many deliveries of ``event``, from its cursor on, and the cursor of the next page, if any.

    A cursor is the id of a subscription, so that pages go on where they were although subscriptions
    come and go.  A later page may name a delivery that an earlier one made: its id tells.
    """
    expired = event.expires_at is not None and event.expires_at <= now
    if (endpoint_id := addressed_to(event)) is not None:
        target = index.target(endpoint_id)
        return ([] if target is None else [_delivery(event, target, "", expired, now)]), None
    matching = index.named(event.type) if event.topic == OPERATIONAL else index.matching(event.type, event.topic)
    if len(matching) == 1 and event.cursor is None and not matching[0].filtered:  # what follows, in short
        return [_delivery(event, matching[0].target, matching[0].subscription.id, expired, now)], None
    deliveries: list[NewDelivery] = []
    reached: set[_Target] = set()
    data: Any = _UNREAD
    start = 0 if event.cursor is None else bisect_right(matching, event.cursor, key=_subscription_id)
    for at in range(start, len(matching)):
        compiled = matching[at]
        if len(deliveries) >= most:
            return deliveries, _subscription_id(matching[at - 1])
        target = compiled.target
        if target in reached:
            continue
        if compiled.filtered:
            if data is _UNREAD:
                data = loads(event.body)["data"]
            if not compiled.accepts(data):
                continue
        reached.add(target)
        deliveries.append(_delivery(event, target, compiled.subscription.id, expired, now))
    return deliveries, None


def _subscription_id(compiled: _CompiledSubscription) -> str:
    return compiled.subscription.id


def only_to(endpoint_id: str) -> str:
    """Return the topic of an event that goes to one endpoint, whatever is subscribed; no caller may publish to it."""
    return _ADDRESSED + endpoint_id


def _names(subscription: Subscription, type: str) -> bool:
    """Tell whether a pattern that matches ``type`` begins with its first word."""
    head = type.partition(TYPES)[0]
    return any(
        pattern.partition(TYPES)[0] == head and _compiled_pattern(pattern, TYPES)(type)
        for pattern in subscription.event_types
    )


def addressed_to(event: Content) -> str | None:
    """Return the one endpoint that an event goes to (see :func:`only_to`), if it names one."""
    return event.topic[len(_ADDRESSED) :] if event.topic is not None and event.topic.startswith(_ADDRESSED) else None


def query_for(event: TakenEvent) -> MatchQuery:
    """Return which subscriptions to look for that may match an event that names no endpoint."""
    named = event.topic == OPERATIONAL
    return MatchQuery(event.type, "" if named or event.topic is None else event.topic, named)


def _delivery(event: TakenEvent, target: _Target, subscription_id: str, expired: bool, now: datetime) -> NewDelivery:
    if expired or target.state is not EndpointState.ACTIVE:
        state, reason, due_at = _start(target.state, expired, now)
    else:
        state, reason, due_at = DeliveryState.PENDING, None, now
    return NewDelivery(
        delivery_id(event.id, target.key),
        event.id,
        event.tenant,
        subscription_id,
        target.subscriber_id,
        target.channel,
        event.priority,
        state,
        reason,
        due_at,
        event.expires_at,
        event.ordering_key,
        target.address,
    )


def _start(endpoint: EndpointState, expired: bool, now: datetime) -> tuple[DeliveryState, str | None, datetime]:
    """Return the first state of a delivery that cannot be sent now, the reason, and when it is due."""
    if expired:
        return DeliveryState.EXPIRED, "expired", now
    if endpoint is EndpointState.PAUSED:
        return DeliveryState.HELD, "endpoint_paused", now + HOLD
    return DeliveryState.SUPPRESSED, "endpoint_disabled", now


def explain(
    event: Content, index: SubscriptionIndex, *, reached: set[Reached] | None = None
) -> list[tuple[Subscription, Verdict]]:
    """Return what each subscription of the index says to ``event``, in the order of their ids.

    Args:
        reached: What earlier subscriptions deliver to; hand the same set in for the next page of subscriptions.
    """
    data = loads(event.body)["data"]
    reached = set() if reached is None else reached
    verdicts = []
    for subscription in index.subscriptions:
        verdict = _own_verdict(subscription, event, data)
        if verdict is Verdict.MATCHED:
            to = reached_by(subscription)
            verdict = _target_verdict(index.state_of(subscription), to in reached)
            reached.add(to)
        verdicts.append((subscription, verdict))
    return verdicts


def _own_verdict(subscription: Subscription, event: Content, data: Any) -> Verdict:
    """Return what a subscription says, whatever it delivers to."""
    topic = subscription.topic
    if not subscription.enabled:
        return Verdict.SUBSCRIPTION_DISABLED
    if _is_invalid(subscription):
        return Verdict.SUBSCRIPTION_INVALID
    matching = [pattern for pattern in subscription.event_types if _compiled_pattern(pattern, TYPES)(event.type)]
    if not matching or (event.topic == OPERATIONAL and not _names(subscription, event.type)):
        return Verdict.TYPE_MISMATCH
    on = "" if event.topic in {None, OPERATIONAL} else event.topic
    if addressed_to(event) is not None or (topic is not None and not _compiled_pattern(topic, TOPICS)(on or "")):
        return Verdict.TOPIC_MISMATCH
    if not _compiled_filter(subscription)(data):
        return Verdict.FILTER_MISMATCH
    return Verdict.MATCHED


def _is_invalid(subscription: Subscription) -> bool:
    """Tell whether a part of the subscription cannot be read, and so it matches nothing."""
    return bool(
        all(check_pattern(pattern, TYPES) for pattern in subscription.event_types)
        or (subscription.topic is not None and check_pattern(subscription.topic, TOPICS))
        or (subscription.filter is not None and check_filter(subscription.filter))
    )


def _target_verdict(state: EndpointState | None, is_reached: bool) -> Verdict:
    """Return what becomes of a subscription that matches."""
    if state is None:
        return Verdict.ENDPOINT_MISSING
    if state is EndpointState.DISABLED:
        return Verdict.ENDPOINT_DISABLED
    return Verdict.DUPLICATE_ENDPOINT if is_reached else Verdict.MATCHED
