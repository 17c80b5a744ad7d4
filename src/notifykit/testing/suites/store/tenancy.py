"""Tenancy: for every other tenant a tenant's data does not exist."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import pytest

from ....models.delivery import Claim, DeliveryState, NewDelivery
from ....models.endpoint import Endpoint
from ....models.event_type import StoredEventType
from ....models.provider_account import ProviderAccount
from ....models.recipient import Recipient, TenantPreferences
from ....models.subscription import MatchQuery, Subscription
from ....ports import DeliveryFilter, EventFilter, Move, Store
from ...builders import make_endpoint, make_event, make_recipient, make_subscription
from ...clock import FakeClock
from .steps import (
    ACME,
    GLOBEX,
    HOUR,
    claim,
    given_delivery,
    given_ended,
    is_planned,
    load,
    read,
)


class Belongings(NamedTuple):
    """One of each thing that a tenant can have."""

    endpoint: Endpoint
    subscription: Subscription
    event_type: StoredEventType
    recipient: Recipient
    preferences: TenantPreferences
    account: ProviderAccount
    ended: Claim
    held: NewDelivery
    waiting: NewDelivery


#: What another tenant that knows every id might try, and what it gets.
Try = Callable[[Store, str, Belongings, FakeClock], Awaitable[object]]
READS: dict[str, tuple[Try, object]] = {
    "get_endpoint": (lambda s, t, b, _: s.get(Endpoint, t, [b.endpoint.id]), []),
    "get_subscription": (lambda s, t, b, _: s.get(Subscription, t, [b.subscription.id]), []),
    "get_event_type": (lambda s, t, b, _: s.get(StoredEventType, t, [b.event_type.id]), []),
    "get_recipient": (lambda s, t, b, _: s.get(Recipient, t, [b.recipient.id]), []),
    "get_preferences": (lambda s, t, b, _: s.get(TenantPreferences, t, [b.preferences.id]), []),
    "get_provider_account": (lambda s, t, b, _: s.get(ProviderAccount, t, [b.account.id]), []),
    "page_of_provider_accounts": (lambda s, t, _b, _: s.page(ProviderAccount, t, limit=10), []),
    "page_of_recipients": (lambda s, t, _b, _: s.page(Recipient, t, limit=10), []),
    "page_of_endpoints": (lambda s, t, _b, _: s.page(Endpoint, t, limit=10), []),
    "page_of_subscriptions": (lambda s, t, _b, _: s.page(Subscription, t, limit=10), []),
    "page_of_subscriptions_of_subscriber": (
        lambda s, t, b, _: s.page(Subscription, t, subscriber_id=b.endpoint.id, limit=10),
        [],
    ),
    "page_of_event_types": (lambda s, t, _b, _: s.page(StoredEventType, t, limit=10), []),
    "load_tenants": (lambda s, t, _b, _: s.load_tenants([t]), {GLOBEX: (GLOBEX, 0, (), ())}),
    "load_small_tenants": (lambda s, t, _b, _: s.load_tenants([t], most=100), {GLOBEX: (GLOBEX, 0, (), ())}),
    "match": (lambda s, t, _b, _: s.match(t, [MatchQuery("a.b")], limit=10), [[]]),
    "find_event": (lambda s, t, b, _: s.find_events(t, EventFilter(ids=b.waiting.event_id), limit=10), []),
    "find_events": (lambda s, t, _b, _: s.find_events(t, EventFilter(), limit=10), []),
    "find_planned_events": (lambda s, t, _b, _: s.find_events(t, EventFilter(planned=True), limit=10), []),
    "find_delivery": (lambda s, t, b, _: s.find_deliveries(t, DeliveryFilter(ids=b.waiting.id), limit=10), []),
    "find_ended_delivery": (
        lambda s, t, b, _: s.find_deliveries(t, DeliveryFilter(ids=b.ended.delivery_id), limit=10),
        [],
    ),
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
}


def _move(to: Move, wanted: Callable[[Belongings], DeliveryFilter]) -> tuple[Try, object]:
    return lambda s, t, b, c: s.move(t, wanted(b), to, now=c.now(), limit=10), 0


WRITES: dict[str, tuple[Try, object]] = {
    "cancel": _move(Move.CANCEL, lambda b: DeliveryFilter(ids=[b.waiting.id, b.held.id])),
    "cancel_of_subscriber": _move(Move.CANCEL, lambda b: DeliveryFilter(subscriber_id=b.endpoint.id)),
    "redrive": _move(Move.REDRIVE, lambda _: DeliveryFilter()),
    "redrive_of_event": _move(Move.REDRIVE, lambda b: DeliveryFilter(event_id=b.ended.event_id)),
    "redrive_of_subscriber": _move(Move.REDRIVE, lambda b: DeliveryFilter(subscriber_id=b.endpoint.id)),
    "redrive_one": _move(Move.REDRIVE, lambda b: DeliveryFilter(ids=b.ended.delivery_id)),
    "wake": _move(Move.WAKE, lambda b: DeliveryFilter(subscriber_id=b.endpoint.id)),
    "wake_all": (lambda s, t, _b, c: s.move(t, DeliveryFilter(), Move.WAKE, now=c.now()), 0),
    "remove_endpoint": (lambda s, t, b, c: s.remove(Endpoint, t, b.endpoint.id, now=c.now()), False),
    "remove_subscription": (lambda s, t, b, c: s.remove(Subscription, t, b.subscription.id, now=c.now()), False),
    "remove_event_type": (lambda s, t, b, c: s.remove(StoredEventType, t, b.event_type.id, now=c.now()), False),
    "remove_recipient": (lambda s, t, b, c: s.remove(Recipient, t, b.recipient.id, now=c.now()), False),
    "erase": (lambda s, t, b, c: s.erase(t, b.recipient.id, now=c.now()), 0),
    "erase_of_subscriber": (lambda s, t, b, c: s.erase(t, b.endpoint.id, now=c.now()), 0),
    "remove_preferences": (lambda s, t, b, c: s.remove(TenantPreferences, t, b.preferences.id, now=c.now()), False),
    "remove_provider_account": (lambda s, t, b, c: s.remove(ProviderAccount, t, b.account.id, now=c.now()), False),
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

        answer = await is_planned(store, GLOBEX, event.id)

        assert await is_planned(store, GLOBEX, "evt_unknown") == answer
        assert not await is_planned(store, ACME, event.id)

    async def test_equal_ids_of_two_tenants_are_two_things(self, store: Store, clock: FakeClock) -> None:
        """Saving an id that another tenant uses as well replaces nothing of that tenant's, and neither does removal."""
        ours = make_endpoint(tenant=ACME, at=clock.now())
        theirs = make_endpoint(tenant=GLOBEX, at=clock.now(), id=ours.id, url="https://globex.example/")
        our_subscription = make_subscription(ours, at=clock.now())
        their_wish = make_subscription(theirs, at=clock.now(), id=our_subscription.id, topic="theirs")
        ours, our_subscription = await store.save(ours), await store.save(our_subscription)

        theirs, their_wish = await store.save(theirs), await store.save(their_wish)
        both = [(await load(store, tenant))[2:] for tenant in (ACME, GLOBEX)]
        await store.remove(Endpoint, GLOBEX, theirs.id, now=clock.now())

        assert [((ours,), (our_subscription,)), ((theirs,), (their_wish,))] == both
        assert ((ours,), (our_subscription,)) == (await load(store, ACME))[2:]

    async def test_removing_an_endpoint_cancels_nothing_of_others(self, store: Store, clock: FakeClock) -> None:
        """Deliveries that another tenant has for an equal id still wait."""
        theirs = make_endpoint(tenant=GLOBEX, at=clock.now(), id="end_shared")
        await store.save(theirs)
        ours = await given_delivery(store, clock, tenant=ACME, subscriber="end_shared")

        await store.remove(Endpoint, GLOBEX, "end_shared", now=clock.now())

        assert DeliveryState.PENDING is (await read(store, ours.id)).state

    @pytest.mark.parametrize("tenant", ["o'brien", "%", "_cme", "ACME", "acme ", "株式会社 🐘", 'a"b\\c', "acme;--"])
    async def test_a_tenant_is_an_opaque_text(self, store: Store, clock: FakeClock, tenant: str) -> None:
        """A tenant's name is compared as it is: no case, no wildcards, no quoting."""
        belongings = await self._given_belongings(store, clock)
        mine = await store.save(make_endpoint(tenant=tenant, at=clock.now()))
        wake_later = await given_delivery(
            store, clock, tenant=tenant, state=DeliveryState.HELD, due_at=clock.now() + HOUR, subscriber=mine.id
        )

        found = await store.find_deliveries(tenant, DeliveryFilter(), limit=10)
        woken = await store.move(tenant, DeliveryFilter(subscriber_id=mine.id), Move.WAKE, now=clock.now())
        claimed = await claim(store, clock, exclude={belongings.endpoint.id})

        assert [wake_later.id] == [delivery.id for delivery in found]
        assert ((mine,), ()) == (await load(store, tenant))[2:]
        assert (1, [tenant]) == (woken, [one.tenant for one in claimed])

    async def _given_belongings(self, store: Store, clock: FakeClock) -> Belongings:
        endpoint = make_endpoint(tenant=ACME, at=clock.now())
        subscription = make_subscription(endpoint, at=clock.now())
        await store.save(endpoint)
        await store.save(subscription)
        later = clock.now() + HOUR
        return Belongings(
            endpoint=endpoint,
            subscription=subscription,
            event_type=await store.save(StoredEventType(id="a.b", tenant=ACME)),
            recipient=await store.save(make_recipient(tenant=ACME, at=clock.now())),
            preferences=await store.save(TenantPreferences(tenant=ACME, locale="de")),
            account=await store.save(ProviderAccount(tenant=ACME, id="sms", url="vonage://KEY:SECRET@")),
            ended=await given_ended(store, clock, subscriber=endpoint.id),
            held=await given_delivery(store, clock, subscriber=endpoint.id, state=DeliveryState.HELD, due_at=later),
            waiting=await given_delivery(store, clock, subscriber=endpoint.id, due_at=later),
        )

    async def _everything(self, store: Store) -> tuple[object, ...]:
        """Return all that the tenant can see."""
        deliveries = await store.find_deliveries(ACME, DeliveryFilter(), limit=10)
        history = [await store.attempts(ACME, delivery.id) for delivery in deliveries]
        kinds = (StoredEventType, Recipient, TenantPreferences, ProviderAccount)
        records = [await store.page(kind, ACME, limit=10) for kind in kinds]
        return (
            deliveries,
            history,
            records,
            await load(store, ACME),
            await store.find_events(ACME, EventFilter(), limit=10),
        )
