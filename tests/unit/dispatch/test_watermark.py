"""How far back a look for others has to go, and that nobody is forgotten by it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from notifykit.dispatch.planning.watermark import BEHIND, WHOLE_EVERY, ScanWatermark
from notifykit.testing import START

from .support import bench

SECOND = timedelta(seconds=1)


def test_the_next_look_begins_a_little_before_the_last() -> None:
    """Whoever was asked for then is asked for again only as far as something new may have come."""
    looks = ScanWatermark()
    assert looks.since(["crowd"], START) is None
    looks.note(["crowd"], None, START, [])

    assert START - BEHIND == looks.since(["crowd"], START + SECOND)
    assert START - BEHIND == looks.since(["crowd", "another"], START + SECOND)


def test_who_was_not_asked_for_last_time_is_looked_for_from_the_beginning() -> None:
    """A tenant that stood back then may have a backlog of its own; and without a crowd all are asked."""
    looks = ScanWatermark()
    looks.note(["crowd", "another"], None, START, [])

    assert looks.since(["crowd"], START + SECOND) is None
    assert looks.since([], START + SECOND) is None


def test_everything_is_looked_at_now_and_then() -> None:
    """What a lost worker had taken is due again where it was: a bounded look would never find it."""
    looks = ScanWatermark()
    looks.note(["crowd"], None, START, [])
    bounded = looks.since(["crowd"], START + WHOLE_EVERY)
    looks.note(["crowd"], bounded, START + WHOLE_EVERY, [])

    assert bounded is not None
    assert looks.since(["crowd"], START + WHOLE_EVERY + SECOND) is None


def test_a_clock_that_was_put_back_hides_nobody() -> None:
    """The last look is in the future then: nothing would be due between it and now."""
    looks = ScanWatermark()
    looks.note(["crowd"], None, START, [])
    looks.note(["crowd"], START - BEHIND, START + 20 * SECOND, [])

    assert looks.since(["crowd"], START - SECOND) is None
    assert START - BEHIND == looks.since(["crowd"], START)


async def test_what_was_found_can_be_found_again() -> None:
    """It may be an event of many pages, which is due as it was until the last of them."""
    async with bench() as b:
        await b.endpoint()
        await b.publish()
        later = datetime.now(UTC) + 10 * BEHIND
        found = await b.kit.store.take(10, now=later, lease=timedelta(0))
    looks = ScanWatermark()
    looks.note(["crowd"], None, later, found)

    since = looks.since(["crowd"], later + SECOND)
    assert since is not None
    assert since < found[0].published_at
