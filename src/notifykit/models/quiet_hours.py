"""When a person does not want to be disturbed: windows of a week, in the person's own time zone.

A window is a span of wall-clock time.  What that means around a change of the clocks is in
:mod:`notifykit.policies.quiet_hours`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, tzinfo
from enum import StrEnum
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import attrs

from .checks import field_check, kind_of, listed, many, one_of
from .preferences import label

DAY = 24 * 60
WEEK = 7 * DAY

_CLOCK = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]")
#: Names of the IANA database.  What begins with a small letter (``localtime``, ``right/…``) depends on the machine.
_ZONE = re.compile(r"[A-Z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}")
_MAX_ZONE = 64
#: More would be a mistake of a program, not the wish of a person.
_MAX_DAYS, _MAX_WINDOWS, _MAX_CATEGORIES = 100, 10_000, 10_000


class Weekday(StrEnum):
    """A day of the week, in the order of ``datetime.weekday()``."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


_NUMBER = {day: number for number, day in enumerate(Weekday)}


def clock(value: object) -> str | None:
    """Check a time of the wall clock."""
    if not isinstance(value, str):
        return f"must be a time such as 22:00, not {kind_of(value)}"
    return None if _CLOCK.fullmatch(value) else "must be a time from 00:00 to 23:59, with two digits each"


def zone_name(value: object) -> str | None:
    """Check the name of a time zone."""
    if not isinstance(value, str):
        return f"must be the name of a time zone such as Europe/Berlin, not {kind_of(value)}"
    if len(value) <= _MAX_ZONE and _ZONE.fullmatch(value):
        if zone_named(value) is not None:
            return None
        if value != "GMT" and zone_named("GMT") is None:
            return "this machine has no time zones: install its package tzdata, or pip install tzdata"
    return f"there is no time zone {value[:40]!r}; names are those of the IANA database, such as Europe/Berlin"


@lru_cache(maxsize=1024)
def zone_named(name: str) -> tzinfo | None:
    """Return the time zone of this name, if there is one; UTC needs no database."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):  # OSError: the name of a folder
        return None


_BY_NAME: Mapping[str, Any] = {day.value: day for day in Weekday}


def _days(values: Iterable[Weekday | str]) -> tuple[Weekday, ...]:
    """Return days that may be given by their names; the check says what is none."""
    given = listed(values, _MAX_DAYS)
    if not isinstance(given, tuple):
        return given  # type: ignore[no-any-return]
    return tuple(_BY_NAME.get(day, day) if isinstance(day, str) else day for day in given)


@attrs.frozen(kw_only=True)
class Window:
    """A span of wall-clock time on some days of the week.

    Attributes:
        days: The days on which it begins.
        from_: When it begins, such as ``22:00``.
        to: When it ends; on the next day if that is not later than ``from_``.
    """

    days: tuple[Weekday, ...] = attrs.field(
        converter=_days, validator=field_check(many(one_of(Weekday), most=_MAX_DAYS, what="days of the week"))
    )
    from_: str = attrs.field(validator=field_check(clock), metadata={"json": "from"})
    to: str = attrs.field(validator=field_check(clock))

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Beginning and end of each, in minutes of the week; the end may lie in the next week."""
        begin, end = _minute(self.from_), _minute(self.to)
        length = (end - begin) % DAY or DAY
        begins = [_NUMBER[day] * DAY + begin for day in self.days]
        return [(begin, begin + length) for begin in begins]


def _minute(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])


def _merged(windows: Iterable[Window]) -> tuple[tuple[int, int], ...]:
    """Return the spans of all windows within one week, in order, those that overlap or touch as one."""
    spans: list[tuple[int, int]] = []
    for begin, end in (span for window in windows for span in window.spans):
        spans += [(begin, min(end, WEEK)), (0, end - WEEK)] if end > WEEK else [(begin, end)]
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return tuple(merged)


def quiet_windows(value: object) -> str | None:
    """Check that windows leave some time of the week."""
    if not isinstance(value, Sequence) or not all(isinstance(window, Window) for window in value):
        return "must be a list of windows"
    if len(value) > _MAX_WINDOWS:
        return f"at most {_MAX_WINDOWS} windows"
    if _merged(value) == ((0, WEEK),):
        return "the windows cover the whole week, so that nothing could ever be sent; leave some time"
    return None


def _windows(values: Iterable[Window]) -> tuple[Window, ...]:
    windows: tuple[Window, ...] = listed(values, _MAX_WINDOWS)
    return windows


def _categories(values: Iterable[str]) -> frozenset[str]:
    categories: tuple[str, ...] = listed(values, _MAX_CATEGORIES)
    return frozenset(categories)


@attrs.frozen(kw_only=True)
class QuietHours:
    """When a person is not disturbed.

    Attributes:
        zone: The IANA name of the person's time zone.
        windows: May overlap; together they leave some time of the week.
        exceptions: Categories that are sent all the same.
        clock: The time zone itself.
    """

    zone: str = attrs.field(default="UTC", validator=field_check(zone_name))
    windows: tuple[Window, ...] = attrs.field(default=(), converter=_windows, validator=field_check(quiet_windows))
    exceptions: frozenset[str] = attrs.field(
        default=(), converter=_categories, validator=field_check(many(label, most=_MAX_CATEGORIES, what="categories"))
    )
    clock: tzinfo = attrs.field(init=False, eq=False, repr=False)
    _begins: Sequence[int] = attrs.field(init=False, eq=False, repr=False)
    _ends: Sequence[int] = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        found = zone_named(self.zone)
        assert found is not None, "the check of the field has seen that there is one"
        spans = [list(span) for span in _merged(self.windows)]
        if spans and spans[0][0] == 0 and spans[-1][1] == WEEK:
            spans[-1][1] += spans[0][1]  # it goes on over the end of the week
        _set: Any = object.__setattr__
        _set(self, "clock", found)
        _set(self, "_begins", tuple(begin for begin, _ in spans))
        _set(self, "_ends", tuple(end for _, end in spans))

    def minutes_left(self, minute: int) -> int | None:
        """Return how many minutes after the beginning of a minute of the week it is quiet; ``None`` if it is not."""
        at = bisect_right(self._begins, minute) - 1
        if at < 0 or minute >= self._ends[at]:
            return None
        return self._ends[at] - minute
