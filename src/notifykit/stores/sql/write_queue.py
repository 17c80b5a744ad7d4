"""The queue before the only writer: short transactions before long ones, but none waits for ever."""

from __future__ import annotations

from collections import deque
from typing import Final, Generic, TypeVar

T = TypeVar("T")

#: Rows of a short transaction at the most.
SHORT: Final = 10
#: Short ones that may pass a long one that waits.
_BYPASSES: Final = 10


class WriteQueue(Generic[T]):
    """Items that wait for one writer; any thread may add one, and the writer takes them out.

    A flood of events is written in long transactions.  Other work is short: it waits for the transaction under
    way, and not for all that are queued.
    """

    def __init__(self) -> None:
        self._short: deque[T] = deque()
        self._long: deque[T] = deque()
        self._bypassed = 0

    def __len__(self) -> int:
        return len(self._short) + len(self._long)

    def join(self, item: T, *, short: bool) -> None:
        """Wait behind those of the same length."""
        (self._short if short else self._long).append(item)

    def next(self) -> T:
        """Remove and return the next item."""
        if self._short and (self._bypassed < _BYPASSES or not self._long):
            self._bypassed = self._bypassed + 1 if self._long else 0
            return self._short.popleft()
        self._bypassed = 0
        return self._long.popleft()
