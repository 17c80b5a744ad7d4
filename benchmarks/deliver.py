"""The main job, measured end to end: publish, plan, sign, POST, record.

    python -m benchmarks.deliver --store sqlite|postgres

Starts its own PostgreSQL (fsync on), receiver, workers and producers, each in its own
process; publishes through the public API; counts completions at the receiver *and* in
the store, and checks that both agree.

Live: producers and workers run at the same time.  Drain: everything is published
before the first worker starts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from notifykit import EgressRules, Notifykit, RetryPolicy
from notifykit.testing.servers import PostgresServer, free_port

from .receiver import Receiver
from .roles import EGRESS, TENANT

_POSTGRES = {
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "wal_compression": "off",
    "autovacuum_naptime": "10s",
}


@contextmanager
def store(kind: str) -> Iterator[str]:
    """Lend the URL of a fresh store."""
    with tempfile.TemporaryDirectory(prefix="notifykit-bench-") as folder, ExitStack() as stack:
        if kind == "sqlite":
            yield f"sqlite:///{folder}/bench.db"
        else:
            given = os.environ.get("NOTIFYKIT_BENCH_POSTGRES_URL")
            yield given or stack.enter_context(PostgresServer(settings=_POSTGRES)).url


async def prepare(url: str, port: int, subscriptions: int, endpoints: int) -> None:
    """Create the tables, endpoints and subscriptions."""
    async with Notifykit(url, create=True, egress=EgressRules(**EGRESS)) as kit:  # type: ignore[arg-type]
        made = []
        for at in range(max(endpoints, subscriptions)):
            host = f"127.0.{1 + at // 250 % 250}.{1 + at % 250}" if endpoints > 1 else "127.0.0.1"
            endpoint = await kit.endpoints.create(
                f"http://{host}:{port}/hook/{at}",
                tenant=TENANT,
                max_in_flight=256,
                retry=RetryPolicy(delays=()),
            )
            made.append(endpoint.id)
        types = max(endpoints // subscriptions, 1)
        for at, endpoint_id in enumerate(made[: types * subscriptions]):
            await kit.subscriptions.create(f"order.t{at % types}", tenant=TENANT, endpoint_id=endpoint_id)


def role(*words: object) -> subprocess.Popen[str]:
    """Start a benchmark process."""
    command = [sys.executable, "-m", "benchmarks.roles", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def jiffies() -> float:
    """Return the seconds that all processors have been busy."""
    words = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    return (sum(map(int, words[:3])) + sum(map(int, words[5:7]))) / os.sysconf("SC_CLK_TCK")


async def totals(url: str) -> dict[str, int]:
    """Return what the store says it delivered."""
    from sqlalchemy import func, select

    from notifykit.stores.sql import schema as s
    from notifykit.stores.sql.store import SqlStore

    async with Notifykit(url) as kit:
        assert isinstance(kit.store, SqlStore)
        rows = await kit.store._read(
            lambda c: c.execute(select(s.deliveries.c.state, func.count()).group_by(s.deliveries.c.state)).all()
        )
        left = await kit.store._read(lambda c: c.scalar(select(func.count()).select_from(s.queue)))
    return {**dict(rows), "open": left or 0}


def run_once(args: argparse.Namespace) -> dict[str, Any]:
    """Run the job once and return its figures."""
    want = args.events * args.subscriptions
    types = max(args.endpoints // args.subscriptions, 1)
    with store(args.store) as url, Receiver(free_port(), measure=bool(args.rate)) as receiver:
        asyncio.run(prepare(url, receiver.port, args.subscriptions, args.endpoints))
        produce = [
            "producer", url, "--size", args.size, "--publishers", args.publishers, "--types", types,
            "--rate", args.rate / args.producers, "--events", args.events // args.producers,
        ]  # fmt: skip
        started = time.monotonic()
        producers = [role(*produce) for _ in range(args.producers)] if args.drain else []
        published = [json.loads(p.communicate()[0]) for p in producers]
        workers = [
            role("worker", url, "--transport", args.transport, "--options", json.dumps(args.options))
            for _ in range(args.workers)
        ]
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        time.sleep(0.3)
        cpu = jiffies()
        if not args.drain:
            producers = [role(*produce) for _ in range(args.producers)]
        base = min(want // 50, 500)
        while receiver.count() < base:
            time.sleep(0.002)
        first, first_count = time.monotonic(), receiver.count()
        done = first_count
        moved = first
        while done < want and time.monotonic() - moved < 20:
            time.sleep(0.01)
            count = receiver.count()
            if count != done:
                done, moved = count, time.monotonic()
        seconds = moved - first
        cpu = jiffies() - cpu
        if not args.drain:
            published = [json.loads(p.communicate()[0]) for p in producers]
        ages = receiver.ages() if args.rate else []
        time.sleep(0.5)
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
        costs = [json.loads(worker.communicate()[0].strip().splitlines()[-1]) for worker in workers]
        stored = asyncio.run(totals(url))
    return {
        "store": args.store,
        "rate": (done - first_count) / seconds if seconds else 0.0,
        "received": done,
        "wanted": want,
        "stored": stored,
        "agree": stored.get("delivered", 0) == done == want and stored["open"] == 0,
        "seconds": time.monotonic() - started,
        "cpu_us": cpu / done * 1e6,
        "publish_rate": sum(p["events"] for p in published) / max(p["seconds"] for p in published),
        "publish_p50_ms": max(p["p50_ms"] for p in published),
        "publish_p99_ms": max(p["p99_ms"] for p in published),
        "producer_cpu_us": sum(p["cpu"] for p in published) / sum(p["events"] for p in published) * 1e6,
        "worker_cpu_us": sum(c["cpu"] for c in costs) / done * 1e6,
        "worker_rss_mb": max(c["rss_mb"] for c in costs),
        "age_p50_ms": ages[len(ages) // 2] if ages else None,
        "age_p99_ms": ages[len(ages) * 99 // 100] if ages else None,
        "receiver": receiver.name,
    }


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deliver", description=__doc__.partition("\n")[0])
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="postgres")
    parser.add_argument("--events", type=int, default=40_000)
    parser.add_argument("--subscriptions", type=int, default=1, help="per event")
    parser.add_argument("--endpoints", type=int, default=1, help="distinct ones")
    parser.add_argument("--size", type=int, default=1000, help="bytes of an event's body, roughly")
    parser.add_argument("--producers", type=int, default=1, help="processes")
    parser.add_argument("--publishers", type=int, default=64, help="concurrent publishes in each producer")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--transport", choices=["wire", "httpx"], default="wire")
    parser.add_argument("--rate", type=float, default=0, help="events per second; measures publish to received")
    parser.add_argument("--drain", action="store_true", help="publish everything before the workers start")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--options", type=json.loads, default={}, help="dispatcher settings as JSON")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark and print its figures."""
    args = arguments(argv)
    results = []
    for _ in range(args.runs):
        result = run_once(args)
        results.append(result)
        if args.json:
            print(json.dumps(result), flush=True)
        else:
            print(_line(args, result), flush=True)
    if args.runs > 1 and not args.json:
        rates = sorted(result["rate"] for result in results)
        print(f"{args.store} median {rates[len(rates) // 2]:,.0f} deliveries/s ({rates[0]:,.0f} to {rates[-1]:,.0f})")
    return 0 if all(result["agree"] for result in results) else 1


def _line(args: argparse.Namespace, result: dict[str, Any]) -> str:
    mode = "drain" if args.drain else "live"
    ages = ""
    if result["age_p50_ms"] is not None:
        ages = f"; publish to received p50 {result['age_p50_ms']:.1f} p99 {result['age_p99_ms']:.1f} ms"
    agrees = "agrees" if result["agree"] else f"DISAGREES {result['stored']}"
    return (
        f"{args.store} {mode} {result['rate']:,.0f} deliveries/s "
        f"({result['received']:,} received, store {agrees}; "
        f"cpu {result['cpu_us']:.0f} us a delivery, of it worker {result['worker_cpu_us']:.0f}, "
        f"producer {result['producer_cpu_us']:.0f}; publish p50 {result['publish_p50_ms']:.1f} "
        f"p99 {result['publish_p99_ms']:.1f} ms; worker {result['worker_rss_mb']:.0f} MB; "
        f"receiver {result['receiver']}{ages})"
    )


if __name__ == "__main__":
    raise SystemExit(main())
