"""What tests of the command line hold: answers, a receiver, processes, and waiting with a deadline."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from notifykit.cli.receiver import Receiver, Reply, Request
from notifykit.options import EgressRules

LOOPBACK = EgressRules(allow=("127.0.0.0/8",), allow_http=True)


class Answer(NamedTuple):
    """What a command said and returned."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[Any]:
        """The JSON lines on stdout."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def record(self) -> Any:
        """The only JSON line on stdout."""
        (record,) = self.records
        return record


Command = Callable[..., Answer]
Deliver = Callable[[], None]


class Desk:
    """A receiver: what it answers, and what it got."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: list[tuple[bytes, bytes]] = []
        self.requests: list[Request] = []
        self.receiver = Receiver(self._handle)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.receiver.port}/hooks"

    async def _handle(self, request: Request) -> Reply:
        self.requests.append(request)
        return Reply(self.status, b"thanks", self.headers)


def publish(cli: Command, type_: str = "order.shipped", data: str = '{"total": 7}') -> str:
    """Publish an event and return its id."""
    event_id: str = cli("publish", type_, data, "--json").record["event_id"]
    return event_id


def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Start the command line in a process of its own."""
    given: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return subprocess.Popen([sys.executable, "-m", "notifykit", *arguments], **given)


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Return once ``condition`` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.01)
