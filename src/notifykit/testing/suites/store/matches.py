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
from .steps import ACME, GLOBEX

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
    for type_ in ("order", "order.paid", "order.paid.twice", "refund.paid", "nobody.wants.this")
    for topic in ("", "shop", "shop/7", "shop/7/till/1")
)


async def ask(store: Store, query: MatchQuery, *, limit: int = 1000, tenant: str = ACME) -> list[Match]:
    """Ask for the candidates of one inquiry."""
    (found,) = await store.find_matches(tenant, [query], limit=limit)
    return found


async def ids(store: Store, query: MatchQuery, *, limit: int = 1000, tenant: str = ACME) -> list[str]:
    """Ask for the candidates of one inquiry; return the ids of their subscriptions."""
    return [candidate.subscription.id for candidate in await ask(store, query, limit=limit, tenant=tenant)]


def wanting(subscriptions: list[Subscription], query: MatchQuery) -> set[str]:
    """Return the ids of those that want an event, by the planner's own rule."""
    states = {subscription.subscriber_id: EndpointState.ACTIVE for subscription in subscriptions}
    index = SubscriptionIndex(subscriptions, states)
    return {wish.subscription.id for wish in index.wishes(query.type, query.topic or None)}


class MatchPromises:
    """What a store promises to find for planners of large tenants."""

    async def test_everybody_who_wants_an_event_is_a_candidate(self, store: Store, clock: FakeClock) -> None:
        """Whatever the patterns of types and topics are, no match is left out, and ids are in order."""
        endpoint = await self._given_endpoint(store, clock)
        subscriptions = [
            make_subscription(endpoint, at=clock.now(), event_types=(type_,), topic=topic)
            for type_ in TYPES
            for topic in TOPICS
        ]
        for subscription in reversed(subscriptions):
            await store.save_subscription(subscription)

        answers = await store.find_matches(ACME, QUERIES, limit=1000)

        assert len(QUERIES) == len(answers)
        for query, found in zip(QUERIES, answers, strict=True):
            names = [candidate.subscription.id for candidate in found]
            assert sorted(set(names)) == names
            assert set() == wanting(subscriptions, query) - set(names)

    async def test_a_candidate_comes_with_all_the_rule_needs(self, store: Store, clock: FakeClock) -> None:
        """The whole subscription, and the state of its endpoint, if there is one."""
        states = (EndpointState.ACTIVE, EndpointState.PAUSED, EndpointState.DISABLED)
        endpoints = [await self._given_endpoint(store, clock, state=state) for state in states]
        endpoints.append(make_endpoint(at=clock.now()))
        asked: dict[str, Any] = {"event_types": ("a.b", "c.**"), "topic": "x/*", "filter": {"n": [1, None]}}
        wishes = [
            await store.save_subscription(make_subscription(endpoint, at=clock.now(), **asked))
            for endpoint in endpoints
        ]

        found = await ask(store, MatchQuery("c.d", "x/y"))

        assert [Match(wish, state) for wish, state in zip(wishes, (*states, None), strict=True)] == found

    async def test_candidates_come_page_by_page(self, store: Store, clock: FakeClock) -> None:
        """A page that is not full is the last one, and no subscription comes twice for patterns that overlap."""
        endpoint = await self._given_endpoint(store, clock)
        patterns = (("**", "order.*"), ("order.paid",), ("order.**", "order.paid", "*.paid"))
        made = [make_subscription(endpoint, at=clock.now(), event_types=patterns[i % 3]).id for i in range(14)]
        for i, id_ in enumerate(made):
            await store.save_subscription(
                make_subscription(endpoint, at=clock.now(), id=id_, event_types=patterns[i % 3])
            )

        pages = [await ids(store, MatchQuery("order.paid"), limit=5)]
        while len(pages[-1]) == 5:
            pages.append(await ids(store, MatchQuery("order.paid", after=pages[-1][-1]), limit=5))

        assert [5, 5, 4] == list(map(len, pages))
        assert made == [id_ for page in pages for id_ in page]

    async def test_a_page_goes_on_behind_an_id_that_is_gone(self, store: Store, clock: FakeClock) -> None:
        """Subscriptions come and go between two pages."""
        subscriptions = await self._given_subscriptions(store, clock, "order.paid", 4)
        (_, gone, *rest) = [subscription.id for subscription in subscriptions]

        await store.remove_subscription(ACME, gone)

        assert rest == await ids(store, MatchQuery("order.paid", after=gone))

    async def test_each_inquiry_has_its_own_answer(self, store: Store, clock: FakeClock) -> None:
        """Limits and cursors are those of each inquiry, and answers come in the order of the questions."""
        paid = [each.id for each in await self._given_subscriptions(store, clock, "order.paid", 3)]
        sent = [each.id for each in await self._given_subscriptions(store, clock, "order.sent", 3)]
        queries = [
            MatchQuery("order.sent"),
            MatchQuery("order.paid", after=paid[0]),
            MatchQuery("nobody.wants.this"),
            MatchQuery("order.paid"),
        ]

        answers = await store.find_matches(ACME, queries, limit=2)

        found = [[candidate.subscription.id for candidate in answer] for answer in answers]
        assert [sent[:2], paid[1:], [], paid[:2]] == found

    async def test_asking_nothing_is_no_error(self, store: Store) -> None:
        """No inquiries have no answers, and an unknown tenant has no candidates."""
        assert [] == await store.find_matches(ACME, [], limit=10)
        assert [[]] == await store.find_matches("nobody", [MatchQuery("a")], limit=10)

    async def test_only_who_names_a_type_is_found_by_name(self, store: Store, clock: FakeClock) -> None:
        """Operational events match patterns that spell out the first word, however many have a wildcard there."""
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
            await store.save_subscription(subscription)

        found = await ids(store, MatchQuery("endpoint.failing", named=True))

        assert [made[1].id, made[3].id, made[4].id] == found

    async def test_candidates_follow_every_change(self, store: Store, clock: FakeClock) -> None:
        """A subscription is found by what it says now, and not at all once it or its endpoint is gone."""
        endpoint = await self._given_endpoint(store, clock)
        wish = make_subscription(endpoint, at=clock.now(), event_types=("a.b", "c.*"), topic="x")
        changes: tuple[dict[str, Any], ...] = (
            {},
            {"event_types": ("a.b", "d.**")},
            {"event_types": ("d.e",), "topic": None},
            {"event_types": ("d.e",), "topic": None, "enabled": False},
            {},
        )

        async def found() -> list[bool]:
            return [wish.id in await ids(store, MatchQuery(type_, "x")) for type_ in ("a.b", "c.d", "d.e")]

        seen = []
        for version, change in enumerate(changes):
            await store.save_subscription(attrs.evolve(wish, version=version, **change))
            seen.append(await found())
        await store.remove_subscription(ACME, wish.id)
        seen.append(await found())
        await store.save_subscription(wish)
        await store.remove_endpoint(ACME, endpoint.id, now=clock.now())
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

        wish = await store.save_subscription(
            make_subscription(endpoint, at=clock.now(), event_types=(pattern, "order.*"))
        )

        assert wish == await store.get_subscription(ACME, wish.id)
        assert [wish.id] == await ids(store, MatchQuery("order.paid"))

    async def test_an_event_of_many_words_finds_its_candidates(self, store: Store, clock: FakeClock) -> None:
        """Types and topics may have more words than patterns."""
        endpoint = await self._given_endpoint(store, clock)
        wish = make_subscription(endpoint, at=clock.now(), event_types=("w.w.**",), topic="t/**")
        await store.save_subscription(wish)

        found = await ids(store, MatchQuery(".".join("w" * 60), "/".join("t" * 32)))

        assert [wish.id] == found

    async def test_another_tenants_subscriptions_are_no_candidates(self, store: Store, clock: FakeClock) -> None:
        """Nor is the state of another tenant's endpoint the state of one's own."""
        ours = await self._given_endpoint(store, clock)
        theirs = await store.save_endpoint(
            make_endpoint(tenant=GLOBEX, at=clock.now(), id=ours.id, state=EndpointState.DISABLED)
        )
        our_subscription = await store.save_subscription(make_subscription(ours, at=clock.now()))
        their_wish = await store.save_subscription(
            make_subscription(theirs, at=clock.now(), id=our_subscription.id, description="theirs")
        )

        found = [await ask(store, MatchQuery("a.b"), tenant=tenant) for tenant in (ACME, GLOBEX)]
        await store.remove_subscription(GLOBEX, their_wish.id)

        assert [[Match(our_subscription, ours.state)], [Match(their_wish, theirs.state)]] == found
        assert [our_subscription.id] == await ids(store, MatchQuery("a.b"))

    async def test_endpoints_are_picked_by_id(self, store: Store, clock: FakeClock) -> None:
        """However many are asked for, those that exist come, each once."""
        endpoints = [await self._given_endpoint(store, clock, description=str(i)) for i in range(3)]
        await store.save_endpoint(stranger := make_endpoint(tenant=GLOBEX, at=clock.now()))
        missing = [f"end_{i}" for i in range(1500)]

        found = await store.pick_endpoints(
            ACME, [endpoints[2].id, stranger.id, *missing, endpoints[0].id, endpoints[2].id]
        )

        assert [endpoints[0], endpoints[2]] == sorted(found, key=lambda endpoint: endpoint.id)
        assert [] == await store.pick_endpoints(ACME, [])

    async def test_a_small_tenant_is_loaded_and_a_large_one_is_not(self, store: Store, clock: FakeClock) -> None:
        """Endpoints and subscriptions count each for themselves, and only the tenant's own."""
        endpoint = await self._given_endpoint(store, clock)
        await self._given_endpoint(store, clock)
        for _ in range(3):
            await store.save_subscription(make_subscription(endpoint, at=clock.now()))
        for _ in range(5):
            await store.save_endpoint(make_endpoint(tenant=GLOBEX, at=clock.now()))

        whole = await store.load_tenant(ACME)

        assert whole == await store.load_small_tenant(ACME, 3)
        assert await store.load_small_tenant(ACME, 2) is None
        assert await store.load_small_tenant(GLOBEX, 4) is None
        assert await store.load_tenant("nobody") == await store.load_small_tenant("nobody", 0)

    async def _given_endpoint(self, store: Store, clock: FakeClock, **changes: Any) -> Endpoint:
        return await store.save_endpoint(make_endpoint(at=clock.now(), **changes))

    async def _given_subscriptions(
        self, store: Store, clock: FakeClock, pattern: str, count: int
    ) -> list[Subscription]:
        endpoint = await self._given_endpoint(store, clock)
        made = [make_subscription(endpoint, at=clock.now(), event_types=(pattern,)) for _ in range(count)]
        for subscription in made:
            await store.save_subscription(subscription)
        return made
