"""Every dedupe store keeps the same contract."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import anyio
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from notifykit.contrib.receivers.sql import AsyncSqlDedupe, SqlDedupe, received_table
from notifykit.errors import ConfigurationError, StoreError, StoreUnavailableError
from notifykit.signing import MemoryDedupe, Seen

LEASE, TTL = timedelta(minutes=5), timedelta(days=8)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_614_265_330.0

    def __call__(self) -> float:
        return self.now

    def move(self, by: timedelta) -> None:
        self.now += by.total_seconds()


async def call(step: Callable[..., Any], *args: str) -> Any:
    """Call a step of a blocking or of an async store."""
    result = step(*args)
    return await result if inspect.isawaitable(result) else result


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite", "aiosqlite", "postgres", "asyncpg"])
async def store(request, clock, tmp_path):
    """One store of each kind, empty."""
    if request.param == "memory":
        yield MemoryDedupe(clock=clock)
        return
    if request.param.startswith("postgres") or request.param == "asyncpg":
        address = request.getfixturevalue("postgres_database").partition("://")[2]
        url = f"postgresql+{'asyncpg' if request.param == 'asyncpg' else 'psycopg'}://{address}"
    else:
        url = f"sqlite{'+aiosqlite' if request.param == 'aiosqlite' else ''}:///{tmp_path}/received.db"
    if request.param in ("aiosqlite", "asyncpg"):
        async_engine = create_async_engine(url)
        async_store = AsyncSqlDedupe(async_engine, clock=clock)
        await async_store.create_table()
        yield async_store
        await async_engine.dispose()
    else:
        engine = sa.create_engine(url)
        sql_store = SqlDedupe(engine, clock=clock)
        sql_store.create_table()
        yield sql_store
        engine.dispose()


async def test_a_message_is_new_once(store):
    """After the first call the message is in progress for every caller."""
    seen = [await call(store.begin, "acme", "msg_1") for _ in range(3)]

    assert [Seen.NEW, Seen.IN_PROGRESS, Seen.IN_PROGRESS] == seen


async def test_a_finished_message_is_done(store):
    """What was handled is not handled again, and finishing may be repeated."""
    await call(store.begin, "acme", "msg_1")
    await call(store.finish, "acme", "msg_1")
    await call(store.finish, "acme", "msg_1")

    assert Seen.DONE is await call(store.begin, "acme", "msg_1")


async def test_a_forgotten_message_is_new_again(store):
    """After a failure the next retry runs the handler."""
    await call(store.begin, "acme", "msg_1")
    await call(store.forget, "acme", "msg_1")

    assert Seen.NEW is await call(store.begin, "acme", "msg_1")


async def test_what_is_done_cannot_be_forgotten(store):
    """A handler that lost its lease and fails late does not undo the success of another."""
    await call(store.begin, "acme", "msg_1")
    await call(store.finish, "acme", "msg_1")
    await call(store.forget, "acme", "msg_1")

    assert Seen.DONE is await call(store.begin, "acme", "msg_1")


async def test_sources_and_ids_are_apart(store):
    """The same id from another source is another message, and no two pairs are confused."""
    seen = [
        await call(store.begin, *pair) for pair in [("a", "bc"), ("ab", "c"), ("A", "bc"), ("a", "BC"), ("", "abc")]
    ]

    assert [Seen.NEW] * 5 == seen


async def test_a_crash_does_not_lose_the_message(store, clock):
    """When the lease has run out the message is new for exactly one."""
    await call(store.begin, "acme", "msg_1")
    clock.move(LEASE - timedelta(seconds=1))
    before = await call(store.begin, "acme", "msg_1")
    clock.move(timedelta(seconds=1))

    after = [await call(store.begin, "acme", "msg_1") for _ in range(2)]

    assert Seen.IN_PROGRESS is before
    assert [Seen.NEW, Seen.IN_PROGRESS] == after


async def test_handled_messages_are_remembered_for_the_whole_retry_horizon(store, clock):
    """Eight days later the sender has long given up, and the message may be forgotten."""
    await call(store.begin, "acme", "msg_1")
    await call(store.finish, "acme", "msg_1")
    clock.move(TTL - timedelta(seconds=1))
    before = await call(store.begin, "acme", "msg_1")
    clock.move(timedelta(seconds=1))

    after = await call(store.begin, "acme", "msg_1")

    assert (Seen.DONE, Seen.NEW) == (before, after)


async def test_finishing_after_the_lease_ran_out_still_counts(store, clock):
    """Slow work counts: although its lease was cleaned up, the message is done."""
    await call(store.begin, "acme", "msg_1")
    clock.move(LEASE + timedelta(hours=2))
    await call(store.begin, "acme", "msg_other")

    await call(store.finish, "acme", "msg_1")

    assert Seen.DONE is await call(store.begin, "acme", "msg_1")


async def test_long_and_odd_ids_are_kept_apart(store):
    """Ids longer than a column, and those that differ at their end only, are different messages."""
    ids = ["x" * 4096, "x" * 4095 + "y", "msg_\u00e9", "msg_e\u0301"]

    assert [Seen.NEW] * 4 == [await call(store.begin, "s" * 300, id) for id in ids]
    assert [Seen.IN_PROGRESS] * 4 == [await call(store.begin, "s" * 300, id) for id in ids]


async def test_of_many_callers_one_begins(store):
    """Threads, or tasks, that begin at the same moment: exactly one gets the lease."""
    rounds, callers = 10, 6
    seen: list[Seen] = []

    async def begin(id: str) -> None:
        seen.append(await store.begin("acme", id))

    if inspect.iscoroutinefunction(store.begin):
        for number in range(rounds):
            async with anyio.create_task_group() as tasks:
                for _ in range(callers):
                    tasks.start_soon(begin, f"msg_{number}")
    else:
        barrier = threading.Barrier(callers)

        def begin_all() -> list[Seen]:
            result = []
            for number in range(rounds):
                barrier.wait(timeout=30)
                result.append(store.begin("acme", f"msg_{number}"))
            return result

        with ThreadPoolExecutor(callers) as pool:
            for future in [pool.submit(begin_all) for _ in range(callers)]:
                seen += future.result()

    assert rounds == seen.count(Seen.NEW)
    assert rounds * (callers - 1) == seen.count(Seen.IN_PROGRESS)


def test_memory_is_bounded():
    """Beyond its bound the store forgets the oldest handled message."""
    store = MemoryDedupe(most=2)
    for id in ("1", "2", "3"):
        store.begin("", id)
        store.finish("", id)

    assert [Seen.DONE, Seen.DONE, Seen.NEW] == [store.begin("", id) for id in ("3", "2", "1")]


def test_a_full_memory_keeps_its_leases():
    """Leases are never dropped to make room: new messages are answered "try again later"."""
    store = MemoryDedupe(most=2)

    seen = [store.begin("", id) for id in ("1", "2", "3")]
    store.finish("", "1")

    assert [Seen.NEW, Seen.NEW, Seen.IN_PROGRESS] == seen
    assert Seen.NEW is store.begin("", "3")


@pytest.mark.parametrize("wrong", [{"most": 0}, {"ttl": timedelta(0)}, {"lease": timedelta(seconds=-1)}])
def test_a_store_that_cannot_remember_is_refused(wrong):
    """Bounds and durations must be positive."""
    with pytest.raises(ConfigurationError):
        MemoryDedupe(**wrong)


def test_the_table_is_pruned_once_an_hour(clock, tmp_path):
    """What has run out is deleted without a job of its own, but not at every message."""
    engine = sa.create_engine(f"sqlite:///{tmp_path}/received.db")
    store = SqlDedupe(engine, clock=clock, table="inbound")
    store.create_table()
    table = received_table(sa.MetaData(), "inbound")

    def rows() -> int | None:
        with engine.connect() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(table))

    for id in ("1", "2", "3"):
        store.begin("acme", id)
    clock.move(timedelta(minutes=59))
    store.begin("acme", "4")
    before = rows()
    clock.move(timedelta(minutes=2))
    store.begin("acme", "5")

    assert 4 == before
    assert 2 == rows()  # "4", whose lease has not run out, and "5"
    assert 0 == store.prune()
    engine.dispose()


async def test_a_database_that_does_not_answer_is_our_error(tmp_path):
    """The driver's exceptions are translated at the edge."""
    engine = sa.create_engine(f"sqlite:///{tmp_path}/received.db")
    async_engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/received.db")

    with pytest.raises(StoreUnavailableError, match="OperationalError"):
        SqlDedupe(engine).begin("acme", "no table was made")
    with pytest.raises(StoreUnavailableError, match="OperationalError"):
        await AsyncSqlDedupe(async_engine).begin("acme", "no table was made")
    engine.dispose()
    await async_engine.dispose()


def test_a_row_that_comes_and_goes_is_given_up(clock, tmp_path):
    """Where each insert hits a row that is gone when it is read, the store does not loop for ever."""
    engine = sa.create_engine(f"sqlite:///{tmp_path}/received.db")
    store = SqlDedupe(engine, clock=clock)
    store.create_table()
    with engine.begin() as connection:  # a constraint of its own that refuses every row
        connection.execute(
            sa.text(
                "CREATE TRIGGER refuse BEFORE INSERT ON notifykit_received BEGIN SELECT RAISE(ABORT, 'refused'); END"
            )
        )

    with pytest.raises(StoreError, match="inserted and deleted several times"):
        store.begin("acme", "msg_1")
    with pytest.raises(StoreError, match="inserted and deleted several times"):
        store.finish("acme", "msg_1")
    engine.dispose()
