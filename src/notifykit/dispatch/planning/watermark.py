"""From when on the planner scans for events of tenants that are not throttled (see ADR 0004).

Such a scan reads everything that is due, and the backlog of throttled tenants may be very
long.  What was due at the last scan need not be read again.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Final

from ...models.event import TakenEvent

#: So far before the last scan the next one begins: clocks differ, and commits come late.
BEHIND: Final = timedelta(seconds=5)
#: So often everything that is due is scanned: an event whose planner was lost becomes due again at its old time.
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
