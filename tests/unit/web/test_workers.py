"""Operators see which workers are alive."""

from __future__ import annotations

from datetime import timedelta

from notifykit.models.access import Role
from notifykit.models.worker import WorkerRecord
from notifykit.web import create_app
from tests.unit.web.page_world import enter
from tests.unit.web.world import client_of


async def test_workers_are_listed_with_their_state(kit, world, clock):
    """Page by page; an operator names no tenant for it."""
    headers = {"Authorization": f"Bearer {world.secrets['', Role.OPERATOR]}"}
    async with client_of(create_app(kit), headers=headers) as api:
        before = await api.get("/v1/workers")
        for name, age in (("a:1:x", 10), ("b:2:y", 1000)):
            at = clock.now() - timedelta(seconds=age)
            await kit.store.save(WorkerRecord(id=name, started_at=at, seen_at=at, roles=("send",), in_flight=7))
        first = (await api.get("/v1/workers", params={"limit": 1})).json()
        second = (await api.get("/v1/workers", params={"cursor": first["next"]})).json()

    assert {"data": [], "next": None} == before.json()
    assert [("a:1:x", False, 7), ("b:2:y", True, 7)] == [
        (each["id"], each["silent"], each["in_flight"]) for each in (*first["data"], *second["data"])
    ]


async def test_the_overview_shows_them(kit, world, clock):
    """It warns if there is none."""
    async with client_of(create_app(kit)) as client:
        await enter(kit, client, "", Role.OPERATOR)
        without = (await client.get("/operations")).text
        at = clock.now() - timedelta(seconds=1000)
        await kit.store.save(WorkerRecord(id="b:2:y", started_at=at, seen_at=at))
        page = (await client.get("/operations")).text

    assert "nothing is delivered" in without
    assert "silent" in page
    assert "b:2:y" in page
