"""Streams of an inbox: what happens is told at once, and a client that comes back has missed nothing."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from notifykit.models.access import Role
from notifykit.testing import make_inbox_item
from notifykit.web import create_app
from notifykit.web.live import stream as streams
from tests.unit.web.world import ACME, ADA, BOB


class Client:
    """A client of the application that reads a stream as it is sent.

    Attributes:
        status: Of the response.
        reads: Whether it takes what is sent.
    """

    def __init__(self, app: Any, path: str, headers: dict[str, str], query: str = "") -> None:
        self.status = 0
        self.text = ""
        self.ended = False
        self.reads = True
        self._gone = asyncio.Event()
        self._came = asyncio.Event()
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "http_version": "1.1",
            "scheme": "http",
            "client": ("127.0.0.1", 1),
            "server": ("api.test", 80),
        }
        self.task = asyncio.create_task(app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        while not self.reads:
            await asyncio.sleep(0.001)
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.text += message.get("body", b"").decode()
            self.ended = not message.get("more_body", False)
        self._came.set()

    async def events(self, count: int) -> list[tuple[str, str | None, Any]]:
        """Return the first events of the stream, once there are as many: name, id, data."""
        async with asyncio.timeout(20):
            while len(found := self._found()) < count:
                self._came.clear()
                await self._came.wait()
        return found[:count]

    def _found(self) -> list[tuple[str, str | None, Any]]:
        found = []
        for block in self.text.split("\n\n")[:-1]:
            lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            if "event" in lines:
                found.append((lines["event"], lines.get("id"), json.loads(lines["data"])))
        return found

    async def leave(self) -> None:
        self._gone.set()
        await self.task


@pytest.fixture
async def follow(kit, world):
    """Opens streams of the inbox; all are closed at the end."""
    app, clients = create_app(kit), []

    def opened(person: str = ADA, **options: Any) -> Client:
        headers = {**world.headers(ACME, Role.TENANT_ADMIN), **options.pop("headers", {})}
        clients.append(Client(app, f"/v1/inbox/{person}/stream", headers, **options))
        return clients[-1]

    yield opened
    for client in clients:
        client.reads = True
        await client.leave()


async def test_what_happens_is_told_with_the_counts(kit, follow):
    """A new item and a mark, on each device; not what happens to other persons."""
    devices = [follow(), follow()]
    for device in devices:
        ((name, id_, data),) = await device.events(1)
        assert ("counts", {"counts": {"unseen": 1, "unread": 1}}) == (name, data)
        assert str((await kit.inbox(ADA, tenant=ACME).page()).cursor) == id_

    item = make_inbox_item(ADA, tenant=ACME, title="new", at=kit.clock.now())
    await kit.store.inbox_put([item, make_inbox_item(BOB, tenant=ACME, at=kit.clock.now())])
    await asyncio.gather(*(device.events(2) for device in devices))
    await kit.inbox(ADA, tenant=ACME).mark(item.id, "read")

    for device in devices:
        _, came, marked = await device.events(3)
        assert ("changes", ["new"]) == (came[0], [each["title"] for each in came[2]["items"]])
        assert {"unseen": 2, "unread": 2} == came[2]["counts"]
        assert {"unseen": 1, "unread": 1} == marked[2]["counts"]
        assert marked[2]["items"][0]["read_at"] is not None
        assert came[1] == str(came[2]["cursor"])


async def test_a_client_that_comes_back_has_missed_nothing(kit, follow):
    """It sends the id of the last event; what happened meanwhile comes first."""
    inbox = kit.inbox(ADA, tenant=ACME)
    first = follow(query="cursor=0")
    ((_, _, _), (_, last, seen)) = await first.events(2)
    await first.leave()
    await inbox.mark_all("read")

    again = follow(headers={"Last-Event-ID": last})

    (_, (_, _, missed)) = await again.events(2)
    assert [each["id"] for each in seen["items"]] == [each["id"] for each in missed["items"]]
    assert 0 == missed["counts"]["unread"]


@pytest.mark.parametrize("options", [{"headers": {"Last-Event-ID": "x"}}, {"query": "cursor=-1"}])
async def test_a_place_that_is_none_is_refused(follow, options):
    """Before the stream begins."""
    client = follow(**options)
    await client.task

    assert 422 == client.status


async def test_a_client_that_does_not_read_is_let_go(kit, follow, monkeypatch):
    """Others go on, and nothing is kept for it."""
    monkeypatch.setattr(streams, "PATIENCE", 0.05)
    slow, quick = follow(), follow()
    await asyncio.gather(slow.events(1), quick.events(1))
    slow.reads = False

    await kit.store.inbox_put([make_inbox_item(ADA, tenant=ACME, at=kit.clock.now())])
    await quick.events(2)
    async with asyncio.timeout(20):
        await slow.task

    assert not quick.task.done()


async def test_a_silent_stream_shows_that_it_is_there(follow, monkeypatch):
    """With comments, which clients do not look at."""
    monkeypatch.setattr(streams, "HEARTBEAT", 0.01)
    client = follow()
    await client.events(1)

    async with asyncio.timeout(20):
        while ": still here" not in client.text:
            await asyncio.sleep(0.005)

    assert not client.ended


async def test_streams_end_with_the_kit(kit, follow):
    """The client comes back, perhaps to another process."""
    client = follow()
    await client.events(1)
    async with asyncio.timeout(20):
        while not kit._inbox_watch._readers:
            await asyncio.sleep(0.001)

    await kit.aclose()
    async with asyncio.timeout(20):
        await client.task

    assert client.ended
    await kit.open()
