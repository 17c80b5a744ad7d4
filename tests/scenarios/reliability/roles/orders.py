"""The common parts of every process: settings from the command line, an append-only log, a line when it is ready."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from notifykit import DispatchSettings, EgressRules, Notifykit
from notifykit.models.delivery import Priority
from notifykit.ports import Broker, Clock

_DURATIONS = {"lease", "hold", "max_timeout", "lease_margin", "poll", "grace", "retention"}


def orders() -> dict[str, Any]:
    """Return the settings of this process, JSON in its first argument."""
    options: dict[str, Any] = json.loads(sys.argv[1])
    return options


def ready() -> None:
    """Report to the parent process that this one is ready."""
    print("ready", flush=True)


def kit_for(url: str, clock: Clock | None = None, broker: str | Broker | None = None) -> Notifykit:
    """Return a kit that may deliver to this machine."""
    return Notifykit(url, egress=EgressRules(allow=["127.0.0.0/8"], allow_http=True), clock=clock, broker=broker)


def settings_from(options: Mapping[str, Any]) -> DispatchSettings:
    """Return the settings that JSON describes; durations are seconds, concurrency is one number."""
    given: dict[str, Any] = {
        name: timedelta(seconds=value) if name in _DURATIONS else value for name, value in options.items()
    }
    if "concurrency" in given:
        given["concurrency"] = dict.fromkeys(Priority, given["concurrency"])
    if "roles" in given:
        given["roles"] = frozenset(given["roles"])
    return DispatchSettings(**given)


class Log:
    """Lines of JSON that survive the process: written at once, forced to the disk by :meth:`sync`."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def add(self, **fields: Any) -> None:
        """Append one line in one write."""
        os.write(self._file, json.dumps(fields).encode() + b"\n")

    def sync(self) -> None:
        """Force the lines to the disk."""
        os.fsync(self._file)


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a log; a half one at its end, of a process that was killed, is left out."""
    if path.exists():
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield json.loads(line)
