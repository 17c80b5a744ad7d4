"""The backlog is bounded, fair between subscribers, and keeps in-flight caps."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from notifykit.dispatch.sending.backlog import Backlog
from notifykit.models.delivery import Claim, Priority

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def claim(subscriber: str, number: int = 0) -> Claim:
    """Return a claim that only says whose it is."""
    return Claim(
        f"dlv_{subscriber}_{number}", 1, 1, 0, 0, "t", "evt", "x", "sub", subscriber, "webhook", Priority.NORMAL,
        None, NOW, None, NOW, b"{}", 1,
    )  # fmt: skip


def backlog(prefetch: int = 100) -> Backlog:
    """Return an empty backlog."""
    return Backlog(prefetch, lambda: None, lambda: None)


async def test_subscribers_take_turns() -> None:
    """A subscriber with many claims does not go before one with few."""
    lines = backlog()
    lines.add(*((claim("a", n), 10, False) for n in range(4)))
    lines.add((claim("b"), 10, False), (claim("c"), 10, False))

    order = [(await lines.take()).subscriber_id for _ in range(6)]

    assert ["a", "b", "c", "a", "a", "a"] == order


async def test_a_subscriber_at_its_cap_is_passed_over_until_one_is_done() -> None:
    """No more claims of a subscriber are in flight than its cap."""
    lines = backlog()
    lines.add(*((claim("slow", n), 2, False) for n in range(3)))
    taken = [await lines.take(), await lines.take()]
    waiting = asyncio.ensure_future(lines.take())
    await asyncio.sleep(0)

    assert not waiting.done()

    lines.done(taken[0].subscriber_id)
    third = await asyncio.wait_for(waiting, 1)

    assert ("slow", 2, 0) == (third.subscriber_id, lines.in_flight, lines.waiting)


async def test_room_counts_what_waits_and_what_is_sent() -> None:
    """Prefetch bounds everything that is held."""
    lines = backlog(prefetch=5)
    lines.add(*((claim("a", n), 10, False) for n in range(3)))
    await lines.take()

    assert 2 == lines.room()

    lines.done("a")

    assert 3 == lines.room()


async def test_a_new_subscriber_may_hold_as_many_as_its_cap() -> None:
    """A subscriber that has proved nothing yet may not fill the backlog."""
    lines = backlog(prefetch=1000)
    lines.add(*((claim("a", n), 4, False) for n in range(4)))

    assert (["a"], False, True) == (lines.full(), lines.accepts("a"), lines.accepts("b"))


async def test_a_fast_subscriber_earns_a_larger_share() -> None:
    """What a subscriber finished of late is what it may hold twice."""
    lines = backlog(prefetch=1000)
    for number in range(20):
        lines.add((claim("fast", number), 4, False))
        lines.done((await lines.take()).subscriber_id)
    lines.add(*((claim("fast", n), 4, False) for n in range(39)))

    assert lines.accepts("fast")

    lines.add((claim("fast", 99), 4, False))

    assert not lines.accepts("fast")


async def test_the_owner_is_told_when_a_full_subscriber_has_room() -> None:
    """A source that left a full subscriber out learns when to ask again."""
    told: list[int] = []
    lines = Backlog(100, lambda: told.append(1), lambda: None)
    lines.add(*((claim("a", n), 2, False) for n in range(4)))
    lines.full()

    for _ in range(3):
        lines.done((await lines.take()).subscriber_id)

    assert [1] == told


async def test_a_cancelled_sender_hands_its_call_on() -> None:
    """A claim is not forgotten when the sender it woke was cancelled in the same moment."""
    lines = backlog()
    first = asyncio.ensure_future(lines.take())
    second = asyncio.ensure_future(lines.take())
    await asyncio.sleep(0)

    lines.add((claim("a"), 1, False))
    first.cancel()
    got = await asyncio.wait_for(second, 1)

    assert "a" == got.subscriber_id
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_draining_takes_out_what_no_sender_has_started() -> None:
    """What is being sent stays; the rest is given back."""
    lines = backlog()
    lines.add(*((claim("a", n), 1, False) for n in range(3)))
    await lines.take()

    drained = lines.drain()

    assert ([1, 2], 0, 1) == ([int(c.delivery_id[-1]) for c in drained], lines.waiting, lines.in_flight)


async def test_quiet_subscribers_are_forgotten() -> None:
    """Memory does not grow with every subscriber ever seen."""
    lines = backlog()
    for number in range(50):
        lines.add((claim(f"s{number}"), 1, False))
        lines.done((await lines.take()).subscriber_id)

    lines.tick()
    lines.tick()

    assert 0 == len(lines._queues)


async def test_waiting_for_room_ends_when_one_is_done_or_when_woken() -> None:
    """A source that waits for room is let go by progress and by a stop."""
    lines = backlog()
    lines.add((claim("a"), 1, False))
    await lines.take()
    waiter = asyncio.ensure_future(lines.wait_for_room())
    await asyncio.sleep(0)

    lines.done("a")
    await asyncio.wait_for(waiter, 1)
    again = asyncio.ensure_future(lines.wait_for_room())
    await asyncio.sleep(0)
    lines.close()

    await asyncio.wait_for(again, 1)


async def test_a_backlog_that_is_halted_hands_out_nothing_until_it_is_resumed() -> None:
    """Claims wait, senders too; after the pause each gets one, unless the backlog was closed meanwhile."""
    lines = backlog()
    early = asyncio.ensure_future(lines.take())
    await asyncio.sleep(0)
    lines.halt("a reason")
    lines.add(*((claim("a", n), 10, False) for n in range(3)))
    late = asyncio.ensure_future(lines.take())
    await asyncio.sleep(0)

    assert (False, False, None, False) == (early.done(), late.done(), lines.take_now(), lines.ready)

    lines.resume("a reason")
    await asyncio.wait([early, late], timeout=1)

    assert {"dlv_a_0", "dlv_a_1"} == {early.result().delivery_id, late.result().delivery_id}
    assert lines.ready

    lines.halt("a reason")
    lines.close()
    lines.resume("a reason")

    assert lines.take_now() is None
