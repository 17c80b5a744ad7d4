"""Who wants which events: a pattern of types, a path of topics and a filter, bound to an endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import attrs

from .delivery import WEBHOOK
from .endpoint import Endpoint, EndpointState


@attrs.frozen(kw_only=True)
class Subscription:
    """A tenant's wish to be told.

    Attributes:
        event_types: Patterns of event types; ``*`` stands for one word, ``**`` for any number.
        topic: A pattern of topic paths with the same wildcards; ``None`` takes every event.
        filter: Conditions on the event's ``data``; see the how-to on filters.
        subscriber_id: The endpoint (``end_…``) that is told.
        enabled: A disabled subscription matches nothing.
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
    created_at: datetime
    updated_at: datetime
    version: int = 0


class TenantConfig(NamedTuple):
    """A consistent reading of who wants what in one tenant.

    Attributes:
        version: Grows with every change of the tenant's endpoints and subscriptions.
    """

    tenant: str
    version: int
    endpoints: tuple[Endpoint, ...]
    subscriptions: tuple[Subscription, ...]


class MatchQuery(NamedTuple):
    """A question to a store: who may want an event?

    Attributes:
        type: The event's type.
        topic: The event's topic; empty for none.
        named: Only who says the first word of the type, not who takes any word there.
        after: Only subscriptions with larger ids than this.
    """

    type: str
    topic: str = ""
    named: bool = False
    after: str = ""


class Match(NamedTuple):
    """Somebody who may want an event: the whole rule decides.

    Attributes:
        state: The state of the endpoint that is told; ``None`` if there is no such endpoint.
    """

    subscription: Subscription
    state: EndpointState | None
