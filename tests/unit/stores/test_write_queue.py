"""The short go before the long, and nobody waits for ever."""

from __future__ import annotations

import threading

import anyio
import pytest

from notifykit.stores.sql.sqlite.store import SqliteStore
from notifykit.stores.sql.sqlite.write_queue import WriteQueue
from notifykit.stores.sql.store import SHORT
from notifykit.testing import START, make_event


def test_the_short_go_before_the_long():
    """Those of a length keep their order."""
    line: WriteQueue[str] = WriteQueue()
    for item in ("long 1", "short 1", "long 2", "short 2"):
        line.join(item, short=item.startswith("short"))

    order = [line.next() for _ in range(len(line))]

    assert ["short 1", "short 2", "long 1", "long 2"] == order


def test_the_long_have_their_turn_however_many_short_ones_come():
    """Of a stream of short ones only some pass a long one that waits."""
    line: WriteQueue[str] = WriteQueue()
    line.join("long", short=False)
    order = []
    while "long" not in order:
        line.join("short", short=True)
        order.append(line.next())

    assert 2 <= len(order) <= 20


def test_short_ones_that_passed_nobody_are_not_counted():
    """A long one that comes late is passed as one that came early."""
    line: WriteQueue[str] = WriteQueue()
    for _ in range(100):
        line.join("short", short=True)
        line.next()
    line.join("long", short=False)
    line.join("short", short=True)

    assert "short" == line.next()


@pytest.fixture
async def store(tmp_path):
    store = SqliteStore(f"sqlite:///{tmp_path / 'store.db'}")
    await store.open()
    yield store
    await store.aclose()


def hold_up(under_way: threading.Event, may_go_on: threading.Event) -> None:
    """Keep the writer busy."""
    under_way.set()
    assert may_go_on.wait(10)


async def test_a_single_event_is_stored_before_batches_that_wait(store):
    """Who publishes one event while batches are lined up waits for the transaction under way, not for them."""
    finished = []
    under_way, may_go_on = threading.Event(), threading.Event()

    async def hold() -> None:
        await store._run(lambda: hold_up(under_way, may_go_on))

    async def append(count: int) -> None:
        await store.append([make_event(at=START) for _ in range(count)])
        finished.append(count)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hold)
        await anyio.to_thread.run_sync(under_way.wait, 10)
        for count in (SHORT + 1, SHORT + 2, 1):
            tasks.start_soon(append, count)
            await anyio.wait_all_tasks_blocked()
        may_go_on.set()

    assert [1, SHORT + 1, SHORT + 2] == finished


async def test_who_gave_up_while_it_waited_does_nothing(store):
    """A transaction whose caller was cancelled before its turn is not begun."""
    under_way, may_go_on = threading.Event(), threading.Event()
    done = []

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store._run, lambda: hold_up(under_way, may_go_on))
        await anyio.to_thread.run_sync(under_way.wait, 10)
        with anyio.move_on_after(0.01):
            await store._run(lambda: done.append("given up"))
        may_go_on.set()
    await store._run(lambda: done.append("next"))

    assert ["next"] == done
