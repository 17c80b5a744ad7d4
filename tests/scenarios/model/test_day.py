"""The simulated day itself: it always ends, or says that it does not."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest

from notifykit.ports import NextDue
from notifykit.stores.memory import MemoryStore

from .day import DAY, World
from .virtual import LONGEST, StuckError, VirtualClock, run_virtual


class _Unlucky(random.Random):
    """Strikes whatever can be struck."""

    def random(self) -> float:
        return 0.0


def _started(rng: random.Random, down: list[tuple[float, float]]) -> tuple[bool, float]:
    """Start a worker in a store that has work; return whether it was struck meanwhile, and when it served."""

    class Busy(MemoryStore):
        async def next_due(self) -> NextDue:
            return (await super().next_due())._replace(is_open=True)

    async def main(clock: VirtualClock) -> tuple[bool, float]:
        async with contextlib.aclosing(Busy()) as store:
            await store.open()
            world = World(1, store, clock)
            world.rng = rng
            world._down = down
            await world.start_worker()
            started = world.at
            ((process, dispatcher, _),) = world._workers
            struck = process.dead or process.frozen is not None
            world.healed = True
            await dispatcher.__aexit__(None, None, None)
            return struck, started

    return run_virtual(1, main)


def test_a_worker_that_starts_is_not_struck():
    """Starting a worker returns, whatever the dice say: a process that died before it served would never."""
    struck, _ = _started(_Unlucky(), [])

    assert not struck


def test_a_worker_starts_once_the_store_is_back():
    """A worker is started again while the store is out of reach, and is not missing for the rest of the day."""
    _, started = _started(random.Random(1), [(0.0, 300.0)])

    assert 300 < started < 361


@pytest.mark.parametrize("seed", range(10))
def test_a_day_is_a_day(seed):
    """The last event is published before the day is over, however few there are."""

    async def main(clock: VirtualClock) -> float:
        async with contextlib.aclosing(MemoryStore()) as store:
            await store.open()
            world = World(seed, store, clock)
            world.healed = True
            await world.publish("acme", 2)
            return world.at

    assert run_virtual(seed, main) < DAY


def test_what_does_not_end_fails():
    """What still runs after the longest virtual time, or waits for nothing, fails and tells where it waits."""

    async def for_ever(clock: VirtualClock) -> None:
        while True:
            await asyncio.sleep(3600)

    async def for_nothing(clock: VirtualClock) -> None:
        await asyncio.Event().wait()

    with pytest.raises(StuckError, match=f"not over after {LONGEST:.0f}") as endless:
        run_virtual(1, for_ever)
    with pytest.raises(StuckError, match="deadlock") as deadlocked:
        run_virtual(1, for_nothing)

    assert "for_ever > sleep" in endless.value.__notes__[0]
    assert "for_nothing > Event.wait" in deadlocked.value.__notes__[0]
