"""Workers die, the broker loses everything, is unreachable, or repeats and reorders tickets: nothing is lost."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tests import report

from .conftest import Databases
from .processes import SETTINGS, Receiver, Role, Site
from .proxy import FaultProxy

pytestmark = pytest.mark.in_turn

#: Claims of a worker that can be under way to the receiver when it dies.
_IN_FLIGHT = 3 * (SETTINGS["concurrency"] + SETTINGS["max_unproven"])
_HOLD = 2.0
#: No process sends what it has planned: every delivery goes through the broker.
_PLANNER: dict[str, Any] = {"roles": ["plan", "clean"]}
_SENDER: dict[str, Any] = {"roles": ["relay", "send", "clean"], "hold": _HOLD}


class Carrier:
    """A broker behind a proxy, with queues of its own."""

    def __init__(self, url: str, proxy: FaultProxy) -> None:
        self._prefix = f"test-{uuid4().hex[:12]}"
        self._direct = url
        self.proxy = proxy
        self.url = f"{urlsplit(url)._replace(netloc=f'127.0.0.1:{proxy.port}').geturl()}?prefix={self._prefix}"

    def wipe(self) -> None:
        """Delete every queue with all that is in it."""
        import redis

        with redis.from_url(self._direct) as client:
            if keys := [*client.scan_iter(f"{self._prefix}:*")]:
                client.delete(*keys)


@pytest.fixture
def carrier(redis_url: str) -> Iterator[Carrier]:
    """A broker on the Redis server that all tests share."""
    address = urlsplit(redis_url)
    with FaultProxy(address.hostname or "", address.port or 6379) as proxy:
        carrier = Carrier(redis_url, proxy)
        yield carrier
        carrier.wipe()


def through_faults(
    site: Site, carrier: Carrier, *, kills: int = 2, wipes: int = 2, cut_off: float = 1.0, rate: float = 150
) -> float:
    """Break things under load, one after the other; return how long it took to drain afterwards."""
    rng = random.Random(19)
    endpoints = site.endpoints(tenants=("acme", "globex"), each=2)
    planner = site.worker(**_PLANNER)
    senders = [_sender(site, carrier), _sender(site, carrier)]
    publisher = site.publisher(endpoints, rate=rate)
    for number in range(max(kills, wipes)):
        assert site.publishes(30)
        if number < kills:
            victim = rng.randrange(len(senders))
            senders[victim].kill()
            senders[victim] = _sender(site, carrier)
        if number < wipes:
            carrier.wipe()
    assert site.publishes(30)
    carrier.proxy.is_deaf = True  # a partition: connections stay open, and nothing comes through
    time.sleep(cut_off)
    carrier.proxy.heal()
    carrier.proxy.reset()
    assert site.publishes(30)
    publisher.terminate()
    took = site.drained(60)
    for worker in (planner, *senders):
        worker.terminate()
    return took


def _sender(site: Site, carrier: Carrier, **settings: Any) -> Role:
    return site.worker(broker=carrier.url, **{**_SENDER, **settings})


@pytest.mark.parametrize(
    ("faults", "seconds"),
    [
        pytest.param({"kills": 1, "wipes": 1}, 20, marks=pytest.mark.thorough, id="few"),
        pytest.param({"kills": 6, "wipes": 6, "cut_off": 30.0}, 60, marks=pytest.mark.soak, id="many"),
    ],
)
def test_a_broker_that_fails_loses_nothing(
    faults: dict[str, Any],
    seconds: float,
    databases: Databases,
    carrier: Carrier,
    receiver: Receiver,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """Workers are killed, the broker is wiped and partitioned under load: everything arrives soon after the fault."""
    with databases() as url, Site(url, tmp_path / "site", receiver) as site:
        took = through_faults(site, carrier, **faults)

        findings = site.check()
        report.note(request.node.name, findings, drained_in=round(took, 2), **faults)
        assert () == findings.problems
        assert 0 == findings.lost == findings.false_success
        assert findings.duplicates <= faults["kills"] * _IN_FLIGHT
        assert took < seconds


def test_tickets_that_are_lost_repeated_and_reordered_send_everything_once(
    one_databases: Databases, carrier: Carrier, receiver: Receiver, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A broker that hands tickets to several workers, in any order, and loses some, repeats no delivery."""
    with one_databases() as url, Site(url, tmp_path / "site", receiver) as site:
        endpoints = site.endpoints(tenants=("acme", "globex"), each=2)
        workers = [site.worker(**_PLANNER), *(_sender(site, carrier, hold=0.5, unruly=True) for _ in range(2))]
        site.publish(endpoints, 60)
        took = site.drained(60)
        for worker in workers:
            worker.terminate()

        findings = site.check()
        report.note(request.node.name, findings, drained_in=round(took, 2))
        assert () == findings.problems
        assert (0, 0) == (findings.lost, findings.duplicates)


def drained_after_a_wipe(site: Site, carrier: Carrier, seconds: float) -> bool:
    """Wipe the broker while tickets wait in it; return whether everything arrives all the same."""
    endpoints = site.endpoints()
    planner, relay = site.worker(**_PLANNER), site.worker(broker=carrier.url, **{**_SENDER, "roles": ["relay"]})
    site.publish(endpoints, 20)
    time.sleep(_HOLD / 4)  # the relay hands over; no worker receives
    carrier.wipe()
    sender = _sender(site, carrier)
    took = site.drained(seconds)
    for worker in (planner, relay, sender):
        worker.kill()
    return took < seconds
