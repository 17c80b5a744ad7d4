"""The client for vendors, beside what :class:`~notifykit.testing.ProviderSuite` shows of it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from notifykit.channels.http1 import Http1Client
from notifykit.channels.webhook.transport import WireError
from notifykit.testing import Reply, VendorServer


async def send(client: Http1Client, url: str, *, timeout: float = 5, **headers: str) -> int:
    return (await client.send("GET", url, headers, b"", timeout=timeout)).status


async def test_no_more_requests_than_connections():
    """The others wait for a connection that is open, and are served in turn."""
    with VendorServer(Reply(status=200, delay=timedelta(milliseconds=20))) as server:
        client = Http1Client(connections=2, body_cap=100)
        statuses = await asyncio.gather(*(send(client, f"{server.url}/a?b=%20c") for _ in range(8)))

        assert ([200] * 8, 2) == (statuses, server.connections)
        assert {("GET", "/a?b=%20c")} == {(request.method, request.path) for request in server.requests}
        await client.aclose()


def test_a_client_outlives_its_event_loop():
    """As in programs without one of their own, also if somebody waited when it ended."""
    with VendorServer(Reply(status=200, delay=timedelta(milliseconds=50))) as server:
        client = Http1Client(connections=1, body_cap=100)

        async def crowd() -> None:
            with pytest.raises(WireError, match="connection_limit"):
                await asyncio.gather(send(client, server.url), send(client, server.url, timeout=0.01))
            await asyncio.gather(send(client, server.url), send(client, server.url))
            await client.aclose()

        asyncio.run(crowd())
        asyncio.run(crowd())


async def test_a_header_is_one_line():
    """Nothing can be smuggled into the head of a request."""
    with VendorServer(Reply(status=200)) as server:
        client = Http1Client(connections=1, body_cap=100)
        for bad in ("a\r\nb: c", "a\nb", "a\rb"):
            with pytest.raises(ValueError, match="line break"):
                await send(client, server.url, x=bad)

        assert 200 == await send(client, server.url)
        await client.aclose()
    assert 1 == len(server.requests)


async def test_a_private_name_is_as_good_as_any():
    """The operator's URL says where requests go."""
    with VendorServer(Reply(status=200)) as server:
        client = Http1Client(connections=1, body_cap=100)

        assert 200 == await send(client, server.url.replace("127.0.0.1", "localhost"))
        await client.aclose()
