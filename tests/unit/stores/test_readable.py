"""A row that cannot be read stands in the way of no other, and numbers are within bounds when they are read back."""

from __future__ import annotations

import json
import sqlite3
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from notifykit import DeliveryFilter, DispatchSettings, EgressRules, Event, Notifykit, Priority, RateLimit, StoreError
from notifykit.errors import SchemaError
from notifykit.models.audit import UnreadableAuditEntry
from notifykit.models.circuit import OpenCircuit
from notifykit.models.delivery import DeliveryState, Lane
from notifykit.models.endpoint import MAX_BURST, MAX_RATE, MIN_RATE, Endpoint, EndpointState
from notifykit.models.recipient import PREFERENCES, Recipient, TenantPreferences
from notifykit.models.subscription import MatchQuery
from notifykit.models.template import StoredTemplate, current_of
from notifykit.models.unreadable import (
    UnreadableRecipient,
    UnreadableSuppression,
    UnreadableTemplate,
    UnreadableTenantPreferences,
)
from notifykit.models.worker import WorkerRecord
from notifykit.ports import Move
from notifykit.telemetry import ActionAudited
from notifykit.testing import START, FakeClock, make_endpoint, make_recipient
from notifykit.testing.suites.store.steps import acquire, save_circuit
from tests.databases import sync_url

ACME = "acme"
LANE, LEASE = Lane("webhook", Priority.NORMAL), timedelta(seconds=60)
#: Microseconds that are after the year 9999.
NEVER = 2**62
URL = "http://127.0.0.1:8080/hooks"


@pytest.fixture
async def kit(store_url):
    egress = EgressRules(allow=["127.0.0.0/8"], allow_http=True)
    async with Notifykit(store_url, egress=egress, clock=FakeClock(START)) as kit:
        yield kit


async def published(kit: Notifykit, count: int = 2) -> list[str]:
    """Publish events in an order that their ids have; return these."""
    receipts = await kit.apublish_many([Event(type="order.paid", data={"n": n}) for n in range(count)], tenant=ACME)
    return [receipt.event_id for receipt in receipts]


async def planned(kit: Notifykit) -> tuple[str, str]:
    """Return the ids of two deliveries that are due."""
    await kit.subscribe("**", tenant=ACME, endpoint=URL)
    bad, good = await published(kit)
    await kit.dispatcher(settings=DispatchSettings(roles=frozenset({"plan"}))).step()
    by_event = {delivery.event_id: delivery.id for delivery in await kit.deliveries.list(tenant=ACME)}
    return by_event[bad], by_event[good]


@pytest.fixture
def damage(store_url):
    """Return a function that changes a row behind the store's back."""
    engine = create_engine(sync_url(store_url))

    def write(table: str, column: str, value: Any, **where: Any) -> None:
        ((key, id_),) = where.items()
        with engine.begin() as connection:
            statement = text(f"UPDATE notifykit_{table} SET {column} = :value WHERE notifykit_{table}.{key} = :id")
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

    config = (await kit.store.load_tenants([ACME]))[ACME]
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

    config = (await kit.store.load_tenants([ACME]))[ACME]
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


async def test_a_key_that_cannot_be_read_opens_nothing(kit, damage):
    """Its stand-in is never written back, and it can be revoked."""
    bad, good = [await kit.api_keys.create(tenant=ACME, role="viewer", name=name) for name in ("bad", "good")]
    damage("api_keys", "details", '{"role":"king"}', id=bad.key.id)

    found = [await kit.api_keys.find(issued.secret) for issued in (bad, good)]
    with pytest.raises(StoreError, match=f"api key {bad.key.id} cannot be read"):
        await kit.api_keys.rotate(bad.key.id, tenant=ACME)
    await kit.api_keys.revoke(bad.key.id, tenant=ACME)

    assert [None, good.key] == found
    assert [good.key] == await kit.api_keys.list(tenant=ACME)


@pytest.mark.parametrize(
    "value", ["", "[]", "{", '{"locale":"?"}', '{"addresses":[{"channel":"sms"}]}', "x" * 2_000_000]
)
async def test_a_recipient_that_cannot_be_read_has_no_address_and_others_are_as_they_were(kit, damage, value):
    """Its stand-in is never written back; nor is that for what a tenant says for all."""
    bad, good = [await kit.store.save(make_recipient(f"user:{n}")) for n in range(2)]
    await kit.store.save(TenantPreferences(tenant=ACME, zone="Asia/Tokyo"))
    damage("recipients", "details", value, id=bad.id)
    damage("tenant_preferences", "details", "[", id=PREFERENCES)

    found = await kit.store.page(Recipient, ACME, limit=9)
    by_id = sorted(await kit.store.get(Recipient, ACME, [bad.id, good.id]), key=lambda one: one.id)
    (said,) = await kit.store.page(TenantPreferences, ACME, limit=9)
    with pytest.raises(StoreError, match="recipient user:0 cannot be read"):
        await kit.store.save(found[0])
    with pytest.raises(StoreError, match="preferences of tenant acme cannot be read"):
        await kit.store.save(said)
    (problem,) = (await kit.recipients.import_(['{"id":"user:0"}'], tenant=ACME)).problems

    assert "the row of recipient user:0 is damaged" in problem.problem
    assert found == by_id
    assert [UnreadableRecipient, Recipient] == [type(one) for one in found]
    assert ((), good) == (found[0].addresses, found[1])
    assert UnreadableTenantPreferences is type(said)


@pytest.mark.parametrize(
    "value", ["", "[]", '{"entries":[{"reason":"?"}],"revisions":[{"number":0}]}', "x" * 2_000_000]
)
async def test_a_suppression_that_cannot_be_read_suppresses_and_a_template_holds(kit, damage, value):
    """Whatever they said: the address is not used, the template is known to be damaged, and none is written over."""
    listed = await kit.suppressions.add("email", "ada@example.org", tenant=ACME, purposes=["security"])
    name = "order.paid/sms.txt"
    await kit.store.save(StoredTemplate(id=name, tenant=ACME, revisions=[]).revised("x", at=START, by="", note=""))
    damage("suppressions", "details", value, id=listed.id)
    damage("templates", "details", value, id=name)

    found = await kit.suppressions.check("email", "ada@example.org", tenant=ACME)
    (stored,) = await kit.store.page(StoredTemplate, ACME, limit=9)

    assert (UnreadableSuppression, [()]) == (type(found), [each.purposes for each in found.entries])
    used = current_of([stored])
    assert (UnreadableTemplate, (name,)) == (type(stored), used and used.unreadable)
    with pytest.raises(StoreError, match=r"suppressed address email:.* cannot be read"):
        await kit.suppressions.add("email", "ada@example.org", tenant=ACME)
    with pytest.raises(StoreError, match=f"template {name} cannot be read"):
        await kit.store.save(stored)
    assert await kit.store.remove(StoredTemplate, ACME, name, now=START)


@pytest.mark.parametrize("value", ["", "[]", '{"seen_at":1}', "x" * 2_000_000])
async def test_what_operators_look_at_hides_nothing_else(kit, damage, value):
    """A damaged entry of the audit log is shown as one, a damaged worker is long gone, and none is written over."""
    told: dict[str, Any] = {
        "subject": "key_1",
        "role": "operator",
        "tenant": ACME,
        "target": None,
        "request_id": "req_1",
    }
    bad, good = [await kit.audit.add(ActionAudited(action="mute", status=200, **told)) for _ in range(2)]
    worker = await kit.store.save(WorkerRecord(id="host-1", started_at=START, seen_at=START))
    damage("audit", "details", value, id=bad.id)
    damage("workers", "details", value, id=worker.id)

    found = {each.id: each for each in (await kit.audit.page()).entries}
    (gone,) = await kit.store.page(WorkerRecord, "", limit=9)

    assert (UnreadableAuditEntry, good) == (type(found[bad.id]), found[good.id])
    assert gone.is_silent(START)
    for stored in (found[bad.id], gone):
        with pytest.raises(StoreError, match=f"{stored.id} cannot be read"):
            await kit.store.save(stored)


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


async def test_a_circuit_that_cannot_be_read_hides_no_other(kit, damage):
    """Every process asks for all of them at a time."""
    for id_ in ("end_bad", "end_good"):
        await kit.store.save(make_endpoint(id=id_, tenant=ACME))
        await save_circuit(kit.store, OpenCircuit(key=id_, tenant=ACME, since=START, probe_at=START))
    damage("circuits", "probe_at", 2**62, key="end_bad")

    assert ["end_good"] == [circuit.key for circuit in await kit.store.circuits()]


@pytest.mark.parametrize(
    ("column", "value"), [("published_at", NEVER), ("expires_at", -NEVER), ("priority", 7), ("published_at", -NEVER)]
)
async def test_an_event_that_cannot_be_read_waits_and_others_are_planned(kit, damage, caplog, column, value):
    """It is leased like the others, so it does not come back at once; once it is mended it is planned."""
    bad, good = await published(kit)
    damage("events", column, value, id=bad)

    taken = await kit.store.take(10, now=START, lease=LEASE)
    at_once = await kit.store.take(10, now=START, lease=LEASE)
    damage("events", column, 1, id=bad)
    later = await kit.store.take(10, now=START + LEASE, lease=LEASE)

    assert [good] == [event.id for event in taken]
    assert [] == at_once
    assert {bad, good} == {event.id for event in later}
    assert f"event.unreadable id={bad} tenant='acme' error=" in caplog.text


@pytest.mark.parametrize(("table", "column"), [("queue", "expires_at"), ("events", "published_at")])
async def test_a_delivery_that_cannot_be_read_ends_with_its_leases_and_others_are_sent(kit, damage, table, column):
    """It is not claimed at once again, ends as a dead letter in the end, and can be sent again once it is mended."""
    bad, good = await planned(kit)
    row = bad if table == "queue" else (await kit.deliveries.get(bad, tenant=ACME)).event_id
    damage(table, column, NEVER, id=row)

    claims = await kit.store.claim(LANE, 10, now=START, lease=LEASE, worker="w")
    at_once = await kit.store.claim(LANE, 10, now=START, lease=LEASE, worker="w")
    rescued = await kit.store.rescue(10, now=START + 2 * LEASE, max_abandoned=1)
    dead = await kit.deliveries.dead(tenant=ACME)
    damage("deliveries" if table == "queue" else table, column, 2**50, id=row)
    await kit.deliveries.redrive(bad, tenant=ACME)
    (again,) = await kit.store.claim(LANE, 10, now=START + 2 * LEASE, lease=LEASE, worker="w")

    assert [good] == [claim.delivery_id for claim in claims]
    assert [] == at_once
    assert {bad, good} == {delivery.id for delivery in rescued} == {delivery.id for delivery in dead}
    assert bad == again.delivery_id


@pytest.mark.parametrize("column", ["created_at", "due_at"])
async def test_leases_of_others_are_ended_beside_a_delivery_that_cannot_be_read(kit, damage, column):
    """A round of the janitor ends no worse for one bad row, whose lease is ended as well."""
    bad, good = await planned(kit)
    await kit.store.claim(LANE, 10, now=START, lease=LEASE, worker="w")
    damage("queue", column, NEVER, id=bad)

    await kit.store.rescue(10, now=START + 2 * LEASE, max_abandoned=5)
    claims = await kit.store.claim(LANE, 10, now=START + 2 * LEASE, lease=LEASE, worker="w")

    assert {bad, good} == {claim.delivery_id for claim in claims}
    assert {2} == {claim.attempt for claim in claims}


@pytest.mark.parametrize("due_at", [NEVER, -NEVER])
async def test_a_row_that_is_due_at_no_time_does_not_keep_others_from_being_waited_for(kit, damage, due_at):
    """What is due next, and since when, can be asked whatever a row says."""
    bad, good = await planned(kit)
    damage("queue", "due_at", due_at, id=bad)

    upcoming = await kit.store.next_due()
    stats = await kit.stats()
    claims = await kit.store.claim(LANE, 10, now=START, lease=LEASE, worker="w")

    assert upcoming.lanes[LANE] <= START
    assert 2 == stats.waiting
    assert good in {claim.delivery_id for claim in claims}


async def test_lists_show_what_cannot_be_read_beside_the_others(kit, damage):
    """Each stand-in has what can be read, and says that it is one."""
    bad, good = await planned(kit)
    events = [(await kit.deliveries.get(id_, tenant=ACME)).event_id for id_ in (bad, good)]
    await kit.store.claim(LANE, 10, now=START, lease=LEASE, worker="w")
    await kit.store.rescue(10, now=START + 2 * LEASE, max_abandoned=5)
    damage("events", "occurred_at", NEVER, id=events[0])
    damage("queue", "created_at", NEVER, id=bad)
    damage("attempts", "started_at", NEVER, delivery_id=bad)

    second, first = await kit.events.list(tenant=ACME)
    explained = await kit.events.explain(events[0], tenant=ACME)
    listed = {delivery.id: delivery for delivery in await kit.deliveries.list(tenant=ACME)}
    got = await kit.deliveries.get(bad, tenant=ACME)
    (attempt,) = await kit.deliveries.attempts(bad, tenant=ACME)

    assert events == [first.id, second.id]
    assert (b'{"data":{},"unreadable":"record_unreadable"}', "order.paid") == (first.body, first.type)
    assert (first, [bad]) == (explained.event, [delivery.id for delivery in explained.deliveries])
    assert 1 == json.loads(second.body)["data"]["n"]
    assert {bad, good} == listed.keys()
    assert ("record_unreadable", DeliveryState.PENDING, 1) == (got.reason, got.state, got.attempts)
    assert got == listed[bad]
    assert ("record_unreadable", "abandoned", 1) == (attempt.reason, attempt.outcome, attempt.number)


async def test_a_candidate_of_an_endpoint_that_cannot_be_read_is_one_of_a_paused_endpoint(kit, damage):
    """The large tenant's other subscriptions are found."""
    bad, endpoint = await kit.subscribe("order.*", tenant=ACME, endpoint=URL)
    good, _ = await kit.subscribe("order.*", tenant=ACME, endpoint=URL)
    damage("endpoints", "state", "asleep", id=endpoint.id)

    (found,) = await kit.store.match(ACME, [MatchQuery("order.paid")], limit=10)

    expected = {bad.id: EndpointState.PAUSED, good.id: EndpointState.ACTIVE}
    assert expected == {candidate.subscription.id: candidate.state for candidate in found}


class TestSqlite:
    """SQLite keeps any value in any column, and its driver reads no text that is not UTF-8."""

    @pytest.fixture
    def store_url(self, sqlite_store_url):
        return sqlite_store_url

    @pytest.fixture
    def garble(self, store_url):
        """Return a function that puts a text that is not UTF-8 into a column."""

        def write(table: str, column: str, value: str = "CAST(x'6fff' AS TEXT)", **where: str) -> None:
            ((key, id_),) = where.items()
            db = sqlite3.connect(store_url.removeprefix("sqlite:///"))
            with db:
                statement = f"UPDATE notifykit_{table} SET {column} = {value} WHERE {key} = ?"
                assert 1 == db.execute(statement, (id_,)).rowcount
            db.close()

        return write

    @pytest.mark.parametrize(
        ("column", "value"), [("type", "CAST(x'6fff' AS TEXT)"), ("published_at", "'soon'"), ("body", "'{}'")]
    )
    async def test_an_event_that_cannot_be_read_stops_no_other(self, kit, garble, caplog, column, value):
        """It is neither planned nor sent, and is listed."""
        bad, good = await published(kit)
        garble("events", column, value, id=bad)

        taken = await kit.store.take(10, now=START, lease=LEASE)
        listed = await kit.events.list(tenant=ACME)

        assert [good] == [event.id for event in taken]
        assert [good, bad] == [event.id for event in listed]
        assert b'{"data":{},"unreadable":"record_unreadable"}' == listed[1].body
        assert "event.unreadable" in caplog.text

    async def test_a_delivery_that_cannot_be_read_stops_no_other(self, kit, garble):
        """Neither claims nor rescues of others fail; one that cannot even be moved stays where it is."""
        bad, good = await planned(kit)
        garble("queue", "subscription_id", id=bad)

        claims = await kit.store.claim(LANE, 10, now=START, lease=LEASE, worker="w")
        rescued = await kit.store.rescue(10, now=START + 2 * LEASE, max_abandoned=1)

        assert [good] == [claim.delivery_id for claim in claims]
        assert {bad: DeliveryState.PENDING, good: DeliveryState.DEAD} == {each.id: each.state for each in rescued}
        assert {bad, good} == {delivery.id for delivery in await kit.deliveries.list(tenant=ACME)}

    async def test_an_operator_moves_the_others(self, kit, garble):
        """All others are redriven and cancelled; redriving the damaged one alone raises an error without its text."""
        bad, good = await planned(kit)
        await kit.store.claim(LANE, 10, now=START, lease=LEASE, worker="w")
        await kit.store.rescue(10, now=START + 2 * LEASE, max_abandoned=1)
        garble("deliveries", "subscription_id", id=bad)

        redriven = await kit.deliveries.redrive_all(tenant=ACME)
        with pytest.raises(StoreError, match=r"cannot be read: .*subscription_id'$"):
            await kit.deliveries.redrive(bad, tenant=ACME)
        garble("queue", "subscription_id", id=good)
        cancelled = await kit.store.move(ACME, DeliveryFilter(), Move.CANCEL, now=START)

        listed = {delivery.id: delivery.state for delivery in await kit.deliveries.list(tenant=ACME)}
        assert (1, 0) == (redriven, cancelled)
        assert {bad: DeliveryState.DEAD, good: DeliveryState.PENDING} == listed

    async def test_the_configuration_of_a_tenant_is_read_beside_a_text_that_is_none(self, kit, garble):
        """The endpoint is paused, the subscription disabled, and the circuit left out."""
        bad, endpoint = await kit.subscribe("order.*", tenant=ACME, endpoint=URL)
        good, other = await kit.subscribe("order.*", tenant=ACME, endpoint=URL)
        for id_ in (endpoint.id, other.id):
            await save_circuit(kit.store, OpenCircuit(key=id_, tenant=ACME, since=START, probe_at=START))
        garble("endpoints", "description", id=endpoint.id)
        garble("subscriptions", "description", id=bad.id)
        garble("circuits", "reason", key=endpoint.id)

        config = (await kit.store.load_tenants([ACME]))[ACME]

        states = {endpoint.id: EndpointState.PAUSED, other.id: EndpointState.ACTIVE}
        assert states == {each.id: each.state for each in config.endpoints}
        assert {bad.id: False, good.id: True} == {each.id: each.enabled for each in config.subscriptions}
        assert other.id in {circuit.key for circuit in await kit.store.circuits()}

    async def test_an_error_of_the_database_is_taken_for_no_damage(self, kit, store_url, caplog):
        """What is wrong with the tables is told as that, and nothing is called unreadable."""
        await planned(kit)
        await kit.store.claim(LANE, 10, now=START, lease=LEASE, worker="w")
        db = sqlite3.connect(store_url.removeprefix("sqlite:///"))
        db.execute("DROP TABLE notifykit_deliveries")
        db.close()

        with pytest.raises(SchemaError):
            await kit.store.rescue(10, now=START + 2 * LEASE, max_abandoned=1)
        with pytest.raises(SchemaError):
            await kit.deliveries.list(tenant=ACME)
        assert "unreadable" not in caplog.text

    @pytest.mark.parametrize("value", ["CAST(x'6fff' AS TEXT)", "x'6fff'"], ids=["not UTF-8", "a BLOB"])
    async def test_a_row_with_an_unreadable_id_is_withdrawn_and_others_are_handed_out(self, kit, garble, caplog, value):
        """Events are taken, deliveries claimed and leases ended beside it."""
        bad, good = await published(kit)
        garble("outbox", "event_id", value, event_id=bad)
        taken = await kit.store.take(10, now=START, lease=LEASE)
        worse, better = await planned(kit)
        garble("queue", "id", value, id=worse)

        claims = await kit.store.claim(LANE, 10, now=START, lease=LEASE, worker="w")
        rescued = await kit.store.rescue(10, now=START + 2 * LEASE, max_abandoned=5)
        upcoming = await kit.store.next_due()

        assert [good] == [event.id for event in taken]
        assert [better] == [claim.delivery_id for claim in claims] == [delivery.id for delivery in rescued]
        assert LANE in upcoming.lanes
        assert 2 == caplog.text.count("row.unreadable table=")
