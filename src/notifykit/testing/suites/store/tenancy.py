"""Tenancy: for every other tenant a tenant's data does not exist."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import pytest

from ....models.delivery import Claim, DeliveryState, NewDelivery
from ....models.endpoint import Endpoint
from ....models.subscription import MatchQuery, Subscription
from ....ports import DeliveryFilter, Store
from ...builders import make_endpoint, make_event, make_subscription
from ...clock import FakeClock
from .steps import ACME, GLOBEX, HOUR, claim, given_delivery, given_ended, read


class Belongings(NamedTuple):
    """One of each thing that a tenant can have."""

    endpoint: Endpoint
    subscription: Subscription
    ended: Claim
    held: NewDelivery
    waiting: NewDelivery


#: What another tenant that knows every id might try, and what it gets.
Try = Callable[[Store, str, Belongings, FakeClock], Awaitable[object]]
READS: dict[str, tuple[Try, object]] = {
    "get_event": (lambda s, t, b, _: s.get_event(t, b.waiting.event_id), None),
    "find_events": (lambda s, t, _b, _: s.find_events(t, limit=10), []),
    "get_delivery": (lambda s, t, b, _: s.get_delivery(t, b.waiting.id), None),
    "get_ended_delivery": (lambda s, t, b, _: s.get_delivery(t, b.ended.delivery_id), None),
    "find_deliveries": (lambda s, t, _b, _: s.find_deliveries(t, DeliveryFilter(), limit=10), []),
    "find_deliveries_of_event": (
        lambda s, t, b, _: s.find_deliveries(t, DeliveryFilter(event_id=b.ended.event_id), limit=10),
        [],
    ),
    "find_deliveries_of_subscriber": (
        lambda s, t, b, _: s.find_deliveries(t, DeliveryFilter(subscriber_id=b.endpoint.id), limit=10),
        [],
    ),
    "attempts": (lambda s, t, b, _: s.attempts(t, b.ended.delivery_id), []),
    "get_endpoint": (lambda s, t, b, _: s.get_endpoint(t, b.endpoint.id), None),
    "find_endpoints": (lambda s, t, _b, _: s.find_endpoints(t, limit=10), []),
    "get_subscription": (lambda s, t, b, _: s.get_subscription(t, b.subscription.id), None),
    "find_subscriptions": (lambda s, t, _b, _: s.find_subscriptions(t, limit=10), []),
    "find_subscriptions_of_subscriber": (
        lambda s, t, b, _: s.find_subscriptions(t, subscriber_id=b.endpoint.id, limit=10),
        [],
    ),
    "load_tenant": (lambda s, t, _b, _: s.load_tenant(t), (GLOBEX, 0, (), ())),
    "load_small_tenant": (lambda s, t, _b, _: s.load_small_tenant(t, 100), (GLOBEX, 0, (), ())),
    "pick_endpoints": (lambda s, t, b, _: s.pick_endpoints(t, [b.endpoint.id]), []),
    "find_matches": (lambda s, t, _b, _: s.find_matches(t, [MatchQuery("a.b")], limit=10), [[]]),
}
WRITES: dict[str, tuple[Try, object]] = {
    "cancel": (lambda s, t, b, c: s.cancel(t, [b.waiting.id, b.held.id], now=c.now()), 0),
    "redrive": (lambda s, t, _b, c: s.redrive(t, DeliveryFilter(), now=c.now(), limit=10), 0),
    "redrive_of_event": (
        lambda s, t, b, c: s.redrive(t, DeliveryFilter(event_id=b.ended.event_id), now=c.now(), limit=10),
        0,
    ),
    "redrive_of_subscriber": (
        lambda s, t, b, c: s.redrive(t, DeliveryFilter(subscriber_id=b.endpoint.id), now=c.now(), limit=10),
        0,
    ),
    "redrive_one": (lambda s, t, b, c: s.redrive_one(t, b.ended.delivery_id, now=c.now()), False),
    "wake": (lambda s, t, b, c: s.wake(t, b.endpoint.id, now=c.now()), 0),
    "remove_endpoint": (lambda s, t, b, c: s.remove_endpoint(t, b.endpoint.id, now=c.now()), False),
    "remove_subscription": (lambda s, t, b, _: s.remove_subscription(t, b.subscription.id), False),
}


class TenancyPromises:
    """What a store promises to keep apart."""

    @pytest.mark.parametrize("verb", sorted(READS))
    async def test_a_stranger_sees_nothing(self, store: Store, clock: FakeClock, verb: str) -> None:
        """A tenant that reads with another tenant's ids finds nothing; the owner does."""
        belongings = await self._given_belongings(store, clock)
        attempt, nothing = READS[verb]

        stranger = await attempt(store, GLOBEX, belongings, clock)
        owner = await attempt(store, ACME, belongings, clock)

        assert nothing == stranger
        assert nothing != owner

    @pytest.mark.parametrize("verb", sorted(WRITES))
    async def test_a_stranger_changes_nothing(self, store: Store, clock: FakeClock, verb: str) -> None:
        """A tenant that writes with another tenant's ids changes nothing; the owner does."""
        belongings = await self._given_belongings(store, clock)
        attempt, nothing = WRITES[verb]
        before = await self._everything(store)

        stranger = await attempt(store, GLOBEX, belongings, clock)
        after = await self._everything(store)
        owner = await attempt(store, ACME, belongings, clock)

        assert nothing == stranger
        assert before == after
        assert nothing != owner
        assert before != await self._everything(store)

    async def test_a_stranger_cannot_tell_what_is_planned(self, store: Store, clock: FakeClock) -> None:
        """Asking about another tenant's event is answered like asking about none."""
        event = make_event(tenant=ACME, at=clock.now())
        await store.append([event])

        answer = await store.is_planned(GLOBEX, event.id)

        assert await store.is_planned(GLOBEX, "evt_unknown") == answer
        assert not await store.is_planned(ACME, event.id)

    async def test_equal_ids_of_two_tenants_are_two_things(self, store: Store, clock: FakeClock) -> None:
        """Saving an id that another tenant uses as well replaces nothing of that tenant's, and neither does removal."""
        ours = make_endpoint(tenant=ACME, at=clock.now())
        theirs = make_endpoint(tenant=GLOBEX, at=clock.now(), id=ours.id, url="https://globex.example/")
        our_subscription = make_subscription(ours, at=clock.now())
        their_wish = make_subscription(theirs, at=clock.now(), id=our_subscription.id, topic="theirs")
        ours, our_subscription = await store.save_endpoint(ours), await store.save_subscription(our_subscription)

        theirs, their_wish = await store.save_endpoint(theirs), await store.save_subscription(their_wish)
        both = [(await store.load_tenant(tenant))[2:] for tenant in (ACME, GLOBEX)]
        await store.remove_endpoint(GLOBEX, theirs.id, now=clock.now())

        assert [((ours,), (our_subscription,)), ((theirs,), (their_wish,))] == both
        assert ((ours,), (our_subscription,)) == (await store.load_tenant(ACME))[2:]

    async def test_removing_an_endpoint_cancels_nothing_of_others(self, store: Store, clock: FakeClock) -> None:
        """Deliveries that another tenant has for an equal id still wait."""
        theirs = make_endpoint(tenant=GLOBEX, at=clock.now(), id="end_shared")
        await store.save_endpoint(theirs)
        ours = await given_delivery(store, clock, tenant=ACME, subscriber="end_shared")

        await store.remove_endpoint(GLOBEX, "end_shared", now=clock.now())

        assert DeliveryState.PENDING is (await read(store, ours.id)).state

    @pytest.mark.parametrize("tenant", ["o'brien", "%", "_cme", "ACME", "acme ", "株式会社 🐘", 'a"b\\c', "acme;--"])
    async def test_a_tenant_is_an_opaque_text(self, store: Store, clock: FakeClock, tenant: str) -> None:
        """A tenant's name is compared as it is: no case, no wildcards, no quoting."""
        belongings = await self._given_belongings(store, clock)
        mine = await store.save_endpoint(make_endpoint(tenant=tenant, at=clock.now()))
        wake_later = await given_delivery(
            store, clock, tenant=tenant, state=DeliveryState.HELD, due_at=clock.now() + HOUR, subscriber=mine.id
        )

        found = await store.find_deliveries(tenant, DeliveryFilter(), limit=10)
        woken = await store.wake(tenant, mine.id, now=clock.now())
        claimed = await claim(store, clock, exclude={belongings.endpoint.id})

        assert [wake_later.id] == [delivery.id for delivery in found]
        assert ((mine,), ()) == (await store.load_tenant(tenant))[2:]
        assert (1, [tenant]) == (woken, [one.tenant for one in claimed])

    async def _given_belongings(self, store: Store, clock: FakeClock) -> Belongings:
        endpoint = make_endpoint(tenant=ACME, at=clock.now())
        subscription = make_subscription(endpoint, at=clock.now())
        await store.save_endpoint(endpoint)
        await store.save_subscription(subscription)
        later = clock.now() + HOUR
        return Belongings(
            endpoint=endpoint,
            subscription=subscription,
            ended=await given_ended(store, clock, subscriber=endpoint.id),
            held=await given_delivery(store, clock, subscriber=endpoint.id, state=DeliveryState.HELD, due_at=later),
            waiting=await given_delivery(store, clock, subscriber=endpoint.id, due_at=later),
        )

    async def _everything(self, store: Store) -> tuple[object, ...]:
        """Return all that the tenant can see."""
        deliveries = await store.find_deliveries(ACME, DeliveryFilter(), limit=10)
        history = [await store.attempts(ACME, delivery.id) for delivery in deliveries]
        return deliveries, history, await store.load_tenant(ACME), await store.find_events(ACME, limit=10)
