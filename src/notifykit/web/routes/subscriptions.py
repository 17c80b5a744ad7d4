"""Which events go to which endpoints and recipients."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import attrs

from ...admin.subscriptions import MAX_ADDRESS, MAX_PATTERNS, SubscriptionChanges, check
from ...models.access import AccessScope
from ...models.checks import MAX_DESCRIPTION, MAX_ID, flag, identifier, instance, optional, prose, string, text
from ...models.delivery import WEBHOOK
from ...models.endpoint import EndpointState
from ...models.event import TYPE_GRAMMAR, Event
from ...models.subscription import Subscription
from ...policies.admit import admit
from ...policies.plan import SubscriptionIndex, explain
from ..route import Call, PageOf, PageQuery, Routes, described, page_of

if TYPE_CHECKING:
    from ...kit import Notifykit

ROUTES = Routes("Subscriptions")
_id = optional(identifier)
_ID = {"maxLength": MAX_ID}
_PROSE = {"maxLength": MAX_DESCRIPTION}
_filter = optional(instance(Mapping))


@attrs.frozen(kw_only=True)
class SubscriptionView:
    """A rule: events that match are delivered to one subscriber.

    Attributes:
        event_types: Patterns; ``*`` stands for one word, ``**`` for any number.
        topic: A pattern of topic paths.
        filter: Conditions on the event's data.
        subscriber_id: The endpoint or the recipient.
        channel: ``webhook``, another channel, or ``*`` for a recipient.
        disabled_reason: Why, if it was not you who disabled it.
    """

    id: str
    event_types: tuple[str, ...]
    subscriber_id: str
    topic: str | None
    filter: Mapping[str, Any] | None
    channel: str
    description: str
    enabled: bool
    disabled_reason: str | None
    address: str | None
    created_at: datetime
    updated_at: datetime
    version: int

    @classmethod
    def of(cls, subscription: Subscription) -> SubscriptionView:
        """Return what is shown of a subscription."""
        return cls(**{field.name: getattr(subscription, field.name) for field in attrs.fields(cls)})


@attrs.frozen(kw_only=True)
class NewSubscription:
    """A subscription to create: of an endpoint, of a recipient, or of an address of another channel.

    Attributes:
        event_types: Patterns, such as ``order.*``.
        endpoint_id: The endpoint, for webhooks.
        recipient: The person.
        subscriber: For another channel your own id of what is reached.
        channel: Of the address.
        address: Where on that channel.
        topic: A pattern of topic paths.
        filter: Conditions on the event's data.
    """

    event_types: tuple[str, ...]
    endpoint_id: str | None = described(_id, default=None, **_ID)
    recipient: str | None = described(_id, default=None, **_ID)
    subscriber: str | None = described(_id, default=None, **_ID)
    channel: str = described(identifier, default=WEBHOOK, **_ID)
    address: str | None = described(optional(text(most=MAX_ADDRESS)), default=None, maxLength=MAX_ADDRESS)
    topic: str | None = described(optional(string), default=None)
    filter: Mapping[str, Any] | None = described(_filter, default=None)
    description: str = described(prose, default="", **_PROSE)


@ROUTES.add(
    "POST",
    "/v1/subscriptions",
    AccessScope.SUBSCRIPTIONS_WRITE,
    body=NewSubscription,
    answer=SubscriptionView,
    status=201,
)
async def create_subscription(call: Call) -> Any:
    """Subscribe an endpoint, a recipient, or an address."""
    new = attrs.asdict(call.body, recurse=False)
    patterns = new.pop("event_types")[: MAX_PATTERNS + 1]
    created = await call.kit.subscriptions.create(patterns, tenant=call.tenant, **new)
    call.about(created.id)
    return SubscriptionView.of(created)


@attrs.frozen(kw_only=True)
class SubscriptionsQuery(PageQuery):
    """Which subscriptions.

    Attributes:
        endpoint_id: Of this endpoint.
        recipient: Of this recipient.
        limit: How many at the most.
        cursor: The ``next`` of the page before.
    """

    endpoint_id: str | None = described(_id, default=None, **_ID)
    recipient: str | None = described(_id, default=None, **_ID)


@ROUTES.add(
    "GET",
    "/v1/subscriptions",
    AccessScope.SUBSCRIPTIONS_READ,
    query=SubscriptionsQuery,
    answer=PageOf(SubscriptionView),
)
async def list_subscriptions(call: Call) -> Any:
    """List subscriptions in the order of their ids."""
    query: SubscriptionsQuery = call.query
    found = await call.kit.subscriptions.list(
        tenant=call.tenant,
        endpoint_id=query.endpoint_id,
        recipient=query.recipient,
        limit=query.limit + 1,
        after=query.cursor,
    )
    return page_of(found, query.limit, SubscriptionView.of)


@ROUTES.add("GET", "/v1/subscriptions/{subscription_id}", AccessScope.SUBSCRIPTIONS_READ, answer=SubscriptionView)
async def get_subscription(call: Call) -> Any:
    """Return a subscription."""
    found = await call.kit.subscriptions.get(call.path["subscription_id"], tenant=call.tenant)
    return SubscriptionView.of(found)


@attrs.frozen(kw_only=True)
class SubscriptionUpdate:
    """What is to change; what is not given stays.

    Attributes:
        topic: ``null`` takes the condition away.
        filter: ``null`` takes the condition away.
    """

    event_types: tuple[str, ...] | None = None
    topic: str | None = described(optional(string), default=None)
    filter: Mapping[str, Any] | None = described(_filter, default=None)
    description: str | None = described(optional(prose), default=None, **_PROSE)
    enabled: bool | None = described(optional(flag), default=None)


@ROUTES.add(
    "PATCH",
    "/v1/subscriptions/{subscription_id}",
    AccessScope.SUBSCRIPTIONS_WRITE,
    body=SubscriptionUpdate,
    answer=SubscriptionView,
)
async def update_subscription(call: Call) -> Any:
    """Change a subscription."""
    removable = {"topic", "filter"}
    changes = {
        name: value for name in call.given if (value := getattr(call.body, name)) is not None or name in removable
    }
    updated = await call.kit.subscriptions.update(
        call.path["subscription_id"], tenant=call.tenant, **cast("SubscriptionChanges", changes)
    )
    return SubscriptionView.of(updated)


@ROUTES.add("DELETE", "/v1/subscriptions/{subscription_id}", AccessScope.SUBSCRIPTIONS_WRITE)
async def delete_subscription(call: Call) -> None:
    """Remove a subscription; deliveries that exist stay."""
    await call.kit.subscriptions.delete(call.path["subscription_id"], tenant=call.tenant)


@attrs.frozen(kw_only=True)
class WarningView:
    """A condition because of which a subscription, as it seems, never matches.

    Attributes:
        path: Which condition.
        text: What is wrong with it.
    """

    path: str
    code: str
    text: str


@ROUTES.add(
    "GET",
    "/v1/subscriptions/{subscription_id}/warnings",
    AccessScope.SUBSCRIPTIONS_READ,
    answer=tuple[WarningView, ...],
)
async def get_subscription_warnings(call: Call) -> Any:
    """Return why no event is to be expected for a subscription; usually nothing."""
    found = await call.kit.subscriptions.warnings(call.path["subscription_id"], tenant=call.tenant)
    return tuple(WarningView(path=each.path, code=each.code, text=each.text) for each in found)


@attrs.frozen(kw_only=True)
class Trial:
    """Conditions, and an event to try them on; nothing is stored.

    Attributes:
        event_types: Patterns, such as ``order.*``.
        topic: A pattern of topic paths.
        filter: Conditions on the event's data.
        type: Of the event.
        event_topic: Of the event.
        data: Of the event.
    """

    event_types: tuple[str, ...]
    topic: str | None = described(optional(string), default=None)
    filter: Mapping[str, Any] | None = described(_filter, default=None)
    type: str = described(string, pattern=f"^{TYPE_GRAMMAR}$", maxLength=128)
    event_topic: str | None = described(optional(string), default=None)
    data: Mapping[str, Any] = described(instance(Mapping), default=attrs.Factory(dict))


@attrs.frozen(kw_only=True)
class TrialResult:
    """Whether the event would be delivered.

    Attributes:
        code: ``matched``, or why it does not match.
    """

    matches: bool
    code: str


@ROUTES.add("POST", "/v1/subscriptions/try", AccessScope.SUBSCRIPTIONS_READ, body=Trial, answer=TrialResult)
async def try_subscription(call: Call) -> Any:
    """Try conditions on an event, without storing either."""
    verdict = verdict_of(call.kit, call.tenant, call.body)
    return TrialResult(matches=verdict == MATCHED, code=verdict)


#: What conditions say to an event that they let pass.
MATCHED = "matched"


def verdict_of(kit: Notifykit, tenant: str, asked: Trial) -> str:
    """Return :data:`MATCHED`, or why an event does not match; nothing is stored.

    Raises:
        InvalidInputError: With every problem of the conditions, or of the event.
    """
    check(asked.event_types[: MAX_PATTERNS + 1], asked.topic, asked.filter)
    now = kit.clock.now()
    event = admit(Event(type=asked.type, data=asked.data, topic=asked.event_topic), None, tenant=tenant, now=now)
    subscription = Subscription(
        id="sub_try",
        tenant=tenant,
        event_types=asked.event_types,
        subscriber_id="end_try",
        topic=asked.topic,
        filter=asked.filter,
        created_at=now,
        updated_at=now,
    )
    ((_, verdict),) = explain(event, SubscriptionIndex([subscription], {"end_try": EndpointState.ACTIVE}))
    return str(verdict)
