"""Run one dispatcher until it is stopped."""

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
    from .metrics import Metrics

T = TypeVar("T")


async def serve(
    kit: Notifykit,
    settings: DispatchSettings,
    *,
    ready: Callable[[], None],
    stop: asyncio.Event,
    metrics: Metrics | None = None,
) -> None:
    """Dispatch until ``stop`` is set, then finish the attempts in progress.

    Args:
        metrics: What measures the kit, whose subscriber it is.
        ready: Called when the store is open and the dispatcher starts.
    """
    open_many_files()
    async with kit, contextlib.nullcontext() if metrics is None else metrics.serving(kit):
        dispatcher = kit.dispatcher(settings=settings)
        collect_seldom()  # this process only dispatches
        running = asyncio.create_task(dispatcher.run(), name="notifykit-run")
        stopping = asyncio.create_task(stop.wait(), name="notifykit-stop")
        try:
            ready()
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            dispatcher.stop()
            await running
        finally:
            stopping.cancel()
            running.cancel()  # a no-op unless this task was cancelled: then run() stops first
            await asyncio.gather(stopping, running, return_exceptions=True)


def open_many_files() -> None:
    """Raise the limit of open files to its maximum, because each receiving host needs a connection.

    The low default limit of most systems is for programs that call ``select``, which this one does not.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS reports "no limit" but refuses it
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


#: New objects, less those freed, between two garbage collections.  Thousands of deliveries in progress are not
#: garbage; with Python's default of 700 the collections take an eighth of a worker's time.
_LOOKS = 20_000


def collect_seldom() -> None:
    """Exclude all existing objects from garbage collection, and collect new ones less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_LOOKS, *gc.get_threshold()[1:])


def run_fast(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` on uvloop if it is installed (the extra ``speed``), else on asyncio's loop."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if sys.platform != "win32":
        try:
            from uvloop import new_event_loop as factory
        except ImportError:
            factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)
