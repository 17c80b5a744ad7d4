"""What a source claims, and what it puts back at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from notifykit import DeliveryState, DispatchSettings
from notifykit.dispatch.round_robin import PollResult
from notifykit.dispatch.sending.source import StoreSource
from notifykit.models.delivery import WEBHOOK, Claim, Lane, Priority

from .support import Bench, bench

LANE = Lane(WEBHOOK, Priority.NORMAL)
LEASE = timedelta(seconds=1)


async def planned(b: Bench, count: int, *, abandoned: int = 0) -> None:
    """Have deliveries due whose workers have died so often."""
    await b.endpoint()
    for _ in range(count):
        await b.publish()
    await b.dispatcher.step()
    for _ in range(abandoned):
        claimed = await claim(b, -LEASE)
        assert count == len(claimed)
        assert count == len(await b.kit.store.rescue(count, now=b.kit._clock.now(), max_abandoned=9))


async def claim(b: Bench, lease: timedelta = LEASE) -> list[Claim]:
    """Claim what is due as the store has it."""
    return await b.kit.store.claim(LANE, 10, now=b.kit._clock.now(), lease=lease, worker="another")


def source_of(b: Bench, **settings: int) -> StoreSource:
    """Return the source of a process that only sends."""
    sending = b.kit.dispatcher([b.channel], DispatchSettings(roles=frozenset({"send"}), **settings))  # type: ignore[arg-type]
    (source,) = (source for source in sending._sources if source.lane == LANE)
    assert isinstance(source, StoreSource)
    return source


async def test_suspects_are_not_held_together() -> None:
    """Of deliveries whose workers died twice one is kept; the others are due a little later, nothing counted."""
    async with bench(roles=frozenset({"plan"})) as b:
        await planned(b, 4, abandoned=2)
        source = source_of(b)

        kept = [claim.delivery_id for claim in await source._apart(await claim(b))]

        found = {delivery.id: delivery for delivery in await b.deliveries()}
        away = [delivery for id_, delivery in found.items() if id_ not in kept]
        assert 1 == len(kept)
        assert [(DeliveryState.PENDING, 2, 2)] * 3 == [(d.state, d.attempts, d.abandoned) for d in away]
        assert all(d.due_at is not None and d.due_at < b.kit._clock.now() + LEASE for d in away)


async def test_what_died_once_is_claimed_as_ever() -> None:
    """One death is everyday: a worker was restarted, and hundreds of claims come back at once."""
    async with bench(roles=frozenset({"plan"})) as b:
        await planned(b, 4, abandoned=1)
        source = source_of(b)

        claims = await claim(b)

        assert 4 == len(claims)
        assert claims == await source._apart(claims)


async def test_a_small_portion_is_no_lack_of_room() -> None:
    """However small the next batch is to be, a source with an empty backlog claims."""
    async with bench(roles=frozenset({"plan"})) as b:
        await planned(b, 1)
        source = source_of(b, batch=100)
        source._tenants.note(["one", "another"], limit=100, took=100.0)  # so slow that batches become small
        assert source._tenants.batch_size < 32

        async with asyncio.timeout(5):
            found = await source.turn()

        assert (PollResult.MUCH, 1) == (found, source.backlog.waiting)
