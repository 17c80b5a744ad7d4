"""Deliveries and dead letters: list, redrive, cancel; and explain why an endpoint got an event or not."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from notifykit import DeliveryFilter, DeliveryState, Endpoint, Event, NotFoundError, StateError
from notifykit.models.outcome import Permanent, Transient

ACME = "acme"
URL = "http://127.0.0.1:8080/hooks"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
REFUSED = Permanent(reason="http_413")


@pytest.fixture
async def dead(world, endpoint):
    """A dead letter."""
    world.answers[endpoint.id] = [REFUSED]
    (delivery,) = await world.published()
    assert DeliveryState.DEAD is delivery.state
    return delivery


@pytest.fixture
async def waiting(world, endpoint):
    """A delivery that waits for its second attempt."""
    world.answers[endpoint.id] = [Transient(reason="http_503")]
    (delivery,) = await world.published()
    assert DeliveryState.PENDING is delivery.state
    return delivery


class TestLooking:
    async def test_a_delivery_and_its_attempts(self, kit, dead):
        """The attempts are listed in order, with their outcomes."""
        attempts = await kit.deliveries.attempts(dead.id, tenant=ACME)

        assert dead == await kit.deliveries.get(dead.id, tenant=ACME)
        assert [(1, "permanent", "http_413")] == [(a.number, a.outcome, a.reason) for a in attempts]

    async def test_dead_letters_come_newest_first(self, kit, world, endpoint):
        """In pages, without those that arrived."""
        ids = []
        for refused in (True, True, False, True):
            world.answers[endpoint.id] = [REFUSED] if refused else []
            ids += [delivery.id for delivery in await world.published()]

        first = await kit.deliveries.dead(tenant=ACME, limit=2)
        rest = await kit.deliveries.dead(tenant=ACME, limit=2, before=first[-1].id)

        assert [ids[3], ids[1], ids[0]] == [delivery.id for delivery in (*first, *rest)]

    async def test_a_list_may_be_narrowed(self, kit, world, dead):
        """By state, event, type, endpoint and time."""
        (arrived,) = await world.published(type="stock.low")

        for wanted, expected in [
            (DeliveryFilter(), [arrived, dead]),
            (DeliveryFilter(states=frozenset({DeliveryState.DELIVERED})), [arrived]),
            (DeliveryFilter(event_id=dead.event_id), [dead]),
            (DeliveryFilter(event_type="stock.low"), [arrived]),
            (DeliveryFilter(subscriber_id="end_other"), []),
            (DeliveryFilter(until=dead.created_at), []),
        ]:
            assert expected == await kit.deliveries.list(wanted, tenant=ACME)


class TestRedriving:
    async def test_a_dead_letter_is_sent_again(self, kit, world, dead):
        """The same id and the same bytes, in a new generation with all its attempts."""
        await kit.deliveries.redrive(dead.id, tenant=ACME)
        await world.settles()

        again = await kit.deliveries.get(dead.id, tenant=ACME)
        (first, _), (second, _) = world.sent
        assert (DeliveryState.DELIVERED, 1, 2) == (again.state, again.generation, again.attempts)
        assert (first.delivery_id, first.body) == (second.delivery_id, second.body)
        assert 0 == second.tries

    async def test_what_arrived_may_be_sent_again_by_its_id(self, kit, world, endpoint):
        """The receiver may have lost it."""
        (delivered,) = await world.published()

        await kit.deliveries.redrive(delivered.id, tenant=ACME)
        await world.settles()

        assert 2 == len(world.sent)

    async def test_what_is_under_way_is_not_redriven(self, kit, waiting):
        """It is still going to be sent."""
        with pytest.raises(StateError, match="is pending: it is still being delivered"):
            await kit.deliveries.redrive(waiting.id, tenant=ACME)

    async def test_all_dead_letters_are_sent_again(self, kit, world, endpoint):
        """However many there are; what arrived is left alone."""
        world.answers[endpoint.id] = [REFUSED] * 1201
        await kit.apublish_many([Event(type="order.shipped", data={"n": n}) for n in range(1203)], tenant=ACME)
        await world.settles()

        count = await kit.deliveries.redrive_all(tenant=ACME)
        await world.settles()

        assert 1201 == count
        assert [] == await kit.deliveries.dead(tenant=ACME)
        assert 1203 + 1201 == len(world.sent)

    async def test_a_redrive_may_be_narrowed(self, kit, world, dead):
        """By everything that a list can be narrowed by; without states it means dead letters."""
        none = await kit.deliveries.redrive_all(DeliveryFilter(event_type="stock.low"), tenant=ACME)
        suppressed = frozenset({DeliveryState.SUPPRESSED})
        no_state = await kit.deliveries.redrive_all(DeliveryFilter(states=suppressed), tenant=ACME)
        some = await kit.deliveries.redrive_all(DeliveryFilter(event_id=dead.event_id), tenant=ACME)

        assert (0, 0, 1) == (none, no_state, some)

    async def test_recovering_sends_everything_that_was_missed(self, kit, world, endpoint, clock):
        """Dead, cancelled, expired and suppressed deliveries since a time, of one endpoint; nothing that arrived."""
        other = (await kit.subscribe("**", tenant=ACME, endpoint=f"{URL}/other"))[1]
        world.answers[other.id] = [REFUSED] * 10
        world.answers[endpoint.id] = [REFUSED]
        await world.published()
        since = clock.advance(HOUR)
        await world.published()
        world.answers[endpoint.id] = [REFUSED]
        await world.published()
        await kit.endpoints.disable(endpoint.id, tenant=ACME)
        await world.published()
        await kit.endpoints.resume(endpoint.id, tenant=ACME)
        until = clock.advance(HOUR)
        world.answers[endpoint.id] = [REFUSED]
        await world.published()
        before = len(world.sent)

        counts = [
            await kit.deliveries.recover(endpoint.id, tenant=ACME, since=since, until=until),
            await kit.deliveries.recover(endpoint.id, tenant=ACME, since=since),
        ]
        await world.settles()

        assert [2, 1] == counts
        assert [endpoint.id] * 3 == [target.subscriber_id for _, target in world.sent[before:]]

    async def test_what_retention_deleted_cannot_be_sent_again(self, kit, dead, clock):
        """Without its delivery there is no id to redrive."""
        await kit.store.purge(before=clock.advance(DAY), keys_before=clock.now(), limit=100)

        with pytest.raises(NotFoundError):
            await kit.deliveries.redrive(dead.id, tenant=ACME)


class TestCancelling:
    async def test_a_waiting_delivery_is_cancelled(self, kit, world, waiting, clock):
        """It is not tried again."""
        await kit.deliveries.cancel(waiting.id, tenant=ACME)
        clock.advance(DAY)
        await world.settles()

        cancelled = await kit.deliveries.get(waiting.id, tenant=ACME)
        assert (DeliveryState.CANCELLED, "cancelled", 1) == (cancelled.state, cancelled.reason, len(world.sent))

    async def test_what_has_ended_cannot_be_cancelled(self, kit, dead):
        """The error names its state."""
        with pytest.raises(StateError, match="is dead: only a waiting one"):
            await kit.deliveries.cancel(dead.id, tenant=ACME)


class TestExplaining:
    async def test_every_subscription_gets_its_reason(self, kit, world):
        """For each of the tenant's subscriptions there is the code of the reason, and the delivery's state."""
        endpoints = [await kit.endpoints.create(f"{URL}/{n}", tenant=ACME) for n in range(6)]
        off = await kit.endpoints.create(f"{URL}/off", tenant=ACME)
        conditions: list[tuple[dict[str, Any], Endpoint, str]] = [
            ({"event_types": "order.*"}, endpoints[0], "matched"),
            ({"event_types": "**"}, endpoints[0], "duplicate_endpoint"),
            ({"event_types": "stock.*"}, endpoints[1], "type_mismatch"),
            ({"event_types": "order.*", "topic": "shop/8/**"}, endpoints[2], "topic_mismatch"),
            ({"event_types": "order.*", "filter": {"order_id": ["B-2"]}}, endpoints[3], "filter_mismatch"),
            ({"event_types": "order.*"}, endpoints[4], "subscription_disabled"),
            ({"event_types": "order.*"}, off, "endpoint_disabled"),
        ]
        made = [
            await kit.subscriptions.create(**given, tenant=ACME, endpoint_id=target.id)
            for given, target, _ in conditions
        ]
        await kit.subscriptions.update(made[5].id, tenant=ACME, enabled=False)
        await kit.endpoints.disable(off.id, tenant=ACME)

        receipt = await kit.apublish(
            Event(type="order.shipped", data={"order_id": "A-1"}, topic="shop/7/A-1"), tenant=ACME
        )
        early = await kit.events.explain(receipt.event_id, tenant=ACME)
        await world.settles()
        late = await kit.events.explain(receipt.event_id, tenant=ACME)

        expected = [(subscription.id, verdict) for subscription, (_, _, verdict) in zip(made, conditions, strict=True)]
        assert expected == [(subscription.id, verdict) for subscription, verdict in late.verdicts]
        assert (False, (), receipt.event_id) == (early.planned, early.deliveries, early.event.id)
        assert late.planned
        assert {(endpoints[0].id, DeliveryState.DELIVERED), (off.id, DeliveryState.SUPPRESSED)} == {
            (delivery.subscriber_id, delivery.state) for delivery in late.deliveries
        }

    async def test_events_are_listed_newest_first(self, kit):
        """In pages, and by type."""
        ids = [
            (await kit.apublish(Event(type=type, data={}), tenant=ACME)).event_id
            for type in ("a.b", "a.b", "c.d", "a.b")
        ]

        first = await kit.events.list(tenant=ACME, type="a.b", limit=2)
        rest = await kit.events.list(tenant=ACME, type="a.b", limit=2, before=first[-1].id)

        assert [ids[3], ids[1], ids[0]] == [event.id for event in (*first, *rest)]
        assert 4 == len(await kit.events.list(tenant=ACME))


class TestChanges:
    async def poll(self, kit, cursor=None, **options):
        found = await kit.deliveries.changes(cursor, tenant=ACME, **options)
        return [(c.delivery.state.value, c.attempt and c.attempt.outcome) for c in found.changes], found.cursor

    async def test_each_poll_reports_what_has_happened_since_the_last(self, kit, world, endpoint, clock):
        """A failure and its retry, once each; what was there before the first poll is not reported."""
        await world.published()
        first, cursor = await self.poll(kit)
        world.answers[endpoint.id] = [Transient(reason="http_503")]
        await world.published()
        failed, cursor = await self.poll(kit, cursor)
        quiet, cursor = await self.poll(kit, cursor)
        clock.advance(HOUR)
        await world.settles()
        retried, cursor = await self.poll(kit, cursor)

        assert [] == first
        assert [("pending", "transient")] == failed
        assert [] == quiet
        assert [("delivered", "accepted")] == retried
        assert [] == (await self.poll(kit, cursor))[0]

    async def test_ends_without_an_attempt_are_reported(self, kit, waiting):
        """A waiting delivery is cancelled by an operator."""
        _, cursor = await self.poll(kit)
        await kit.deliveries.cancel(waiting.id, tenant=ACME)

        assert [("cancelled", None)] == (await self.poll(kit, cursor))[0]

    async def test_an_old_delivery_is_followed_while_it_is_open(self, kit, world, dead, clock):
        """A dead letter of yesterday that is redriven and sent again."""
        clock.advance(DAY)
        await kit.deliveries.redrive(dead.id, tenant=ACME)
        _, cursor = await self.poll(kit)
        await world.settles()

        assert [("delivered", "accepted")] == (await self.poll(kit, cursor))[0]

    async def test_a_filter_chooses(self, kit, world, endpoint):
        """By type, and by the state that a delivery has reached."""
        only_dead = DeliveryFilter(states=frozenset({DeliveryState.DEAD}))
        _, cursor = await self.poll(kit)
        await world.published()
        world.answers[endpoint.id] = [REFUSED]
        await world.published()

        assert [("dead", "permanent")] == (await self.poll(kit, cursor, wanted=only_dead))[0]
        assert [] == (await self.poll(kit, cursor, wanted=DeliveryFilter(event_type="user.created")))[0]

    async def test_a_flood_is_reported_in_part_and_marked_as_such(self, kit, world, endpoint, monkeypatch):
        """A poll is bounded, however much there is."""
        monkeypatch.setattr("notifykit.admin.changes.MOST", 2)
        found = await kit.deliveries.changes(tenant=ACME)
        for _ in range(3):
            await world.published()

        found = await kit.deliveries.changes(found.cursor, tenant=ACME)

        assert (2, False) == (len(found.changes), found.complete)

    async def test_what_retention_has_deleted_is_not_reported(self, kit, waiting, clock):
        """It was open, and there is nothing left to report."""
        _, cursor = await self.poll(kit)
        await kit.deliveries.cancel(waiting.id, tenant=ACME)
        clock.advance(DAY)
        before = clock.now() + DAY
        await kit.store.purge(before=before, keys_before=before, limit=10)

        assert [] == (await self.poll(kit, cursor))[0]
