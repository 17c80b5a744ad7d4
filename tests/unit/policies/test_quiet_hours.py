"""Quiet hours: until when, around every change of the clocks, against a walk over the minutes on the wall."""

from __future__ import annotations

import json
import random
import struct
import zoneinfo
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from notifykit.models.quiet_hours import QuietHours, Weekday, Window, zone_named
from notifykit.policies.quiet_hours import STRETCH, quiet_until
from tests.unit.policies import decisions

EVERY_DAY = tuple(Weekday)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
#: Names that other packages of zones have, and that are none of the IANA database.
ZONES = sorted(name for name in zoneinfo.available_timezones() if name[0].isupper())
#: Whole hours, half an hour, 45 minutes, two hours, whole days left out, a change at midnight, two changes for Ramadan.
TELLING = (
    *(
        "Europe/Berlin",
        "America/St_Johns",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
        "Pacific/Chatham",
        "Antarctica/Troll",
    ),
    *("America/Sao_Paulo", "America/Havana", "Africa/Casablanca", "Asia/Gaza", "Africa/Cairo", "America/Santiago"),
)


def quiet(zone: str, *windows: tuple[str, str], days: Sequence[Weekday] = EVERY_DAY) -> QuietHours:
    return QuietHours(zone=zone, windows=[Window(days=days, from_=begin, to=end) for begin, end in windows])


def until(hours: QuietHours, now: str) -> str | None:
    found = quiet_until(hours, datetime.fromisoformat(now))
    return None if found is None else f"{found:%Y-%m-%dT%H:%M:%S.%f}".removesuffix(".000000")


@pytest.mark.parametrize(
    ("zone", "windows", "now", "expected"),
    [
        # From the beginning on, up to and without the end.
        ("UTC", [("22:00", "07:00")], "2026-01-01T21:59:59.999999Z", None),
        ("UTC", [("22:00", "07:00")], "2026-01-01T22:00:00Z", "2026-01-02T07:00:00"),
        ("UTC", [("22:00", "07:00")], "2026-01-02T06:59:59.999999Z", "2026-01-02T07:00:00"),
        ("UTC", [("22:00", "07:00")], "2026-01-02T07:00:00Z", None),
        ("UTC", [("22:00", "07:00")], "2026-01-02T00:30:15+02:00", "2026-01-02T07:00:00"),
        ("Asia/Kathmandu", [("22:00", "07:00")], "2026-01-01T16:15:00Z", "2026-01-02T01:15:00"),
        # One window goes on where another ends.
        ("UTC", [("22:00", "23:00"), ("23:00", "01:00")], "2026-01-01T22:30:00Z", "2026-01-02T01:00:00"),
        ("UTC", [("22:00", "23:30"), ("23:00", "01:00")], "2026-01-01T22:30:00Z", "2026-01-02T01:00:00"),
        ("UTC", [("22:00", "23:00"), ("23:01", "01:00")], "2026-01-01T22:30:00Z", "2026-01-01T23:00:00"),
        # The clock jumps from 2 to 3: over the end, over the beginning, or inside.
        ("Europe/Berlin", [("01:00", "02:30")], "2026-03-29T00:30:00Z", "2026-03-29T01:00:00"),
        ("Europe/Berlin", [("02:30", "04:00")], "2026-03-29T00:59:59Z", None),
        ("Europe/Berlin", [("02:30", "04:00")], "2026-03-29T01:00:00Z", "2026-03-29T02:00:00"),
        ("Europe/Berlin", [("22:00", "07:00")], "2026-03-28T21:00:00Z", "2026-03-29T05:00:00"),
        ("Europe/Berlin", [("02:10", "02:50")], "2026-03-29T01:00:00Z", None),
        # The hour from 2 to 3 comes twice.
        ("Europe/Berlin", [("22:00", "07:00")], "2026-10-24T20:00:00Z", "2026-10-25T06:00:00"),
        ("Europe/Berlin", [("02:00", "02:30")], "2026-10-25T00:10:00Z", "2026-10-25T00:30:00"),
        ("Europe/Berlin", [("02:00", "02:30")], "2026-10-25T01:10:00Z", "2026-10-25T01:30:00"),
        ("Europe/Berlin", [("02:30", "07:00")], "2026-10-25T00:40:00Z", "2026-10-25T01:00:00"),
        ("Europe/Berlin", [("01:00", "03:00")], "2026-10-25T00:40:00Z", "2026-10-25T02:00:00"),
        # Half an hour, and at midnight.
        ("Australia/Lord_Howe", [("22:00", "07:00")], "2026-10-03T12:00:00Z", "2026-10-03T20:00:00"),
        ("America/Havana", [("00:10", "00:40")], "2026-03-08T05:00:00Z", None),
        # Samoa went without the 30th of December 2011, a Friday.
        ("Pacific/Apia", [("22:00", "07:00")], "2011-12-30T09:00:00Z", "2011-12-30T17:00:00"),
        # Before 1972 Monrovia was 44 minutes and 30 seconds behind.
        ("Africa/Monrovia", [("22:00", "07:00")], "1971-01-01T00:00:00Z", "1971-01-01T07:44:30"),
    ],
)
def test_quiet_hours_follow_the_clock_on_the_wall(zone, windows, now, expected):
    """They end at the first instant whose local time lies in no window."""
    assert expected == until(quiet(zone, *windows), now)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-01-03T21:59:00Z", None),
        ("2026-01-04T22:00:00Z", "2026-01-05T07:00:00"),  # Sunday to Monday
        ("2026-01-05T06:59:00Z", "2026-01-05T07:00:00"),
        ("2026-01-05T22:00:00Z", None),
    ],
)
def test_a_window_begins_on_its_days_only(now, expected):
    """The night from Sunday to Monday belongs to Sunday, over the end of the week."""
    assert expected == until(quiet("UTC", ("22:00", "07:00"), days=[Weekday.SUN]), now)


@pytest.mark.parametrize("days", range(1, 7))
def test_a_window_that_ends_where_it_begins_is_a_whole_day(days):
    """``from`` 06:00 ``to`` 06:00 is quiet for 24 hours; days in a row are one stretch."""
    hours = quiet("UTC", ("06:00", "06:00"), days=EVERY_DAY[:days])

    assert until(hours, "2026-01-05T05:59:59Z") is None
    assert f"2026-01-{5 + days:02}T06:00:00" == until(hours, "2026-01-05T06:00:00Z")


def test_a_stretch_of_nearly_a_week_is_followed_through_a_change():
    """One minute of the week is free, and if the clocks leave it out, the next week's is waited for."""
    night = Window(days=[Weekday.SUN], from_="02:31", to="02:30")
    days = Window(days=[day for day in EVERY_DAY if day is not Weekday.SUN], from_="02:30", to="02:30")
    hours = QuietHours(zone="Europe/Berlin", windows=[night, days])

    assert "2026-03-22T01:30:00" == until(hours, "2026-03-16T12:00:00Z")
    assert "2026-04-05T00:30:00" == until(hours, "2026-03-23T12:00:00Z")
    assert until(hours, "2026-04-05T00:30:59Z") is None


def changes(zone: str) -> Iterator[datetime]:
    """Yield every change of a zone's offset from 2024 to 2028."""
    clock = zoneinfo.ZoneInfo(zone)

    def offset(at: datetime) -> timedelta | None:
        return at.astimezone(clock).utcoffset()

    day = datetime(2024, 1, 1, tzinfo=UTC)
    while day.year < 2029:
        if offset(day) != offset(day + DAY):
            low, high = day, day + DAY
            while high - low > MINUTE:
                middle = low + (high - low) // 2
                low, high = (middle, high) if offset(middle) == offset(low) else (low, middle)
            yield high.replace(second=0, microsecond=0)
        day += DAY


#: An ordinary night; short windows that a jump can leave out, cut or repeat; what begins and ends all around.
WINDOWS: tuple[list[dict[str, Any]], ...] = (
    [{"days": decisions.DAYS, "from": "22:00", "to": "07:00"}],
    [
        {"days": decisions.DAYS, "from": "00:00", "to": "00:30"},
        {"days": decisions.DAYS[4:], "from": "01:30", "to": "02:15"},
        {"days": decisions.DAYS[5:], "from": "02:15", "to": "02:50"},
        {"days": decisions.DAYS, "from": "03:10", "to": "03:40"},
        {"days": decisions.DAYS, "from": "23:20", "to": "23:50"},
    ],
)


#: What has been found out already, by windows: many zones show the same times on their walls.
WALLS: dict[str, dict[datetime, bool]] = {}


def assert_kept(zone: str, change: datetime, windows: list[dict[str, Any]], step: int) -> None:
    """Compare each ``step``-th minute around a change with a walk over all of them."""
    clock = zoneinfo.ZoneInfo(zone)
    hours = QuietHours(
        zone=zone,
        windows=[Window(days=[*map(Weekday, each["days"])], from_=each["from"], to=each["to"]) for each in windows],
    )
    minutes = [change + MINUTE * at for at in range(-6 * 60, 14 * 60)]
    walls = [at.astimezone(clock).replace(tzinfo=None, fold=0) for at in minutes]
    known = WALLS.setdefault(json.dumps(windows), {})
    known |= {wall: decisions.is_quiet(windows, wall) for wall in walls if wall not in known}
    shown = [known[wall] for wall in walls]
    ends: datetime | None = None
    for at, is_quiet in zip(reversed(minutes), reversed(shown), strict=True):
        if not is_quiet:
            ends = at
        if ends is not None and (at - change) // MINUTE % step == 0:
            assert (ends if is_quiet else None) == quiet_until(hours, at), (zone, at, windows)


@pytest.mark.parametrize("zone", TELLING)
def test_every_minute_around_a_change_is_as_the_wall_clock_shows(zone):
    """A walk over local wall time says the same; of zones that differ, on one change each day anew."""
    found = [*changes(zone)] or [datetime(2026, 3, 29, 1, tzinfo=UTC)]

    for change in random.Random(zone).sample(found, min(len(found), 2)):
        for windows in WINDOWS:
            assert_kept(zone, change, windows, step=5)


@pytest.mark.thorough
@pytest.mark.no_cover  # a trace makes it several times slower
def test_every_zone_and_every_change_from_2024_to_2028():
    """The same for each zone of the IANA database, each change, each minute."""
    count = 0
    for zone in ZONES:
        for change in changes(zone):
            count += 1
            for windows in WINDOWS:
                assert_kept(zone, change, windows, step=1)

    assert count > 1500
    assert len(ZONES) > 500


# ── the zones themselves ───────────────────────────────────────────────────────────────────────


def offsets(data: bytes) -> list[tuple[int, int]]:
    """Return the changes of a zone as its file (RFC 9636) has them: seconds of Unix time, offset."""

    def head(at: int) -> tuple[int, ...]:
        return struct.unpack(">6I", data[at + 20 : at + 44])

    isut, isstd, leap, time, kinds, chars = head(0)
    at = 44 + time * 5 + kinds * 6 + chars + leap * 8 + isstd + isut  # the first part, with 32 bits
    _, _, _, time, kinds, _ = head(at)
    times = struct.unpack(f">{time}q", data[at + 44 : at + 44 + 8 * time])
    indexes = data[at + 44 + 8 * time : at + 44 + 9 * time]
    kind = at + 44 + 9 * time
    return [
        (when, struct.unpack(">i", data[kind + 6 * of : kind + 6 * of + 4])[0])
        for when, of in zip(times, indexes, strict=True)
    ]


def test_changes_of_a_zone_are_further_apart_than_one_look():
    """The rule looks for one change in a stretch; no zone, then or now, has two."""
    folders = [Path(folder) for folder in zoneinfo.TZPATH if Path(folder, "Europe").is_dir()]
    shortest = timedelta.max
    for source in [*folders, files("tzdata.zoneinfo")]:
        for zone in ZONES:
            if (file := source.joinpath(zone)).is_file():
                moved = [after[0] for before, after in pairwise(offsets(file.read_bytes())) if before[1] != after[1]]
                gaps = [timedelta(seconds=after - before) for before, after in pairwise(moved)]
                shortest = min([shortest, *gaps])

    assert STRETCH < shortest


@pytest.mark.parametrize("zone", ["UTC", "Etc/GMT+12", "GMT0", "America/Argentina/ComodRivadavia", "W-SU"])
def test_names_of_the_database_are_zones(zone):
    """Also old and odd ones."""
    assert zone_named(zone) is not None
    assert zone == QuietHours(zone=zone).zone
