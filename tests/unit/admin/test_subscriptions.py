"""Subscriptions: which endpoint gets which events, checked before they are stored."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from notifykit import DeliveryState, EventType, InvalidSubscriptionError, NotFoundError

ACME = "acme"
FILTER = {"order": {"total": [{"numeric": [">=", 100]}]}}


@pytest.fixture
async def subscription(kit, endpoint):
    return await kit.subscriptions.create(
        "order.*", tenant=ACME, endpoint_id=endpoint.id, topic="shop/7/**", filter=FILTER, description="big ones"
    )


async def test_a_subscription_has_what_was_given(kit, endpoint, subscription, clock):
    """Every condition is kept, and one pattern may be given without a list."""
    assert subscription == await kit.subscriptions.get(subscription.id, tenant=ACME)
    assert (("order.*",), "shop/7/**", FILTER) == (subscription.event_types, subscription.topic, subscription.filter)
    assert ("big ones", endpoint.id, True) == (
        subscription.description,
        subscription.subscriber_id,
        subscription.enabled,
    )
    assert (clock.now(), clock.now()) == (subscription.created_at, subscription.updated_at)


@pytest.mark.parametrize(
    ("conditions", "path"),
    [
        ({"event_types": ()}, "event_types"),
        ({"event_types": ["a.b"] * 101}, "event_types"),
        ({"event_types": ["a.b", "a..b"]}, "event_types[1]"),
        ({"event_types": ["a-b"]}, "event_types[0]"),
        ({"event_types": [5]}, "event_types[0]"),
        ({"topic": "shop//7"}, "topic"),
        ({"topic": 5}, "topic"),
        ({"filter": {"total": 5}}, "filter.total"),
        ({"filter": []}, "filter"),
        ({"description": "d" * 501}, "description"),
        ({"description": None}, "description"),
    ],
)
async def test_a_condition_that_is_none_is_refused(kit, endpoint, conditions, path):
    """New or changed, the problem begins with the condition's name, and nothing is stored or changed."""
    before = await kit.subscriptions.list(tenant=ACME)

    with pytest.raises(InvalidSubscriptionError) as created:
        await kit.subscriptions.create(
            **({"event_types": "order.*"} | conditions), tenant=ACME, endpoint_id=endpoint.id
        )
    with pytest.raises(InvalidSubscriptionError) as updated:
        await kit.subscriptions.update(before[0].id, tenant=ACME, **conditions)

    for refused in (created, updated):
        assert [path] == [problem.partition(":")[0] for problem in refused.value.problems]
    assert before == await kit.subscriptions.list(tenant=ACME)


async def test_every_problem_is_found_at_once(kit, endpoint):
    """All problems are reported together, not one after the other."""
    with pytest.raises(InvalidSubscriptionError) as refused:
        await kit.subscriptions.create("a-b", tenant=ACME, endpoint_id=endpoint.id, topic="//", filter={"a": 1})

    assert {"event_types[0]", "topic", "filter.a"} == {p.partition(":")[0] for p in refused.value.problems}


async def test_what_is_not_changed_stays(kit, subscription, clock):
    """Each condition can be changed by itself, or removed."""
    now = clock.advance(timedelta(hours=1))

    other = await kit.subscriptions.update(subscription.id, tenant=ACME, event_types="stock.*")
    wider = await kit.subscriptions.update(subscription.id, tenant=ACME, topic=None, filter=None)

    assert (("stock.*",), "shop/7/**", FILTER) == (other.event_types, other.topic, other.filter)
    assert (("stock.*",), None, None) == (wider.event_types, wider.topic, wider.filter)
    assert (subscription.created_at, now) == (wider.created_at, wider.updated_at)
    assert wider == await kit.subscriptions.get(subscription.id, tenant=ACME)


@pytest.mark.parametrize("field", ["id", "tenant_id", "subscriber_id", "created_at", "channel"])
async def test_what_makes_a_subscription_cannot_be_changed(kit, subscription, field):
    """For example, moving it to another endpoint is refused, and the error names the field."""
    with pytest.raises(InvalidSubscriptionError, match=f"{field}: cannot be changed"):
        await kit.subscriptions.update(subscription.id, tenant=ACME, **{field: "x"})

    assert subscription == await kit.subscriptions.get(subscription.id, tenant=ACME)


async def test_enabled_is_yes_or_no(kit, subscription):
    """A text is neither."""
    with pytest.raises(InvalidSubscriptionError, match="enabled: must be true or false"):
        await kit.subscriptions.update(subscription.id, tenant=ACME, enabled="no")


async def test_a_disabled_subscription_matches_nothing(kit, world, endpoint):
    """Until it is enabled again."""
    (everything,) = await kit.subscriptions.list(tenant=ACME)

    await kit.subscriptions.update(everything.id, tenant=ACME, enabled=False)
    disabled = await world.published()
    await kit.subscriptions.update(everything.id, tenant=ACME, enabled=True)
    enabled = await world.published()

    assert ([], [DeliveryState.DELIVERED]) == (disabled, [delivery.state for delivery in enabled])


async def test_a_subscription_needs_an_endpoint(kit):
    """One of the same tenant."""
    with pytest.raises(NotFoundError) as missing:
        await kit.subscriptions.create("order.*", tenant=ACME, endpoint_id="end_unknown")

    assert ("endpoint", "end_unknown") == (missing.value.kind, missing.value.id)


async def test_a_removed_subscription_leaves_its_deliveries(kit, world, endpoint):
    """Its deliveries stay; no new ones are made."""
    (everything,) = await kit.subscriptions.list(tenant=ACME)
    (delivery,) = await world.published()

    await kit.subscriptions.delete(everything.id, tenant=ACME)

    assert delivery == await kit.deliveries.get(delivery.id, tenant=ACME)
    assert [] == await world.published()
    with pytest.raises(NotFoundError):
        await kit.subscriptions.delete(everything.id, tenant=ACME)


async def test_pages_follow_the_order_of_creation(kit, endpoint):
    """A page begins behind the last id of the one before, and may be of one endpoint only."""
    other = await kit.endpoints.create("http://127.0.0.1:8080/other", tenant=ACME)
    created = [await kit.subscriptions.create("order.*", tenant=ACME, endpoint_id=other.id) for _ in range(5)]

    first = await kit.subscriptions.list(tenant=ACME, endpoint_id=other.id, limit=3)
    rest = await kit.subscriptions.list(tenant=ACME, endpoint_id=other.id, limit=3, after=first[-1].id)

    assert created == [*first, *rest]
    assert 6 == len(await kit.subscriptions.list(tenant=ACME))


class TestWarnings:
    async def test_a_subscription_that_can_never_match_has_warnings(self, kit, endpoint):
        """A valid subscription that can never match is stored; its warnings have a path, a code and a text."""
        kit.catalog.include([EventType(name="order.shipped")])
        odd = await kit.subscriptions.create(
            ["order.shipped", "order.shiped", "endpoint.disabled"],
            tenant=ACME,
            endpoint_id=endpoint.id,
            topic="shop.7",
            filter={"total": [{"numeric": [">", 5, "<", 3]}]},
        )

        found = await kit.subscriptions.warnings(odd.id, tenant=ACME)

        assert [
            ("event_types[1]", "unknown_type"),
            ("topic", "topic_is_no_path"),
            ("filter.total[0].numeric", "impossible_range"),
        ] == [(warning.path, warning.code) for warning in found]

    async def test_an_ordinary_subscription_has_none(self, kit, subscription):
        """Nor does one of any type, where the program has declared none."""
        assert () == await kit.subscriptions.warnings(subscription.id, tenant=ACME)

    async def test_sync_callers_have_them_too(self, kit, subscription):
        """Through ``kit.blocking``, in another thread."""
        found = await asyncio.to_thread(lambda: kit.blocking.subscriptions.warnings(subscription.id, tenant=ACME))

        assert () == found
