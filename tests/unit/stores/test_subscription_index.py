"""The table that finds subscriptions says what they say: row for row, whatever was changed, and by however many."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import attrs
import pytest
from sqlalchemy import delete, select

from notifykit import StaleWriteError
from notifykit.models.endpoint import Endpoint
from notifykit.models.subscription import MatchQuery, Subscription
from notifykit.policies.match_keys import keys_for, keys_of
from notifykit.stores import store_from_url
from notifykit.stores.sql import schema as s
from notifykit.stores.sql.postgres.matching import MATCH, key_columns
from notifykit.stores.sql.postgres.store import PostgresStore
from notifykit.stores.sql.store import SqlStore
from notifykit.testing import START, make_endpoint, make_subscription
from notifykit.testing.suites.store.steps import get_one

ACME = "acme"
TYPES = ("a", "a.b", "a.*", "**", "b.**", "*.b", "a*b")
TOPICS = (None, "x", "x/*", "**", "x//y")


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[SqlStore]:
    """A store on each database in turn."""
    opened = store_from_url(store_url)
    assert isinstance(opened, SqlStore)
    await opened.open()
    yield opened
    await opened.aclose()


async def rows(store: SqlStore) -> set[tuple[str, ...]]:
    """Return what the table says."""
    return await store._read(
        lambda connection: {tuple(row) for row in connection.execute(select(s.subscription_index))}
    )


async def said(store: SqlStore) -> set[tuple[str, ...]]:
    """Return what it should say."""
    wishes = await store.page(Subscription, ACME, limit=1000)
    return {(ACME, *place, wish.id) for wish in wishes for place in keys_of(wish)}


def changed(wish: Subscription, rng: random.Random) -> Subscription:
    """Return another subscription with the same id."""
    return attrs.evolve(
        wish,
        event_types=tuple(rng.sample(TYPES, rng.randint(0, 3))),
        topic=rng.choice(TOPICS),
        enabled=rng.random() < 0.8,
    )


async def save(store: SqlStore, wish: Subscription) -> None:
    """Save a subscription over what is stored of it."""
    stored = await get_one(store, Subscription, wish.tenant, wish.id)
    await store.save(attrs.evolve(wish, version=stored.version if stored else 0))


async def test_the_table_follows_every_change(store: SqlStore) -> None:
    """After each of many saves and removals there is no row too many and none too few."""
    rng = random.Random(1)
    endpoints = [make_endpoint() for _ in range(3)]
    for endpoint in endpoints:
        await store.save(endpoint)
    wishes = [make_subscription(rng.choice(endpoints)) for _ in range(12)]

    for step in range(60):
        wish = rng.choice(wishes)
        if step % 20 == 19:
            await store.remove(Endpoint, ACME, rng.choice(endpoints).id, now=START)
        elif rng.random() < 0.2:
            await store.remove(Subscription, ACME, wish.id, now=START)
        else:
            await save(store, changed(wish, rng))

        assert await said(store) == await rows(store)


async def test_those_who_change_at_the_same_time_agree(store: SqlStore, store_url: str) -> None:
    """Two processes that save and remove the same subscriptions leave what the last one said, and do not get stuck."""
    endpoint = make_endpoint()
    await store.save(endpoint)
    wishes = [make_subscription(endpoint) for _ in range(3)]
    other = store_from_url(store_url)
    assert isinstance(other, SqlStore)
    await other.open()

    async def work(own: SqlStore, seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(25):
            wish = rng.choice(wishes)
            if rng.random() < 0.2:
                await own.remove(Subscription, ACME, wish.id, now=START)
            elif rng.random() < 0.05:
                await own.remove(Endpoint, ACME, endpoint.id, now=START)
                with contextlib.suppress(StaleWriteError):  # another one was faster
                    await own.save(endpoint)
            else:
                with contextlib.suppress(StaleWriteError):
                    await save(own, changed(wish, rng))

    try:
        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                for own, seed in ((store, 1), (other, 2), (store, 3), (other, 4)):
                    group.start_soon(work, own, seed)
    finally:
        await other.aclose()

    assert await said(store) == await rows(store)


async def test_a_row_that_was_left_behind_does_not_make_a_page_short(store: SqlStore) -> None:
    """Somebody who deletes subscriptions by hand, or an older process, hides nobody else."""
    endpoint = make_endpoint()
    await store.save(endpoint)
    wishes = [await store.save(make_subscription(endpoint)) for _ in range(6)]
    by_hand = delete(s.subscriptions).where(s.subscriptions.c.id.in_([gone.id for gone in wishes[:3]]))
    await store._write(lambda connection: connection.execute(by_hand))

    (found,) = await store.match(ACME, [MatchQuery("a")], limit=2)

    assert wishes[3:5] == [candidate.subscription for candidate in found]


COPY = """
INSERT INTO {table} ({names}) SELECT {copied} FROM {table} CROSS JOIN generate_series(1, 200) n
"""


async def test_postgres_reads_no_more_than_a_page(postgres_store_url: str) -> None:
    """Among thousands who want it, the next few are found in the index, and nobody else's rows are read."""
    store = store_from_url(postgres_store_url)
    assert isinstance(store, PostgresStore)
    await store.open()
    try:
        endpoint = make_endpoint()
        await store.save(endpoint)
        for at in range(40):
            await store.save(make_subscription(endpoint, event_types=(TYPES[at % 4],)))
        async with store._driver() as pg:
            for table, id_ in ((s.subscriptions, "id"), (s.subscription_index, "subscription_id")):
                names = [column.name for column in table.c]
                copied = [f"{id_} || '-' || n" if name == id_ else name for name in names]
                await pg.execute(COPY.format(table=table.name, names=", ".join(names), copied=", ".join(copied)))
            await pg.execute("ANALYZE notifykit_subscriptions, notifykit_subscription_index")
        asked = [MatchQuery("a.b"), MatchQuery("a.b", after="sub_01")]

        answers = await store.match(ACME, asked, limit=10)
        async with store._driver() as pg:
            explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {MATCH}"
            plan = await pg.fetchval(explain, ACME, *key_columns(asked), 10)
    finally:
        await store.aclose()

    places = sum(len(keys_for(each)) for each in asked)
    found = [[candidate.subscription.id for candidate in answer] for answer in answers]
    assert [10, 10] == list(map(len, found))
    assert [sorted(set(ids)) for ids in found] == found
    assert {"notifykit_subscription_index", "notifykit_subscriptions", "notifykit_endpoints"} == {
        node["Relation Name"] for node in nodes(plan[0]["Plan"]) if "Relation Name" in node
    }
    for node in nodes(plan[0]["Plan"]):
        assert node["Node Type"] != "Seq Scan"
        assert node["Actual Rows"] * node["Actual Loops"] <= places * 10


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a node of a plan and all below it."""
    yield node
    for below in node.get("Plans", ()):
        yield from nodes(below)
