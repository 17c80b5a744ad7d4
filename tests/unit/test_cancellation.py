"""A cancellation that comes at the moment of an answer is not lost."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from notifykit.cancellation import kept_cancellation


async def lossy(raises: BaseException | None = None) -> str:
    """Wait, and answer when cancelled, as `asyncio.wait_for` of Python 3.11 does if the answer has come."""
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        if raises:
            raise raises from None
    return "answer"


async def read_for_ever(raises: BaseException | None = None) -> None:
    """Read answers until cancelled, whatever goes wrong."""
    while True:
        try:
            async with kept_cancellation():
                await lossy(raises)
        except ConnectionError:
            pass


@pytest.mark.parametrize("raises", [None, ConnectionError("gone")], ids=["answer", "error"])
async def test_a_task_ends(raises: BaseException | None) -> None:
    """Whether an answer came at that moment, or an error."""
    task = asyncio.create_task(read_for_ever(raises))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait({task}, timeout=5)
    assert task.cancelled()


async def test_a_timeout_is_kept() -> None:
    """It is raised as a timeout."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await read_for_ever()


async def test_a_cancelled_scope_is_left() -> None:
    """What runs after the scope of anyio is not cancelled."""
    with anyio.move_on_after(0.01) as scope:
        await read_for_ever()
    assert scope.cancelled_caught
    await asyncio.sleep(0)


async def test_work_after_a_cancellation_is_finished() -> None:
    """A task that was cancelled before the block, and cleans up, is let finish."""

    async def clean_up() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            async with kept_cancellation():
                done.append("cleaned up")

    done: list[str] = []
    task = asyncio.create_task(clean_up())
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait({task}, timeout=5)
    assert ["cleaned up"] == done
