"""Whether it is quiet for a person now, and until when.

A window is wall-clock time: an instant is quiet if the clock on the wall shows a time that lies in a window.  Around a
change of the clocks everything follows from that.  An hour that comes twice is quiet twice; one that is left out shortens
the night; and where the clock jumps out of a window, or back to before one begins, the quiet time ends with the jump.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from math import ceil

from ..models.quiet_hours import DAY, QuietHours

_SECOND = timedelta(seconds=1)
#: Between two changes of a zone's offset are 167 hours at the least (Boa Vista in 2000; Gaza in 2040), so that there is
#: at most one in a stretch of this length.  A test proves it for every zone.
STRETCH = timedelta(hours=144)


def quiet_until(quiet: QuietHours, now: datetime) -> datetime | None:
    """Return the first instant after ``now`` that is not quiet; ``None`` if ``now`` itself is not.

    Args:
        quiet: The person's quiet hours.
        now: An instant; its year is neither the first nor the last that ``datetime`` knows.
    """
    at = now.astimezone(UTC)
    left = _left(quiet, at)
    if left is None:
        return None
    while left is not None:
        end = min(at + left, at + STRETCH)
        at = _change(quiet.clock, at, end) or end
        left = _left(quiet, at)
    return at


def _left(quiet: QuietHours, at: datetime) -> timedelta | None:
    """Return how long it would be quiet from ``at`` on if the clocks did not change."""
    wall = at.astimezone(quiet.clock)
    minutes = quiet.minutes_left(wall.weekday() * DAY + wall.hour * 60 + wall.minute)
    if minutes is None:
        return None
    return timedelta(minutes=minutes, seconds=-wall.second, microseconds=-wall.microsecond)


def _change(clock: tzinfo, after: datetime, until: datetime) -> datetime | None:
    """Return when the offset changes between two instants, the second included."""
    offset = after.astimezone(clock).utcoffset()
    if until.astimezone(clock).utcoffset() == offset:
        return None
    start = after.replace(microsecond=0)  # changes come with a full second
    same, other = 0, ceil((until - start) / _SECOND)
    while other - same > 1:
        middle = (same + other) // 2
        if (start + middle * _SECOND).astimezone(clock).utcoffset() == offset:
            same = middle
        else:
            other = middle
    return start + other * _SECOND
