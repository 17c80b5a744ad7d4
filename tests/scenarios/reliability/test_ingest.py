"""Processes that turn messages into events are killed at random: each message becomes one event."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from notifykit import Notifykit
from notifykit.ports import EventFilter
from tests import report

from .conftest import Databases
from .processes import Role, until

pytestmark = pytest.mark.in_turn

_GROUP = "notifykit"
#: Messages that are in the stream for each process that is killed.
_EACH = 150
#: Where a process is killed in its first batch, or in its second; without one it is killed at any time.
_POINTS = ("pub.inserted=kill", "pub.committed=kill", "pub.inserted=kill@2", "pub.committed=kill@2", "", "")


class Stream:
    """A Redis stream that other programs write to."""

    def __init__(self, url: str) -> None:
        import redis

        self.topic = f"test-{uuid4().hex[:12]}"
        self._redis: Any = redis.from_url(url)
        self.written = 0
        scheme, _, rest = url.partition("://")
        self.url = f"{scheme}+stream://{rest}?redeliver=1"

    def write(self, count: int) -> None:
        """Append messages, each with a number of its own."""
        with self._redis.pipeline() as pipeline:
            for number in range(self.written, self.written + count):
                order = {"shop": ("acme", "globex")[number % 2], "status": "paid", "number": number}
                pipeline.xadd(self.topic, {"body": json.dumps(order)})
            pipeline.execute()
        self.written += count

    def is_read(self) -> bool:
        """Return whether every message was handed out and acknowledged."""
        groups = self._redis.xinfo_groups(self.topic)
        return bool(groups) and (groups[0]["lag"], groups[0]["pending"]) == (0, 0)

    def dead(self) -> int:
        """Return how many messages are dead letters."""
        return int(self._redis.xlen(f"{self.topic}:dead"))

    def delete(self) -> None:
        """Delete the stream."""
        self._redis.delete(self.topic, f"{self.topic}:dead")
        self._redis.close()


@contextmanager
def stream_at(url: str) -> Iterator[Stream]:
    """Lend a stream."""
    stream = Stream(url)
    try:
        yield stream
    finally:
        stream.delete()


def ingest_under_kills(
    url: str, stream: Stream, folder: Path, *, kills: int, seed: int, sabotage: str = ""
) -> tuple[int, int]:
    """Have two processes read a stream, of which one after the other dies.

    Returns:
        How many messages became no event, and how many events there are too many.
    """
    rng = random.Random(seed)
    orders = {"url": url, "broker": stream.url, "topic": stream.topic}

    def start(point: str) -> Role:
        return Role("ingest", orders, folder / "ingest.err", failpoints=point, sabotage=sabotage)

    stream.write(_EACH)
    points = [*_POINTS] * kills
    readers = [start(points.pop(0)), start(points.pop(0))]
    try:
        for number in range(kills):
            victim = readers[number % 2]
            victim.ready()
            stream.write(_EACH)
            until(victim.has_ended, rng.uniform(0, 0.5))
            victim.kill()
            readers[number % 2] = start(points.pop(0) if number < kills - 2 else "")
        until(stream.is_read, 30)
    finally:
        for reader in readers:
            reader.kill()
    found = Counter(asyncio.run(_numbers(url)))
    return stream.written - len(found), found.total() - len(found)


async def _numbers(url: str) -> list[int]:
    """Return the number of each event."""
    found = []
    async with Notifykit(url) as kit:
        for tenant in ("acme", "globex"):
            before = None
            while page := await kit.store.find_events(tenant, EventFilter(), limit=500, before=before):
                found += [json.loads(event.body)["data"]["number"] for event in page]
                before = page[-1].id
    return found


@pytest.mark.parametrize("kills", [6, pytest.param(60, marks=pytest.mark.soak)])
def test_each_message_is_one_event_although_its_reader_is_killed(
    kills: int, one_databases: Databases, redis_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Before the commit, after it, or anywhere else: what is not acknowledged is read again and found to be known."""
    started = time.monotonic()
    with one_databases() as url, stream_at(redis_url) as stream:
        missing, repeated = ingest_under_kills(url, stream, tmp_path, kills=kills, seed=19)
        took = round(time.monotonic() - started, 2)
        report.note(
            request.node.name, kills=kills, messages=stream.written, lost=missing, duplicates=repeated, took=took
        )

        assert (0, 0, 0) == (missing, repeated, stream.dead())
        assert stream.is_read()
