"""Which peers there are, how their workers are started, and what was tuned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import attrs

from .valkey import Fsync

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parent.parent
#: A sketch of the fastest this could be, without what makes a product; it is no part of this repository.
PROTOTYPE = CHECKOUT.parent / "shared" / "reference" / "perf-prototype" / "proto.py"

#: Takes ``prepare``, ``publish`` and ``stored``, and ``work`` where the tool has no command for that.
JOB = ("python", "job.py")

POSTGRES = "PostgreSQL, fsync on"


class PeerUnavailable(Exception):  # noqa: N818 - not an error of the benchmark
    """There is no figure for this peer; the message says why, and what to do about it."""


@attrs.frozen(kw_only=True)
class Peer:
    """How a tool does the job.

    Attributes:
        folder: Holds its ``job.py`` and its ``requirements.txt``.
        distribution: Its package.
        client: The package it POSTs with.
        store: What keeps its queue and its results.
        fsync: When Valkey, if that is the store, has its log on the disk.
        worker: A command of its environment, run in its folder.
        copies: How many of these are started.
        publish: Arguments of ``publish`` after the number and the size of the events.
        settings: What was tuned.
    """

    folder: str
    distribution: str
    client: str
    store: Literal["valkey", "postgres"]
    fsync: Fsync = "everysec"
    worker: tuple[str, ...] = (*JOB, "work")
    copies: int = 2
    publish: tuple[str, ...] = ()
    settings: str

    @property
    def is_durable(self) -> bool:
        """Whether a power cut loses nothing that was acknowledged, as with our own stores."""
        return self.store == "postgres" or self.fsync == "always"

    @property
    def keeps(self) -> str:
        """What keeps its queue and its results, and how safely."""
        return POSTGRES if self.store == "postgres" else f"Valkey, AOF {self.fsync}"


_PLAIN: Mapping[str, Peer] = {
    "celery": Peer(
        folder="celery",
        distribution="celery",
        client="requests",
        store="valkey",
        worker=(
            # Processes of their own: prefork, which passes each task to a child, is slower.
            *("celery", "-A", "job", "worker", "--pool", "solo"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR"),
        ),
        copies=4,
        publish=("1",),
        settings="4 solo processes, late acknowledgement, prefetch 16, no gossip/mingle/heartbeat, "
        "a producer that expects no results, hiredis",
    ),
    "dramatiq": Peer(
        folder="dramatiq",
        distribution="dramatiq",
        client="httpx",
        store="valkey",
        worker=("dramatiq", "job", "--processes", "2", "--threads", "16"),
        copies=1,
        settings="2 processes of 16 threads, hiredis",
    ),
    "taskiq": Peer(
        folder="taskiq",
        distribution="taskiq",
        client="aiohttp",
        store="valkey",
        worker=(
            *("taskiq", "worker", "job:broker", "--workers", "2", "--max-async-tasks", "64"),
            *("--log-level", "ERROR"),
        ),
        copies=1,
        settings="stream broker, 2 processes of 64 tasks, reads of 100, 32 publishers, uvloop, hiredis",
    ),
    "arq": Peer(
        folder="arq",
        distribution="arq",
        client="aiohttp",
        store="valkey",
        worker=(*JOB, "work", "64"),
        publish=("32",),
        settings="2 processes of 64 jobs, looks every 50 ms, 32 publishers, uvloop, hiredis",
    ),
    "saq": Peer(
        folder="saq",
        distribution="saq",
        client="aiohttp",
        store="valkey",
        worker=(*JOB, "work", "64"),
        publish=("32",),
        settings="2 processes of 64 jobs, 128 operations at a time, 32 publishers, uvloop, hiredis",
    ),
    "procrastinate": Peer(
        folder="procrastinate",
        distribution="procrastinate",
        client="aiohttp",
        store="postgres",
        publish=("500",),
        settings="2 processes of 64 jobs, batch_defer of 500, LISTEN/NOTIFY, psycopg in C, uvloop",
    ),
    "pgqueuer": Peer(
        folder="pgqueuer",
        distribution="pgqueuer",
        client="aiohttp",
        store="postgres",
        publish=("1",),
        settings="2 processes, dequeues of 100, 32 publishers on 8 connections, durable tables, asyncpg, uvloop",
    ),
    "pgqueuer-batch": Peer(
        folder="pgqueuer",
        distribution="pgqueuer",
        client="aiohttp",
        store="postgres",
        publish=("500",),
        settings="2 processes, dequeues of 100, enqueues of 500, durable tables, asyncpg, uvloop",
    ),
}

#: What peers on Valkey do better with where each answer waits for the disk: Valkey syncs once for all commands that it
#: has read, so that more of them at a time cost less each.
_ALWAYS: Mapping[str, Peer] = {
    "celery": attrs.evolve(
        _PLAIN["celery"],
        copies=8,
        publish=("4",),
        settings="8 solo processes, 4 publishing threads, the rest as with everysec",
    ),
    "arq": attrs.evolve(
        _PLAIN["arq"],
        worker=(*JOB, "work", "128"),
        publish=("128",),
        settings="2 processes of 128 jobs, 128 publishers, the rest as with everysec",
    ),
    "saq": attrs.evolve(
        _PLAIN["saq"],
        worker=(*JOB, "work", "128"),
        publish=("128",),
        settings="2 processes of 128 jobs, 128 publishers, the rest as with everysec",
    ),
}


def _twice() -> Iterator[tuple[str, Peer]]:
    for name, peer in _PLAIN.items():
        yield name, peer
        if peer.store == "valkey":
            yield f"{name}-always", attrs.evolve(_ALWAYS.get(name, peer), fsync="always")


PEERS: Mapping[str, Peer] = dict(_twice())

NAMES: tuple[str, ...] = (*PEERS, "prototype")


def source(name: str) -> Path:
    """Return the file with the peer's worker."""
    return PROTOTYPE if name == "prototype" else HERE / PEERS[name].folder / "job.py"


def requirements(name: str) -> Path:
    """Return the file that says what the peer needs."""
    return HERE / (PEERS[name].folder if name in PEERS else name) / "requirements.txt"
