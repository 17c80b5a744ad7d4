"""A shortage of this process counts against no receiver: files, memory, ports, connections."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import sys
import threading
from datetime import timedelta
from typing import Any

import pytest

from notifykit.channels.webhook import Guard, Limits, SystemResolver, WebhookChannel, Wire, WireError, lookups
from notifykit.channels.webhook.shortage import shortage
from notifykit.models.outcome import Transient, Unsent

from .receivers import NOW, Exchange, Receiver, always_ok, local_guard, make_claim, make_destination

pytestmark = pytest.mark.in_turn

starving = pytest.mark.skipif(sys.platform == "win32", reason="there is no limit of open files")


async def starve(case: str, transport: str, loop: str) -> Any:
    """Run a case in a process with few files, against a receiver in this one; return what it prints."""
    pytest.importorskip(loop, reason=f"needs {loop}")
    untraced = {name: value for name, value in os.environ.items() if not name.startswith("COV")}  # a trace opens files
    async with Receiver(always_ok, address="0.0.0.0") as receiver:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.unit.channels.starved",
            case,
            transport,
            loop,
            str(receiver.port),
            env=untraced,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        printed, errors = await child.communicate()
    assert 0 == child.returncode, errors.decode()
    return json.loads(printed)


@starving
@pytest.mark.parametrize(
    ("case", "transport", "loop"),
    [
        ("within", "wire", "asyncio"),
        ("within", "wire", "uvloop"),
        ("within", "httpx", "asyncio"),
        ("beyond", "wire", "asyncio"),
        ("beyond", "wire", "uvloop"),
    ],
)
async def test_more_receivers_than_files_are_all_served(case, transport, loop):
    """Connections count until they are really closed, and where files are short one is waited for: nothing fails."""
    assert {"Accepted:": 360} == await starve(case, transport, loop)


@starving
async def test_a_lookup_without_a_file_is_no_failure_of_the_name():
    """A resolver that cannot open a file does not report that; the guard detects it."""
    assert ["no_files", True] == await starve("lookup", "wire", "asyncio")


@starving
async def test_tls_settings_are_not_made_without_a_file():
    """Settings that could not read the authorities' certificates would fail every receiver from then on."""
    assert ["no_files", True] == await starve("trust", "wire", "asyncio")


@starving
@pytest.mark.parametrize(("transport", "loop"), [("wire", "asyncio"), ("httpx", "uvloop")])
async def test_a_dispatcher_without_files_uses_up_no_attempts(transport, loop):
    """Without files it pauses and reports it; then all arrive at the first attempt, and no endpoint fails."""
    found = await starve("dispatch", transport, loop)

    assert {"states": {"delivered": 120}, "attempts": {"1": 120}, "failing": 0, "paused": ["no_files"]} == found


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errno.EMFILE, "no_files"),
        (errno.ENFILE, "no_files"),
        (errno.ENOMEM, "no_memory"),
        (errno.ENOBUFS, "no_memory"),
        (errno.EADDRNOTAVAIL, "no_ports"),
        (errno.ECONNREFUSED, None),
        (errno.ENETUNREACH, None),
        (errno.EHOSTUNREACH, None),
        (errno.ETIMEDOUT, None),
        (None, None),
    ],
)
def test_shortages_are_named(code, expected):
    """Only shortages of this process are named as such."""
    error = OSError() if code is None else OSError(code, "no")

    assert expected == shortage(error, "127.0.0.1", 80)


def test_a_host_without_a_source_address_lacks_no_ports(monkeypatch):
    """Without IPv6 the error of an IPv6 connect is the same as without ports; it is about the address."""

    def connect(self: socket.socket, address: Any) -> None:
        raise OSError(errno.EADDRNOTAVAIL, "no address to send from")

    monkeypatch.setattr(socket.socket, "connect", connect)

    assert shortage(OSError(errno.EADDRNOTAVAIL, "no"), "127.0.0.1", 80) is None


@pytest.mark.parametrize("transport", ["wire", "httpx"])
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errno.EMFILE, Unsent(reason="no_files", pauses=True)),
        (errno.ENOBUFS, Unsent(reason="no_memory", pauses=True)),
        (errno.EADDRNOTAVAIL, Unsent(reason="no_ports")),
        (errno.ECONNREFUSED, Transient(reason="connect_failed")),
    ],
)
async def test_a_failed_connect_is_blamed_on_the_right_side(monkeypatch, transport, code, expected):
    """The kernel's error decides whether the receiver failed or was never reached."""

    async def create_connection(*_: Any, **__: Any) -> None:
        raise OSError(code, "no")

    channel = WebhookChannel(guard=local_guard(), transport=transport)
    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", create_connection)

    assert expected == await channel.send(make_claim(), make_destination("http://127.0.0.1:9999/"), now=NOW)
    await channel.aclose()


async def test_waiting_for_room_leaves_the_receiver_its_time():
    """An attempt gives up waiting at half of its deadline: it is not counted as a timeout of the receiver."""

    async def script(exchange: Exchange) -> None:
        await exchange.request()
        await exchange.reader.read()

    wire = Wire(local_guard(), limits=Limits(connections=1))
    loop = asyncio.get_running_loop()
    async with Receiver(script) as receiver:
        target = local_guard().parse(receiver.url)
        request = b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n"
        first = asyncio.create_task(wire.post(target, request, b"", timeout=30))
        async with asyncio.timeout(5):
            while not receiver.requests:
                await asyncio.sleep(0.005)
        started = loop.time()
        with pytest.raises(WireError) as caught:
            await wire.post(target, request, b"", timeout=60 * 0.01)

        assert ("connection_limit", True) == (caught.value.reason, caught.value.own)
        assert loop.time() - started >= 0.29
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await wire.aclose()


@pytest.mark.parametrize("transport", ["wire", "httpx"])
async def test_an_attempt_whose_name_could_not_be_looked_up_was_not_made(monkeypatch, transport):
    """Names that hang may take every thread: the endpoints of later names are not at fault."""
    monkeypatch.setattr(lookups, "QUICK", 0)
    channel = WebhookChannel(guard=Guard(resolver=SystemResolver()), transport=transport)
    destination = make_destination("https://hooks.example.com/", timeout=timedelta(seconds=1))

    assert Unsent(reason="lookup_limit") == await channel.send(make_claim(), destination, now=NOW)
    await channel.aclose()


async def test_a_lookup_that_gets_no_thread_is_no_failure_of_the_name(monkeypatch):
    """A process that can start no thread has looked nothing up."""

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    guard = Guard(resolver=SystemResolver())
    monkeypatch.setattr(threading.Thread, "start", start)

    with pytest.raises(WireError) as caught:
        await guard.vet("hooks.example.com", 443)
    assert ("no_memory", True) == (caught.value.reason, caught.value.own)
