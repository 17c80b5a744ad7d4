"""Memory under a backlog: ``python -m benchmarks.pending --events 1000000``.

Fills a PostgreSQL outbox with copies of one published event, lets a worker deliver
for a while, and prints its memory beside that of a worker with a short backlog.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import time
from pathlib import Path

import asyncpg

from notifykit import Event, Notifykit
from notifykit.testing.servers import free_port

from .deliver import prepare, role, store
from .receiver import Receiver
from .roles import TENANT, payload

_COPY = """
WITH one AS (SELECT * FROM notifykit_events LIMIT 1), made AS (
  INSERT INTO notifykit_events (tenant, id, type, version, occurred_at, published_at, due_at, priority, body)
  SELECT tenant, 'evt_' || lpad(n::text, 26, '0'), type, version, occurred_at, published_at, due_at, priority, body
  FROM one, generate_series(1, $1::int) n RETURNING id, tenant, priority, due_at
)
INSERT INTO notifykit_outbox (event_id, tenant, priority, due_at) SELECT id, tenant, priority, due_at FROM made
"""


async def fill(url: str, events: int) -> None:
    """Make the backlog."""
    async with Notifykit(url) as kit:
        await kit.apublish(Event(type="order.t0", data=payload(1000, 0)), tenant=TENANT)
    connection = await asyncpg.connect(url)
    await connection.execute(_COPY, events, timeout=600)
    await connection.close()


def resident(pid: int) -> float:
    """Return a process's resident memory in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 2**20


def measure(events: int, seconds: float) -> tuple[float, int]:
    """Return the most memory a worker had in MB, and how many it delivered."""
    with store("postgres") as url, Receiver(free_port()) as receiver:
        asyncio.run(prepare(url, receiver.port, 1, 1))
        asyncio.run(fill(url, events))
        worker = role("worker", url)
        most = 0.0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.2)
            most = max(most, resident(worker.pid))
        done = receiver.count()
        worker.send_signal(signal.SIGTERM)
        worker.communicate()
    return most, done


def main() -> None:
    """Print memory with a short and with a long backlog."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pending", description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=15)
    args = parser.parse_args()
    for events in (min(10_000, args.events), args.events):
        most, done = measure(events, args.seconds)
        print(
            f"{events:>9,} pending: worker at most {most:.0f} MB, {done:,} delivered in {args.seconds:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
