"""Matches: subscriptions that may match an event are found, page by page, without reading all of them."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from ....models.endpoint import Endpoint, EndpointState
from ....models.subscription import Match, MatchQuery, Subscription
from ....policies.plan import SubscriptionIndex
from ....ports import Store
from ...builders import make_endpoint, make_subscription
from ...clock import FakeClock
from .steps import ACME, GLOBEX, get_one, load

TYPES = (
    "order",
    "order.paid",
    "order.*",
    "order.**",
    "*",
    "*.paid",
    "**",
    "**.paid",
    "order.paid.twice",
    "refund.paid",
)
TOPICS = (None, "shop", "shop/7", "shop/*", "shop/7/**", "**", "*/7", "mall/7")
QUERIES = tuple(
    MatchQuery(type_, topic)
    for type_ in ("order", "order.paid", "order.paid.twice", "refund.paid", "has.no.match")
    for topic in ("", "shop", "shop/7", "shop/7/till/1")
)


async def ask(store: Store, query: MatchQuery, *, limit: int = 1000, tenant: str = ACME) -> list[Match]:
    """Ask for the matches of one query."""
    (found,) = await store.match(tenant, [query], limit=limit)
    return found


async def ids(store: Store, query: MatchQuery, *, limit: int = 1000, tenant: str = ACME) -> list[str]:
    """Ask for the matches of one query; return the ids of their subscriptions."""
    return [match.subscription.id for match in await ask(store, query, limit=limit, tenant=tenant)]


def wanting(subscriptions: list[Subscription], query: MatchQuery) -> set[str]:
    """Return the ids of the subscriptions that match an event, by the planner's own rule."""
    states = {subscription.subscriber_id: EndpointState.ACTIVE for subscription in subscriptions}
    index = SubscriptionIndex(subscriptions, states)
    return {match.subscription.id for match in index.matching(query.type, query.topic or None)}


class MatchPromises:
    """What a store promises to find for planners of large tenants."""

    async def test_every_subscription_that_matches_is_found(self, store: Store, clock: FakeClock) -> None:
        """Whatever the patterns of types and topics are, none is left out, and ids are in order."""
        endpoint = await self._given_endpoint(store, clock)
        subscriptions = [
            make_subscription(endpoint, at=clock.now(), event_types=(type_,), topic=topic)
            for type_ in TYPES
            for topic in TOPICS
        ]
        for subscription in reversed(subscriptions):
            await store.save(subscription)

        answers = await store.match(ACME, QUERIES, limit=1000)

        assert len(QUERIES) == len(answers)
        for query, found in zip(QUERIES, answers, strict=True):
            names = [match.subscription.id for match in found]
            assert sorted(set(names)) == names
            assert set() == wanting(subscriptions, query) - set(names)

    async def test_a_match_has_all_that_the_rule_needs(self, store: Store, clock: FakeClock) -> None:
        """The whole subscription, and the state of its endpoint, if there is one."""
        states = (EndpointState.ACTIVE, EndpointState.PAUSED, EndpointState.DISABLED)
        endpoints = [await self._given_endpoint(store, clock, state=state) for state in states]
        endpoints.append(make_endpoint(at=clock.now()))
        asked: dict[str, Any] = {"event_types": ("a.b", "c.**"), "topic": "x/*", "filter": {"n": [1, None]}}
        subscriptions = [
            await store.save(make_subscription(endpoint, at=clock.now(), **asked)) for endpoint in endpoints
        ]

        found = await ask(store, MatchQuery("c.d", "x/y"))

        assert [
            Match(subscription, state) for subscription, state in zip(subscriptions, (*states, None), strict=True)
        ] == found

    async def test_matches_come_page_by_page(self, store: Store, clock: FakeClock) -> None:
        """A page that is not full is the last one, and no subscription is returned twice for patterns that overlap."""
        endpoint = await self._given_endpoint(store, clock)
        patterns = (("**", "order.*"), ("order.paid",), ("order.**", "order.paid", "*.paid"))
        made = [make_subscription(endpoint, at=clock.now(), event_types=patterns[i % 3]).id for i in range(14)]
        for i, id_ in enumerate(made):
            await store.save(make_subscription(endpoint, at=clock.now(), id=id_, event_types=patterns[i % 3]))

        pages = [await ids(store, MatchQuery("order.paid"), limit=5)]
        while len(pages[-1]) == 5:
            pages.append(await ids(store, MatchQuery("order.paid", after=pages[-1][-1]), limit=5))

        assert [5, 5, 4] == list(map(len, pages))
        assert made == [id_ for page in pages for id_ in page]

    async def test_a_page_goes_on_behind_an_id_that_is_gone(self, store: Store, clock: FakeClock) -> None:
        """Subscriptions come and go between two pages."""
        subscriptions = await self._given_subscriptions(store, clock, "order.paid", 4)
        (_, gone, *rest) = [subscription.id for subscription in subscriptions]

        await store.remove(Subscription, ACME, gone, now=clock.now())

        assert rest == await ids(store, MatchQuery("order.paid", after=gone))

    async def test_each_query_has_its_own_answer(self, store: Store, clock: FakeClock) -> None:
        """Limits and cursors are those of each query, and answers come in the order of the queries."""
        paid = [each.id for each in await self._given_subscriptions(store, clock, "order.paid", 3)]
        sent = [each.id for each in await self._given_subscriptions(store, clock, "order.sent", 3)]
        queries = [
            MatchQuery("order.sent"),
            MatchQuery("order.paid", after=paid[0]),
            MatchQuery("has.no.match"),
            MatchQuery("order.paid"),
        ]

        answers = await store.match(ACME, queries, limit=2)

        found = [[match.subscription.id for match in answer] for answer in answers]
        assert [sent[:2], paid[1:], [], paid[:2]] == found

    async def test_asking_nothing_is_no_error(self, store: Store) -> None:
        """No queries have no answers, and an unknown tenant has no matches."""
        assert [] == await store.match(ACME, [], limit=10)
        assert [[]] == await store.match("unknown", [MatchQuery("a")], limit=10)

    async def test_only_subscriptions_that_name_a_type_are_found_by_name(self, store: Store, clock: FakeClock) -> None:
        """Operational events are for subscriptions that name the first word, however many take any word."""
        endpoint = await self._given_endpoint(store, clock)
        patterns = (
            ("**",),
            ("endpoint.*",),
            ("*.failing",),
            ("endpoint.failing", "**"),
            ("endpoint.**",),
            ("other.x",),
        )
        made = [make_subscription(endpoint, at=clock.now(), event_types=types) for types in patterns]
        for subscription in made:
            await store.save(subscription)

        found = await ids(store, MatchQuery("endpoint.failing", named=True))

        assert [made[1].id, made[3].id, made[4].id] == found

    async def test_matches_follow_every_change(self, store: Store, clock: FakeClock) -> None:
        """A subscription is found by its current patterns, and not at all once it or its endpoint is removed."""
        endpoint = await self._given_endpoint(store, clock)
        subscription = make_subscription(endpoint, at=clock.now(), event_types=("a.b", "c.*"), topic="x")
        changes: tuple[dict[str, Any], ...] = (
            {},
            {"event_types": ("a.b", "d.**")},
            {"event_types": ("d.e",), "topic": None},
            {"event_types": ("d.e",), "topic": None, "enabled": False},
            {},
        )

        async def found() -> list[bool]:
            return [subscription.id in await ids(store, MatchQuery(type_, "x")) for type_ in ("a.b", "c.d", "d.e")]

        seen = []
        for version, change in enumerate(changes):
            await store.save(attrs.evolve(subscription, version=version, **change))
            seen.append(await found())
        await store.remove(Subscription, ACME, subscription.id, now=clock.now())
        seen.append(await found())
        await store.save(subscription)
        await store.remove(Endpoint, ACME, endpoint.id, now=clock.now())
        seen.append(await found())

        assert [
            [True, True, False],
            [True, False, True],
            [False, False, True],
            [False, False, False],
            [True, True, False],
            [False, False, False],
            [False, False, False],
        ] == seen

    @pytest.mark.parametrize(
        "pattern",
        ["a\x00b", "\ud800", "x" * 3000, ".".join("w" * 40), "", "a..b", "a*b.c", "ü.*"],
        ids=["nul", "surrogate", "long", "words", "empty", "hole", "inside", "letters"],
    )
    async def test_what_cannot_be_read_is_kept_and_matches_nothing(
        self, store: Store, clock: FakeClock, pattern: str
    ) -> None:
        """A pattern that is none does not stop the others of its subscription."""
        endpoint = await self._given_endpoint(store, clock)

        subscription = await store.save(make_subscription(endpoint, at=clock.now(), event_types=(pattern, "order.*")))

        assert subscription == await get_one(store, Subscription, ACME, subscription.id)
        assert [subscription.id] == await ids(store, MatchQuery("order.paid"))

    async def test_an_event_of_many_words_finds_its_matches(self, store: Store, clock: FakeClock) -> None:
        """Types and topics may have more words than patterns."""
        endpoint = await self._given_endpoint(store, clock)
        subscription = make_subscription(endpoint, at=clock.now(), event_types=("w.w.**",), topic="t/**")
        await store.save(subscription)

        found = await ids(store, MatchQuery(".".join("w" * 60), "/".join("t" * 32)))

        assert [subscription.id] == found

    async def test_another_tenants_subscriptions_are_no_matches(self, store: Store, clock: FakeClock) -> None:
        """Nor is the state of another tenant's endpoint the state of one's own."""
        ours = await self._given_endpoint(store, clock)
        theirs = await store.save(
            make_endpoint(tenant=GLOBEX, at=clock.now(), id=ours.id, state=EndpointState.DISABLED)
        )
        our_subscription = await store.save(make_subscription(ours, at=clock.now()))
        their_subscription = await store.save(
            make_subscription(theirs, at=clock.now(), id=our_subscription.id, description="theirs")
        )

        found = [await ask(store, MatchQuery("a.b"), tenant=tenant) for tenant in (ACME, GLOBEX)]
        await store.remove(Subscription, GLOBEX, their_subscription.id, now=clock.now())

        assert [[Match(our_subscription, ours.state)], [Match(their_subscription, theirs.state)]] == found
        assert [our_subscription.id] == await ids(store, MatchQuery("a.b"))

    async def test_records_are_read_by_id(self, store: Store, clock: FakeClock) -> None:
        """However many are asked for, those that exist come, each once."""
        endpoints = [await self._given_endpoint(store, clock, description=str(i)) for i in range(3)]
        await store.save(stranger := make_endpoint(tenant=GLOBEX, at=clock.now()))
        missing = [f"end_{i}" for i in range(1500)]

        found = await store.get(
            Endpoint, ACME, [endpoints[2].id, stranger.id, *missing, endpoints[0].id, endpoints[2].id]
        )

        assert [endpoints[0], endpoints[2]] == sorted(found, key=lambda endpoint: endpoint.id)
        assert [] == await store.get(Endpoint, ACME, [])

    async def test_a_small_tenant_is_loaded_and_a_large_one_is_not(self, store: Store, clock: FakeClock) -> None:
        """Endpoints and subscriptions count each for themselves, and only the tenant's own."""
        endpoint = await self._given_endpoint(store, clock)
        await self._given_endpoint(store, clock)
        for _ in range(3):
            await store.save(make_subscription(endpoint, at=clock.now()))
        for _ in range(5):
            await store.save(make_endpoint(tenant=GLOBEX, at=clock.now()))

        whole = await load(store, ACME)

        unknown = await load(store, "unknown")
        assert {ACME: whole} == await store.load_tenants([ACME], most=3)
        assert {ACME: None} == await store.load_tenants([ACME], most=2)
        assert {GLOBEX: None} == await store.load_tenants([GLOBEX], most=4)
        assert {"unknown": unknown} == await store.load_tenants(["unknown"], most=0)
        assert {ACME: whole, GLOBEX: None, "unknown": unknown} == await store.load_tenants(
            [ACME, GLOBEX, "unknown"], most=4
        )
        both = await store.load_tenants([GLOBEX, ACME], most=5)
        assert {ACME: whole, GLOBEX: await load(store, GLOBEX)} == both
        assert {} == await store.load_tenants([])

    async def _given_endpoint(self, store: Store, clock: FakeClock, **changes: Any) -> Endpoint:
        return await store.save(make_endpoint(at=clock.now(), **changes))

    async def _given_subscriptions(
        self, store: Store, clock: FakeClock, pattern: str, count: int
    ) -> list[Subscription]:
        endpoint = await self._given_endpoint(store, clock)
        made = [make_subscription(endpoint, at=clock.now(), event_types=(pattern,)) for _ in range(count)]
        for subscription in made:
            await store.save(subscription)
        return made
