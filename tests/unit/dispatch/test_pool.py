"""The tasks that send."""

from __future__ import annotations

import asyncio
from contextvars import Context

import anyio
import pytest
import sniffio

from notifykit.dispatch.sending.pool import SenderPool


class Counted:
    """Work that counts the tasks that do it."""

    def __init__(self) -> None:
        self.done = 0

    async def work(self) -> None:
        await asyncio.sleep(0)
        self.done += 1


async def test_a_timer_may_call_senders() -> None:
    """Outside of a task anyio asks sniffio, where that is installed, which does not see the event loop there."""
    pool, work = SenderPool(), Counted()
    seen: list[Exception] = []

    def timer() -> None:
        try:
            sniffio.current_async_library()
        except sniffio.AsyncLibraryNotFoundError as error:
            seen.append(error)
        pool.call(work, 3)

    async with anyio.create_task_group() as tasks:
        pool.open(tasks)
        asyncio.get_running_loop().call_soon(timer, context=Context())
        with anyio.fail_after(5):
            while work.done < 3:
                await asyncio.sleep(0)
        pool.close()
        tasks.cancel_scope.cancel()

    assert 1 == len(seen)


@pytest.mark.parametrize("count", [1, 40])
async def test_tasks_are_kept_for_the_next_time(count: int) -> None:
    """Work that comes later is done by tasks that have finished theirs."""
    pool, work = SenderPool(), Counted()

    async with anyio.create_task_group() as tasks:
        pool.open(tasks)
        for turn in (1, 2):
            pool.call(work, count)
            with anyio.fail_after(5):
                while work.done < turn * count:
                    await asyncio.sleep(0)
        before = len(asyncio.all_tasks())
        pool.call(work, count)
        await asyncio.sleep(0)
        assert before == len(asyncio.all_tasks())
        pool.close()
        tasks.cancel_scope.cancel()
