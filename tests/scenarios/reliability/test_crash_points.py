"""Whatever step a process dies at, or stands still at past its lease: nothing is lost, and repeats are bounded.

The cases wait for leases most of the time, so several of them run at once.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from sqlite3 import connect
from typing import Any
from zlib import crc32

import psycopg
import pytest

from notifykit import RateLimit
from tests import report
from tests.databases import new_database

from .checker import Findings
from .conftest import Databases
from .crash_cases import CASES, CrashCase
from .processes import SETTINGS, Receiver, Role, Site, until
from .roles.publisher import HOST_TABLE

#: Its tests share what is made once for the module.
pytestmark = [pytest.mark.xdist_group("crash points"), pytest.mark.in_turn]

#: How many cases run at the same time.
_AT_ONCE = 8


def run(case: CrashCase, databases: Databases, folder: Path, receiver: Receiver, sabotage: str = "") -> Findings:
    """Bring a process to the point, repair what it left with others, and check."""
    with databases() as url, Site(url, folder, receiver, sabotage=sabotage) as site:
        limit = RateLimit(per_second=1000) if case.metered else None
        endpoints = site.endpoints(case.kind, retries=case.retries, rate_limit=limit)
        crash = {
            "publisher": _publisher,
            "joined": _joined,
            "operator": _operator,
            "sweeper": _sweeper,
            "purger": _purger,
        }
        crash.get(case.role, _worker)(case, site, endpoints)
        return site.check([case.expected])


def _failpoints(case: CrashCase) -> str:
    name, _, nth = case.point.partition("@")
    return f"{name}={case.action}" + (f"@{nth}" if nth else "")


def _worker(case: CrashCase, site: Site, endpoints: dict[str, list[str]]) -> None:
    site.publish(endpoints, case.count)
    if case.planned:
        planner = site.worker(roles=["plan"])
        assert until(lambda: site.database.open_work() == (0, case.count), 10)
        planner.terminate()
    doomed = site.worker(_failpoints(case), wait=False, **case.settings)
    if case.point == "stop.draining":
        assert until(lambda: len(site.received()) > 0, 10)
        doomed.signal(signal.SIGTERM)
    _take_over(case, site, doomed)


def _take_over(case: CrashCase, site: Site, doomed: Role) -> None:
    """Wait for the crash, and let a healthy worker repair it; one that only stood still goes on afterwards."""
    if case.action == "stop":
        assert until(doomed.is_stopped, 15), f"never came to {case.point}"
        healthy = site.worker()
        site.drained(3 * SETTINGS["lease"])  # not yet, if it stands still with the file of SQLite locked
        doomed.signal(signal.SIGTERM)
        while not until(doomed.has_ended, 0.3):  # it may come to the point again, and stand still again
            doomed.signal(signal.SIGCONT)
        assert doomed.wait() == 0
    else:
        assert doomed.wait(20) == -signal.SIGKILL, f"never came to {case.point}"
        healthy = site.worker()
    site.drained(20)
    healthy.terminate()


def _publisher(case: CrashCase, site: Site, endpoints: dict[str, list[str]]) -> None:
    doomed = site.publisher(endpoints, _failpoints(case), count=case.count, concurrency=1, wait=False)
    assert doomed.wait(20) == -signal.SIGKILL, f"never came to {case.point}"
    _publish_again(site, endpoints, case.count)


def _publish_again(site: Site, endpoints: dict[str, list[str]], count: int, **options: Any) -> None:
    worker = site.worker()
    assert site.publisher(endpoints, count=count, concurrency=1, wait=False, **options).wait() == 0
    site.drained(20)
    worker.terminate()


def _joined(case: CrashCase, site: Site, endpoints: dict[str, list[str]]) -> None:
    _host(site, f"CREATE TABLE {HOST_TABLE} (n integer PRIMARY KEY)")
    doomed = site.publisher(endpoints, _failpoints(case), count=case.count, joined=True, wait=False)
    assert doomed.wait(20) == (-signal.SIGKILL if case.action == "kill" else 1)
    events = site.database.rows("SELECT count(*) FROM notifykit_events")
    assert site.database.rows(f"SELECT count(*) FROM {HOST_TABLE}") == events == [(1,)], "the transactions differ"
    _publish_again(site, endpoints, case.count, joined=True)


def _host(site: Site, statement: str) -> None:
    if site.url.startswith("sqlite"):
        with closing(connect(site.url.removeprefix("sqlite:///"), isolation_level=None)) as lite:
            lite.execute(statement)
    else:
        with psycopg.connect(site.url, autocommit=True) as connection:
            connection.execute(statement.encode())


def _sweeper(case: CrashCase, site: Site, endpoints: dict[str, list[str]]) -> None:
    site.publish(endpoints, case.count)
    assert site.worker("att.started=kill", wait=False).wait(20) == -signal.SIGKILL
    _take_over(case, site, site.worker(_failpoints(case), wait=False))


def _purger(case: CrashCase, site: Site, endpoints: dict[str, list[str]]) -> None:
    site.publish(endpoints, case.count)
    worker = site.worker()
    site.drained(20)
    assert site.worker(_failpoints(case), wait=False, retention=0.0).wait(20) == -signal.SIGKILL
    worker.terminate()


def _operator(case: CrashCase, site: Site, endpoints: dict[str, list[str]]) -> None:
    site.publish(endpoints, case.count)
    worker = site.worker()
    site.drained(20)
    (endpoint,) = endpoints["acme"]
    if case.command["task"] == "redrive":
        site.heal(endpoint)
    doomed = site.operator(f"{case.command['task']}", _failpoints(case), tenant="acme", endpoint=endpoint)
    assert doomed.wait(20) == -signal.SIGKILL, f"never came to {case.point}"
    if case.command["task"] == "rotate":
        site.publish(endpoints, case.count, prefix="after")
    site.drained(20)
    worker.terminate()


#: The findings of each case on each kind of database, once it has run.
Runs = dict[tuple[str, str], Future[Findings]]


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, receiver: Receiver, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runs]:
    """The runs of all cases that are wanted, several at a time."""
    wanted: dict[tuple[str, str], Any] = {
        (str(item.callspec.params["databases"]), str(item.callspec.params["case"])): item.callspec.params["case"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == test_a_crash_loses_nothing.__name__
    }
    made = {kind: request.getfixturevalue(f"{kind}_databases") for kind, _ in wanted}
    folder = tmp_path_factory.mktemp("crashes")
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        yield {
            (kind, name): threads.submit(run, case, made[kind], folder / f"{number}", receiver)
            for number, ((kind, name), case) in enumerate(wanted.items())
        }


def _daily() -> list[CrashCase]:
    """Return what is enough for every day: one case of each point, and of each thing that happens to each step."""
    points: dict[str, list[CrashCase]] = {}
    for case in CASES:
        points.setdefault(case.point.partition("@")[0], []).append(case)
    chosen = [cases[crc32(point.encode()) % len(cases)] for point, cases in points.items()]
    kinds = {_kind(case): case for case in [*CASES, *chosen]}
    return [*chosen, *kinds.values()]


def _kind(case: CrashCase) -> tuple[str, str, str]:
    return case.point.partition(".")[0], case.role, case.action


_DAILY = _daily()
_ALL = [pytest.param(case, marks=() if case in _DAILY else pytest.mark.thorough) for case in CASES]


@pytest.mark.parametrize("databases", ["sqlite", "postgres"])
@pytest.mark.parametrize("case", _ALL, ids=str)
def test_a_crash_loses_nothing(case: CrashCase, databases: str, runs: Runs, request: pytest.FixtureRequest) -> None:
    """Every acknowledged event arrives, ``delivered`` is never a lie, and repeats are only those the step allows."""
    findings = runs[databases, str(case)].result()

    report.note(request.node.name, findings, kills=int(case.action == "kill"), pauses=int(case.action == "stop"))
    assert () == findings.problems
    assert findings.duplicates <= case.duplicates
    assert findings.accepted == case.count * (2 if case.command.get("task") == "rotate" else 1)


@pytest.fixture(params=["sqlite", "postgres"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
    else:
        with new_database(request.getfixturevalue("postgres_url")) as url:
            yield url


def test_a_migration_that_dies_half_way_can_be_repeated(
    empty_database: str, receiver: Receiver, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The tables come all at once: a process that dies before that leaves a database that can be migrated."""
    catalog = "sqlite_master" if empty_database.startswith("sqlite") else "pg_tables WHERE schemaname = 'public'"
    with Site(empty_database, tmp_path / "site", receiver) as site:
        status = site.operator("migrate", "mig.half=kill").wait()
        left = site.database.rows(f"SELECT count(*) FROM {catalog}")
        again = site.operator("migrate").wait()

        report.note(request.node.name, kills=1)
        assert (-signal.SIGKILL, [(0,)], 0) == (status, left, again)
        assert (0, 0) == site.database.open_work()
