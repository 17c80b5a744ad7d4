"""A store behind PgBouncer, which refuses settings and may lend out another server connection for each transaction."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path

import anyio
import asyncpg
import pytest
import trustme
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from notifykit import Event, Notifykit
from notifykit.dispatch.settings import DispatchSettings
from notifykit.errors import ConfigurationError, StoreUnavailableError
from notifykit.models.delivery import Claim
from notifykit.models.destination import Destination
from notifykit.models.outcome import Accepted, Outcome
from notifykit.stores.sql.postgres import connections as postgres_connections
from notifykit.stores.sql.postgres.store import PostgresStore
from notifykit.stores.sql.postgres.url import Pooling
from notifykit.telemetry import ClaimLost, DeliveryAttempted, LoopFailed, TelemetryEvent
from notifykit.testing.suites.store.steps import is_planned
from tests.pgbouncer import IGNORED, PgBouncer

#: Its tests share what is made once for the module.
pytestmark = pytest.mark.xdist_group("poolers")

MODES = ["session", "transaction"]
PAID = Event(type="order.paid", data={"n": 1})
#: As many as a process holds for each lane, so that others are claimed.
SETTINGS = DispatchSettings(prefetch=20, batch=20, poll=timedelta(milliseconds=50))


@pytest.fixture(scope="module")
def lenient(pgbouncer: PgBouncer) -> Iterator[PgBouncer]:
    """A pooler that is set to ignore our settings, so that only its process ids reveal it."""
    with PgBouncer(pgbouncer.upstream, {"ignore_startup_parameters": IGNORED, "server_round_robin": 1}) as pooler:
        yield pooler


@pytest.fixture(scope="module")
def tls(pgbouncer: PgBouncer) -> Iterator[tuple[PgBouncer, Path]]:
    """A server that wants TLS, and the file of the authority that signed its certificate."""
    folder = Path(tempfile.mkdtemp())
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    for file in (folder, *folder.iterdir()):
        file.chmod(0o755)
    files = {"client_tls_key_file": folder / "server.pem", "client_tls_cert_file": folder / "server.pem"}
    try:
        with PgBouncer(pgbouncer.upstream, {"client_tls_sslmode": "require", **files}) as pooler:
            yield pooler, folder / "ca.pem"
    finally:
        shutil.rmtree(folder)


class Accepting:
    """A channel whose receivers accept everything."""

    name = "webhook"

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()

    async def send(self, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        self.sent[claim.delivery_id] += 1
        await asyncio.sleep(0)
        return Accepted()

    async def aclose(self) -> None: ...


# ── detection ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["pgbouncer", "lenient"])
async def test_a_pooler_is_detected(request, pgbouncer, postgres_store_url, kind, mode):
    """Whether it refuses our settings or ignores them, the store detects what it pools, and works."""
    pooler = request.getfixturevalue(kind)

    async with Notifykit(pooler.to(mode)) as kit:
        await kit.apublish(PAID, tenant="acme")
        pooling = kit.store.connector.pooling  # type: ignore[attr-defined]

        assert (mode, 1) == (pooling, (await kit.stats()).unplanned)


async def test_a_server_without_a_pooler_is_detected(postgres_store_url):
    """Without a pooler nothing is slowed down."""
    store = PostgresStore(postgres_store_url)
    await store.open()
    await store.aclose()

    assert store.connector.pooling is Pooling.NONE


@pytest.mark.parametrize("chosen", [*Pooling])
async def test_what_the_url_says_counts(postgres_store_url, chosen):
    """The store does not detect anything then; each mode works on the server itself."""
    async with Notifykit(f"{postgres_store_url}?pooler={chosen}") as kit:
        await kit.apublish(PAID, tenant="acme")
        pooling = kit.store.connector.pooling  # type: ignore[attr-defined]

        assert (chosen, 1) == (pooling, (await kit.stats()).unplanned)


@pytest.mark.parametrize("mode", MODES)
async def test_settings_hold_behind_a_pooler(pgbouncer, postgres_store_url, mode):
    """Those of the URL, such as the search path, and our own, for a single statement and in a transaction."""
    store = PostgresStore(f"{pgbouncer.to(mode)}?options=-csearch_path%3Dpublic%2Cpg_temp")
    await store.open()

    async with store._driver() as pg:
        alone = [await pg.fetchval(f"SHOW {name}") for name in ("search_path", "enable_seqscan")]
        async with pg.transaction():
            together = [await pg.fetchval(f"SHOW {name}") for name in ("search_path", "enable_seqscan")]
    through = await store._read(lambda connection: connection.scalar(text("SHOW search_path")))
    await store.aclose()

    assert [["public,pg_temp", "off"]] * 2 == [alone, together]
    assert "public,pg_temp" == through


# ── under load ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("mode", MODES)
async def test_two_processes_deliver_through_a_pooler(pgbouncer, postgres_store_url, mode):
    """Events are published, claimed, settled and recorded by many tasks at once, and no statement fails."""
    emitted: list[TelemetryEvent] = []
    channel = Accepting()
    async with AsyncExitStack() as stack:
        kits = [
            await stack.enter_async_context(Notifykit(pgbouncer.to(mode), subscribers=[emitted.append], pool_size=5))
            for _ in range(2)
        ]
        for endpoint in range(3):
            await kits[0].subscribe("order.*", tenant="acme", endpoint=f"https://203.0.114.7/{endpoint}")
        for kit in kits:
            await stack.enter_async_context(kit.dispatcher([channel], SETTINGS))

        async def publish(kit: Notifykit) -> None:
            for _ in range(10):
                await kit.apublish(PAID, tenant="acme")

        async with anyio.create_task_group() as tasks:
            for kit in kits * 5:
                tasks.start_soon(publish, kit)
        with anyio.fail_after(60):
            while len([event for event in emitted if isinstance(event, DeliveryAttempted)]) < 300:
                await anyio.sleep(0.02)

    assert [] == [event for event in emitted if isinstance(event, LoopFailed | ClaimLost)]
    assert (300, 300) == (len(channel.sent), channel.sent.total())


async def test_notifications_arrive_through_a_pooler_of_sessions(pgbouncer, postgres_store_url):
    """A client keeps its server connection there, and its LISTEN with it."""
    store = PostgresStore(pgbouncer.to("session"))
    await store.open()
    with anyio.fail_after(10):
        while not store.hears_notifications:
            await store.wait(timedelta(milliseconds=10))
    await store.aclose()


async def test_a_store_does_not_listen_through_a_pooler_of_transactions(pgbouncer, postgres_store_url):
    """LISTEN would stay behind on a server connection that is lent to others."""
    store = PostgresStore(pgbouncer.to("transaction"))
    await store.open()
    await store.wait(timedelta(milliseconds=1))
    listening = store._listener
    await store.aclose()

    assert (None, False) == (listening, store.hears_notifications)


# ── encrypted connections ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("query", ["sslmode=require", "ssl=require", "sslmode=verify-full&sslrootcert={ca}"])
async def test_tls_is_used_by_every_connection(tls, postgres_store_url, query):
    """As the URL says, for the pool and for the listener: this server takes no connection without it."""
    server, ca = tls
    store = PostgresStore(f"{server.to('session')}?{query.format(ca=ca)}".replace("postgresql", "postgres"))
    await store.open()

    with anyio.fail_after(10):
        while not store.hears_notifications:
            await store.wait(timedelta(milliseconds=10))
    stored = await store.circuits()
    await store.aclose()

    assert [] == stored


async def test_without_tls_that_server_takes_no_connection(tls):
    """The test above relies on this."""
    with pytest.raises(StoreUnavailableError, match="SSL required"):
        await PostgresStore(f"{tls[0].to('session')}?sslmode=disable").open()


async def test_a_server_with_a_certificate_of_another_authority_is_refused(tls, tmp_path):
    """``verify-full`` checks the authority."""
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")

    with pytest.raises(StoreUnavailableError, match="certificate verify failed"):
        await PostgresStore(f"{tls[0].to('session')}?sslmode=verify-full&sslrootcert={tmp_path / 'other.pem'}").open()


# ── what is refused ────────────────────────────────────────────────────────────────────────────


async def test_a_url_that_is_wrong_about_its_pooler_says_what_to_change(lenient, pgbouncer, postgres_store_url):
    """A prepared statement that is missing on another server connection has an error that names the pooler."""
    store = PostgresStore(f"{lenient.to('transaction')}?pooler=session", pool_size=4)

    async def ask() -> None:
        for _ in range(20):
            await is_planned(store, "acme", "evt_1")

    await store.open()
    errors = [error for error in await asyncio.gather(*[ask() for _ in range(8)], return_exceptions=True) if error]
    await store.aclose()

    assert errors
    assert all("?pooler=transaction" in str(error) for error in errors)


async def test_a_pooler_of_statements_is_refused(pgbouncer):
    """It allows no transactions."""
    with pytest.raises(ConfigurationError, match="pool_mode=transaction"):
        await Notifykit(pgbouncer.to("statement")).open()


async def test_a_pooler_with_too_few_connections_says_so(pgbouncer, monkeypatch):
    """With session pooling a process needs as many as its pool has, and the error names the numbers."""
    monkeypatch.setattr(postgres_connections, "_PATIENCE", 0.2)
    with PgBouncer(pgbouncer.upstream, {"default_pool_size": 1}) as small:
        store = PostgresStore(f"{small.to('session')}?pooler=session")
        await store.open()
        async with store._driver():
            with pytest.raises(StoreUnavailableError, match="pool_size"):
                await store.circuits()
        await store.aclose()


async def test_an_unknown_pooler_is_treated_as_pooling_transactions(pgbouncer, monkeypatch):
    """A pooler without a second connection does not reveal what it pools; transaction mode works with both."""
    monkeypatch.setattr(postgres_connections, "_PATIENCE", 0.2)
    with PgBouncer(pgbouncer.upstream, {"default_pool_size": 1}) as small:
        async with Notifykit(small.to("session"), pool_size=1) as kit:
            await kit.apublish(PAID, tenant="acme")
            pooling = kit.store.connector.pooling  # type: ignore[attr-defined]

    assert pooling is Pooling.TRANSACTION


async def test_a_given_engine_behind_a_pooler_is_refused(lenient, pgbouncer, postgres_store_url):
    """The kit does not make its connections; if it is known to pool sessions, it is accepted."""
    url = lenient.to("session")
    engine = create_async_engine(url.replace("postgresql", "postgresql+asyncpg"))

    with pytest.raises(ConfigurationError, match="through a pooler"):
        await Notifykit(engine=engine).open()
    async with Notifykit(f"{url}?pooler=session", engine=engine) as kit:
        await kit.apublish(PAID, tenant="acme")

    await engine.dispose()


async def test_nothing_is_left_on_the_servers_connections(pgbouncer, postgres_store_url):
    """Neither statements nor settings reach the other clients of a pooler of transactions."""
    with PgBouncer(pgbouncer.upstream, {"default_pool_size": 1}) as pooler:
        url = pooler.to("transaction")
        async with Notifykit(url) as kit:
            await kit.apublish(PAID, tenant="acme")
            await kit.stats()
            other = await asyncpg.connect(url, statement_cache_size=0)
            async with other.transaction():
                left = await other.fetchrow(
                    "SELECT (SELECT count(*) FROM pg_prepared_statements WHERE name <> ''), "
                    "(SELECT count(*) FROM pg_listening_channels()), current_setting('enable_seqscan')"
                )
            await other.close()

    assert (0, 0, "on") == tuple(left)
