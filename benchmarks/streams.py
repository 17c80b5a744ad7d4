"""What thousands of open streams cost one server: ``python -m benchmarks.streams``.

One server process, and this process as the clients: each stream has a socket of its own.  Each person has several
devices; a mark over the API is done when every device of that person has been told.  The memory of a stream is what the
server's resident memory grows by, divided by the streams.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

from notifykit import Notifykit
from notifykit.cli.serving import open_many_files, run_fast
from notifykit.testing import make_inbox_item

from .rest import TENANT, Served, served
from .stores import STORES, store

_OPENING = 100
#: First bytes of frames of a WebSocket, and the bit of frames that are masked, here with zeros.
_PING, _PONG, _MASKED = 0x89, 0x8A, 0x80
#: Stands in the place of a length that the two bytes after it have.
_LONG = 126


class _Device(asyncio.Protocol):
    """A socket with a stream; it tells when an event with changes has come."""

    def __init__(self, told: Callable[[], None], *, is_socket: bool) -> None:
        self._told = told
        self._is_socket = is_socket
        self._rest = b""
        self._begins = b""
        self.opened = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        if not self.opened.done():
            self._begins += data
            if not self._begins.startswith((b"HTTP/1.1 200", b"HTTP/1.1 101"[: len(self._begins)])):
                self.opened.set_exception(RuntimeError(f"the answer is {self._begins[:300]!r}"))
            elif b"counts" in self._begins:
                self.opened.set_result(None)
                self._begins = b""
        elif not self._is_socket:
            self._hear(data)
        else:
            self._rest += data
            while (frame := _frame(self._rest)) is not None:
                kind, payload, self._rest = frame
                if kind == _PING:
                    self._transport.write(bytes((_PONG, _MASKED | len(payload))) + bytes(4) + payload)
                self._hear(payload)

    def _hear(self, data: bytes) -> None:
        if b"is_reset" in data:
            self._told()


def _frame(data: bytes) -> tuple[int, bytes, bytes] | None:
    """Return the first frame of what a WebSocket's server has sent: its kind, its payload, and what follows."""
    if len(data) < 4:
        return None
    length, begin = (int.from_bytes(data[2:4], "big"), 4) if data[1] == _LONG else (data[1], 2)
    end = begin + length
    return None if len(data) < end else (data[0], data[begin:end], data[end:])


def _request(on: Served, person: str, *, socket: bool) -> bytes:
    fields = f"GET /v1/inbox/{person}/stream HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {on.secret}\r\n"
    if socket:
        key = base64.b64encode(os.urandom(16)).decode()
        fields += "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        fields += f"Sec-WebSocket-Key: {key}\r\n"
    return (fields + "\r\n").encode()


class _Person:
    """A person with some devices; a mark is timed until all of them have been told."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.devices = 0
        self._left = 0
        self._all = asyncio.Event()

    def told(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._all.set()

    async def time_mark(self, on: Served, connection: tuple[asyncio.StreamReader, asyncio.StreamWriter]) -> float:
        """Change the mark of every item, and return how long it took to reach each device."""
        self._left, self._all = self.devices, asyncio.Event()
        reader, writer = connection
        began = time.perf_counter()
        for mark in ("read", "unread"):
            body = json.dumps({"mark": mark}).encode()
            writer.write(
                f"POST /v1/inbox/{self.name}/marks HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
                f"Authorization: Bearer {on.secret}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            if b'"count":1' in await reader.readexactly(int(length)):
                break
            began = time.perf_counter()
        async with asyncio.timeout(30):
            await self._all.wait()
        return time.perf_counter() - began


def _resident_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


async def _fill(url: str, persons: int) -> None:
    async with Notifykit(url, create=True) as kit:
        for first in range(0, persons, 100):
            items = [make_inbox_item(f"user:{n}", tenant=TENANT) for n in range(first, min(first + 100, persons))]
            await kit.store.inbox_put(items)  # type: ignore[attr-defined]


async def _measure(on: Served, args: argparse.Namespace) -> str:
    loop = asyncio.get_running_loop()
    persons = [_Person(f"user:{n}") for n in range(args.streams // args.devices)]
    connection = await asyncio.open_connection("127.0.0.1", on.port)
    gate = asyncio.Semaphore(_OPENING)

    async def open_device(person: _Person) -> None:
        async with gate:
            transport, device = await loop.create_connection(
                lambda: _Device(person.told, is_socket=args.socket), "127.0.0.1", on.port
            )
            transport.write(_request(on, person.name, socket=args.socket))
            await device.opened
            person.devices += 1

    await open_device(persons[0])
    before, began = _resident_kb(on.pid), time.perf_counter()
    devices = [person for person in persons for _ in range(args.devices)][1:]
    await asyncio.gather(*map(open_device, devices))
    opening = time.perf_counter() - began
    await asyncio.sleep(2)
    each_kb = (_resident_kb(on.pid) - before) / len(devices)
    idle = on.cpu()
    await asyncio.sleep(3)
    idle = (on.cpu() - idle) / 3
    took, used = [], on.cpu()
    began = time.perf_counter()
    for at in range(args.marks):
        await asyncio.sleep(max(0.0, began + at / args.rate - time.perf_counter()))
        took.append(await random.choice(persons).time_mark(on, connection))
    used = (on.cpu() - used) / (time.perf_counter() - began)
    took.sort()
    return (
        f"{len(devices) + 1:,} streams opened in {opening:.1f} s, {each_kb:.1f} kB each, idle {idle * 100:.0f} % of a "
        f"processor; {args.marks} marks at {args.rate}/s ({used * 100:.0f} %) reach {args.devices} devices: "
        f"p50 {took[len(took) // 2] * 1e3:.1f} ms, p99 {took[len(took) * 99 // 100] * 1e3:.1f} ms, "
        f"most {took[-1] * 1e3:.1f} ms"
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streams", description=__doc__)
    parser.add_argument("--stores", default="sqlite,postgres", help="separated by commas")
    parser.add_argument("--streams", type=int, default=5_000)
    parser.add_argument("--devices", type=int, default=5, help="of each person")
    parser.add_argument("--marks", type=int, default=500)
    parser.add_argument("--rate", type=float, default=20.0, help="marks a second")
    parser.add_argument("--socket", action="store_true", help="WebSockets in place of server-sent events")
    args = parser.parse_args()
    open_many_files()
    for kind in args.stores.split(","):
        with store(kind) as url:
            asyncio.run(_fill(url, args.streams // args.devices))
            with served(url, role="tenant_admin") as on:
                print(f"{STORES[kind]}: {run_fast(_measure(on, args))}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
