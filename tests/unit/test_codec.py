"""The converter and the bytes: strict, with all problems reported, the same with and without orjson."""

from __future__ import annotations

import enum
import json
import sys
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from types import MappingProxyType, SimpleNamespace
from typing import Any, Literal, NamedTuple

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from notifykit import codec
from notifykit.codec import (
    JSON_NAME,
    MAX_PROBLEMS,
    converter,
    dumps,
    join_path,
    json_problems,
    loads,
    loads_unique,
    structure,
    timestamp,
    unstructure,
)
from notifykit.errors import InvalidInputError
from notifykit.models.checks import field_check, optional, text, whole
from notifykit.models.delivery import Priority
from tests.shared_data import shared_data

needs_orjson = pytest.mark.skipif(codec.text.orjson is None, reason="needs orjson")
WRITERS = [
    pytest.param(codec.text._stdlib_dumps, id="stdlib"),
    pytest.param(codec.text._orjson_dumps, id="orjson", marks=needs_orjson),
]
READERS = [
    pytest.param(codec.text._stdlib_loads, id="stdlib"),
    pytest.param(getattr(codec.text.orjson, "loads", None), id="orjson", marks=needs_orjson),
]
Writer = Callable[[Any], bytes]
Reader = Callable[[bytes], Any]

json_data = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(codec.MIN_INT, codec.MAX_INT)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=30,
)


class Colour(enum.Enum):
    RED = "red"


class Size(enum.StrEnum):
    L = "l"


class Degree(float):
    pass


class Point(NamedTuple):
    x: int
    y: int


class TestBytes:
    """Every writer writes the same bytes."""

    @needs_orjson
    @given(json_data)
    @example([1e-5, -1.5e-5, 9.99e-5, 1e-4, 1e-6, 1.25e-7, 1e-10, 5e-324, 1.7e308, -0.0, 123456789012345678.0])
    @example(["1e-05", 'a "quoted" 1e-05', "back\\", "\x00\x1f\x7f\u2028/é𝄞", {"1e-07": 1e-7, "\\": 2e-9}])
    def test_both_writers_agree(self, data: Any) -> None:
        """With and without orjson, the same data is the same bytes."""
        assert codec.text._stdlib_dumps(data) == codec.text._orjson_dumps(data)

    @needs_orjson
    def test_both_writers_agree_on_real_events(self) -> None:
        """So it is for payloads of the real world."""
        for line in shared_data("github-events.jsonl").read_text().splitlines():
            data = json.loads(line)

            assert codec.text._stdlib_dumps(data) == codec.text._orjson_dumps(data)

    @pytest.mark.parametrize("write", WRITERS)
    @given(data=json_data)
    def test_what_was_written_is_read_back(self, write: Writer, data: Any) -> None:
        """Nothing is lost on the way."""
        assert data == loads(write(data))

    @pytest.mark.parametrize("write", WRITERS)
    def test_the_bytes_are_compact_utf_8(self, write: Writer) -> None:
        """No spaces, no escapes that are not needed, keys in their order."""
        assert '{"b":[1,2.5,null,true],"a":"é"}'.encode() == write({"b": [1, 2.5, None, True], "a": "é"})

    @pytest.mark.parametrize("write", WRITERS)
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (Colour.RED, b'["red"]'),
            (Size.L, b'["l"]'),
            (uuid.UUID(int=1), b'["00000000-0000-0000-0000-000000000001"]'),
            (MappingProxyType({"a": MappingProxyType({})}), b'[{"a":{}}]'),
            ((1, 2), b"[[1,2]]"),
            (Point(1, 2), b"[[1,2]]"),
            (Degree(1.5), b"[1.5]"),
            ({Size.L: 1}, b'[{"l":1}]'),
            ({"nothing": None, "pair": (1, 2)}, b'[{"nothing":null,"pair":[1,2]}]'),
            (-(2**63), b"[-9223372036854775808]"),
            (2**64 - 1, b"[18446744073709551615]"),
        ],
    )
    def test_close_relatives_of_json_types_are_taken(self, write: Writer, value: Any, expected: bytes) -> None:
        """Enums, UUIDs, mappings and tuples have one obvious meaning."""
        assert expected == write([value])

    @pytest.mark.parametrize("write", WRITERS)
    @pytest.mark.parametrize(
        ("value", "problem"),
        [
            (float("nan"), "a[0]: NaN is not JSON"),
            (float("inf"), "a[0]: Infinity is not JSON"),
            (float("-inf"), "a[0]: -Infinity is not JSON"),
            (2**64, "a[0]: an integer beyond 64 bits"),
            (-(2**63) - 1, "a[0]: an integer beyond 64 bits"),
            (
                datetime(2024, 1, 1, tzinfo=UTC),
                "a[0]: datetime is not JSON; give it as text (isoformat), or publish a typed event",
            ),
            (date(2024, 1, 1), "a[0]: date is not JSON; give it as text (isoformat), or publish a typed event"),
            (b"bytes", "a[0]: bytes is not JSON"),
            ({1, 2}, "a[0]: set is not JSON"),
            ("\ud800", "a[0]: half of a surrogate pair is no character"),
            ({1: "x"}, "a[0]: the key 1 is not text"),
            ({None: float("nan")}, "a[0]: the key None is not text; a[0][None]: NaN is not JSON"),
            ({"\ud800": 1}, "a[0]: the key '\\ud800' has half of a surrogate pair"),
            ([[{"x y": Decimal(1)}]], "a[0][0][0]['x y']: Decimal is not JSON"),
        ],
    )
    def test_what_is_not_json_is_refused_with_its_place(self, write: Writer, value: Any, problem: str) -> None:
        """Neither writer invents a meaning, not even null for NaN."""
        with pytest.raises(TypeError) as caught:
            write({"a": [value], "gone": None})

        assert problem == str(caught.value)

    @pytest.mark.parametrize("write", WRITERS)
    def test_depth_is_bounded(self, write: Writer) -> None:
        """Both writers stop at the same level, and a list that contains itself is no endless text."""
        fits: list[Any] = []
        for _ in range(codec.MAX_DEPTH - 1):
            fits = [fits]
        endless: list[Any] = []
        endless.append(endless)

        assert b"[" * codec.MAX_DEPTH + b"]" * codec.MAX_DEPTH == write(fits)
        with pytest.raises(TypeError, match="nested deeper than 254 levels"):
            write([fits])
        with pytest.raises(TypeError, match="contains itself"):
            write(endless)

    def test_a_failure_without_a_known_problem_is_a_refusal_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """If the writer fails where the walk finds nothing, the writer's message is passed on."""
        monkeypatch.setattr(codec.text, "json_problems", lambda data: [])

        with pytest.raises(TypeError, match="bytes is not JSON"):
            codec.text._stdlib_dumps(b"")

    @pytest.mark.parametrize("read", READERS)
    @pytest.mark.parametrize(
        "body",
        [
            b"NaN",
            b"-Infinity",
            b"1e400",
            b"9" * 400,
            b'"\\ud800"',
            b"\xff",
            b"\xef\xbb\xbf1",
            b"{",
            b"",
            b"[" * 3000 + b"]" * 3000,
        ],
    )
    def test_both_readers_refuse_the_same(self, read: Reader, body: bytes) -> None:
        """What is not JSON in UTF-8 is a ValueError."""
        with pytest.raises(ValueError):  # noqa: PT011  # the messages are the parsers' own
            read(body)

    @pytest.mark.parametrize("read", READERS)
    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            (b"18446744073709551615", 2**64 - 1),
            (b"18446744073709551616", 18446744073709551616.0),
            (b"-9223372036854775808", -(2**63)),
            (b"-9223372036854775809", -9223372036854775808.0),
            (b"12345678901234567890123", 1.2345678901234568e22),
            (b'{"a":1,"a":2}', {"a": 2}),
            (b'"\\u00e9\\ud834\\udd1e"', "é𝄞"),
            (b" [ 1E2, -0.5 ] ", [100.0, -0.5]),
        ],
    )
    def test_both_readers_read_the_same(self, read: Reader, body: bytes, expected: Any) -> None:
        """Numbers beyond 64 bits are floats in both."""
        value = read(body)

        assert (type(expected), expected) == (type(value), value)

    def test_the_module_serves_the_writer_that_is_there(self) -> None:
        """The public functions are those of orjson where it is installed."""
        assert b'{"a":1}' == dumps({"a": 1})
        assert {"a": 1} == loads(b'{"a":1}')
        assert (
            codec.text._stdlib_dumps if codec.text.orjson is None else codec.text._orjson_dumps
        ) is codec.text._dumps

    def test_orjson_is_optional(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without it the standard library does the work."""
        monkeypatch.setitem(sys.modules, "orjson", None)

        assert codec.text._orjson_if_installed() is None

    @pytest.mark.parametrize(
        ("most", "spelling", "usable"),
        [
            pytest.param(254, b"[1e+16,0.00001,1e-7]", True, id="3.12"),
            pytest.param(255, b"[1e+16,0.00001,1e-7]", False, id="3.11.9"),
            pytest.param(254, b"[1e16,0.00001,1e-7]", False, id="3.11.6"),
        ],
    )
    def test_an_orjson_that_writes_something_else_is_not_used(
        self, most: int, spelling: bytes, usable: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Earlier releases write 1e16 for 1e+16, or nest a level deeper: what is stored depends on no release."""

        def dumps(data: Any) -> bytes:
            depth, inner = 0, data
            while isinstance(inner, list) and (depth := depth + 1):
                inner = inner[0] if inner else None
            if depth > most:
                raise TypeError("Recursion limit reached")
            return spelling

        monkeypatch.setitem(sys.modules, "orjson", SimpleNamespace(dumps=dumps))

        assert usable == (codec.text._orjson_if_installed() is not None)


class TestProblems:
    """The walk finds everything, and ends."""

    def test_all_problems_are_found(self) -> None:
        """One walk reports every place."""
        data = {"items": [{"price": float("nan")}, {"when": datetime(2024, 1, 1)}], "a b": {1: b""}}  # noqa: DTZ001

        assert [
            "data.items[0].price: NaN is not JSON",
            "data.items[1].when: datetime is not JSON; give it as text (isoformat), or publish a typed event",
            "data['a b']: the key 1 is not text",
            "data['a b'][1]: bytes is not JSON",
        ] == json_problems(data, path="data")

    def test_json_has_no_problems(self) -> None:
        """A clean value is clean, an object that is used twice included."""
        shared = {"x": Colour.RED}

        assert [] == json_problems({"a": shared, "b": [shared, shared], "c": None})

    def test_depth_counts_containers(self) -> None:
        """The data itself is the first level; siblings of what is too deep are checked all the same."""
        data = {"a": {"b": [1]}, "z": float("nan")}

        assert ["z: NaN is not JSON"] == json_problems(data, max_depth=3)
        assert ["a.b: nested deeper than 2 levels", "z: NaN is not JSON"] == json_problems(data, max_depth=2)

    def test_keys_are_counted_in_all(self) -> None:
        """Not only those of one object."""
        data = [{"a": {"b": 1}}, {"c": 1}]

        assert [] == json_problems(data, max_keys=3)
        assert ["3 keys in all, at most 2"] == json_problems(data, max_keys=2)
        assert ["data: 3 keys in all, at most 2"] == json_problems(data, path="data", max_keys=2)

    def test_a_small_object_that_unfolds_to_a_huge_one_ends_the_walk(self) -> None:
        """Sharing makes 2 ** 100 values of 100 lists; the walk stops at its budget."""
        folded: list[Any] = [0]
        for _ in range(100):
            folded = [folded, folded]

        assert ["too large, at most 1000 bytes"] == [
            problem.rpartition(": ")[2] for problem in json_problems(folded, path="data", max_bytes=1000)
        ]

    def test_the_list_of_problems_is_bounded(self) -> None:
        """A million lines would not be read."""
        assert codec.MAX_PROBLEMS == len(json_problems([b""] * 1000))

    def test_long_keys_are_cut(self) -> None:
        """A path stays readable."""
        assert f"['{'-' * 39}…]" == join_path("", "-" * 1000)


@attrs.frozen
class Line:
    sku: str
    count: int
    note: str | None = None


@attrs.frozen
class Order:
    lines: tuple[Line, ...]
    placed_at: datetime
    priority: Priority = Priority.NORMAL
    total: float = 0.0
    paid: bool = False
    price: Decimal = Decimal(0)
    labels: Mapping[str, str] = attrs.field(factory=dict)
    tags: frozenset[str] = frozenset()
    codes: list[int | str] = attrs.field(factory=list)
    anything: list = attrs.field(factory=list)  # type: ignore[type-arg]
    kind: Literal["a", "b"] = "a"
    wait: timedelta = timedelta(0)
    ref: uuid.UUID | None = None
    colour: Colour = Colour.RED
    shipped_at: datetime | None = None
    window: tuple[int, str] = (0, "")


ORDER = Order(
    lines=(Line("A", 2, "fragile"), Line("B", 1)),
    placed_at=datetime(2024, 5, 1, 12, tzinfo=UTC),
    priority=Priority.HIGH,
    total=12.5,
    paid=True,
    price=Decimal("12.50"),
    labels={"a": "b"},
    tags=frozenset({"x"}),
    codes=[1, "2"],
    anything=[1, None],
    kind="b",
    wait=timedelta(seconds=90),
    ref=uuid.UUID(int=7),
    shipped_at=datetime(2024, 5, 2, tzinfo=timezone(timedelta(hours=2))),
    window=(1, "a"),
)


class TestConverter:
    """Strict both ways."""

    def test_values_become_json_types(self) -> None:
        """Times are ISO 8601 with their zone, durations seconds, enums their value."""
        assert {
            "lines": [{"sku": "A", "count": 2, "note": "fragile"}, {"sku": "B", "count": 1, "note": None}],
            "placed_at": "2024-05-01T12:00:00Z",
            "priority": "high",
            "total": 12.5,
            "paid": True,
            "price": "12.50",
            "labels": {"a": "b"},
            "tags": ["x"],
            "codes": [1, "2"],
            "anything": [1, None],
            "kind": "b",
            "wait": 90,
            "ref": "00000000-0000-0000-0000-000000000007",
            "colour": "red",
            "shipped_at": "2024-05-02T00:00:00+02:00",
            "window": [1, "a"],
        } == json.loads(json.dumps(unstructure(ORDER)))
        assert type(unstructure(ORDER)["priority"]) is str

    def test_values_come_back(self) -> None:
        """What was unstructured, sent and read is the same value again."""
        assert structure(loads(dumps(unstructure(ORDER))), Order) == ORDER

    def test_every_problem_is_reported_with_its_path(self) -> None:
        """And no value is repeated, because it may be private."""
        data = {
            "lines": [{"sku": 5, "count": "2"}, {"sku": "B", "count": True, "colour": "red", "size x": 1}, "line"],
            "priority": "urgent",
            "total": "12.5",
            "paid": 1,
            "price": 12.5,
            "labels": {"ok": "x", "a b": None},
            "tags": "xyz",
            "codes": [1.5],
            "anything": {"a": 1},
            "kind": "c",
            "wait": True,
            "ref": "x",
            "shipped_at": "2024-05-01T12:00:00",
        }

        with pytest.raises(InvalidInputError) as caught:
            structure(data, Order, path="data")

        assert [
            "data.anything: not a valid list",
            "data.codes[0]: not a valid int or str",
            "data.kind: not a valid Literal",
            "data.labels['a b']: not a valid str",
            "data.lines[0].count: not a valid int",
            "data.lines[0].sku: not a valid str",
            "data.lines[1].count: not a valid int",
            "data.lines[1]: unknown: 'colour', 'size x'",
            "data.lines[2]: not a valid Line",
            "data.paid: not a valid bool",
            "data.placed_at: is missing",
            "data.price: not a valid Decimal",
            "data.priority: must be one of high, normal, low",
            "data.ref: not a valid UUID or null",
            "data.shipped_at: not a valid datetime or null",
            "data.tags: not a valid frozenset",
            "data.total: not a valid float",
            "data.wait: not a valid timedelta",
        ] == sorted(caught.value.problems)

    @pytest.mark.parametrize("price", ["NaN", "Infinity", "x", None])
    def test_decimals_are_finite_texts(self, price: object) -> None:
        """A price is a number."""
        with pytest.raises(InvalidInputError, match="price"):
            structure({"lines": [], "placed_at": "2024-05-01T12:00:00Z", "price": price}, Order)

    def test_a_validator_speaks_for_itself(self) -> None:
        """The message of a class's own validator is passed on."""

        @attrs.frozen
        class Positive:
            number: int = attrs.field(validator=attrs.validators.gt(0))

        with pytest.raises(InvalidInputError) as caught:
            structure({"number": -1}, Positive)

        assert ("'number' must be > 0: -1",) == caught.value.problems

    def test_a_plain_value_is_named_by_the_path(self) -> None:
        """Also without a class around it."""
        with pytest.raises(InvalidInputError) as caught:
            structure("x", int, path="count")
        assert ("count: not a valid int",) == caught.value.problems

        with pytest.raises(InvalidInputError) as caught:
            structure([], Line)
        assert ("not a valid Line",) == caught.value.problems

    def test_an_int_is_a_float_but_nothing_else_changes_its_type(self) -> None:
        """JSON has one kind of number."""
        value = structure(3, float)

        assert (float, 3.0) == (type(value), value)

    def test_durations_keep_fractions(self) -> None:
        """Half a second is 0.5."""
        assert 0.5 == converter.unstructure(timedelta(milliseconds=500))
        assert timedelta(milliseconds=500) == structure(0.5, timedelta)

    def test_a_time_without_a_zone_is_refused(self) -> None:
        """It is no instant."""
        with pytest.raises(ValueError, match="zone"):
            unstructure(attrs.evolve(ORDER, placed_at=datetime(2024, 1, 1)))  # noqa: DTZ001

    @given(st.datetimes(timezones=st.just(UTC)))
    def test_timestamps_are_what_the_standard_library_says(self, instant: datetime) -> None:
        """With every writer, and for subclasses of datetime too."""

        class Other(datetime):
            pass

        written = instant.replace(tzinfo=None).isoformat() + "Z"

        assert written == timestamp(instant)
        assert written == timestamp(Other.fromisoformat(instant.isoformat()))

    def test_timestamps_in_utc_end_in_z(self) -> None:
        """Others keep their offset."""
        assert "2024-01-02T03:04:05.000006Z" == timestamp(datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=UTC))
        assert "2024-01-02T03:04:05+01:00" == timestamp(
            datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1)))
        )


@attrs.frozen(kw_only=True)
class Span:
    """A class whose fields have checks, and a name that Python does not allow."""

    from_: str = attrs.field(validator=field_check(text(most=3)), metadata={JSON_NAME: "from"})
    to: int | None = attrs.field(default=None, validator=field_check(optional(whole(0, 9))))
    inner: tuple[Span, ...] = ()

    def __attrs_post_init__(self) -> None:
        if self.from_ == "bad":
            raise InvalidInputError(["from: is bad"])


class TestClassesWithChecks:
    def test_a_field_may_have_another_name_in_json(self):
        """``from_`` is written ``from``, in values and in problems."""
        data = {"from": "a", "to": 5, "inner": [{"from": "b", "to": None, "inner": []}]}

        span = structure(data, Span)

        assert Span(from_="a", to=5, inner=(Span(from_="b"),)) == span
        assert data == converter.unstructure(span, Span)

    def test_every_field_is_checked_before_anything_is_told(self):
        """What the checks find comes with what the converter finds, each with its path."""
        data = {
            "from": "long",
            "to": 10,
            "inner": [{"from": 1, "to": "x"}, {"from": "bad"}, {"x": 1, "a b": 2}, 7],
        }

        with pytest.raises(InvalidInputError) as caught:
            structure(data, Span, path="span")

        assert [
            "span.from: longer than 3 characters",
            "span.to: between 0 and 9, got 10",
            "span.inner[0].from: must be text, not int",
            "span.inner[0].to: must be a whole number, not str",
            "span.inner[1].from: is bad",
            "span.inner[2].from: is missing",
            "span.inner[2]['a b']: is unknown; known are from, to, inner",
            "span.inner[2].x: is unknown; known are from, to, inner",
            "span.inner[3]: must be an object, not int",
        ] == list(caught.value.problems)

    def test_a_list_is_given_up_after_fifty_wrong_items(self):
        """A million wrong items cost no more than fifty."""
        with pytest.raises(InvalidInputError) as caught:
            structure({"from": "a", "inner": [None] * 1_000_000}, Span)

        assert MAX_PROBLEMS == len(caught.value.problems)


class TestUniqueKeys:
    @pytest.mark.parametrize("body", [b"5", b"[]", b'{"a": {"b": [1, {"c": null}]}}'])
    def test_json_is_read_as_ever(self, body):
        """Without repeated keys it is the same value as any reader's."""
        assert (loads(body), []) == loads_unique(body)

    def test_each_key_that_is_given_twice_is_told_with_its_path(self):
        """The last value counts, as it does for most readers."""
        value, problems = loads_unique(b'{"a": 1, "b": [{"c d": 1, "c d": 2, "c d": 3}], "a": 2}', path="$")

        assert {"a": 2, "b": [{"c d": 3}]} == value
        assert ["$.a: is given more than once", "$.b[0]['c d']: is given more than once"] == problems


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (b'{"a": ":", "b": [{"c": 1}, {"c": 2}]}', []),
        (b'{"a": ":", "a": 2}', ["a: is given more than once"]),
        (b'{"a": {"b": 1, "b": 2}, "a:": 3}', ["a.b: is given more than once"]),
        (b'{"\\":": 1, "x": 2}', []),
        (b"[1, 2]", []),
    ],
)
def test_a_key_that_is_given_twice_is_found(text: bytes, problems: list[str]) -> None:
    """Whatever colons and quotation marks texts have."""
    value, found = loads_unique(text)

    assert loads(text) == value
    assert problems == found
