"""Patterns of types and topics: what they match, what they are, and that matching is fast."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifykit.errors import InvalidSubscriptionError
from notifykit.policies.patterns import TOPICS, TYPES, check_pattern, compile_pattern, fits, literal_head

WORDS = st.sampled_from(["a", "b", "c"])


def naive(pattern: list[str], words: list[str]) -> bool:
    """Return by the definition, word by word, whether the pattern matches."""
    if not pattern:
        return not words
    if pattern[0] == "**":
        return naive(pattern[1:], words) or (bool(words) and naive(pattern, words[1:]))
    return bool(words) and pattern[0] in ("*", words[0]) and naive(pattern[1:], words[1:])


class TestMatching:
    @pytest.mark.parametrize(
        ("pattern", "text", "expected"),
        [
            ("order.shipped", "order.shipped", True),
            ("order.shipped", "order.shipped.late", False),
            ("order.shipped", "Order.shipped", False),
            ("order.*", "order.shipped", True),
            ("order.*", "order", False),
            ("order.*", "order.shipped.late", False),
            ("order.*", "orders.shipped", False),
            ("*.shipped", "order.shipped", True),
            ("*", "order", True),
            ("*", "order.shipped", False),
            ("order.**", "order", True),
            ("order.**", "order.shipped", True),
            ("order.**", "order.shipped.late", True),
            ("order.**", "orders", False),
            ("**", "order.shipped", True),
            ("**.late", "late", True),
            ("**.late", "order.shipped.late", True),
            ("**.late", "order.late.shipped", False),
            ("order.**.late", "order.late", True),
            ("order.**.late", "order.a.b.late", True),
            ("order.**.late", "order.a.b", False),
            ("a.**.b.**.c", "a.x.b.y.b.c", True),
            ("a.**.b.**.c", "a.x.y.c", False),
            ("**.*", "a", True),
            ("order.**.**", "order", True),
        ],
    )
    def test_words_and_wildcards(self, pattern: str, text: str, expected: bool) -> None:
        """A word is itself, ``*`` is one word, ``**`` is any number of words."""
        assert expected is bool(compile_pattern(pattern, TYPES)(text))

    @pytest.mark.parametrize(
        ("pattern", "expected"), [("**", True), ("**/**", True), ("*", False), ("*/**", False), ("shop/**", False)]
    )
    def test_an_event_without_a_topic_has_no_words(self, pattern: str, expected: bool) -> None:
        """Only ``**`` stands for nothing at all."""
        assert expected is compile_pattern(pattern, TOPICS)("")

    @given(st.lists(WORDS | st.sampled_from(["*", "**"]), min_size=1, max_size=6), st.lists(WORDS, max_size=7))
    def test_matching_keeps_to_the_definition(self, pattern: list[str], words: list[str]) -> None:
        """The fast matchers agree with the slow definition."""
        matches = compile_pattern("/".join(pattern), TOPICS)

        assert naive(pattern, words) is matches("/".join(words))

    def test_a_hostile_pattern_takes_few_steps(self) -> None:
        """Many wildcards over a long text do not multiply: only the last one ever moves."""

        class Counted(str):
            __slots__ = ()
            compared = 0

            def __eq__(self, other: object) -> bool:
                Counted.compared += 1
                return str.__eq__(self, other)

            __hash__ = str.__hash__

        class Text(str):
            __slots__ = ()

            def split(self, *_: object) -> list[str]:
                return [Counted("a")] * 200

        matches = compile_pattern("/".join(["**", "a"] * 15 + ["b"]), TOPICS)

        assert not matches(Text("a/a"))
        assert Counted.compared <= 200 * 31 * 2


class TestGrammar:
    @pytest.mark.parametrize(
        ("pattern", "separator", "problems"),
        [
            ("order.shipped_2", TYPES, []),
            ("shop/7/Größe é/A-1", TOPICS, []),
            (5, TYPES, ["p: must be text"]),
            ("", TYPES, ["p: word 1 is empty"]),
            ("a..b.", TYPES, ["p: word 2 is empty", "p: word 4 is empty"]),
            ("/shop", TOPICS, ["p: word 1 is empty"]),
            (
                "order-x.ship ped",
                TYPES,
                [f"p: word {n} may only have letters A-Z, digits and underscores" for n in (1, 2)],
            ),
            ("größe", TYPES, ["p: word 1 may only have letters A-Z, digits and underscores"]),
            ("order\n", TYPES, ["p: word 1 may only have letters A-Z, digits and underscores"]),
            ("ord*", TYPES, ["p: word 1 has a wildcard inside; a wildcard is a word of its own"]),
            ("a/***", TOPICS, ["p: word 2 has a wildcard inside; a wildcard is a word of its own"]),
            ("a/\x00/\ud800", TOPICS, ["p: word 2 has control characters", "p: word 3 has control characters"]),
            ("x" * 257, TYPES, ["p: longer than 256 characters"]),
            (".".join("x" * 33), TYPES, ["p: more than 32 words"]),
            (".".join("x" * 32), TYPES, []),
        ],
    )
    def test_every_problem_is_named(self, pattern: object, separator: str, problems: list[str]) -> None:
        """A pattern is refused for all its reasons at once."""
        assert problems == check_pattern(pattern, separator, path="p")

    def test_a_bad_pattern_does_not_compile(self) -> None:
        """The reasons are in the error."""
        with pytest.raises(InvalidSubscriptionError) as caught:
            compile_pattern("a..b", TYPES)

        assert ("pattern: word 2 is empty",) == caught.value.problems


class TestIndexing:
    @pytest.mark.parametrize(
        ("pattern", "head"),
        [
            ("order.shipped", None),
            ("order.*", "order"),
            ("order.shipped.**", "order.shipped"),
            ("order.*.late", "order"),
            ("**", ""),
            ("*.shipped", ""),
            ("ord*er", None),
        ],
    )
    def test_the_head_is_what_stands_before_the_first_wildcard(self, pattern: str, head: str | None) -> None:
        """Every text that matches starts with those words."""
        assert head == literal_head(pattern, TYPES)

    @pytest.mark.parametrize("pattern", ["x" * 256, "x" * 257, ".".join("x" * 32), ".".join("x" * 33)])
    def test_fits_is_the_cheap_part_of_the_check(self, pattern: str) -> None:
        """It agrees with the whole check about size."""
        assert (not check_pattern(pattern, TYPES)) is fits(pattern, TYPES)
