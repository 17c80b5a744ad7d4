"""Processes that begin with everything imported: forks of one, since imports cost more than their work."""

from __future__ import annotations

import json
import multiprocessing
import os
import runpy
import sys
import threading
import time
from collections.abc import Mapping
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from notifykit import failpoints

ROOT = Path(__file__).parents[3]
#: What the roles need; a module that is missing here is imported by each process.
_IMPORTED = [
    "asyncpg",
    "notifykit.channels.webhook.channel",
    "notifykit.dispatch.runtime.dispatcher",
    "notifykit.kit",
    "notifykit.stores.sql.postgres",
    "notifykit.stores.sql.sqlite",
    __name__,
    f"{__package__}.sabotage",
    f"{__package__}.roles.orders",
]
_CONTEXT = multiprocessing.get_context("forkserver")
#: Starting a process reads the status of every other one, and of two readers one would find nothing.
_LOCK = threading.Lock()


class Fork:
    """A process that runs a module as a program.

    Args:
        module: The name of the module.
        orders: Its first argument, as JSON.
        log: The file that its stderr is appended to.
        environment: Its environment, whole.
    """

    def __init__(self, module: str, orders: Mapping[str, Any], log: Path, environment: Mapping[str, str]) -> None:
        reader, writer = _CONTEXT.Pipe(duplex=False)
        told = (module, json.dumps(orders), log, dict(environment), writer)
        self._process = _CONTEXT.Process(target=_begin, args=told, daemon=True)
        with _LOCK:
            _start_server()
            self._process.start()
        writer.close()
        assert self._process.pid is not None
        self.pid = self._process.pid
        self.stdout = os.fdopen(os.dup(reader.fileno()), "rb")
        reader.close()

    def poll(self) -> int | None:
        """Return its exit status: None while it runs, and the negative number of the signal that ended it."""
        with _LOCK:
            return self._process.exitcode

    def wait(self, seconds: float) -> int:
        """Wait for its end and return its exit status."""
        deadline = time.monotonic() + seconds
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"process {self.pid} still runs after {seconds} s")
            time.sleep(0.005)
        return status

    def signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


def _start_server() -> None:
    """Start the process that the others are forks of, unless it runs.

    It is not measured for coverage: a traced process is several times slower, and leases are short in scenarios.
    """
    kept = dict(os.environ)
    for name in kept:
        if name.startswith("COV"):
            del os.environ[name]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH")]))
    try:
        _CONTEXT.set_forkserver_preload(_IMPORTED)
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(kept)


def _begin(module: str, orders: str, log: Path, environment: Mapping[str, str], stdout: Connection) -> None:
    os.setsid()
    os.chdir(ROOT)
    os.dup2(stdout.fileno(), 1)
    stdout.close()
    with log.open("ab") as errors:
        os.dup2(errors.fileno(), 2)
    os.environ.clear()
    os.environ.update(environment)
    failpoints.arm(environment.get(failpoints.VARIABLE, ""))
    sys.argv = [module, orders]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
