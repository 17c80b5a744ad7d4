"""Keep a number of worker processes running."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from pathlib import Path
from typing import Self

from .failures import FAILED, OUTDATED, CommandError

#: Seconds before a worker that crashed is restarted; doubled each time it crashes soon after.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
#: After a worker has run for this many seconds, the pause starts again with the first one.
HEALTHY = 60.0
#: The folder of this package, so that workers import the same one.
_SOURCE = str(Path(__file__).resolve().parents[2])


class Worker:
    """One worker process.

    It leads its own session, so that a Ctrl-C in the terminal reaches only the supervisor, which
    forwards it once.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self.pid = process.pid

    @classmethod
    async def start(cls, orders: bytes) -> Self:
        """Start a process and send it its configuration (see :func:`.worker.encode`)."""
        path = os.pathsep.join(part for part in (_SOURCE, os.environ.get("PYTHONPATH")) if part)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "notifykit.cli.worker",
            stdin=PIPE,
            stdout=PIPE,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        worker = cls(process)
        assert process.stdin is not None
        with contextlib.suppress(ConnectionError):  # it died at once; ready() reports this
            process.stdin.write(orders)
            await process.stdin.drain()
        return worker

    async def ready(self) -> None:
        """Return when the worker is ready.

        Raises:
            CommandError: It ended instead; with its error and exit code.
        """
        assert self._process.stdout is not None
        try:
            line = await self._process.stdout.readline()
            said = json.loads(line) if line else {}
            is_ready = said.get("ready")
        except (ValueError, AttributeError) as error:  # other code in the process writes to its stdout
            self.kill()
            await self.wait()
            raise CommandError("unexpected output in place of the ready message", FAILED) from error
        if not is_ready:
            code = await self.wait()
            raise CommandError(said.get("error") or f"it ended at once ({ending(code)})", said.get("code", FAILED))

    async def wait(self) -> int:
        """Wait for its end and return its exit code; negative if it was killed by a signal."""
        code = await self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        return code

    def terminate(self) -> None:
        """Ask it to finish its attempts in progress and end."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def stop(self, grace: float) -> int:
        """Ask it to end, wait, and kill it after ``grace`` seconds; return its exit code."""
        self.terminate()
        try:
            async with asyncio.timeout(grace):
                return await self.wait()
        except TimeoutError:
            self.kill()
            return await self.wait()


class Supervisor:
    """Starts workers, restarts crashed ones, and stops them all.

    Args:
        orders: The configuration of every worker.
        count: The number of workers.
        note: Called with a line about the start or end of a worker.
    """

    def __init__(self, orders: bytes, count: int, note: Callable[[str], None]) -> None:
        self._orders = orders
        self._count = count
        self._note = note
        self._workers: dict[int, Worker] = {}
        self._ready: set[int] = set()
        self._tried: set[int] = set()
        self._is_announced = False
        self._stopping = asyncio.Event()
        self._outdated = False

    @property
    def pids(self) -> list[int]:
        """The ids of the processes that are ready."""
        return [self._workers[slot].pid for slot in sorted(self._ready)]

    async def run(self, ready: Callable[[], None]) -> None:
        """Work until :meth:`stop`; return when every worker has ended.

        Args:
            ready: Called once, when the start of every worker was tried and at least one is ready.

        Raises:
            CommandError: The tables were migrated to a version that this one does not know, and every worker has
                finished its attempts in progress.
        """
        try:
            async with asyncio.TaskGroup() as keeping:
                for slot in range(self._count):
                    keeping.create_task(self._keep(slot, ready))
        except BaseExceptionGroup as group:  # such as a closed stdout
            raise group.exceptions[0] from group
        finally:
            await self._end_all()
        if self._outdated:
            raise CommandError(
                "the store's tables were migrated to a newer version of notifykit: upgrade it on this host", OUTDATED
            )

    def stop(self) -> None:
        """Ask every worker to finish its attempts in progress and end."""
        self._stopping.set()
        for worker in self._workers.values():
            worker.terminate()

    def kill(self) -> None:
        """End every worker at once."""
        self._stopping.set()
        for worker in self._workers.values():
            worker.kill()

    async def _keep(self, slot: int, ready: Callable[[], None]) -> None:
        """Start a worker, and another one each time it has ended or could not start."""
        pause = FIRST_PAUSE
        while True:
            started = time.monotonic()
            try:
                await self._start(slot)
                self._tell(slot, ready)
                what = await self._ended(slot)
            except (CommandError, OSError) as error:  # the machine may have no memory for a process
                what = f"a worker could not start: {error}"
                self._tell(slot, ready)
            if self._stopping.is_set():
                return
            pause = FIRST_PAUSE if time.monotonic() - started >= HEALTHY else pause
            self._note(f"notifykit: {what}; starting another in {pause:g} s")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
                return
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _start(self, slot: int) -> None:
        worker = self._workers[slot] = await Worker.start(self._orders)
        if self._stopping.is_set():
            worker.terminate()
        await worker.ready()
        self._ready.add(slot)

    async def _ended(self, slot: int) -> str:
        worker = self._workers[slot]
        code = await worker.wait()
        self._ready.discard(slot)
        if code == OUTDATED:  # a new worker of the same version would not start
            self._outdated = True
            self.stop()
        return f"worker {worker.pid} ended ({ending(code)})"

    def _tell(self, slot: int, ready: Callable[[], None]) -> None:
        """Report once that the workers are ready, and later that a restarted worker is ready."""
        self._tried.add(slot)
        if self._stopping.is_set():
            return
        if self._is_announced and slot in self._ready:
            self._note(f"notifykit: worker {self._workers[slot].pid} ready")
        elif not self._is_announced and self._ready and len(self._tried) == self._count:
            self._is_announced = True
            ready()

    async def _end_all(self) -> None:
        """End all processes."""
        self._stopping.set()
        for worker in self._workers.values():
            worker.kill()
        await asyncio.gather(*(worker.wait() for worker in self._workers.values()))


def ending(code: int) -> str:
    """Return how a process ended, as text."""
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"
