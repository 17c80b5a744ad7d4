"""Filters on data: what they accept, what they mean, and that they agree with a naive interpreter."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifykit.errors import InvalidSubscriptionError
from notifykit.policies.filters import MAX_LEAVES, MAX_PROBLEMS, MAX_TEXT, check_filter, compile_filter

DATA = {
    "id": "A-1",
    "total": 150,
    "rate": 1.0,
    "paid": True,
    "coupon": None,
    "tags": ["new", "gift", 7],
    "empty": [],
    "customer": {"name": "Zoë", "country": "DE", "tiers": [["gold"], ["vip"]]},
    "items": [{"sku": "S-1", "count": 1}, {"sku": "S-2", "count": 20}],
}


class TestMeaning:
    @pytest.mark.parametrize(
        ("filter", "expected"),
        [
            # literals: exact, and strict about types
            ({"id": ["A-1"]}, True),
            ({"id": ["a-1", "A-2"]}, False),
            ({"id": ["x", "A-1"]}, True),
            ({"total": [150.0]}, True),
            ({"rate": [1]}, True),
            ({"rate": [True]}, False),
            ({"total": ["150"]}, False),
            ({"paid": [True]}, True),
            ({"paid": [1]}, False),
            ({"paid": [False]}, False),
            ({"coupon": [None]}, True),
            ({"coupon": [False, 0, ""]}, False),
            ({"gone": [None]}, False),
            ({"customer": ["Zoë"]}, False),
            # objects are "and", lists are "or"
            ({"id": ["A-1"], "paid": [True]}, True),
            ({"id": ["A-1"], "paid": [False]}, False),
            ({"customer": {"country": ["DE", "AT"], "name": ["Zoë"]}}, True),
            ({"customer": {"country": ["AT"], "name": ["Zoë"]}}, False),
            ({"id": {"deeper": ["x"]}}, False),
            ({"gone": {"deeper": ["x"]}}, False),
            # texts
            ({"id": [{"prefix": "A-"}]}, True),
            ({"id": [{"prefix": "B"}]}, False),
            ({"id": [{"suffix": "-1"}]}, True),
            ({"id": [{"suffix": "A"}]}, False),
            ({"total": [{"prefix": "1"}]}, False),
            ({"total": [{"suffix": "0"}]}, False),
            ({"id": [{"prefix": "B"}, {"suffix": "1"}]}, True),
            # numbers
            ({"total": [{"numeric": [">", 100, "<=", 150]}]}, True),
            ({"total": [{"numeric": [">", 150]}]}, False),
            ({"total": [{"numeric": [">=", 150, "<", 150]}]}, False),
            ({"rate": [{"numeric": ["=", 1]}]}, True),
            ({"paid": [{"numeric": ["=", 1]}]}, False),
            ({"id": [{"numeric": [">", 0]}]}, False),
            # presence: of the key, whatever its value
            ({"coupon": [{"exists": True}]}, True),
            ({"gone": [{"exists": True}]}, False),
            ({"gone": [{"exists": False}]}, True),
            ({"id": [{"exists": False}]}, False),
            ({"empty": [{"exists": True}]}, True),
            ({"customer": [{"exists": True}]}, True),
            ({"customer": {"gone": [{"exists": False}]}}, True),
            ({"gone": {"gone": [{"exists": False}]}}, True),
            ({"id": {"gone": [{"exists": False}]}}, True),
            ({"gone": [{"exists": False}, "x"]}, True),
            ({"id": [{"exists": False}, "A-1"]}, True),
            ({"id": [{"exists": True}, {"exists": False}]}, True),
            # exclusion: of a value that is there
            ({"id": [{"anything-but": "A-2"}]}, True),
            ({"id": [{"anything-but": "A-1"}]}, False),
            ({"id": [{"anything-but": ["A-1", 5]}]}, False),
            ({"paid": [{"anything-but": 1}]}, True),
            ({"paid": [{"anything-but": True}]}, False),
            ({"id": [{"anything-but": {"prefix": "A"}}]}, False),
            ({"total": [{"anything-but": {"prefix": "A"}}]}, True),
            ({"gone": [{"anything-but": "x"}]}, False),
            ({"customer": [{"anything-but": "x"}]}, True),
            # arrays: one element has to match
            ({"tags": ["gift"]}, True),
            ({"tags": [7]}, True),
            ({"tags": ["old"]}, False),
            ({"tags": [{"prefix": "gi"}]}, True),
            ({"tags": [{"anything-but": "new"}]}, True),
            ({"empty": [{"anything-but": "x"}]}, False),
            ({"empty": ["x"]}, False),
            ({"customer": {"tiers": ["vip"]}}, True),
            ({"items": {"sku": ["S-2"], "count": [{"numeric": [">", 10]}]}}, True),
            ({"items": {"sku": ["S-1"], "count": [{"numeric": [">", 10]}]}}, False),
            ({"empty": {"x": [{"exists": False}]}}, False),
        ],
    )
    def test_each_operator(self, filter: dict[str, Any], expected: bool) -> None:
        """The examples of the how-to on filters."""
        assert [] == check_filter(filter)
        assert expected is compile_filter(filter)(DATA)

    def test_a_filter_is_data(self) -> None:
        """Texts that look like code or regular expressions are only texts."""
        matches = compile_filter({"id": ["A.1", "__import__('os')", {"prefix": "^A"}]})

        assert not matches(DATA)


class TestGrammar:
    @pytest.mark.parametrize(
        ("filter", "problems"),
        [
            (None, ["filter: must be an object of conditions"]),
            (["x"], ["filter: must be an object of conditions"]),
            ({}, ["filter: is empty"]),
            ({"a": {}}, ["filter.a: is empty"]),
            ({"a": []}, ["filter.a: is empty"]),
            ({"a": "x"}, ["filter.a: must be a list or an object"]),
            ({5: ["x"]}, ["filter: has a key that is not text"]),
            ({"a": [["x"]]}, ["filter.a[0]: must be text, a number, true, false, null or an operator"]),
            ({"a": [float("nan")]}, ["filter.a[0]: must be a finite number of up to 64 bits"]),
            ({"a": ["x" * 1025]}, ["filter.a[0]: longer than 1024 characters"]),
            ({"a": [{}]}, ["filter.a[0]: must have exactly one operator"]),
            ({"a": [{"prefix": "x", "suffix": "y"}]}, ["filter.a[0]: must have exactly one operator"]),
            (
                {"a": [{"regex": "x"}, {5: 1}]},
                [
                    f"filter.a[{n}]: has an unknown operator; there are prefix, suffix, numeric, exists, anything-but"
                    for n in (0, 1)
                ],
            ),
            ({"a": [{"prefix": 5}]}, ["filter.a[0].prefix: must be text"]),
            ({"a": [{"suffix": None}]}, ["filter.a[0].suffix: must be text"]),
            ({"a": [{"suffix": "x" * 1025}]}, ["filter.a[0].suffix: longer than 1024 characters"]),
            ({"a": [{"exists": "yes"}]}, ["filter.a[0].exists: must be true or false"]),
            *(
                (
                    {"a": [{"numeric": given}]},
                    ['filter.a[0].numeric: must be one or two comparisons, such as [">", 0, "<=", 10]'],
                )
                for given in (5, [], [">"], [">", 1, "<"], [">", 1, "<", 2, "=", 3])
            ),
            (
                {"a": [{"numeric": ["!=", True, [], float("inf")]}]},
                [
                    "filter.a[0].numeric[0]: must be one of = < <= > >=",
                    "filter.a[0].numeric[1]: must be a finite number of up to 64 bits",
                    "filter.a[0].numeric[2]: must be one of = < <= > >=",
                    "filter.a[0].numeric[3]: must be a finite number of up to 64 bits",
                ],
            ),
            ({"a": [{"anything-but": []}]}, ["filter.a[0].anything-but: is empty"]),
            (
                {"a": [{"anything-but": {"suffix": "x"}}]},
                ["filter.a[0].anything-but: takes a value, a list of values or a prefix"],
            ),
            ({"a": [{"anything-but": {"prefix": 1}}]}, ["filter.a[0].anything-but.prefix: must be text"]),
            (
                {"a": [{"anything-but": [{}]}]},
                ["filter.a[0].anything-but[0]: must be text, a number, true, false, null or an operator"],
            ),
            ({"a": [{}], "b": {"c": []}}, ["filter.a[0]: must have exactly one operator", "filter.b.c: is empty"]),
        ],
    )
    def test_every_problem_is_named_with_its_path(self, filter: object, problems: list[str]) -> None:
        """A filter is refused for all its reasons at once."""
        assert problems == check_filter(filter)

    def test_depth_is_bounded(self) -> None:
        """Sixteen objects inside each other are enough; an endless one ends the check."""
        fits: dict[str, Any] = {"a": [1]}
        for _ in range(15):
            fits = {"a": fits}
        endless: dict[str, Any] = {}
        endless["a"] = endless

        assert [] == check_filter(fits)
        assert [f"filter{'.a' * 16}: nested deeper than 16 levels"] == check_filter({"a": fits})
        assert [f"filter{'.a' * 16}: nested deeper than 16 levels"] == check_filter(endless)

    def test_size_is_bounded(self) -> None:
        """All values count, those of operators too."""
        full = {"a": list(range(MAX_LEAVES - 3)), "b": [{"anything-but": [1, 2]}, {"prefix": "x"}]}

        assert [] == check_filter(full)
        for one_more in (["x"], [{"exists": True}], [{"numeric": [">", 1]}], [{"suffix": "x"}]):
            assert ["filter: 201 values in all, at most 200"] == check_filter({**full, "c": one_more})

    def test_a_bad_filter_does_not_compile(self) -> None:
        """The reasons are in the error."""
        with pytest.raises(InvalidSubscriptionError) as caught:
            compile_filter({"a": []})

        assert ("filter.a: is empty",) == caught.value.problems


# ── a naive reading of the same rules ──────────────────────────────────────────────────────────


def means(pattern: Any, present: bool, value: Any) -> bool:
    """Return by the definition whether one condition holds."""
    if isinstance(pattern, dict):
        if present and isinstance(value, list):
            return any(means(pattern, True, element) for element in value)
        inside = value if present and isinstance(value, dict) else {}
        return all(means(inner, key in inside, inside.get(key)) for key, inner in pattern.items())
    for alternative in pattern:
        if isinstance(alternative, dict) and "exists" in alternative:
            if alternative["exists"] is present:
                return True
        elif present and any(holds(alternative, element) for element in flat(value)):
            return True
    return False


def flat(value: Any) -> list[Any]:
    return [inner for element in value for inner in flat(element)] if isinstance(value, list) else [value]


def same(literal: Any, value: Any) -> bool:
    if isinstance(literal, bool) or isinstance(value, bool):
        return literal is value
    numbers = (int, float)
    comparable = type(literal) is type(value) or (type(literal) in numbers and type(value) in numbers)
    return comparable and bool(literal == value)


def holds(alternative: Any, value: Any) -> bool:
    if not isinstance(alternative, dict):
        return same(alternative, value)
    ((name, argument),) = alternative.items()
    if name == "prefix":
        return isinstance(value, str) and value[: len(argument)] == argument
    if name == "suffix":
        return (
            isinstance(value, str) and argument == value[len(value) - len(argument) :] and len(argument) <= len(value)
        )
    if name == "numeric":
        if type(value) not in (int, float):
            return False
        orders = {"<": (-1,), "<=": (-1, 0), "=": (0,), ">=": (0, 1), ">": (1,)}
        return all(
            (value > bound) - (value < bound) in orders[sign]
            for sign, bound in zip(argument[::2], argument[1::2], strict=True)
        )
    if isinstance(argument, dict):
        return not holds(argument, value)
    return not any(same(literal, value) for literal in (argument if isinstance(argument, list) else [argument]))


KEYS = st.sampled_from("abc")
TEXTS = st.text("xy", max_size=3)
NUMBERS = st.sampled_from([0, 1, 1.0, 2, -1, 1.5])
LITERALS = st.none() | st.booleans() | NUMBERS | TEXTS
SIGNS = st.sampled_from(["<", "<=", "=", ">=", ">"])
OPERATORS = st.one_of(
    st.fixed_dictionaries({"prefix": TEXTS}),
    st.fixed_dictionaries({"suffix": TEXTS}),
    st.fixed_dictionaries({"exists": st.booleans()}),
    st.fixed_dictionaries({"numeric": st.tuples(SIGNS, NUMBERS).map(list)}),
    st.fixed_dictionaries({"numeric": st.tuples(SIGNS, NUMBERS, SIGNS, NUMBERS).map(list)}),
    st.fixed_dictionaries(
        {
            "anything-but": LITERALS
            | st.lists(LITERALS, min_size=1, max_size=3)
            | st.fixed_dictionaries({"prefix": TEXTS})
        }
    ),
)
CONDITIONS = st.recursive(
    st.lists(LITERALS | OPERATORS, min_size=1, max_size=3),
    lambda inner: st.dictionaries(KEYS, inner, min_size=1, max_size=3),
    max_leaves=5,
)
FILTERS = st.dictionaries(KEYS, CONDITIONS, min_size=1, max_size=3)
VALUES = st.recursive(
    LITERALS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(FILTERS, st.dictionaries(KEYS, VALUES, max_size=3))
def test_compiled_filters_mean_what_the_definition_says(filter: dict[str, Any], data: dict[str, Any]) -> None:
    """The compiled closures agree with an interpreter of the written rules."""
    assert means(filter, True, data) is compile_filter(filter)(data)


class TestBounds:
    def test_a_key_is_as_long_as_a_text_may_be(self) -> None:
        """A longer one is refused, and so is one that no data can have."""
        assert [] == check_filter({"k" * MAX_TEXT: [1]})
        assert ["filter: has a key longer than 1024 characters"] == check_filter({"k" * 30_000_000: [1]})
        assert ["filter: has a key with half of a surrogate pair"] == check_filter({"a\ud800": [1]})
        assert ["filter.a[0]: with half of a surrogate pair"] == check_filter({"a": ["\ud800"]})

    def test_all_of_a_filter_is_bounded(self) -> None:
        """Keys and texts together, however they are spread."""
        within = {f"{n:02}" + "k" * 1022: [1] for n in range(60)}
        beyond = {f"{n:02}" + "k" * 1022: [1] for n in range(70)}

        assert [] == check_filter(within)
        assert ["filter: more than 65536 characters in all"] == check_filter(beyond)

    def test_a_small_filter_that_unfolds_to_a_huge_one_is_refused(self) -> None:
        """Sharing makes 10 ** 16 conditions; the walk stops at its budget."""
        folded: Any = [1]
        for _ in range(16):
            folded = {f"k{n}": folded for n in range(10)}

        assert ["filter: more than 65536 characters in all"] == check_filter(folded)

    def test_the_list_of_problems_is_bounded(self) -> None:
        """More of them would not be read."""
        assert MAX_PROBLEMS == len(check_filter({f"k{n}": [[]] for n in range(1000)}))

    @pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 1 << 20_000], ids=["above", "below", "huge"])
    def test_integers_have_64_bits(self, number: int) -> None:
        """No data has larger ones."""
        assert ["filter.a[0]: must be a finite number of up to 64 bits"] == check_filter({"a": [number]})
