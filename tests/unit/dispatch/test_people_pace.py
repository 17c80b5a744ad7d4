"""The planner of people: it leaves the senders time, so that inbox items need no claim."""

from __future__ import annotations

import asyncio
from typing import Any

from notifykit import Event, EventType
from notifykit.models.steps import Step

from .support import TENANT
from .test_people import Open, Town, opened

__all__ = ["opened"]

BATCH = 500


async def test_planning_waits_for_inbox_items_that_are_under_way(opened: Open, monkeypatch: Any) -> None:
    """Only when there was no room for all of them, and no longer than eager sends may take."""
    town: Town = await opened()
    town.kit.catalog.include([EventType(name="note.one", steps=[Step("in_app")])])
    await town.kit.sync_event_types()
    ids = [f"user:{number}" for number in range(50)]
    for id_ in ids:
        await town.save(id_)
    looks: list[float] = []
    sleep = asyncio.sleep

    async def slept(seconds: float) -> None:
        looks.append(seconds)
        town.dispatcher._recorder.eager_sends.finish()
        await sleep(0)

    planner = town.dispatcher._planner

    async def publish(count: int) -> None:
        events = [Event(type="note.one", data={"n": n}) for n in range(count)]
        for at in range(0, count, 50):
            for id_, each in zip(ids, events[at : at + 50], strict=False):
                await town.kit.apublish(each, tenant=TENANT, to=id_)

    await publish(BATCH)
    await planner.turn()
    monkeypatch.setattr(asyncio, "sleep", slept)
    await planner.turn()
    had_room = list(looks)
    planner._is_ahead = True
    await planner.turn()

    assert ([], 1) == (had_room, len(looks))
