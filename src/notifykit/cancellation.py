"""Cancellations that a client of a server has lost."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio.lowlevel import checkpoint_if_cancelled


@asynccontextmanager
async def kept_cancellation() -> AsyncIterator[None]:
    """Raise a cancellation of the running task that came during the block, if the block has lost it.

    ``asyncio.wait_for`` of Python 3.11, which clients of servers call, returns its answer when a cancellation comes at
    the same moment (https://github.com/python/cpython/issues/86296): a task that reads for ever would never end.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    finally:
        is_lost = task is not None and task.cancelling() > before
        if is_lost and not isinstance(sys.exception(), asyncio.CancelledError):
            await checkpoint_if_cancelled()  # a scope of anyio repeats its own
            raise asyncio.CancelledError
