"""The main job, measured end to end: publish, plan, sign, POST, record.

    python -m benchmarks.deliver --store sqlite|postgres|redis|mysql

Starts its own PostgreSQL (fsync on), receiver, workers and producers, each in its own
process; publishes through the public API; counts completions at the receiver *and* in
the store, and checks that both agree.

Live: producers and workers run at the same time.  Drain: everything is published
before the first worker starts.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from .job import Job, run_once
from .stores import STORES


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.deliver", description=__doc__.partition("\n")[0])
    parser.add_argument("--store", choices=[*STORES], default="postgres")
    parser.add_argument("--events", type=int, default=40_000)
    parser.add_argument("--subscriptions", type=int, default=1, help="per event")
    parser.add_argument("--endpoints", type=int, default=1, help="distinct ones")
    parser.add_argument("--hosts", type=int, help="that the endpoints share; by default each has its own")
    parser.add_argument("--size", type=int, default=1000, help="bytes of an event's body, roughly")
    parser.add_argument("--real", action="store_true", help="payloads from examples of what services send")
    parser.add_argument("--producers", type=int, default=1, help="processes")
    parser.add_argument("--publishers", type=int, default=192, help="concurrent publishes in each producer")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--transport", choices=["wire", "httpx"], default="wire")
    parser.add_argument("--rate", type=float, default=0, help="events per second; measures publish to received")
    parser.add_argument("--drain", action="store_true", help="publish everything before the workers start")
    parser.add_argument("--tls", action="store_true", help="the endpoints are https://")
    parser.add_argument("--fail-every", type=int, default=0, help="answer 503 to the first attempt of each n-th event")
    parser.add_argument("--interpreted", action="store_true", help="from the source, if what is installed is compiled")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--options", type=json.loads, default={}, help="dispatcher settings as JSON")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark and print its figures."""
    args = arguments(argv)
    job = Job(**{name: value for name, value in vars(args).items() if name not in {"runs", "json"}})
    results = []
    for _ in range(args.runs):
        result = run_once(job)
        results.append(result)
        print(json.dumps(result) if args.json else _line(job, result), flush=True)
    if args.runs > 1 and not args.json:
        rates = sorted(result["rate"] for result in results)
        print(f"{job.store} median {rates[len(rates) // 2]:,.0f} deliveries/s ({rates[0]:,.0f} to {rates[-1]:,.0f})")
    return 0 if all(result["agree"] for result in results) else 1


def _line(job: Job, result: dict[str, Any]) -> str:
    mode = "drain" if job.drain else "live"
    ages = ""
    if result["age_p50_ms"] is not None:
        ages = f"; publish to received p50 {result['age_p50_ms']:.1f} p99 {result['age_p99_ms']:.1f} ms"
    agrees = "agrees" if result["agree"] else f"DISAGREES {result['stored']}"
    return (
        f"{job.store} {mode} {result['rate']:,.0f} deliveries/s "
        f"({result['received']:,} received, store {agrees}; "
        f"cpu {result['cpu_us']:.0f} us a delivery, of it worker {result['worker_cpu_us']:.0f}, "
        f"producer {result['producer_cpu_us']:.0f}; publish p50 {result['publish_p50_ms']:.1f} "
        f"p99 {result['publish_p99_ms']:.1f} ms; worker {result['worker_rss_mb']:.0f} MB; "
        f"receiver {result['receiver']}{ages})"
    )


if __name__ == "__main__":
    raise SystemExit(main())
