"""One event to very many endpoints: how much memory a worker needs for it, and how long other events wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

from notifykit import Event, Notifykit
from notifykit.models.delivery import Priority
from notifykit.stores.encoding.rows import micros
from notifykit.testing.servers import free_port

from .filling import NEVER, Planned, subscribers
from .job import STALLED, Job, stage
from .payloads import order
from .plan import Plan, Say
from .processes import ready, resident_mb
from .receiver import Receiver
from .results import Column, Finding, Part, Row, Spread, cells
from .roles import TENANT
from .rounds import DisagreementError
from .stores import STORES, totals

#: Seconds between two urgent events while the flood lasts.
PAUSE = 0.05
#: The promise to operators: a large fan-out does not delay urgent events.
WANTED_MS = 250
#: And a large fan-out is never held in memory as a whole.
WANTED_MB = 64

_COLUMNS = (
    Column(key="rate", title="deliveries", unit="1/s"),
    Column(key="idle_mb", title="worker's memory, idle", unit="MB"),
    Column(key="loaded_mb", title="with all endpoints known", unit="MB"),
    Column(key="most_mb", title="at the most", unit="MB"),
    Column(key="above_mb", title="memory above idle", unit="MB", chart="bars"),
    Column(key="urgent", title="urgent events meanwhile"),
    Column(key="urgent_p50_ms", title="their delay, p50", unit="ms", digits=1),
    Column(key="urgent_p99_ms", title="p99", unit="ms", digits=1),
    Column(key="urgent_max_ms", title="longest", unit="ms", digits=1, chart="bars"),
)


def part(plan: Plan, say: Say) -> Part:
    """Measure a fan-out of a tenth of the size, and of the full size."""
    sizes = (max(plan.fanout // 10, 1), plan.fanout)
    rows, findings = [], []
    for size in sizes:
        say(f"fan-out of one event to {size:,} subscribers")
        found = measure(plan.store, size, say)
        rows.append(Row(label=f"{size:,}", cells=cells([found], _COLUMNS)))
        findings += [
            Finding(
                what=f"longest delay of an urgent event during a fan-out to {size:,}",
                value=Spread.of([found["urgent_max_ms"]]), unit="ms", digits=0, at_most=WANTED_MS,
            ),
            Finding(
                what=f"memory of a worker above idle during a fan-out to {size:,}",
                value=Spread.of([found["above_mb"]]), unit="MB", digits=0, at_most=WANTED_MB,
            ),
        ]  # fmt: skip
    return Part(
        name="fanout",
        title="One event to many subscribers",
        about=(
            f"{STORES[plan.store]}, one worker, one run of each. The tenant has so many endpoints, and all of them get "
            f"one event. From then on an event of high priority of the same tenant is published every {PAUSE * 1000:g} "
            "ms, and its delay is the time from publish to received. The worker's memory is its resident set, read "
            "every 20 ms."
        ),
        columns=_COLUMNS,
        rows=rows,
        findings=findings,
        across="subscribers",
    )


def measure(store: str, size: int, say: Say) -> dict[str, Any]:
    """Return the figures of one fan-out.

    Raises:
        DisagreementError: Not every subscriber got it.
    """
    with ExitStack() as stack:
        # The stage's own endpoints are of another tenant: they give the worker an ordinary load beside the fan-out.
        on = stack.enter_context(stage(Job(store=store)))
        urgent = stack.enter_context(Receiver(free_port(), measure=True))
        tenant = f"{TENANT}-many"
        subscribers(on.database, tenant, _subscriptions(size, on.receiver.port, urgent.port), retry=NEVER)
        worker = on.worker(stack)
        ready(worker)
        time.sleep(2)
        found: dict[str, Any] = {"idle_mb": resident_mb(worker.pid)}
        since = micros(datetime.now(UTC))
        found |= asyncio.run(_flood(on.database.url, tenant, size, worker.pid, on.receiver, urgent))
        time.sleep(1)
        received = on.receiver.count() + urgent.count()
        stored = totals(on.database, since)
    found["above_mb"] = found["most_mb"] - found["idle_mb"]
    say(f"  {found['most_mb']:.0f} MB at the most, an urgent event waited {found['urgent_max_ms']:.0f} ms at the most")
    if stored.get("delivered") != received or found["received"] != size:
        raise DisagreementError(f"fan-out to {size:,}: {received:,} received, stored {stored}")
    return found


def _subscriptions(size: int, port: int, urgent_port: int) -> Iterator[Planned]:
    for at in range(size):
        yield Planned(url=f"http://127.0.0.1:{port}/hook/{at}", types="flood.everyone")
    yield Planned(url=f"http://127.0.0.1:{urgent_port}/urgent", types="urgent.one")


async def _flood(url: str, tenant: str, size: int, pid: int, receiver: Receiver, urgent: Receiver) -> dict[str, Any]:
    most = 0.0
    over = asyncio.Event()

    async def watch() -> None:
        nonlocal most
        while not over.is_set():
            most = max(most, resident_mb(pid))
            await asyncio.sleep(0.02)

    async def follow() -> float:
        """Wait until every subscriber has received it, or no more arrive; return when the last one did."""
        _, moved = await asyncio.to_thread(receiver.follow, size, patience=3 * STALLED)
        over.set()
        return moved

    async with Notifykit(url) as kit:

        async def publish_urgent() -> None:
            event = Event(type="urgent.one", data={"sent": time.time()}, priority=Priority.HIGH)
            await kit.apublish(event, tenant=tenant)

        await publish_urgent()  # has the worker read the tenant's configuration
        while await asyncio.to_thread(urgent.count) < 1:
            await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        await asyncio.to_thread(urgent.ages, reset=True)
        loaded = resident_mb(pid)
        async with asyncio.TaskGroup() as group:
            group.create_task(watch())
            started = time.monotonic()
            await kit.apublish(Event(type="flood.everyone", data=order(1000, 0)), tenant=tenant)
            following = group.create_task(follow())
            published = 0
            while not over.is_set():
                await publish_urgent()
                published += 1
                await asyncio.sleep(PAUSE)
        while await asyncio.to_thread(urgent.count) < published + 1:
            await asyncio.sleep(0.02)
    ages = await asyncio.to_thread(urgent.ages)
    return {
        "received": await asyncio.to_thread(receiver.count),
        "rate": size / (following.result() - started),
        "loaded_mb": loaded,
        "most_mb": most,
        "urgent": published,
        "urgent_p50_ms": ages[len(ages) // 2],
        "urgent_p99_ms": ages[len(ages) * 99 // 100],
        "urgent_max_ms": ages[-1],
    }
