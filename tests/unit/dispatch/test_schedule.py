"""A process with nothing to do does nothing, and is there when there is something."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from notifykit.dispatch.runtime import dispatcher as dispatcher_module
from notifykit.dispatch.runtime import loops
from notifykit.dispatch.runtime.schedule import Schedule
from notifykit.models.delivery import DeliveryState
from notifykit.stores.memory.notifications import Notifications
from notifykit.stores.memory.store import MemoryStore

from .support import bench

#: The dispatcher's seconds, in hundredths.
FAST = {"_SWEEP_EVERY": 0.02, "_IDLE_EVERY": 0.05, "_TICK_EVERY": 0.005, "_CIRCUITS_EVERY": 0.01}
POLL = timedelta(seconds=0.01)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in FAST.items():
        monkeypatch.setattr(dispatcher_module, name, seconds)
    monkeypatch.setattr(loops, "_ASK_EVERY", 0.005)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what a store is asked."""
    asked: Counter[str] = Counter()

    def counted(name: str) -> Any:
        verb = getattr(MemoryStore, name)

        async def count(*args: Any, **options: Any) -> Any:
            asked[name] += 1
            return await verb(*args, **options)

        return count

    for name in ("take", "claim", "rescue", "next_due", "circuits", "extend"):
        monkeypatch.setattr(MemoryStore, name, counted(name))
    return asked


async def test_who_has_nothing_to_do_asks_whether_there_is_work_and_nothing_else(asked: Counter[str]) -> None:
    """Once nothing has gone on for a while, one question is left, now and then."""
    async with bench(poll=POLL) as b, b.dispatcher:
        await b.until(lambda: not b.dispatcher._schedule.active.is_set())
        await asyncio.sleep(0.05)
        asked.clear()
        since = time.monotonic()
        await b.until(lambda: asked["next_due"] >= 10)
        took = time.monotonic() - since

    assert {"next_due"} == set(asked)
    assert took > 0.2


async def test_who_may_miss_hints_goes_on_asking_what_is_due(
    asked: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that does not know whether hints arrive is polled, however little goes on."""
    wait = MemoryStore.wait

    async def polled(store: MemoryStore, timeout: timedelta, **_: Any) -> bool:
        return await wait(store, timeout)

    monkeypatch.setattr(MemoryStore, "wait", polled)
    async with bench(poll=POLL) as b, b.dispatcher:
        await b.until(lambda: not b.dispatcher._schedule.active.is_set())
        asked.clear()
        await b.until(lambda: asked["next_due"] >= 10)


async def test_who_has_nothing_to_do_is_there_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hint ends the stillness."""
    monkeypatch.setattr(dispatcher_module, "_IDLE_EVERY", 3600.0)
    async with bench(poll=timedelta(hours=1)) as b:
        await b.endpoint()
        async with b.dispatcher:
            b.dispatcher._schedule.active.clear()
            await b.publish()
            await b.until_states(DeliveryState.DELIVERED, seconds=5)

        assert b.dispatcher._schedule.active.is_set()


async def test_work_that_came_without_a_hint_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost hint costs seconds, not the event; and what is found wakes up who waits for one."""
    async with bench(poll=POLL) as b:
        await b.endpoint()
        async with b.dispatcher:
            await b.until(lambda: not b.dispatcher._schedule.active.is_set())
            with monkeypatch.context() as deaf:
                deaf.setattr(Notifications, "give", lambda _: None)
                await b.publish()
                await b.until_states(DeliveryState.DELIVERED, seconds=5)


async def test_who_holds_something_is_not_still() -> None:
    """An attempt that takes long is work: its lease has to be extended, and its endpoint watched."""
    async with bench(poll=POLL) as b:
        b.channel.gate = asyncio.Event()
        await b.endpoint()
        async with b.dispatcher:
            await b.publish()
            await b.until_leased()
            await asyncio.sleep(0.5)
            active = b.dispatcher._schedule.active.is_set()
            b.channel.gate.set()
            await b.until(lambda: not b.dispatcher._schedule.active.is_set())

        assert active


async def test_what_is_done_every_so_often_is_done_at_the_same_instants() -> None:
    """A longer period ends when a shorter one ends that fits into it, and each takes about as long as it says."""
    schedule = Schedule(lambda _: None)
    apart, lengths = [], []
    for _ in range(50):
        short, long = schedule.until_next(0.02), schedule.until_next(0.1)
        apart.append(abs((long - short + 0.01) % 0.02 - 0.01))
        lengths.append(long)
        await asyncio.sleep(0.007)

    assert sorted(apart)[25] < 0.005  # between two questions the machine may stand still
    assert 0.025 <= min(lengths) < max(lengths) <= 0.125
