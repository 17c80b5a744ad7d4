"""Warnings of conditions that no event can meet: each one is right, and the rest has none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifykit.policies.filters import check_filter, compile_filter
from notifykit.policies.unmatchable import unmatchable

DECLARED = frozenset({"order.shipped", "order.paid", "user.created"})


def said(
    event_types: tuple[str, ...] = ("**",), topic: str | None = None, filter: dict[str, Any] | None = None
) -> list[tuple[str, str]]:
    """Return the path and the code of each warning."""
    return [(w.path, w.code) for w in unmatchable(event_types, topic, filter, declared=DECLARED)]


@pytest.mark.parametrize(
    ("patterns", "wrong"),
    [
        (("order.shipped", "order.*", "**", "order.**", "*.created"), []),
        (("order.shiped",), [0]),
        (("order.*", "orders.*", "order.shipped.late"), [1, 2]),
    ],
)
def test_a_pattern_that_no_declared_type_matches_has_a_warning(patterns: tuple[str, ...], wrong: list[int]) -> None:
    """Each such pattern is named, also beside others that match."""
    assert [(f"event_types[{at}]", "unknown_type") for at in wrong] == said(patterns)


def test_without_declared_types_there_are_no_warnings_about_types() -> None:
    """A program that declares no types may publish any."""
    assert () == unmatchable(("order.shiped",), None, None, declared=())


@pytest.mark.parametrize(
    ("topic", "is_odd"),
    [
        ("shop/7/**", False),
        ("shop", False),
        ("*", False),
        ("shop/order.7", False),
        ("shop.7", True),
        ("order:A-1", True),
        ("shop\\7", True),
        ("@end_1", True),
        ("!/x", True),
    ],
)
def test_a_topic_that_is_no_path_has_a_warning(topic: str, is_odd: bool) -> None:
    """One word with the separators of something else, or the beginning of a topic of the library's own."""
    assert ([("topic", "topic_is_no_path")] if is_odd else []) == said(topic=topic)


@pytest.mark.parametrize(
    ("filter", "paths"),
    [
        ({"n": [{"numeric": [">", 5, "<", 3]}]}, ["filter.n[0].numeric"]),
        ({"n": [{"numeric": [">", 5, "<=", 5]}]}, ["filter.n[0].numeric"]),
        ({"n": [{"numeric": ["<", 5, ">=", 5.0]}]}, ["filter.n[0].numeric"]),
        ({"n": [{"numeric": ["=", 5, "<", 5]}]}, ["filter.n[0].numeric"]),
        ({"n": [{"numeric": ["=", 1, "=", 2]}]}, ["filter.n[0].numeric"]),
        ({"n": [{"numeric": [">=", 5, "<=", 5]}]}, []),
        ({"n": [{"numeric": [">", 5, ">", 3]}]}, []),
        ({"n": [{"numeric": ["<", 5]}]}, []),
        # one alternative that is possible is enough; keys must match all
        ({"n": [{"numeric": [">", 5, "<", 3]}, 7]}, []),
        ({"n": [{"numeric": [">", 5, "<", 3]}, {"exists": False}]}, []),
        ({"id": ["A-1"], "a": {"b": {"n": [{"numeric": [">", 1, "<", 0]}]}}}, ["filter.a.b.n[0].numeric"]),
    ],
)
def test_a_range_without_numbers_has_a_warning(filter: dict[str, Any], paths: list[str]) -> None:
    """Where nothing else could match, each such range is named."""
    assert [(path, "impossible_range") for path in paths] == said(filter=filter)


def test_the_text_says_what_is_wrong() -> None:
    """People read it."""
    (warning,) = unmatchable(("**",), None, {"n": [{"numeric": [">", 5, "<", 3]}]}, declared=())

    assert "no number is > 5 and < 3" == warning.text


comparison = st.tuples(st.sampled_from(["=", "<", "<=", ">", ">="]), st.integers(-3, 3) | st.sampled_from([0.5, -0.5]))


@given(st.lists(comparison, min_size=1, max_size=2), st.lists(st.integers(-5, 5), max_size=5))
def test_a_warning_is_never_wrong(pairs: list[tuple[str, float]], extra: list[int]) -> None:
    """A range has a warning exactly when no number, of those beside its bounds and between them, meets the filter."""
    argument = [part for pair in pairs for part in pair]
    filter = {"n": [{"numeric": argument}]}
    assert [] == check_filter(filter)
    numbers = [bound + step / 4 for _, bound in pairs for step in range(-30, 31)] + list(map(float, extra))

    matches = compile_filter(filter)

    assert any(matches({"n": number}) for number in numbers) == (not said(filter=filter))
