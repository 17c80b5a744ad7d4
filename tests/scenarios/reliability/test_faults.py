"""The world around the processes fails: the database, the network, the disk, and receivers that are too slow."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from notifykit.testing.servers import PostgresServer
from tests import report
from tests.stores import create_tables

from .checker import Findings
from .conftest import Databases
from .processes import SETTINGS, Receiver, Site, until
from .proxy import FaultProxy

pytestmark = pytest.mark.in_turn

#: The slowest answer that a publisher may get while its database is away, in seconds.
_SLOWEST = 15.0
#: The same where the database accepts everything and answers nothing: the store's statement timeout, and a little.
_SILENCE = 20.0
_AGAIN = "StoreUnavailableError"
#: Deliveries that a worker may have sent and not recorded when its leases run out, which they do if the database
#: is away for longer than a lease: all that it held (it claims no more than ``prefetch``), and the results that
#: it was about to write.  Not only the attempts in progress: a worker sends what it holds while the database is away.
_UNRECORDED = SETTINGS["prefetch"] + SETTINGS["max_unproven"] + SETTINGS["batch"]


def end_well(site: Site, scenario: str, *, hidden: int = 0, **figures: object) -> Findings:
    """Wait until everything is delivered, and check."""
    took = site.drained(60)
    findings = site.check(hidden=hidden)
    report.note(scenario, findings, drained_in=round(took, 2), **figures)
    assert () == findings.problems
    assert took < 60
    return findings


def errors_are_fit(site: Site, slowest: float = _SLOWEST) -> None:
    """Publishers got only the error that means "try again", in time."""
    failures = site.failures()
    assert not {
        (failure["error"], failure["text"]) for failure in failures if failure["error"] != "StoreUnavailableError"
    }
    assert max((failure["took"] for failure in failures), default=0) < slowest


@pytest.mark.parametrize("crashes", [3, pytest.param(10, marks=pytest.mark.soak)])
def test_a_database_that_dies_loses_nothing(
    crashes: int, postgres_server: PostgresServer, receiver: Receiver, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Kill -9 of PostgreSQL under load: publishers get an error, workers wait, and everything arrives afterwards."""
    create_tables(postgres_server.url)
    with Site(postgres_server.url, tmp_path / "site", receiver) as site:
        endpoints = site.endpoints(each=2)
        workers = [site.worker(), site.worker()]
        publishers = [site.publisher(endpoints, prefix=prefix, rate=100) for prefix in ("p1", "p2")]
        for _ in range(crashes):
            assert site.publishes(50), "publishing never came back"
            site.database.close()
            postgres_server.crash()
            time.sleep(0.7)
            postgres_server.resume()
        assert site.publishes(50), "publishing never came back"
        for publisher in publishers:
            publisher.terminate()

        findings = end_well(site, request.node.name, database_kills=crashes)
        errors_are_fit(site)
        assert 0 < len(site.failures())
        assert findings.duplicates <= crashes * len(workers) * _UNRECORDED
        for worker in workers:
            worker.terminate()


@pytest.fixture
def database_proxy(postgres_url: str) -> Iterator[FaultProxy]:
    """A proxy before the PostgreSQL server."""
    address = urlsplit(postgres_url)
    assert address.hostname
    with FaultProxy(address.hostname, address.port or 5432) as proxy:
        yield proxy


@pytest.fixture
def proxied_site(
    postgres_databases: Databases, database_proxy: FaultProxy, receiver: Receiver, tmp_path: Path
) -> Iterator[Site]:
    """A site whose processes reach the database through the proxy."""
    with postgres_databases() as url:
        address = urlsplit(url)
        via = address._replace(netloc=f"{address.username}@127.0.0.1:{database_proxy.port}").geturl()
        with Site(url, tmp_path / "site", receiver, via=via) as site:
            yield site


def _has_failures(site: Site, count: int) -> bool:
    return len(site.failures()) >= count


def _refuse(proxy: FaultProxy) -> None:
    proxy.refuses = True
    proxy.reset()


def _half_open(proxy: FaultProxy) -> None:
    proxy.is_deaf = True


FAULTS: dict[str, Callable[[FaultProxy], None]] = {
    "latency": lambda proxy: setattr(proxy, "latency", 0.02),
    "cut": FaultProxy.cut,
    "reset": FaultProxy.reset,
    "refuse": _refuse,
    "throttle": lambda proxy: setattr(proxy, "rate", 50_000),
    "drop_after": lambda proxy: setattr(proxy, "drop_after", 6000),
}


def test_faults_on_the_way_to_the_database_lose_nothing(
    proxied_site: Site, database_proxy: FaultProxy, request: pytest.FixtureRequest
) -> None:
    """Delays, cuts, resets, refused and throttled connections, one after the other: what was acknowledged arrives."""
    site = proxied_site
    endpoints = site.endpoints(each=2)
    workers = [site.worker(), site.worker()]
    publisher = site.publisher(endpoints, rate=100)
    for fault in FAULTS.values():
        fault(database_proxy)
        time.sleep(0.8)
        database_proxy.heal()
        assert site.publishes(20), "publishing never came back"
    publisher.terminate()

    end_well(site, request.node.name, cuts=database_proxy.cuts, faults=len(FAULTS))
    errors_are_fit(site)
    for worker in workers:
        worker.terminate()


@pytest.mark.thorough
def test_a_database_that_falls_silent_loses_nothing(
    proxied_site: Site, database_proxy: FaultProxy, request: pytest.FixtureRequest
) -> None:
    """Connections that are half open: waiting calls fail in the end, and all processes recover by themselves."""
    site = proxied_site
    endpoints = site.endpoints(each=2)
    workers = [site.worker(), site.worker()]
    publisher = site.publisher(endpoints, rate=100)
    assert site.publishes(20), "publishing never began"
    database_proxy.is_deaf = True
    time.sleep(0.8)
    database_proxy.heal()
    assert site.publishes(20, 90), "publishing never came back"
    assert until(partial(_has_failures, site, 1), 90), "no publish failed"
    publisher.terminate()

    slowest = max(failure["took"] for failure in site.failures())
    end_well(site, request.node.name, slowest_error=round(slowest, 1))
    errors_are_fit(site, _SILENCE)
    for worker in workers:
        worker.terminate()


def test_clocks_that_jump_lose_nothing(
    databases: Databases, receiver: Receiver, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The clock of one of two workers is set forward, right, back and right again, by many leases each time."""
    with databases() as url, Site(url, tmp_path / "site", receiver) as site:
        endpoints = site.endpoints(tenants=("acme", "globex"), each=2)
        publisher = site.publisher(endpoints, rate=100)
        jumping, steady = site.worker(), site.worker()
        for jump in (signal.SIGHUP, signal.SIGUSR2, signal.SIGUSR2, signal.SIGHUP):
            assert site.publishes(80)
            jumping.signal(jump)
        assert site.publishes(80)
        publisher.terminate()
        # deliveries that a clock ahead of time scheduled are due when the other clocks reach that time
        for worker in (jumping, steady):
            worker.signal(signal.SIGHUP)

        end_well(site, request.node.name, jumps=4)
        for worker in (jumping, steady):
            worker.terminate()


def test_a_stop_does_not_wait_for_a_database_that_is_silent(
    proxied_site: Site, database_proxy: FaultProxy, request: pytest.FixtureRequest
) -> None:
    """SIGTERM while the database accepts everything and answers nothing: the worker ends in time all the same."""
    site = proxied_site
    endpoints = site.endpoints()
    worker = site.worker(grace=1.5)
    site.publish(endpoints, 5)
    site.drained(10)
    database_proxy.is_deaf = True
    time.sleep(0.5)

    took = worker.terminate()

    report.note(request.node.name, drains=1, slowest_drain=round(took, 2))
    assert took <= 1.5 + 5  # a busy machine takes seconds


def test_a_commit_whose_answer_is_lost_is_resolved_by_its_key(
    proxied_site: Site, database_proxy: FaultProxy, request: pytest.FixtureRequest
) -> None:
    """The connection dies after the commit was sent: the publish fails, and its second try returns the same event."""
    site = proxied_site
    endpoints = site.endpoints()
    publisher = site.publisher(endpoints, rate=50, concurrency=1)
    for number in range(3):
        # Keys are published in their order, so the key of a later number is sure to be published.
        coming = site.acknowledged() + 5
        database_proxy.swallow_answer_to(f"p-{coming}".encode())
        assert until(partial(_has_failures, site, number + 1), 10), "no answer was lost"
    publisher.terminate()
    unknown = {failure["n"] for failure in site.failures()}
    events: dict[str, int] = dict(
        site.database.rows("SELECT idempotency_key, count(*) FROM notifykit_events GROUP BY idempotency_key")
    )
    worker = site.worker()

    end_well(site, request.node.name, unknown_commits=len(unknown))
    errors_are_fit(site)
    assert 3 == len(unknown)
    assert {1} == {events[f"p-{n}"] for n in unknown}
    worker.terminate()


def test_faults_on_the_way_to_a_receiver_lose_nothing(
    one_databases: Databases, receiver: Receiver, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Whatever happens to the receiver's connections, an event is sent until it has arrived."""
    with (
        FaultProxy("127.0.0.1", receiver.port) as proxy,
        one_databases() as url,
        Site(url, tmp_path / "site", receiver) as site,
    ):
        endpoints = site.endpoints(port=proxy.port, retries=40)
        workers = [site.worker(), site.worker()]
        publisher = site.publisher(endpoints, rate=40)
        for fault in [*FAULTS.values(), _half_open]:
            fault(proxy)
            time.sleep(0.6)
            proxy.heal()
        proxy.reset()
        publisher.terminate()

        # A request over a connection that is cut as it is used again is sent once more within its attempt.
        end_well(site, request.node.name, hidden=proxy.cuts, cuts=proxy.cuts, faults=len(FAULTS) + 1)
        for worker in workers:
            worker.terminate()


def test_a_full_disk_is_reported_and_loses_nothing(
    sqlite_databases: Databases, receiver: Receiver, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """While SQLite cannot grow, publishing fails and workers wait; with room again both go on without a restart."""
    with sqlite_databases() as url, Site(url, tmp_path / "site", receiver) as site:
        endpoints = site.endpoints()
        ((pages,),) = site.database.rows("PRAGMA page_count")
        worker = site.worker(max_pages=pages + 60)
        publisher = site.publisher(endpoints, rate=300, max_pages=pages + 60)
        assert until(lambda: len(site.failures()) > 5, 20), "the disk was never full"
        full_at = site.acknowledged()
        time.sleep(1)
        for role in (worker, publisher):
            role.signal(signal.SIGUSR1)
        assert until(lambda: site.acknowledged() > full_at + 50, 20), "publishing never came back"
        publisher.terminate()

        end_well(site, request.node.name, accepted_when_full=full_at)
        errors_are_fit(site)
        worker.terminate()


def test_a_long_outage_keeps_results_and_memory(
    postgres_server: PostgresServer, receiver: Receiver, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Results that cannot be written wait in memory, bounded by what was claimed, and are written once they can be."""
    create_tables(postgres_server.url)
    with Site(postgres_server.url, tmp_path / "site", receiver) as site:
        endpoints = site.endpoints("slow", each=2)
        workers = [site.worker(lease=30.0), site.worker(lease=30.0)]
        site.publish(endpoints, 40)
        assert until(lambda: len(site.received()) > 5, 10)
        site.database.close()
        postgres_server.crash()
        time.sleep(3)  # attempts end, and their results cannot be written
        held = max(worker.memory() for worker in workers)
        postgres_server.resume()

        findings = end_well(site, request.node.name, database_kills=1, memory=held)
        # A claim whose answer was lost in the crash may run out; a delivery whose result was kept may not be
        # sent again.
        assert 0 == findings.duplicates
        for worker in workers:
            worker.terminate()


@pytest.mark.parametrize("seconds", [6, pytest.param(30, marks=pytest.mark.soak)])
def test_overload_keeps_memory_flat(
    seconds: int, one_databases: Databases, receiver: Receiver, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Ten times more than receivers take is published: workers hold a bounded part, the rest waits in the store."""
    with one_databases() as url, Site(url, tmp_path / "site", receiver) as site:
        endpoints = site.endpoints("slow", each=2, max_in_flight=4)  # some 13 a second
        workers = [site.worker(lease=20.0), site.worker(lease=20.0)]
        publisher = site.publisher(endpoints, rate=150)
        assert until(lambda: len(site.received()) > 10, 10)
        before = [worker.memory() for worker in workers]
        time.sleep(seconds)
        growth = max(worker.memory() - at for worker, at in zip(workers, before, strict=True))
        publisher.terminate()
        took = [worker.terminate() for worker in workers]
        outbox, queue = site.database.open_work()
        delivered = len(site.database.ended())
        accepted = site.acknowledged()

        findings = site.check()
        report.note(
            request.node.name,
            accepted=accepted,
            deliveries=delivered,
            waiting=queue,
            growth=growth,
            slowest_drain=round(max(took), 2),
        )
        assert growth < 64 * 2**20
        assert outbox * 2 + queue + delivered == accepted * 2, "accepted is not delivered and open"
        assert queue + outbox > 3 * delivered, "this was no overload"
        assert {"I1", "I11", "I9"} >= findings.broken
        assert max(took) <= SETTINGS["grace"] + 2
