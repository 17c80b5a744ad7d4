"""The portal: an event loop in a thread of its own, for callers that have none."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterable
from contextlib import AbstractContextManager
from functools import partial
from inspect import iscoroutinefunction
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

from anyio.from_thread import BlockingPortal, start_blocking_portal

from .errors import ConfigurationError
from .models.event import Receipt
from .publisher import PublishOptions

if TYPE_CHECKING:
    from .kit import Notifykit

#: Makes a call in an event loop and waits for its result.
Call = Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]


class _Running(NamedTuple):
    context: AbstractContextManager[BlockingPortal]
    portal: BlockingPortal
    kit: Notifykit


#: What a process inherited when it was forked.  It belongs to the parent: closing it, or only letting
#: the garbage collector close it, would cut the parent's connections.
_inherited: list[_Running] = []


class Blocking:
    """A kit for sync callers: every asynchronous method, awaited in a background thread.

    Thread-safe.  ``kit.blocking.endpoints.create(...)`` returns the endpoint itself;
    publishes of many threads share transactions like those of many tasks.
    """

    def __init__(self, kit: Notifykit) -> None:
        self._owner = kit
        self._lock = threading.Lock()
        self._running: _Running | None = None
        if hasattr(os, "register_at_fork"):
            forget = weakref.WeakMethod(self._forget)
            os.register_at_fork(after_in_child=lambda: (method := forget()) and method())

    @property
    def is_open(self) -> bool:
        """Whether the background thread runs."""
        return self._running is not None

    def close(self) -> None:
        """Disconnect and end the thread; the next call opens it again."""
        with self._lock:
            running, self._running = self._running, None
        if running is not None:
            atexit.unregister(self.close)
            try:
                running.portal.call(running.kit.aclose)
            finally:
                running.context.__exit__(None, None, None)

    def publish(self, event: object, **options: Unpack[PublishOptions]) -> Receipt:
        """Publish one event and wait until it is durable."""
        call, kit = self._reach()
        receipt: Receipt = call(lambda: kit.apublish(event, **options))
        return receipt

    def publish_many(self, events: Iterable[object], **options: Unpack[PublishOptions]) -> list[Receipt]:
        """Publish events and wait until they are durable."""
        call, kit = self._reach()
        receipts: list[Receipt] = call(lambda: kit.apublish_many(events, **options))
        return receipts

    def __getattr__(self, name: str) -> Any:
        return self._blocking(name)

    def _blocking(self, path: str) -> Any:
        """Return a method as a blocking function, and a part of the kit as a view with blocking methods."""
        if path.rpartition(".")[2].startswith("_"):
            raise AttributeError(path)
        part = attrgetter(path)(self._reach()[1])
        if iscoroutinefunction(part):
            return partial(self._call, path)
        if type(part).__module__.startswith("notifykit.admin"):
            return _View(self, path)
        return part

    def _call(self, path: str, /, *arguments: Any, **options: Any) -> Any:
        call, kit = self._reach()
        return call(lambda: attrgetter(path)(kit)(*arguments, **options))

    def _reach(self) -> tuple[Call, Notifykit]:
        """Return how to call, and the kit to call."""
        home = self._owner.home
        if home is not None:
            return partial(_call_in, home), self._owner
        running = self._open()
        return running.portal.call, running.kit

    def _open(self) -> _Running:
        with self._lock:
            if self._running is None:
                context = start_blocking_portal("asyncio", name="notifykit-portal")
                portal = context.__enter__()
                try:
                    kit = self._owner.twin()
                    portal.call(kit.open)
                except BaseException:
                    context.__exit__(None, None, None)
                    raise
                self._running = _Running(context, portal, kit)
                atexit.register(self.close)
            return self._running

    def _forget(self) -> None:
        """Start anew in a forked process: the thread stayed in the parent."""
        self._lock = threading.Lock()
        running, self._running = self._running, None
        if running is not None:
            atexit.unregister(self.close)
            _inherited.append(running)


class _View:
    def __init__(self, blocking: Blocking, path: str) -> None:
        self._of = blocking
        self._path = path

    def __getattr__(self, name: str) -> Any:
        return self._of._blocking(f"{self._path}.{name}")


def _call_in(loop: asyncio.AbstractEventLoop, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Make a call in a loop that runs in another thread."""
    try:
        here: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
    except RuntimeError:
        here = None
    if here is loop:
        raise ConfigurationError(
            "this thread runs the kit's event loop, and its store lives in that loop alone: "
            "use 'await apublish(...)' and the other asynchronous methods"
        )

    async def run() -> Any:
        return await work()

    return asyncio.run_coroutine_threadsafe(run(), loop).result()
