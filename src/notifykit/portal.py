"""The portal: an event loop in a thread of its own, for callers that have none.

It knows what a kit can do only as far as it opens and closes one.  Each process has its own
loop and connections: what a forked process inherits belongs to the parent.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, Generic, Protocol, Self, TypeVar

from .errors import ConfigurationError, StoreUnavailableError

T = TypeVar("T")


class Owner(Protocol):
    """What a portal needs of a kit."""

    @property
    def home(self) -> asyncio.AbstractEventLoop | None:
        """The only event loop that may call the open store; ``None`` if a twin can open it in another."""
        ...

    def twin(self) -> Self:
        """Return a kit with the same settings, on the same data, for another event loop."""
        ...

    async def open(self) -> Self:
        """Connect."""
        ...

    async def aclose(self) -> None:
        """Disconnect."""
        ...


K = TypeVar("K", bound=Owner)


class Portal(Generic[K]):
    """Where the calls of sync callers run: in the kit's own loop if it has to be, else in a thread's.

    Thread-safe.  The thread starts with the first call, and again with the first after :meth:`close`.
    """

    def __init__(self, kit: K) -> None:
        self._kit = kit
        self._homes: dict[int, _Home[K]] = {}

    @property
    def is_open(self) -> bool:
        """Whether this process has a thread for the calls."""
        return self._here().running is not None

    def call(self, work: Callable[[K], Coroutine[Any, Any, T]]) -> T:
        """Run what ``work`` returns for an open kit in that kit's event loop, and wait for it.

        Raises:
            ConfigurationError: This thread runs that loop, or no thread can be started beside this one.
            StoreUnavailableError: The kit was closed while the call was under way.
        """
        loop = self._kit.home
        if loop is not None:
            return _result(_submit(loop, lambda: work(self._kit)))
        running = self._open()
        return running.thread.call(lambda: work(running.kit))

    def close(self) -> None:
        """Disconnect and end the thread; the next call opens it again."""
        here = self._here()
        with here.lock:
            running, here.running = here.running, None
        if running is not None:
            _running.discard(running)
            try:
                running.thread.call(running.kit.aclose)
            finally:
                running.thread.end()

    def _here(self) -> _Home[K]:
        # By process, and not only by a hook at fork: some servers fork without telling Python (uWSGI).
        # A lock that a thread of the parent holds stays with the parent.
        pid = os.getpid()
        return self._homes.get(pid) or self._homes.setdefault(pid, _Home())

    def _open(self) -> _Running[K]:
        here = self._here()
        with here.lock:
            if here.running is None:
                thread = LoopThread("notifykit-portal")
                try:
                    kit = self._kit.twin()
                    thread.call(kit.open)
                except BaseException:
                    thread.end()
                    raise
                here.running = _Running(self, thread, kit)
                _running.add(here.running)
            return here.running


class _Running(Generic[K]):
    def __init__(self, portal: Portal[K], thread: LoopThread, kit: K) -> None:
        self.portal = portal
        self.thread = thread
        self.kit = kit
        self.pid = os.getpid()


class _Home(Generic[K]):
    """What one process has of a portal."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running: _Running[K] | None = None


#: All that run.  In a forked process they stay here: closing what belongs to the parent, or only letting
#: the garbage collector close it, would cut the parent's connections.
_running: set[_Running[Any]] = set()


@atexit.register
def _close_all() -> None:
    """Close what this process left open.  Registered on import, so that later handlers can still publish."""
    for running in list(_running):
        if running.pid == os.getpid():
            running.portal.close()


class LoopThread:
    """An event loop in an operating-system thread of its own.

    Raises:
        ConfigurationError: This program has no threads beside this one.
    """

    def __init__(self, name: str) -> None:
        self._started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = Future()
        self._ended: Future[None] = Future()
        self._calls: set[Future[Any]] = set()
        _start_thread(self._serve, name)
        self._loop, self._stop, thread_id = self._started.result()
        if thread_id == threading.get_native_id():
            self.end()
            raise ConfigurationError(
                "something replaced threads by greenlets (eventlet?), and an event loop needs a thread of its own: "
                "publish with session= or connection=, which needs no loop, or use gevent"
            )

    def call(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Await what ``work`` returns in the loop, and return its result."""
        future = _submit(self._loop, work)
        self._calls.add(future)
        future.add_done_callback(self._calls.discard)
        if self._ended.done():  # after the others were cancelled
            future.cancel()
        return _result(future)

    def end(self) -> None:
        """End the loop and return when the thread has nothing more to do; calls under way are cancelled."""
        with contextlib.suppress(RuntimeError):  # it has ended
            self._loop.call_soon_threadsafe(self._stop.set)
        self._ended.result()

    def _serve(self) -> None:
        try:
            asyncio.run(self._until_stopped())
        except BaseException as error:  # noqa: BLE001 - it is raised to who waits for the start
            if not self._started.done():
                self._started.set_exception(error)
        finally:
            _end_hub()
            self._ended.set_result(None)
            for future in list(self._calls):
                future.cancel()

    async def _until_stopped(self) -> None:
        stop = asyncio.Event()
        self._started.set_result((asyncio.get_running_loop(), stop, threading.get_native_id()))
        await stop.wait()


def _start_thread(target: Callable[[], None], name: str) -> None:
    """Start a real thread, also where gevent has replaced ``threading`` by greenlets.

    All greenlets of a thread see the event loop that runs in any of them, and every use of asyncio, and
    of Django's ORM, would then fail in all others.
    """
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):
        monkey.get_original("_thread", "start_new_thread")(target, ())
    else:
        threading.Thread(target=target, name=name, daemon=True).start()


def _end_hub() -> None:
    """Release what gevent keeps for this thread, if it has patched what the event loop waits with."""
    gevent = sys.modules.get("gevent")
    if gevent is not None and (hub := gevent.hub.get_hub_if_exists()) is not None:
        hub.destroy(destroy_loop=True)


def _submit(loop: asyncio.AbstractEventLoop, work: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
    """Begin a call in a loop that runs in another thread."""
    if asyncio._get_running_loop() is loop:
        raise ConfigurationError(
            "this thread runs the kit's event loop, which cannot wait for itself: "
            "use 'await apublish(...)' and the other asynchronous methods"
        )

    async def run() -> T:
        return await work()  # called in the loop: what it returns may need one

    coroutine = run()
    try:
        return asyncio.run_coroutine_threadsafe(coroutine, loop)
    except RuntimeError as error:
        coroutine.close()
        raise StoreUnavailableError("the kit's event loop has ended") from error


def _result(future: Future[T]) -> T:
    try:
        return future.result()
    except CancelledError as error:
        raise StoreUnavailableError("the kit was closed while this call was under way") from error
