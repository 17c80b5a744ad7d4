"""The portal: an event loop in a thread of its own, for callers that have none."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from anyio.from_thread import BlockingPortal, start_blocking_portal

from .models.event import Receipt
from .publisher import PublishOptions

if TYPE_CHECKING:
    from .kit import Notifykit


class Blocking:
    """A kit for sync callers: every asynchronous method, awaited in a background thread.

    Thread-safe.  ``kit.blocking.endpoints.create(...)`` returns the endpoint itself;
    publishes of many threads share transactions like those of many tasks.
    """

    def __init__(self, make: Callable[[], Notifykit]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._context: AbstractContextManager[BlockingPortal] | None = None
        self._portal: BlockingPortal | None = None
        self._kit: Notifykit | None = None

    def _open(self) -> tuple[BlockingPortal, Notifykit]:
        with self._lock:
            if self._portal is None or self._kit is None:
                context = start_blocking_portal("asyncio", name="notifykit-portal")
                portal = context.__enter__()
                kit = self._make()
                try:
                    portal.call(kit.open)
                except BaseException:
                    context.__exit__(None, None, None)
                    raise
                self._context, self._portal, self._kit = context, portal, kit
                atexit.register(self.close)
            return self._portal, self._kit

    def close(self) -> None:
        """Disconnect and end the thread; the next call opens it again."""
        with self._lock:
            context, portal, kit = self._context, self._portal, self._kit
            self._context = self._portal = self._kit = None
        if context is not None and portal is not None and kit is not None:
            atexit.unregister(self.close)
            portal.call(kit.aclose)
            context.__exit__(None, None, None)

    def publish_many(self, events: Sequence[object], options: PublishOptions) -> list[Receipt]:
        """Publish events and wait until they are durable."""
        portal, kit = self._open()
        if len(events) == 1:
            return [portal.call(lambda: kit.apublish(events[0], **options))]
        return portal.call(lambda: kit.apublish_many(events, **options))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        portal, kit = self._open()
        return _sync(portal, getattr(kit, name))


def _sync(portal: BlockingPortal, part: Any) -> Any:
    """Return a method as a blocking function, and a part of the kit as a view with blocking methods."""
    if iscoroutinefunction(part):
        return lambda *args, **options: portal.call(lambda: part(*args, **options))
    if type(part).__module__.startswith("notifykit.admin"):
        return _View(portal, part)
    return part


class _View:
    def __init__(self, portal: BlockingPortal, part: Any) -> None:
        self._portal = portal
        self._part = part

    def __getattr__(self, name: str) -> Any:
        return _sync(self._portal, getattr(self._part, name))
