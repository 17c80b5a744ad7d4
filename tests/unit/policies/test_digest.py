"""Digests: which one collects a delivery, and when it closes, against a walk over the minutes on the wall."""

from __future__ import annotations

import random
import zoneinfo
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from notifykit.errors import InvalidInputError
from notifykit.models.delivery import Claim, Collected, DeliveryState, DigestItem, EventDetails, Priority
from notifykit.models.digest import STANDARD_DIGESTS, Digest
from notifykit.models.quiet_hours import QuietHours, Weekday, Window, zone_named
from notifykit.policies.decide import SEND, Cancel, Expire, Hold, Suppress
from notifykit.policies.digest import (
    collected,
    decide_digest,
    digest_key,
    digest_named,
    enter,
    group_of,
    next_at,
    opened,
    parts_of,
    refused,
    window_from,
    without,
)
from notifykit.testing import make_delivery, make_event
from tests.unit.policies.test_quiet_hours import TELLING, ZONES, changes

NOW = datetime(2026, 1, 7, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
COMMENTS = Digest("comments", group="data.thread_id", window=10 * MINUTE)


# ── what can be declared ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "window: give a window or a time of day, such as window=timedelta(minutes=10) or at='08:00'"),
        ({"window": HOUR, "at": "08:00"}, "at: a digest has a window or a time of day, not both"),
        ({"window": timedelta(0)}, "window: between 0.001 s and 400 days, got 0:00:00"),
        ({"window": 600}, "window: must be a timedelta, not int"),
        ({"window": HOUR, "max_window": MINUTE}, "max_window: needs a window that is not longer"),
        ({"at": "08:00", "max_window": HOUR}, "max_window: needs a window that is not longer"),
        ({"at": "8:00"}, "at: must be a time from 00:00 to 23:59, with two digits each"),
        ({"window": HOUR, "day": "mon"}, "day: needs a time of day, such as at='08:00'"),
        ({"at": "08:00", "day": "monday"}, "day: must be one of fri, mon, sat, sun, thu, tue, wed, not 'monday'"),
        ({"window": HOUR, "first": "later"}, "first: must be one of now, waits, not 'later'"),
        ({"window": HOUR, "look_back": HOUR}, "look_back: needs first='now'"),
        ({"window": HOUR, "max_items": 0}, "max_items: between 1 and 1000, got 0"),
        ({"window": HOUR, "group": "thread_id"}, "group: must be a path into the event's data, such as data.thread_id"),
        ({"window": HOUR, "group": 7}, "group: must be a path such as data.thread_id, not int"),
        ({"window": HOUR, "group": "data." + "x" * 255}, "group: must be a path into the event's data, such as"),
    ],
)
def test_a_digest_that_cannot_work_is_refused(options, message):
    """The message names the argument and says what it needs."""
    with pytest.raises(InvalidInputError) as refused:
        Digest("comments", **options)

    assert refused.value.problems[0].startswith(message)


def test_a_digest_needs_a_name():
    """It is what settings say, and what templates are named after."""
    with pytest.raises(InvalidInputError, match="name: is empty"):
        Digest("", window=HOUR)


def test_a_name_finds_what_the_type_declares_then_a_standard_digest():
    """A digest that nothing defines is sent daily."""
    daily = Digest("daily", window=HOUR)

    assert daily is digest_named("daily", daily)
    assert STANDARD_DIGESTS["daily"] == digest_named("daily", COMMENTS) == digest_named("daily", None)
    assert Digest("own", at="08:00") == digest_named("own", COMMENTS)


# ── what is collected ──────────────────────────────────────────────────────────────────────────


def given(digest: Digest, group: str | None = None, quiet: QuietHours | None = None, **changes):
    new = make_delivery(make_event(at=NOW), "user:42", channel="email", address="ada@example.org", **changes)
    return new, enter(new, digest, group, clock=UTC, quiet=quiet, now=NOW)


def test_a_collected_delivery_waits_and_says_for_what():
    """It keeps its id, and brings the id, the key and the end of a digest that it opens."""
    new, entry = given(COMMENTS, "7")

    waiting = collected(new, entry)

    assert new._replace(state=DeliveryState.HELD, reason="digest", digest=entry) == waiting
    assert entry.delivery_id.startswith(new.id[:30])
    assert entry.delivery_id != new.id
    assert digest_key(new, "comments", "7") == entry.key
    assert ("comments", NOW + 10 * MINUTE, NOW + 10 * MINUTE) == (entry.name, entry.closes_at, entry.closes_by)
    assert (False, None, 50) == (entry.sends_first, entry.quiet_since, entry.max_items)


def test_the_first_may_be_sent_at_once():
    """Unless the digest had something within the time to look back on."""
    _, entry = given(Digest("comments", window=HOUR, first="now", look_back=DAY, max_items=3))

    assert (True, NOW - DAY, 3) == (entry.sends_first, entry.quiet_since, entry.max_items)


@pytest.mark.parametrize(
    ("data", "group"),
    [
        ({"thread_id": 7}, "7"),
        ({"thread_id": "7"}, '"7"'),
        ({"thread_id": True}, "true"),
        ({"thread_id": ""}, '""'),
        ({"thread_id": None}, None),
        ({"thread_id": 7.5}, None),
        ({"thread_id": ["7"]}, None),
        ({"thread_id": "x" * 1100}, None),
        ({"other": 7}, None),
        ([7], None),
        (None, None),
    ],
)
def test_text_and_whole_numbers_name_a_group(data, group):
    """Anything else does not."""
    assert group == group_of({"data": data}, "data.thread_id")
    assert group_of(data, "data.thread_id") is None


def test_a_group_may_lie_deeper():
    """Each full stop is one step down."""
    assert '"a"' == group_of({"data": {"thread": {"id": "a"}}}, "data.thread.id")
    assert group_of({"data": {"thread": "a"}}, "data.thread.id") is None


def test_without_group_data_an_event_is_sent_by_itself():
    """Its delivery says why it was not collected; a digest without groups needs none, and ignores one."""
    assert "digest_group_missing" == given(COMMENTS, None)[1]
    assert given(Digest("a", at="08:00"), None)[1].key == given(Digest("a", at="08:00"), "7")[1].key


def test_an_event_that_would_expire_first_is_sent_by_itself():
    """What is of no use when the digest closes is of use now."""
    digest = Digest("comments", window=HOUR)

    assert "expires_before_digest" == given(digest, expires_at=NOW + HOUR)[1]
    assert "comments" == given(digest, expires_at=NOW + HOUR + MINUTE)[1].name


def test_a_digest_closes_when_quiet_hours_end():
    """If it would close in them: what comes during the night is in one digest."""
    quiet = QuietHours(windows=[Window(days=list(Weekday), from_="12:30", to="14:00")])

    _, in_them = given(Digest("a", window=HOUR, max_window=4 * HOUR), quiet=quiet)
    _, before = given(Digest("a", window=10 * MINUTE), quiet=quiet)

    assert (NOW + 2 * HOUR, NOW + 4 * HOUR) == (in_them.closes_at, in_them.closes_by)
    assert NOW + 10 * MINUTE == before.closes_at


def test_each_part_of_a_key_counts():
    """Recipient, channel, address, name and group tell digests apart."""
    new, _ = given(COMMENTS)
    others = [new._replace(subscriber_id="user:4"), new._replace(channel="push"), new._replace(address="b@example.org")]

    keys = {digest_key(each, "a", None) for each in (new, *others)} | {digest_key(new, "b", None)}
    keys |= {digest_key(new, "a", "1"), digest_key(new, "a", '"1"')}

    assert 7 == len(keys)
    assert digest_key(new, "a", None) in keys


CLAIM = Claim(
    *("dlv_2", 1, 1, 0, 0, "acme", "evt_0", "a.b", "", "user:42", "email", Priority.NORMAL, None, NOW, None),
    *(NOW + MINUTE, b"[]", 1, "ada@example.org"),
    digest="comments",
)
ITEM = DigestItem("dlv_1", "evt_1", "c.d", NOW + HOUR, b"{}", EventDetails(actor="user:1"))


def test_a_digest_of_one_event_is_that_event():
    """Its claim becomes the claim of the event, under the digest's own delivery."""
    found = opened(CLAIM, Collected(1, (ITEM,)))

    of_event = CLAIM._replace(
        event_id="evt_1", event_type="c.d", published_at=NOW + HOUR, body=b"{}", details=ITEM.details
    )
    assert of_event == found


def test_a_digest_has_what_it_has_collected():
    """What was sent ahead of one, and an empty one, are as they were; else the event is one of those that are sent."""
    two = Collected(2, (ITEM, ITEM._replace(delivery_id="dlv_2", event_id="evt_2")))

    assert CLAIM == opened(CLAIM, None) == opened(CLAIM, Collected(0, ())) == opened(CLAIM, Collected(1, ()))
    assert (two, ITEM.event_id, ITEM.details) == (
        (found := opened(CLAIM, two)).collected,
        found.event_id,
        found.details,
    )
    assert CLAIM._replace(event_id="evt_2", collected=two) == opened(CLAIM._replace(event_id="evt_2"), two)


@pytest.mark.parametrize(
    ("decisions", "total", "expected"),
    [
        ([], 0, Cancel("digest_empty")),
        ([], 1, Cancel("digest_empty")),  # none that could be read
        ([SEND, SEND], 2, SEND),
        ([Suppress("muted"), SEND], 2, SEND),
        ([Suppress("muted"), Expire()], 2, Suppress("muted")),
        ([Suppress("muted"), Expire()], 3, SEND),  # others come in their place
        ([Suppress("muted"), SEND, Hold(NOW, "quiet_hours")], 3, Hold(NOW, "quiet_hours")),
    ],
)
def test_a_digest_is_decided_about_by_its_events(decisions, total, expected):
    """It is refused if all are, and waits while one has to that is not."""
    items = tuple(ITEM._replace(delivery_id=f"dlv_{at}") for at in range(len(decisions)))
    found = Collected(total, items)
    known = {f"dlv_{at}": decision for at, decision in enumerate(decisions) if decision is not SEND}

    assert expected == decide_digest(found, known)
    leaving = refused(parts_of(CLAIM, found), known)
    assert {id_: known[id_] for id_ in leaving} == leaving
    assert total - len(leaving) == without(found, leaving).total


# ── when it closes ─────────────────────────────────────────────────────────────────────────────


def test_windows_begin_when_the_digest_opens():
    """A sliding one says how long it may slide."""
    assert (NOW + HOUR, NOW + HOUR) == window_from(Digest("a", window=HOUR), UTC, None, NOW)
    assert (NOW + HOUR, NOW + DAY) == window_from(Digest("a", window=HOUR, max_window=DAY), UTC, None, NOW)


@pytest.mark.parametrize(
    ("zone", "at", "day", "now", "expected"),
    [
        ("UTC", "08:00", None, "2026-01-07T07:59:59.999999Z", "2026-01-07T08:00Z"),
        ("UTC", "08:00", None, "2026-01-07T08:00:00Z", "2026-01-08T08:00Z"),
        ("UTC", "08:00", Weekday.WED, "2026-01-07T07:00:00Z", "2026-01-07T08:00Z"),
        ("UTC", "08:00", Weekday.WED, "2026-01-07T08:00:00Z", "2026-01-14T08:00Z"),
        ("Asia/Kathmandu", "08:00", None, "2026-01-07T02:14:00Z", "2026-01-07T02:15Z"),
        ("America/New_York", "20:00", Weekday.FRI, "2026-01-10T00:59:00Z", "2026-01-10T01:00Z"),
        # The clock jumps from 2 to 3, and then shows the hour from 2 to 3 twice.
        ("Europe/Berlin", "02:30", None, "2026-03-28T12:00:00Z", "2026-03-29T01:00Z"),
        ("Europe/Berlin", "02:30", None, "2026-03-29T01:00:00Z", "2026-03-30T00:30Z"),
        ("Europe/Berlin", "03:00", None, "2026-03-28T12:00:00Z", "2026-03-29T01:00Z"),
        ("Europe/Berlin", "02:30", None, "2026-10-24T12:00:00Z", "2026-10-25T00:30Z"),
        ("Europe/Berlin", "02:30", None, "2026-10-25T00:30:00Z", "2026-10-26T01:30Z"),
        # Samoa went without the 30th of December 2011, a Friday.
        ("Pacific/Apia", "08:00", Weekday.FRI, "2011-12-30T00:00:00Z", "2011-12-30T10:00Z"),
    ],
)
def test_a_time_of_day_is_that_of_the_clock_on_the_wall(zone, at, day, now, expected):
    """The first instant after now, once a day."""
    clock = zone_named(zone)
    assert clock is not None

    found = next_at(at, day, clock, datetime.fromisoformat(now))

    assert datetime.fromisoformat(expected) == found


def times_on_the_wall(zone: str, around: datetime) -> Mapping[datetime, datetime]:
    """Return, by the time on the wall, the first instant at which a clock shows it or a later one; minute by minute."""
    clock = zoneinfo.ZoneInfo(zone)
    first: dict[datetime, datetime] = {}
    latest: datetime | None = None
    for at in (around + MINUTE * n for n in range(-50 * 60, 50 * 60)):
        wall = datetime.fromtimestamp(at.timestamp(), clock).replace(tzinfo=None, fold=0)
        if latest is None:
            latest = wall - MINUTE
        while latest < wall:  # a minute, or all that a jump leaves out
            latest += MINUTE
            first[latest] = at
    return first


def assert_kept(zone: str, change: datetime, times: list[str], step: int) -> None:
    """Compare instants around a change with the clock on the wall."""
    clock = zone_named(zone)
    assert clock is not None
    first = times_on_the_wall(zone, change)
    for at in times:
        shown = sorted(instant for wall, instant in first.items() if f"{wall:%H:%M}" == at)
        for minute in range(-24 * 60, 24 * 60, step):
            now = change + MINUTE * minute
            expected = min(instant for instant in shown if instant > now)
            assert expected == next_at(at, None, clock, now), (zone, at, now)


#: Times that a jump leaves out or repeats somewhere, and some that none does.
TIMES = ["00:00", "00:30", "01:00", "01:59", "02:00", "02:15", "02:30", "03:00", "08:00", "12:00", "23:00", "23:45"]


@pytest.mark.parametrize("zone", TELLING)
def test_the_time_of_day_is_right_around_a_change(zone):
    """A walk over local wall time says the same; of the changes one."""
    found = [*changes(zone)] or [datetime(2026, 3, 29, 1, tzinfo=UTC)]

    assert_kept(zone, random.Random(zone).choice(found), TIMES, step=47)


@pytest.mark.thorough
@pytest.mark.no_cover  # a trace makes it several times slower
def test_the_time_of_day_is_right_in_every_zone_around_every_change_from_2024_to_2028():
    """The same for each zone of the IANA database, and each change of its offset; of equal ones one is enough."""
    count, known = 0, set()
    for zone in ZONES:
        clock = zoneinfo.ZoneInfo(zone)
        for change in changes(zone):
            count += 1
            shown = change, *((change + near).astimezone(clock).utcoffset() for near in (-DAY * 3, DAY * 3))
            if shown not in known:
                known.add(shown)
                assert_kept(zone, change, TIMES, step=29)

    assert count > 1500
