"""One attempt to make something, for all calls that need it at that moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Makes something once for all calls while it is being made; the next call has it made anew."""

    def __init__(self, make: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._make = make
        self._making: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """Return what is made; one caller's cancellation does not concern the others."""
        making = self._making
        if making is None:
            making = self._making = asyncio.create_task(self._make())
            making.add_done_callback(self._made)
        return await asyncio.shield(making)

    async def aclose(self) -> None:
        """Stop making it."""
        if self._making is not None:
            self._making.cancel()
            await asyncio.wait([self._making])

    def _made(self, making: asyncio.Task[T]) -> None:
        self._making = None
        if not making.cancelled():
            making.exception()  # raised to the calls that wait, if any still do
