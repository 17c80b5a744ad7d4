"""Subscriptions: a pattern of event types, a path of topics and a filter, bound to an endpoint or an address."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

import attrs

from .delivery import WEBHOOK
from .endpoint import Endpoint, EndpointState

#: The channel of a recipient's subscription: whichever the steps of the event's type name.
PEOPLE: Final = "*"


@attrs.frozen(kw_only=True)
class Subscription:
    """A rule of a tenant: events that match are delivered to one subscriber on one channel.

    Attributes:
        event_types: Patterns of event types; ``*`` stands for one word, ``**`` for any number.
        topic: A pattern of topic paths with the same wildcards; ``None`` takes every event.
        filter: Conditions on the event's ``data``; see the how-to on filters.
        subscriber_id: The endpoint (``end_…``) that gets them, or the host's own id of another subscriber.
        channel: ``webhook``, another channel, or ``*`` for a recipient (:data:`PEOPLE`).
        address: Where on the channel the subscriber is reached; ``None`` for an endpoint and for a recipient, whose
            records say that.
        enabled: A disabled subscription matches nothing; ``disabled_reason`` says why if the dispatcher disabled it.
        version: How often the subscription has been saved; 0 until it is.
    """

    id: str
    tenant: str
    event_types: tuple[str, ...]
    subscriber_id: str
    topic: str | None = None
    filter: Mapping[str, Any] | None = None
    channel: str = WEBHOOK
    description: str = ""
    enabled: bool = True
    disabled_reason: str | None = None
    address: str | None = None
    created_at: datetime
    updated_at: datetime
    version: int = 0


class TenantConfig(NamedTuple):
    """The endpoints and subscriptions of one tenant, read at one instant.

    Attributes:
        version: Grows with every change of the tenant's endpoints and subscriptions.
    """

    tenant: str
    version: int
    endpoints: tuple[Endpoint, ...]
    subscriptions: tuple[Subscription, ...]


class MatchQuery(NamedTuple):
    """Which subscriptions a store looks for: those that may match an event.

    Attributes:
        type: The event's type.
        topic: The event's topic; empty for none.
        named: Only patterns that spell out the first word of the type, not those with a wildcard there.
        after: Only subscriptions with larger ids than this.
    """

    type: str
    topic: str = ""
    named: bool = False
    after: str = ""


class Match(NamedTuple):
    """A subscription that may match an event: the whole rule decides.

    Attributes:
        state: The state of its endpoint; ``None`` if there is no such endpoint.
    """

    subscription: Subscription
    state: EndpointState | None
