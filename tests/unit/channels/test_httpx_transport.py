"""The transport over httpx's engine: the same guard, a proxy, HTTP/2, and respx."""

from __future__ import annotations

import asyncio
import socket
import ssl

import httpx
import pytest
import respx
import trustme

from notifykit.channels.webhook import Guard, Limits, WebhookChannel, WireError
from notifykit.channels.webhook.httpx_network import Backend, TlsError
from notifykit.channels.webhook.httpx_transport import HttpxTransport
from notifykit.errors import ConfigurationError
from notifykit.models.outcome import Accepted, BadRecipient, Permanent, Throttled, Transient

from .receivers import (
    NOW,
    OK,
    PUBLIC,
    Exchange,
    FixedResolver,
    Receiver,
    always_ok,
    local_guard,
    make_claim,
    make_destination,
)


@pytest.fixture
async def transport():
    transport = HttpxTransport(local_guard(), body_cap=1024)
    yield transport
    await transport.aclose()
    await asyncio.sleep(0)


async def post(transport: HttpxTransport, receiver: Receiver, body: bytes = b"{}", timeout: float = 5.0):
    head = b"POST /hook HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: %d\r\n\r\n" % len(body)
    return await transport.post(local_guard().parse(receiver.url), head, body, timeout=timeout)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (httpx.Response(204), Accepted),
        (httpx.Response(410, text="gone"), BadRecipient),
        (httpx.Response(429, headers={"retry-after": "3"}), Throttled),
        (httpx.Response(302, headers={"location": "https://other.test/"}), Transient),
    ],
)
async def test_respx_stands_in_for_receivers(answer, expected):
    """Applications test their deliveries with respx; the signed request is what the mock sees."""
    channel = WebhookChannel(transport="httpx")
    with respx.mock(assert_all_called=True) as mock:
        route = mock.post("https://hooks.example.com/in?a=b").mock(return_value=answer)
        outcome = await channel.send(
            make_claim(b'{"a":1}'), make_destination("https://hooks.example.com/in?a=b"), now=NOW
        )
    await channel.aclose()

    request = route.calls.last.request
    assert expected is type(outcome)
    assert b'{"a":1}' == request.content
    assert "evt_01JABCDEFGHJKMNPQRSTVWXYZA" == request.headers["webhook-id"]
    assert request.headers["webhook-signature"].startswith("v1,")


async def test_connections_are_kept(transport):
    """Requests in a row share one connection."""
    async with Receiver(always_ok) as receiver:
        for _ in range(3):
            await post(transport, receiver)

        assert (1, 3) == (receiver.connections, len(receiver.requests))


async def test_many_requests_at_a_time_are_spread_over_small_pools(transport):
    """A single pool of httpcore takes ten milliseconds a request when it holds hundreds of them."""
    gate, together = asyncio.Event(), 100

    async def script(exchange: Exchange) -> None:
        await exchange.request()
        await gate.wait()
        await exchange.send(OK)
        await always_ok(exchange)

    async with Receiver(script) as receiver:
        posts = [asyncio.create_task(post(transport, receiver)) for _ in range(together)]
        async with asyncio.timeout(10):
            while len(receiver.requests) < together:
                await asyncio.sleep(0.01)
        held = [len(pool.engine.connections) for pool in transport._pools]
        gate.set()
        await asyncio.gather(*posts)
        await post(transport, receiver)

        assert (together, 8) == (sum(held), max(held))
        assert together == receiver.connections
        assert not any(pool.under_way for pool in transport._pools)


async def test_a_connection_closed_while_idle_costs_one_immediate_retry(transport):
    """The receiver closes as the second request arrives: the same attempt succeeds over a fresh connection."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(OK)
        if exchange.number == 1:
            await exchange.reader.read(1)
            return
        await always_ok(exchange)

    async with Receiver(script) as receiver:
        await post(transport, receiver)
        response = await post(transport, receiver)

        assert (204, 2) == (response.status, receiver.connections)


async def test_a_fresh_connection_is_not_retried(transport):
    """A receiver that always closes sees exactly one request per attempt."""

    async def script(exchange: Exchange) -> None:
        await exchange.request()

    async with Receiver(script) as receiver:
        with pytest.raises(WireError) as caught:
            await post(transport, receiver)

        assert ("closed_early", True) == (caught.value.reason, caught.value.uncertain)
        assert 1 == receiver.connections


async def test_the_next_address_is_tried_when_one_refuses():
    """Two addresses, no server on the first: the delivery goes to the second."""
    guard = Guard(
        allow=["127.0.0.0/8"],
        allow_http=True,
        resolver=FixedResolver({"hook.test": ["127.0.0.2", "127.0.0.1"]}),
    )
    channel = WebhookChannel(guard=guard, transport="httpx")
    async with Receiver(always_ok) as receiver:
        outcome = await channel.send(make_claim(), make_destination(f"http://hook.test:{receiver.port}/"), now=NOW)
        await channel.aclose()

        assert Accepted is type(outcome)


async def test_a_refused_connection_is_reported(transport):
    """No server listens: ``connect_failed``."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        target = local_guard().parse(f"http://127.0.0.1:{unused.getsockname()[1]}/")
        with pytest.raises(WireError) as caught:
            await transport.post(target, b"POST / HTTP/1.1\r\nhost: a\r\n\r\n", b"", timeout=2)

    assert ("connect_failed", False) == (caught.value.reason, caught.value.uncertain)


async def test_a_proxy_carries_what_the_guard_lets_out():
    """The proxy resolves names; addresses and forbidden names never reach it."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(OK)

    guard = Guard(allow_http=True, resolver=FixedResolver({}))
    async with Receiver(script) as proxy:
        transport = HttpxTransport(guard, proxy=f"http://127.0.0.1:{proxy.port}")
        channel = WebhookChannel(guard=guard, transport=transport)
        accepted = await channel.send(make_claim(), make_destination("http://hook.test/x"), now=NOW)
        refused = await channel.send(make_claim(), make_destination("http://10.0.0.1/x"), now=NOW)
        await channel.aclose()

        assert Accepted is type(accepted)
        assert Permanent(reason="blocked_private") == refused
        assert [b"POST http://hook.test/x HTTP/1.1"] == [head.split(b"\r\n")[0] for head, _ in proxy.requests]


@pytest.mark.parametrize("answer", [b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", b""])
async def test_a_proxy_that_refuses_is_no_failure_of_the_receiver(answer):
    """Trouble with the proxy has a reason of its own."""

    async def script(exchange: Exchange) -> None:
        await exchange.reader.readuntil(b"\r\n\r\n")
        await exchange.send(answer)

    guard = Guard(resolver=FixedResolver({}))
    async with Receiver(script) as proxy:
        transport = HttpxTransport(guard, proxy=f"http://127.0.0.1:{proxy.port}")
        channel = WebhookChannel(guard=guard, transport=transport)
        outcome = await channel.send(make_claim(), make_destination("https://hook.test/x"), now=NOW)
        await channel.aclose()

    assert Transient(reason="proxy_failed") == outcome


@pytest.mark.parametrize("proxy", ["socks5://p.test:1", "p.test", "http://"])
def test_a_wrong_proxy_is_a_configuration_error(proxy):
    """Only HTTP proxies are known."""
    with pytest.raises(ConfigurationError, match="proxy"):
        HttpxTransport(Guard(), proxy=proxy)


@pytest.mark.parametrize("proxy_scheme", ["http", "https"])
async def test_an_encrypted_request_passes_through_a_proxy(proxy_scheme):
    """The proxy opens a tunnel, encrypted or not, and the request to the receiver goes through it."""
    authority = trustme.CA()
    server_tls, proxy_tls, tls = (
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        ssl.create_default_context(),
    )
    authority.issue_cert("hook.test").configure_cert(server_tls)
    authority.issue_cert("127.0.0.1").configure_cert(proxy_tls)
    authority.configure_trust(tls)
    asked = []

    async def tunnel(exchange: Exchange) -> None:
        asked.append((await exchange.reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", receiver.port)
        await exchange.send(b"HTTP/1.1 200 Connection established\r\n\r\n")

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()

        try:
            await asyncio.gather(pump(exchange.reader, writer), pump(reader, exchange.writer))
        finally:
            writer.transport.abort()

    guard = Guard(resolver=FixedResolver({}))
    async with (
        Receiver(always_ok, tls=server_tls) as receiver,
        Receiver(tunnel, tls=proxy_tls if proxy_scheme == "https" else None) as proxy,
    ):
        transport = HttpxTransport(guard, proxy=f"{proxy_scheme}://127.0.0.1:{proxy.port}", tls=tls)
        if proxy_scheme == "https":
            for pool in transport._pools:
                vars(pool.engine)["_proxy_ssl_context"] = tls  # by default the system's authorities
        channel = WebhookChannel(guard=guard, transport=transport)
        outcomes = [
            await channel.send(make_claim(), make_destination("https://hook.test/x"), now=NOW) for _ in range(2)
        ]
        await channel.aclose()

        assert [Accepted] * 2 == [type(outcome) for outcome in outcomes]
        assert [b"CONNECT hook.test:443 HTTP/1.1"] == asked
        assert 2 == len(receiver.requests)


async def test_a_half_request_with_no_answer_was_not_accepted(transport):
    """A receiver that resets in the middle of a large body sent no answer, and surely accepted nothing."""

    async def script(exchange: Exchange) -> None:
        await exchange.reader.readuntil(b"\r\n\r\n")
        exchange.reset()

    async with Receiver(script) as receiver:
        with pytest.raises(WireError) as caught:
            await post(transport, receiver, b"x" * (8 << 20))

        assert ("reset", False) == (caught.value.reason, caught.value.uncertain)


async def test_no_room_in_the_pool_is_no_fault_of_the_receiver():
    """An attempt that waits for a connection until its deadline has a reason that does not blame the receiver."""

    async def script(exchange: Exchange) -> None:
        await exchange.request()
        await exchange.reader.read()

    transport = HttpxTransport(local_guard(), limits=Limits(connections=1))
    async with Receiver(script) as receiver:
        first = asyncio.create_task(post(transport, receiver, timeout=30))
        async with asyncio.timeout(5):
            while not receiver.requests:
                await asyncio.sleep(0.005)
        with pytest.raises(WireError) as caught:
            await post(transport, receiver, timeout=0.1)

        assert ("connection_limit", True) == (caught.value.reason, caught.value.own)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await transport.aclose()


async def test_bytes_before_the_handshake_are_refused():
    """A receiver that sends bytes in the clear before the TLS handshake is refused."""
    spoken = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.send(OK)
        spoken.set()
        await exchange.reader.read()

    async with Receiver(script) as receiver:
        stream = await Backend(local_guard(), 1024).connect_tcp("127.0.0.1", receiver.port)
        await spoken.wait()
        async with asyncio.timeout(5):
            while not stream.get_extra_info("is_readable"):
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.01)

        with pytest.raises(TlsError):
            await stream.start_tls(ssl.create_default_context(), "hook.test")


async def test_the_guard_decides_inside_the_backend():
    """A name that points inwards is refused as it is dialled, with nothing connected."""
    guard = Guard(resolver=FixedResolver({"hook.test": [[PUBLIC, "127.0.0.1"]]}))
    channel = WebhookChannel(guard=guard, transport="httpx")

    assert Permanent(reason="blocked_loopback") == await channel.send(
        make_claim(), make_destination("https://hook.test/"), now=NOW
    )
    await channel.aclose()


async def test_http2_is_spoken_when_asked_for():
    """With ``http2=True`` requests to a receiver that offers it use HTTP/2."""
    pytest.importorskip("h2", reason="needs h2")
    from h2.config import H2Configuration
    from h2.connection import H2Connection
    from h2.events import RequestReceived, StreamEnded

    authority = trustme.CA()
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("hook.test").configure_cert(server_tls)
    server_tls.set_alpn_protocols(["h2"])
    tls = ssl.create_default_context()
    authority.configure_trust(tls)
    seen = []

    async def script(exchange: Exchange) -> None:
        connection = H2Connection(H2Configuration(client_side=False))
        connection.initiate_connection()
        await exchange.send(connection.data_to_send())
        while data := await exchange.reader.read(65536):
            for event in connection.receive_data(data):
                if isinstance(event, RequestReceived):
                    seen.append(dict(event.headers))
                if isinstance(event, StreamEnded):
                    connection.send_headers(event.stream_id, [(":status", "202")], end_stream=True)
            await exchange.send(connection.data_to_send())

    guard = Guard(allow=["127.0.0.0/8"], resolver=FixedResolver({"hook.test": ["127.0.0.1"]}))
    async with Receiver(script, tls=server_tls) as receiver:
        channel = WebhookChannel(guard=guard, transport=HttpxTransport(guard, http2=True, tls=tls))
        outcome = await channel.send(make_claim(), make_destination(f"https://hook.test:{receiver.port}/a"), now=NOW)
        await channel.aclose()

        assert (Accepted, 202) == (type(outcome), outcome.answer.status)
        headers = {bytes(name): bytes(value) for name, value in ((_b(k), _b(v)) for k, v in seen[0].items())}
        assert (b"/a", b"POST") == (headers[b":path"], headers[b":method"])
        assert b"evt_01JABCDEFGHJKMNPQRSTVWXYZA" == headers[b"webhook-id"]


def _b(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()
