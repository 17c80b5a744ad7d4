"""The catalog: declared classes become events and come back, old versions included."""

from __future__ import annotations

import sys
import threading
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import Any

import attrs
import pytest

from notifykit.catalog import EventCatalog, event, event_type_of
from notifykit.errors import ConfigurationError, InvalidEventError, MissingExtraError, NotFoundError
from notifykit.models.delivery import Priority
from notifykit.models.event import Event, EventType
from notifykit.policies.admit import admit

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
NAIVE = datetime(2024, 5, 1)  # noqa: DTZ001

SCHEMA = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "maxLength": 5},
        "mail": {"type": "string", "format": "email"},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
    },
    "required": ["id"],
    "additionalProperties": False,
    "$defs": {"line": {"type": "object", "properties": {"count": {"type": "integer", "minimum": 1}}}},
}


@attrs.frozen
class Line:
    sku: str
    picked_at: datetime | None = None


@event("order.shipped", category="orders", description="An order left the house.", priority=Priority.HIGH)
@attrs.frozen
class OrderShipped:
    order_id: str
    eta: datetime
    lines: tuple[Line, ...] = ()
    extra: dict[str, Any] = attrs.field(factory=dict)


def split_name(data: dict[str, Any]) -> dict[str, Any]:
    first, last = data.pop("name").split(" ")
    return {**data, "names": [{"first": first, "last": last}]}


def keep_first(data: dict[str, Any]) -> dict[str, Any]:
    return data["names"].pop(0)  # upcasts may take the data apart


@event("user.created", version=3, upcasts={1: split_name, 2: keep_first})
@attrs.frozen
class UserCreated:
    """A person signed up.

    More words.
    """

    first: str
    last: str


SHIPPED = OrderShipped("A-1", NOW, (Line("X"),), {"gift": True})


class TestDeclaring:
    def test_the_class_carries_what_was_declared(self) -> None:
        """And stays the class it was."""
        assert EventType(
            name="order.shipped",
            payload=OrderShipped,
            category="orders",
            priority=Priority.HIGH,
            description="An order left the house.",
        ) == event_type_of(OrderShipped)
        assert OrderShipped("A-1", NOW) == OrderShipped("A-1", NOW)

    def test_the_docstring_describes_the_type(self) -> None:
        """Its first line, where no description was given."""
        declared = event_type_of(UserCreated)

        assert declared is not None
        assert "A person signed up." == declared.description

    def test_a_class_without_words_has_no_description(self) -> None:
        """None is invented."""

        @event("a.b")
        @attrs.frozen
        class Silent:
            pass

        declared = event_type_of(Silent)

        assert declared is not None
        assert not declared.description

    def test_a_subclass_needs_its_own_declaration(self) -> None:
        """It is another payload, and would be read back as its parent."""

        @attrs.frozen
        class Late(OrderShipped):
            by: int = 0

        assert event_type_of(Late) is None
        with pytest.raises(InvalidEventError, match="Late is neither an Event nor declared with @event"):
            EventCatalog().to_event(Late("A-1", NOW))

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"name": "order shipped"}, "the name is not words"),
            ({"name": "x" * 129}, "longer than 128"),
            ({"purpose": "spam"}, "purpose is one of transactional, marketing, security, not 'spam'"),
            ({"version": 0}, "versions start at 1, not 0"),
            ({"version": 2, "upcasts": {0: dict, 2: dict}}, r"upcasts from \[0, 2\] lead nowhere; the version is 2"),
        ],
    )
    def test_a_declaration_that_cannot_work_is_refused(self, options: dict[str, Any], reason: str) -> None:
        """Where it is written, not when the first event is published; and so is an event type made by hand."""
        declaration = {"name": "a.b", **options}

        with pytest.raises(ConfigurationError, match=reason):
            event(**declaration)(attrs.make_class("Payload", []))
        with pytest.raises(ConfigurationError, match=reason):
            EventCatalog([EventType(**declaration)])

    def test_only_attrs_classes_can_be_declared(self) -> None:
        """The usual mistake is the order of the decorators."""
        with pytest.raises(ConfigurationError, match=r"Plain is no attrs class \(@event goes above @attrs\.frozen\)"):

            @event("a.b")
            class Plain:
                pass


class TestCollecting:
    def test_types_are_found_by_name(self) -> None:
        """Classes and event types alike, in the order of their names."""
        by_hand = EventType(name="order.made")
        catalog = EventCatalog([UserCreated, OrderShipped, by_hand])

        assert by_hand is catalog.get("order.made")
        assert event_type_of(OrderShipped) is catalog.get("order.shipped")
        assert catalog.get("order.lost") is None
        assert ["order.made", "order.shipped", "user.created"] == [known.name for known in catalog]
        assert 3 == len(catalog)
        assert "order.made" in catalog
        assert "order.lost" not in catalog

    @pytest.mark.parametrize(
        "types",
        [[OrderShipped, OrderShipped], [OrderShipped, EventType(name="order.shipped")]],
    )
    def test_names_are_unique(self, types: list[type | EventType]) -> None:
        """A name with two meanings would be ambiguous."""
        with pytest.raises(ConfigurationError, match=r"'order.shipped' is declared twice"):
            EventCatalog(types)

    def test_more_types_can_be_included(self) -> None:
        """Those that are known already stay; a second meaning of a name is refused."""
        catalog = EventCatalog([OrderShipped])

        catalog.include([OrderShipped, EventType(name="order.made")])

        assert ["order.made", "order.shipped"] == [known.name for known in catalog]
        with pytest.raises(ConfigurationError, match=r"'order.shipped' is declared twice"):
            catalog.include([EventType(name="order.shipped")])

    def test_only_declared_classes_are_collected(self) -> None:
        """Others have no name."""
        with pytest.raises(ConfigurationError, match="Line was not declared with @event"):
            EventCatalog([Line])


class TestPublishing:
    def test_an_instance_becomes_an_event(self) -> None:
        """Its data are JSON types, its version is the type's."""
        catalog = EventCatalog([OrderShipped, UserCreated])

        made, event_type = catalog.to_event(SHIPPED)

        assert event_type is catalog.get("order.shipped")
        assert made == Event(
            type="order.shipped",
            data={
                "order_id": "A-1",
                "eta": "2024-05-01T12:00:00Z",
                "lines": [{"sku": "X", "picked_at": None}],
                "extra": {"gift": True},
            },
        )
        assert 3 == catalog.to_event(UserCreated("Ada", "Lovelace"))[0].version

    def test_a_plain_event_is_taken_as_it_is(self) -> None:
        """With what is known about its type, if anything is."""
        catalog = EventCatalog([OrderShipped])
        known, unknown = Event(type="order.shipped", data={}), Event(type="order.lost", data={})

        assert (known, catalog.get("order.shipped")) == catalog.to_event(known)
        assert (unknown, None) == catalog.to_event(unknown)

    def test_a_declared_class_need_not_be_collected_to_be_published(self) -> None:
        """The catalog adds it; from then on its name is taken."""
        catalog = EventCatalog()

        _, event_type = catalog.to_event(SHIPPED)

        assert event_type is event_type_of(OrderShipped) is catalog.get("order.shipped")

    def test_a_class_whose_name_is_taken_cannot_be_published(self) -> None:
        """Receivers could not distinguish the two."""

        @event("order.shipped")
        @attrs.frozen
        class Other:
            pass

        with pytest.raises(ConfigurationError, match=r"'order.shipped' is declared twice"):
            EventCatalog([OrderShipped]).to_event(Other())

    def test_threads_may_publish_the_first_event_of_a_class_together(self) -> None:
        """All of them get the same type, and none is refused."""
        for _ in range(50):
            catalog, found, barrier = EventCatalog(), [], threading.Barrier(4)

            def publish(catalog: EventCatalog = catalog, barrier: threading.Barrier = barrier) -> None:
                barrier.wait()
                found.append(catalog.to_event(SHIPPED)[1])  # noqa: B023  # joined below

            threads = [threading.Thread(target=publish) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

            assert [event_type_of(OrderShipped)] * 4 == found

    def test_times_without_a_zone_are_refused_with_their_paths(self) -> None:
        """All of them at once."""
        bad = OrderShipped("A-1", NAIVE, (Line("X", NOW), Line("Y", NAIVE)), {"a b": NAIVE})

        with pytest.raises(InvalidEventError) as caught:
            EventCatalog().to_event(bad)

        assert (
            "data.eta: has no zone",
            "data.lines[1].picked_at: has no zone",
            "data.extra['a b']: has no zone",
        ) == caught.value.problems

    def test_another_failure_is_reported_by_its_type(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A value that cannot become JSON types for a reason of its own, whose message may repeat it."""

        def fail(source: object) -> object:
            raise ValueError("no way")

        monkeypatch.setattr("notifykit.catalog.unstructure", fail)

        with pytest.raises(InvalidEventError) as caught:
            EventCatalog().to_event(SHIPPED)

        assert ("data: cannot be written as JSON (ValueError)",) == caught.value.problems


class TestLoading:
    @pytest.mark.parametrize(
        ("version", "data"),
        [
            (1, {"name": "Ada Lovelace"}),
            (2, {"names": [{"first": "Ada", "last": "Lovelace"}]}),
            (3, {"first": "Ada", "last": "Lovelace"}),
        ],
    )
    def test_old_versions_are_brought_up_step_by_step(self, version: int, data: dict[str, Any]) -> None:
        """The class only knows the current one; the caller's data stays as it was."""
        before = repr(data)

        assert UserCreated("Ada", "Lovelace") == EventCatalog([UserCreated]).load("user.created", data, version)
        assert before == repr(data)

    def test_what_was_published_comes_back(self) -> None:
        """The same value, on the other side."""
        catalog = EventCatalog([OrderShipped])
        made, _ = catalog.to_event(SHIPPED)

        assert SHIPPED == catalog.load(made.type, made.data, made.version)

    def test_a_type_without_a_class_gives_the_data(self) -> None:
        """There is no class to make of it."""
        assert {"a": 1} == EventCatalog([EventType(name="a.b")]).load("a.b", {"a": 1})

    def test_an_unknown_type_is_not_found(self) -> None:
        """The program has not declared it."""
        with pytest.raises(NotFoundError, match=r"no event type 'order.lost'"):
            EventCatalog().load("order.lost", {})

    @pytest.mark.parametrize(
        ("version", "data", "problem"),
        [
            (4, {}, "version: 4 is newer than 3, the newest known"),
            (0, {}, "version: nothing leads from 0 to 1"),
            (1, {"name": "Ada"}, "data: could not be brought from version 1 to 2 (ValueError)"),
            (3, {"first": "Ada"}, "data.last: is missing"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, version: int, data: dict[str, Any], problem: str) -> None:
        """With its path, and without its values."""
        with pytest.raises(InvalidEventError) as caught:
            EventCatalog([UserCreated]).load("user.created", data, version)

        assert (problem,) == caught.value.problems


class TestChecks:
    def test_instances_without_a_schema_need_no_check(self) -> None:
        """They are of their class already."""
        catalog = EventCatalog([OrderShipped])

        assert catalog.check(None, SHIPPED) is None
        assert catalog.check(catalog.get("order.shipped"), SHIPPED) is None
        assert catalog.check(EventType(name="a.b"), Event(type="a.b", data={})) is None

    def test_a_plain_event_of_a_known_type_must_fit_its_class(self) -> None:
        """Loading it would fail otherwise."""
        catalog = EventCatalog([OrderShipped])
        source = Event(type="order.shipped", data={"order_id": 1, "size": 3}, actor="")

        made, event_type = catalog.to_event(source)
        with pytest.raises(InvalidEventError) as caught:
            admit(made, event_type, tenant="acme", now=NOW, check=catalog.check(event_type, source))

        assert {
            "actor: is empty",
            "data.order_id: not a valid str",
            "data.eta: is missing",
            "data: unknown: 'size'",
        } == set(caught.value.problems)

    def test_a_plain_event_of_an_old_version_is_judged_as_it_will_be_loaded(self) -> None:
        """After the upcasts."""
        catalog = EventCatalog([UserCreated])
        event_type = catalog.get("user.created")
        old = catalog.check(event_type, Event(type="user.created", data={}, version=1))
        unborn = catalog.check(event_type, Event(type="user.created", data={}, version=4))

        assert old is not None
        assert unborn is not None
        assert [] == old({"name": "Ada Lovelace"})
        assert ["data: could not be brought from version 1 to 2 (KeyError)"] == old({"first": "Ada"})
        assert ["version: 4 is newer than 3, the newest known"] == unborn({})


@pytest.mark.skipif(find_spec("jsonschema_rs") is None, reason="needs jsonschema-rs")
class TestSchemas:
    @pytest.mark.parametrize(
        ("data", "problems"),
        [
            ({"id": "A-1"}, []),
            ({"id": "A-1", "mail": "a@example.com", "lines": [{"count": 1}]}, []),
            ({}, ["data: 'id' is a required property"]),
            (
                {"id": "secret", "lines": [{"count": 1}, {"count": 0}], "mail": "private"},
                [
                    "data.id: the value is longer than 5 characters",
                    "data.lines[1].count: the value is less than the minimum of 1",
                    "data.mail: the value is not a 'email'",
                ],
            ),
        ],
    )
    def test_data_must_satisfy_the_schema(self, data: dict[str, Any], problems: list[str]) -> None:
        """Every violation has its path; values are not repeated."""
        catalog = EventCatalog([EventType(name="a.b", schema=SCHEMA)])

        check = catalog.check(catalog.get("a.b"), Event(type="a.b", data=data))

        assert check is not None
        assert problems == sorted(problem.replace('"', "'") for problem in check(data))

    def test_instances_must_satisfy_the_schema_too(self) -> None:
        """It may be stricter than the class; a plain event must satisfy both."""

        @event("order.packed", schema={"properties": {"count": {"minimum": 1}}})
        @attrs.frozen
        class OrderPacked:
            count: int

        catalog = EventCatalog([OrderPacked])
        event_type = catalog.get("order.packed")
        typed = catalog.check(event_type, OrderPacked(0))
        plain = catalog.check(event_type, Event(type="order.packed", data={}))

        assert typed is not None
        assert plain is not None
        assert ["data.count: the value is less than the minimum of 1"] == typed({"count": 0})
        assert [] == typed({"count": 1})
        assert [
            "data.count: the value is less than the minimum of 1",
            "data: unknown: 'size'",
        ] == plain({"count": 0, "size": 1})

    @pytest.mark.parametrize(
        ("schema", "reason"),
        [
            ({"$ref": "https://example.com/schema.json"}, "https://example.com/schema.json would have to be fetched"),
            ({"$ref": "file:///etc/hostname"}, "file:///etc/hostname would have to be fetched"),
            ({"type": "nonsense"}, "the JSON Schema cannot be used"),
            ({"$schema": "https://example.com/dialect"}, "the JSON Schema cannot be used"),
            ({"pattern": "("}, "the JSON Schema cannot be used"),
        ],
    )
    def test_a_schema_that_cannot_be_used_is_refused_at_once(self, schema: dict[str, Any], reason: str) -> None:
        """Nothing is ever fetched, neither from the network nor from a file."""
        with pytest.raises(ConfigurationError, match=reason):
            EventCatalog([EventType(name="a.b", schema=schema)])

    def test_a_schema_is_compiled_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """However many events are checked."""
        import jsonschema_rs

        compiled: list[object] = []
        validator_for = jsonschema_rs.validator_for

        def counted(schema: dict[str, Any], **options: Any) -> object:
            compiled.append(schema)
            return validator_for(schema, **options)

        monkeypatch.setattr(jsonschema_rs, "validator_for", counted)
        catalog = EventCatalog([EventType(name="a.b", schema=SCHEMA)])

        for _ in range(3):
            check = catalog.check(catalog.get("a.b"), Event(type="a.b", data={"id": "A-1"}))
            assert check is not None
            assert [] == check({"id": "A-1"})

        assert 1 == len(compiled)

    def test_the_list_of_violations_is_bounded(self) -> None:
        """A thousand wrong items are not a thousand lines."""
        catalog = EventCatalog([EventType(name="a.b", schema={"additionalProperties": {"type": "string"}})])
        check = catalog.check(catalog.get("a.b"))

        assert check is not None
        assert 50 == len(check({f"k{n}": n for n in range(1000)}))


def test_a_schema_needs_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the error names it."""
    monkeypatch.setitem(sys.modules, "jsonschema_rs", None)

    with pytest.raises(MissingExtraError, match=r"notifykit-sdk\[schema\]"):
        EventCatalog([EventType(name="a.b", schema=SCHEMA)])
