"""Tickets that a client library hands over whenever they come, until a call asks for them."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from datetime import timedelta

from ..models.delivery import Lane
from ..ports import Received


class Arrivals:
    """Received tickets by lane."""

    def __init__(self) -> None:
        self._of: defaultdict[Lane, deque[Received]] = defaultdict(deque)
        self._changed = asyncio.Event()

    def add(self, received: Iterable[Received]) -> None:
        """Keep tickets, and end the wait of a call for them."""
        for one in received:
            self._of[one.ticket.lane].append(one)
        self._changed.set()

    def wake(self) -> None:
        """End the wait of a call, which has to look at something else."""
        self._changed.set()

    def waiting(self, lane: Lane) -> int:
        """Return how many tickets of a lane wait here."""
        return len(self._of[lane])

    async def take(self, wanted: Mapping[Lane, int], wait: timedelta) -> list[Received]:
        """Take out what is wanted; wait until there is something, or until :meth:`wake`."""
        self._changed.clear()
        if (taken := self._taken(wanted)) or wait <= timedelta(0):
            return taken
        try:
            async with asyncio.timeout(wait.total_seconds()):
                await self._changed.wait()
        except TimeoutError:
            return []
        return self._taken(wanted)

    def _taken(self, wanted: Mapping[Lane, int]) -> list[Received]:
        return [
            self._of[lane].popleft() for lane, count in wanted.items() for _ in range(min(count, len(self._of[lane])))
        ]

    def clear(self) -> None:
        """Forget everything."""
        self._of.clear()
        self._changed.set()
