"""Workers say that they are alive, and are forgotten when they are not."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta

import attrs
import pytest

from notifykit import Notifykit
from notifykit.dispatch.maintenance.presence import Presence
from notifykit.dispatch.settings import DispatchSettings
from notifykit.models.worker import SILENT_AFTER, WorkerRecord
from notifykit.testing import FakeClock

from .support import ScriptedChannel, context

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory://", "sqlite:///{}/store.db"])
async def kit(request, clock, tmp_path):
    async with Notifykit(request.param.format(tmp_path), clock=clock) as kit:
        yield kit


def presence(kit: Notifykit, clock: FakeClock, in_flight: int = 0) -> Presence:
    return Presence(context(kit.store, clock=clock, emit=lambda _: None), ["webhook", "email"], lambda: in_flight)


async def test_a_worker_is_listed_while_it_runs(kit, clock):
    """With what it does; one that stops is gone at once."""
    settings = DispatchSettings(roles=frozenset({"send", "plan"}))
    async with kit.dispatcher([ScriptedChannel()], settings) as dispatcher, asyncio.timeout(10):
        while not (found := await kit.workers()):
            await asyncio.sleep(0.01)
    after = await kit.workers()

    (worker,) = found
    assert (dispatcher.worker, os.getpid(), ("plan", "send"), ("webhook",)) == (
        worker.id,
        worker.process,
        worker.roles,
        worker.channels,
    )
    assert [] == after


async def test_each_report_says_when_it_was(kit, clock):
    """A worker that says nothing for a while is silent."""
    worker = presence(kit, clock, 3)
    await worker.report()
    clock.advance(30 * SECOND)
    await worker.report()
    (found,) = await kit.workers()

    assert (30 * SECOND, 3, 2) == (found.seen_at - found.started_at, found.in_flight, found.version)
    assert [False, True] == [found.is_silent(clock.now() + SILENT_AFTER + more) for more in (0 * SECOND, SECOND)]


async def test_a_worker_that_was_forgotten_is_back_with_its_next_report(kit, clock):
    """Its store was away for more than a day, or it did not hear that a report was written."""
    worker, cleaner = presence(kit, clock), presence(kit, clock)
    await worker.report()
    clock.advance(DAY + SECOND)
    gone = await cleaner.forget()
    await worker.report()
    (back,) = await kit.workers()
    await kit.store.save(attrs.evolve(back, in_flight=9))
    await worker.report()
    (again,) = await kit.workers()

    assert 1 == gone
    assert (back.started_at, clock.now(), 0) == (again.started_at, again.seen_at, again.in_flight)


async def test_only_workers_that_are_long_gone_are_forgotten(kit, clock):
    """However many there are."""
    for number in range(1203):
        at = clock.now() - (DAY + SECOND if number % 3 else SECOND)
        await kit.store.save(WorkerRecord(id=f"host:{number:04}", started_at=at, seen_at=at))

    gone = await presence(kit, clock).forget()

    assert 802 == gone
    assert 401 == len(await kit.workers(limit=999))
