"""The suite detects a broken promise: each fault of ``sabotage.py`` is applied, and has to be found.

A reliability test that cannot fail proves nothing.  What found a fault is in the report.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests import report
from tests.everyday import VARIABLE as DAY
from tests.scenarios.reliability.forks import ROOT
from tests.services import running

from .carriers import RedisCarrier
from .checker import Database
from .conftest import Databases
from .crash_cases import CASES
from .processes import Receiver, Site
from .proxy import FaultProxy
from .sabotage import FAULTS, VARIABLE
from .test_brokers import drained_after_a_wipe
from .test_crash_points import run
from .test_digests import collect_under_kills
from .test_ingest import ingest_under_kills, stream_at
from .test_kills import pause_under_load, poison_under_way
from .test_lost_updates import lost_updates

#: A fault rewrites source.
pytestmark = [pytest.mark.thorough, pytest.mark.interpreted, pytest.mark.xdist_group("sabotage")]

_AT_ONCE = 3
#: A fault that shows in a race only may be missed once.
_TRIES = 3


class Bench:
    """What a detector may use."""

    def __init__(self, fault: str, databases: Databases, receiver: Receiver, folder: Path) -> None:
        self.fault = fault
        self.databases = databases
        self.receiver = receiver
        self.folder = folder

    def site(self, url: str) -> Site:
        """Return a site whose processes have the fault."""
        return Site(url, self.folder, self.receiver, sabotage=self.fault)


#: Returns what was noticed: names of invariants, or of tests.
Detector = Callable[[Bench], set[str]]


def crash(case_id: str) -> Detector:
    """Detect it where a process dies."""
    (case,) = (case for case in CASES if str(case) == case_id)

    def detect(bench: Bench) -> set[str]:
        findings = run(case, bench.databases, bench.folder, bench.receiver, bench.fault)
        broken = set(findings.broken)
        if findings.duplicates > case.duplicates:
            broken.add("duplicates")
        return {f"{case_id}: {name}" for name in broken}

    return detect


def pauses(bench: Bench) -> set[str]:
    """Detect it where a worker is stopped."""
    with bench.databases() as url, bench.site(url) as site:
        stale = pause_under_load(site, pauses=1)
        broken = set(site.check().broken) | ({"stale write"} if stale else set())
        return {f"a worker that stood still: {name}" for name in broken}


def poison(bench: Bench) -> set[str]:
    """Detect it where an event kills its workers."""
    with bench.databases() as url, bench.site(url) as site:
        _, reasons = poison_under_way(site, seconds=25)
        return set() if reasons.get("quarantined") else {"a poison message: never a dead letter"}


def quiet(bench: Bench) -> set[str]:
    """Detect it where nothing fails."""
    with bench.databases() as url, bench.site(url) as site:
        endpoints = site.endpoints("slow")
        workers = [site.worker(lease=0.3), site.worker(lease=0.3)]
        site.publish(endpoints, 5)
        site.drained(5)
        for worker in workers:
            worker.terminate()
        repeats = len(site.received()) - site.acknowledged()
        return {"nothing fails: duplicates"} if repeats else set()


def concurrent_changes(bench: Bench) -> set[str]:
    """Detect it where two processes change the same records."""
    with bench.databases() as url:
        noticed = lost_updates(url, bench.folder, count=100, sabotage=bench.fault)
    return {f"changes at once: {name}" for name, count in noticed.items() if count}


def digests_under_kills(bench: Bench) -> set[str]:
    """Detect it where planners of digests are killed; the constraint is dropped."""
    with bench.databases() as url:
        Database(url).execute("DROP INDEX notifykit_digests_open")
        found = collect_under_kills(url, bench.folder, events=100, kills=2, seconds=20, sabotage=bench.fault)
    return {f"digests: {name}" for name in ("lost", "twice", "open_twice") if found[name]}


def wiped_broker(bench: Bench) -> set[str]:
    """Detect it where a broker loses its tickets."""
    with running("redis") as redis_url, FaultProxy("127.0.0.1", urlsplit(redis_url).port or 6379) as proxy:
        carrier = RedisCarrier(redis_url, proxy)
        with bench.databases() as url, bench.site(url) as site:
            arrives = drained_after_a_wipe(site, carrier, seconds=10)
        carrier.wipe()
    return set() if arrives else {"a wiped broker: lost"}


def killed_ingest(bench: Bench) -> set[str]:
    """Detect it where a process dies that turns messages into events."""
    with running("redis") as redis_url, bench.databases() as url, stream_at(redis_url) as stream:
        bench.folder.mkdir(exist_ok=True)
        missing, _ = ingest_under_kills(url, stream, bench.folder, kills=2, seed=19, sabotage=bench.fault)
    return {"an ingest that is killed: lost"} if missing else set()


def other_tests(*chosen: str) -> Detector:
    """Detect it with tests of another suite, which pass without the fault."""

    def detect(bench: Bench) -> set[str]:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        everyday = {
            name: value for name, value in os.environ.items() if name not in {"CI", DAY}
        }  # one failure is enough
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "tests.scenarios.reliability.sabotage", *chosen],
            check=False,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**everyday, "PYTHONPATH": path, VARIABLE: bench.fault},
        )
        failed = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("FAILED ")]
        if not failed and done.returncode != 0:
            raise AssertionError(done.stdout[-2000:] + done.stderr[-2000:])
        return set(failed)

    return detect


_LOCKED = "tests/scenarios/test_locked_tables.py"
DETECTORS: dict[str, tuple[str, Detector]] = {
    "no_fence": ("both", pauses),
    "record_before_send": ("sqlite", crash("att.signed-worker")),
    "no_rescue": ("sqlite", crash("att.started-worker")),
    "abandon_not_counted": ("sqlite", poison),
    "lease_short": ("sqlite", quiet),
    "no_lease_check": ("sqlite", crash("att.answered-stop-others_wait")),
    "lease_ends_with_attempt": ("", other_tests(_LOCKED)),
    "no_stall": ("", other_tests(_LOCKED)),
    "rescue_at_once": ("", other_tests("tests/unit/dispatch/test_janitor.py")),
    "sms_repeated": ("", other_tests("tests/scenarios/test_lost_answers.py")),
    "request_repeated": ("", other_tests("tests/scenarios/test_lost_answers.py")),
    "reply_before_commit": ("both", crash("pub.inserted-publisher")),
    "plan_twice": ("both", crash("fan.leased-stop-worker")),
    "digests_without_constraint": ("both", digests_under_kills),
    "dedupe_in_memory": ("both", crash("pub.committed-publisher")),
    "body_reserialised": ("sqlite", crash("res.committed-retry_set")),
    "tenant_filter_removed": ("", other_tests("tests/conformance/test_sqlite_store.py", "-k", "stranger")),
    "relay_without_hold": ("sqlite", wiped_broker),
    "relay_holds_nothing": ("", other_tests("tests/unit/dispatch/test_broker.py", "-k", "wiped")),
    "message_acknowledged_before_publish": ("sqlite", killed_ingest),
    "acknowledged_before_claim": ("", other_tests("tests/unit/dispatch/test_broker.py", "-k", "acknowledged")),
    "no_versions": ("both", concurrent_changes),
    "uncertain_sms_repeated": ("", other_tests("tests/scenarios/test_provider_routing.py", "-k", "60_messages-half")),
    "guard_first_address_only": ("", other_tests("tests/unit/channels/test_guard.py")),
    "redirects_on": ("", other_tests("tests/unit/channels/test_channel.py", "tests/unit/channels/test_wire.py")),
    "compare_prefix": ("", other_tests("tests/unit/signing/test_vectors.py", "tests/unit/signing/test_verifier.py")),
}
_STORES = {"both": ("sqlite", "postgres"), "sqlite": ("sqlite",), "": ("no",)}
RUNS = [(fault, store) for fault, (stores, _) in DETECTORS.items() for store in _STORES[stores]]


@pytest.fixture(scope="module")
def noticed(
    request: pytest.FixtureRequest, receiver: Receiver, tmp_path_factory: Any
) -> Iterator[dict[Any, Future[set[str]]]]:
    """What was detected of each fault; several are tried at once."""
    wanted = [
        RUNS[item.callspec.indices["which"]]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == test_a_fault_is_detected.__name__
    ]
    databases = {store: request.getfixturevalue(f"{store}_databases") for _, store in wanted if store != "no"}
    folder = tmp_path_factory.mktemp("sabotage")
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        yield {
            which: threads.submit(_detect, which, databases.get(which[1], _no_database), receiver, folder)
            for which in wanted
        }


def _detect(which: tuple[str, str], databases: Databases, receiver: Receiver, folder: Path) -> set[str]:
    for number in range(_TRIES):
        bench = Bench(which[0], databases, receiver, folder / f"{'-'.join(which)}-{number}")
        if by := DETECTORS[which[0]][1](bench):
            return by
    return set()


def _no_database() -> Any:
    raise AssertionError("this detector needs no database")


@pytest.mark.parametrize("which", RUNS, ids="-".join)
def test_a_fault_is_detected(which: tuple[str, str], noticed: dict[Any, Future[set[str]]]) -> None:
    """With the promise broken, a test turns red or an invariant does not hold."""
    by = noticed[which].result()

    report.note(f"sabotage {'-'.join(which)}", noticed_by=sorted(by), sabotages_detected=int(bool(by)))
    assert by, f"no test detected {which[0]}"


def test_every_fault_has_a_detector() -> None:
    """No fault is left out, and there are at least as many as the reference asks for."""
    assert set(FAULTS) == set(DETECTORS)
    assert len(FAULTS) >= 13
