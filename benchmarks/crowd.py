"""One event to very many people: the memory of a worker meanwhile, and how long an urgent event of others waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime

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
_DELAYS = text("""
SELECT (d.finished_at - e.published_at) / 1000.0 FROM notifykit_deliveries d
JOIN notifykit_events e ON e.tenant = d.tenant AND e.id = d.event_id
WHERE d.tenant = :tenant AND d.state = 'delivered' AND e.published_at >= :since ORDER BY 1
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
        most, idle, published, began, seconds = asyncio.run(_flood(lent.url, connection, worker.pid))
        found = connection.scalars(_DELAYS, {"tenant": _URGENT, "since": micros(began)})
        delays = [float(delay) for delay in found]
        made = connection.scalar(_MADE, {"tenant": TENANT})
    if made != size * 2:
        raise DisagreementError(f"{made} of {size * 2} deliveries were made")
    if len(delays) != published:
        raise DisagreementError(f"{published} urgent events were published, {len(delays)} arrived")
    print(
        f"one event to {size:,} people: {size / seconds:,.0f} people/s, worker {idle:.0f} MB idle, {most:.0f} MB at "
        f"the most; {published} urgent events waited p50 {delays[published // 2]:.0f} ms, {delays[-1]:.0f} ms at most"
    )
    yield Finding(
        what=f"memory of a worker above idle during one event to {size:,} people",
        value=Spread.of([most - idle]), unit="MB", digits=0, at_most=WANTED_MB,
    )  # fmt: skip
    yield Finding(
        what=f"longest delay of an urgent event of another tenant during one to {size:,} people",
        value=Spread.of([delays[-1]]), unit="ms", digits=0, at_most=WANTED_MS,
    )  # fmt: skip


async def _flood(url: str, connection: Connection, pid: int) -> tuple[float, float, int, datetime, float]:
    """Return the worker's memory at the most and idle, the number of urgent events, its start and its seconds."""
    most, published = 0.0, 0
    over = asyncio.Event()

    async def watch() -> None:
        nonlocal most
        while not over.is_set():
            most = max(most, resident_mb(pid))
            await asyncio.sleep(0.02)

    async with Notifykit(url) as kit:

        async def urgent() -> None:
            nonlocal published
            event = Event(type="urgent.one", data={"at": published}, priority=Priority.HIGH)
            await kit.apublish(event, tenant=_URGENT, to=["user:1"], channels=["in_app"])
            published += 1

        for _ in range(20):  # until what is done once is done
            await urgent()
            await asyncio.sleep(PAUSE)
        await asyncio.sleep(1)
        idle = resident_mb(pid)
        async with asyncio.TaskGroup() as group:
            group.create_task(watch())
            began, published = datetime.now(UTC), 0
            started = time.monotonic()
            await kit.apublish(Event(type="flood.everyone", data=order(500, 0)), tenant=TENANT)
            following = group.create_task(asyncio.to_thread(_follow, connection))
            while not following.done():
                await urgent()
                await asyncio.sleep(PAUSE)
            over.set()
        seconds = time.monotonic() - started
        await asyncio.sleep(1)
    return most, idle, published, began, seconds


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
