"""What becomes of results that the store does not take at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from notifykit import SchemaError, StoreError, StoreUnavailableError
from notifykit.dispatch.sending import recorder as recorder_module
from notifykit.dispatch.sending.leases import Leases
from notifykit.dispatch.sending.recorder import Recorder
from notifykit.errors import ValueRefusedError
from notifykit.models.delivery import Claim, DeliveryState, Priority
from notifykit.options import SystemClock
from notifykit.ports import Record
from notifykit.telemetry import ClaimLost, LoopFailed, TelemetryEvent
from notifykit.testing.suites.store.steps import is_planned

from .support import TENANT, bench, context

DELIVERED = DeliveryState.DELIVERED
NOW = datetime.now(UTC)


class Desk:
    """A store that takes records as the test says, and the recorder before it."""

    def __init__(self) -> None:
        self.failures: list[Exception] = []
        self.refused: set[str] = set()
        self.written: list[str] = []
        self.batches: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.told: list[TelemetryEvent] = []
        self.stalls: list[bool] = []
        self.leases = Leases()
        self.recorder = Recorder(
            context(self, clock=SystemClock(), emit=self.told.append),
            self.leases,
            lambda: False,
            self.stalls.append,
        )

    async def record(self, records: Sequence[Record]) -> set[str]:
        self.batches.append(len(records))
        await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        if self.refused & {record.delivery_id for record in records}:
            raise ValueRefusedError("the database takes no such value")
        self.written += [record.delivery_id for record in records]
        return {record.delivery_id for record in records}

    def add(self, *ids: str) -> None:
        """Have results written."""
        for id_ in ids:
            self.leases.add(_claim(id_))
            self.recorder.add(Record(id_, 1, DELIVERED, None, None, NOW, None))


def _claim(id_: str, fence: int = 1) -> Claim:
    return Claim(
        id_, fence, 1, 0, 0, TENANT, "evt_1", "a.b", "sub_1", "end_1", "webhook", Priority.NORMAL,
        None, NOW, None, NOW + timedelta(minutes=1), b"{}", 0,
    )  # fmt: skip


@pytest.fixture
async def desk(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    monkeypatch.setattr(recorder_module, "_FIRST_PAUSE", 0.001)
    desk = Desk()
    running = asyncio.create_task(desk.recorder.run())
    yield desk
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def _flushed(desk: Desk) -> None:
    async with asyncio.timeout(10):
        await desk.recorder.flush()


@pytest.mark.parametrize(
    "error",
    [
        StoreUnavailableError("canceling statement due to statement timeout"),
        StoreError("InternalServerError: something is wrong with the server"),
        SchemaError("the tables are not those of this version"),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_may_pass_is_tried_until_it_is_written(desk: Desk, error: Exception) -> None:
    """No result is given up for what is wrong with the store, and its lease is held all the time."""
    desk.failures = [error] * 4
    desk.gate.clear()
    desk.add("dlv_1", "dlv_2")
    await asyncio.sleep(0)
    held = set(desk.leases.held)
    desk.gate.set()
    await _flushed(desk)

    assert {"dlv_1", "dlv_2"} == held
    assert ["dlv_1", "dlv_2"] == desk.written
    assert {} == desk.leases.held
    assert 4 == len([told for told in desk.told if isinstance(told, LoopFailed)])


async def test_what_the_store_refuses_is_found_by_halves(desk: Desk) -> None:
    """Of many results two cannot be stored: only those are dropped and told of, after a few writes."""
    desk.refused = {"dlv_007", "dlv_150"}
    desk.add(*(f"dlv_{n:03}" for n in range(200)))
    await _flushed(desk)

    assert 198 == len(desk.written) == len(set(desk.written))
    assert ["dlv_007", "dlv_150"] == [told.error[:7] for told in desk.told if isinstance(told, LoopFailed)]
    assert len(desk.batches) < 60
    assert {} == desk.leases.held
    assert [] == desk.stalls, "a bad value is no reason to stop sending"


async def test_attempts_stop_while_results_cannot_be_written(desk: Desk) -> None:
    """A write that fails stops them, one that succeeds lets them go on; each is told once."""
    desk.failures = [StoreUnavailableError("away")] * 3
    desk.add("dlv_1")
    await _flushed(desk)

    assert [True, False] == desk.stalls


async def test_attempts_stop_while_a_write_hangs(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock makes a write wait, and nothing fails for a long time."""
    monkeypatch.setattr(recorder_module, "_STALL", 0.01)
    desk.gate.clear()
    desk.add("dlv_1")
    async with asyncio.timeout(10):
        while not desk.stalls:
            await asyncio.sleep(0.001)
    desk.gate.set()
    await _flushed(desk)

    assert [True, False] == desk.stalls


async def test_attempts_stop_while_too_many_results_wait(desk: Desk) -> None:
    """Results come faster than they are written: each takes memory, and would be repeated after a crash."""
    desk.add(*(f"dlv_{n}" for n in range(2600)))
    await _flushed(desk)

    assert 2600 == len(desk.written)
    assert [True, False] == desk.stalls


async def test_the_more_results_wait_the_more_are_written(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while short transactions of others come first."""
    monkeypatch.setattr(recorder_module, "_LATENCY_TARGET", 0.0)
    desk.recorder.hurried = lambda: True
    desk.add(*(f"dlv_{n}" for n in range(1900)))
    await _flushed(desk)

    assert (1900, 10) == (len(desk.written), desk.batches[-2])
    assert len(desk.batches) < 40, desk.batches


async def test_the_result_of_a_lost_claim_leaves_a_later_claim_alone(desk: Desk) -> None:
    """The same process may have claimed the delivery again: that lease is still needed."""
    desk.gate.clear()
    desk.add("dlv_1")
    await asyncio.sleep(0)
    desk.leases.add(_claim("dlv_1", fence=3))
    desk.gate.set()
    await _flushed(desk)

    assert [3] == [claim.fence for claim in desk.leases.held.values()]


async def test_a_plan_is_written_without_results_that_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an event with two deliveries one result cannot be stored: the event is planned, and the other one ends."""
    async with bench() as b:
        for _ in range(2):
            await b.endpoint()
        store = b.kit.store
        settle, record = store.settle, store.record
        poison = ""

        def check(records: Sequence[Record]) -> None:
            if any(one.delivery_id == poison for one in records):
                raise ValueRefusedError("the database takes no such value")

        async def picky_settle(settlements: Any, **options: Any) -> set[str]:
            check([one for settlement in settlements for one in settlement.records])
            return await settle(settlements, **options)

        async def picky_record(records: Sequence[Record]) -> set[str]:
            check(records)
            return await record(records)

        monkeypatch.setattr(store, "settle", picky_settle)
        monkeypatch.setattr(store, "record", picky_record)
        b.channel.gate = asyncio.Event()
        event_id = await b.publish()

        async with b.dispatcher:
            await b.until(lambda: b.channel.open == 2)
            poison = b.channel.sent[0].delivery_id
            b.channel.gate.set()
            await b.until_states(DELIVERED)
            await b.until(lambda: any(isinstance(told, LoopFailed) for told in b.told))
            states = Counter(delivery.state for delivery in await b.deliveries())

        assert {DELIVERED: 1, DeliveryState.SENDING: 1} == states
        assert await is_planned(store, TENANT, event_id)
        assert [poison] == [told.error[: len(poison)] for told in b.told if isinstance(told, LoopFailed)]


async def test_a_result_counts_until_the_delivery_is_sent_again() -> None:
    """Another worker took the event for abandoned while the store was away: what comes late is still recorded."""
    async with bench() as b:
        await b.endpoint()
        b.channel.gate = asyncio.Event()
        event_id = await b.publish()

        async with b.dispatcher:
            await b.until(lambda: b.channel.open == 1)
            other = b.kit.dispatcher([b.channel])
            (stolen,) = await b.kit.store.take(
                1, now=datetime.now(UTC) + timedelta(hours=1), lease=timedelta(minutes=1)
            )
            await other._planner._settle([stolen], datetime.now(UTC))
            b.channel.gate.set()
            (delivery,) = await b.until_states(DELIVERED)

        assert event_id == stolen.id
        assert (1, 0) == (delivery.attempts, delivery.abandoned)
        assert 1 == len(b.channel.sent)
        assert [] == [told for told in b.told if isinstance(told, ClaimLost)]


async def test_without_results_the_recorder_waits(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that another worker took before any of its results came in leaves nothing to write."""
    monkeypatch.setattr(recorder_module, "_SETTLING", 0.0)
    desk.recorder._add_later([])

    async with asyncio.timeout(5):
        await asyncio.sleep(0.01)
        await desk.recorder.flush()

    assert not desk.recorder._some.is_set()
    assert [] == desk.batches
