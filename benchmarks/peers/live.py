"""Measure a peer live: its workers are up while a producer publishes; what counts is what the receiver got."""

from __future__ import annotations

import asyncio
import math
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from notifykit.errors import NotifykitError
from notifykit.testing.servers import PostgresServer, free_port

from ..processes import children_seconds
from ..receiver import Receiver
from ..stores import POSTGRES as SETTINGS
from .catalog import HERE, JOB, PEERS, POSTGRES, PROTOTYPE, PeerUnavailable
from .environments import environment, version
from .groups import Group
from .valkey import ValkeyServer

#: Delivered twice before the clock starts, so that every process has its connections.
_WARM_UP = 300
#: A peer that delivers nothing for so many seconds will deliver nothing more.
_STALLED = 20.0
_START = 60.0


@attrs.frozen(kw_only=True)
class Job:
    """What is run for a peer: commands, and how to ask what its backend has kept."""

    facts: Mapping[str, object]
    worker: Sequence[str]
    copies: int
    publish: Callable[[int], Sequence[str]]
    stored: Callable[[], int]
    settings: str


def measure(name: str, *, events: int, size: int = 1000, say: Callable[[str], None] = print) -> dict[str, object]:
    """Run a peer once and return its figures.

    Args:
        name: One of ``NAMES``.
        events: How many are published, one webhook each, after a warm-up.
        size: About how many bytes a body has.
        say: Called with a message before each slow step.

    Returns:
        The figures.  ``rate`` is deliveries per second between the first and the last that the
        receiver counted; ``cpu_us`` is what worker, store, producer and receiver spent on a delivery
        in that time; ``agree`` is whether as many were received and recorded as published, ``durable``
        whether a power cut loses nothing that was acknowledged.

    Raises:
        PeerUnavailable: It cannot be measured here.
    """
    if os.name == "nt":
        raise PeerUnavailable("the peers are measured on POSIX systems: their servers and process groups are POSIX")
    if name == "prototype" and not PROTOTYPE.exists():
        raise PeerUnavailable(
            "the prototype is no part of this repository: "
            f"put it at {os.path.relpath(PROTOTYPE, PROTOTYPE.parents[4])} beside the checkout"
        )
    programs = environment(name, say)
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="notifykit-bench-")))
            receiver = stack.enter_context(Receiver(free_port()))
            prepare = _prototype if name == "prototype" else _peer
            group, job = stack.enter_context(prepare(name, programs, size, receiver.port, folder / "log"))
            return {"name": name, **_live(group, job, events, receiver), "receiver": receiver.name}
    except NotifykitError as error:  # a server of ours
        raise PeerUnavailable(f"{name} has no server: {error}") from error


@contextmanager
def _peer(name: str, programs: Path, size: int, port: int, log: Path) -> Iterator[tuple[Group, Job]]:
    peer = PEERS[name]
    folder = HERE / peer.folder
    with ExitStack() as stack:
        valkey = peer.store == "valkey"
        server = ValkeyServer(programs, fsync=peer.fsync) if valkey else PostgresServer(settings=SETTINGS)
        url = stack.enter_context(server).url
        variables = {
            "BENCH_TARGET": f"http://127.0.0.1:{port}/hook",
            f"BENCH_{peer.store.upper()}": url,
            "PYTHONPATH": os.pathsep.join([str(HERE / "shared"), str(folder)]),
        }
        group = stack.enter_context(Group(programs, folder, variables, log))
        if peer.store == "postgres":
            group.run([*JOB, "prepare"])
        yield (
            group,
            Job(
                facts={
                    "version": version(programs, peer.distribution),
                    "store": peer.keeps,
                    "durable": peer.is_durable,
                    "client": f"{peer.client} {version(programs, peer.client)}",
                },
                worker=peer.worker,
                copies=peer.copies,
                publish=lambda events: [*JOB, "publish", str(events), str(size), *peer.publish],
                stored=lambda: int(group.run([*JOB, "stored"])),
                settings=peer.settings,
            ),
        )


@contextmanager
def _prototype(name: str, programs: Path, size: int, port: int, log: Path) -> Iterator[tuple[Group, Job]]:
    command = ["python", str(PROTOTYPE), "pg"]
    facts = {"version": "throwaway", "store": POSTGRES, "durable": True, "client": "raw asyncio protocol"}
    with PostgresServer(settings=SETTINGS) as server:
        variables = {"PERF_TARGET": f"127.0.0.1:{port}", "PERF_DSN": server.url}
        with Group(programs, PROTOTYPE.parent, variables, log) as group:
            group.run([*command, "setup"])
            yield (
                group,
                Job(
                    facts=facts,
                    worker=[*command, "worker"],
                    copies=1,
                    publish=lambda events: [*command, "publish", "--n", str(events), "--publishers", "128"],
                    stored=lambda: asyncio.run(_attempts(server.url)),
                    settings="1 process, claims of 500, 128 publishers, 1 kB bodies; no retries, rules or metrics",
                ),
            )


async def _attempts(url: str) -> int:
    import asyncpg

    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM attempt WHERE status = 204"))
    finally:
        await connection.close()


def _live(group: Group, job: Job, events: int, receiver: Receiver) -> dict[str, object]:
    warm = _warm_up(group, job, receiver)
    start = receiver.count()
    producer = group.start(job.publish(events), pipe=True)
    first, first_at = _first(receiver, start, events, producer)
    cpu = children_seconds()
    last, last_at = receiver.follow(start + events, patience=_STALLED)
    published = group.finish(producer)
    time.sleep(0.5)  # what is recorded late costs as well
    cpu = children_seconds() - cpu
    stored = _stored(job, warm + events) - warm
    received = receiver.count() - start  # once more: a tool that delivers at least once may deliver twice
    made = last - first
    return {
        **job.facts,
        "rate": made / (last_at - first_at) if made else 0.0,
        "received": received,
        "wanted": events,
        "stored": stored,
        "agree": stored == received == events,
        "cpu_us": cpu / made * 1e6 if made else math.nan,
        "publish_rate": events / (published.get("seconds") or published["secs"]),
        "settings": job.settings,
    }


def _warm_up(group: Group, job: Job, receiver: Receiver) -> int:
    """Start the workers, have them deliver a little, and return how many results are recorded then."""
    workers = [group.start(job.worker) for _ in range(job.copies)]
    before = receiver.count()
    # work that a tool does once at its start, such as looking for orphans, must not slow down the first events
    time.sleep(2)
    for round_ in (1, 2):
        group.run(job.publish(_WARM_UP))
        deadline = time.monotonic() + _START
        while receiver.count() < before + round_ * _WARM_UP:
            if any(worker.poll() is not None for worker in workers):
                raise group.failure("a worker ended")
            if time.monotonic() > deadline:
                raise group.failure(f"no worker delivered {_WARM_UP} events in {_START:.0f} s")
            time.sleep(0.01)
        time.sleep(1)  # for the worker that started second
    return _stored(job, 2 * _WARM_UP)


def _first(receiver: Receiver, start: int, events: int, producer: subprocess.Popen[str]) -> tuple[int, float]:
    """Wait until the first 2 % are received; return the count, and when that was."""
    base = start + max(min(events // 50, 500), 1)
    deadline = time.monotonic() + _START
    while (count := receiver.count()) < base and not producer.poll() and time.monotonic() < deadline:
        time.sleep(0.002)
    return count, time.monotonic()


def _stored(job: Job, want: int) -> int:
    """Return how many results the backend has, once they are all there or no more come."""
    stored = -1
    deadline = time.monotonic() + 10
    while (found := job.stored()) < want and (found > stored or time.monotonic() < deadline):
        stored = found
        time.sleep(0.2)
    return found
