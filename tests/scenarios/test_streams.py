"""Streams of several server processes, some of which are killed: a client that comes back misses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from notifykit import Notifykit
from notifykit.ports import Inbox
from notifykit.testing import make_inbox_item

ACME, ADA = "acme", "user:ada"
ITEMS = 60


@contextlib.asynccontextmanager
async def server(url: str) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """Run a server process over a store; yields the address of its WebSockets."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "notifykit", "serve", "--no-dispatch", "--port", "0", "--json"),
        env={**os.environ, "NOTIFYKIT_URL": url},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            ready = json.loads(await process.stdout.readline())
        yield ready["api"].replace("http", "ws"), process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


class Follower:
    """A client that shows an inbox, at whichever server it finds.

    Attributes:
        shown: The newest state of each item.
        heard: The numbers of the changes, in the order in which they came.
    """

    def __init__(self, secret: str, cursor: int) -> None:
        self._options: Any = {"additional_headers": {"Authorization": f"Bearer {secret}"}, "ping_interval": None}
        self._last = str(cursor)
        self.shown: dict[str, Any] = {}
        self.heard: list[int] = []

    async def follow(self, url: str, until: int) -> None:
        """Follow until so many items are read, or the server is gone."""
        with contextlib.suppress(ConnectionClosed):
            async with connect(f"{url}/v1/inbox/{ADA}/stream?cursor={self._last}", **self._options) as socket:
                async for message in socket:
                    self._take(json.loads(message))
                    if sum(item["read_at"] is not None for item in self.shown.values()) >= until:
                        return

    def _take(self, message: Any) -> None:
        if message["event"] == "changes":
            for item in message["data"]["items"]:
                self.shown[item["id"]] = item
                self.heard.append(item["change"])
            self._last = message["id"]


@pytest.mark.thorough
async def test_a_client_whose_server_is_killed_misses_nothing(any_store_url):
    """It goes on at another server; the items and the marks of all processes arrive, in order, each once."""
    async with Notifykit(any_store_url, create=True) as kit, asyncio.timeout(120):
        store = kit.store
        assert isinstance(store, Inbox)
        issued = await kit.api_keys.create(tenant=ACME, role="viewer")
        inbox = kit.inbox(ADA, tenant=ACME)
        follower = Follower(issued.secret, (await inbox.page()).cursor)
        items = [make_inbox_item(ADA, tenant=ACME) for _ in range(ITEMS)]

        async def write() -> None:
            for item in items:
                await store.inbox_put([item])
                await inbox.mark(item.id, "read")
                await asyncio.sleep(0.03)

        async with server(any_store_url) as (first, process), server(any_store_url) as (second, _):
            writing = asyncio.create_task(write())
            following = asyncio.create_task(follower.follow(first, ITEMS))
            while len(follower.shown) < ITEMS // 3:
                await asyncio.sleep(0.01)
            process.kill()
            await following
            assert len(follower.shown) < ITEMS
            await asyncio.sleep(0.2)  # things happen while it is away
            await follower.follow(second, ITEMS)
            await writing

    assert {item.id for item in items} == follower.shown.keys()
    assert all(item["read_at"] for item in follower.shown.values())
    assert sorted(set(follower.heard)) == follower.heard
