"""What publishing costs the program that publishes: time, and statements to the database."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import attrs
from sqlalchemy import Column as TableColumn
from sqlalchemy import Integer, MetaData, Table, Text, create_engine, event, insert, make_url
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import Pool

from notifykit import Event, Notifykit

from .job import Job, Stage, stage
from .payloads import order
from .plan import Plan, Say
from .receiver import run
from .results import Column, Part, Row, cells
from .roles import TENANT
from .stores import STORES

_COLUMNS = (
    Column(key="p50_ms", title="publish, p50", unit="ms", digits=2, chart="bars"),
    Column(key="p99_ms", title="p99", unit="ms", digits=2),
    Column(key="statements", title="statements an event", digits=3),
    Column(key="rate", title="events", unit="1/s", chart="bars"),
)
_orders = Table("bench_orders", MetaData(), TableColumn("id", Integer, primary_key=True), TableColumn("note", Text))
_DRIVERS = {
    "postgres": ("postgresql+psycopg", "postgresql+asyncpg"),
    "sqlite": ("sqlite", "sqlite+aiosqlite"),
    "mysql": ("mysql+pymysql", "mysql+asyncmy"),
}
#: Statements that begin or end a transaction are the price of the transaction, not of the event.
_BOUNDS = ("BEGIN", "COMMIT", "ROLLBACK")
_CONCURRENT = 64


@attrs.frozen
class _Found:
    """One way of publishing: how long each call took, over how many seconds, with how many statements an event.

    Attributes:
        took: Empty for a single call with many events.
    """

    took: Sequence[float]
    seconds: float
    events: int
    statements: float

    def figures(self) -> dict[str, float]:
        figures = {"statements": self.statements, "rate": self.events / self.seconds}
        if took := sorted(self.took):
            figures |= {"p50_ms": took[len(took) // 2] * 1e3, "p99_ms": took[len(took) * 99 // 100] * 1e3}
        return figures


def part(plan: Plan, say: Say) -> Part:
    """Measure the ways to publish on each store."""
    times, many = max(plan.events // 40, 50), max(plan.events // 4, 100)
    rows = []
    for store in plan.stores:
        say(f"producers on {STORES[store]}")
        found: dict[str, list[dict[str, float]]] = {}
        with stage(Job(store=store)) as on:
            for _ in range(plan.runs):
                for label, figures in _measured(on, times, many).items():
                    found.setdefault(label, []).append(figures)
        rows += [Row(label=f"{STORES[store]}, {label}", cells=cells(runs, _COLUMNS)) for label, runs in found.items()]
    return Part(
        name="producers",
        title="Publishing",
        about=(
            "One process, no worker, events of 1 kB. In a transaction of the caller's, which also inserts a row of its "
            "own, the time is that of the call alone and the rate that of whole transactions. Statements are those "
            "that reach the database's driver, without BEGIN and COMMIT."
        ),
        columns=_COLUMNS,
        rows=rows,
        across="way",
    )


def _measured(on: Stage, times: int, many: int) -> dict[str, dict[str, float]]:
    url = on.database.url
    found = {"in a Session": _in_session(url, on.database.kind, times)}

    async def alone() -> None:
        found["in an AsyncSession"] = await _in_async_session(url, on.database.kind, times)
        found["alone, one after the other"] = await _alone(url, times, 1)
        found[f"alone, {_CONCURRENT} at a time"] = await _alone(url, times * 8, _CONCURRENT)
        found[f"publish_many of {many:,}"] = await _many(url, many)

    run(alone())
    return {label: way.figures() for label, way in found.items()}


def _event(at: int) -> Event:
    return Event(type="order.t0", data=order(1000, at))


# ── in the caller's transaction ────────────────────────────────────────────────────────────────


def _in_session(url: str, kind: str, times: int) -> _Found:
    engine = create_engine(make_url(url).set(drivername=_DRIVERS[kind][0]))
    _orders.metadata.drop_all(engine)
    _orders.metadata.create_all(engine)
    kit = Notifykit(url)
    took: list[float] = []
    counted = 0
    started = time.perf_counter()
    for at in range(times):
        with Session(engine) as session, session.begin():
            session.execute(insert(_orders).values(id=at, note="one"))
            before = time.perf_counter()
            kit.publish(_event(at), tenant=TENANT, session=session)
            took.append(time.perf_counter() - before)
    seconds = time.perf_counter() - started
    with Session(engine) as session, session.begin(), _executed(engine) as statements:
        kit.publish(_event(0), tenant=TENANT, session=session)
        counted = len(statements)
    kit.close()
    engine.dispose()
    return _Found(took, seconds, times, counted)


async def _in_async_session(url: str, kind: str, times: int) -> _Found:
    engine = create_async_engine(make_url(url).set(drivername=_DRIVERS[kind][1]))
    async with engine.begin() as connection:
        await connection.run_sync(_orders.metadata.drop_all)
        await connection.run_sync(_orders.metadata.create_all)
    took: list[float] = []
    async with Notifykit(url) as kit:
        started = time.perf_counter()
        for at in range(times):
            async with AsyncSession(engine) as session, session.begin():
                await session.execute(insert(_orders).values(id=at, note="one"))
                before = time.perf_counter()
                await kit.apublish(_event(at), tenant=TENANT, session=session)
                took.append(time.perf_counter() - before)
        seconds = time.perf_counter() - started
        async with AsyncSession(engine) as session, session.begin():
            with _executed(engine.sync_engine) as statements:
                await kit.apublish(_event(0), tenant=TENANT, session=session)
                counted = len(statements)
    await engine.dispose()
    return _Found(took, seconds, times, counted)


@contextmanager
def _executed(engine: Any) -> Iterator[list[str]]:
    """Collect the statements that SQLAlchemy executes on an engine."""
    found: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        found.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)


# ── without a transaction of the caller's ──────────────────────────────────────────────────────


async def _alone(url: str, times: int, concurrent: int) -> _Found:
    took: list[float] = []

    async def publish(kit: Notifykit, numbers: Iterator[int]) -> None:
        for at in numbers:
            before = time.perf_counter()
            await kit.apublish(_event(at), tenant=TENANT)
            took.append(time.perf_counter() - before)

    async def all_of_them(kit: Notifykit, count: int) -> float:
        numbers = iter(range(count))
        started = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrent):
                group.create_task(publish(kit, numbers))
        return time.perf_counter() - started

    async with Notifykit(url) as kit:
        await kit.stats()
        seconds = await all_of_them(kit, times)
    timed = took.copy()
    async with _reaching_the_driver(url) as (kit, statements):
        await all_of_them(kit, times)
        return _Found(timed, seconds, times, len(statements) / times)


async def _many(url: str, many: int) -> _Found:
    events = [_event(at) for at in range(many)]
    async with Notifykit(url) as kit:
        await kit.stats()
        started = time.perf_counter()
        await kit.apublish_many(events, tenant=TENANT)
        seconds = time.perf_counter() - started
    async with _reaching_the_driver(url) as (kit, statements):
        await kit.apublish_many(events, tenant=TENANT)
        return _Found((), seconds, many, len(statements) / many)


@asynccontextmanager
async def _reaching_the_driver(url: str) -> AsyncIterator[tuple[Notifykit, list[str]]]:
    """Open a kit and collect the statements that go through its driver's connections."""
    found: list[str] = []

    def note(statement: str) -> None:
        if not statement.startswith(_BOUNDS):
            found.append(statement)

    def watch(connection: Any, _: Any) -> None:
        driver = getattr(connection, "driver_connection", connection)
        if hasattr(driver, "add_query_logger"):
            driver.add_query_logger(lambda query: note(query.query))
        elif hasattr(driver, "set_trace_callback"):
            driver.set_trace_callback(note)

    event.listen(Pool, "connect", watch)
    with contextlib.ExitStack() as stack:
        stack.callback(event.remove, Pool, "connect", watch)
        async with Notifykit(url) as kit:
            await kit.stats()
            found.clear()
            yield kit, found
