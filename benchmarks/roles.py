"""The processes of a benchmark: ``python -m benchmarks.roles worker|producer …``."""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import signal
import time
from typing import Any

from notifykit import DispatchSettings, EgressRules, Event, Notifykit

from .receiver import run

TENANT = "bench"
EGRESS = {"allow": ["127.0.0.0/8"], "allow_http": True}


def payload(size: int, at: int) -> dict[str, Any]:
    """Return data that makes a body of about ``size`` bytes."""
    items = [{"sku": f"SKU-{i:05d}", "quantity": i % 7 + 1, "price": "19.90"} for i in range(max(size - 200, 0) // 52)]
    return {
        "order_id": f"A-{at}",
        "customer": {"id": at % 1000, "name": "Zoë Müller"},
        "items": items,
        "sent": time.time(),
    }


async def work(url: str, transport: str, options: dict[str, Any]) -> None:
    """Dispatch until SIGTERM; then print what it cost."""
    rules = EgressRules(**EGRESS, transport=transport)  # type: ignore[arg-type]
    async with Notifykit(url, egress=rules) as kit:
        dispatcher = kit.dispatcher(settings=DispatchSettings(**options))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, dispatcher.stop)
        print("ready", flush=True)
        await dispatcher.run()
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"cpu": used.ru_utime + used.ru_stime, "rss_mb": used.ru_maxrss / 1024}), flush=True)


async def produce(url: str, events: int, size: int, publishers: int, rate: float, types: int) -> None:
    """Publish through the public API; print how long it took and how long each call took."""
    took = []
    async with Notifykit(url) as kit:
        await kit.stats()
        started = time.perf_counter()
        numbers = iter(range(events))

        async def publisher() -> None:
            for at in numbers:
                if rate:
                    await asyncio.sleep(max(0.0, started + at / rate - time.perf_counter()))
                before = time.perf_counter()
                await kit.apublish(Event(type=f"order.t{at % types}", data=payload(size, at)), tenant=TENANT)
                took.append(time.perf_counter() - before)

        async with asyncio.TaskGroup() as group:
            for _ in range(publishers):
                group.create_task(publisher())
        seconds = time.perf_counter() - started
    took.sort()
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "events": events,
                "seconds": seconds,
                "p50_ms": took[len(took) // 2] * 1e3,
                "p99_ms": took[len(took) * 99 // 100] * 1e3,
                "cpu": used.ru_utime + used.ru_stime,
                "rss_mb": used.ru_maxrss / 1024,
            }
        )
    )


def main() -> None:
    """Run one role."""
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["worker", "producer"])
    parser.add_argument("url")
    parser.add_argument("--transport", default="wire")
    parser.add_argument("--options", type=json.loads, default={})
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--publishers", type=int, default=64)
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--types", type=int, default=1)
    args = parser.parse_args()
    if args.role == "worker":
        run(work(args.url, args.transport, args.options))
    else:
        run(produce(args.url, args.events, args.size, args.publishers, args.rate, args.types))


if __name__ == "__main__":
    main()
