"""A clock that stands still until a test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

#: Where a :class:`FakeClock` starts; it has microseconds, so that a store that loses them is detected.
START = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


class FakeClock:
    """Returns the time that the test has set.

    Args:
        start: The first instant.
    """

    def __init__(self, start: datetime = START) -> None:
        self._now = start

    def now(self) -> datetime:
        """Return the current instant in UTC."""
        return self._now

    def advance(self, by: timedelta) -> datetime:
        """Let ``by`` pass; return the new instant."""
        if by < timedelta(0):
            raise ValueError(f"time does not go back: {by}")
        self._now += by
        return self._now


if TYPE_CHECKING:
    from ..ports import Clock

    _conforms: type[Clock] = FakeClock
