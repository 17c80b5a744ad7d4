"""When a lease that ran out means that its worker died, and when it only means that the store was away."""

from __future__ import annotations

from datetime import timedelta

import pytest

from notifykit import StoreUnavailableError
from notifykit.dispatch.maintenance.janitor import Janitor
from notifykit.dispatch.sending.leases import Leases
from notifykit.dispatch.settings import DispatchSettings
from notifykit.models.delivery import Claim
from notifykit.stores.memory.store import MemoryStore
from notifykit.testing import FakeClock
from notifykit.testing.suites.store.steps import given_claim, read

from .support import context

SETTINGS = DispatchSettings()
#: Between two looks of a worker.
LOOK = timedelta(seconds=5)


def janitor(store: MemoryStore, clock: FakeClock) -> Janitor:
    """Return a worker's janitor."""
    return Janitor(context(store, clock=clock, emit=lambda _: None), Leases())


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def store() -> MemoryStore:
    store = MemoryStore()
    await store.open()
    return store


async def _held_by(store: MemoryStore, clock: FakeClock, worker: Janitor) -> Claim:
    claim = await given_claim(store, clock)
    worker.leases.add(claim)
    return claim


async def test_the_lease_of_a_dead_worker_is_ended_soon(store: MemoryStore, clock: FakeClock) -> None:
    """A worker that starts afterwards ends it with its second look."""
    await given_claim(store, clock)
    clock.advance(2 * SETTINGS.lease)
    living = janitor(store, clock)

    first = await living.rescue()
    clock.advance(LOOK)
    second = await living.rescue()

    assert (0, 1) == (first, second)


async def test_ones_own_leases_are_prolonged_before_any_is_ended(store: MemoryStore, clock: FakeClock) -> None:
    """A process that stood still does not take its own attempts for abandoned."""
    worker = janitor(store, clock)
    await worker.rescue()
    claim = await _held_by(store, clock, worker)
    clock.advance(SETTINGS.lease * 3)

    ended = 0
    for _ in range(3):
        clock.advance(LOOK)
        ended += await worker.rescue()

    assert 0 == ended
    assert 0 == (await read(store, claim.delivery_id)).abandoned


async def test_after_an_outage_a_living_worker_keeps_its_leases(
    store: MemoryStore, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is away for several leases; whichever worker looks first afterwards, the other keeps what it holds."""
    holder, other = janitor(store, clock), janitor(store, clock)
    await other.rescue()
    await _held_by(store, clock, holder)
    clock.advance(LOOK)
    await other.rescue()

    async def away(*_: object, **__: object) -> None:
        raise StoreUnavailableError("the database is not available")

    with monkeypatch.context() as outage:
        outage.setattr(store, "rescue", away)
        for _ in range(60):
            clock.advance(LOOK)
            with pytest.raises(StoreUnavailableError):
                await other.rescue()
    first = await other.rescue()
    await holder.extend()
    clock.advance(LOOK)
    second = await other.rescue()

    assert (0, 0) == (first, second)


async def test_after_an_outage_dead_workers_are_found_again(store: MemoryStore, clock: FakeClock) -> None:
    """A worker that could not look for long needs two looks, not one, and then goes on as ever."""
    worker = janitor(store, clock)
    await worker.rescue()
    await given_claim(store, clock)
    clock.advance(SETTINGS.lease * 5)

    first = await worker.rescue()
    clock.advance(LOOK)
    second = await worker.rescue()

    assert (0, 1) == (first, second)
