"""The fixture ``outbox``: a host's tests see what was published and what came of it."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import anyio
import pytest
from anyio.from_thread import start_blocking_portal

import notifykit
from notifykit import (
    DeliveryFilter,
    DeliveryState,
    EgressRules,
    Event,
    InvalidEndpointError,
    InvalidEventError,
)
from notifykit.models.endpoint import RateLimit
from notifykit.models.outcome import BadRecipient, Permanent, Throttled, Transient
from notifykit.signing import Verifier
from notifykit.testing import Outbox
from tests.unit.testing_kit.shop import OrderCancelled, OrderShipped, ship, ship_async

BUSY = Transient(reason="http_503")


# ── what was published ─────────────────────────────────────────────────────────────────────────


def test_what_a_sync_program_publishes_through_the_default_kit_is_recorded(outbox):
    """A test needs no change in the program to see its events."""
    receipt = ship("A-1", resource=("order", "A-1"), topic="shop/7", metadata={"by": "test"})

    (event,) = outbox.events
    assert receipt.event_id == event.id
    assert ("order.shipped", "acme", {"order_id": "A-1"}) == (event.type, event.tenant, event.data)
    assert ("order", "A-1") == (event.resource.kind, event.resource.id)
    assert ("shop/7", {"by": "test"}) == (event.topic, event.metadata)
    assert outbox.clock.now() == event.published_at


async def test_what_an_async_program_publishes_is_recorded(outbox):
    """The same fixture serves async tests."""
    await ship_async("A-1")

    assert ["A-1"] == [event.data["order_id"] for event in outbox.events]


async def test_sync_and_async_publishers_share_one_outbox(outbox):
    """Threads, the test's own loop and another loop publish side by side, and all of it is there once."""
    with start_blocking_portal() as elsewhere:
        async with anyio.create_task_group() as group:
            for number in range(8):
                group.start_soon(ship_async, f"loop-{number}")
                group.start_soon(asyncio.to_thread, ship, f"thread-{number}")
        for number in range(8):
            await asyncio.wrap_future(elsewhere.start_task_soon(ship_async, f"other-{number}"))

    expected = {f"{where}-{number}" for where in ("loop", "thread", "other") for number in range(8)}
    assert sorted(expected) == sorted(event.data["order_id"] for event in outbox.events)


def test_a_program_that_configures_itself_gets_the_outbox_too(outbox):
    """``configure`` at start-up neither opens a database nor loses the event types it names."""
    kit = notifykit.configure("postgresql://nobody@nowhere.invalid/none", event_types=[OrderShipped])

    assert outbox.kit is kit
    with pytest.raises(InvalidEventError, match="order_id"):
        notifykit.publish(Event(type="order.shipped", data={"nonsense": 1}), tenant="acme")


def test_the_default_kit_is_back_after_the_test(monkeypatch, tmp_path):
    """An outbox leaves nothing behind."""
    monkeypatch.setattr("notifykit.default._kit", None)
    monkeypatch.setenv("NOTIFYKIT_URL", f"sqlite:///{tmp_path / 'own.db'}")
    before = notifykit.default_kit()

    with Outbox() as outbox:
        inside = notifykit.default_kit()

    assert outbox.kit is inside
    assert before is notifykit.default_kit()


def test_two_outboxes_do_not_see_each_other():
    """Each test starts with nothing."""
    with Outbox():
        ship("A-1")

    with Outbox() as second:
        assert [] == second.events


def test_an_idempotent_repeat_is_one_event(outbox):
    """The outbox shows what is stored, not how often it was asked for."""
    first, second = ship("A-1", idempotency_key="k"), ship("A-1", idempotency_key="k")

    assert (False, True) == (first.duplicate, second.duplicate)
    assert [first.event_id] == [event.id for event in outbox.events]


# ── assertions ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["order.shipped", OrderShipped, OrderShipped("A-2")])
def test_assert_published_finds_by_type_class_or_instance(outbox, kind):
    """A test names events as the program does."""
    notifykit.publish(OrderCancelled("A-2"), tenant="acme")
    ship("A-2")

    found = outbox.assert_published(kind, tenant="acme", order_id="A-2")

    assert outbox.events[1] == found


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("order.cancelled", {}),
        (OrderShipped("A-2"), {}),
        (OrderShipped, {"tenant": "other"}),
        (OrderShipped, {"order_id": "A-2"}),
        (OrderShipped, {"no_such_member": None}),
    ],
)
def test_assert_published_says_what_there_is_instead(outbox, kind, options):
    """A failure shows the published events, so that the test need not print them."""
    ship("A-1")

    with pytest.raises(AssertionError, match=r"order.shipped \{'order_id': 'A-1'\} \(tenant acme\)"):
        outbox.assert_published(kind, **options)


def test_assert_none_is_about_what_it_names(outbox):
    """Nothing of that kind, or of that tenant, or nothing at all."""
    outbox.assert_none()
    ship("A-1")

    outbox.assert_none(OrderCancelled)
    outbox.assert_none(tenant="other")
    with pytest.raises(AssertionError, match=r"order\.shipped"):
        outbox.assert_none()
    with pytest.raises(AssertionError, match=r"order\.shipped"):
        outbox.assert_none(OrderShipped, tenant="acme")


def test_a_class_that_was_not_declared_is_refused(outbox):
    """A typing error in a test is no proof that nothing was published."""
    with pytest.raises(InvalidEventError, match="datetime"):
        outbox.assert_none(datetime)


def test_one_selects_a_delivery_and_refuses_to_guess(outbox):
    """By kind, tenant and endpoint; several or none are a failure that says what there is."""
    first = outbox.subscribe(tenant="acme", endpoint="https://one.example/hooks")
    outbox.subscribe(tenant="acme", endpoint="https://two.example/hooks")
    ship("A-1")

    with pytest.raises(AssertionError, match=r"found 0; (.|\n)*outbox.deliver\(\)"):
        outbox.one(OrderShipped)
    outbox.deliver()
    with pytest.raises(AssertionError, match=r"found 2; (.|\n)*https://two.example/hooks \(delivered\)"):
        outbox.one(OrderShipped)

    assert first == outbox.one(OrderShipped, endpoint=first).endpoint
    assert first.id == outbox.one("order.shipped", endpoint=first.id).endpoint.id
    assert "https://two.example/hooks" == outbox.one(endpoint="https://two.example/hooks").endpoint.url


# ── deliveries ─────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_delivered_until_the_test_says_so(outbox):
    """Publishing and delivering are two steps, as they are in production."""
    outbox.subscribe(tenant="acme")
    ship("A-1")

    before = outbox.deliveries
    attempted = outbox.deliver()

    assert [] == before
    assert outbox.deliveries == attempted
    assert [("order.shipped", "acme", DeliveryState.DELIVERED, 1)] == [
        (d.type, d.tenant, d.state, d.attempts) for d in attempted
    ]


def test_the_request_is_the_one_that_the_receiver_would_get(outbox):
    """Body, headers and signature come from the real channel, and the receiver's own verifier accepts them."""
    secret = outbox.subscribe(tenant="acme", headers={"X-Shop": "7"}).secrets[0].value
    receipt = ship("A-1")

    outbox.deliver()

    delivery = outbox.one(OrderShipped)
    event = Verifier(secret, clock=lambda: outbox.clock.now().timestamp()).open(delivery.body, delivery.headers)
    assert (receipt.event_id, "order.shipped", {"order_id": "A-1"}) == (event.id, event.type, event.data)
    assert {"order_id": "A-1"} == delivery.json()["data"]
    assert ("7", "application/json") == (delivery.headers["x-shop"], delivery.headers["content-type"])
    assert "https://receiver.example/hooks" == delivery.requests[0].url


def test_subscriptions_decide_as_they_do_in_production(outbox):
    """Patterns, tenants and filters are the planner's own."""
    outbox.subscribe("order.*", tenant="acme", filter={"order_id": ["A-1"]}, endpoint="https://one.example/")
    outbox.subscribe("invoice.*", tenant="acme", endpoint="https://two.example/")
    outbox.subscribe("**", tenant="other", endpoint="https://three.example/")
    ship("A-1")
    ship("A-2")

    outbox.deliver()

    assert [("https://one.example/", "A-1")] == [
        (d.endpoint.url, d.json()["data"]["order_id"]) for d in outbox.deliveries
    ]


def test_a_failed_attempt_is_tried_again_when_it_is_due_and_not_before(outbox):
    """The clock is the test's, the schedule is the policy's, and there is no jitter."""
    outbox.subscribe(tenant="acme")
    started = outbox.clock.now()
    outbox.fail_next(BUSY, BUSY)
    ship("A-1")

    outbox.deliver()
    assert [] == outbox.advance(timedelta(seconds=4.999))
    assert 2 == outbox.advance(timedelta(seconds=0.001))[0].attempts
    outbox.advance(timedelta(hours=1))

    delivery = outbox.one()
    assert DeliveryState.DELIVERED == delivery.state
    assert [timedelta(0), timedelta(seconds=5), timedelta(seconds=305)] == [r.at - started for r in delivery.requests]
    assert [BUSY, BUSY] == [request.outcome for request in delivery.requests[:2]]
    assert started + timedelta(seconds=3605) == outbox.clock.now()


def test_every_attempt_sends_the_same_bytes_under_the_same_id(outbox):
    """Only the timestamp and the signature change from attempt to attempt."""
    outbox.subscribe(tenant="acme")
    outbox.fail_next(BUSY)
    ship("A-1")

    outbox.advance(timedelta(minutes=1))

    first, second = outbox.one().requests
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]


def test_a_delivery_that_keeps_failing_becomes_a_dead_letter_that_can_be_redriven(outbox):
    """Days of retries pass in one call; the kit's own verbs work on the result."""
    outbox.subscribe(tenant="acme")
    outbox.fail_next(*[BUSY] * 8)
    ship("A-1")

    outbox.advance(timedelta(days=3))
    dead = outbox.one()
    outbox.kit.blocking.deliveries.redrive(dead.id, tenant="acme")
    outbox.deliver()

    assert (DeliveryState.DEAD, "exhausted:http_503", 8) == (dead.state, dead.delivery.reason, dead.attempts)
    assert (DeliveryState.DELIVERED, 9) == (outbox.one().state, outbox.one().attempts)


@pytest.mark.parametrize(
    ("outcome", "state", "reason"),
    [
        (Permanent(reason="http_413"), DeliveryState.DEAD, "http_413"),
        (BadRecipient(reason="http_410"), DeliveryState.DEAD, "http_410"),
        (Throttled(reason="http_429", retry_after=timedelta(hours=2)), DeliveryState.PENDING, "http_429"),
    ],
)
def test_any_outcome_can_be_scripted(outbox, outcome, state, reason):
    """What an outcome leads to is decided by the library's rules."""
    outbox.subscribe(tenant="acme")
    outbox.fail_next(outcome)
    ship("A-1")

    outbox.deliver()

    assert (state, reason) == (outbox.one().state, outbox.one().delivery.reason)


def test_an_endpoint_that_answers_410_is_disabled(outbox):
    """A 410 takes effect within the same call."""
    endpoint = outbox.subscribe(tenant="acme")
    outbox.fail_next(BadRecipient(reason="http_410"))
    ship("A-1")
    outbox.deliver()

    ship("A-2")
    outbox.deliver()

    disabled = outbox.kit.blocking.endpoints.get(endpoint.id, tenant="acme")
    suppressed = outbox.kit.blocking.deliveries.list(
        DeliveryFilter(states=frozenset({DeliveryState.SUPPRESSED})), tenant="acme"
    )
    assert notifykit.EndpointState.DISABLED == disabled.state
    assert (1, 1) == (len(outbox.deliveries), len(suppressed))


def test_a_failure_can_be_meant_for_one_endpoint(outbox):
    """The other endpoints of the same event are not touched by it."""
    good = outbox.subscribe(tenant="acme", endpoint="https://good.example/")
    bad = outbox.subscribe(tenant="acme", endpoint="https://bad.example/")
    outbox.fail_next(BUSY, endpoint=bad)
    ship("A-1")

    outbox.deliver()

    assert DeliveryState.DELIVERED == outbox.one(endpoint=good).state
    assert DeliveryState.PENDING == outbox.one(endpoint=bad).state


def test_a_rate_limit_spreads_deliveries_over_time(outbox):
    """Tokens are refilled by the test's clock: what has to wait is neither lost nor attempted for nothing."""
    outbox.subscribe(tenant="acme", rate_limit=RateLimit(per_second=3, burst=2))
    outbox.subscribe(tenant="other")
    started = outbox.clock.now()
    for number in range(5):
        ship(f"A-{number}")
        ship(f"B-{number}", tenant="other")

    at_once = len(outbox.deliver())
    outbox.advance(timedelta(seconds=2))

    limited = [delivery for delivery in outbox.deliveries if delivery.tenant == "acme"]
    waits = [(delivery.requests[0].at - started).total_seconds() for delivery in limited]
    assert 2 + 5 == at_once
    assert [0, 0, 0.333, 0.667, 1] == [round(wait, 3) for wait in waits]
    assert {(DeliveryState.DELIVERED, 1)} == {(delivery.state, delivery.attempts) for delivery in limited}


def test_events_with_an_ordering_key_arrive_in_order(outbox):
    """A delivery that is blocked by a failed one of its key waits for the retry."""
    outbox.subscribe(tenant="acme")
    outbox.fail_next(BUSY)
    for order_id in ("first", "second", "third"):
        ship(order_id, ordering_key="A-1")

    outbox.advance(timedelta(seconds=10))

    sent = sorted((request.at, request.json()["data"]["order_id"]) for d in outbox.deliveries for request in d.requests)
    start = sent[0][0]
    assert [(0, "first"), (5, "first"), (5, "second"), (5, "third")] == [
        ((at - start).seconds, order_id) for at, order_id in sent
    ]


def test_a_failing_endpoint_opens_its_circuit_and_is_probed(outbox):
    """Circuits follow the test's clock too; operational events about them are among the deliveries only."""
    outbox.subscribe("order.*", tenant="acme", endpoint="https://well.example/")
    ill = outbox.subscribe("order.*", tenant="acme", endpoint="https://ill.example/")
    watcher = outbox.subscribe("endpoint.*", tenant="acme", endpoint="https://watch.example/")
    outbox.fail_next(*[BUSY] * 11, endpoint=ill)
    for number in range(12):
        ship(f"A-{number}")

    outbox.deliver()
    parked = [d.type for d in outbox.deliveries if d.endpoint.id == watcher.id]
    outbox.advance(timedelta(hours=1))

    told = [d.type for d in outbox.deliveries if d.endpoint.id == watcher.id]
    assert (["endpoint.failing"], ["endpoint.failing", "endpoint.recovered"]) == (parked, told)
    assert {DeliveryState.DELIVERED} == {delivery.state for delivery in outbox.deliveries}
    assert {"order.shipped"} == {event.type for event in outbox.events}


def test_what_is_scheduled_or_expires_follows_the_tests_clock(outbox):
    """``deliver_at`` is reached and ``expires_at`` is passed without waiting."""
    outbox.subscribe(tenant="acme")
    now = outbox.clock.now()
    ship("later", deliver_at=now + timedelta(days=1))
    outbox.fail_next(*[BUSY] * 2)
    ship("too late", expires_at=now + timedelta(minutes=1))

    outbox.advance(timedelta(hours=23))
    (short_lived,) = outbox.deliveries
    (later,) = outbox.advance(timedelta(hours=1))

    assert ("too late", DeliveryState.EXPIRED, 2) == (
        short_lived.event.data["order_id"],
        short_lived.state,
        short_lived.attempts,
    )
    assert ("later", now + timedelta(days=1)) == (later.event.data["order_id"], later.requests[0].at)


def test_the_clock_starts_now_or_where_the_test_wants_it():
    """A program that asks the system for the time agrees with an outbox without another setting."""
    start = datetime(2030, 1, 1, tzinfo=UTC)

    with Outbox() as present, Outbox(start=start) as future:
        assert abs(datetime.now(UTC) - present.clock.now()) < timedelta(minutes=1)
        assert start == future.clock.now()


def test_time_does_not_go_back(outbox):
    """A negative step is a mistake in the test."""
    with pytest.raises(ValueError, match="does not go back"):
        outbox.advance(timedelta(seconds=-1))


async def test_the_async_forms_let_the_tests_loop_go_on(outbox):
    """While ``aadvance`` works, another task of the test makes progress."""
    outbox.subscribe(tenant="acme")
    await ship_async("A-1")
    other_ran = asyncio.Event()
    asyncio.get_running_loop().call_soon(other_ran.set)

    (first,) = await outbox.adeliver()
    ran_meanwhile = other_ran.is_set()
    later = await outbox.aadvance(timedelta(days=1))

    assert (DeliveryState.DELIVERED, []) == (first.state, later)
    assert ran_meanwhile


# ── the kit ────────────────────────────────────────────────────────────────────────────────────


async def test_a_program_that_runs_its_own_dispatcher_does_not_race_with_its_test(outbox):
    """A dispatcher of the outbox's kit delivers nothing by itself, and waiting for it means delivering."""
    outbox.subscribe(tenant="acme")
    async with outbox.kit as kit, kit.dispatcher() as dispatcher:
        await kit.apublish(OrderShipped("A-1"), tenant="acme")
        untouched = await kit.stats()
        await dispatcher.drained()

    assert 1 == untouched.unplanned
    assert DeliveryState.DELIVERED == outbox.one().state


async def test_a_programs_endpoints_are_delivered_to(outbox):
    """Endpoints that the program creates are the ones that the outbox delivers to."""
    _, endpoint = await outbox.kit.subscribe("order.*", tenant="acme", endpoint="https://shop.example/hooks")
    await outbox.kit.endpoints.test(endpoint.id, tenant="acme")

    outbox.deliver()

    assert endpoint.id == outbox.one("notifykit.test").endpoint.id


def test_addresses_are_checked_as_in_production_but_no_name_is_looked_up(outbox, monkeypatch):
    """A test of a form for endpoints sees the refusals, and runs without a network."""
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: pytest.fail("a name was looked up"))

    outbox.subscribe(tenant="acme", endpoint="https://anything.example/hooks")
    for refused in ("http://plain.example/", "https://127.0.0.1/", "https://169.254.169.254/latest"):
        with pytest.raises(InvalidEndpointError):
            outbox.subscribe(tenant="acme", endpoint=refused)


class TestOptions:
    """A test module changes how its outbox is made by overriding one fixture."""

    @pytest.fixture
    def outbox_options(self):
        return {"event_types": [OrderShipped], "egress": EgressRules(allow=("127.0.0.0/8",), allow_http=True)}

    def test_the_options_reach_the_outbox(self, outbox):
        """Event types are checked, and the loopback is allowed."""
        outbox.subscribe(tenant="acme", endpoint="http://127.0.0.1:8000/hooks")

        with pytest.raises(InvalidEventError):
            notifykit.publish(Event(type="order.shipped", data={}), tenant="acme")


def test_no_thread_is_left_behind():
    """Closing an outbox ends what it and the program's blocking calls started."""
    before = set(threading.enumerate())

    with Outbox() as outbox:
        ship("A-1")
        outbox.kit.blocking.stats()

    assert set() == {thread for thread in threading.enumerate() if thread.is_alive()} - before


async def test_a_running_dispatcher_cannot_be_stepped():
    """A running dispatcher and the test's steps would do the same work twice."""
    async with notifykit.Notifykit("memory://") as kit, kit.dispatcher() as dispatcher:
        with pytest.raises(notifykit.StateError, match="running"):
            await dispatcher.step()


def test_each_call_may_come_from_a_loop_of_its_own(outbox):
    """Test clients that are not used as context managers start a loop for every request."""
    asyncio.run(ship_async("A-1"))
    asyncio.run(outbox.kit.apublish_many([OrderShipped("A-2"), OrderShipped("A-3")], tenant="acme"))
    ship("A-4")

    assert ["A-1", "A-2", "A-3", "A-4"] == [event.data["order_id"] for event in outbox.events]


def test_time_is_no_bare_number(outbox):
    """The error says how to write it."""
    with pytest.raises(TypeError, match="seconds=60"):
        outbox.advance(60)
