"""The reference broker: queues in this process."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from ..errors import ConfigurationError
from ..models.delivery import Lane
from ..ports import Received, Ticket


class MemoryBroker:
    """Carries tickets inside one process, between dispatchers of one event loop.

    It shows what a broker does, and serves tests: it makes nothing faster.  Tickets that were received are forgotten.

    Args:
        url: ``memory://``; every broker has its own tickets.
    """

    def __init__(self, url: str = "memory://") -> None:
        if url.partition("://")[2]:
            raise ConfigurationError(f"memory:// takes nothing behind it, got {url!r}")
        self._queues: defaultdict[Lane, deque[Ticket]] = defaultdict(deque)
        self._arrived = asyncio.Event()

    async def put(self, tickets: Sequence[Ticket]) -> None:
        for ticket in tickets:
            self._queues[ticket.lane].append(ticket)
        self._arrived.set()

    async def receive(self, wanted: Mapping[Lane, int], *, wait: timedelta) -> list[Received]:
        loop = asyncio.get_running_loop()
        end = loop.time() + wait.total_seconds()
        while True:
            self._arrived.clear()
            received = [Received(ticket) for lane, count in wanted.items() for ticket in self._taken(lane, count)]
            left = end - loop.time()
            if received or left <= 0:
                return received
            try:
                async with asyncio.timeout(left):
                    await self._arrived.wait()
            except TimeoutError:
                return []

    def _taken(self, lane: Lane, count: int) -> list[Ticket]:
        queue = self._queues[lane]
        return [queue.popleft() for _ in range(min(count, len(queue)))]

    async def ack(self, received: Sequence[Received]) -> None:
        """Do nothing: what was received is gone."""

    async def aclose(self) -> None:
        """Do nothing: there is nothing to disconnect from."""

    def wipe(self) -> None:
        """Lose every ticket, for tests."""
        self._queues.clear()


if TYPE_CHECKING:
    from ..ports import Broker

    _conforms: type[Broker] = MemoryBroker
