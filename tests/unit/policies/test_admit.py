"""Admission: what the store gets, what is refused and how, and what it costs."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifykit import codec
from notifykit.errors import InvalidEventError
from notifykit.models.delivery import Priority
from notifykit.models.event import Event, EventType, Resource, StoredEvent
from notifykit.models.ids import EVENT, is_id
from notifykit.policies import admit as admit_module
from notifykit.policies.admit import DEFAULT_LIMITS, Limits, admit
from tests.shared_data import shared_data

NOW = datetime(2024, 5, 1, 12, 0, 0, 250_000, tzinfo=UTC)
NAIVE = datetime(2024, 5, 1)  # noqa: DTZ001
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

BARE = Event(type="order.shipped", data={"order_id": "A-1"})
FULL = Event(
    type="order.shipped",
    data={"order_id": "A-1", "note": None},
    tenant="acme",
    occurred_at=datetime(2024, 5, 1, 10, tzinfo=UTC),
    topic="shop/7/order/A-1",
    resource=Resource("order", "A-1"),
    actor="user:9",
    metadata={"source": "web", "empty": ""},
    idempotency_key="ship-A-1",
    trace=TRACE,
    deliver_at=NOW + timedelta(hours=1),
    expires_at=NOW + timedelta(hours=2),
    priority=Priority.HIGH,
    ordering_key="order:A-1",
    version=2,
)


@pytest.fixture(params=["stdlib", "orjson"], autouse=True)
def writer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Admission gives the same answers with and without orjson."""
    if request.param == "orjson" and codec.text.orjson is None:
        pytest.skip("needs orjson")
    if request.param == "stdlib":
        monkeypatch.setattr(codec.text, "_dumps", codec.text._stdlib_dumps)
        monkeypatch.setattr(codec.text, "_loads", codec.text._stdlib_loads)


def admitted(event: Event, event_type: EventType | None = None, **options: Any) -> StoredEvent:
    return admit(event, event_type, **{"tenant": "acme", "now": NOW, "new_id": lambda prefix: prefix + "1", **options})


def problems(event: Event, **options: Any) -> list[str]:
    with pytest.raises(InvalidEventError) as caught:
        admitted(event, **options)
    return list(caught.value.problems)


def bare(**changes: Any) -> Event:
    return attrs.evolve(BARE, **changes)


def nested(levels: int) -> Any:
    value: Any = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


class TestStored:
    def test_a_bare_event_gets_defaults(self) -> None:
        """Its time, and when it is due, are the time of publishing."""
        stored = admitted(BARE)

        assert stored == StoredEvent(
            id="evt_1",
            tenant="acme",
            type="order.shipped",
            version=1,
            topic=None,
            resource_kind=None,
            resource_id=None,
            actor=None,
            occurred_at=NOW,
            published_at=NOW,
            due_at=NOW,
            expires_at=None,
            priority=Priority.NORMAL,
            ordering_key=None,
            idempotency_key=None,
            fingerprint=None,
            trace=None,
            metadata=None,
            body=b'{"type":"order.shipped","timestamp":"2024-05-01T12:00:00.250000Z","data":{"order_id":"A-1"}}',
        )

    def test_everything_that_was_given_is_kept(self) -> None:
        """Each field has its place."""
        stored = admitted(FULL)

        assert stored._replace(fingerprint=None) == StoredEvent(
            id="evt_1",
            tenant="acme",
            type="order.shipped",
            version=2,
            topic="shop/7/order/A-1",
            resource_kind="order",
            resource_id="A-1",
            actor="user:9",
            occurred_at=datetime(2024, 5, 1, 10, tzinfo=UTC),
            published_at=NOW,
            due_at=NOW + timedelta(hours=1),
            expires_at=NOW + timedelta(hours=2),
            priority=Priority.HIGH,
            ordering_key="order:A-1",
            idempotency_key="ship-A-1",
            fingerprint=None,
            trace=TRACE,
            metadata='{"source":"web","empty":""}',
            body=b'{"type":"order.shipped","timestamp":"2024-05-01T10:00:00Z",'
            b'"data":{"order_id":"A-1","note":null},"version":2}',
        )
        assert stored.fingerprint is not None
        assert 16 == len(stored.fingerprint)

    def test_ids_are_made_by_default(self) -> None:
        """The caller need not give a source of ids."""
        assert is_id(admit(BARE, None, tenant="acme", now=NOW).id, EVENT)

    @pytest.mark.parametrize(
        ("own", "of_type", "expected"),
        [
            (None, None, Priority.NORMAL),
            (None, Priority.LOW, Priority.LOW),
            (Priority.HIGH, Priority.LOW, Priority.HIGH),
        ],
    )
    def test_the_event_has_the_first_say_on_its_priority(
        self, own: Priority | None, of_type: Priority | None, expected: Priority
    ) -> None:
        """Then its type, then normal."""
        event_type = None if of_type is None else EventType(name="order.shipped", priority=of_type)

        assert expected is admitted(bare(priority=own), event_type).priority

    @pytest.mark.parametrize("zone", [timezone(timedelta(hours=2)), ZoneInfo("Europe/Berlin"), ZoneInfo("UTC")])
    def test_times_are_kept_in_utc(self, zone: Any) -> None:
        """Receivers and stores see one zone."""
        at = (NOW + timedelta(days=1)).astimezone(zone)

        stored = admitted(bare(occurred_at=at, deliver_at=at, expires_at=at + timedelta(hours=1)))

        for instant in (stored.occurred_at, stored.due_at):
            assert (at, UTC) == (instant, instant.tzinfo)
        assert b'"timestamp":"2024-05-02T12:00:00.250000Z"' in stored.body

    def test_a_time_of_delivery_that_has_passed_is_now(self) -> None:
        """Nothing is due before it was published."""
        assert NOW == admitted(bare(deliver_at=NOW - timedelta(days=1))).due_at

    def test_a_delay_counts_from_publishing(self) -> None:
        """A second publish with the same key and delay is a duplicate, although it would be due later."""
        event = bare(delay=timedelta(hours=1), idempotency_key="k")
        first = admitted(event)
        second = admit(event, None, tenant="acme", now=NOW + timedelta(minutes=1))

        assert NOW + timedelta(hours=1) == first.due_at
        assert first.fingerprint == second.fingerprint
        assert first.fingerprint != admitted(attrs.evolve(event, delay=timedelta(hours=2))).fingerprint
        assert first.fingerprint != admitted(attrs.evolve(event, delay=None)).fingerprint

    def test_any_mapping_is_data(self) -> None:
        """Enums and UUIDs inside of it too: they have one obvious text."""
        data = MappingProxyType({"priority": Priority.LOW, "ref": UUID(int=1)})

        stored = admitted(bare(data=data))

        assert {"priority": "low", "ref": str(UUID(int=1))} == json.loads(stored.body)["data"]

    def test_real_events_are_admitted_as_they_are(self) -> None:
        """Their data comes out as it went in."""
        for line in shared_data("github-events.jsonl").read_text().splitlines():
            given = json.loads(line)

            stored = admitted(Event(type=given["type"], data=given["payload"]))

            assert {"type": given["type"], "timestamp": "2024-05-01T12:00:00.250000Z", "data": given["payload"]} == (
                json.loads(stored.body)
            )

    def test_the_common_event_is_not_walked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The walk that looks for problems is for events that may have some."""
        monkeypatch.setattr(admit_module, "json_problems", lambda *_, **__: pytest.fail("walked"))

        admitted(FULL)
        admitted(bare(data={"lines": [{"sku": "{[(", "parts": ["a", ("b",)]} for _ in range(100)]}))


class TestRefused:
    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"type": "order shipped"}, "type: must be words of A-Z, a-z, 0-9 and _, joined by full stops"),
            ({"type": "order..shipped"}, "type: must be words of A-Z, a-z, 0-9 and _, joined by full stops"),
            ({"type": "order.shipped\n"}, "type: must be words of A-Z, a-z, 0-9 and _, joined by full stops"),
            ({"type": ""}, "type: must be words of A-Z, a-z, 0-9 and _, joined by full stops"),
            ({"type": None}, "type: must be words of A-Z, a-z, 0-9 and _, joined by full stops"),
            ({"type": b"order"}, "type: must be words of A-Z, a-z, 0-9 and _, joined by full stops"),
            ({"type": "x" * 129}, "type: longer than 128"),
            ({"version": 0}, "version: must be a number from 1 to 32767"),
            ({"version": True}, "version: must be a number from 1 to 32767"),
            ({"version": 2**70}, "version: must be a number from 1 to 32767"),
            ({"priority": "high"}, "priority: must be a Priority"),
            ({"tenant": "globex"}, "tenant: the event names another one"),
            ({"data": [1]}, "data: must be an object"),
            ({"data": None}, "data: must be an object"),
            ({"actor": 9}, "actor: must be text"),
            ({"actor": ""}, "actor: is empty"),
            ({"actor": "x" * 256}, "actor: longer than 255"),
            ({"actor": "a\nb"}, "actor: has control characters"),
            ({"actor": "a\ud800"}, "actor: has control characters"),
            ({"ordering_key": "x" * 256}, "ordering_key: longer than 255"),
            ({"idempotency_key": "x" * 256}, "idempotency_key: longer than 255"),
            ({"idempotency_key": "a\x7f"}, "idempotency_key: has control characters"),
            ({"topic": ""}, "topic: is empty"),
            ({"topic": 7}, "topic: must be text"),
            ({"topic": "/shop"}, "topic: has an empty segment"),
            ({"topic": "shop//7"}, "topic: has an empty segment"),
            ({"topic": "@end_1"}, "topic: must not begin with @ or !"),
            ({"topic": "shop/*"}, "topic: has a '*', which only patterns may have"),
            ({"topic": "x" * 513}, "topic: longer than 512"),
            ({"topic": "/".join("x" * 33)}, "topic: more than 32 segments"),
            ({"topic": "shop/\x00"}, "topic: has control characters"),
            ({"resource": ("order", "A-1")}, "resource: must be a Resource"),
            ({"resource": Resource("", "A-1")}, "resource.kind: is empty"),
            ({"resource": Resource("order", "x" * 256)}, "resource.id: longer than 255"),
            ({"metadata": "text"}, "metadata: must be an object of texts"),
            ({"metadata": {str(n): "" for n in range(33)}}, "metadata: 33 entries, at most 32"),
            ({"metadata": {"a": "x" * 257}}, "metadata.a: longer than 256"),
            ({"metadata": {"a": 1}}, "metadata.a: must be text"),
            ({"metadata": {"a": "\r\nX: y"}}, "metadata.a: has control characters"),
            ({"metadata": {1: "a"}}, "metadata: key 1: must be text"),
            ({"metadata": {"x": "a", "y" * 257: "a"}}, "metadata: key 2: longer than 256"),
            ({"occurred_at": "2024-05-01"}, "occurred_at: must be a datetime"),
            ({"occurred_at": NAIVE}, "occurred_at: has no zone"),
            ({"deliver_at": NAIVE}, "deliver_at: has no zone"),
            ({"expires_at": NAIVE}, "expires_at: has no zone"),
            (
                {"occurred_at": datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))},
                "occurred_at: is out of range",
            ),
            ({"expires_at": NOW}, "expires_at: must be after the time of publishing"),
            (
                {"deliver_at": NOW + timedelta(hours=1), "expires_at": NOW + timedelta(hours=1)},
                "expires_at: must be after deliver_at",
            ),
            (
                {"delay": timedelta(hours=1), "expires_at": NOW + timedelta(hours=1)},
                "expires_at: must be after the delay",
            ),
            ({"delay": timedelta(hours=1), "deliver_at": NOW}, "delay: give deliver_at or delay, not both"),
            ({"delay": 60}, "delay: must be a timedelta, not int"),
            ({"delay": timedelta(seconds=-1)}, "delay: between 0 s and 36500 days, got -1 day, 23:59:59"),
        ],
    )
    def test_a_field_that_is_wrong(self, changes: dict[str, Any], expected: str) -> None:
        """Each has its own message, and no other."""
        assert [expected] == problems(bare(**changes))

    @pytest.mark.parametrize(
        ("tenant", "expected"),
        [
            (None, "tenant: is missing"),
            ("", "tenant: must be 1 to 128 characters of A-Z, a-z, 0-9 and _.:@-"),
            ("a b", "tenant: must be 1 to 128 characters of A-Z, a-z, 0-9 and _.:@-"),
            ("ä", "tenant: must be 1 to 128 characters of A-Z, a-z, 0-9 and _.:@-"),
            ("a\n", "tenant: must be 1 to 128 characters of A-Z, a-z, 0-9 and _.:@-"),
            ("x" * 129, "tenant: must be 1 to 128 characters of A-Z, a-z, 0-9 and _.:@-"),
            (7, "tenant: must be 1 to 128 characters of A-Z, a-z, 0-9 and _.:@-"),
        ],
    )
    def test_a_tenant_that_is_none(self, tenant: Any, expected: str) -> None:
        """Every row has the tenant, so it has a grammar."""
        assert [expected] == problems(BARE, tenant=tenant)

    def test_the_largest_event_is_admitted(self) -> None:
        """Each limit is the last value that passes."""
        event = bare(
            type="x" * 128,
            version=32_767,
            topic="/".join(["x" * 15] * 32),
            actor="x" * 255,
            ordering_key="x" * 255,
            idempotency_key="x" * 255,
            resource=Resource("x" * 255, "ü" * 255),
            metadata={f"{n:0256}": "x" * 256 for n in range(32)},
            data=nested(32),
        )

        assert "a.b:c@d-e_f" == admitted(event, tenant="a.b:c@d-e_f").tenant

    def test_every_problem_is_reported_at_once(self) -> None:
        """The caller can correct the event once, not problem by problem."""
        event = Event(
            type="order shipped",
            data={"items": [{}, {}, {}, {"price": float("nan")}], "when": NAIVE},
            topic="a//b*",
            resource=Resource("order", ""),
            actor="",
            idempotency_key="x" * 256,
            trace="xyz",
            metadata={"a": "\x00"},
            occurred_at=NAIVE,
            expires_at=NOW,
            version=0,
        )

        assert [
            "type: must be words of A-Z, a-z, 0-9 and _, joined by full stops",
            "version: must be a number from 1 to 32767",
            "actor: is empty",
            "idempotency_key: longer than 255",
            "topic: has an empty segment",
            "topic: has a '*', which only patterns may have",
            "resource.id: is empty",
            "trace: must be a W3C traceparent",
            "metadata.a: has control characters",
            "occurred_at: has no zone",
            "expires_at: must be after the time of publishing",
            "data.items[3].price: NaN is not JSON",
            "data.when: datetime is not JSON; give it as text (isoformat), or publish a typed event",
        ] == problems(event)

    @pytest.mark.parametrize(
        ("trace", "valid"),
        [
            (TRACE, True),
            ("00-" + "a" * 32 + "-" + "b" * 16 + "-00", True),
            ("01-" + "a" * 32 + "-" + "b" * 16 + "-00-later", True),
            ("cc-" + "a" * 32 + "-" + "b" * 16 + "-00", True),
            ("00-" + "a" * 32 + "-" + "b" * 16 + "-00-later", False),
            ("ff-" + "a" * 32 + "-" + "b" * 16 + "-00", False),
            ("00-" + "0" * 32 + "-" + "b" * 16 + "-00", False),
            ("00-" + "a" * 32 + "-" + "0" * 16 + "-00", False),
            ("00-" + "A" * 32 + "-" + "b" * 16 + "-00", False),
            ("00-" + "a" * 31 + "-" + "b" * 16 + "-00", False),
            ("01-" + "0" * 32 + "-" + "b" * 16 + "-00", False),
        ],
    )
    def test_traces_follow_the_w3c_grammar(self, trace: str, valid: bool) -> None:
        """Version ff and ids of zeros are invalid; versions to come may be longer."""
        if valid:
            assert trace == admitted(bare(trace=trace)).trace
        else:
            assert ["trace: must be a W3C traceparent"] == problems(bare(trace=trace))

    @pytest.mark.parametrize(
        ("trace", "expected"), [(5, "must be text"), ("x" * 129, "longer than 128"), ("\n", "has control characters")]
    )
    def test_a_trace_is_short_text(self, trace: Any, expected: str) -> None:
        """It becomes a header."""
        assert [f"trace: {expected}"] == problems(bare(trace=trace))


class TestData:
    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            ({"items": [0, 0, 0, {"price": float("nan")}]}, ["data.items[3].price: NaN is not JSON"]),
            ({"x": None, "y": float("inf")}, ["data.y: Infinity is not JSON"]),
            ({"x": 2**64}, ["data.x: an integer beyond 64 bits"]),
            ({1: "x"}, ["data: the key 1 is not text"]),
            ({"x": b""}, ["data.x: bytes is not JSON"]),
            ({"x": "\ud800"}, ["data.x: half of a surrogate pair is no character"]),
        ],
    )
    def test_what_is_not_json_is_refused(self, data: Any, expected: list[str]) -> None:
        """With the path of each problem."""
        assert expected == problems(bare(data=data))

    def test_the_body_is_bounded(self) -> None:
        """To the byte."""
        room = 1000 - len(admitted(bare(data={"x": ""})).body)
        limits = Limits(body=1000)

        assert 1000 == len(admitted(bare(data={"x": "y" * room}), limits=limits).body)
        assert ["data: the body has 1001 bytes, at most 1000"] == problems(
            bare(data={"x": "y" * (room + 1)}), limits=limits
        )
        assert 256 * 1024 == DEFAULT_LIMITS.body

    def test_depth_is_bounded(self) -> None:
        """Thirty-two levels, however wide and of whatever type."""
        wide = [{"a": [1, 2, ("x", {"y": True})]}] * 50

        assert admitted(bare(data={"wide": wide, "deep": nested(31)}))
        assert [f"data.deep{'.a' * 31}: nested deeper than 32 levels"] == problems(bare(data={"deep": nested(32)}))
        assert [f"data.deep[0]{'.a' * 30}: nested deeper than 32 levels"] == problems(
            bare(data={"deep": (nested(31),)})
        )

    def test_depth_is_counted_in_unusual_containers_too(self) -> None:
        """A mapping of another kind is an object all the same."""
        deep: Any = "end"
        for _ in range(32):
            deep = MappingProxyType({"a": deep})

        assert admitted(bare(data=deep))
        assert ["data.a" + ".a" * 31 + ": nested deeper than 32 levels"] == problems(bare(data={"a": deep}))

    def test_braces_inside_of_texts_are_no_containers(self) -> None:
        """The counts over the bytes only decide whether to walk."""
        data = {"x": '{[":' * 1000}

        assert data == json.loads(admitted(bare(data=data)).body)["data"]

    def test_keys_are_bounded(self) -> None:
        """A thousand in all objects together."""
        data = {f"k{n}": {"x": 1} for n in range(500)}

        assert admitted(bare(data=data))
        assert ["data: 1001 keys in all, at most 1000"] == problems(bare(data={**data, "one": "more"}))

    def test_data_that_contains_itself_is_refused(self) -> None:
        """It has no text."""
        data: dict[str, Any] = {}
        data["again"] = data

        assert ["data.again: contains itself"] == problems(bare(data=data))

    @pytest.mark.parametrize("join", [lambda value: {"a": value, "b": value}, lambda value: [value, value]])
    def test_shared_objects_that_unfold_to_a_huge_body_are_never_serialised(
        self, monkeypatch: pytest.MonkeyPatch, join: Any
    ) -> None:
        """A graph of 24 levels would have become 350 MiB; now the walk stops at the limit of the body."""
        monkeypatch.setattr(admit_module, "dumps", lambda _: pytest.fail("serialised"))
        value: Any = {"end": "x"}
        for _ in range(24):
            value = join(value)

        assert "data: too large, at most 262144 bytes" == problems(bare(data={"graph": value}))[0]

    def test_a_long_text_that_is_met_often_is_never_serialised(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As a value or as a key: what is shared counts each time."""
        monkeypatch.setattr(admit_module, "dumps", lambda _: pytest.fail("serialised"))
        long = "x" * 100_000

        assert ["data: too large, at most 262144 bytes"] == problems(bare(data={"texts": [long] * 100_000}))
        assert ["data: too large, at most 262144 bytes"] == problems(bare(data={"keys": [{long: 1}] * 900}))

    def test_an_unforeseen_failure_is_a_refusal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """If only the JSON writer knows what is wrong, its message is passed on."""
        monkeypatch.setattr(admit_module, "json_problems", lambda *_, **__: [])

        (problem,) = problems(bare(data={"x": b""}))

        assert re.fullmatch(r"data: .*bytes is not JSON", problem)


class TestChecks:
    def test_the_check_sees_what_receivers_will_see(self) -> None:
        """Its problems join the others."""
        seen: list[Any] = []

        def check(data: Any) -> list[str]:
            seen.append(data)
            return ["data.a: too small"]

        found = problems(bare(data={"a": (1, Priority.LOW)}, actor=""), check=check)

        assert [{"a": [1, "low"]}] == seen
        assert ["actor: is empty", "data.a: too small"] == found

    def test_a_content_check_does_not_run_on_data_that_has_no_body(self) -> None:
        """What is not JSON, or too large, is refused before the content check."""

        def check(data: Any) -> list[str]:
            pytest.fail("checked")

        assert ["data.a: bytes is not JSON"] == problems(bare(data={"a": b""}), check=check)
        assert 1 == len(problems(bare(data={"a": "x" * 300_000}), check=check))

    def test_a_check_without_problems_admits(self) -> None:
        """It only ever refuses."""
        assert admitted(BARE, check=lambda data: [])


class TestFingerprint:
    def test_the_same_content_has_the_same_fingerprint(self) -> None:
        """Whenever, under whatever id and in whatever trace it is published again."""
        first = admitted(FULL)
        again = admit(
            attrs.evolve(FULL, trace=None, metadata={"empty": "", "source": "web"}),
            None,
            tenant="acme",
            now=NOW + timedelta(minutes=5),
        )

        assert first.id != again.id
        assert first.fingerprint == again.fingerprint

    def test_the_time_of_publishing_is_no_content(self) -> None:
        """Unless the caller says when it happened."""
        event = bare(idempotency_key="k")
        at = NOW - timedelta(hours=1)

        assert admitted(event).fingerprint == admitted(event, now=NOW + timedelta(hours=1)).fingerprint
        assert admitted(event).fingerprint != admitted(attrs.evolve(event, occurred_at=NOW)).fingerprint
        assert (
            admitted(attrs.evolve(event, occurred_at=at)).fingerprint
            == admitted(attrs.evolve(event, occurred_at=at.astimezone(timezone(timedelta(hours=3))))).fingerprint
        )

    def test_who_tries_again_later_publishes_the_same(self) -> None:
        """Also if the event has become due meanwhile."""
        event = bare(deliver_at=NOW + timedelta(minutes=1), idempotency_key="k")

        later = admitted(event, now=NOW + timedelta(hours=1))

        assert admitted(event).fingerprint == later.fingerprint
        assert NOW + timedelta(hours=1) == later.due_at

    def test_tenants_have_keys_of_their_own(self) -> None:
        """The fingerprint does not depend on the tenant."""
        event = attrs.evolve(FULL, tenant=None)

        assert admitted(event).fingerprint == admitted(event, tenant="globex").fingerprint

    @pytest.mark.parametrize(
        "changes",
        [
            {"type": "order.made"},
            {"data": {"order_id": "A-2", "note": None}},
            {"data": {"order_id": "A-1"}},
            {"version": 1},
            {"topic": "shop/7"},
            {"topic": None},
            {"resource": Resource("order", "A-2")},
            {"resource": None},
            {"actor": None},
            {"actor": "user:1"},
            {"occurred_at": NOW},
            {"occurred_at": None},
            {"deliver_at": None},
            {"expires_at": NOW + timedelta(hours=3)},
            {"expires_at": None},
            {"priority": Priority.LOW},
            {"ordering_key": "other"},
            {"ordering_key": None},
            {"metadata": {"source": "app", "empty": ""}},
            {"metadata": {}},
        ],
    )
    def test_other_content_has_another_fingerprint(self, changes: dict[str, Any]) -> None:
        """Every part of what was published counts."""
        assert admitted(FULL).fingerprint != admitted(attrs.evolve(FULL, **changes)).fingerprint

    def test_the_priority_of_the_type_counts_too(self) -> None:
        """An event with another priority is another event."""
        event = bare(idempotency_key="k")

        assert admitted(event).fingerprint != (
            admitted(event, EventType(name="order.shipped", priority=Priority.LOW)).fingerprint
        )

    def test_no_key_no_fingerprint(self) -> None:
        """It would cost time for nothing."""
        assert admitted(attrs.evolve(FULL, idempotency_key=None)).fingerprint is None


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=2),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=3), ANYTHING, max_size=4))
def test_data_is_admitted_exactly_if_the_walk_finds_nothing(data: dict[str, Any]) -> None:
    """The shortcut over the bytes and the full walk never disagree."""
    limits = Limits(depth=3, keys=6)
    expected = codec.json_problems(data, path="data", max_depth=limits.depth, max_keys=limits.keys)

    if expected:
        assert expected == problems(bare(data=data), limits=limits)
    else:
        assert data == json.loads(admitted(bare(data=data), limits=limits).body)["data"]
