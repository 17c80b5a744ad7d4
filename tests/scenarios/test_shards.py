"""Tenants on several databases: moved under load, and apart from a shard that is down."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import or_, select

from notifykit import DispatchSettings, EgressRules, Event, Notifykit
from notifykit.errors import ConfigurationError, StoreUnavailableError
from notifykit.models.delivery import DeliveryState, Lane, Priority
from notifykit.models.inbox import InboxFilter
from notifykit.ports import DeliveryFilter, Record, Settlement
from notifykit.stores.sharded import ShardedStore, copying, growth, parking
from notifykit.stores.sharded.placing import dealt
from notifykit.stores.sql.placements import HELD, RING, Placement
from notifykit.stores.sql.schema import metadata
from notifykit.testing import Receiver, make_delivery, make_event, make_inbox_item
from notifykit.testing.servers import PostgresServer
from tests.databases import new_database

LOCAL = EgressRules(allow=["127.0.0.0/8"], allow_http=True)
LANE = Lane("webhook", Priority.NORMAL)
LEASE = timedelta(minutes=1)
#: Where a mover is killed, in the order in which it gets there.
KILLS = ("shard.copied", "shard.held", "shard.parked", "shard.activated", "shard.moved")
#: What a process that is not killed sends twice, although its tenant is moved five times under its hands.
REPEATS = 0


@pytest.fixture
def url(tmp_path):
    return f"sharded://?a=sqlite:///{tmp_path / 'a.db'}&b=sqlite:///{tmp_path / 'b.db'}"


@pytest.fixture
def postgres_shards(postgres_url):
    with new_database(postgres_url) as one, new_database(postgres_url) as other:
        yield f"sharded://?a={one}&b={other}"


async def mover(url, tenant, shard, *, kill=None):
    """Run ``notifykit shards move``; return its exit code."""
    return await shards_command(url, "move", tenant, shard, kill=kill)


async def shards_command(url, *words, kill=None):
    """Run ``notifykit shards``; return its exit code."""
    environment = {**os.environ, "NOTIFYKIT_FAILPOINTS": f"{kill}=kill" if kill else ""}
    command = [sys.executable, "-m", "notifykit", "shards", *words, "--url", url]
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=subprocess.DEVNULL)
    return await process.wait()


def other(store, tenant):
    return "b" if store.partition(tenant) == "a" else "a"


class Load:
    """Publishes events of some tenants until it is told to stop."""

    def __init__(self, kit, tenants=("acme", "globex"), pause=0.01):
        self.published = []
        self._kit, self._tenants, self._pause = kit, tenants, pause
        self._stop = asyncio.Event()

    async def __aenter__(self):
        self._tasks = [asyncio.create_task(self._publish(tenant)) for tenant in self._tenants]
        return self

    async def __aexit__(self, *_):
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def _publish(self, tenant):
        number = 0
        while not self._stop.is_set():
            key = f"{tenant}-{number}"
            await self._kit.apublish(Event(type="order.paid", data={"key": key}), tenant=tenant, idempotency_key=key)
            self.published.append(key)
            number += 1
            await asyncio.sleep(self._pause)


async def _endpoints(kit, receiver, tenants=("acme", "globex")):
    for tenant in tenants:
        endpoint = await kit.endpoints.create(receiver.url, tenant=tenant, secret=receiver.secret)
        await kit.subscriptions.create("order.*", tenant=tenant, endpoint_id=endpoint.id)


def shards_of(kit) -> Any:
    """Return the kit's store, which is a sharded one."""
    return kit.store


async def _moved_under_load(url, kills):
    async with Receiver() as receiver, Notifykit(url, egress=LOCAL) as kit, Notifykit(url, egress=LOCAL) as another:
        await _endpoints(kit, receiver)
        # Another kit is another process as far as placements go: it hears of the move by reading.
        async with kit.dispatcher() as dispatcher, another.dispatcher(), Load(kit) as load, Load(another) as more:
            more.published = load.published
            target = other(shards_of(kit), "acme")
            died = [await mover(url, "acme", target, kill=kill) for kill in kills]
            assert 0 == await mover(url, "acme", target)
            assert target == (await shards_of(kit).shard_of("acme")).name
            await asyncio.sleep(0.3)
        async with kit.dispatcher() as dispatcher:
            await dispatcher.drained()
        again = await kit.apublish(
            Event(type="order.paid", data={"key": "acme-0"}), tenant="acme", idempotency_key="acme-0"
        )
        left = await _rows(shards_of(kit).shards[other(shards_of(kit), "acme")], "acme")
        deliveries = await shards_of(kit).find_deliveries("acme", DeliveryFilter(), limit=5000)
    arrived = Counter(event.data["key"] for event in receiver.events)
    return set(load.published), arrived, died, again, left, deliveries


@pytest.mark.parametrize("kills", [KILLS[1:4:2], pytest.param(KILLS, marks=pytest.mark.thorough)], ids=["two", "all"])
async def test_a_tenant_is_moved_under_load_although_its_mover_is_killed(url, kills):
    """Everything that was published arrives once, with publishers and workers that nobody tells of the move."""
    published, arrived, died, again, left, deliveries = await _moved_under_load(url, kills)

    assert [-signal.SIGKILL] * len(kills) == died
    assert published == set(arrived)
    assert arrived.total() - len(arrived) <= REPEATS
    assert again.duplicate
    assert {} == left
    assert {DeliveryState.DELIVERED} == {delivery.state for delivery in deliveries}
    assert len([key for key in published if key.startswith("acme")]) == len(deliveries)


@pytest.mark.thorough
async def test_a_tenant_is_moved_between_postgresql_servers(postgres_shards):
    """The same on PostgreSQL."""
    await Notifykit(postgres_shards).migrate()

    published, arrived, died, again, left, _ = await _moved_under_load(postgres_shards, KILLS)

    assert [-signal.SIGKILL] * len(KILLS) == died
    assert published == set(arrived)
    assert arrived.total() - len(arrived) <= REPEATS
    assert again.duplicate
    assert {} == left


@pytest.mark.thorough
async def test_a_move_whose_mover_died_is_finished_by_who_needs_the_tenant(url):
    """A publish waits until the mover has not been heard of for a while, and then finishes the move itself."""
    async with Notifykit(url) as kit:
        await kit.apublish(Event(type="order.paid", data={}), tenant="acme")
        target = other(shards_of(kit), "acme")
        await mover(url, "acme", target, kill="shard.parked")

        await kit.apublish(Event(type="order.paid", data={}), tenant="acme")

        assert target == shards_of(kit).partition("acme")
        assert 2 == (await shards_of(kit).shards[target].store.stats(now=datetime.now(UTC))).unplanned


# ── what moves ─────────────────────────────────────────────────────────────────────────────────


async def _rows(shard, tenant):
    """Return what a database has of a tenant, by table, and the attempts of its deliveries."""

    def read(connection):
        found = {}
        for table in metadata.sorted_tables:
            if "tenant" in table.c and table.name not in ("notifykit_placements", "notifykit_tenants"):
                rows = connection.execute(select(table).where(table.c.tenant == tenant)).mappings()
                found[table.name] = sorted(map(repr, rows))
        attempts, open_, ended = (metadata.tables[f"notifykit_{n}"] for n in ("attempts", "queue", "deliveries"))
        its = (select(table.c.id).where(table.c.tenant == tenant) for table in (open_, ended))
        some = select(attempts).where(or_(*(attempts.c.delivery_id.in_(ids) for ids in its)))
        found["attempts"] = sorted(map(repr, connection.execute(some).mappings()))
        return {name: rows for name, rows in found.items() if rows}

    return await shard.store.transaction(read, write=False)


def test_every_table_of_a_tenant_is_moved():
    """A table that is added later is not forgotten."""
    work = {table.name for table, _ in parking._WORK.values()}
    with_tenant = {table.name for table in metadata.sorted_tables if "tenant" in table.c}

    moved = {table.name for table in copying.TABLES} | work
    of_operators = {"notifykit_audit", "notifykit_ended_sessions", "notifykit_workers"}  # whose rows are of no tenant
    assert with_tenant - of_operators - {"notifykit_placements", "notifykit_tenants"} == moved


async def test_everything_of_a_tenant_moves_and_nothing_else(url, monkeypatch):
    """Rows of every kind are at the target as they were, and those of other tenants stay where they are."""
    monkeypatch.setattr(copying, "PAGE", 7)
    monkeypatch.setattr(parking, "PAGE", 7)
    async with Notifykit(url, egress=LOCAL) as kit, Receiver() as receiver:
        receiver.reply(500, 200)
        now = datetime.now(UTC)
        await _endpoints(kit, receiver)
        await kit.recipients.save("user:1", tenant="acme", email="ada@example.org")
        await kit.suppressions.add("email", "bob@example.org", tenant="acme")
        await kit.api_keys.create(tenant="acme", role="viewer")
        await shards_of(kit).inbox_put([make_inbox_item(tenant="acme", recipient="user:1")])
        for _ in range(20):
            await shards_of(kit).append([make_event(tenant="acme", at=now)])
        await kit.apublish(Event(type="order.paid", data={}), tenant="acme", idempotency_key="one")
        dispatcher = kit.dispatcher()
        await dispatcher.step()
        await kit.apublish(Event(type="order.paid", data={}), tenant="acme")
        source, target = shards_of(kit).partition("acme"), other(shards_of(kit), "acme")
        shards = shards_of(kit).shards
        before, strangers = await _rows(shards[source], "acme"), await _rows(shards["b"], "globex")

        await shards_of(kit).move_tenant("acme", target)

        after = await _rows(shards[target], "acme")
        page = await shards_of(kit).inbox_page("acme", "user:1", InboxFilter(), now=now, limit=9)
        assert before == after
        assert {} == await _rows(shards[source], "acme")
        assert strangers == await _rows(shards["b"], "globex")
        assert 1 == len(page.items)
        assert {"notifykit_outbox", "notifykit_queue", "attempts", "notifykit_inboxes"} <= set(after)


# ── what was under way ─────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def stores(url):
    """Two stores on the same shards, of which the second hears of nothing that happens from now on."""
    store, deaf = ShardedStore.from_url(url), ShardedStore.from_url(url)
    await store.open()
    await deaf.open()
    for shard in deaf.shards.values():
        shard.read_at = math.inf
    yield store, deaf
    await store.aclose()
    await deaf.aclose()


async def test_what_is_published_where_the_tenant_was_is_sent_on(stores):
    """A process that was stopped in the middle of a publish does not lose it: it is taken where the tenant is now."""
    store, deaf = stores
    now = datetime.now(UTC)
    first, late = make_event(tenant="acme", at=now), make_event(tenant="acme", at=now + timedelta(milliseconds=1))
    await store.append([first])
    await store.move_tenant("acme", other(store, "acme"))

    await deaf.append([late])
    taken = [event for _ in range(3) for event in await store.take(9, now=now + LEASE, lease=LEASE)]

    assert [first.id, late.id] == [event.id for event in taken]
    assert {store.partition("acme")} == set(store._came_from.values())


async def test_what_was_taken_is_not_lost_with_a_shard_that_fails_in_the_second_round(stores, monkeypatch):
    """The caller gets what is leased to it already."""
    store, _ = stores
    now = datetime.now(UTC)
    await store.append([make_event(tenant="acme", at=now) for _ in range(9)])
    home = store.shards[store.partition("acme")].store
    take, asked = home.take, []

    async def once(limit, **options):
        asked.append(limit)
        if len(asked) > 1:
            raise StoreUnavailableError("away")
        return await take(limit, **options)

    monkeypatch.setattr(home, "take", once)

    taken = await store.take(8, now=now, lease=LEASE)

    assert [4, 4] == asked
    assert 4 == len(taken)


async def test_results_follow_the_tenant(stores):
    """What was claimed before the move is recorded after it, under the same fence."""
    store, deaf = stores
    now = datetime.now(UTC)
    event = make_event(tenant="acme", at=now)
    new = make_delivery(event, due_at=now)
    await deaf.append([event])
    (taken,) = await deaf.take(1, now=now, lease=LEASE)
    await deaf.settle([Settlement(taken.id, taken.fence, [new])], now=now, lease=LEASE, worker="w")
    (claim,) = await deaf.claim(LANE, 1, now=now, lease=LEASE, worker="w")
    await store.move_tenant("acme", other(store, "acme"))

    kept = await deaf.extend([(claim.delivery_id, claim.fence)], until=now + LEASE)
    record = Record(claim.delivery_id, claim.fence, DeliveryState.DELIVERED, None, None, now, None)
    written = await deaf.record([record])

    (delivery,) = await store.find_deliveries("acme", DeliveryFilter(), limit=9)
    assert {new.id} == kept == written
    assert DeliveryState.DELIVERED is delivery.state


# ── shards ─────────────────────────────────────────────────────────────────────────────────────


async def test_a_database_under_another_name_is_refused(url, tmp_path):
    """Exchanged URLs would send every tenant to the wrong database."""
    async with Notifykit(url):
        pass
    exchanged = f"sharded://?a=sqlite:///{tmp_path / 'b.db'}&b=sqlite:///{tmp_path / 'a.db'}"

    with pytest.raises(ConfigurationError, match="says that it is shard 'b'"):
        await Notifykit(exchanged).open()
    with pytest.raises(ConfigurationError, match="name every one of them"):
        await Notifykit(f"sharded://?a=sqlite:///{tmp_path / 'a.db'}").open()


async def test_a_shard_that_is_added_gets_only_what_is_moved_there(url, tmp_path):
    """Tenants stay where they are, known or new, until they are moved."""
    names = [f"tenant-{number}" for number in range(50)]
    async with Notifykit(url) as kit:
        before = {name: shards_of(kit).partition(name) for name in names}
    async with Notifykit(f"{url}&c=sqlite:///{tmp_path / 'c.db'}") as kit:
        after = {name: shards_of(kit).partition(name) for name in names}
        await shards_of(kit).move_tenant("tenant-1", "c")
        await kit.apublish(Event(type="order.paid", data={}), tenant="tenant-1")

        assert before == after
        assert 1 == (await shards_of(kit).shards["c"].store.stats(now=datetime.now(UTC))).unplanned


# ── growth ─────────────────────────────────────────────────────────────────────────────────────


class Newcomers:
    """Makes new tenants until it is told to stop, each used by two processes at once."""

    def __init__(self, kit, another, receiver):
        self.names = []
        self._kits, self._receiver = (kit, another), receiver
        self._stop = asyncio.Event()

    async def __aenter__(self):
        self._task = asyncio.create_task(self._make())
        return self

    async def __aexit__(self, *_):
        self._stop.set()
        await self._task

    async def _make(self):
        while not self._stop.is_set():
            name = f"new-{len(self.names)}"
            await _endpoints(self._kits[0], self._receiver, [name])
            event = Event(type="order.paid", data={"key": f"{name}-0"})
            await asyncio.gather(*(kit.apublish(event, tenant=name, idempotency_key="0") for kit in self._kits))
            self.names.append(name)
            await asyncio.sleep(0.1)


async def _tenants_on(shard):
    return {tenant async for page in growth.tenants_on(shard) for tenant in page}


async def _grown_under_load(url, added, kills, tenants):
    async with Receiver() as receiver:
        async with Notifykit(url, egress=LOCAL) as kit:
            await _endpoints(kit, receiver, tenants)
            await shards_of(kit).move_tenant(tenants[0], other(shards_of(kit), tenants[0]))
            by_hand = shards_of(kit).partition(tenants[0])
        url = f"{url}&c={added}"
        await Notifykit(url).migrate()
        async with Notifykit(url, egress=LOCAL) as kit, Notifykit(url, egress=LOCAL) as another:
            async with (
                kit.dispatcher(),
                another.dispatcher(),
                Load(kit, tenants, 0.2) as load,
                Load(another, tenants, 0.2) as more,
                Newcomers(kit, another, receiver) as newcomers,
            ):
                more.published = load.published
                died = [await shards_command(url, "rebalance", kill=kill) for kill in kills]
                assert 0 == await shards_command(url, "rebalance")
                await asyncio.sleep(0.3)
            async with kit.dispatcher() as dispatcher:
                await dispatcher.drained()
            published = {*load.published, *(f"{name}-0" for name in newcomers.names)}
            store = shards_of(kit)
            await asyncio.gather(*(shard.refresh(0) for shard in store.shards.values()))
            homes = {name: store.partition(name) for name in [*tenants, *newcomers.names]}
            places = {each: await _tenants_on(shard) for each, shard in store.shards.items()}
    return published, Counter(event.data["key"] for event in receiver.events), died, homes, places, by_hand


def _check_growth(found, tenants, kills):
    published, arrived, died, homes, places, by_hand = found
    assert [-signal.SIGKILL] * len(kills) == died
    assert published == set(arrived)
    assert 0 == arrived.total() - len(arrived)
    assert by_hand == homes[tenants[0]]
    ring = ("a", "b", "c")
    assert {shard: {name for name, home in homes.items() if home == shard} for shard in ring} == places
    assert {name: dealt(name, ring) for name in tenants[1:]} == {name: homes[name] for name in tenants[1:]}
    assert "c" in {home for name, home in homes.items() if name not in tenants}


@pytest.fixture
async def grown(url, tmp_path, monkeypatch):
    """Two stores on two shards and one that was added: the ring has not changed yet."""
    monkeypatch.setattr(growth, "GRACE", 0.0)
    async with Notifykit(url) as kit:
        await kit.recipients.save("user:1", tenant=_EARLY, email="ada@example.org")
    store, another = (ShardedStore.from_url(f"{url}&c=sqlite:///{tmp_path / 'c.db'}") for _ in range(2))
    await store.open()
    await another.open()
    yield store, another
    await store.aclose()
    await another.aclose()


#: The hash puts these on ``c`` as soon as there is one.
_EARLY, _LATE = [name for name in map("tenant-{}".format, range(50)) if "c" == dealt(name, ("a", "b", "c"))][:2]


async def test_a_tenant_stays_where_it_is_until_it_is_moved(grown):
    """The ring changes first; whoever then moves such a tenant to where it is deletes nothing."""
    store, another = grown
    home = store.partition(_EARLY)
    await store.growth.change(["a", "b", "c"])
    before = await _rows(store.shards[home], _EARLY)

    await another.move_tenant(_EARLY, home)

    assert home == store.partition(_EARLY) == another.partition(_EARLY)
    assert before == await _rows(store.shards[home], _EARLY) != {}
    assert "c" == store.partition(_LATE)
    assert [(_EARLY, "c", 0)] == [(each.tenant, each.shard, left) async for each, left in another.rebalance()]
    assert {} == await _rows(store.shards[home], _EARLY)
    assert [] == [each async for each in another.rebalance()]


async def test_a_new_tenant_waits_while_the_ring_changes(grown):
    """Until it is certain that no process deals it to another shard."""
    store, another = grown
    change = Placement(RING, '["a", "b", "c"]', '["a", "b"]', 1, HELD)
    await store.growth._announce(change)
    for shard in another.shards.values():
        await shard.refresh(0)

    publish = asyncio.create_task(another.append([make_event(tenant=_LATE, at=datetime.now(UTC))]))
    await asyncio.sleep(0.2)
    waits = not publish.done()
    await store.growth.finish()
    await publish

    assert waits
    assert "c" == another.partition(_LATE)
    assert {} != await _rows(another.shards["c"], _LATE)


async def test_what_is_published_by_the_ring_that_was_is_sent_on(grown):
    """A process that was stopped in the middle of a publish does not lose it."""
    store, deaf = grown
    for shard in deaf.shards.values():
        shard.read_at = math.inf
    await store.growth.change(["a", "b", "c"])
    now = datetime.now(UTC)
    late = make_event(tenant=_LATE, at=now)

    await deaf.append([late])
    taken = [event for _ in range(3) for event in await store.take(9, now=now + LEASE, lease=LEASE)]

    assert [late.id] == [event.id for event in taken if event.tenant == _LATE]
    assert "c" == store._came_from[late.id[4:30]]


_TENANTS = [f"tenant-{number}" for number in range(6)]


@pytest.mark.thorough
async def test_a_shard_is_added_under_load(url, tmp_path):
    """Tenants that belong there are moved, new ones are dealt to it, and each event of both arrives once."""
    found = await _grown_under_load(url, f"sqlite:///{tmp_path / 'c.db'}", (), _TENANTS)

    _check_growth(found, _TENANTS, ())


@pytest.mark.thorough
async def test_a_shard_is_added_between_postgresql_servers_although_the_command_is_killed(
    postgres_shards, postgres_url
):
    """The same on PostgreSQL, where the command dies several times."""
    kills = ("ring.pinned", "ring.held", "shard.parked", "shard.moved")
    await Notifykit(postgres_shards).migrate()
    with new_database(postgres_url) as added:
        found = await _grown_under_load(postgres_shards, added, kills, _TENANTS)

    _check_growth(found, _TENANTS, kills)


@pytest.mark.thorough
async def test_a_shard_that_is_down_delays_only_its_own_tenants(tmp_path, postgres_url):
    """Others are published and delivered; its own publishes are refused, and go on when it is back."""
    del postgres_url  # skips where there is no server
    with PostgresServer() as server:
        url = f"sharded://?a=sqlite:///{tmp_path / 'a.db'}&b={server.url}"
        await Notifykit(url).migrate()
        async with Receiver() as receiver, Notifykit(url, egress=LOCAL) as kit:
            tenants = {
                shards_of(kit).partition(name): name for name in ("acme", "globex", "initech", "umbrella", "hooli")
            }
            for tenant in tenants.values():
                endpoint = await kit.endpoints.create(receiver.url, tenant=tenant, secret=receiver.secret)
                await kit.subscriptions.create("order.*", tenant=tenant, endpoint_id=endpoint.id)
            async with kit.dispatcher(settings=DispatchSettings(grace=timedelta(seconds=1))):
                server.crash()
                with pytest.raises(StoreUnavailableError):
                    await kit.apublish(Event(type="order.paid", data={"n": 0}), tenant=tenants["b"])
                for number in range(20):
                    await kit.apublish(Event(type="order.paid", data={"n": number}), tenant=tenants["a"])
                await receiver.aexpect(20, timeout=5)
                async with Notifykit(url, egress=LOCAL) as fresh:  # one that starts meanwhile
                    await fresh.apublish(Event(type="order.paid", data={"n": 20}), tenant=tenants["a"])
                    await receiver.aexpect(21, timeout=5)
                    server.resume()
                    await asyncio.sleep(1.5)
                    await fresh.apublish(Event(type="order.paid", data={"n": 21}), tenant=tenants["b"])
                    await receiver.aexpect(22, timeout=15)

    assert [*range(22)] == sorted(event.data["n"] for event in receiver.events)
