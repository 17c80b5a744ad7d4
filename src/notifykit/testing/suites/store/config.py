"""Configuration records: kept exactly, and every change is seen by planners and senders."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import attrs
import pytest

from ....models.access import ApiKey, Role
from ....models.delivery import DeliveryState, Priority
from ....models.digest import Digest
from ....models.endpoint import Endpoint, EndpointSecret, EndpointState
from ....models.event_type import StoredEventType
from ....models.retry import RetryPolicy
from ....models.steps import Step
from ....models.subscription import Subscription, TenantConfig
from ....models.throttle import Throttle
from ....ports import ListsTenants, Store
from ...builders import SECRET, make_endpoint, make_event, make_subscription
from ...clock import FakeClock
from .steps import (
    ACME,
    GLOBEX,
    HOUR,
    OTHER,
    SECOND,
    TICK,
    claim,
    claim_one,
    finish,
    get_one,
    given_deliveries,
    given_delivery,
    given_ended,
    load,
    read,
    take_one,
)


class ConfigPromises:
    """What a store promises of a tenant's configuration."""

    async def test_an_endpoint_reads_back_as_it_was_saved(self, store: Store, clock: FakeClock) -> None:
        """Every field of an endpoint is kept exactly."""
        endpoint = make_endpoint(
            at=clock.now(),
            url="https://receiver.example/hooks?q=a%20b&x='\"",
            description="Ωmega 🐘",
            state=EndpointState.DISABLED,
            state_reason="gone",
            secrets=(
                EndpointSecret(value=SECRET, created_at=clock.now()),
                EndpointSecret(value=SECRET[::-1], created_at=clock.now() - HOUR, expires_at=clock.now() + TICK),
            ),
            headers={"x-b": "2", "x-a": "ü"},
            retry=RetryPolicy(delays=(TICK, SECOND, HOUR), jitter=0.125, max_retry_after=HOUR + TICK),
            timeout=timedelta(seconds=7, microseconds=1),
            max_in_flight=3,
            updated_at=clock.now() + TICK,
        )

        saved = await store.save(endpoint)

        assert attrs.evolve(endpoint, version=1) == saved
        assert saved == await get_one(store, Endpoint, ACME, endpoint.id)

    async def test_an_endpoint_is_replaced_as_a_whole(self, store: Store, clock: FakeClock) -> None:
        """Saving an endpoint again leaves nothing of what it was."""
        first = make_endpoint(at=clock.now(), headers={"x-old": "1"}, state_reason="old", max_in_flight=1)
        second = make_endpoint(at=clock.advance(HOUR), id=first.id, secrets=(), version=1)
        await store.save(first)

        saved = await store.save(second)

        assert attrs.evolve(second, version=2) == saved
        assert [saved] == await store.page(Endpoint, ACME, limit=10)

    async def test_what_is_saved_is_a_copy(self, store: Store, clock: FakeClock) -> None:
        """Changing a mapping after it was saved changes nothing in the store."""
        headers = {"x-a": "1"}
        conditions: dict[str, Any] = {"total": {"gt": 5}}
        endpoint = make_endpoint(at=clock.now(), headers=headers)
        subscription = make_subscription(endpoint, at=clock.now(), filter=conditions)
        await store.save(endpoint)
        await store.save(subscription)

        headers["x-a"] = "2"
        conditions["total"]["gt"] = 6

        config = await load(store, ACME)
        assert {"x-a": "1"} == config.endpoints[0].headers
        assert {"total": {"gt": 5}} == config.subscriptions[0].filter

    async def test_a_subscription_reads_back_as_it_was_saved(self, store: Store, clock: FakeClock) -> None:
        """Every field of a subscription is kept exactly."""
        subscription = make_subscription(
            make_endpoint(at=clock.now()),
            at=clock.now(),
            event_types=("order.*", "invoice.**"),
            topic="shop/7/**",
            filter={"a": [1, 2.5, None, True], "ü": {"exists": False}, "n": 2**53},
            channel="e-mail",
            description="Ωmega 🐘",
            enabled=False,
            updated_at=clock.now() + TICK,
        )

        saved = await store.save(subscription)

        assert attrs.evolve(subscription, version=1) == saved
        assert saved == await get_one(store, Subscription, ACME, subscription.id)

    async def test_a_subscription_is_replaced_as_a_whole(self, store: Store, clock: FakeClock) -> None:
        """Saving a subscription again leaves nothing of what it was, and an absent filter differs from an empty one."""
        endpoint = make_endpoint(at=clock.now())
        first = make_subscription(endpoint, at=clock.now(), topic="shop/**", filter={"a": 1})
        second = make_subscription(endpoint, at=clock.advance(HOUR), id=first.id, filter={}, version=1)
        third = attrs.evolve(second, filter=None, event_types=(), version=2)
        await store.save(first)

        saved, read_back = [], []
        for subscription in (second, third):
            saved.append(await store.save(subscription))
            read_back += await store.page(Subscription, ACME, limit=10)

        assert [attrs.evolve(second, version=2), attrs.evolve(third, version=3)] == saved
        assert saved == read_back

    async def test_lists_go_by_id_and_page_by_page(self, store: Store, clock: FakeClock) -> None:
        """Pages that start after the last id seen show each endpoint and each subscription once."""
        endpoints, subscriptions = await self._given_config(store, clock)

        pages = [await store.page(Endpoint, ACME, limit=2)]
        pages.append(await store.page(Endpoint, ACME, limit=2, after=pages[0][-1].id))
        lists = [await store.page(Subscription, ACME, limit=2)]
        lists.append(await store.page(Subscription, ACME, limit=2, after=lists[0][-1].id))

        assert [endpoints[:2], endpoints[2:]] == pages
        assert [subscriptions[:2], subscriptions[2:]] == lists

    async def test_subscriptions_are_found_by_subscriber(self, store: Store, clock: FakeClock) -> None:
        """An endpoint's subscriptions can be listed alone, page by page."""
        endpoints, subscriptions = await self._given_config(store, clock)
        second = await store.save(make_subscription(endpoints[0], at=clock.now()))

        found = await store.page(Subscription, ACME, subscriber_id=endpoints[0].id, limit=10)
        rest = await store.page(Subscription, ACME, subscriber_id=endpoints[0].id, limit=10, after=subscriptions[0].id)

        assert [subscriptions[0], second] == found
        assert [second] == rest

    async def test_a_tenant_is_loaded_as_a_whole(self, store: Store, clock: FakeClock) -> None:
        """A planner gets all endpoints and subscriptions, disabled ones included, of this tenant only."""
        endpoints, subscriptions = await self._given_config(store, clock)
        disabled = await store.save(make_endpoint(at=clock.now(), state=EndpointState.DISABLED))
        silent = await store.save(make_subscription(disabled, at=clock.now(), enabled=False))
        await store.save(make_endpoint(tenant=GLOBEX, at=clock.now()))

        config = await load(store, ACME)

        assert ACME == config.tenant
        assert [*endpoints, disabled] == sorted(config.endpoints, key=lambda endpoint: endpoint.id)
        assert [*subscriptions, silent] == sorted(config.subscriptions, key=lambda subscription: subscription.id)

    async def test_an_unknown_tenant_has_an_empty_configuration(self, store: Store) -> None:
        """A tenant that never configured anything is no error."""
        assert TenantConfig(ACME, 0, (), ()) == await load(store, ACME)

    async def test_every_change_raises_the_version(self, store: Store, clock: FakeClock) -> None:
        """Insert, replacement and removal of endpoints and subscriptions each make what was loaded stale."""
        endpoint = make_endpoint(at=clock.now())
        subscription = make_subscription(endpoint, at=clock.now())
        other = make_subscription(endpoint, at=clock.now())
        changes: list[Callable[[], Awaitable[object]]] = [
            lambda: store.save(endpoint),
            lambda: store.save(attrs.evolve(endpoint, version=1)),
            lambda: store.save(subscription),
            lambda: store.save(attrs.evolve(subscription, version=1)),
            lambda: store.save(other),
            lambda: store.remove(Subscription, ACME, other.id, now=clock.now()),
            lambda: store.remove(Endpoint, ACME, endpoint.id, now=clock.now()),
            lambda: store.save(endpoint),
        ]

        versions = [(await load(store, ACME)).version]
        for change in changes:
            await change()
            versions.append((await load(store, ACME)).version)

        assert sorted(set(versions)) == versions

    async def test_a_change_leaves_other_tenants_versions_alone(self, store: Store, clock: FakeClock) -> None:
        """A change of one tenant's configuration makes no other tenant's stale."""
        await store.save(make_endpoint(tenant=GLOBEX, at=clock.now()))
        before = await load(store, GLOBEX)

        await store.save(make_endpoint(tenant=ACME, at=clock.now()))

        assert before == await load(store, GLOBEX)

    async def test_planners_and_workers_see_the_version(self, store: Store, clock: FakeClock) -> None:
        """Each taken event and each claim carries its tenant's version as it is now."""
        await given_delivery(store, clock)
        await store.append([make_event(at=clock.now())])
        await store.save(make_endpoint(tenant=GLOBEX, at=clock.now()))
        for _ in range(2):
            await store.save(make_endpoint(at=clock.now()))
        version = (await load(store, ACME)).version

        taken = await take_one(store, clock)
        claimed = await claim_one(store, clock)

        assert (version, version) == (taken.tenant_version, claimed.version)

    async def test_removing_an_endpoint_removes_its_subscriptions(self, store: Store, clock: FakeClock) -> None:
        """Removing an endpoint removes its subscriptions, and no others."""
        endpoints, subscriptions = await self._given_config(store, clock)

        removed = await store.remove(Endpoint, ACME, endpoints[0].id, now=clock.now())
        again = await store.remove(Endpoint, ACME, endpoints[0].id, now=clock.now())

        assert (True, False) == (removed, again)
        assert endpoints[1:] == await store.page(Endpoint, ACME, limit=10)
        assert subscriptions[1:] == await store.page(Subscription, ACME, limit=10)

    async def test_removing_an_endpoint_cancels_what_waits_for_it(self, store: Store, clock: FakeClock) -> None:
        """What waits for a removed endpoint is cancelled; what is being sent or has ended is not."""
        endpoint = make_endpoint(at=clock.now())
        await store.save(endpoint)
        delivered = await given_ended(store, clock, subscriber=endpoint.id, state=DeliveryState.DELIVERED)
        await given_deliveries(store, clock, 2, subscriber=endpoint.id)
        (sending,) = await claim(store, clock, 1)
        held = await given_delivery(
            store, clock, subscriber=endpoint.id, state=DeliveryState.HELD, due_at=clock.now() + HOUR
        )
        other = await given_delivery(store, clock, subscriber=OTHER, due_at=clock.now() + HOUR)
        now = clock.advance(SECOND)

        await store.remove(Endpoint, ACME, endpoint.id, now=now)

        assert [] == await claim(store, clock)
        cancelled = await read(store, held.id)
        assert (DeliveryState.CANCELLED, "endpoint_deleted", now) == (
            cancelled.state,
            cancelled.reason,
            cancelled.finished_at,
        )
        assert DeliveryState.DELIVERED is (await read(store, delivered.delivery_id)).state
        assert DeliveryState.PENDING is (await read(store, other.id)).state
        assert {sending.delivery_id} == await finish(store, clock, sending)

    async def test_removing_a_subscription_leaves_its_deliveries(self, store: Store, clock: FakeClock) -> None:
        """What was planned is sent, even if its subscription goes."""
        endpoints, subscriptions = await self._given_config(store, clock)
        await given_delivery(store, clock, subscriber=endpoints[0].id, subscription_id=subscriptions[0].id)

        removed = await store.remove(Subscription, ACME, subscriptions[0].id, now=clock.now())
        again = await store.remove(Subscription, ACME, subscriptions[0].id, now=clock.now())

        assert (True, False) == (removed, again)
        assert subscriptions[1:] == await store.page(Subscription, ACME, limit=10)
        assert subscriptions[0].id == (await claim_one(store, clock)).subscription_id

    async def test_an_event_type_reads_back_as_it_was_saved(self, store: Store, clock: FakeClock) -> None:
        """Every field of an event type is kept exactly, and a save replaces it as a whole."""
        event_type = StoredEventType(
            id="order.paid",
            category="billing ☃",
            purpose="security",
            priority=Priority.HIGH,
            description="Ωmega 🐘",
            schema={"type": "object", "required": ["ü"], "properties": {"ü": {"enum": [1, 2.5, None, True]}}},
            digest=Digest("☃", group="data.id", window=timedelta(minutes=10), max_window=timedelta(hours=1)),
            steps=(
                Step("in_app"),
                Step("email", after=timedelta(minutes=15), unless={"read"}),
                Step("sms", fallback=True),
            ),
            tells_actor=True,
            throttle=Throttle(3, timedelta(days=7), channels=["email", "☎"]),
        )
        bare = StoredEventType(id="order.paid", version=1)

        saved = await store.save(event_type)
        found = await get_one(store, StoredEventType, "", event_type.id)
        replaced = await store.save(bare)

        assert attrs.evolve(event_type, version=1) == saved == found
        assert "order.paid" == saved.name
        assert [attrs.evolve(bare, version=2)] == [replaced] == await store.page(StoredEventType, "", limit=10)
        assert await store.remove(StoredEventType, "", event_type.id, now=clock.now())
        assert [] == await store.page(StoredEventType, "", limit=10)

    async def test_event_types_change_no_version(self, store: Store, clock: FakeClock) -> None:
        """Planning does not depend on stored event types, so that nothing has to be loaded again."""
        await store.save(make_endpoint(at=clock.now()))
        before = await load(store, ACME)

        saved = await store.save(StoredEventType(id="order.paid", tenant=ACME))
        await store.remove(StoredEventType, ACME, saved.id, now=clock.now())

        assert before == await load(store, ACME)

    async def test_a_kind_without_subscribers_has_none(self, store: Store, clock: FakeClock) -> None:
        """A page of a subscriber's records is empty for a kind whose records have no subscriber."""
        endpoint = await store.save(make_endpoint(at=clock.now()))

        assert [] == await store.page(Endpoint, ACME, subscriber_id=endpoint.id, limit=10)

    async def test_tenants_are_listed_by_their_names(self, store: Store, clock: FakeClock) -> None:
        """Each once, page by page: with endpoints, also when they are gone, and with keys of the REST API."""
        if not isinstance(store, ListsTenants):
            pytest.skip("lists no tenants")
        for tenant in ("b", "c", "a"):
            endpoint = await store.save(make_endpoint(tenant=tenant, at=clock.now()))
            await store.save(make_subscription(endpoint, at=clock.now()))
        await store.remove(Endpoint, "b", endpoint.id, now=clock.now())
        for number in range(2):
            await store.save(ApiKey(id=f"key_{number}", tenant="B", role=Role.VIEWER, created_at=clock.now()))
        await store.save(ApiKey(id="key_3", tenant="", role=Role.OPERATOR, created_at=clock.now()))

        first = await store.tenants(limit=2)
        rest = await store.tenants(limit=9, after=first[-1])

        assert ["B", "a", "b", "c"] == [*first, *rest]
        assert [] == await store.tenants(limit=9, after="c")

    async def _given_config(self, store: Store, clock: FakeClock) -> tuple[list[Endpoint], list[Subscription]]:
        """Save three endpoints with a subscription each, the newest first."""
        endpoints = [make_endpoint(at=clock.now()) for _ in range(3)]
        subscriptions = [make_subscription(endpoint, at=clock.now()) for endpoint in endpoints]
        for at in (2, 1, 0):
            endpoints[at] = await store.save(endpoints[at])
            subscriptions[at] = await store.save(subscriptions[at])
        return endpoints, subscriptions
