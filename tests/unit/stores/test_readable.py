"""A row that cannot be read stands in the way of no other, and numbers are within bounds when they are read back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from notifykit import EgressRules, Event, Notifykit, RateLimit, StoreError
from notifykit.models.circuit import OpenCircuit
from notifykit.models.endpoint import MAX_BURST, MAX_RATE, MIN_RATE, Endpoint, EndpointState
from notifykit.models.subscription import MatchQuery
from notifykit.testing import START, make_endpoint
from notifykit.testing.suites.store.steps import acquire, save_circuit

ACME = "acme"
URL = "http://127.0.0.1:8080/hooks"


@pytest.fixture
async def kit(store_url):
    async with Notifykit(store_url, egress=EgressRules(allow=["127.0.0.0/8"], allow_http=True)) as kit:
        yield kit


@pytest.fixture
def damage(store_url):
    """Return a function that changes a row behind the store's back."""
    backend = "psycopg" if store_url.startswith("postgres") else "pysqlite"
    engine = create_engine(store_url.replace("://", f"+{backend}://", 1))

    def write(table: str, column: str, value: Any, **where: Any) -> None:
        ((key, id_),) = where.items()
        with engine.begin() as connection:
            statement = text(f"UPDATE notifykit_{table} SET {column} = :value WHERE {key} = :id")
            assert 1 == connection.execute(statement, {"value": value, "id": id_}).rowcount

    yield write
    engine.dispose()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("rate_limit", "[NaN, 1]"),
        ("rate_limit", "5"),
        ("retry", "{}"),
        ("retry", json.dumps({"delays": [10**30], "jitter": 0.2, "max_retry_after": 0})),
        ("headers", "{"),
        ("secrets", '[["x"]]'),
        ("state", "asleep"),
        ("headers", json.dumps({"x": "y" * 2_000_000})),
    ],
)
async def test_an_endpoint_that_cannot_be_read_is_paused_and_others_are_as_they_were(kit, damage, column, value):
    """Its deliveries wait; a list shows it, and nothing writes over its row."""
    bad = await kit.endpoints.create(URL, tenant=ACME)
    good = await kit.endpoints.create(URL, tenant=ACME)
    damage("endpoints", column, value, id=bad.id)

    config = await kit.store.load_tenant(ACME)
    listed = await kit.endpoints.list(tenant=ACME)
    picked = await kit.store.get(Endpoint, ACME, [bad.id, good.id])

    for found in (config.endpoints, listed, picked):
        by_id = {endpoint.id: endpoint for endpoint in found}
        assert good == by_id[good.id]
        assert (EndpointState.PAUSED, "record_unreadable") == (by_id[bad.id].state, by_id[bad.id].state_reason)
    for change in (kit.endpoints.resume(bad.id, tenant=ACME), kit.endpoints.disable(bad.id, tenant=ACME)):
        with pytest.raises(StoreError, match=f"the row of endpoint {bad.id} cannot be read"):
            await change
    await kit.endpoints.delete(bad.id, tenant=ACME)
    assert [good] == await kit.endpoints.list(tenant=ACME)


@pytest.mark.parametrize(
    ("column", "value"),
    [("event_types", "{"), ("event_types", "5"), ("filter", "[1]x"), ("filter", json.dumps({"k" * 2_000_000: [1]}))],
)
async def test_a_subscription_that_cannot_be_read_matches_nothing_and_others_do(kit, damage, column, value):
    """Workers do not even parse one that is far too large."""
    bad, endpoint = await kit.subscribe("order.*", tenant=ACME, endpoint=URL)
    good, _ = await kit.subscribe("order.*", tenant=ACME, endpoint=endpoint.id)
    damage("subscriptions", column, value, id=bad.id)

    config = await kit.store.load_tenant(ACME)
    ((first, second),) = await kit.store.match(ACME, [MatchQuery("order.paid")], limit=10)

    assert [(bad.id, False), (good.id, True)] == [(each.id, each.enabled) for each in config.subscriptions]
    assert [bad.id, good.id] == [first.subscription.id, second.subscription.id]
    receipt = await kit.apublish(Event(type="order.paid", data={}), tenant=ACME)
    told = {wish.id: verdict for wish, verdict in (await kit.events.explain(receipt.event_id, tenant=ACME)).verdicts}
    assert {bad.id: "subscription_disabled", good.id: "matched"} == told
    with pytest.raises(StoreError, match=f"the row of subscription {bad.id} cannot be read"):
        await kit.subscriptions.update(bad.id, tenant=ACME, enabled=True)
    await kit.subscriptions.delete(bad.id, tenant=ACME)
    assert [good] == await kit.subscriptions.list(tenant=ACME)


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ("[Infinity, 1]", RateLimit(per_second=MAX_RATE, burst=1)),
        ("[1e-300, 1]", RateLimit(per_second=MIN_RATE, burst=1)),
        ("[5, 99999999999999999999999]", RateLimit(per_second=5, burst=MAX_BURST)),
        ("[5, 0]", RateLimit(per_second=5, burst=1)),
    ],
)
async def test_a_rate_limit_of_an_earlier_version_is_brought_within_bounds(kit, damage, stored, read):
    """It was accepted once, and stopped every endpoint with a limit."""
    endpoint = await kit.endpoints.create(URL, tenant=ACME, rate_limit=RateLimit(per_second=1))
    damage("endpoints", "rate_limit", stored, id=endpoint.id)

    found = await kit.endpoints.get(endpoint.id, tenant=ACME)

    assert read == found.rate_limit
    assert 1 == await acquire(kit.store, ACME, endpoint.id, 1, read, now=START)
    assert 0 <= await acquire(kit.store, ACME, endpoint.id, 1, read, now=START)


async def test_an_ailment_that_cannot_be_read_hides_no_other(kit, damage):
    """Every process asks for all of them at a time."""
    for id_ in ("end_bad", "end_good"):
        await kit.store.save(make_endpoint(id=id_, tenant=ACME))
        await save_circuit(kit.store, OpenCircuit(key=id_, tenant=ACME, since=START, probe_at=START))
    damage("circuits", "probe_at", 2**62, key="end_bad")

    assert ["end_good"] == [circuit.key for circuit in await kit.store.circuits()]
