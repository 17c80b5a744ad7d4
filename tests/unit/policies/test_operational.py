"""Operational events go to subscriptions that name them."""

from __future__ import annotations

import attrs

from notifykit.models.event import OPERATIONAL, Event, TakenEvent
from notifykit.models.subscription import TenantConfig
from notifykit.policies.admit import admit, body_without_data, operational
from notifykit.policies.plan import SubscriptionIndex, Verdict, explain, plan
from notifykit.testing import START, make_endpoint, make_event, make_subscription

NAMING, ANY = make_endpoint(), make_endpoint()
CONFIG = TenantConfig(
    NAMING.tenant,
    1,
    (NAMING, ANY),
    (
        attrs.evolve(make_subscription(NAMING), event_types=("endpoint.*",)),
        attrs.evolve(make_subscription(ANY), event_types=("**",)),
    ),
)


def taken(topic: str | None) -> TakenEvent:
    """Return an event of an operational type, taken from the outbox."""
    event = make_event(type="endpoint.failing", topic=topic, body=b'{"type":"endpoint.failing","data":{}}')
    return TakenEvent(
        event.id, 1, event.tenant, event.type, event.topic, event.priority, None, START, None, event.body, None, 1
    )


def test_a_bare_wildcard_does_not_get_operational_events() -> None:
    """The same type from the business itself reaches both."""
    index = SubscriptionIndex.of(CONFIG)

    operational = [new.subscriber_id for new in plan(taken(OPERATIONAL), index, now=START)]
    ordinary = [new.subscriber_id for new in plan(taken(None), index, now=START)]

    assert [NAMING.id] == operational
    assert {NAMING.id, ANY.id} == set(ordinary)


def test_the_explanation_agrees() -> None:
    """The explanation says that the wildcard does not name the type."""
    verdicts = explain(taken(OPERATIONAL), SubscriptionIndex.of(CONFIG))

    by_endpoint = {subscription.subscriber_id: verdict for subscription, verdict in verdicts}
    assert {NAMING.id: Verdict.MATCHED, ANY.id: Verdict.TYPE_MISMATCH} == by_endpoint


def test_the_actor_is_the_person_whom_an_operational_event_is_about():
    """An erasure of the person finds it by that; one about an endpoint has none."""
    event = make_event(type="delivery.exhausted")

    about_person = operational(event, {"subscriber_id": "user:42"})
    about_endpoint = operational(event, {"endpoint_id": "end_1"})

    assert [(OPERATIONAL, "user:42"), (OPERATIONAL, None)] == [
        (each.topic, each.actor) for each in (about_person, about_endpoint)
    ]


def test_a_body_without_data_is_one_that_receivers_can_read():
    """It has type and time, as every body has."""
    stored = admit(Event(type="delivery.bounced", data={}), None, tenant="acme", now=START)

    assert stored.body == body_without_data("delivery.bounced", stored.occurred_at)
