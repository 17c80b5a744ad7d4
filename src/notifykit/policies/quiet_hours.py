"""Whether it is quiet for a person now, and until when.

A window is wall-clock time: an instant is quiet if the clock on the wall shows a time that lies in a window.  Around a
change of the clocks everything follows from that.  An hour that comes twice is quiet twice; an hour that is left out
makes the night shorter; and where the clock jumps out of a window, the quiet time ends with the jump.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

from ..models.quiet_hours import DAY, QuietHours

#: Between two changes of a zone's offset there were never less than 95 hours (Africa/Freetown in 1939), so that there
#: is at most one in a stretch of this length.  A test proves it for every zone.
STRETCH = timedelta(days=3)
#: How far one look goes: a stretch that begins with the day holds it.
_LOOK = STRETCH - timedelta(days=1)


def quiet_until(quiet: QuietHours, now: datetime) -> datetime | None:
    """Return the first instant after ``now`` that is not quiet; ``None`` if ``now`` itself is not.

    Args:
        quiet: The person's quiet hours.
        now: An instant; its year is neither the first nor the last that ``datetime`` knows.
    """
    at = now.astimezone(UTC)
    if (left := _left(quiet, at)) is None:
        return None
    while left is not None:
        end = at + min(left, _LOOK)
        change = _change(quiet.clock, at.toordinal())
        if change is not None and at < change <= end:
            at = change
        elif left <= _LOOK:
            return end  # the clock shows the end of a window, and no other is open
        else:
            at = end
        left = _left(quiet, at)
    return at


def _left(quiet: QuietHours, at: datetime) -> timedelta | None:
    """Return how long it would be quiet from ``at`` on if the clocks did not change; ``None`` if it is not quiet."""
    wall = at.astimezone(quiet.clock)
    minutes = quiet.minutes_left(wall.weekday() * DAY + wall.hour * 60 + wall.minute)
    if minutes is None:
        return None
    return timedelta(minutes=minutes, seconds=-wall.second, microseconds=-wall.microsecond)


@lru_cache(maxsize=4096)
def _change(clock: tzinfo, day: int) -> datetime | None:
    """Return when the offset changes in the stretch that begins with a day (in UTC); ``None`` if it does not."""
    start = datetime.fromordinal(day).replace(tzinfo=UTC)
    offset = start.astimezone(clock).utcoffset()
    same, other = 0, int(STRETCH.total_seconds())
    if _at(start, other).astimezone(clock).utcoffset() == offset:
        return None
    while other - same > 1:  # changes come with a full second
        middle = (same + other) // 2
        if _at(start, middle).astimezone(clock).utcoffset() == offset:
            same = middle
        else:
            other = middle
    return _at(start, other)


def _at(start: datetime, seconds: int) -> datetime:
    return start + timedelta(seconds=seconds)
