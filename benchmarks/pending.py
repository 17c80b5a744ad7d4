"""Memory under a backlog: ``python -m benchmarks.pending --events 1000000``.

Fills a PostgreSQL outbox with copies of one published event, lets a worker deliver
for a while, and prints its memory beside that of a worker with a short backlog.
"""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack

from .job import Job, stage
from .processes import ready, resident_mb


def measure(events: int, seconds: float) -> tuple[float, int]:
    """Return the most memory a worker had in MB, and how many it delivered."""
    with ExitStack() as stack:
        on = stack.enter_context(stage(Job(pending=events)))
        worker = on.worker(stack)
        ready(worker)
        most = 0.0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.2)
            most = max(most, resident_mb(worker.pid))
        return most, on.receiver.count()


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
