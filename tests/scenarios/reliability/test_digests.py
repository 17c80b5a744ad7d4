"""Eight processes plan events into the same digests and send these, and are killed at random: each event is in one."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from notifykit.stores import store_from_url
from notifykit.testing import make_event
from tests import report

from .checker import Database
from .processes import Role
from .roles.orders import lines

pytestmark = pytest.mark.in_turn

PLANNERS = 8
#: Recipients, and threads of each: threads whose names differ in length have digests of another kind.
_PEOPLE, _THREADS = 5, ("a", "bb", "c")
#: Events that are published at a time, and the pause after that.
_PUBLISHED, _PAUSE = 25, 0.1


@contextmanager
def planners(url: str, folder: Path, sabotage: str) -> Iterator[list[Role]]:
    """Run the processes; the list may be changed."""
    folder.mkdir(exist_ok=True)
    running: list[Role] = []
    try:
        running += [start(url, folder, sabotage) for _ in range(PLANNERS)]
        yield running
    finally:
        for role in running:
            role.kill()


def start(url: str, folder: Path, sabotage: str) -> Role:
    """Start one more process."""
    return Role("collector", {"url": url, "log": str(folder / "sent.jsonl")}, folder / "errors", sabotage=sabotage)


async def publish(url: str, count: int) -> None:
    """Publish events for all digests in turn, while the processes work."""
    store = store_from_url(url)
    await store.open()
    people = [f"user:{n} {thread}" for n in range(_PEOPLE) for thread in _THREADS]
    for at in range(0, count, _PUBLISHED):
        told = [people[n % len(people)] for n in range(at, min(at + _PUBLISHED, count))]
        await store.append([make_event(metadata=json.dumps(to)) for to in told])
        await asyncio.sleep(_PAUSE)
    await store.aclose()


def collect_under_kills(
    url: str, folder: Path, *, events: int, kills: int, seconds: float, sabotage: str = ""
) -> dict[str, Any]:
    """Publish, kill, wait until everything is sent, and return what was found."""
    database, rng = Database(url), random.Random(events)
    twice = failed = 0
    with planners(url, folder, sabotage) as running, ThreadPoolExecutor(1) as threads:
        assert all(role.ready() for role in running), (folder / "errors").read_text()[-2000:]
        producer = threads.submit(asyncio.run, publish(url, events))
        deadline = time.monotonic() + seconds
        killed = 0
        while time.monotonic() < deadline:
            time.sleep(rng.uniform(0.03, 0.15))
            twice += len(database.rows(_OPEN_TWICE))
            if killed < kills:
                at = rng.randrange(PLANNERS)
                failed += running[at].has_ended()
                running[at].kill()
                running[at] = start(url, folder, sabotage)
                killed += 1
            elif producer.done() and database.open_work() == (0, 0):
                break
        events_there = {id_ for (id_,) in database.rows("SELECT id FROM notifykit_events")}
        left = database.open_work()
        failed += sum(role.has_ended() for role in running)
    database.close()
    return {"killed": killed, "failed": failed, "left": sum(left), "open_twice": twice, **checked(folder, events_there)}


_OPEN_TWICE = "SELECT tenant, key FROM notifykit_digests WHERE open GROUP BY tenant, key HAVING count(*) > 1"


def checked(folder: Path, events: set[str]) -> dict[str, Any]:
    """Return what the log of sent digests says of the events."""
    digests: dict[str, set[str]] = {}
    changed = repeats = 0
    for line in lines(folder / "sent.jsonl"):
        sent = set(line["events"])
        repeats += line["digest"] in digests
        changed += digests.setdefault(line["digest"], sent) != sent
    times = Counter(event for sent in digests.values() for event in sent)
    return {
        "accepted": len(events),
        "digests": len(digests),
        "repeats": repeats,
        "changed": changed,
        "lost": len(events - times.keys()),
        "twice": sum(count > 1 for count in times.values()),
    }


@pytest.mark.parametrize(
    ("events", "kills", "seconds"),
    [
        (300, 8, 120),
        pytest.param(3000, 20, 300, marks=pytest.mark.thorough),
        pytest.param(20_000, 60, 600, marks=pytest.mark.soak),
    ],
)
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_every_event_is_in_one_digest(
    kind: str, events: int, kills: int, seconds: float, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """None is lost or in two digests, a digest that is sent again is the same one, and of a key one is open."""
    with request.getfixturevalue(f"{kind}_databases")() as url:
        found = collect_under_kills(url, tmp_path / "digests", events=events, kills=kills, seconds=seconds)

    report.note(f"digests of {events} events, {kind}", planners=PLANNERS, **found)
    assert events == found["accepted"]
    assert kills == found["killed"]
    assert len(_THREADS) * _PEOPLE < found["digests"] < events
    assert found["repeats"] <= 5 * kills
    broken = {name: found[name] for name in ("failed", "left", "lost", "twice", "changed", "open_twice") if found[name]}
    assert {} == broken, (tmp_path / "digests/errors").read_text()[-2000:]
