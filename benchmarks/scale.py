"""Simulate 1 to 100 workers, a million endpoints and several shards: ``python -m benchmarks.scale``.

Batches go through the processors of workers and of database servers, with costs that were measured on one machine.  The
simulation says where the limit is; it says nothing of networks, slow disks and vacuum, which it does not know.
"""

from __future__ import annotations

import argparse
import heapq
import json
import sys
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

RESULTS = Path(__file__).parents[1] / "docs/explanation/performance/results.json"
WORKERS, SHARDS = (1, 2, 5, 10, 20, 50, 100), (1, 4, 16)
#: Deliveries that a planner takes at a time, at the most.
BATCH = 500
#: Receivers whose connections a worker keeps: as many as were measured.
KEPT = 10_000
#: Of a database's work on a delivery so much is done when its event is taken; the rest is publishing and settling.
TAKING = 0.3
#: Seconds that are simulated, and the part of them in which nothing is counted yet.
SECONDS, WARM_UP = 4.0, 1.0
#: Share of the greatest rate at which the delay is looked at.
LOAD = 0.7
_TICK = 0.002


@attrs.frozen
class Costs:
    """Processor time in microseconds.

    Attributes:
        worker: Of a worker for a delivery over a kept connection, and …
        worker_first: … for the first one to an endpoint.
        server: Of the database server for a delivery, in large batches, and …
        server_first: … for the first one to an endpoint.
        turn: Of the database server for a round of the planner, whatever it finds.
    """

    worker: float
    worker_first: float
    server: float
    server_first: float
    turn: float

    def at(self, endpoints: int) -> tuple[float, float]:
        """Return the time of a worker and of the server for a delivery, with so many endpoints used alike."""
        kept = min(1.0, KEPT / endpoints)
        return (
            kept * self.worker + (1 - kept) * self.worker_first,
            kept * self.server + (1 - kept) * self.server_first,
        )


def measured(path: Path = RESULTS) -> tuple[Costs, list[str]]:
    """Return the costs that the benchmark has measured, and where each comes from."""
    results: dict[str, Any] = json.loads(path.read_text())
    rows = {part["name"]: {row["label"]: row["cells"] for row in part["rows"]} for part in results["parts"]}

    def cost(part: str, row: str, cell: str) -> float:
        return float(rows[part][row][cell]["median"])

    kept, first = "10,000", "10,000, the first delivery to each"
    one, few = (
        cost("main", "notifykit on PostgreSQL", "server_cpu_us"),
        cost("latency", "PostgreSQL, 200/s", "server_cpu_us"),
    )
    costs = Costs(
        cost("endpoints", kept, "worker_cpu_us"),
        cost("endpoints", first, "worker_cpu_us"),
        cost("endpoints", kept, "server_cpu_us"),
        cost("endpoints", first, "server_cpu_us"),
        few - one,
    )
    machine = results["machine"]
    package = machine["packages"].split(",")[0]
    return costs, [
        f"worker, kept connection: {costs.worker:.0f} µs (part endpoints, row {kept!r})",
        f"worker, new connection: {costs.worker_first:.0f} µs (part endpoints, row {first!r})",
        f"database, delivery: {costs.server:.0f} and {costs.server_first:.0f} µs (the same rows)",
        f"database, round of a planner: {costs.turn:.0f} µs ({few:.0f} µs at 200/s less {one:.0f} µs of the main job)",
        f"measured {machine['date']} on {machine['processor']}, {machine['postgres']}, {package}",
    ]


@attrs.frozen(kw_only=True)
class Setup:
    """What is simulated."""

    workers: int
    shards: int
    endpoints: int
    cores: int
    costs: Costs


@attrs.frozen
class Found:
    """What a simulation found.

    Attributes:
        rate: Deliveries a second.
        p99: Milliseconds from publishing until the attempt begins, below which 99 of 100 were.
        database: Load of the database servers, from 0 to 1; workers the same.
    """

    rate: float
    p99: float
    database: float
    workers: float


class _Server:
    """Processors that take one job after the other."""

    def __init__(self, cores: int) -> None:
        self._free = [0.0] * cores
        self.busy = 0.0

    def run(self, at: float, seconds: float) -> float:
        """Return when a job is done that comes ``at``."""
        began = max(at, heapq.heappop(self._free))
        heapq.heappush(self._free, began + seconds)
        self.busy += seconds
        return began + seconds


def simulate(setup: Setup, rate: float | None) -> Found:
    """Simulate some time with events at a constant rate; ``None`` for as many as can be delivered."""
    per_worker, per_server = (micros / 1e6 for micros in setup.costs.at(setup.endpoints))
    turn = setup.costs.turn / 1e6
    servers = [_Server(setup.cores) for _ in range(setup.shards)]
    waiting: list[deque[tuple[float, float]]] = [deque() for _ in servers]
    ticks = 0
    cpu = 0.0
    delays: list[tuple[float, float]] = []
    done = 0.0
    #: When each worker does what with which shard: it takes the next events, or settles so many that it has sent.
    steps = [(worker * 1e-5, worker, worker % setup.shards, 0.0) for worker in range(setup.workers)]
    heapq.heapify(steps)
    while steps[0][0] < SECONDS:
        at, worker, shard, sent = heapq.heappop(steps)
        if sent:
            settled = servers[shard].run(at, turn / 2 + sent * per_server * (1 - TAKING))
            # While a batch is settled, the next one is sent, as long as the database keeps up.
            following = max(at, settled - sent * per_worker)
            heapq.heappush(steps, (following, worker, (shard + 1) % setup.shards, 0.0))
            continue
        while rate is not None and ticks * _TICK <= at:
            for line in waiting:
                line.append((ticks * _TICK, rate * _TICK / setup.shards))
            ticks += 1
        batch = [(at, float(BATCH))] if rate is None else list(_taken(waiting[shard]))
        count = sum(number for _, number in batch)
        taken = servers[shard].run(at, turn / 2 + count * per_server * TAKING)
        if not batch:  # it waits until it is notified, by an event of any shard
            heapq.heappush(steps, (taken + _TICK, worker, (shard + 1) % setup.shards, 0.0))
            continue
        ended = taken + count * per_worker
        heapq.heappush(steps, (ended, worker, shard, count))
        if WARM_UP <= ended <= SECONDS:
            cpu += count * per_worker
            done += count
            passed = taken
            for published, number in batch:
                passed += number * per_worker
                delays.append((passed - published, number))
    loads = sum(server.busy for server in servers) / (setup.shards * setup.cores * SECONDS)
    window = SECONDS - WARM_UP
    used = min(cpu / window / setup.workers, 1.0)
    return Found(done / window, _percentile(delays, 0.99) * 1e3, min(loads, 1.0), used)


def _taken(line: deque[tuple[float, float]]) -> Iterable[tuple[float, float]]:
    left = float(BATCH)
    while line and left > 0:
        published, number = line.popleft()
        if number > left:
            line.appendleft((published, number - left))
            number = left
        left -= number
        yield published, number


def _percentile(delays: list[tuple[float, float]], part: float) -> float:
    left = part * sum(number for _, number in delays)
    for delay, number in sorted(delays):
        left -= number
        if left <= 0:
            return delay
    return 0.0


def table(found: Mapping[tuple[int, int], tuple[Found, Found]], shards: Iterable[int]) -> str:
    """Return the results as a table in Markdown."""
    lines = [
        "| shards | workers | deliveries/s at the most | databases | workers | p99 at 70 % of that | databases then |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for count in shards:
        for (number, workers), (most, usual) in found.items():
            if number == count:
                lines.append(
                    f"| {count} | {workers} | {most.rate:,.0f} | {most.database:.0%} | {most.workers:.0%} "
                    f"| {usual.p99:,.1f} ms | {usual.database:.0%} |"
                )
    return "\n".join(lines)


def draw(found: Mapping[tuple[int, int], tuple[Found, Found]], shards: Iterable[int], file: Path) -> None:
    """Draw throughput, delay and load against the number of workers."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "notifykit", "svg.fonttype": "none", "font.size": 9}):
        made = Figure(figsize=(9, 3.2), layout="constrained", facecolor="white")
        FigureCanvasAgg(made)
        titles = ("deliveries a second, at the most", "p99 in ms at 70 % of it", "load of the databases, at the most")
        for axes, title in zip(made.subplots(1, 3), titles, strict=True):
            axes.set_title(title, fontsize=9)
            axes.set_xscale("log")
            axes.set_xlabel("workers")
            for count in shards:
                points = [(workers, both) for (number, workers), both in found.items() if number == count]
                values = {
                    titles[0]: [most.rate for _, (most, _) in points],
                    titles[1]: [usual.p99 for _, (_, usual) in points],
                    titles[2]: [most.database for _, (most, _) in points],
                }
                axes.plot([workers for workers, _ in points], values[title], marker=".", label=f"{count} shards")
            axes.set_ylim(bottom=0)
        made.axes[0].legend(frameon=False)
        made.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)


def main() -> int:
    """Simulate, print the table and draw the figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--endpoints", type=int, default=1_000_000, help="used alike (default: a million)")
    parser.add_argument("--cores", type=int, default=8, help="processors of each database server (default: 8)")
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS)
    parser.add_argument("--shards", type=int, nargs="+", default=SHARDS)
    parser.add_argument("--figure", type=Path, help="a file for the chart, such as scale.svg")
    given = parser.parse_args()
    costs, sources = measured()
    found: dict[tuple[int, int], tuple[Found, Found]] = {}
    for shards in given.shards:
        for workers in given.workers:
            setup = Setup(workers=workers, shards=shards, endpoints=given.endpoints, cores=given.cores, costs=costs)
            most = simulate(setup, None)
            found[shards, workers] = most, simulate(setup, most.rate * LOAD)
    print(*sources, "", table(found, given.shards), sep="\n")
    if given.figure:
        draw(found, given.shards, given.figure)
    return 0


if __name__ == "__main__":
    sys.exit(main())
