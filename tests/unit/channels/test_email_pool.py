"""The pool of connections loses none, and leaves nothing waiting."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import attrs
import pytest

from notifykit.channels.email.connection import DialError
from notifykit.channels.email.pool import Pool
from notifykit.models.outcome import Transient


@attrs.define(eq=False)
class FakeConnection:
    is_usable: bool = True
    idle_since: float = 0.0
    closed: bool = False

    def close(self) -> None:
        self.closed = True


@attrs.define
class FakeDialer:
    """Opens what the test lets it open."""

    failures: list[Exception] = attrs.field(factory=list)
    gate: asyncio.Event | None = None
    opened: list[FakeConnection] = attrs.field(factory=list)
    calls: int = 0

    async def dial(self, timeout: float) -> tuple[FakeConnection, None]:
        self.calls += 1
        if self.gate is not None:
            await self.gate.wait()
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        self.opened.append(FakeConnection())
        return self.opened[-1], None


def refused() -> DialError:
    return DialError(Transient(reason="connect_failed"), "refused")


def pool_of(dialer: FakeDialer, size: int = 2) -> Pool:
    return Pool(cast("Any", dialer), size)


async def test_connections_are_bounded_and_shared() -> None:
    """A third mail waits until one of the others is done."""
    dialer = FakeDialer()
    pool = pool_of(dialer)
    first, second = await pool.acquire(), await pool.acquire()
    third = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0.01)
    assert not third.done()

    pool.give_back(second)

    assert second is await third
    assert 2 == dialer.calls
    pool.give_back(first)
    pool.give_back(second)
    assert second is await pool.acquire()  # the one that was used last


async def test_a_connection_that_has_ended_makes_room_for_another() -> None:
    """Whether it ended while it was used or while it was idle, or was idle for too long."""
    dialer = FakeDialer()
    pool = pool_of(dialer, size=1)
    for change in ({"is_usable": False}, {"idle_since": time.monotonic() - 100}):
        connection = cast("FakeConnection", await pool.acquire())
        waits = asyncio.create_task(pool.acquire())
        await asyncio.sleep(0)
        connection.is_usable = False
        pool.give_back(cast("Any", connection))
        other = cast("FakeConnection", await waits)
        assert connection.closed
        pool.give_back(cast("Any", other))
        for name, value in change.items():
            setattr(other, name, value)

        assert id(other) != id(await pool.acquire())
        assert other.closed
        pool.give_back(cast("Any", dialer.opened[-1]))


async def test_a_cancelled_mail_takes_no_connection_with_it() -> None:
    """Neither while it waits, nor in the moment in which it gets one."""
    dialer = FakeDialer()
    pool = pool_of(dialer, size=1)
    connection = await pool.acquire()
    waiting, served = asyncio.create_task(pool.acquire()), asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0)
    pool.give_back(connection)
    served.cancel()
    for task in (waiting, served):
        with pytest.raises(asyncio.CancelledError):
            await task

    async with asyncio.timeout(10):
        assert connection is await pool.acquire()


async def test_a_failure_is_that_of_all_that_wait_and_the_next_is_tried_alone() -> None:
    """Each gets an error of its own; after the failure one connection at a time is tried until one works."""
    dialer = FakeDialer(failures=[refused()])
    pool = pool_of(dialer)
    found = await asyncio.gather(*(pool.acquire() for _ in range(5)), return_exceptions=True)
    assert {DialError} == {type(each) for each in found}
    assert 5 == len(set(map(id, found)))
    assert (1, False) == (dialer.calls, pool.is_proven)

    dialer.gate = asyncio.Event()
    tasks = [asyncio.create_task(pool.acquire()) for _ in range(2)]
    await asyncio.sleep(0.01)
    assert 2 == dialer.calls
    dialer.gate.set()

    assert 2 == len(set(await asyncio.gather(*tasks)))
    assert (3, True) == (dialer.calls, pool.is_proven)


async def test_a_failure_beside_connections_that_work_fails_nothing() -> None:
    """And is not repeated at once."""
    dialer = FakeDialer()
    pool = pool_of(dialer, size=3)
    connection = await pool.acquire()
    dialer.failures = [refused()] * 5
    tasks = [asyncio.create_task(pool.acquire()) for _ in range(3)]
    await asyncio.sleep(0.01)
    tried = dialer.calls
    for task in tasks:
        pool.give_back(connection)
        assert connection is await task

    assert tried == dialer.calls <= 3


async def test_a_bug_leaves_nothing_waiting() -> None:
    """What waits is told, with the error."""
    pool = pool_of(FakeDialer(failures=[RuntimeError("boom")]))

    with pytest.raises(DialError, match="RuntimeError: boom"):
        await pool.acquire()


async def test_closing_ends_what_is_being_opened() -> None:
    """Nothing is left behind."""
    dialer = FakeDialer()
    pool = pool_of(dialer)
    connection = await pool.acquire()
    pool.give_back(connection)
    dialer.gate = asyncio.Event()
    await pool.acquire()
    waits = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)

    await pool.aclose()

    waits.cancel()
    assert not pool._dials
