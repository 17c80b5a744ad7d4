"""WebSockets: the streams of server-sent events over another transport, with the same rules of access."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from notifykit.models.access import Role
from notifykit.testing import make_inbox_item
from notifykit.web import EndUser, create_app
from notifykit.web.live import activity, stream
from notifykit.web.routes import TABLE
from tests.unit.web.serving import here
from tests.unit.web.world import ACME, ADA, BOB, GLOBEX, MARK

SITE = Origin("https://shop.example")


@pytest.fixture
async def served(kit, world):
    async with here(create_app(kit, origins=[SITE])) as url:
        yield url.replace("http", "ws")


@pytest.fixture
def headers(world):
    return world.headers(ACME, Role.VIEWER)


async def told(socket: Any) -> Any:
    async with asyncio.timeout(20):
        return json.loads(await socket.recv())


async def ended(socket: Any) -> int | None:
    """Read until the server ends it; return the code."""
    with suppress(ConnectionClosed):
        async with asyncio.timeout(20):
            async for _ in socket:
                pass
    return socket.close_code


async def refused(url: str, **options: Any) -> tuple[int, str]:
    """Return the status and the code of the answer to a client that gets no socket."""
    with pytest.raises(InvalidStatus) as caught:
        async with connect(url, **options):
            pass
    response = caught.value.response
    return response.status_code, json.loads(response.body or b"{}").get("code", "")


async def test_what_happens_is_told_with_the_counts(kit, served, headers):
    """As in server-sent events, message by message."""
    async with connect(f"{served}/v1/inbox/{ADA}/stream", additional_headers=headers) as socket:
        first = await told(socket)
        item = make_inbox_item(ADA, tenant=ACME, title="new", at=kit.clock.now())
        await kit.store.inbox_put([make_inbox_item(BOB, tenant=ACME, at=kit.clock.now()), item])
        came = await told(socket)

    assert ("counts", {"counts": {"unseen": 1, "unread": 1}}) == (first["event"], first["data"])
    assert ["new"] == [each["title"] for each in came["data"]["items"]]
    assert ("changes", {"unseen": 2, "unread": 2}) == (came["event"], came["data"]["counts"])
    assert came["id"] == str(came["data"]["cursor"])


async def test_a_client_that_comes_back_has_missed_nothing(kit, served, headers):
    """From the id of the last message on, also if that was the first one."""
    url = f"{served}/v1/inbox/{ADA}/stream"
    async with connect(url, additional_headers=headers) as socket:
        last = (await told(socket))["id"]
    await kit.inbox(ADA, tenant=ACME).mark_all("read")

    async with connect(f"{url}?cursor={last}", additional_headers=headers) as socket:
        _, missed = await told(socket), await told(socket)

    assert [MARK] == [each["title"] for each in missed["data"]["items"]]


async def test_a_browser_sends_its_token_as_a_subprotocol(served, world):
    """Because it can send no header of its own."""
    offered = [Subprotocol("notifykit"), Subprotocol(f"bearer.{world.secrets[ACME, Role.VIEWER]}")]

    async with connect(f"{served}/v1/inbox/{ADA}/stream", subprotocols=offered, origin=SITE) as socket:
        assert "notifykit" == socket.subprotocol
        assert "counts" == (await told(socket))["event"]


@pytest.mark.parametrize("path", [route.path for route in TABLE if route.is_stream])
async def test_access(kit, served, world, path):
    """Roles, tenants and wrong credentials, as for the same stream as server-sent events."""
    url = served + path.format(user_id=ADA)
    expected = {Role.PRODUCER: (403, "forbidden")} if "inbox" in path else {}

    for role in (Role.PRODUCER, Role.VIEWER, Role.TENANT_ADMIN, Role.OPERATOR):
        given = world.headers(ACME, role)
        if role in expected:
            assert expected[role] == await refused(url, additional_headers=given)
        else:
            async with connect(url, additional_headers=given) as socket:
                assert (await told(socket))["event"] in ("counts", "reset")
    assert (401, "unauthorized") == await refused(url)
    assert (401, "unauthorized") == await refused(url, additional_headers={"Authorization": "Bearer nk_x"})
    operator = {"Authorization": f"Bearer {world.secrets['', Role.OPERATOR]}"}
    assert (422, "invalid_input") == await refused(url, additional_headers=operator)


async def test_another_tenant_hears_nothing(kit, served, world):
    """An inbox with the same id is another one."""
    foreign = world.headers(GLOBEX, Role.TENANT_ADMIN)
    async with connect(f"{served}/v1/inbox/{ADA}/stream?cursor=0", additional_headers=foreign) as socket:
        assert {"unseen": 0, "unread": 0} == (await told(socket))["data"]["counts"]
        await kit.inbox(ADA, tenant=ACME).mark_all("read")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await socket.recv()


async def test_persons_follow_their_own_inbox_only(kit, world):
    """With the session of the host, of pages that may use it."""
    app = create_app(kit, recipient=lambda _: EndUser(tenant=ACME, recipient_id=ADA), origins=[SITE])
    async with here(app) as url:
        own, foreign, deliveries = (
            url.replace("http", "ws") + path
            for path in (f"/v1/inbox/{ADA}/stream", f"/v1/inbox/{BOB}/stream", "/v1/deliveries/stream")
        )
        for origin in (SITE, Origin(url), None):
            async with connect(own, origin=origin) as socket:
                assert "counts" == (await told(socket))["event"]
        assert (404, "not_found") == await refused(foreign, origin=SITE)
        assert (404, "not_found") == await refused(deliveries, origin=SITE)
        for other in ("https://other.example", "http://shop.example", "null", f"{SITE}.other.example"):
            assert (403, "forbidden") == await refused(own, origin=Origin(other))


async def test_a_client_that_speaks_is_let_go(served, headers):
    """Nothing is expected of clients, and nothing of what they send is kept."""
    async with connect(f"{served}/v1/inbox/{ADA}/stream", additional_headers=headers) as socket:
        await told(socket)
        await socket.send("x")
        await ended(socket)


async def test_a_client_that_does_not_read_is_let_go(kit, served, headers, monkeypatch):
    """Others go on, and the server keeps nothing for it."""
    monkeypatch.setattr(stream, "PATIENCE", 0.2)
    url = f"{served}/v1/inbox/{ADA}/stream"
    options = {"additional_headers": headers, "max_size": None, "compression": None}
    async with connect(url, **options, max_queue=1, close_timeout=0.1) as slow, connect(url, **options) as quick:
        slow.transport.pause_reading()
        async with asyncio.timeout(30):
            while len([task for task in asyncio.all_tasks() if task.get_name() == "notifykit-stream"]) == 2:
                item = make_inbox_item(ADA, tenant=ACME, body="x" * 500_000, at=kit.clock.now())
                await kit.store.inbox_put([item])
                while item.id not in str(await told(quick)):
                    pass


async def test_streams_end_so_that_credentials_are_looked_at_again(served, headers, monkeypatch):
    """The client is told to come back, and has its place."""
    monkeypatch.setattr(stream, "LIFE", 0.05)
    monkeypatch.setattr(stream, "HEARTBEAT", 0.02)
    async with connect(f"{served}/v1/inbox/{ADA}/stream", additional_headers=headers) as socket:
        heard = [await told(socket), await told(socket)]
        code = await ended(socket)

    assert ["counts", "heartbeat"] == [each["event"] for each in heard]
    assert 1012 == code


class TestActivity:
    @pytest.fixture(autouse=True)
    def quickly(self, monkeypatch):
        monkeypatch.setattr(activity, "EVERY", 0.02)

    async def test_what_happens_to_deliveries_is_told(self, kit, served, headers, world):
        """To those who watch the tenant; one that comes back to this process gets what it missed."""
        url = f"{served}/v1/deliveries/stream"
        async with connect(url, additional_headers=headers) as socket:
            begun = await told(socket)
            await kit.deliveries.redrive(world.ids["delivery_id"], tenant=ACME)
            await kit.deliveries.cancel(world.ids["delivery_id"], tenant=ACME)
            heard = await told(socket)
        async with connect(f"{url}?cursor={begun['id']}", additional_headers=headers) as socket:
            again = await told(socket)
        other = world.headers(GLOBEX, Role.VIEWER)
        async with connect(url, additional_headers=other) as socket:
            foreign = await told(socket)

        assert ["reset", "activity", "reset"] == [each["event"] for each in (begun, heard, foreign)]
        assert (world.ids["delivery_id"], "cancelled", None) == (
            heard["data"]["delivery"]["id"],
            heard["data"]["delivery"]["state"],
            heard["data"]["attempt"],
        )
        assert heard == again

    async def test_a_place_that_is_not_known_here_is_answered_with_a_reset(self, served, headers):
        """As after a restart, or by another process: the client lists the deliveries again."""
        url = f"{served}/v1/deliveries/stream?cursor=0123456789ab-7"
        async with connect(url, additional_headers=headers) as socket:
            assert "reset" == (await told(socket))["event"]
        assert (422, "invalid_input") == await refused(f"{url}x", additional_headers=headers)

    async def test_too_much_at_once_is_answered_with_a_reset(self, kit, served, headers, world, monkeypatch):
        """Rather than with some of it."""
        url = f"{served}/v1/deliveries/stream"
        async with connect(url, additional_headers=headers) as socket:
            await told(socket)
            monkeypatch.setattr("notifykit.admin.changes.MOST", 1)
            heard = await told(socket)

        assert "reset" == heard["event"]

    async def test_streams_end_with_the_store(self, kit, served, headers):
        """The client comes back, and the deliveries are followed anew."""
        url = f"{served}/v1/deliveries/stream"
        async with connect(url, additional_headers=headers) as socket:
            await told(socket)
            await kit.aclose()
            await ended(socket)
        await kit.open()
