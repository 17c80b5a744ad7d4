"""Match keys: a subscription is indexed under keys that every matching event queries."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifykit.errors import InvalidSubscriptionError
from notifykit.models.endpoint import EndpointState
from notifykit.models.subscription import MatchQuery, Subscription
from notifykit.policies.match_keys import MatchKey, keys_for, keys_of
from notifykit.policies.patterns import MAX_WORDS, TOPICS, TYPES, compile_pattern
from notifykit.policies.plan import SubscriptionIndex

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)


def subscription(*types: str, **changes: Any) -> Subscription:
    return Subscription(
        id="sub_1",
        tenant="acme",
        event_types=types,
        subscriber_id="end_1",
        created_at=NOW,
        updated_at=NOW,
        **changes,
    )


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        (subscription("order.paid"), {MatchKey("order.paid", "")}),
        (subscription("order.paid", "order.paid"), {MatchKey("order.paid", "")}),
        (subscription("order.*"), {MatchKey("order.**", "")}),
        (subscription("order.**", "order.*.paid"), {MatchKey("order.**", "")}),
        (subscription("*.paid", "**", "*"), {MatchKey("**", "")}),
        (subscription("a", "b.*", topic="shop/7"), {MatchKey("a", "shop/7"), MatchKey("b.**", "shop/7")}),
        (subscription("a", topic="shop/*/till"), {MatchKey("a", "shop/**")}),
        (subscription("a", topic="**"), {MatchKey("a", "")}),
        (subscription("a", topic="*/7"), {MatchKey("a", "")}),
        (subscription("a", enabled=False), set()),
        (subscription("a", topic="shop//7"), set()),
        (subscription("a..b", "a*b", "", "c"), {MatchKey("c", "")}),
        (subscription(), set()),
    ],
    ids=lambda value: repr(value.event_types) if isinstance(value, Subscription) else None,
)
def test_where_a_subscription_is_kept(wish: Subscription, expected: set[MatchKey]) -> None:
    """A subscription is indexed by its patterns up to the first wildcard; it has no key if it matches nothing."""
    assert expected == keys_of(wish)


def test_which_keys_an_event_queries() -> None:
    """Each beginning of its type, with each beginning of its topic."""
    places = keys_for(MatchQuery("order.paid", "shop"))

    types, topics = ["**", "order.paid", "order.**", "order.paid.**"], ["", "shop", "shop/**"]
    assert [MatchKey(type_, topic) for type_ in types for topic in topics] == places
    assert [MatchKey(type_, topic) for type_ in types[1:] for topic in topics] == keys_for(
        MatchQuery("order.paid", "shop", named=True)
    )


WORDS = st.sampled_from(["a", "b", "*", "**"])
LITERAL = st.sampled_from(["a", "b"])


def test_a_long_topic_is_looked_for_by_its_beginnings_only() -> None:
    """No pattern has as many words, so the whole topic is nowhere, and the beginnings are no more than of any topic."""
    long, longest = ("/".join(["w"] * count) for count in (MAX_WORDS + 1, MAX_WORDS + 9))

    looked = keys_for(MatchQuery("order.created", long))

    assert long not in {text for place in looked for text in place}
    assert len(looked) == len(keys_for(MatchQuery("order.created", longest)))


def texts(words: st.SearchStrategy[str], separator: str, *, least: int = 1) -> st.SearchStrategy[str]:
    return st.lists(words, min_size=least, max_size=5).map(separator.join)


@given(
    pattern=texts(WORDS, TYPES),
    topic=st.none() | texts(WORDS, TOPICS),
    type=texts(LITERAL, TYPES),
    on=texts(LITERAL, TOPICS, least=0),
)
def test_matching_subscriptions_are_found_by_the_keys_of_an_event(
    pattern: str, topic: str | None, type: str, on: str
) -> None:
    """Every subscription that the planner's rule accepts has one of the event's keys, also by name."""
    wish = subscription(pattern, topic=topic)
    index = SubscriptionIndex([wish], {"end_1": EndpointState.ACTIVE})

    wanted = bool(index.matching(type, on or None))
    named = bool(index.named(type))

    assert not wanted or keys_of(wish) & set(keys_for(MatchQuery(type, on)))
    assert not named or keys_of(wish) & set(keys_for(MatchQuery(type, named=True)))
    assert wanted == (compile_pattern(pattern, TYPES)(type) and (topic is None or compile_pattern(topic, TOPICS)(on)))


@given(pattern=st.text(max_size=12), separator=st.sampled_from([TYPES, TOPICS]))
def test_an_invalid_pattern_has_no_keys(pattern: str, separator: str) -> None:
    """A database gets no key that it might refuse."""
    wish = subscription(pattern) if separator == TYPES else subscription("a", topic=pattern)

    try:
        compile_pattern(pattern, separator)
    except InvalidSubscriptionError:
        assert set() == keys_of(wish)
    else:
        assert 1 == len(keys_of(wish))
