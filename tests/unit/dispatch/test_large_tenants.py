"""Tenants that are too large to be held: everything works as it does for small ones, out of bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

import attrs
import pytest

from notifykit import RateLimit, StoreUnavailableError
from notifykit.dispatch import directory, large_tenants
from notifykit.dispatch.large_tenants import LargeTenant
from notifykit.models.delivery import Claim, DeliveryState
from notifykit.models.destination import Destination
from notifykit.models.endpoint import Endpoint, EndpointState
from notifykit.models.ids import SUBSCRIPTION, new_id
from notifykit.models.outcome import Permanent
from notifykit.models.subscription import Match, MatchQuery, Subscription
from notifykit.stores.memory import MemoryStore
from notifykit.testing import FakeClock, make_endpoint, make_subscription

from .support import TENANT, Bench, bench

DELIVERED, CANCELLED, HELD = DeliveryState.DELIVERED, DeliveryState.CANCELLED, DeliveryState.HELD
SUPPRESSED, PENDING, DEAD = DeliveryState.SUPPRESSED, DeliveryState.PENDING, DeliveryState.DEAD


@pytest.fixture(autouse=True)
def _everybody_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "LARGE", 0)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the store was asked for what; nobody may ask for a whole tenant."""
    seen: Counter[str] = Counter()
    find, pick = MemoryStore.match, MemoryStore.get

    async def found(store: MemoryStore, tenant: str, queries: Sequence[MatchQuery], *, limit: int) -> list[list[Match]]:
        seen["candidates"] += not any(query.named for query in queries)
        return await find(store, tenant, queries, limit=limit)

    async def picked(store: MemoryStore, kind: type[Endpoint], tenant: str, ids: Collection[str]) -> list[Endpoint]:
        seen["endpoints"] += 1
        return await pick(store, kind, tenant, ids)

    monkeypatch.setattr(MemoryStore, "match", found)
    monkeypatch.setattr(MemoryStore, "get", picked)
    return seen


async def many(b: Bench, count: int, *types: str, **changes: Any) -> list[Endpoint]:
    """Give the tenant so many endpoints, each with a subscription."""
    made = [make_endpoint(tenant=TENANT, url=f"https://203.0.114.7/{at}") for at in range(count)]
    endpoints = [await b.kit.store.save(endpoint) for endpoint in made]
    for endpoint in endpoints:
        wish = make_subscription(endpoint, id=new_id(SUBSCRIPTION), event_types=types or ("**",), **changes)
        await b.kit.store.save(wish)
    return endpoints


async def run(b: Bench, *, rounds: int = 1000) -> int:
    """Step until there is nothing to do; return how many steps had work."""
    for count in range(rounds):
        if not await b.dispatcher.step():
            return count
    raise AssertionError("there is always something to do")


def told(b: Bench) -> list[str]:
    """Return which endpoints were sent something, in order of ids."""
    return sorted(claim.subscriber_id for claim in b.channel.sent)


class TestFanOut:
    async def test_everybody_is_told_once(self) -> None:
        """More subscribers than a page: each gets the event, and gets it once."""
        async with bench() as b:
            endpoints = await many(b, 2300)

            await b.publish()
            await run(b)

            assert sorted(endpoint.id for endpoint in endpoints) == told(b)

    async def test_an_endpoint_with_subscriptions_on_several_pages_is_told_once(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The subscription with the smallest id counts."""
        monkeypatch.setattr(large_tenants, "_PAGE", 3)
        monkeypatch.setattr(large_tenants, "_AT_A_TIME", 3)
        async with bench() as b:
            endpoints = await many(b, 4, "order.*")
            again: list[Subscription] = []
            for endpoint in (*endpoints, *reversed(endpoints)):
                again.append(make_subscription(endpoint, id=new_id(SUBSCRIPTION), event_types=("**", "order.paid")))
                await b.kit.store.save(again[-1])

            event_id = await b.publish()
            await run(b)

            assert sorted(endpoint.id for endpoint in endpoints) == told(b)
            found = await b.deliveries(DELIVERED)
            assert {event_id} == {delivery.event_id for delivery in found}
            assert not {wish.id for wish in again} & {delivery.subscription_id for delivery in found}

    async def test_filters_that_refuse_nearly_all_take_a_page_at_a_time(
        self, monkeypatch: pytest.MonkeyPatch, asked: Counter[str]
    ) -> None:
        """A turn looks at so many candidates and no more; the event goes on where it was, and ends."""
        monkeypatch.setattr(large_tenants, "_PAGE", 10)
        monkeypatch.setattr(large_tenants, "_AT_A_TIME", 10)
        monkeypatch.setattr(large_tenants, "_LOOKS", 2)
        async with bench() as b:
            await many(b, 95, filter={"n": [2]})
            (last,) = await many(b, 1, filter={"n": [1]})
            await b.publish()

            await b.dispatcher._planner.turn()
            after_one = asked["candidates"]
            await run(b)

            assert 2 == after_one
            assert 10 == asked["candidates"]
            assert [last.id] == told(b)

    async def test_a_page_is_no_larger_than_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Candidates that are read together may make two pages of deliveries."""
        monkeypatch.setattr(large_tenants, "_AT_A_TIME", 7)
        async with bench() as b:
            endpoints = await many(b, 20)
            await b.publish()
            (event,) = await b.kit.store.take(1, now=b.dispatcher._clock.now(), lease=timedelta(minutes=1))
            view = await b.dispatcher._directory.view(TENANT, event.tenant_version)
            assert isinstance(view, LargeTenant)

            pages = []
            cursor: str | None = ""
            while cursor is not None:
                at = event._replace(cursor=cursor or None)
                page, cursor = await view.plan(at, now=event.published_at, most=5)
                pages.append([new.subscriber_id for new in page])

        assert [5, 5, 5, 5] == [len(page) for page in pages if page]
        assert [endpoint.id for endpoint in endpoints] == [id_ for page in pages for id_ in page]


class TestWhatIsHeld:
    async def test_a_type_with_few_candidates_is_asked_for_once(self, asked: Counter[str]) -> None:
        """Until something changes, an event of a known type and known endpoints costs no statement."""
        async with bench() as b:
            await many(b, 5, "order.*", filter={"n": [1]})
            await many(b, 300, "refund.*")
            for _ in range(3):
                await b.publish()
                await run(b)
            once = dict(asked)
            await many(b, 1, "order.*", filter={"n": [1]})
            await b.publish()
            await run(b)

            assert {"candidates": 1, "endpoints": 1} == once
            assert {"candidates": 2, "endpoints": 2} == asked
            assert 3 * 5 + 6 == len(b.channel.sent)

    async def test_a_type_that_nobody_wants_is_asked_for_once(self, asked: Counter[str]) -> None:
        """To know that there is nobody is worth as much."""
        async with bench() as b:
            await many(b, 3, "refund.*")
            for _ in range(3):
                await b.publish()
                await run(b)

            assert {"candidates": 1} == asked
            assert [] == b.channel.sent

    async def test_the_types_of_a_batch_are_asked_for_together(self, asked: Counter[str]) -> None:
        """A statement for each event would cost more than all else."""
        async with bench() as b:
            await many(b, 1, "first")
            for at in range(20):
                await many(b, 1, f"order.t{at}")
            await b.publish("first")
            await run(b)
            asked.clear()
            for at in range(20):
                await b.publish(f"order.t{at}")
            await run(b)

            assert {"candidates": 1, "endpoints": 1} == asked
            assert 21 == len(b.channel.sent)

    @pytest.mark.parametrize("room", [1, 3])
    async def test_little_room_costs_statements_and_nothing_else(
        self, monkeypatch: pytest.MonkeyPatch, room: int
    ) -> None:
        """Endpoints that had to make room are read again when their turn comes."""
        monkeypatch.setattr(large_tenants, "_KEPT_DESTINATIONS", room)
        monkeypatch.setattr(large_tenants, "_KEPT_MATCHES", room)
        async with bench() as b:
            endpoints = await many(b, 30, "a.*", "b")
            for type_ in ("a.x", "b"):
                await b.publish(type_)
            await run(b)

            assert sorted(2 * [endpoint.id for endpoint in endpoints]) == told(b)
            kept = b.dispatcher._directory._large
            assert len(kept.destinations._entries) <= room
            assert kept.answers._weight <= room

    @pytest.mark.interpreted
    async def test_the_store_may_be_away_when_an_endpoint_is_read_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The claim is given back, and the delivery is made later."""
        monkeypatch.setattr(large_tenants, "_KEPT_DESTINATIONS", 1)
        find = directory.Directory.find_destination
        refusals = [StoreUnavailableError("away")]

        async def looked_for(self: directory.Directory, claim: Claim) -> Destination | None:
            if refusals:
                raise refusals.pop()
            return await find(self, claim)

        monkeypatch.setattr(directory.Directory, "find_destination", looked_for)
        async with bench() as b:
            endpoints = await many(b, 3)
            await b.publish()
            async with b.dispatcher:
                found = await b.until_states(DELIVERED, count=3)

            assert sorted(endpoint.id for endpoint in endpoints) == told(b)
            assert {1} == {delivery.attempts for delivery in found}
            assert [] == refusals

    async def test_the_store_may_be_away_when_endpoints_of_claims_are_read(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What was claimed is given back, and nothing is counted."""
        pick = MemoryStore.get
        refusals = [StoreUnavailableError("away")] * 2

        async def picked(store: MemoryStore, kind: type[Endpoint], tenant: str, ids: Collection[str]) -> list[Endpoint]:
            if refusals:
                raise refusals.pop()
            return await pick(store, kind, tenant, ids)

        async with bench() as b:
            endpoints = await many(b, 3)
            await b.publish()
            room, b.dispatcher._planner.backlogs = b.dispatcher._planner.backlogs, {}  # plans, and leaves it to claims
            await b.dispatcher._planner.turn()
            b.dispatcher._planner.backlogs = room
            for endpoint in endpoints:
                b.dispatcher._directory._large.destinations.drop((TENANT, endpoint.id), 10**9)
            monkeypatch.setattr(MemoryStore, "get", picked)
            async with b.dispatcher:
                found = await b.until_states(DELIVERED, count=3)

            assert sorted(endpoint.id for endpoint in endpoints) == told(b)
            assert {(1, 0)} == {(delivery.attempts, delivery.abandoned) for delivery in found}
            assert [] == refusals

    async def test_what_is_newer_stays(self) -> None:
        """Whoever read earlier and comes later does not bring the old back."""
        kept: large_tenants._Kept[str] = large_tenants._Kept(10)
        key = (TENANT, "end_1")

        kept.put(key, 2, "new")
        kept.put(key, 1, "old")
        kept.drop(key, 1)
        seen = kept.get(key), kept.get(key, 3)
        kept.put(key, 2, "read again", 4)
        weight = kept._weight
        kept.drop(key, 2)

        assert ("new", None) == seen
        assert (4, 0, None) == (weight, kept._weight, kept.get(key))


class TestChanges:
    async def test_a_change_counts_from_the_next_event_on(self) -> None:
        """A new URL, a new pattern, a new subscriber: as for any tenant."""
        async with bench() as b:
            (endpoint,) = await many(b, 1, "order.*")
            (wish,) = await b.kit.subscriptions.list(tenant=TENANT)
            await b.publish()
            await run(b)
            await b.kit.store.save(attrs.evolve(endpoint, state=EndpointState.PAUSED))
            await b.kit.store.save(attrs.evolve(wish, event_types=("refund.*",)))
            (new,) = await many(b, 1, "order.*")
            for type_ in ("order.paid", "refund.paid"):
                await b.publish(type_)
            await run(b)

            states = {delivery.event_type: delivery.state for delivery in await b.deliveries(HELD)}
            assert sorted([endpoint.id, new.id]) == told(b)
            assert {"refund.paid": HELD} == states

    async def test_what_waits_for_an_endpoint_that_is_removed_is_not_sent(self) -> None:
        """Claims that are held when it goes are cancelled."""
        async with bench() as b:
            gone, stays = await many(b, 2)
            await b.publish()
            await b.dispatcher._planner.turn()
            await b.kit.store.remove(Endpoint, TENANT, gone.id, now=b.dispatcher._clock.now())
            b.dispatcher._directory._large.destinations.drop((TENANT, gone.id), 10**9)
            await run(b)

            assert [stays.id] == told(b)
            (cancelled,) = await b.deliveries(CANCELLED)
            assert gone.id == cancelled.subscriber_id

    async def test_an_endpoint_that_goes_between_plan_and_page_is_left_to_a_claim(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The plan is written all the same: whoever claims the delivery finds that there is nobody."""
        pick = MemoryStore.get
        gone: list[str] = []

        async def picked(store: MemoryStore, kind: type[Endpoint], tenant: str, ids: Collection[str]) -> list[Endpoint]:
            return [endpoint for endpoint in await pick(store, kind, tenant, ids) if endpoint.id not in gone]

        monkeypatch.setattr(MemoryStore, "get", picked)
        async with bench() as b:
            gone += [endpoint.id for endpoint in (await many(b, 2))[:1]]
            await b.publish()
            await run(b)

            assert 1 == len(told(b))
            assert gone == [delivery.subscriber_id for delivery in await b.deliveries(CANCELLED)]

    async def test_a_tenant_that_shrinks_is_held_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """And one that grows is not: each version says for itself."""
        monkeypatch.setattr(directory, "LARGE", 2)
        async with bench() as b:
            kinds = []
            endpoints = await many(b, 1)
            for change in (+2, -1, +5):
                if change > 0:
                    endpoints += await many(b, change)
                else:
                    await b.kit.store.remove(Endpoint, TENANT, endpoints.pop().id, now=b.dispatcher._clock.now())
                await b.publish()
                await run(b)
                kinds.append(type(b.dispatcher._directory.latest(TENANT)).__name__)

            assert ["LargeTenant", "TenantView", "LargeTenant"] == kinds
            assert 3 + 2 + 7 == len(b.channel.sent)


class TestTheRest:
    async def test_an_addressed_event_goes_to_its_endpoint(self) -> None:
        """Whoever else is subscribed; and to nobody if there is none."""
        async with bench() as b:
            endpoints = await many(b, 5)
            await b.kit.endpoints.test(endpoints[3].id, tenant=TENANT)
            paused = attrs.evolve(endpoints[1], state=EndpointState.PAUSED)
            await b.kit.endpoints.test(endpoints[1].id, tenant=TENANT)
            await b.kit.endpoints.test(endpoints[2].id, tenant=TENANT)
            await b.kit.store.save(paused)
            await b.kit.store.remove(Endpoint, TENANT, endpoints[2].id, now=b.dispatcher._clock.now())
            await run(b)

            assert [endpoints[3].id] == told(b)
            assert [endpoints[1].id] == [delivery.subscriber_id for delivery in await b.deliveries(HELD)]

    @pytest.mark.parametrize(("state", "ends"), [(EndpointState.PAUSED, HELD), (EndpointState.DISABLED, SUPPRESSED)])
    async def test_an_endpoint_that_is_not_active_is_not_sent_to(
        self, state: EndpointState, ends: DeliveryState
    ) -> None:
        """Its deliveries wait, or say why there are none."""
        async with bench() as b:
            (endpoint,) = await many(b, 1)
            await b.kit.store.save(attrs.evolve(endpoint, state=state))
            await b.publish()
            await run(b)

            assert [] == b.channel.sent
            assert [ends] == [delivery.state for delivery in await b.deliveries()]

    @pytest.mark.parametrize(("patterns", "expected"), [(("order.*", "delivery.*"), True), (("**",), False)])
    async def test_operational_events_are_made_for_who_names_them(
        self, patterns: tuple[str, ...], expected: bool
    ) -> None:
        """And for nobody else: not even a row is written."""
        async with bench(lambda claim: Permanent(reason="http_410")) as b:
            await many(b, 1, *patterns)
            await b.publish()
            await run(b)

            (dead, *_) = await b.deliveries(DEAD)
            events = [event.type for event in await b.kit.events.list(tenant=TENANT)]
            assert expected == ("delivery.exhausted" in events)
            assert dead.event_type in {"order.paid", "delivery.exhausted"}

    async def test_a_rate_limit_holds_although_the_endpoint_was_forgotten(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Tokens are drawn by the limit that is in the store."""
        monkeypatch.setattr(large_tenants, "_KEPT_DESTINATIONS", 1)
        clock = FakeClock()
        async with bench(clock=clock) as b:
            limited, _ = await many(b, 2)
            await b.kit.store.save(attrs.evolve(limited, rate_limit=RateLimit(per_second=1, burst=2)))
            for _ in range(6):
                await b.publish()
            for _ in range(2):
                await b.dispatcher.step()

            sent = Counter(told(b))
            assert 2 == sent[limited.id]
            assert 8 == sent.total()

    async def test_explaining_goes_page_by_page(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """All subscriptions in the order of ids, or those of one endpoint; an endpoint is told once on all pages."""
        monkeypatch.setattr("notifykit.admin.events._PAGE", 2)
        async with bench() as b:
            endpoints = await many(b, 4)
            for endpoint in endpoints[:2]:
                await b.kit.store.save(make_subscription(endpoint, id=new_id(SUBSCRIPTION)))
            event_id = await b.publish()
            await run(b)

            whole = await b.kit.events.explain(event_id, tenant=TENANT)
            one = await b.kit.events.explain(event_id, tenant=TENANT, subscriber_id=endpoints[1].id)

            assert 4 * ["matched"] + 2 * ["duplicate_endpoint"] == [str(verdict) for _, verdict in whole.verdicts]
            assert 4 == len(whole.deliveries)
            assert ["matched", "duplicate_endpoint"] == [str(verdict) for _, verdict in one.verdicts]
            assert [endpoints[1].id] == [delivery.subscriber_id for delivery in one.deliveries]
