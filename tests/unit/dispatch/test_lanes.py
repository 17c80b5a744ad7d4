"""What lanes cost while nothing goes on, and what one due delivery wakes."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import attrs
import pytest

from notifykit import DispatchSettings, Event, Notifykit
from notifykit.dispatch.settings import LaneSettings
from notifykit.errors import ConfigurationError
from notifykit.models.delivery import WEBHOOK, Lane, Priority
from notifykit.stores.memory import MemoryStore

from .support import TENANT, ScriptedChannel, bench

CHANNELS = (WEBHOOK, "email", "sms", "push", "chat")
MOST_TASKS = 60


class CountingStore(MemoryStore):
    """Counts the claims of each lane."""

    def __init__(self) -> None:
        super().__init__()
        self.claims: Counter[Lane] = Counter()

    async def claim(self, lane: Lane, limit: int, **options: Any) -> Any:
        self.claims[lane] += 1
        return await super().claim(lane, limit, **options)


async def test_an_idle_dispatcher_with_five_channels_is_cheap_and_one_due_delivery_wakes_one_lane() -> None:
    """There is a task for each lane and none for each place; what is due in one lane is claimed in that one only."""
    store = CountingStore()
    async with Notifykit(store=store) as kit:
        channels = [ScriptedChannel(name=name) for name in CHANNELS]
        await kit.subscribe("**", tenant=TENANT, endpoint="https://203.0.114.7/hooks")
        before = len(asyncio.all_tasks())
        settings = DispatchSettings(poll=timedelta(seconds=60), roles=frozenset({"send"}))
        async with kit.dispatcher(channels, settings=settings):
            while len(store.claims) < 3 * len(CHANNELS):
                await asyncio.sleep(0.002)
            await asyncio.sleep(0.05)
            tasks = len(asyncio.all_tasks()) - before
            store.claims.clear()

            planner = kit.dispatcher([channels[0]], settings=DispatchSettings(roles=frozenset({"plan"})))
            await kit.apublish(Event(type="order.paid", data={}), tenant=TENANT)
            await planner.step()
            async with asyncio.timeout(20):
                while not channels[0].sent:
                    await asyncio.sleep(0.002)
            claims = dict(store.claims)

    assert tasks <= MOST_TASKS
    assert {Lane(WEBHOOK, Priority.NORMAL)} == claims.keys()


@pytest.mark.parametrize("prefetch", [1, 20, 35])
async def test_a_small_backlog_is_filled(prefetch: int) -> None:
    """A process that may hold few claims claims nevertheless, for endpoints that nothing is known of."""
    async with bench(batch=min(prefetch, 10), prefetch=prefetch, max_unproven=16, roles=frozenset({"plan"})) as b:
        await b.endpoint()
        for _ in range(5):
            await b.publish()
        while await b.dispatcher.step():
            pass
        settings = attrs.evolve(b.dispatcher.settings, roles=frozenset({"send"}))

        async with b.kit.dispatcher([b.channel], settings=settings):
            await b.until(lambda: len(b.channel.sent) == 5)


def test_people_need_not_have_answered() -> None:
    """One provider carries what people are told, so nothing is held back because a person was told nothing lately."""
    settings = DispatchSettings(max_unproven=100)

    found = {name: settings.lane(Lane(name, Priority.NORMAL)).max_unproven for name in (WEBHOOK, "in_app", "email")}

    assert {WEBHOOK: 100, "in_app": 0, "email": 0} == found


async def test_a_lane_may_have_settings_of_its_own() -> None:
    """What is said of one lane holds for that one."""
    own = LaneSettings(concurrency=2, prefetch=50, max_unproven=0)
    settings = DispatchSettings(lanes={"email:high": own})

    assert own == settings.lane(Lane("email", Priority.HIGH))
    assert 384 == settings.lane(Lane("email", Priority.NORMAL)).concurrency
    with pytest.raises(ConfigurationError, match="concurrency"):
        LaneSettings(concurrency=0, prefetch=1, max_unproven=0)
