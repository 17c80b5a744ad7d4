"""When the planner asks for more, and how what has just come passes a batch of those who crowd."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from notifykit import Event
from notifykit.dispatch.directory import AT_ONE_GO
from notifykit.dispatch.planning import planner as planner_module
from notifykit.dispatch.round_robin import PollResult

from .support import Bench, bench

LOUD, QUIET = "loud", "quiet"
BATCH = 100


async def large_tenants(b: Bench) -> None:
    """Let one tenant publish hundreds of events, and plan the first full batch, with one event of another in it."""
    await b.endpoint(tenant=LOUD)
    await b.endpoint(tenant=QUIET)
    await b.publish(tenant=QUIET)
    await b.kit.apublish_many([Event(type="page.seen", data={"n": n}) for n in range(5 * BATCH)], tenant=LOUD)
    planner = b.dispatcher._planner
    assert await planner.turn()
    await planner.turn()  # the others are asked, and there are none


async def test_who_is_quiet_passes_the_batch_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that comes while a batch of somebody else is being written is planned before that is done."""
    async with bench(batch=BATCH) as b:
        await large_tenants(b)
        planner, take = b.dispatcher._planner, b.kit.store.take
        may_go_on = asyncio.Event()

        async def held_up(limit: int, **options: Any) -> Any:
            if not options.get("since"):
                await may_go_on.wait()
            return await take(limit, **options)

        monkeypatch.setattr(b.kit.store, "take", held_up)
        under_way = asyncio.create_task(planner.turn())
        await asyncio.sleep(0.01)
        event_id = await b.publish(tenant=QUIET)
        await planner.bypass()

        assert event_id in b.dispatcher._recorder.eager_sends._in_progress
        assert not under_way.done()
        may_go_on.set()
        await under_way


async def test_nobody_looks_for_passers_without_a_crowd(monkeypatch: pytest.MonkeyPatch) -> None:
    """While batches are small, or all of one tenant, asking the store once more would find nothing."""
    async with bench(batch=BATCH) as b:
        asked: list[int] = []
        take = b.kit.store.take

        async def counted(limit: int, **options: Any) -> Any:
            asked.append(limit)
            return await take(limit, **options)

        await b.endpoint(tenant=QUIET)
        monkeypatch.setattr(b.kit.store, "take", counted)
        await b.publish(tenant=QUIET)

        await asyncio.gather(b.dispatcher._planner.turn(), b.dispatcher._planner.bypass())

        assert 1 == len(asked)  # the turn's, and no other


@pytest.mark.parametrize(
    ("published", "batch", "found"),
    [(0, 100, PollResult.NOTHING), (7, 100, PollResult.FEW), (8, 100, PollResult.MUCH), (3, 3, PollResult.MUCH)],
)
async def test_only_many_events_suggest_that_there_are_more(published: int, batch: int, found: PollResult) -> None:
    """Few came by themselves: the next look can wait until they are under way, unless few fill a batch."""
    async with bench(batch=batch) as b:
        await b.endpoint(tenant=QUIET)
        for _ in range(published):
            await b.publish(tenant=QUIET)

        assert found is await b.dispatcher._planner.turn()


async def hold_much(b: Bench, *tenants: str) -> None:
    """Plan as many events of some tenants as senders of this process may hold, and more."""
    for tenant in tenants:
        for _ in range(8):  # one of them alone may not have so many waiting
            await b.endpoint(tenant=tenant)
        await b.kit.apublish_many([Event(type="page.seen", data={"n": n}) for n in range(2 * BATCH)], tenant=tenant)
    await b.dispatcher._planner.turn()
    assert any(backlog.holds_much(LOUD) for backlog in b.dispatcher._planner.backlogs.values())


async def test_the_planner_waits_a_little_for_the_senders_of_a_lone_tenant(monkeypatch: pytest.MonkeyPatch) -> None:
    """What finds no room with them has to be claimed later, which costs more."""
    monkeypatch.setattr(planner_module, "_WAIT", 60.0)
    async with bench(batch=BATCH, prefetch=BATCH, max_unproven=0) as b:
        await hold_much(b, LOUD)
        planner = b.dispatcher._planner

        turn = asyncio.create_task(planner.turn())
        await asyncio.sleep(0.05)
        assert not turn.done()

        for backlog in planner.backlogs.values():
            backlog.drain()
        async with asyncio.timeout(10):
            await turn

        await hold_much(b, LOUD)
        monkeypatch.setattr(planner_module, "_WAIT", 0.01)
        async with asyncio.timeout(10):
            await planner.turn()


@pytest.mark.parametrize("turns", [1, 100])
async def test_nobody_waits_for_the_senders_of_another_tenant(turns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their events are planned, so that senders take them in turn, also when the other has published nothing lately."""
    monkeypatch.setattr(planner_module, "_WAIT", 60.0)
    async with bench(batch=BATCH, prefetch=BATCH, max_unproven=0) as b:
        await b.endpoint(tenant=QUIET)
        await b.publish(tenant=QUIET)
        await hold_much(b, LOUD)

        async with asyncio.timeout(20):
            for _ in range(turns):
                await b.dispatcher._planner.turn()
                await b.publish(tenant=QUIET)


async def test_an_event_of_several_pages_goes_on_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is few events, but there is more to do for it."""
    monkeypatch.setattr("notifykit.dispatch.planning.planner._PAGE", 2)
    async with bench(batch=BATCH) as b:
        for _ in range(3):
            await b.endpoint(tenant=QUIET)
        await b.publish(tenant=QUIET)

        assert [PollResult.MUCH, PollResult.FEW] == [await b.dispatcher._planner.turn() for _ in range(2)]


async def test_tenants_that_are_read_do_not_wait_for_those_that_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """To read many tenants takes a while: a few of them are read in each turn, and all of them before a stop."""
    async with bench() as b:
        planner, load = b.dispatcher._planner, b.kit.store.load_tenants
        in_progress = b.dispatcher._recorder.eager_sends._in_progress
        read: list[int] = []

        async def counted(tenants: list[str], **options: Any) -> Any:
            read.append(len(tenants))
            return await load(tenants, **options)

        monkeypatch.setattr(b.kit.store, "load_tenants", counted)
        await b.endpoint(tenant=QUIET)
        await b.publish(tenant=QUIET)
        await planner.turn()
        others = [f"{LOUD}-{number}" for number in range(3 * AT_ONE_GO)]
        for tenant in others:
            await b.endpoint(tenant=tenant)
        published = [await b.publish(tenant=tenant) for tenant in others]
        quiet = await b.publish(tenant=QUIET)
        read.clear()

        found = await planner.turn()

        assert found is PollResult.MUCH
        assert [AT_ONE_GO] == read
        assert {quiet, *published[:AT_ONE_GO]} == {*published, quiet} & {*in_progress}
        await planner.finish()
        assert [AT_ONE_GO] * 3 == read
        assert {*published} <= {*in_progress}


@pytest.mark.parametrize(
    ("limit", "most", "is_taken"), [("_UNREAD", 1, False), ("_UNREAD_BYTES", 1, False), ("", 0, True)]
)
async def test_events_are_taken_beside_those_of_unread_tenants(
    monkeypatch: pytest.MonkeyPatch, limit: str, most: int, is_taken: bool
) -> None:
    """However many of a batch these are, but only until they are too many, or too large."""
    if limit:
        monkeypatch.setattr(f"notifykit.dispatch.planning.planner.{limit}", most)
    async with bench(batch=BATCH) as b:
        planner = b.dispatcher._planner
        await b.endpoint(tenant=QUIET)
        await b.publish(tenant=QUIET)
        await planner.turn()
        for number in range(2 * BATCH):
            await b.publish(tenant=f"{LOUD}-{number}")
        for _ in range(3):
            await planner.turn()
        waited = len(planner._unread)

        quiet = await b.publish(tenant=QUIET)
        await planner.turn()

        assert waited > BATCH if is_taken else waited > 0
        assert is_taken is (quiet in b.dispatcher._recorder.eager_sends._in_progress)
        await planner.finish()
        assert (0, 0) == (len(planner._unread), planner._unread_bytes)
