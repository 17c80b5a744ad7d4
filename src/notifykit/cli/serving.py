"""Run one dispatcher until somebody says stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from ..dispatch.settings import DispatchSettings
    from ..kit import Notifykit

T = TypeVar("T")


async def serve(kit: Notifykit, settings: DispatchSettings, *, ready: Callable[[], None], stop: asyncio.Event) -> None:
    """Dispatch until ``stop`` is set, then finish what is under way.

    Args:
        ready: Called once the store is open and work begins.
    """
    open_many_files()
    async with kit:
        dispatcher = kit.dispatcher(settings=settings)
        collect_seldom()  # this process does nothing else
        running = asyncio.create_task(dispatcher.run(), name="notifykit-run")
        stopping = asyncio.create_task(stop.wait(), name="notifykit-stop")
        try:
            ready()
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            dispatcher.stop()
            await running
        finally:
            stopping.cancel()
            running.cancel()  # a no-op unless we were cancelled ourselves: then run() winds down first
            await asyncio.gather(stopping, running, return_exceptions=True)


def open_many_files() -> None:
    """Raise the limit of open files as far as it goes: each host that is delivered to needs a connection.

    The low limit that most systems begin with is for programs that call ``select``, which nothing here does.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS says "no limit" and does not mean it
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


#: Objects made, less those freed, between two looks for unreachable ones.  Thousands of deliveries are under way at
#: a time and none of them is garbage; with Python's own 700 an eighth of a worker's time goes into looking.
_LOOKS = 20_000


def collect_seldom() -> None:
    """Have the garbage collector leave out what is there by now, and look less often for what comes."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_LOOKS, *gc.get_threshold()[1:])


def run_fast(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` on uvloop where it is installed (the extra ``speed``), else on asyncio's loop."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if sys.platform != "win32":
        try:
            from uvloop import new_event_loop as factory
        except ImportError:
            factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)
