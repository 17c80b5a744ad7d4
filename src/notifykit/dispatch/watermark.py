"""How far back the planner looks for others than those who stand back (see ADR 0004).

Asking for others costs a look at everything that is due, and a backlog of those who
stand back may be very long.  What was due at the last look need not be looked at again.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Final

from ..models.event import TakenEvent

#: So far behind the last look: clocks differ, and commits come late.
BEHIND: Final = timedelta(seconds=5)
#: So often through everything that is due: what somebody lost becomes due again where it was.
WHOLE_EVERY: Final = timedelta(seconds=30)


class ScanWatermark:
    """The last look for others, as far as the next one can build on it."""

    def __init__(self) -> None:
        self._of: frozenset[str] = frozenset()
        self._at = self._whole_at = datetime.min.replace(tzinfo=UTC)

    def since(self, exclude: Collection[str], now: datetime) -> datetime | None:
        """Return from when on to look for what is due of others than ``exclude``; ``None`` is from the beginning."""
        fresh = timedelta(0) <= now - self._whole_at <= WHOLE_EVERY  # a clock may have been put back
        if not (fresh and self._of and self._of.issubset(exclude)):
            return None
        return min(self._at, now) - BEHIND

    def note(self, exclude: Collection[str], since: datetime | None, now: datetime, found: list[TakenEvent]) -> None:
        """Take in a look that has found everything; of what it found there may be further pages."""
        self._of, self._at = frozenset(exclude), min([now, *(event.published_at for event in found)])
        if since is None:
            self._whole_at = now
