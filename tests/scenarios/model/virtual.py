"""Virtual time: an event loop that does not wait but moves its clock to the next thing that is due.

The engine runs in it as it is, with all its tasks and timers; a day passes in seconds.
Everything that makes a difference comes from one seed: the dice, the ids, the clock.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import random
import selectors
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar
from unittest.mock import patch

from notifykit.models import ids
from notifykit.stores.sql.sqlite import store as sqlite
from notifykit.testing.clock import START

T = TypeVar("T")

#: What a turn of the loop costs: time must not stand still for those who look at it until it has passed.
TURN = 1e-5

#: Seconds after which nothing that runs in virtual time may still run: a day, the time until all has ended, and more.
LONGEST = 5 * 86400.0

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class StuckError(Exception):
    """What runs never ends: nothing is due any more, or it is not over after the longest time."""


class _Skipping(selectors.SelectSelector):
    """Moves the clock instead of waiting.

    Attributes:
        end: When what runs must be over.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.end = LONGEST

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise StuckError("a deadlock: nothing is due any more")
        if self.now > self.end:
            self.end += LONGEST  # the tasks are cancelled next, and have time for that
            raise StuckError(f"not over after {self.now:.0f} seconds of virtual time")
        self.now += TURN + (0.0 if ready or timeout is None else max(timeout, 0.0))
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time; what it is asked to do in threads it does at once."""

    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.now

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it is handed to who awaits
            done.set_exception(error)
        return done


class _AtOnce:
    """Does each job before it returns, in place of the thread that works on an SQLite database."""

    def submit(self, job: Callable[[], None]) -> None:
        job()

    def end(self) -> None:
        """There is no thread."""


class VirtualClock:
    """Tells the loop's time as an instant."""

    def __init__(self, loop: asyncio.AbstractEventLoop, start: datetime = START) -> None:
        self._loop = loop
        self._start = start

    def now(self) -> datetime:
        """Return the current instant in UTC."""
        return self._start + timedelta(seconds=self._loop.time())


@contextmanager
def _determined(loop: VirtualLoop, seed: int) -> Iterator[None]:
    """Let clocks and ids come from the loop and the dice from the seed."""
    numbers = itertools.count(1)
    start = START.timestamp()

    def next_id(_: object) -> str:
        value = int((start + loop.time()) * 1000) << 80 | next(numbers)
        return "".join(_ALPHABET[value >> shift & 31] for shift in range(125, -1, -5))

    state = random.getstate()
    random.seed(seed)
    try:
        with (
            patch.object(ids._Source, "next", next_id),
            patch.object(time, "monotonic", loop.time),
            patch.object(sqlite, "Writer", _AtOnce),
        ):
            yield
    finally:
        random.setstate(state)


def _waiting(loop: VirtualLoop) -> str:
    """Return where the tasks of a loop wait: how many, and the functions they are in."""
    places: Counter[str] = Counter()
    for task in asyncio.all_tasks(loop):
        names = []
        step: Any = task.get_coro()
        while inspect.iscoroutine(step):
            names.append(step.__qualname__)
            step = step.cr_await
        places[" > ".join(names)] += 1
    return "\n".join(f"{count} x {place}" for place, count in places.most_common())


def run_virtual(seed: int, main: Callable[[VirtualClock], Coroutine[Any, Any, T]]) -> T:
    """Run ``main`` in virtual time from its start to its end.

    Raises:
        StuckError: It has no end; a note tells where each task waits.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        with _determined(loop, seed):
            try:
                return runner.run(main(VirtualClock(loop)))
            except StuckError as error:
                error.add_note(_waiting(loop))
                raise
