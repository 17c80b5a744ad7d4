"""A new version is deployed process by process: it migrates, and for a while old and new workers run at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest

from notifykit import DispatchSettings, Event, Notifykit
from notifykit.dispatch.runtime import dispatcher as dispatcher_module
from notifykit.errors import NewerSchemaError
from notifykit.stores.sql import migrate
from notifykit.stores.sql.store import SqlStore
from notifykit.telemetry import TelemetryEvent, WorkerOutdated
from tests.unit.dispatch.support import ScriptedChannel

pytestmark = pytest.mark.in_turn

TENANT = "acme"
#: The schema of the new version.
NEWER = "9999"
PROMPTLY = 20


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poll in tenths of seconds instead of seconds."""
    for name in ("_SWEEP_EVERY", "_IDLE_EVERY"):
        monkeypatch.setattr(dispatcher_module, name, 0.1)


async def _migrate(kit: Notifykit) -> None:
    """Do to the tables what a migration does that an earlier version need not know of: stamp them."""
    assert isinstance(kit.store, SqlStore)
    stamp = f"UPDATE {migrate.VERSION_TABLE} SET version_num = '{NEWER}'"
    await kit.store._write(lambda connection: connection.exec_driver_sql(stamp))


@pytest.fixture
def _stamped_back(store_url: str) -> object:
    """Give the tables, which tests share, their version back."""
    yield

    async def back() -> None:
        kit = Notifykit(store_url)
        assert isinstance(kit.store, SqlStore)
        kit.store.schema = NEWER
        stamp = f"UPDATE {migrate.VERSION_TABLE} SET version_num = '{migrate.HEAD}'"
        async with kit:
            await kit.store._write(lambda connection: connection.exec_driver_sql(stamp))

    asyncio.run(back())


@pytest.mark.usefixtures("_stamped_back")
async def test_old_and_new_workers_run_at_once_and_the_old_ones_stop(store_url: str) -> None:
    """While events are published the old worker finishes its work, reports why and stops; all arrive once."""
    emitted: list[TelemetryEvent] = []
    channel = ScriptedChannel()
    settings = DispatchSettings(poll=timedelta(milliseconds=50))
    published = 0

    async def publish(seconds: float) -> None:
        nonlocal published
        for _ in range(round(seconds / 0.01)):
            await old.apublish(Event(type="order.paid", data={}), tenant=TENANT)
            published += 1
            await asyncio.sleep(0.01)

    async with AsyncExitStack() as stack:
        old = await stack.enter_async_context(Notifykit(store_url, subscribers=[emitted.append]))
        await old.subscribe("**", tenant=TENANT, endpoint="https://203.0.114.7/hooks")
        outdated = asyncio.create_task(old.dispatcher([channel], settings).run())
        await publish(0.2)
        await _migrate(old)
        new = Notifykit(store_url)
        assert isinstance(new.store, SqlStore)
        new.store.schema = NEWER
        await stack.enter_async_context(new)
        await stack.enter_async_context(new.dispatcher([channel], settings))
        await publish(0.3)

        with pytest.raises(NewerSchemaError, match="upgrade notifykit on this host"):
            async with asyncio.timeout(PROMPTLY):
                await outdated
        await publish(0.1)  # an application of the old version may publish all the time
        async with asyncio.timeout(PROMPTLY):
            while Counter({"delivered": published}) != (
                found := Counter(one.state.value for one in await new.deliveries.list(tenant=TENANT, limit=1000))
            ):
                await asyncio.sleep(0.02)

    assert {"delivered": published} == found
    assert {1} == set(Counter(claim.delivery_id for claim in channel.sent).values())
    assert [(migrate.HEAD, NEWER)] == [(one.known, one.found) for one in emitted if isinstance(one, WorkerOutdated)]


@pytest.mark.usefixtures("_stamped_back")
async def test_waiting_for_an_outdated_dispatcher_raises(store_url: str) -> None:
    """Embedded in an application it stops by itself: leaving its block does no harm, waiting for it raises."""
    async with Notifykit(store_url) as kit, kit.dispatcher([ScriptedChannel()]) as dispatcher:
        await _migrate(kit)
        assert dispatcher._serving is not None
        async with asyncio.timeout(PROMPTLY):
            await asyncio.wait({dispatcher._serving})
        with pytest.raises(NewerSchemaError):
            await dispatcher.drained()
