"""What publishing over the REST API costs: ``python -m benchmarks.rest``.

One server process without a dispatcher, and this process as the load: connections that are kept open, and requests of
about 1 kB.  Closed loop for the rate; for the times an open loop of 200 requests a second, where a late answer does not
delay the next request.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from notifykit import Notifykit

from .payloads import order
from .stores import STORES, store

TENANT = "bench"
_CONNECTIONS = 64
_RATE = 200


class Served(NamedTuple):
    port: int
    secret: str
    pid: int

    def cpu(self) -> float:
        """Return how many seconds of processor time the server has used; only Linux tells."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def served(url: str, *, role: str = "producer") -> Iterator[Served]:
    """Serve the API over a store while the block runs."""

    async def key() -> str:
        async with Notifykit(url, create=True) as kit:
            return (await kit.api_keys.create(tenant=TENANT, role=role)).secret

    secret = asyncio.run(key())
    command = [sys.executable, "-m", "notifykit", "serve", "--no-dispatch", "--port", "0", "--json"]
    environment = {**os.environ, "NOTIFYKIT_URL": url}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            yield Served(int(ready["api"].rpartition(":")[2]), secret, process.pid)
        finally:
            process.terminate()


class _Connection:
    """A connection that sends the same request again and again."""

    def __init__(self, on: Served) -> None:
        body = json.dumps({"type": "order.shipped", "data": order(1000, 0)}).encode()
        self._request = (
            b"POST /v1/events HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer %s\r\nContent-Length: %d\r\n\r\n" % (on.secret.encode(), len(body))
        ) + body
        self._port = on.port

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def send(self) -> float:
        """Send the request once; return how long its answer took."""
        began = time.perf_counter()
        self._writer.write(self._request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 202"):
            raise RuntimeError(f"the answer is {head[:200]!r}")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        await self._reader.readexactly(int(length))
        return time.perf_counter() - began


async def rate(on: Served, seconds: float) -> float:
    """Return how many events a second are published over all connections, as fast as they are answered."""
    connections = [_Connection(on) for _ in range(_CONNECTIONS)]
    await asyncio.gather(*(each.open() for each in connections))
    end = time.perf_counter() + seconds
    count = 0

    async def work(connection: _Connection) -> None:
        nonlocal count
        while time.perf_counter() < end:
            await connection.send()
            count += 1

    await asyncio.gather(*map(work, connections))
    return count / seconds


async def times(on: Served, seconds: float) -> Sequence[float]:
    """Return how long the answers took, at 200 requests a second."""
    connections = [_Connection(on) for _ in range(_CONNECTIONS)]
    await asyncio.gather(*(each.open() for each in connections))
    free = asyncio.Queue[_Connection]()
    for each in connections:
        free.put_nowait(each)
    took: list[float] = []

    async def one(due: float) -> None:
        connection = await free.get()
        await connection.send()
        free.put_nowait(connection)
        took.append(time.perf_counter() - due)

    began = time.perf_counter()
    requests = []
    for at in range(int(seconds * _RATE)):
        due = began + at / _RATE
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        requests.append(asyncio.create_task(one(due)))
    await asyncio.gather(*requests)
    return sorted(took)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rest", description=__doc__)
    parser.add_argument("--stores", default="sqlite,postgres", help="separated by commas")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    args = parser.parse_args()
    for kind in args.stores.split(","):
        with store(kind) as url, served(url) as on:
            asyncio.run(rate(on, 1))
            before = on.cpu()
            each_second = asyncio.run(rate(on, args.seconds))
            cost = (on.cpu() - before) / (each_second * args.seconds) * 1e6
            took = asyncio.run(times(on, args.seconds))
        p50, p99 = took[len(took) // 2] * 1e3, took[len(took) * 99 // 100] * 1e3
        told = f"{each_second:,.0f} events/s, {cost:.0f} µs of the server's processor each"
        told += f"; at {_RATE}/s p50 {p50:.1f} ms, p99 {p99:.1f} ms"
        print(f"{STORES[kind]}: {told}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
