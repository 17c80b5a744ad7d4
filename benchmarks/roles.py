"""The processes of a benchmark: ``python -m benchmarks.roles worker|producer …``."""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import signal
import ssl
import time
from typing import Any

from notifykit import DispatchSettings, EgressRules, Event, Notifykit
from notifykit.channels.webhook import WebhookChannel
from notifykit.cli.serving import collect_seldom, open_many_files
from notifykit.models.delivery import Priority
from notifykit.publisher import PublishOptions

from .payloads import order, real
from .processes import most_resident_mb
from .receiver import run

TENANT = "bench"
EGRESS = {"allow": ["127.0.0.0/8"], "allow_http": True}
#: How late, in seconds, a timer may fire before the event's age counts from when it was due.
_SLACK = 0.002


def cpu() -> float:
    """Return the processor seconds this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def work(url: str, transport: str, options: dict[str, Any], authority: str | None, broker: str = "") -> None:
    """Dispatch until SIGTERM; then print what it cost."""
    open_many_files()  # as `notifykit run` does
    rules = EgressRules(**EGRESS, transport=transport)  # type: ignore[arg-type]
    if "concurrency" in options:
        options["concurrency"] = dict.fromkeys(Priority, options["concurrency"])
    if "roles" in options:
        options["roles"] = frozenset(options["roles"])
    async with Notifykit(url, egress=rules, broker=broker or None) as kit:
        tls = ssl.create_default_context(cafile=authority) if authority else None
        channels = [WebhookChannel(guard=rules.guard(), transport=rules.transport, tls=tls)] if tls else None
        dispatcher = kit.dispatcher(channels, settings=DispatchSettings(**options))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, dispatcher.stop)
        collect_seldom()  # as `notifykit run` does
        print("ready", flush=True)
        await dispatcher.run()
    print(json.dumps({"cpu": cpu(), "rss_mb": most_resident_mb()}), flush=True)


async def produce(args: argparse.Namespace) -> None:
    """Publish through the public API; print how long it took and how long each call took."""
    took = []
    drawn = real(args.size) if args.real else ()

    def data(at: int, sent: float) -> dict[str, Any]:
        return {**drawn[at % len(drawn)], "sent": sent} if drawn else order(args.size, at, sent)

    def options(at: int) -> PublishOptions:
        if not args.people:
            return {"tenant": TENANT}
        to = [f"user:{(at * args.each + n) % args.people + 1}" for n in range(args.each)]
        return {"tenant": TENANT, "to": to, "channels": args.channels}

    async with Notifykit(args.url) as kit:
        await kit.stats()
        used = cpu()
        started = time.perf_counter()
        numbers = iter(range(args.events))

        async def publisher() -> None:
            for at in numbers:
                late = 0.0
                if args.rate:
                    due = started + at / args.rate
                    await asyncio.sleep(max(0.0, due - time.perf_counter()))
                    late = time.perf_counter() - due
                before = time.perf_counter()
                # A producer that falls behind must not hide the wait of the events it holds back.
                sent = time.time() - (late if late > _SLACK else 0.0)
                event = Event(type=f"order.t{at % args.types}", data=data(at, sent))
                await kit.apublish(event, **options(at))
                took.append(time.perf_counter() - before)

        async with asyncio.TaskGroup() as group:
            for _ in range(args.publishers):
                group.create_task(publisher())
        seconds = time.perf_counter() - started
        used = cpu() - used
    took.sort()
    print(
        json.dumps(
            {
                "events": args.events,
                "seconds": seconds,
                "p50_ms": took[len(took) // 2] * 1e3,
                "p99_ms": took[len(took) * 99 // 100] * 1e3,
                "cpu": used,
                "rss_mb": most_resident_mb(),
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
    parser.add_argument("--authority", help="a file with the certificates to trust")
    parser.add_argument("--broker", default="", help="what carries tickets to workers")
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--publishers", type=int, default=64)
    parser.add_argument("--rate", type=float, default=0)
    parser.add_argument("--types", type=int, default=1)
    parser.add_argument("--people", type=int, default=0, help="address the events to so many recipients in turn")
    parser.add_argument("--each", type=int, default=1, help="recipients of one event")
    parser.add_argument("--channels", nargs="*", default=[], help="by which they are told")
    args = parser.parse_args()
    if args.role == "worker":
        run(work(args.url, args.transport, args.options, args.authority, args.broker))
    else:
        run(produce(args))


if __name__ == "__main__":
    main()
