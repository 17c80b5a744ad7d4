"""What a run of the suite is asked to measure."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import attrs

from .results import Column


@attrs.frozen(kw_only=True)
class Plan:
    """The sizes and the choices of one run.

    Attributes:
        stores: What the main job, the latency and the idle cost are measured on.
        store: What all other axes are measured on.
        runs: How often each condition is measured; conditions take turns.
        events: How many events a run publishes.
        peers: Which other tools do the same job in the same run.
        peer_runs: How often they do.
        axes: Which parts are measured beside the main job.
        old_rows: The length of the history.
        fanout: How many subscribers one event has.
        growth: What is multiplied by ten: endpoints, subscriptions and pending events start with so many.
        idle_seconds: How long doing nothing is watched.
    """

    stores: tuple[str, ...] = ("postgres", "redis", "sqlite")
    store: str = "postgres"
    runs: int = 5
    events: int = 40_000
    peers: tuple[str, ...] = ()
    peer_runs: int = 3
    axes: tuple[str, ...] = ()
    old_rows: int = 5_000_000
    fanout: int = 100_000
    endpoints: int = 10_000
    growth: int = 10_000
    idle_seconds: float = 60
    out: Path = Path("reports/bench")
    adds: bool = False


def say(text: str) -> None:
    """Report progress."""
    print(text, file=sys.stderr, flush=True)


Say = Callable[[str], None]

RATE = Column(key="rate", title="deliveries", unit="1/s", chart="bars")
OWN = Column(key="own_cpu_us", title="CPU, ours", unit="µs", chart="bars")
WORKER = Column(key="worker_cpu_us", title="worker", unit="µs")
SERVER = Column(key="server_cpu_us", title="database", unit="µs")
PRODUCER = Column(key="producer_cpu_us", title="producer", unit="µs")
RECEIVER = Column(key="receiver_cpu_us", title="receiver", unit="µs")
MEMORY = Column(key="worker_rss_mb", title="memory", unit="MB")
#: What every table of a whole job shows.
COST = (RATE, OWN, WORKER, SERVER, PRODUCER, MEMORY)
