"""Planning: which endpoints get an event, in which state, and why the others do not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifykit.codec import dumps, loads
from notifykit.models.delivery import DeliveryState, NewDelivery, Priority
from notifykit.models.endpoint import Endpoint, EndpointState
from notifykit.models.event import TakenEvent
from notifykit.models.ids import delivery_id, recipient_key
from notifykit.models.subscription import Subscription, TenantConfig
from notifykit.policies import plan as plan_module
from notifykit.policies.filters import compile_filter
from notifykit.policies.patterns import compile_pattern
from notifykit.policies.plan import SubscriptionIndex, Verdict, explain, only_to, plan, plan_page

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
EVENT_ID = "evt_01HWTG0000ABCDEFGHJKMNPQRS"


def endpoint(id: str, state: EndpointState = EndpointState.ACTIVE) -> Endpoint:
    return Endpoint(id=id, tenant="acme", url="https://acme.example/", state=state, created_at=NOW, updated_at=NOW)


def subscription(id: str, *types: str, to: str = "end_1", **changes: Any) -> Subscription:
    return Subscription(
        id=id,
        tenant="acme",
        event_types=types or ("**",),
        subscriber_id=to,
        created_at=NOW,
        updated_at=NOW,
        **changes,
    )


def index_of(*subscriptions: Subscription, endpoints: tuple[Endpoint, ...] = (endpoint("end_1"),)) -> SubscriptionIndex:
    return SubscriptionIndex.of(TenantConfig("acme", 1, endpoints, subscriptions))


def event(
    type: str = "order.shipped",
    topic: str | None = None,
    data: Mapping[str, Any] | None = None,
    expires_at: datetime | None = None,
) -> TakenEvent:
    body = dumps({"type": type, "timestamp": "2024-05-01T12:00:00Z", "data": data or {}})
    return TakenEvent(EVENT_ID, 3, "acme", type, topic, Priority.HIGH, "order:1", NOW, expires_at, body, None, 1)


def recipients(event: TakenEvent, index: SubscriptionIndex) -> list[str]:
    return [delivery.subscription_id for delivery in plan(event, index, now=NOW)]


class TestWho:
    def test_a_delivery_carries_what_sending_needs(self) -> None:
        """Its id is derived from the event and the recipient; the rest comes from the event."""
        index = index_of(subscription("sub_1", "order.shipped"))
        expires_at = NOW + timedelta(hours=1)

        planned = plan(event(expires_at=expires_at), index, now=NOW)

        assert [
            NewDelivery(
                id=delivery_id(EVENT_ID, recipient_key("end_1", "webhook", "")),
                event_id=EVENT_ID,
                tenant="acme",
                subscription_id="sub_1",
                subscriber_id="end_1",
                channel="webhook",
                priority=Priority.HIGH,
                state=DeliveryState.PENDING,
                reason=None,
                due_at=NOW,
                expires_at=expires_at,
                ordering_key="order:1",
            )
        ] == planned

    def test_planning_again_makes_the_same_ids(self) -> None:
        """So a second planner of the same event writes nothing new."""
        subscriptions = subscription("sub_1"), subscription("sub_2", to="end_2")
        endpoints = endpoint("end_1"), endpoint("end_2")

        first = plan(event(), index_of(*subscriptions, endpoints=endpoints), now=NOW)
        second = plan(event(), index_of(*subscriptions, endpoints=endpoints), now=NOW + timedelta(hours=1))

        assert [delivery.id for delivery in first] == [delivery.id for delivery in second]
        assert 2 == len({delivery.id for delivery in first})

    @pytest.mark.parametrize("most", [1, 2, 3, 7, 100])
    def test_pages_make_what_one_plan_makes(self, most: int) -> None:
        """Page by page every endpoint gets its one delivery; equal ids identify what is on two pages."""
        patterns = ("**", "order.*", "order.shipped", "user.*")
        index = index_of(
            *(subscription(f"sub_{i:02}", patterns[i % 4], to=f"end_{i % 5}") for i in range(20)),
            endpoints=tuple(endpoint(f"end_{i}") for i in range(5)),
        )
        whole = plan(event(), index, now=NOW)

        paged: dict[str, NewDelivery] = {}
        at = event()
        while True:
            page, cursor = plan_page(at, index, now=NOW, most=most)
            assert len(page) <= most
            for new in page:
                paged.setdefault(new.id, new)
            if cursor is None:
                break
            assert at.cursor is None or at.cursor < cursor
            at = at._replace(cursor=cursor)

        assert whole == list(paged.values())

    def test_a_page_continues_although_its_last_subscription_was_removed(self) -> None:
        """A cursor is a place in the order, not a subscription that has to exist."""
        subscriptions = [subscription(f"sub_{i}", to=f"end_{i}") for i in range(4)]
        endpoints = tuple(endpoint(f"end_{i}") for i in range(4))
        _, cursor = plan_page(event(), index_of(*subscriptions, endpoints=endpoints), now=NOW, most=2)

        rest, end = plan_page(
            event()._replace(cursor=cursor), index_of(*subscriptions[2:], endpoints=endpoints), now=NOW, most=2
        )

        assert (["sub_2", "sub_3"], None) == ([new.subscription_id for new in rest], end)

    def test_one_delivery_per_endpoint_and_the_first_subscription_counts(self) -> None:
        """However many subscriptions match, and whatever order they were read in."""
        index = index_of(
            subscription("sub_4", "order.*"),
            subscription("sub_2", "**"),
            subscription("sub_1", "order.shipped", filter={"total": [1]}),
            subscription("sub_3", "order.shipped", "order.*", to="end_2"),
            endpoints=(endpoint("end_1"), endpoint("end_2")),
        )

        assert ["sub_2", "sub_3"] == recipients(event(data={"total": 2}), index)
        assert ["sub_1", "sub_3"] == recipients(event(data={"total": 1}), index)

    def test_each_channel_has_its_own_delivery(self) -> None:
        """The unit is one subscriber over one channel."""
        index = index_of(subscription("sub_1"), subscription("sub_2", channel="email"))

        assert ["sub_1", "sub_2"] == recipients(event(), index)

    @pytest.mark.parametrize(
        ("types", "topic", "filter", "expected"),
        [
            (("order.shipped",), None, None, True),
            (("order.made", "order.shipped"), None, None, True),
            (("order.made",), None, None, False),
            (("order.*",), None, None, True),
            (("*.*.*",), None, None, False),
            (("order.shipped",), "shop/7/order/1", None, True),
            (("order.shipped",), "shop/7/**", None, True),
            (("**",), "**/1", None, True),
            (("**",), "shop/8/**", None, False),
            (("**",), "shop/7/*", None, False),
            (("order.*",), "shop/*/order/*", {"total": [{"numeric": [">", 10]}]}, True),
            (("order.*",), "shop/*/order/*", {"total": [{"numeric": [">", 99]}]}, False),
        ],
    )
    def test_type_topic_and_filter_must_all_match(
        self, types: tuple[str, ...], topic: str | None, filter: dict[str, Any] | None, expected: bool
    ) -> None:
        """Each of them can exclude a subscription."""
        index = index_of(subscription("sub_1", *types, topic=topic, filter=filter))

        assert expected is bool(recipients(event(topic="shop/7/order/1", data={"total": 50}), index))

    def test_an_event_without_a_topic_matches_only_patterns_of_nothing(self) -> None:
        """``**`` is any number of words, also none."""
        index = index_of(
            subscription("sub_1", topic="shop/**"),
            subscription("sub_2", topic="**", to="end_2"),
            endpoints=(endpoint("end_1"), endpoint("end_2")),
        )

        assert ["sub_2"] == recipients(event(), index)

    def test_disabled_subscriptions_and_lost_endpoints_make_nothing(self) -> None:
        """Not even a suppressed delivery."""
        index = index_of(subscription("sub_1", enabled=False), subscription("sub_2", to="end_9"))

        assert [] == recipients(event(), index)

    @pytest.mark.parametrize(
        "broken",
        [
            {"filter": {"a": "not a list"}},
            {"topic": "shop//7"},
            {"topic": "**/x*"},
            {"topic": "/".join(["x"] * 40)},
        ],
    )
    def test_an_unreadable_subscription_stops_no_other(self, broken: dict[str, Any]) -> None:
        """It matches nothing, and explain says so."""
        bad, good = subscription("sub_1", **broken), subscription("sub_2")
        index = index_of(bad, good)
        published = event(topic="/".join(["x"] * 40))

        assert ["sub_2"] == recipients(published, index)
        assert [(bad, "subscription_invalid"), (good, "matched")] == explain(published, index)

    def test_a_type_pattern_that_cannot_be_read_matches_nothing(self) -> None:
        """Neither a wild nor an oversized one."""
        huge = ".".join(["x"] * 40)
        subscriptions = subscription("sub_1", "**.a-b"), subscription("sub_2", huge)
        index = index_of(*subscriptions)

        assert [] == recipients(event(huge), index)
        assert [Verdict.SUBSCRIPTION_INVALID] * 2 == [verdict for _, verdict in explain(event(huge), index)]

    def test_data_is_read_once_and_only_for_filters(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The body is not parsed unless a match has a filter."""
        reads: list[bytes] = []

        def counted(body: bytes) -> Any:
            reads.append(body)
            return loads(body)

        monkeypatch.setattr(plan_module, "loads", counted)
        endpoints = tuple(endpoint(f"end_{n}") for n in range(4))
        plain = index_of(subscription("sub_1"), endpoints=endpoints)
        other = index_of(subscription("sub_1"), subscription("sub_2", "other", filter={"a": [1]}), endpoints=endpoints)
        filtered = index_of(
            *(subscription(f"sub_{n}", to=f"end_{n}", filter={"a": [n % 2]}) for n in range(4)), endpoints=endpoints
        )

        plan(event(data={"a": 1}), plain, now=NOW)
        plan(event(data={"a": 1}), other, now=NOW)
        assert [] == reads

        assert ["sub_1", "sub_3"] == recipients(event(data={"a": 1}), filtered)
        assert 1 == len(reads)


class TestAddressed:
    def test_an_addressed_event_goes_to_its_endpoint_alone(self) -> None:
        """Other subscriptions do not matter."""
        wish = subscription("sub_1", topic="**")
        index = index_of(wish, subscription("sub_2"), endpoints=(endpoint("end_1"), endpoint("end_2")))
        addressed = event(topic=only_to("end_2"))

        (planned,) = plan(addressed, index, now=NOW)

        assert ("end_2", "", DeliveryState.PENDING) == (planned.subscriber_id, planned.subscription_id, planned.state)
        assert delivery_id(EVENT_ID, recipient_key("end_2", "webhook", "")) == planned.id
        assert ["topic_mismatch"] * 2 == [verdict for _, verdict in explain(addressed, index)]

    def test_a_removed_endpoint_gets_nothing(self) -> None:
        """There is no endpoint to deliver to."""
        assert [] == recipients(event(topic=only_to("end_9")), index_of(subscription("sub_1")))


class TestStates:
    @pytest.mark.parametrize(
        ("state", "expected"),
        [
            (EndpointState.ACTIVE, (DeliveryState.PENDING, None, NOW)),
            (EndpointState.PAUSED, (DeliveryState.HELD, "endpoint_paused", NOW + timedelta(minutes=5))),
            (EndpointState.DISABLED, (DeliveryState.SUPPRESSED, "endpoint_disabled", NOW)),
        ],
    )
    def test_the_endpoint_decides_how_a_delivery_starts(
        self, state: EndpointState, expected: tuple[DeliveryState, str | None, datetime]
    ) -> None:
        """Active is due, paused is held for a new decision, disabled is suppressed."""
        index = index_of(subscription("sub_1"), endpoints=(endpoint("end_1", state),))

        (planned,) = plan(event(), index, now=NOW)

        assert expected == (planned.state, planned.reason, planned.due_at)

    @pytest.mark.parametrize("state", list(EndpointState))
    def test_an_expired_event_makes_expired_deliveries(self, state: EndpointState) -> None:
        """It is too late for every endpoint, and each gets an expired delivery."""
        index = index_of(subscription("sub_1"), endpoints=(endpoint("end_1", state),))

        (late,) = plan(event(expires_at=NOW), index, now=NOW)
        (early,) = plan(event(expires_at=NOW + timedelta(seconds=1)), index, now=NOW)

        assert (DeliveryState.EXPIRED, "expired") == (late.state, late.reason)
        assert early.state is not DeliveryState.EXPIRED


class TestExplain:
    def test_every_subscription_gets_its_reason(self) -> None:
        """In the order of ids, one stable code each."""
        endpoints = (
            endpoint("end_1"),
            endpoint("end_2", EndpointState.DISABLED),
            endpoint("end_3", EndpointState.PAUSED),
        )
        subscriptions = [
            subscription("sub_a", enabled=False),
            subscription("sub_b", "user.*"),
            subscription("sub_c", topic="shop/8/**"),
            subscription("sub_d", filter={"total": [1]}),
            subscription("sub_e", to="end_9"),
            subscription("sub_f", to="end_2"),
            subscription("sub_g", to="end_2"),
            subscription("sub_h", "order.shipped", topic="shop/*/**", filter={"total": [2]}),
            subscription("sub_i"),
            subscription("sub_j", to="end_3"),
            subscription("sub_k", channel="email"),
        ]
        published = event(topic="shop/7/order/1", data={"total": 2})

        verdicts = explain(published, index_of(*reversed(subscriptions), endpoints=endpoints))

        assert subscriptions == [subscription for subscription, _ in verdicts]
        assert [
            "subscription_disabled",
            "type_mismatch",
            "topic_mismatch",
            "filter_mismatch",
            "endpoint_missing",
            "endpoint_disabled",
            "endpoint_disabled",
            "matched",
            "duplicate_endpoint",
            "matched",
            "matched",
        ] == [verdict for _, verdict in verdicts]


TYPE_PATTERNS = st.sampled_from(["a", "a.b", "a.*", "*.b", "**", "a.**", "**.b", "c", "a.b.c", "*", "a.*.c"])
TOPIC_PATTERNS = st.sampled_from([None, "x", "x/y", "x/*", "**", "**/y", "x/**", "*/y", "x/**/z"])
FILTERS = st.sampled_from([None, {"n": [1]}, {"n": [{"exists": False}]}, {"n": [{"numeric": [">", 1]}]}])


@st.composite
def configurations(draw: st.DrawFn) -> TenantConfig:
    states = draw(st.lists(st.sampled_from(list(EndpointState)), max_size=3))
    subscriptions = [
        subscription(
            f"sub_{number:02}",
            *draw(st.lists(TYPE_PATTERNS, min_size=1, max_size=3)),
            to=f"end_{draw(st.integers(0, 3))}",
            topic=draw(TOPIC_PATTERNS),
            filter=draw(FILTERS),
            enabled=draw(st.booleans() | st.just(True)),
        )
        for number in range(draw(st.integers(0, 8)))
    ]
    return TenantConfig(
        "acme",
        1,
        tuple(endpoint(f"end_{number}", state) for number, state in enumerate(states)),
        tuple(draw(st.permutations(subscriptions))),
    )


@given(
    configurations(),
    st.sampled_from(["a", "a.b", "c", "a.b.c", "b"]),
    st.sampled_from([None, "x", "x/y", "x/q/z", "y"]),
    st.sampled_from([{}, {"n": 1}, {"n": 2}]),
)
def test_the_index_finds_what_asking_every_subscription_finds(
    config: TenantConfig, type: str, topic: str | None, data: dict[str, int]
) -> None:
    """Planning through the index and explaining one by one never disagree."""
    index = SubscriptionIndex.of(config)
    published = event(type, topic, data)
    seen: set[str] = set()
    expected = []
    for wish, verdict in explain(published, index):
        if verdict in (Verdict.MATCHED, Verdict.ENDPOINT_DISABLED) and wish.subscriber_id not in seen:
            seen.add(wish.subscriber_id)
            expected.append(wish.id)

    assert expected == recipients(published, index)


def test_few_of_many_subscriptions_are_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    """Among thousands of patterns and filters only those are tested that start with the event's words."""
    patterns, filters = [], []

    def counted_pattern(pattern: str, separator: str) -> Any:
        patterns.append(pattern)
        return compile_pattern(pattern, separator)

    def counted_filter(filter: Any) -> Any:
        filters.append(filter)
        return compile_filter(filter)

    monkeypatch.setattr(plan_module, "compile_pattern", counted_pattern)
    monkeypatch.setattr(plan_module, "compile_filter", counted_filter)
    shapes: list[dict[str, Any]] = [
        {"types": ("kind{n}.made",)},
        {"types": ("group{n}.*",), "filter": {"n": [1]}},
        {"types": ("order.*",), "topic": "shop/{n}/**"},
        {"types": ("order.shipped",), "topic": "shop/{n}/order/*", "filter": {"n": [{"numeric": [">", 0]}]}},
        {"types": ("**",), "topic": "shop/{n}/order/1", "filter": {"n": [1]}},
    ]
    subscriptions = [
        subscription(
            f"sub_{n:05}",
            *(pattern.format(n=n) for pattern in shapes[n % 5]["types"]),
            to=f"end_{n}",
            topic=shapes[n % 5]["topic"].format(n=n) if "topic" in shapes[n % 5] else None,
            filter=shapes[n % 5].get("filter"),
        )
        for n in range(5000)
    ]
    index = index_of(*subscriptions, endpoints=tuple(endpoint(f"end_{n}") for n in range(5000)))

    assert ["sub_01003"] == recipients(event(topic="shop/1003/order/1", data={"n": 1}), index)
    assert ["sub_01004"] == recipients(event(topic="shop/1004/order/1", data={"n": 1}), index)
    assert ["sub_01000"] == recipients(event("kind1000.made"), index)
    assert {"order.*", "**", "shop/1003/order/*"} == set(patterns)
    assert [{"n": [{"numeric": [">", 0]}]}, {"n": [1]}] == filters


def test_answers_that_are_kept_at_hand_are_bounded() -> None:
    """However many types are queried, each gets its own answer, and not all of them are cached."""
    many = 3 * plan_module._ASKED
    index = index_of(*(subscription(f"sub_{number:02}", f"order.t{number}") for number in range(many)))

    answers = [recipients(event(f"order.t{number}"), index) for _ in range(2) for number in range(many)]

    assert 2 * [[f"sub_{number:02}"] for number in range(many)] == answers
    assert len(index._asked) <= plan_module._ASKED


def test_an_index_says_what_it_was_made_from() -> None:
    """In the order of ids, in which subscriptions are tested."""
    first, second = subscription("sub_1"), subscription("sub_2", to="end_of_nobody")

    index = index_of(second, first)

    assert (first, second) == index.subscriptions
    assert EndpointState.ACTIVE is index.state_of(first)
    assert index.state_of(second) is None
    assert EndpointState.ACTIVE is index.state_of(attrs.evolve(second, channel="toy", address="toy:room-5"))
