"""Slows down whoever guesses: an address that fails too often is refused before anything is looked up."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from ...models.endpoint import RateLimit

#: Addresses that are remembered; the one that failed the longest ago is forgotten first.
_MOST = 10_000


class FailedAttempts:
    """A token bucket of failures for each address, in the memory of this process."""

    def __init__(self, limit: RateLimit, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, address: str) -> float:
        """Return for how many seconds an address is refused; 0 if it is not."""
        return max(0.0, (1 - self._tokens(address)) / self._limit.per_second)

    def add(self, address: str) -> None:
        """Count a failure."""
        self._left[address] = (max(0.0, self._tokens(address) - 1), self._clock())
        self._left.move_to_end(address)
        if len(self._left) > _MOST:
            self._left.popitem(last=False)

    def _tokens(self, address: str) -> float:
        now = self._clock()
        left, at = self._left.get(address, (float(self._limit.burst), now))
        return min(float(self._limit.burst), left + (now - at) * self._limit.per_second)
