"""The portal: an event loop in a thread of its own, for callers that have none.

Of a kit it uses only what opens and closes it.  Each process has its own
loop and connections: what a forked process inherits belongs to the parent.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from importlib import import_module
from typing import Any, Generic, Protocol, Self, TypeVar

from .errors import ConfigurationError, StoreUnavailableError

T = TypeVar("T")


class Owner(Protocol):
    """The part of a kit that a portal needs."""

    @property
    def home(self) -> asyncio.AbstractEventLoop | None:
        """The only event loop that may call the open store; ``None`` if a twin kit can open it in another loop."""
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
    """Runs the calls of sync callers: in the kit's own loop if only that one may, else in a thread's loop.

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
            return _Call(lambda: work(self._kit), _at_home).made_in(loop)
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
    """The state of a portal in one process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running: _Running[K] | None = None


_CLOSED = "the kit was closed while this call was under way"

#: Calls in loops of the program's own.
_at_home: set[_Call[Any]] = set()

#: All portals with a running thread.  In a forked process they stay here: closing what belongs to the parent,
#: or only letting
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
        self._stop = asyncio.Event()
        self._calls: set[_Call[Any]] = set()
        self._has_ended = False
        started, wait_for_start = _signal()
        self._thread = _start_thread(partial(self._serve, started), name)
        wait_for_start()
        if self._thread_id == threading.get_native_id():
            self._loop.call_soon_threadsafe(self._stop.set)
            raise ConfigurationError(
                "something replaced threads by greenlets (eventlet?), and an event loop needs a thread of its own: "
                "publish with session= or connection=, which needs no loop, or use gevent"
            )

    def call(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Await what ``work`` returns in the loop, and return its result."""
        call = _Call(work, self._calls)
        if self._has_ended:  # after the other calls were cancelled
            raise StoreUnavailableError(_CLOSED)
        return call.made_in(self._loop)

    def end(self) -> None:
        """End the loop and its thread; calls under way are cancelled."""
        self.call(self._end)
        if self._thread is not None:
            self._thread.join()

    async def _end(self) -> None:
        self._stop.set()

    def _serve(self, started: Callable[[], object]) -> None:
        try:
            asyncio.run(self._until_stopped(started))
        finally:
            self._has_ended = True
            for call in list(self._calls):  # the loop has not started these
                call.fail()

    async def _until_stopped(self, started: Callable[[], object]) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_native_id()
        started()
        await self._stop.wait()


class _Call(Generic[T]):
    """A call in an event loop that runs in another thread.

    Args:
        work: Called in the loop, and awaited.
        under_way: The set that holds the call until it is done.
    """

    _result: T
    _error: BaseException | None = None

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]], under_way: set[_Call[Any]]) -> None:
        self._work = work
        self._under_way = under_way
        self._done, self._wait = _signal()
        under_way.add(self)

    def made_in(self, loop: asyncio.AbstractEventLoop) -> T:
        """Make the call and wait for its result."""
        if asyncio._get_running_loop() is loop:
            self._under_way.discard(self)
            raise ConfigurationError(
                "this thread runs the kit's event loop, which cannot wait for itself: "
                "use 'await apublish(...)' and the other asynchronous methods"
            )
        try:
            loop.call_soon_threadsafe(self._begin)
        except RuntimeError as error:
            self._under_way.discard(self)
            raise StoreUnavailableError(_CLOSED) from error
        self._wait()
        if self._error is None:
            return self._result
        try:
            raise self._error
        finally:
            self._error = None  # which holds this frame

    def fail(self) -> None:
        """Release the caller with an error: the loop has ended."""
        self._error = StoreUnavailableError(_CLOSED)
        self._under_way.discard(self)
        self._done()

    def _begin(self) -> None:
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        try:
            self._result = await self._work()
        except asyncio.CancelledError:
            self.fail()
            raise
        except BaseException as error:  # noqa: BLE001 - it is raised to the caller
            self._error = error
        self._under_way.discard(self)
        self._done()


def _signal() -> tuple[Callable[[], object], Callable[[], object]]:
    """Return two functions: one signals from another thread that a call is done, one waits for that in this thread.

    Where gevent has patched threads, the other greenlets of this thread run meanwhile.
    """
    if _gevent_threads() is None:
        lock = threading.Lock()
        lock.acquire()
        return lock.release, lock.acquire
    hub, event = import_module("gevent.hub"), import_module("gevent.event")
    # Not gevent's lock: across threads, a hub without other work does not stay in the wait for it.
    done, watcher = event.Event(), hub.get_hub().loop.async_()

    def finish() -> None:
        watcher.stop()
        watcher.close()
        done.set()

    watcher.start(finish)
    return watcher.send, done.wait


def _start_thread(target: Callable[[], None], name: str) -> threading.Thread | None:
    """Start a real thread, also where gevent has replaced ``threading`` by greenlets.

    All greenlets of a thread see the event loop that runs in any of them, and every use of asyncio, and
    of Django's ORM, would then fail in all others.
    """
    monkey = _gevent_threads()
    if monkey is not None:
        monkey.get_original("_thread", "start_new_thread")(target, ())
        return None
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread


def _gevent_threads() -> Any:
    """Return ``gevent.monkey`` if it has replaced threads by greenlets."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey if monkey is not None and monkey.is_module_patched("threading") else None
