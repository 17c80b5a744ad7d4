"""Typed events: the value of a field must agree with its annotation before anything is stored."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from functools import partial
from types import SimpleNamespace
from typing import Annotated, Any, Final, Generic, Literal, NewType, Optional, Protocol, TypedDict, TypeVar, Union
from uuid import UUID

import attrs
import pytest

import notifykit
from notifykit import ConfigurationError, Event, EventCatalog, InvalidEventError, Notifykit
from notifykit.codec import MAX_PROBLEMS, dumps
from notifykit.policies.typed import Compiler, instance_problems

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAIVE = datetime(2026, 3, 1)  # noqa: DTZ001
T = TypeVar("T")
Sku = NewType("Sku", str)


class Colour(Enum):
    RED = "red"


class Size(StrEnum):
    LARGE = "L"


@attrs.frozen
class Address:
    city: str
    lines: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: int = 0
    norm: float = dataclasses.field(init=False, default=0.0)


class Named(Protocol):
    name: str


class Extra(TypedDict, total=False):
    note: str


class Money:
    """A class of the program's own, which is no attrs class."""


class Bag(dict[str, int]):
    """A mapping of the program's own."""


@attrs.frozen
class Box(Generic[T]):
    content: T


@attrs.define
class Node:
    value: int
    next: Node | None = None
    _seen: int = attrs.field(init=False, default=0)


def made(of: Any, *values: object) -> Any:
    """Make an instance that a type checker would reject."""
    return of(*values)


def problems(annotation: Any, value: Any, most: int = 10_000) -> list[str]:
    return instance_problems(Compiler().kind_of(annotation), value, path="data.x", most=most)


class TestKinds:
    @pytest.mark.parametrize(
        ("annotation", "values"),
        [
            (str, ["", "a", Size.LARGE]),
            (int, [0, -5]),
            (float, [0.5, 2]),
            (bool, [True]),
            (bytes, [b""]),
            (Decimal, [Decimal("1.50")]),
            (datetime, [NOW]),
            (date, [date(2026, 3, 1)]),
            (timedelta, [timedelta(1)]),
            (UUID, [UUID(int=1)]),
            (Colour, [Colour.RED]),
            (None, [None]),
            (Any, [1, None, "x", {"a": [NOW]}, Money(), {1, 2}, Address("x")]),
            (object, [1]),
            (T, [1]),
            (Optional[str], ["a", None]),  # noqa: UP045
            (Union[int, list[str]], [1, ["a"]]),  # noqa: UP007
            (str | None, ["a", None]),
            (Literal["a", 1], ["a", 1]),
            (Annotated[int, "positive"], [1]),
            (Final[int], [1]),
            (Sku, ["a"]),
            (list, [[1, "a"]]),
            (list[int], [[], [1], (1, 2)]),
            (tuple[str, ...], [(), ("a",), ["a"]]),
            (tuple[str, int], [("a", 1)]),
            (tuple[()], [()]),
            (set[int], [{1}, frozenset({1})]),
            (AbstractSet[int], [{1}]),
            (Sequence[int], [[1]]),
            (Collection[int], [[1], {1}]),
            (dict, [{"a": 1}]),
            (dict[str, int], [{"a": 1}, {}]),
            (Mapping[str, Address], [{"a": Address("x")}]),
            (Bag, [Bag(a=1), {"a": 1}]),
            (Extra, [{"note": "x"}]),
            (Named, [5]),
            (Money, [Money()]),
            (Address, [Address("x"), Address("x", ("y",))]),
            (Address | None, [Address("x"), None]),
            (Point, [Point(1)]),
            (Box[int], [Box(1), Box("a")]),
            (Node, [Node(1, Node(2))]),
        ],
    )
    def test_what_an_annotation_says_is_accepted(self, annotation, values):
        """Values that become the same JSON are accepted too."""
        for value in values:
            assert [] == problems(annotation, value)

    @pytest.mark.parametrize(
        ("annotation", "value", "expected"),
        [
            (str, 5, ["data.x: must be str, not int"]),
            (str, None, ["data.x: must be str, not None"]),
            (int, True, ["data.x: must be int, not bool"]),
            (int, 1.5, ["data.x: must be int, not float"]),
            (float, "1", ["data.x: must be float, not str"]),
            (float, False, ["data.x: must be float, not bool"]),
            (bool, 1, ["data.x: must be bool, not int"]),
            (Decimal, 1.5, ["data.x: must be a finite Decimal, not float"]),
            (Decimal, Decimal("NaN"), ["data.x: must be a finite Decimal, not Decimal"]),
            (datetime, "now", ["data.x: must be datetime, not str"]),
            (datetime, NAIVE, ["data.x: has no zone"]),
            (datetime | None, NAIVE, ["data.x: has no zone"]),
            (date, NOW, ["data.x: must be date, not datetime"]),
            (UUID, "x", ["data.x: must be UUID, not str"]),
            (Colour, "red", ["data.x: must be Colour, not str"]),
            (str | None, 5, ["data.x: must be str or None, not int"]),
            (Literal["a", 1], True, ["data.x: must be one of 'a', 1, not bool"]),
            (list[int], "ab", ["data.x: must be list, not str"]),
            (list[int], [1, "a", None], ["data.x[1]: must be int, not str", "data.x[2]: must be int, not None"]),
            (tuple[str, int], ("a",), ["data.x: must have 2 values, not 1"]),
            (tuple[str, int], ("a", "b"), ["data.x[1]: must be int, not str"]),
            (tuple[str, int], "ab", ["data.x: must be tuple, not str"]),
            (set[int], [1], ["data.x: must be set, not list"]),
            (dict[str, int], [1], ["data.x: must be dict, not list"]),
            (dict[str, int], {"a": "b"}, ["data.x.a: must be int, not str"]),
            (dict[str, int], {5: 5}, ["data.x: a key must be str, not int"]),
            (Bag, [1], ["data.x: must be Bag, not list"]),
            (Money, 5, ["data.x: must be Money, not int"]),
            (Address, None, ["data.x: must be Address, not None"]),
            (
                Address,
                made(Address, 5, ("a", 6)),
                ["data.x.city: must be str, not int", "data.x.lines[1]: must be str, not int"],
            ),
            (Address | None, made(Address, 5), ["data.x.city: must be str, not int"]),
            (Point, made(Point, "a"), ["data.x.x: must be int, not str"]),
            (Node, Node(1, made(Node, "a")), ["data.x.next.value: must be int, not str"]),
            (Any, {"a": [NAIVE]}, ["data.x.a[0]: has no zone"]),
            (Any, Box(NAIVE), ["data.x.content: has no zone"]),
        ],
    )
    def test_anything_else_is_named_with_its_path(self, annotation, value, expected):
        """And the value itself is not repeated: it may be private."""
        assert expected == problems(annotation, value)

    def test_an_alias_is_what_it_stands_for(self):
        """``type Name = str``, which Python 3.11 cannot read: it gets something alike."""
        names: dict[str, Any] = {"Name": SimpleNamespace(__value__=str)}
        if sys.version_info >= (3, 12):
            exec("type Name = str", names)

        assert [] == problems(names["Name"], "a")
        assert ["data.x: must be str, not int"] == problems(names["Name"], 5)

    def test_a_field_without_a_value_is_missing(self):
        """An instance may be made without its ``__init__``."""
        assert ["data.x.value: is missing"] == problems(Node, Node.__new__(Node))[:1]

    def test_the_list_of_problems_is_bounded(self):
        """More of them would not be read."""
        assert MAX_PROBLEMS == len(problems(list[int], ["a"] * 1000))


class TestBounds:
    @pytest.mark.parametrize(
        ("annotation", "join"),
        [
            (Any, lambda value: {"a": value, "b": value}),
            (Any, lambda value: [value, value]),
            (Box[Any], lambda value: Box([value, value])),
        ],
    )
    def test_a_small_object_that_unfolds_to_a_huge_one_is_refused(self, annotation, join):
        """Sharing makes 2 ** 60 values; the walk stops at its budget."""
        value: Any = Box(1) if annotation is not Any else 1
        for _ in range(60):
            value = join(value)

        assert ["data.x: too large, at most 10000 values"] == problems(annotation, value)

    @pytest.mark.parametrize("annotation", [list[int], tuple[int, ...], dict[str, int]])
    def test_a_large_one_is_refused_without_checking_each_value(self, annotation):
        """Its length is enough."""
        value = dict.fromkeys(map(str, range(200)), 1) if annotation == dict[str, int] else [1] * 200

        assert ["data.x: too large, at most 100 values"] == problems(annotation, value, most=100)

    def test_what_contains_itself_is_refused(self):
        """It has no text."""
        node = Node(1)
        node.next = node

        assert problems(Node, node, most=10**9) == ["data.x: nested too deeply, or contains itself"]


@notifykit.event("order.shipped")
@attrs.frozen
class OrderShipped:
    order_id: str
    address: Address = Address("Berlin")


class TestPublishing:
    async def test_a_wrong_field_is_refused_and_nothing_is_stored(self):
        """``OrderShipped(5)`` is no order, and a nested ``None`` no address."""
        async with Notifykit("memory://") as kit:
            for wrong, problem in (
                (OrderShipped(5), "data.order_id: must be str, not int"),  # type: ignore[arg-type]
                (OrderShipped("A-1", None), "data.address: must be Address, not None"),  # type: ignore[arg-type]
            ):
                with pytest.raises(InvalidEventError) as refused:
                    await kit.apublish(wrong, tenant="acme")
                assert (problem,) == refused.value.problems
            await kit.apublish(OrderShipped("A-1"), tenant="acme")

            (stored,) = await kit.events.list(tenant="acme")
        assert b'"order_id":"A-1"' in stored.body

    def test_what_is_accepted_can_be_loaded_again(self):
        """A receiver with the same classes gets an equal instance."""
        catalog = EventCatalog([OrderShipped])
        shipped = OrderShipped("A-1", Address("Köln", ("Domkloster 4",)))

        made, _ = catalog.to_event(shipped)

        assert isinstance(made, Event)
        assert dumps(made.data)
        assert shipped == catalog.load("order.shipped", made.data)

    def test_annotations_that_cannot_be_read_are_named(self):
        """What is imported for type checkers only is not there when the event is published."""
        unreadable = attrs.make_class("Unreadable", {"order": made(partial(attrs.field, type="NotThere"))})
        declared = notifykit.event("order.lost")(unreadable)

        for _ in range(2):
            with pytest.raises(ConfigurationError, match="annotations of Unreadable cannot be read: name 'NotThere'"):
                EventCatalog().to_event(declared(1))

    def test_a_decorator_without_a_name_is_refused_where_it_stands(self):
        """Not when the class is used for the first time."""
        with pytest.raises(ConfigurationError, match=r"@event\('order.shipped'\), not Lost"):

            @notifykit.event  # type: ignore[arg-type]
            class Lost:
                pass
