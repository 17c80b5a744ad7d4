"""Results cannot be written for many leases, while every worker lives: tables are locked, as by a migration.

Nothing may be sent twice: a worker that lives keeps its results and its leases.  It begins no attempts
meanwhile, and no delivery is taken for a poison message.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from datetime import timedelta

import attrs
import psycopg
import pytest

from notifykit import Delivery, DispatchSettings, Event, Notifykit, Priority
from notifykit.dispatch.sending import recorder
from notifykit.stores.sql.sqlite import store as sqlite
from notifykit.telemetry import DeliveryAbandoned, LoopFailed, TelemetryEvent
from tests.databases import new_database
from tests.unit.dispatch.support import ScriptedChannel

pytestmark = pytest.mark.in_turn

TENANT = "acme"
LEASE = 1.2
SETTINGS = DispatchSettings(
    lease=timedelta(seconds=LEASE),
    max_timeout=timedelta(seconds=0.4),
    lease_margin=timedelta(seconds=0.2),
    poll=timedelta(seconds=0.1),
    concurrency=dict.fromkeys(Priority, 32),
    max_abandoned=2,
)
RESULTS = ("deliveries",)
EVERYTHING = ("outbox", "queue", "deliveries", "attempts")


@pytest.fixture
def database(postgres_url: str, postgres_empty_tables: str) -> Iterator[str]:
    """The URL of a database with the tables of a store, for this test alone."""
    with new_database(postgres_url, template_url=postgres_empty_tables) as url:
        yield url


@pytest.fixture(params=[pytest.param("sqlite_store_url", marks=pytest.mark.thorough), "database"])
def any_database(request: pytest.FixtureRequest) -> str:
    """The same, of each kind."""
    url: str = request.getfixturevalue(request.param)
    return url


@attrs.define
class Team:
    """Two workers in one process, on one database; both send through one channel."""

    url: str
    kits: list[Notifykit]
    channel: ScriptedChannel
    emitted: list[TelemetryEvent]
    published: int = 0

    async def publish(self) -> None:
        """Publish an event."""
        await self.kits[0].apublish(Event(type="order.paid", data={}), tenant=TENANT)
        self.published += 1

    async def until_delivered(self, seconds: float = 30) -> None:
        """Wait until every event has been delivered."""
        end = time.monotonic() + seconds
        while (states := Counter(one.state.value for one in await self.deliveries())) != {"delivered": self.published}:
            assert time.monotonic() < end, f"{states} of {self.published}"
            await asyncio.sleep(0.05)

    async def deliveries(self) -> Sequence[Delivery]:
        return await self.kits[0].deliveries.list(tenant=TENANT, limit=1000)

    async def check(self) -> None:
        """Wait for the end, and check that each was sent once and none was abandoned."""
        await self.until_delivered()
        assert {1: self.published} == Counter(Counter(claim.delivery_id for claim in self.channel.sent).values())
        assert not [event for event in self.emitted if isinstance(event, DeliveryAbandoned)]


@asynccontextmanager
async def team(url: str) -> AsyncIterator[Team]:
    """Start two workers, and check that they work."""
    emitted: list[TelemetryEvent] = []
    channel = ScriptedChannel()
    async with AsyncExitStack() as stack:
        kits = [await stack.enter_async_context(Notifykit(url, subscribers=[emitted.append])) for _ in range(2)]
        await kits[0].subscribe("**", tenant=TENANT, endpoint="https://203.0.114.7/hooks")
        for kit in kits:
            await stack.enter_async_context(kit.dispatcher([channel], SETTINGS))
        workers = Team(url, kits, channel, emitted)
        await workers.publish()
        await workers.until_delivered()
        yield workers


@asynccontextmanager
async def locked(url: str, tables: Sequence[str]) -> AsyncIterator[None]:
    """Lock tables against writing, as ``CREATE INDEX`` and many other commands do; on SQLite, all of them."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
        return
    names = ", ".join(f"notifykit_{table}" for table in tables)
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute(f"LOCK TABLE {names} IN SHARE MODE")
        yield


@pytest.mark.parametrize(
    "lock_timeout", ["300ms", pytest.param("0", marks=pytest.mark.thorough)], ids=["refused", "waiting"]
)
async def test_a_lock_on_the_results_repeats_nothing(
    database: str, lock_timeout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For three leases no result can be written, whether the writes wait or fail: few are sent, and each once."""
    monkeypatch.setattr(recorder, "_STALL", 0.3)  # as short beside a lease as in production
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET lock_timeout = '{lock_timeout}'")
    async with team(database) as workers:
        async with locked(database, RESULTS):
            end = time.monotonic() + 3 * LEASE
            before = workers.published
            while time.monotonic() < end:
                await workers.publish()
                await asyncio.sleep(0.01)
            came, sent = workers.published - before, len(workers.channel.sent) - before

        await workers.check()

    assert sent <= came / 2, "attempts went on although nothing could be recorded"
    failed = {event.loop for event in workers.emitted if isinstance(event, LoopFailed)}
    assert ("record" in failed) == (lock_timeout != "0")


async def test_a_lock_on_everything_repeats_nothing(any_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases cannot be prolonged either and run out; afterwards each worker records what it has, and none resends."""
    monkeypatch.setattr(sqlite, "BUSY", 0.3)
    async with team(any_database) as workers:
        workers.channel.gate = asyncio.Event()
        before = len(workers.channel.sent)
        for _ in range(30):
            await workers.publish()
        while len(workers.channel.sent) < before + 20:
            await asyncio.sleep(0.005)
        async with locked(any_database, EVERYTHING):
            workers.channel.gate.set()
            await asyncio.sleep(2 * LEASE)

        await workers.check()
