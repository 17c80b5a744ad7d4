"""Workers die, the broker loses everything, is unreachable, or repeats and reorders tickets: nothing is lost."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from notifykit.testing.servers import ServerUnavailableError
from tests import report
from tests.services import is_required

from .carriers import ApacheKafkaCarrier, Carrier, KafkaCarrier, NatsCarrier, RabbitCarrier, RedisCarrier, SqsCarrier
from .conftest import Databases
from .processes import SETTINGS, Receiver, Role, Site

pytestmark = pytest.mark.in_turn

#: Claims of a worker that can be under way to the receiver when it dies.
_IN_FLIGHT = 3 * (SETTINGS["concurrency"] + SETTINGS["max_unproven"])
_HOLD = 2.0
#: No process sends what it has planned: every delivery goes through the broker.
_PLANNER: dict[str, Any] = {"roles": ["plan", "clean"]}
_SENDER: dict[str, Any] = {"roles": ["relay", "send", "clean"], "hold": _HOLD}


#: What faults do at least, and what they do in the long form.
_FEW: dict[str, Any] = {"kills": 1, "wipes": 1}
_MANY: dict[str, Any] = {"kills": 6, "wipes": 6, "cut_off": 30.0}
_LONG = pytest.param(_MANY, 60, marks=pytest.mark.soak, id="many")


_OTHERS = [
    pytest.param(ApacheKafkaCarrier, id="apache", marks=pytest.mark.xdist_group("apache-kafka")),
    pytest.param(NatsCarrier, id="nats", marks=pytest.mark.xdist_group("nats")),
    pytest.param(RabbitCarrier, id="rabbitmq", marks=pytest.mark.xdist_group("rabbitmq")),
    pytest.param(SqsCarrier, id="sqs", marks=pytest.mark.xdist_group("sqs")),
]
#: Nothing can be wiped there; the others have shown that partitions are survived.
_KAFKA_AS_WELL = pytest.param(KafkaCarrier, id="kafka", marks=[pytest.mark.xdist_group("kafka"), pytest.mark.soak])
#: The same for tests that wipe nothing: an everyday run takes one of them.
_EACH = [
    pytest.param(RedisCarrier, id="redis"),
    pytest.param(KafkaCarrier, id="kafka", marks=pytest.mark.xdist_group("kafka")),
    *_OTHERS[1:],
]


@pytest.fixture
def carrier(request: pytest.FixtureRequest) -> Iterator[Carrier]:
    """A broker behind a proxy, Redis if the test does not say which."""
    kind: type[Carrier] = getattr(request, "param", RedisCarrier)
    try:
        with kind.behind_proxy(lambda service: str(request.getfixturevalue(f"{service}_url"))) as carrier:
            yield carrier
            carrier.wipe()
    except ServerUnavailableError as error:
        (pytest.fail if is_required(kind.service) else pytest.skip)(f"needs {kind.service}: {error}")


def through_faults(site: Site, carrier: Carrier, *, kills: int = 2, wipes: int = 2, cut_off: float = 1.0) -> float:
    """Break things under load, one after the other; return how long it took to drain afterwards."""
    rng = random.Random(19)
    endpoints = site.endpoints(tenants=("acme", "globex"), each=2)
    planner = site.worker(**_PLANNER)
    senders = [_sender(site, carrier), _sender(site, carrier)]
    publisher = site.publisher(endpoints, rate=carrier.rate)
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


@pytest.mark.parametrize(("faults", "seconds"), [pytest.param(_FEW, 20, marks=pytest.mark.thorough, id="few"), _LONG])
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
        _nothing_is_lost(site, carrier, faults, seconds, request)


@pytest.mark.parametrize(("faults", "seconds"), [pytest.param(_FEW, 60, marks=pytest.mark.thorough, id="few"), _LONG])
@pytest.mark.parametrize("carrier", [*_OTHERS, _KAFKA_AS_WELL], indirect=True)
def test_other_brokers_that_fail_lose_nothing(
    faults: dict[str, Any],
    seconds: float,
    sqlite_databases: Databases,
    carrier: Carrier,
    receiver: Receiver,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    """The same for every other server."""
    with sqlite_databases() as url, Site(url, tmp_path / "site", receiver) as site:
        _nothing_is_lost(site, carrier, faults, seconds, request)


def _nothing_is_lost(
    site: Site, carrier: Carrier, faults: dict[str, Any], seconds: float, request: pytest.FixtureRequest
) -> None:
    took = through_faults(site, carrier, **faults)

    findings = site.check()
    report.note(request.node.name, findings, drained_in=round(took, 2), **faults)
    assert () == findings.problems
    assert 0 == findings.lost == findings.false_success
    assert findings.duplicates <= faults["kills"] * _IN_FLIGHT
    assert took < seconds


@pytest.mark.parametrize("carrier", _EACH, indirect=True)
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
