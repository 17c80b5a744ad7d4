"""Match keys: under which keys a subscription is stored, and under which an event looks for subscriptions.

A subscription has a key for each of its patterns of types: what the pattern says before its first
wildcard, together with the same of its topic.  An event has few keys, as many as its type and
its topic have words, and every subscription that may match it has one of them.  Which do match is
decided by :mod:`notifykit.policies.plan`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from ..models.subscription import MatchQuery, Subscription
from .patterns import MANY, MAX_WORDS, TOPICS, TYPES, check_pattern, literal_head

#: Where subscriptions are kept whose topic begins with a wildcard, and those without one: each event looks there.
_ANY_TOPIC: Final = ""


class MatchKey(NamedTuple):
    """A place: literal patterns stand for themselves, others for all that begin alike (``order.**``)."""

    types: str
    topics: str


def keys_of(subscription: Subscription) -> set[MatchKey]:
    """Return where a subscription is kept: nowhere if it can match nothing."""
    topic = subscription.topic
    if not subscription.enabled or (topic is not None and check_pattern(topic, TOPICS)):
        return set()
    topics = _ANY_TOPIC if topic is None or (place := _place(topic, TOPICS)) == MANY else place
    patterns = (pattern for pattern in subscription.event_types if not check_pattern(pattern, TYPES))
    return {MatchKey(_place(pattern, TYPES), topics) for pattern in patterns}


def keys_for(query: MatchQuery) -> list[MatchKey]:
    """Return the keys of all subscriptions that may match an event."""
    types = [*([] if query.named else [MANY]), *_matching(query.type, TYPES)]
    topics = [_ANY_TOPIC, *_matching(query.topic, TOPICS)]
    return [MatchKey(type_, topic) for type_ in types for topic in topics]


def _place(pattern: str, separator: str) -> str:
    head = literal_head(pattern, separator)
    return pattern if head is None else _under(head, separator)


def _under(head: str, separator: str) -> str:
    return f"{head}{separator}{MANY}" if head else MANY


def _matching(text: str, separator: str) -> Iterator[str]:
    """Yield the places of all patterns that can match ``text`` and begin with a word of it."""
    if not text:
        return
    words = text.split(separator)
    if len(words) <= MAX_WORDS:  # no pattern has more
        yield text
    for count in range(1, min(len(words), MAX_WORDS - 1) + 1):
        yield _under(separator.join(words[:count]), separator)
