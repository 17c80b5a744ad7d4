"""The backlog is bounded, fair between subscribers, and keeps in-flight caps."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from notifykit.dispatch.sending.backlog import Backlog, Turn
from notifykit.dispatch.settings import LaneSettings
from notifykit.models.delivery import Claim, Priority

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def claim(subscriber: str, number: int = 0, tenant: str = "t") -> Claim:
    """Return a claim that only says whose it is."""
    return Claim(
        f"dlv_{subscriber}_{number}", 1, 1, 0, 0, tenant, "evt", "x", "sub", subscriber, "webhook", Priority.NORMAL,
        None, NOW, None, NOW, b"{}", 1,
    )  # fmt: skip


def settings(prefetch: int = 1000, concurrency: int = 100, max_unproven: int = 0) -> LaneSettings:
    """Return a lane's settings."""
    return LaneSettings(prefetch=prefetch, concurrency=concurrency, max_unproven=max_unproven)


def backlog(
    prefetch: int = 1000,
    concurrency: int = 100,
    max_unproven: int = 0,
    *,
    ready: list[int] | None = None,
    room: list[int] | None = None,
) -> Backlog:
    """Return an empty backlog; ``ready`` gets how many senders it calls, ``room`` an item when there is room."""
    made = Backlog(
        settings(prefetch, concurrency, max_unproven),
        lambda: (room if room is not None else []).append(1),
        lambda: None,
    )
    made.on_ready = (ready if ready is not None else []).append
    return made


def take(lines: Backlog) -> Turn:
    """Take a claim that is ready."""
    turn = lines.take()
    assert turn is not None
    return turn


async def test_tenants_take_turns_and_then_their_subscribers() -> None:
    """Neither a tenant with many subscribers nor a subscriber with many claims goes before others."""
    lines = backlog()
    lines.add(*((claim(f"a{n}", tenant="large"), 10, False) for n in range(3)))
    lines.add(*((claim("a0", n, tenant="large"), 10, False) for n in range(1, 3)))
    lines.add((claim("b", tenant="small"), 10, False), (claim("b", 1, tenant="small"), 10, False))

    order = [take(lines).claim.subscriber_id for _ in range(7)]

    assert ["a0", "b", "a1", "b", "a2", "a0", "a0"] == order


async def test_people_of_two_tenants_may_have_the_same_id() -> None:
    """The ids of people are their hosts' own: one tenant's caps and turns are not the other's."""
    lines = backlog()
    lines.add(*((claim("user:1", n, tenant="large"), 1, False) for n in range(3)))
    lines.add((claim("user:1", tenant="small"), 1, False))

    assert ["large", "small"] == [take(lines).claim.tenant for _ in range(2)]
    assert lines.take() is None
    assert lines.holds("small", "user:1")
    assert not lines.holds("other", "user:1")


async def test_a_subscriber_at_its_cap_is_passed_over_until_one_is_done() -> None:
    """No more claims of a subscriber are in flight than its cap."""
    lines = backlog()
    lines.add(*((claim("slow", n), 2, False) for n in range(3)))
    taken = [take(lines), take(lines)]

    assert lines.take() is None

    lines.done(taken[0], True)
    third = take(lines)

    assert ("slow", 2, 0) == (third.claim.subscriber_id, lines.in_flight, lines.waiting)


async def test_room_counts_what_waits_and_what_is_sent() -> None:
    """Prefetch bounds everything that is held."""
    lines = backlog(prefetch=5)
    lines.add(*((claim("a", n), 10, False) for n in range(3)))
    turn = take(lines)

    assert 2 == lines.room()

    lines.done(turn, True)

    assert 3 == lines.room()


async def test_a_new_subscriber_may_hold_as_many_as_its_cap() -> None:
    """A subscriber that has proved nothing yet may not fill the backlog."""
    lines = backlog(prefetch=1000)
    lines.add(*((claim("a", n), 4, False) for n in range(4)))

    assert (["a"], False, True) == (lines.full(), lines.accepts("t", "a"), lines.accepts("t", "b"))


async def test_a_fast_subscriber_earns_a_larger_share() -> None:
    """What a subscriber finished of late is what it may hold twice."""
    lines = backlog(prefetch=1000)
    for number in range(20):
        lines.add((claim("fast", number), 4, False))
        lines.done(take(lines), True)
    lines.add(*((claim("fast", n), 4, False) for n in range(39)))

    assert lines.accepts("t", "fast")

    lines.add((claim("fast", 99), 4, False))

    assert not lines.accepts("t", "fast")


async def test_the_owner_is_told_when_a_full_subscriber_has_room() -> None:
    """A source that left a full subscriber out learns when to ask again."""
    told: list[int] = []
    lines = backlog(room=told)
    lines.add(*((claim("a", n), 2, False) for n in range(4)))
    lines.full()

    for _ in range(3):
        lines.done(take(lines), True)

    assert [1] == told


async def test_as_many_senders_are_called_as_claims_can_be_sent() -> None:
    """Each is called once, and no more than there are places."""
    ready: list[int] = []
    lines = backlog(concurrency=3, ready=ready)

    lines.add((claim("a"), 10, False))
    lines.add(*((claim("a", n), 10, False) for n in range(1, 9)))
    for _ in range(3):
        lines.arrived()
        take(lines)

    assert ([1, 2], None) == (ready, lines.take())


async def test_draining_takes_out_what_no_sender_has_started() -> None:
    """What is being sent stays; the rest is given back."""
    lines = backlog()
    lines.add(*((claim("a", n), 1, False) for n in range(3)))
    take(lines)

    drained = lines.drain()

    assert ([1, 2], 0, 1) == ([int(c.delivery_id[-1]) for c in drained], lines.waiting, lines.in_flight)


async def test_quiet_subscribers_are_forgotten() -> None:
    """Memory does not grow with every subscriber ever seen."""
    lines = backlog()
    for number in range(50):
        lines.add((claim(f"s{number}"), 1, False))
        lines.done(take(lines), True)

    lines.tick()
    lines.tick()

    assert 0 == len(lines._queues)


async def test_waiting_for_room_ends_when_one_is_done_or_when_woken() -> None:
    """A source that waits for room is let go by progress and by a stop."""
    lines = backlog()
    lines.add((claim("a"), 1, False))
    turn = take(lines)
    waiter = asyncio.ensure_future(lines.wait_for_room())
    await asyncio.sleep(0)

    lines.done(turn, True)
    await asyncio.wait_for(waiter, 1)
    again = asyncio.ensure_future(lines.wait_for_room())
    await asyncio.sleep(0)
    lines.close()

    await asyncio.wait_for(again, 1)


async def test_a_backlog_that_is_halted_hands_out_nothing_until_it_is_resumed() -> None:
    """Claims wait, and after the pause senders are called for them, unless the backlog was closed meanwhile."""
    ready: list[int] = []
    lines = backlog(ready=ready)
    lines.halt("a reason")
    lines.add(*((claim("a", n), 10, False) for n in range(3)))

    assert ([], None, False, 0) == (ready, lines.take(), lines.ready, lines.room())

    lines.resume("a reason")

    assert ([3], True) == (ready, lines.ready)

    lines.halt("a reason")
    lines.close()
    lines.resume("a reason")

    assert lines.take() is None


async def test_people_who_are_told_are_no_work_of_another_tenant() -> None:
    """Where attempts are not timed, those that are open say nothing of how much waits."""
    lines = backlog(concurrency=500)
    lines.add(*((claim(f"u{number}"), 10, False) for number in range(200)))
    turns = [take(lines) for _ in range(200)]
    alone = lines.is_mixed()

    lines.add(*((claim(f"u{number}", 1, tenant="large"), 10, False) for number in range(150)))
    lines.add((claim("v", tenant="small"), 10, False))
    while take(lines).claim.tenant != "small":
        pass

    assert (200, False, True) == (len(turns), alone, lines.is_mixed())
