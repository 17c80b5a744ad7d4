"""The processes of a scenario, and the site they work on: a database, a receiver, their logs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from notifykit import EgressRules, Event, Notifykit, RetryPolicy
from notifykit.failpoints import VARIABLE as FAILPOINTS
from tests.scenarios.reliability.forks import Fork  # by the name that another process finds it under

from .checker import Checker, Database, Findings
from .roles.orders import Log, lines
from .sabotage import VARIABLE as SABOTAGE

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="
#: Leases that run out while a test waits; attempts are cut to half of that.
SETTINGS: Mapping[str, Any] = {
    "lease": 2.0,
    "max_timeout": 1.0,
    "lease_margin": 0.5,
    "poll": 0.2,
    "grace": 5.0,
    "concurrency": 16,
    "max_unproven": 16,
    "batch": 100,
    "prefetch": 200,
    "max_abandoned": 20,
}


class Role:
    """One process of a role.

    It gets its settings as JSON; what it writes to stderr is in ``log``.
    """

    def __init__(
        self, name: str, options: Mapping[str, Any], log: Path, *, failpoints: str = "", sabotage: str = ""
    ) -> None:
        environment = {**os.environ, FAILPOINTS: failpoints, SABOTAGE: sabotage}
        self.log = log
        self._process = Fork(f"tests.scenarios.reliability.roles.{name}", options, log, environment)
        self.pid = self._process.pid

    def ready(self) -> str:
        """Wait for its first line and return it; empty if it ended instead."""
        return self._process.stdout.readline().decode().strip()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        self._process.signal(number)

    def is_stopped(self) -> bool:
        """Return whether it is stopped by a SIGSTOP."""
        with contextlib.suppress(OSError):
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        return False

    def has_ended(self) -> bool:
        """Return whether it has ended."""
        return self._process.poll() is not None

    def wait(self, seconds: float = 30) -> int:
        """Wait for its end and return its exit status."""
        try:
            return self._process.wait(seconds)
        finally:
            if self.has_ended():
                self._process.stdout.close()

    def kill(self) -> None:
        """Kill it with SIGKILL, if it has not ended, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self.wait()

    def terminate(self) -> float:
        """Send SIGTERM and return how long it took to end with status 0."""
        started = time.monotonic()
        self.signal(signal.SIGTERM)
        status = self.wait(60)
        if status != 0:
            raise AssertionError(f"ended with {status}:\n{self.log.read_text()[-2000:]}")
        return time.monotonic() - started

    def memory(self) -> int:
        """Return its resident memory in bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0


class Receiver(Role):
    """The receiver's process; one may serve many sites, distinguished by their tags."""

    def __init__(self, folder: Path, *, slow: float = 0.6) -> None:
        self.receipts = folder / "received.jsonl"
        self.healed = folder / "healed"
        self.healed.mkdir()
        options = {"log": str(self.receipts), "secret": SECRET, "healed": str(self.healed), "slow": slow}
        super().__init__("receiver", options, folder / "receiver.err")
        self.port = int(self.ready())


class Site:
    """A database with endpoints, and every process that was started on it.

    Args:
        url: A database with notifykit's tables.
        folder: Holds the logs.
        via: What the processes call the database, if they reach it through a proxy.
        sabotage: The fault that all its processes apply; see ``sabotage.py``.
    """

    def __init__(
        self, url: str, folder: Path, receiver: Receiver, *, via: str | None = None, sabotage: str = ""
    ) -> None:
        self.url = url
        self.via = via or url
        self.folder = folder
        self.receiver = receiver
        self.database = Database(url)
        self.sabotage = sabotage
        self.tags: dict[str, tuple[str, str]] = {}
        self.publishers: dict[str, Path] = {}
        self._roles: list[Role] = []
        self._lock = threading.Lock()
        folder.mkdir(exist_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for role in self._roles:
            role.kill()
        self.database.close()

    # -- what is there -----------------------------------------------------------------------------

    def endpoints(
        self,
        kind: str = "ok",
        *,
        tenants: Sequence[str] = ("acme",),
        each: int = 1,
        retries: int = 8,
        port: int = 0,
        **options: Any,
    ) -> dict[str, list[str]]:
        """Make endpoints that answer like ``kind`` (see ``roles/receiver.py``); return their ids by tenant."""
        retry = RetryPolicy(delays=[timedelta(seconds=0.3)] * retries, jitter=0.2)

        async def make() -> dict[str, list[str]]:
            made: dict[str, list[str]] = {}
            async with Notifykit(self.url, egress=EgressRules(allow=["127.0.0.0/8"], allow_http=True)) as kit:
                for tenant in tenants:
                    for _ in range(each):
                        tag = uuid4().hex[:12]
                        url = f"http://127.0.0.1:{port or self.receiver.port}/{kind}/{tag}"
                        _, endpoint = await kit.subscribe(
                            "test.*", tenant=tenant, endpoint=url, secret=SECRET, retry=retry, **options
                        )
                        self.tags[endpoint.id] = (tag, tenant)
                        made.setdefault(tenant, []).append(endpoint.id)
            return made

        return asyncio.run(make())

    def publish(
        self, tenants: Mapping[str, Sequence[str]], count: int = 1, *, type: str = "test.order", prefix: str = "d"
    ) -> None:
        """Publish from this process, and log it like a publisher."""
        log = Log(self.publishers.setdefault(prefix, self.folder / f"{prefix}.acks"))

        async def publish() -> None:
            async with Notifykit(self.url) as kit:
                for n in range(count):
                    tenant = sorted(tenants)[n % len(tenants)]
                    data = {"tenant": tenant, "n": n, "amount": 1e22, "to": "Zürich </b>", "prefix": prefix}
                    receipt = await kit.apublish(Event(type=type, data=data), tenant=tenant)
                    log.add(
                        n=n, key=f"{prefix}-{n}", id=receipt.event_id, tenant=tenant, endpoints=list(tenants[tenant])
                    )

        asyncio.run(publish())

    def worker(
        self,
        failpoints: str = "",
        *,
        wait: bool = True,
        max_pages: int | None = None,
        broker: str | None = None,
        unruly: bool = False,
        **settings: Any,
    ) -> Role:
        """Start a worker; an ``unruly`` broker loses, repeats and reorders tickets."""
        options = {
            "url": self.via,
            "settings": {**SETTINGS, **settings},
            "max_pages": max_pages,
            "broker": broker,
            "unruly": unruly,
        }
        return self._start("worker", options, failpoints, wait)

    def publisher(
        self,
        tenants: Mapping[str, Sequence[str]],
        failpoints: str = "",
        *,
        prefix: str = "p",
        count: int | None = None,
        rate: float = 0,
        concurrency: int = 8,
        type: str = "test.order",
        joined: bool = False,
        max_pages: int | None = None,
        wait: bool = True,
    ) -> Role:
        """Start a publisher; one with the ``prefix`` of an earlier one resumes where that one ended."""
        log = self.publishers.setdefault(prefix, self.folder / f"{prefix}.acks")
        options = {
            "url": self.via,
            "prefix": prefix,
            "tenants": {tenant: list(ids) for tenant, ids in tenants.items()},
            "count": count,
            "rate": rate,
            "concurrency": concurrency,
            "type": type,
            "joined": joined,
            "max_pages": max_pages,
            "log": str(log),
        }
        return self._start("publisher", options, failpoints, wait)

    def operator(self, task: str, failpoints: str = "", **options: Any) -> Role:
        """Start an operator's tool."""
        return self._start("operator", {"url": self.via, "task": task, **options}, failpoints, wait=True)

    def _start(self, name: str, options: Mapping[str, Any], failpoints: str, wait: bool) -> Role:
        with self._lock:
            log = self.folder / f"{name}-{len(self._roles)}.err"
            role = Role(name, options, log, failpoints=failpoints, sabotage=self.sabotage)
            self._roles.append(role)
        if wait and not role.ready():
            raise AssertionError(f"{name} did not get ready ({role.wait()}):\n{log.read_text()[-2000:]}")
        return role

    def heal(self, endpoint: str) -> None:
        """Let an endpoint that fails answer well from now on."""
        (self.receiver.healed / self.tags[endpoint][0]).touch()

    # -- what happens ------------------------------------------------------------------------------

    def drained(self, seconds: float = 30) -> float:
        """Wait until nothing is open; return how long it took (``seconds`` at the most)."""
        started = time.monotonic()
        until(lambda: self.database.open_work() == (0, 0), seconds)
        return time.monotonic() - started

    def acknowledged(self) -> int:
        """Return how many acknowledgements there are."""
        return sum("id" in line for path in self.publishers.values() for line in lines(path))

    def publishes(self, more: int, seconds: float = 30) -> bool:
        """Wait until so many more events have been acknowledged; return whether they were."""
        before = self.acknowledged()
        return until(lambda: self.acknowledged() >= before + more, seconds)

    def failures(self) -> list[dict[str, Any]]:
        """Return every error that publishers saw."""
        return [line for path in self.publishers.values() for line in lines(path) if "error" in line]

    def received(self) -> list[dict[str, Any]]:
        """Return what came to this site's endpoints."""
        tags = {tag for tag, _ in self.tags.values()}
        return [line for line in lines(self.receiver.receipts) if line["tag"] in tags]

    def check(self, expected: Sequence[str] = ("delivered",), *, hidden: int = 0) -> Findings:
        """Return what the checker found."""
        acknowledgements = self.publishers.values()
        checker = Checker(self.database, acknowledgements, self.receiver.receipts, self.tags, expected, hidden)
        return checker.findings()


def until(done: Callable[[], bool], seconds: float) -> bool:
    """Wait for ``done()``, for ``seconds`` at the most; return its last result."""
    deadline = time.monotonic() + seconds
    while not (answer := done()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return answer
