"""A worker and then its store's server are killed in the middle of the work: nothing is lost, repeats are bounded."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import anyio
import pytest

from notifykit import EgressRules, Event, Notifykit
from notifykit.stores.sql.upgrade import migrate
from notifykit.testing import Receiver
from notifykit.testing.mysql_servers import MariadbServer
from notifykit.testing.servers import ValkeyServer

from .reliability.processes import until

pytestmark = pytest.mark.in_turn

EVENTS = 300
#: What the worker may have sent without having recorded it: its attempts under way, and one batch of records.
REPEATS = 150
WORKER = """
import asyncio, sys
from datetime import timedelta
from notifykit import DispatchSettings, EgressRules, Notifykit

async def main():
    times = {name: timedelta(seconds=seconds) for name, seconds in (("lease", 2), ("max_timeout", 1))}
    settings = DispatchSettings(**times, lease_margin=timedelta(seconds=1), max_unproven=10, batch=20, prefetch=40)
    async with Notifykit(sys.argv[1], egress=EgressRules(allow=['127.0.0.0/8'], allow_http=True)) as kit:
        await kit.dispatcher(settings=settings).run()

asyncio.run(main())
"""


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("kind", "private", "driver"), [("mysql", MariadbServer, "asyncmy"), ("redis", ValkeyServer, "redis")]
)
def test_a_killed_worker_and_a_killed_server_lose_nothing(kind, private, driver, request):
    """Every event arrives although both die by SIGKILL, Redis with its append-only file on."""
    pytest.importorskip(driver, reason=f"needs {driver}")
    request.getfixturevalue(f"{kind}_url")  # skips where there is no server
    with private() as server, Receiver() as receiver:
        anyio.run(_publish, server.url, receiver)
        workers = [_worker(server.url)]
        try:
            receiver.expect(40, timeout=60)
            workers[0].kill()
            server.crash()
            server.resume()
            workers.append(_worker(server.url))
            until(lambda: len(_arrived(receiver)) == EVENTS, 60)
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()

    assert set(range(EVENTS)) == _arrived(receiver).keys()
    assert _arrived(receiver).total() - EVENTS <= REPEATS


async def _publish(url, receiver):
    if url.startswith("mysql"):
        await migrate(url)
    async with Notifykit(url, egress=EgressRules(allow=["127.0.0.0/8"], allow_http=True)) as kit:
        endpoint = await kit.endpoints.create(receiver.url, tenant="acme", secret=receiver.secret)
        await kit.subscriptions.create("order.*", tenant="acme", endpoint_id=endpoint.id)
        await kit.apublish_many(
            [Event(type="order.paid", data={"n": number}) for number in range(EVENTS)], tenant="acme"
        )


def _worker(url):
    return subprocess.Popen([sys.executable, "-c", WORKER, url])


def _arrived(receiver):
    return Counter(event.data["n"] for event in receiver.events)
