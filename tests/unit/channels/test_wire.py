"""The wire: keep-alive, one retry on a stale connection, deadlines, limits, cancellation."""

from __future__ import annotations

import asyncio
import math
import socket
import sys
from unittest.mock import Mock

import attrs
import pytest

from notifykit.channels.webhook import Guard, Limits, Wire, WireError
from notifykit.channels.webhook.connection import Connection
from notifykit.channels.webhook.pool import Pool

from .receivers import OK, Exchange, FixedResolver, Receiver, always_ok, answering, local_guard

LOOPS = [
    pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
    pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
]


@pytest.fixture(params=LOOPS)
def anyio_backend(request):
    """Both common event loops."""
    if request.param[1]["use_uvloop"]:
        pytest.importorskip("uvloop", reason="needs uvloop")
    return request.param


@pytest.fixture
async def wire():
    wire = Wire(local_guard(), body_cap=1024)
    yield wire
    await wire.aclose()
    await asyncio.sleep(0)


def head(receiver: Receiver, length: int = 2) -> bytes:
    return b"POST /hook HTTP/1.1\r\nhost: 127.0.0.1:%d\r\ncontent-length: %d\r\n\r\n" % (receiver.port, length)


async def post(wire: Wire, receiver: Receiver, body: bytes = b"{}", timeout: float = 5.0):
    return await wire.post(local_guard().parse(receiver.url), head(receiver, len(body)), body, timeout=timeout)


def pool_of(wire: Wire) -> Pool:
    assert wire._pool is not None
    return wire._pool


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def test_sends_the_bytes_it_was_given_and_returns_the_answer(wire):
    """Head and body go out unchanged; status, headers and body come back."""
    async with Receiver(answering(b"HTTP/1.1 201 Yes\r\nX-A: b\r\nContent-Length: 3\r\n\r\nabc")) as receiver:
        response = await post(wire, receiver, b'{"a":1}')

        assert [(head(receiver, 7), b'{"a":1}')] == receiver.requests
        assert 201 == response.status
        assert (b"X-A", b"b") in response.headers
        assert b"abc" == response.body


async def test_connections_are_kept(wire):
    """Requests in a row share one connection."""
    async with Receiver(always_ok) as receiver:
        for _ in range(5):
            await post(wire, receiver)

        assert (1, 5) == (receiver.connections, len(receiver.requests))


async def test_concurrent_requests_do_not_share_a_connection(wire):
    """One connection carries one request at a time, and all are kept afterwards."""
    async with Receiver(always_ok) as receiver:
        await asyncio.gather(*[post(wire, receiver) for _ in range(8)])
        await asyncio.gather(*[post(wire, receiver) for _ in range(8)])

        assert (8, 16) == (receiver.connections, len(receiver.requests))


async def test_connection_close_is_obeyed(wire):
    """A receiver that says ``Connection: close`` gets a new connection next time."""
    async with Receiver(answering(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")) as receiver:
        await post(wire, receiver)
        await post(wire, receiver)

        assert 2 == receiver.connections


async def test_a_connection_closed_while_idle_costs_one_immediate_retry(wire):
    """The receiver closes as the second request arrives: the same attempt succeeds over a fresh connection."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(OK)
        if exchange.number == 1:
            await exchange.reader.read(1)  # the second request has begun: close without reading it
            return
        await always_ok(exchange)

    async with Receiver(script) as receiver:
        await post(wire, receiver)
        response = await post(wire, receiver)

        assert 204 == response.status
        assert (2, 2) == (receiver.connections, len(receiver.requests))


async def test_a_fresh_connection_is_not_retried(wire):
    """A receiver that always closes sees exactly one request per attempt."""

    async def script(exchange: Exchange) -> None:
        await exchange.request()

    async with Receiver(script) as receiver:
        with pytest.raises(WireError) as caught:
            await post(wire, receiver)

        assert ("closed_early", True) == (caught.value.reason, caught.value.uncertain)
        assert 1 == receiver.connections


async def test_a_reused_connection_is_not_retried_once_an_answer_began(wire):
    """After the first byte of an answer the request counts as received."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(OK)
        await exchange.answer(b"HTT")

    async with Receiver(script) as receiver:
        await post(wire, receiver)
        with pytest.raises(WireError) as caught:
            await post(wire, receiver)

        assert ("closed_early", True) == (caught.value.reason, caught.value.uncertain)
        assert 1 == receiver.connections


async def test_the_retry_happens_once(wire):
    """A receiver that closes every connection at the second request cannot make it loop."""

    async def script(exchange: Exchange) -> None:
        if exchange.number == 1:
            await exchange.answer(OK)
        await exchange.request()

    async with Receiver(script) as receiver:
        await post(wire, receiver)
        with pytest.raises(WireError) as caught:
            await post(wire, receiver)

        assert "closed_early" == caught.value.reason
        assert 2 == receiver.connections


async def test_an_unrequested_answer_is_never_taken_for_the_next_one(wire):
    """A second answer in the same packet closes the connection."""
    twice = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
    async with Receiver(answering(twice)) as receiver:
        first = await post(wire, receiver)
        second = await post(wire, receiver)

        assert [200, 200] == [first.status, second.status]
        assert 2 == receiver.connections


async def test_an_answer_like_the_last_one_is_not_parsed_again(wire):
    """The same bytes mean the same, over whatever connection; others are read."""
    taken = b"HTTP/1.1 202 Yes\r\nX-A: b\r\nContent-Length: 3\r\n\r\nabc"
    busy = b"HTTP/1.1 503 No!\r\nX-A: b\r\nContent-Length: 3\r\n\r\nabc"
    async with Receiver(answering(taken, taken, busy, taken)) as receiver:
        first, second, third, fourth = [await post(wire, receiver) for _ in range(4)]
        beside = await asyncio.gather(*[post(wire, receiver) for _ in range(2)])

    assert second is first
    assert (503, b"abc") == (third.status, third.body)
    assert (202, b"abc") == (fourth.status, fourth.body)
    assert all(answer is fourth for answer in beside)


async def test_an_answer_that_closes_is_not_taken_for_one_that_does_not(wire):
    """Only what leaves the connection open is remembered."""
    closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    async with Receiver(answering(OK, closing, closing, OK)) as receiver:
        for _ in range(4):
            await post(wire, receiver)

        assert 3 == receiver.connections


async def test_late_bytes_on_an_idle_connection_close_it(wire):
    """Bytes that arrive without a request must not be read as the answer to the next one."""
    spoken = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.answer(OK)
        if exchange.number == 1:
            await spoken.wait()
            await exchange.send(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
            await exchange.reader.read()
            return
        await always_ok(exchange)

    async with Receiver(script) as receiver:
        await post(wire, receiver)
        spoken.set()
        await until(lambda: not pool_of(wire)._open)
        response = await post(wire, receiver)

        assert (204, 2) == (response.status, receiver.connections)


async def test_bytes_that_the_loop_has_not_read_yet_are_no_answer_either(wire):
    """Unread bytes in the kernel when the next request starts are never taken for its answer."""
    loop = asyncio.get_running_loop()

    def accept() -> socket.socket:
        accepted, _ = listener.accept()
        accepted.recv(65536)
        accepted.sendall(OK)
        return accepted

    with socket.create_server(("127.0.0.1", 0)) as listener:
        target = local_guard().parse(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        for _ in range(3):
            answering = loop.run_in_executor(None, accept)
            response = await wire.post(target, b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n", b"{}", timeout=5)
            with await answering as accepted:
                # and the loop does not run in between
                accepted.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")

                assert 204 == response.status
                second = loop.run_in_executor(None, accept)
                response = await wire.post(target, b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\n", b"{}", timeout=5)
                (await second).close()

                assert 204 == response.status


async def test_tenants_share_no_connection(wire):
    """Each tenant has connections of its own to a receiver that several of them use."""
    async with Receiver(always_ok) as receiver:
        for _ in range(2):
            for tenant in ("acme", "globex"):
                target = attrs.evolve(local_guard().parse(receiver.url), tenant=tenant)
                await wire.post(target, head(receiver), b"{}", timeout=5)

        assert (2, 4) == (receiver.connections, len(receiver.requests))


async def test_the_body_is_cut_at_the_cap(wire):
    """No more than the cap is kept, and the connection is given up."""
    async with Receiver(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000)) as receiver:
        response = await post(wire, receiver)
        await post(wire, receiver)

        assert b"x" * 1024 == response.body
        assert 2 == receiver.connections


async def test_a_body_of_exactly_the_cap_keeps_the_connection(wire):
    """The cap itself is still fine."""
    async with Receiver(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n" + b"x" * 1024)) as receiver:
        response = await post(wire, receiver)
        await post(wire, receiver)

        assert b"x" * 1024 == response.body
        assert 1 == receiver.connections


async def test_interim_answers_are_skipped(wire):
    """``100 Continue`` and ``103 Early Hints`` precede the answer."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: a\r\n\r\n"
    async with Receiver(answering(interim + b"HTTP/1.1 202 Yes\r\nContent-Length: 0\r\n\r\n")) as receiver:
        response = await post(wire, receiver)

        assert (202, [(b"Content-Length", b"0")]) == (response.status, response.headers)


async def test_interim_answers_are_bounded(wire):
    """A receiver that sends only interim answers is given up after a few."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\n" * 20

    async def script(exchange: Exchange) -> None:
        await exchange.answer(interim)
        await exchange.reader.read()

    async with Receiver(script) as receiver:
        with pytest.raises(WireError) as caught:
            await post(wire, receiver)

        assert ("bad_response", False) == (caught.value.reason, caught.value.uncertain)


async def test_trailers_are_no_headers(wire):
    """What follows a chunked body is dropped."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nRetry-After: 9\r\n\r\n"
    async with Receiver(answering(chunked)) as receiver:
        response = await post(wire, receiver)
        await post(wire, receiver)

        assert (b"ok", [(b"Transfer-Encoding", b"chunked")]) == (response.body, response.headers)
        assert 1 == receiver.connections


async def test_an_answer_in_single_bytes_is_read(wire):
    """How the answer is cut into packets does not matter."""

    async def script(exchange: Exchange) -> None:
        await exchange.request()
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok":
            await exchange.send(bytes([byte]))
            await asyncio.sleep(0)

    async with Receiver(script) as receiver:
        response = await post(wire, receiver)

        assert (200, b"ok") == (response.status, response.body)


async def test_the_deadline_covers_the_wait_for_the_answer(wire):
    """A silent receiver is given up in time, and it is uncertain whether it accepted."""

    async def script(exchange: Exchange) -> None:
        await exchange.request()
        await exchange.reader.read()

    async with Receiver(script) as receiver:
        started = asyncio.get_running_loop().time()
        with pytest.raises(WireError) as caught:
            await post(wire, receiver, timeout=0.2)

        assert ("timeout", True) == (caught.value.reason, caught.value.uncertain)
        assert 0.15 <= asyncio.get_running_loop().time() - started <= 0.7


async def test_each_request_has_its_own_deadline(wire):
    """A short deadline is kept although a longer one is being watched already."""

    async def script(exchange: Exchange) -> None:
        await exchange.request()
        await exchange.reader.read()

    async with Receiver(script) as receiver:
        long = asyncio.create_task(post(wire, receiver, timeout=30))
        await until(lambda: receiver.requests)
        async with asyncio.timeout(2):
            with pytest.raises(WireError):
                await post(wire, receiver, timeout=0.1)

        assert not long.done()
        long.cancel()
        await asyncio.gather(long, return_exceptions=True)


async def test_a_request_that_was_not_sent_whole_is_not_uncertain(wire):
    """A receiver that stops reading has not accepted anything."""

    async def script(exchange: Exchange) -> None:
        exchange.stop_reading()
        await asyncio.sleep(60)

    async with Receiver(script) as receiver:
        with pytest.raises(WireError) as caught:
            await post(wire, receiver, b"x" * (32 << 20), timeout=0.3)

        assert ("timeout", False) == (caught.value.reason, caught.value.uncertain)


async def test_cancellation_closes_the_connection(wire):
    """A cancelled request leaves no connection behind, and the receiver notices."""
    gone = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.request()
        await exchange.reader.read()
        gone.set()

    async with Receiver(script) as receiver:
        task = asyncio.create_task(post(wire, receiver))
        await until(lambda: receiver.requests)
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(2):
            await gone.wait()
        await until(lambda: not pool_of(wire)._open)
        assert not pool_of(wire)._busy


@pytest.mark.interpreted
async def test_cancellation_as_the_answer_arrives_spares_the_next_request(wire, monkeypatch):
    """A connection that was reassigned in the same iteration of the loop is not closed by the cancelled task."""
    async with Receiver(always_ok) as receiver:
        await post(wire, receiver)
        pool = pool_of(wire)
        release = pool.release

        def release_and_cancel(connection):
            release(connection)
            asyncio.get_running_loop().call_soon(task.cancel)  # runs before the task is woken with its answer

        monkeypatch.setattr(pool, "release", release_and_cancel)
        task = asyncio.create_task(post(wire, receiver))
        with pytest.raises(asyncio.CancelledError):
            await task

        monkeypatch.undo()
        assert 1 == len(pool._by_age)
        assert 204 == (await post(wire, receiver)).status
        assert 1 == receiver.connections


async def test_cancellation_while_dialling_frees_the_room():
    """Attempts that are cancelled during a slow lookup do not use up the limit."""

    class Hanging:
        async def resolve(self, host, port):
            await asyncio.Event().wait()

    wire = Wire(Guard(allow=["127.0.0.0/8"], allow_http=True, resolver=Hanging()), limits=Limits(connections=1))
    slow = Guard(allow_http=True).parse("http://slow.example/")
    for _ in range(3):
        task = asyncio.create_task(wire.post(slow, b"", b"", timeout=5))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async with Receiver(always_ok) as receiver:
        assert 204 == (await post(wire, receiver, timeout=1)).status
        await wire.aclose()


async def test_the_number_of_connections_is_bounded():
    """More requests than connections wait for room, and all are served."""
    wire = Wire(local_guard(), limits=Limits(connections=3))
    at_once, most = 0, 0

    async def script(exchange: Exchange) -> None:
        nonlocal at_once, most
        while True:
            await exchange.request()
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0.005)
            at_once -= 1
            await exchange.send(OK)

    async with Receiver(script) as receiver:
        responses = await asyncio.gather(*[post(wire, receiver) for _ in range(20)])
        await wire.aclose()

        assert [204] * 20 == [response.status for response in responses]
        assert most <= 3


async def test_an_attempt_that_finds_no_room_says_so():
    """The limit is our own, so the reason is not a timeout of the receiver."""
    wire = Wire(local_guard(), limits=Limits(connections=1))

    async def script(exchange: Exchange) -> None:
        await exchange.request()
        await exchange.reader.read()

    async with Receiver(script) as receiver:
        first = asyncio.create_task(post(wire, receiver, timeout=30))
        await until(lambda: receiver.requests)
        with pytest.raises(WireError) as caught:
            await post(wire, receiver, timeout=0.1)

        assert ("connection_limit", False) == (caught.value.reason, caught.value.uncertain)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await wire.aclose()


async def test_idle_connections_give_way_to_other_origins():
    """A full pool closes an idle connection to make room for another receiver."""
    wire = Wire(local_guard(), limits=Limits(connections=1))
    async with Receiver(always_ok) as first, Receiver(always_ok) as second:
        await post(wire, first)
        await post(wire, second, timeout=1)
        await post(wire, first, timeout=1)
        await wire.aclose()

        assert (2, 1) == (first.connections, second.connections)


async def test_idle_connections_are_bounded_per_origin():
    """Of a burst only as many connections stay open as an origin may keep."""
    wire = Wire(local_guard(), limits=Limits(idle_per_origin=2))
    async with Receiver(always_ok) as receiver:
        await asyncio.gather(*[post(wire, receiver) for _ in range(10)])
        await until(lambda: len(pool_of(wire)._open) <= 2)

        assert 2 == len(pool_of(wire)._by_age)
        await wire.aclose()


async def test_of_many_origins_the_first_stay_connected():
    """A round through more receivers than idle connections finds some of them still connected, instead of none."""
    wire = Wire(local_guard(), limits=Limits(idle=2))
    async with Receiver(always_ok) as first, Receiver(always_ok) as second, Receiver(always_ok) as third:
        for _ in range(3):
            for receiver in (first, second, third):
                await post(wire, receiver)
        await wire.aclose()

        assert (1, 1, 3) == (first.connections, second.connections, third.connections)


async def test_encrypted_connections_that_wait_have_a_bound_of_their_own():
    """An encrypted connection is large: fewer of those may be idle, and they do not displace the others."""
    pool = Pool(asyncio.get_running_loop(), local_guard(), body_cap=1, tls=None, limits=Limits(idle=3, idle_tls=1))
    silent, peer = socket.socketpair()
    with silent, peer:
        waiting = [idle_connection(pool, key, silent) for key in ("https://a", "https://b", "http://c", "http://d")]

        assert [False, True, False, False] == [connection.closed for connection in waiting]
        assert waiting[0] is pool.take("https://a", 0.0)
        assert idle_connection(pool, "https://e", silent).closed is False


def idle_connection(pool: Pool, key: str, sock: socket.socket) -> Connection:
    """Return a connection that was handed back to the pool."""
    connection = Connection(pool, key, memoryview(bytearray(1)))
    connection.connection_made(Mock(get_extra_info=lambda _: sock))
    connection.retire_at = math.inf
    pool.release(connection)
    return connection


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit of open files")
@pytest.mark.parametrize(
    ("files", "connections", "idle"), [(256, 192, 144), (20_000, 15_000, 11_250), (1 << 20, 16_384, 12_288)]
)
def test_connections_leave_files_to_the_rest_of_the_process(monkeypatch, files, connections, idle):
    """By default there are as many connections as three quarters of the open files that are allowed, up to a bound."""
    monkeypatch.setattr("resource.getrlimit", lambda _: (files, 1 << 30))

    limits = Limits()

    assert (connections, idle) == (limits.connections, limits.idle)


async def test_idle_connections_are_closed_after_a_while():
    """The sweep closes unused connections, without any further request."""
    wire = Wire(local_guard(), limits=Limits(idle_for=0.1))
    async with Receiver(always_ok) as receiver:
        await post(wire, receiver, timeout=0.2)
        await until(lambda: not pool_of(wire)._open)

        assert ({}, {}) == (pool_of(wire)._by_age, pool_of(wire)._idle)
        await wire.aclose()


async def test_a_connection_retires_although_it_is_busy():
    """Names are resolved and judged anew every so often, however busy the connection."""
    wire = Wire(local_guard(), limits=Limits(max_age=0.0))
    async with Receiver(always_ok) as receiver:
        await post(wire, receiver)
        await post(wire, receiver)
        await wire.aclose()

        assert 2 == receiver.connections


async def test_the_next_address_is_tried_when_one_refuses():
    """Two addresses, no server on the first: the delivery goes to the second."""
    resolver = FixedResolver({"hook.test": ["127.0.0.2", "127.0.0.1"]})
    guard = Guard(allow=["127.0.0.0/8"], allow_http=True, resolver=resolver)
    wire = Wire(guard)
    async with Receiver(always_ok) as receiver:
        target = guard.parse(f"http://hook.test:{receiver.port}/")
        response = await wire.post(target, head(receiver), b"{}", timeout=2)
        await wire.aclose()

        assert 204 == response.status


async def test_a_refused_connection_is_reported(wire):
    """No server listens: ``connect_failed``, and certainly not accepted."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        target = local_guard().parse(f"http://127.0.0.1:{unused.getsockname()[1]}/")
        with pytest.raises(WireError) as caught:
            await wire.post(target, b"", b"", timeout=2)

    assert ("connect_failed", False) == (caught.value.reason, caught.value.uncertain)


async def test_closing_ends_running_requests(wire):
    """No request waits for ever on a wire that was closed."""

    async def script(exchange: Exchange) -> None:
        await exchange.request()
        await exchange.reader.read()

    async with Receiver(script) as receiver:
        task = asyncio.create_task(post(wire, receiver))
        await until(lambda: receiver.requests)
        await wire.aclose()

        with pytest.raises(WireError) as caught:
            await task
        assert "reset" == caught.value.reason


def test_a_wire_survives_its_event_loop():
    """A wire that is used in a second loop starts with fresh connections."""
    wire = Wire(local_guard())

    async def once() -> int:
        async with Receiver(always_ok) as receiver:
            status = (await post(wire, receiver)).status
            pool_of(wire).close()
            await asyncio.sleep(0)
            return status

    assert [204, 204] == [asyncio.run(once()), asyncio.run(once())]


@pytest.mark.interpreted
async def test_one_timer_watches_all_requests(wire, monkeypatch):
    """Warm requests set no timer of their own."""
    watched = []

    async with Receiver(always_ok) as receiver:
        await post(wire, receiver)
        monkeypatch.setattr(Pool, "watch", lambda self, deadline: watched.append(deadline))
        for _ in range(50):
            await post(wire, receiver)

        assert [] == watched
