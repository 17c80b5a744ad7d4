"""What a test that hangs leaves behind: its name, and what each of its tasks waits for."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

#: Seconds; hypothesis may look for a shorter example for 300.
HANGS_AFTER = 600
#: Seconds later an interpreter is ended that runs no signal handler: that of Python 3.11 may loop at the beginning of a
#: traced function that is called while a pending call is made, such as greenlet's.
_GRACE = 30
_stderr: list[int] = []


def open_stderr(config: pytest.Config) -> None:
    """Keep the stream of errors as it is when pytest does not capture it."""
    with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        _stderr.append(os.dup(2))


@contextmanager
def ended(item: pytest.Item) -> Iterator[None]:
    """End the process of a test that hangs, because CI would wait until its time is over.

    A parallel run reports such a test as failed and goes on in another process.
    """

    def end(_: int, frame: FrameType | None) -> None:
        with item.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            print(f"\n{item.nodeid} hangs", file=sys.stderr)
            traceback.print_stack(frame)
            for task in asyncio.all_tasks(asyncio.get_event_loop_policy().get_event_loop()):
                print(f"{task.get_name()} waits in", *_frames(task.get_coro()), sep="\n  ", file=sys.stderr)
        os._exit(1)

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, HANGS_AFTER)
    faulthandler.dump_traceback_later(HANGS_AFTER + _GRACE, exit=True, file=_stderr[0])
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()


def _frames(awaited: object) -> Iterator[str]:
    """Yield where a coroutine waits, and where what it waits for does."""
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        yield f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}" if frame else repr(awaited)
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
