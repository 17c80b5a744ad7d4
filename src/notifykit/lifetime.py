"""The lifetime of a kit: in which event loop and process its store is open, and which dispatchers run on it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from .errors import ConfigurationError, StoreUnavailableError
from .ports import Store

if TYPE_CHECKING:
    from .dispatch.runtime.dispatcher import Dispatcher


class Lifetime:
    """Opens the store of a kit in one event loop, and closes it there.

    Args:
        store: What is opened.
        is_taken: Tells whether the thread of ``kit.blocking`` has the kit's store; one in memory has no second loop.
        finish: Ends what works on the store; called before the store is closed.
    """

    def __init__(self, store: Store, *, is_taken: Callable[[], bool], finish: Callable[[], Awaitable[None]]) -> None:
        #: Whether the store is in this process only.
        self.is_private: bool = getattr(store, "private", False)
        #: The event loop in which the store is open.
        self.loop: asyncio.AbstractEventLoop | None = None
        self._store = store
        self._is_taken = is_taken
        self._finish = finish
        self._opening: asyncio.Lock | None = None
        self._is_closed = False
        self._is_lent = False
        self._dispatchers: set[Dispatcher] = set()
        self._pid = os.getpid()

    @property
    def home(self) -> asyncio.AbstractEventLoop | None:
        """The only event loop that may call the open store; ``None`` if a twin can open it in another."""
        return self.loop if self.is_private and os.getpid() == self._pid else None

    async def open(self) -> None:
        """Open the store until the kit is closed, even if dispatchers had opened it."""
        await self._connect()
        self._is_lent = False

    async def ensure_open(self) -> None:
        """Open a kit that was not opened yet; one that was closed stays closed."""
        if self._is_closed:
            raise StoreUnavailableError("this kit was closed: open it again with 'async with' or open()")
        await self._connect()

    async def close(self) -> None:
        """Stop the dispatchers and close the store; it then stays closed until it is opened again."""
        for dispatcher in list(self._dispatchers):
            await dispatcher.aclose()
        await self._disconnect()
        self._is_closed = True

    @contextlib.asynccontextmanager
    async def lend(self, dispatcher: Dispatcher, prepare: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
        """Keep the store open for a dispatcher, and close what only dispatchers have opened.

        Args:
            prepare: Called when the store is open, before the dispatcher starts.
        """
        was_open = self.loop is not None
        await self.ensure_open()
        await prepare()
        self._is_lent = self._is_lent or not was_open
        self._dispatchers.add(dispatcher)
        try:
            yield
        finally:
            self._dispatchers.discard(dispatcher)
            if self._is_lent and not self._dispatchers:
                await self._disconnect()

    def check_process(self) -> None:
        """Refuse a store in memory that was copied by a fork."""
        if self.is_private and os.getpid() != self._pid:
            raise ConfigurationError(
                "this process was forked, and has only a copy of a store in memory, which nothing delivers from: "
                "give processes a store that they can share, such as sqlite:///file.db"
            )

    async def _connect(self) -> None:
        if self.loop is None:
            self._opening = self._opening or asyncio.Lock()
            async with self._opening:
                await self._open_store()
        if self.loop is not asyncio.get_running_loop():
            raise ConfigurationError(
                "this kit was opened in another event loop and not closed there: "
                "open one kit per loop, or use kit.blocking from threads"
            )

    async def _open_store(self) -> None:
        if self.loop is not None:
            return
        if self.is_private and self._is_taken():
            raise ConfigurationError("kit.blocking has this kit's store: call kit.close() before you open it")
        self.check_process()
        await self._store.open()
        self.loop = asyncio.get_running_loop()
        self._is_closed = False

    async def _disconnect(self) -> None:
        await self._finish()
        if self.loop is not None:
            await self._store.aclose()
            self.loop = self._opening = None
            self._is_lent = False
