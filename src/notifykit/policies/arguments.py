"""What the parameters of the public functions take: one name, one kind of value.

A parameter of the same name takes the same kind of value in every function, so this table is all
there is to say; see :func:`notifykit.models.checks.checked`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from ..errors import InvalidInputError
from ..models import checks
from ..models.checks import Check, Refusal, identifier, optional, string
from ..models.endpoint import RateLimit
from ..models.event import Resource
from ..models.inbox import InboxMark, InboxState
from ..models.retry import RetryPolicy

F = TypeVar("F", bound=Callable[..., Any])

#: The largest page of a list.
MAX_PAGE = 10_000


def _patterns(value: object) -> str | None:
    """Check the type of what becomes a list of patterns."""
    if isinstance(value, (bytes, Mapping)) or not isinstance(value, Iterable):
        return f"must be a pattern or a list of patterns, not {checks.kind_of(value)}"
    return None


def _retry(value: object) -> str | None:
    if isinstance(value, RetryPolicy) or (callable(value) and not isinstance(value, type)):
        return None
    return f"must be a RetryPolicy or a wait strategy of tenacity, not {checks.kind_of(value)}"


#: By the names of parameters.  Where an endpoint or a subscription is made, only types are checked here:
#: what is wrong beyond them is reported together, by the rules of the object.
ARGUMENTS: Mapping[str, Check] = {
    "tenant": checks.tenant,
    # ids, and where a page begins
    "endpoint_id": identifier,
    "subscription_id": identifier,
    "delivery_id": identifier,
    "event_id": identifier,
    "subscriber_id": optional(identifier),
    "before": optional(identifier),
    "after": optional(identifier),
    "limit": checks.whole(1, MAX_PAGE),
    "type": optional(identifier),
    "since": checks.instant,
    "until": optional(checks.instant),
    # endpoints
    "url": string,
    "endpoint": string,
    "description": string,
    "reason": checks.prose,
    "headers": optional(checks.instance(Mapping)),
    "secret": optional(string),
    "retry": _retry,
    "timeout": checks.instance(timedelta),
    "max_in_flight": checks.integer,
    "overlap": checks.duration(timedelta(0), timedelta(days=7)),
    "rate_limit": optional(checks.instance(RateLimit)),
    # inboxes
    "state": optional(checks.one_of(InboxState)),
    "mark": checks.one_of(InboxMark),
    "category": optional(identifier),
    "resource": optional(checks.instance(Resource)),
    # subscriptions
    "event_types": _patterns,
    "topic": optional(string),
    "filter": optional(checks.instance(Mapping)),
}


def checked(*, refusal: Refusal = InvalidInputError, **own: Check) -> Callable[[F], F]:
    """Return a decorator that checks a function's arguments by their names, before anything else happens."""
    return checks.checked(ARGUMENTS, refusal=refusal, **own)
