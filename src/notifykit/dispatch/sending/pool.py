"""The tasks that send, shared by all lanes of a process."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from anyio.abc import TaskGroup

#: How many tasks are kept although they have had nothing to do for a while.
_KEPT: Final = 32


class Work(Protocol):
    """What a task of the pool does when it is called: all that is to be done now."""

    async def work(self) -> None: ...


class SenderPool:
    """Tasks that are started when a lane has something to send, and kept for the next time.

    There are as many as attempts were open at a time lately; each lane bounds its own.
    """

    def __init__(self) -> None:
        self._tasks: TaskGroup | None = None
        self._idle: list[asyncio.Future[Work | None]] = []
        self._least_idle = 0
        self._wanted: list[Work] = []
        self._some = asyncio.Event()

    def open(self, tasks: TaskGroup) -> None:
        """Start tasks in this group from now on."""
        self._tasks = tasks
        self._idle.clear()
        self._least_idle = 0
        self._wanted.clear()
        self._some = asyncio.Event()
        tasks.start_soon(self._start, tasks)

    def close(self) -> None:
        """Start no more tasks."""
        self._tasks = None

    def call(self, work: Work, count: int) -> None:
        """Have tasks do this work, so many of them."""
        if self._tasks is None:
            return
        while count and self._idle:
            self._idle.pop().set_result(work)
            count -= 1
        self._least_idle = min(self._least_idle, len(self._idle))
        if count:
            self._wanted += [work] * count
            self._some.set()

    def tick(self) -> None:
        """End tasks that nothing has needed since the last tick."""
        if self._tasks is None:
            return
        for _ in range(self._least_idle - _KEPT):
            self._idle.pop(0).set_result(None)
        self._least_idle = len(self._idle)

    async def _start(self, tasks: TaskGroup) -> None:
        """Start the tasks that are wanted: a timer may want them, and anyio starts none outside of a task."""
        while True:
            await self._some.wait()
            self._some.clear()
            wanted, self._wanted = self._wanted, []
            for work in wanted:
                tasks.start_soon(self._serve, work)

    async def _serve(self, first: Work) -> None:
        work: Work | None = first
        while work is not None:
            await work.work()
            idle: asyncio.Future[Work | None] = asyncio.get_running_loop().create_future()
            self._idle.append(idle)
            work = await idle
