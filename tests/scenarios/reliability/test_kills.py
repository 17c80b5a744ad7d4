"""Publishers and workers are killed at random, or stopped for longer than their leases, under load."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests import report

from .conftest import Databases
from .processes import SETTINGS, Receiver, Role, Site, until
from .roles.worker import POISON

pytestmark = pytest.mark.in_turn

#: Claims of a worker that can be under way to the receiver when it dies.
_IN_FLIGHT = 3 * (SETTINGS["concurrency"] + SETTINGS["max_unproven"])


def kill_under_load(site: Site, *, kills: int, events: int, rate: float, rng: random.Random) -> None:
    """Kill a random process again and again; stop once there are enough kills and events."""
    endpoints = site.endpoints(tenants=("acme", "globex"), each=2)
    begin: list[Callable[[], Role]] = [
        lambda: site.publisher(endpoints, prefix="p1", rate=rate / 2, wait=False),
        lambda: site.publisher(endpoints, prefix="p2", rate=rate / 2, wait=False),
        lambda: site.worker(wait=False),
        lambda: site.worker(wait=False),
    ]
    running = [start() for start in begin]
    killed = 0
    while killed < kills or site.acknowledged() < events:
        time.sleep(rng.uniform(0.2, 0.7))
        if killed < kills:
            victim = rng.randrange(len(running))
            running[victim].kill()
            running[victim] = begin[victim]()
            killed += 1
    for publisher in running[:2]:
        publisher.ready()
        publisher.terminate()
    site.drained(60)
    for worker in running[2:]:
        worker.terminate()


def check_kills(site: Site, scenario: str, kills: int, events: int) -> None:
    """Nothing is lost, and the receivers saw no more repeats than claims that were in progress."""
    findings = site.check()
    report.note(scenario, findings, kills=kills, bound=kills * _IN_FLIGHT)
    assert () == findings.problems
    assert 0 == findings.lost == findings.false_success
    assert findings.accepted >= events
    assert findings.duplicates <= kills * _IN_FLIGHT


@pytest.mark.parametrize(("kills", "events"), [(8, 400), pytest.param(20, 1000, marks=pytest.mark.thorough)])
def test_random_kills_lose_nothing(
    kills: int, events: int, databases: Databases, receiver: Receiver, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Kill -9 of publishers and workers under load: what was acknowledged arrives, repeats are bounded and equal."""
    with databases() as url, Site(url, tmp_path / "site", receiver) as site:
        kill_under_load(site, kills=kills, events=events, rate=200, rng=random.Random(20))

        check_kills(site, request.node.name, kills, events)


@pytest.mark.soak
def test_a_hundred_kills_lose_nothing(databases: Databases, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The same with over a hundred kills and twenty thousand events."""
    receiver = Receiver(tmp_path)
    with databases() as url, Site(url, tmp_path / "site", receiver) as site:
        kill_under_load(site, kills=120, events=20_000, rate=600, rng=random.Random(120))
        receiver.kill()

        check_kills(site, request.node.name, 120, 20_000)


def pause_under_load(site: Site, *, pauses: int) -> int:
    """Stop a worker while its requests are under way until others have sent again; return its stale writes."""
    endpoints = site.endpoints("late", max_in_flight=8)
    workers = [site.worker(), site.worker()]
    in_vain = 0
    while pauses:
        received = len(site.received())
        site.publish(endpoints, 12, prefix=f"z{pauses}-{in_vain}")
        until(partial(_are_sending, site, workers, received), 5)
        zombie = max(workers, key=lambda worker: len(_claims(site, worker)))
        zombie.signal(signal.SIGSTOP)
        lost = _claims(site, zombie)
        # The second request to each is slow too: the stopped worker resumes while the new owner waits for its answer.
        until(partial(_lost_its_claims, site, zombie), 10)
        again = until(partial(_is_claimed_again, site, lost), 5)
        zombie.signal(signal.SIGCONT)
        site.drained(20)
        if lost and again:
            pauses -= 1
        else:
            in_vain += 1  # everything had been answered before the worker was stopped
            assert in_vain < 10, "no worker could be caught with claims"
    for worker in workers:
        worker.terminate()
    return _stale_writes(site)


def _claims(site: Site, worker: Role) -> set[str]:
    rows = site.database.rows("SELECT id, worker FROM notifykit_queue WHERE state = 'sending'")
    return {id_ for id_, owner in rows if f":{worker.pid}:" in owner}


def _are_sending(site: Site, workers: list[Role], received: int) -> bool:
    return any(_claims(site, worker) for worker in workers) and len(site.received()) > received


def _lost_its_claims(site: Site, worker: Role) -> bool:
    return not _claims(site, worker)


def _is_claimed_again(site: Site, ids: set[str]) -> bool:
    return bool(ids & {id_ for (id_,) in site.database.rows("SELECT id FROM notifykit_queue WHERE state = 'sending'")})


def _stale_writes(site: Site) -> int:
    """Count results of workers whose claim had been abandoned: after that, only the next owner may write.

    Numbers grow with every claim that ends, so a result of a lost claim would stand beside,
    or in the place of, the ``abandoned`` of the same worker.
    """
    stale = 0
    for row in site.database.ended():
        tried = site.database.attempts().get(row.id, [])
        outcomes = [attempt.outcome for attempt in tried]
        stale += row.attempts != len(tried) or outcomes.count("accepted") != 1 or outcomes[-1] != "accepted"
    return stale


@pytest.mark.parametrize("pauses", [3, pytest.param(20, marks=pytest.mark.soak)])
def test_a_worker_that_lost_its_leases_writes_nothing(
    pauses: int, databases: Databases, receiver: Receiver, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Results of a worker that lost its lease fail on the fence, even while the new owner is still sending."""
    with databases() as url, Site(url, tmp_path / "site", receiver) as site:
        stale = pause_under_load(site, pauses=pauses)

        findings = site.check()
        report.note(request.node.name, findings, pauses=pauses, stale_writes=stale)
        assert findings.abandoned > 0, "no claim was lost: the pauses had no effect"
        assert () == findings.problems
        assert 0 == stale


@pytest.mark.parametrize("drains", [5, pytest.param(20, marks=pytest.mark.soak)])
def test_a_stop_under_load_repeats_nothing(
    drains: int, databases: Databases, receiver: Receiver, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """SIGTERM under load: in time, with no repeat and no abandoned attempt."""
    with databases() as url, Site(url, tmp_path / "site", receiver) as site:
        endpoints = site.endpoints("slow", each=2)
        publisher = site.publisher(endpoints, rate=20)
        workers = [site.worker(lease=10.0), site.worker(lease=10.0)]
        took = []
        for number in range(drains):
            site.publishes(10, 10)
            took.append(workers[number % 2].terminate())
            workers[number % 2] = site.worker(lease=10.0)
        publisher.terminate()
        site.drained(30)
        took += [worker.terminate() for worker in workers]

        findings = site.check()
        report.note(request.node.name, findings, drains=len(took), slowest_drain=round(max(took), 2))
        assert () == findings.problems
        assert (0, 0) == (findings.duplicates, findings.abandoned)
        assert max(took) <= SETTINGS["grace"] + 2


def poison_under_way(site: Site, *, seconds: float) -> tuple[int, dict[str | None, int]]:
    """Publish an event that kills its workers among others; return the kills, and the deliveries by reason."""
    endpoints = site.endpoints()
    site.publish(endpoints, 20, prefix="before")
    site.publish(endpoints, 1, type=POISON, prefix="poison")
    site.publish(endpoints, 20, prefix="after")
    site.publishers.pop("poison")
    kills = 0
    workers: list[Role] = []
    deadline = time.monotonic() + seconds
    while site.database.open_work() != (0, 0) and time.monotonic() < deadline:
        dead = [worker for worker in workers if worker.has_ended()]
        kills += len(dead)
        workers = [worker for worker in workers if worker not in dead]
        if len(workers) < 2:
            workers.append(site.worker(max_abandoned=3, wait=False))
        time.sleep(0.05)
    return kills, dict(site.database.rows("SELECT reason, count(*) FROM notifykit_deliveries GROUP BY reason"))


def test_a_poison_message_is_dead_lettered_and_others_arrive(
    databases: Databases, receiver: Receiver, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """An event that kills every worker that sends it becomes a dead letter; what was claimed beside it does not."""
    with databases() as url, Site(url, tmp_path / "site", receiver) as site:
        kills, reasons = poison_under_way(site, seconds=60)

        findings = site.check(["delivered", "dead"])
        report.note(request.node.name, findings, kills=kills, quarantined=reasons.get("quarantined", 0))
        assert {None: 40, "quarantined": 1} == reasons
        assert () == findings.problems
