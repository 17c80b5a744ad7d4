"""One event to very many people: the memory of a worker meanwhile, and how long an urgent event of others waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime

import attrs
from sqlalchemy import Connection, text

from notifykit import Event, Notifykit
from notifykit.models.delivery import Priority
from notifykit.stores.encoding.rows import micros

from . import filling
from .fanout import PAUSE, WANTED_MB, WANTED_MS
from .payloads import order
from .processes import ready, resident_mb, started
from .results import Finding, Spread
from .roles import TENANT
from .rounds import DisagreementError
from .stores import Database

#: Seconds without progress after which the run has failed.
_STALLED = 60.0
_URGENT = f"{TENANT}-urgent"
_ENDED = text("""
SELECT event_id, finished_at FROM notifykit_deliveries WHERE tenant = :tenant AND state = 'delivered'
""")
_LEFT = text("""
SELECT EXISTS (SELECT FROM notifykit_outbox WHERE tenant = :tenant)
OR EXISTS (SELECT FROM notifykit_queue WHERE tenant = :tenant)
""")
_WRITTEN = text("SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'notifykit_deliveries'")
_MADE = text("SELECT count(*) FROM notifykit_deliveries WHERE tenant = :tenant AND state = 'delivered'")


def measure(lent: Database, size: int) -> Iterator[Finding]:
    """Measure one event to so many people, by inbox and SMTP.

    Raises:
        DisagreementError: Not every person was told, or not every urgent event arrived.
    """
    filling.recipients(lent, TENANT, size, subscribed="flood.everyone")
    filling.recipients(lent, _URGENT, 1)
    with ExitStack() as stack:
        worker = started(stack, "worker", lent.url)
        ready(worker)
        connection = stack.enter_context(lent.engine().connect().execution_options(isolation_level="AUTOCOMMIT"))
        flood = asyncio.run(_flood(lent.url, connection, worker.pid))
        ended = {row[0]: row[1] for row in connection.execute(_ENDED, {"tenant": _URGENT})}
        made = connection.scalar(_MADE, {"tenant": TENANT})
    if made != size * 2:
        raise DisagreementError(f"{made} of {size * 2} deliveries were made")
    if lost := flood.published.keys() - ended.keys():
        raise DisagreementError(f"{len(flood.published)} urgent events were published, {len(lost)} did not arrive")
    waits = sorted(max(ended[id_] - at, 0) / 1000 for id_, at in flood.published.items())
    print(
        f"one event to {size:,} people: {size / flood.seconds:,.0f} people/s, worker {flood.idle_mb:.0f} MB idle, "
        f"{flood.most_mb:.0f} MB at the most; {len(waits):,} urgent events waited p50 {waits[len(waits) // 2]:.0f} ms, "
        f"{waits[-1]:.0f} ms at most; the slowest publish took {flood.slowest_publish * 1000:.0f} ms"
    )
    yield Finding(
        what=f"memory of a worker above idle during one event to {size:,} people",
        value=Spread.of([flood.most_mb - flood.idle_mb]), unit="MB", digits=0, at_most=WANTED_MB,
    )  # fmt: skip
    yield Finding(
        what=f"longest wait of an urgent event of another tenant, once published, during one to {size:,} people",
        value=Spread.of([waits[-1]]), unit="ms", digits=0, at_most=WANTED_MS,
    )  # fmt: skip


@attrs.define
class _Flood:
    """What was seen while many were told: memory, times in seconds, and when which urgent publish was acknowledged."""

    idle_mb: float = 0.0
    most_mb: float = 0.0
    seconds: float = 0.0
    slowest_publish: float = 0.0
    published: dict[str, int] = attrs.field(factory=dict)

    async def publish_urgent(self, kit: Notifykit) -> None:
        """Publish one, and wait for a while."""
        began = time.monotonic()
        event = Event(type="urgent.one", data={"at": began}, priority=Priority.HIGH)
        receipt = await kit.apublish(event, tenant=_URGENT, to=["user:1"], channels=["in_app"])
        self.published[receipt.event_id] = micros(datetime.now(UTC))
        self.slowest_publish = max(self.slowest_publish, time.monotonic() - began)
        await asyncio.sleep(PAUSE)

    async def watch_memory(self, pid: int) -> None:
        """Look until cancelled."""
        while True:
            self.most_mb = max(self.most_mb, resident_mb(pid))
            await asyncio.sleep(0.02)


async def _flood(url: str, connection: Connection, pid: int) -> _Flood:
    async with Notifykit(url) as kit:
        for _ in range(20):  # until what is done once is done
            await _Flood().publish_urgent(kit)
        await asyncio.sleep(1)
        flood, started = _Flood(idle_mb=resident_mb(pid)), time.monotonic()
        watching = asyncio.create_task(flood.watch_memory(pid))
        await kit.apublish(Event(type="flood.everyone", data=order(500, 0)), tenant=TENANT)
        following = asyncio.create_task(asyncio.to_thread(_follow, connection))
        while not following.done():
            await flood.publish_urgent(kit)
        await following
        watching.cancel()
        flood.seconds = time.monotonic() - started
        await asyncio.sleep(1)
    return flood


def _follow(connection: Connection) -> None:
    """Wait until no deliveries of the flood are left: to count millions would take the processors away from them.

    Raises:
        DisagreementError: Some are left, and no more are made.
    """
    moved, last = time.monotonic(), -1
    while connection.scalar(_LEFT, {"tenant": TENANT}):
        time.sleep(0.5)
        if (now := connection.scalar(_WRITTEN)) != last:
            moved, last = time.monotonic(), now
        elif time.monotonic() - moved > _STALLED:
            raise DisagreementError("some deliveries are left, and no more are made")
