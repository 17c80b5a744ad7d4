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

#: Seconds before a worker that crashed is started again; doubled each time it crashes soon after.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
#: A worker that lived this long starts with the first pause again.
HEALTHY = 60.0
#: Where this package is, so that workers import the same one.
_SOURCE = str(Path(__file__).resolve().parents[2])


class Worker:
    """One worker process.

    It is the leader of a session of its own, so that a Ctrl-C in the terminal reaches only the
    supervisor, which passes it on once.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self.pid = process.pid

    @classmethod
    async def start(cls, orders: bytes) -> Self:
        """Start a process and tell it what to do (see :func:`.worker.encode`)."""
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
        with contextlib.suppress(ConnectionError):  # it died at once; ready() says so
            process.stdin.write(orders)
            await process.stdin.drain()
        return worker

    async def ready(self) -> None:
        """Return once the worker works.

        Raises:
            CommandError: It ended instead; with its reason and exit code.
        """
        assert self._process.stdout is not None
        try:
            line = await self._process.stdout.readline()
            said = json.loads(line) if line else {}
            is_ready = said.get("ready")
        except (ValueError, AttributeError) as error:  # something else in the process writes to its stdout
            self.kill()
            await self.wait()
            raise CommandError("it did not say that it is ready, but something else", FAILED) from error
        if not is_ready:
            code = await self.wait()
            raise CommandError(said.get("error") or f"it ended at once ({ending(code)})", said.get("code", FAILED))

    async def wait(self) -> int:
        """Return its exit code once it has ended; negative if it was killed by a signal."""
        code = await self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        return code

    def terminate(self) -> None:
        """Ask it to finish what is under way and end."""
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
    """Starts workers, starts crashed ones again, and stops them all.

    Args:
        orders: What every worker is told.
        count: How many workers.
        note: Takes a line about what happens to workers.
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
        """The processes that work now."""
        return [self._workers[slot].pid for slot in sorted(self._ready)]

    async def run(self, ready: Callable[[], None]) -> None:
        """Work until :meth:`stop`; return when every worker has ended.

        Args:
            ready: Called once, when the start of every worker was tried and at least one works.

        Raises:
            CommandError: The tables are of a newer version by now than this one knows, and every worker has
                finished what was under way.
        """
        try:
            async with asyncio.TaskGroup() as keeping:
                for slot in range(self._count):
                    keeping.create_task(self._keep(slot, ready))
        except BaseExceptionGroup as group:  # a reader of our output that is gone, for one
            raise group.exceptions[0] from group
        finally:
            await self._end_all()
        if self._outdated:
            raise CommandError(
                "the store's tables were migrated to a newer version of notifykit: upgrade it on this host", OUTDATED
            )

    def stop(self) -> None:
        """Ask every worker to finish what is under way and end."""
        self._stopping.set()
        for worker in self._workers.values():
            worker.terminate()

    def kill(self) -> None:
        """End every worker at once."""
        self._stopping.set()
        for worker in self._workers.values():
            worker.kill()

    async def _keep(self, slot: int, ready: Callable[[], None]) -> None:
        """Start a worker, and another one whenever it has ended or could not start."""
        pause = FIRST_PAUSE
        while True:
            started = time.monotonic()
            try:
                await self._start(slot)
                self._tell(slot, ready)
                what = await self._ended(slot)
            except (CommandError, OSError) as error:  # the machine may have no room for a process just now
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
        if code == OUTDATED:  # another of the same version would not start
            self._outdated = True
            self.stop()
        return f"worker {worker.pid} ended ({ending(code)})"

    def _tell(self, slot: int, ready: Callable[[], None]) -> None:
        """Say that the workers are ready, once; and of each that comes later that it is."""
        self._tried.add(slot)
        if self._stopping.is_set():
            return
        if self._is_announced and slot in self._ready:
            self._note(f"notifykit: worker {self._workers[slot].pid} ready")
        elif not self._is_announced and self._ready and len(self._tried) == self._count:
            self._is_announced = True
            ready()

    async def _end_all(self) -> None:
        """Leave no process behind."""
        self._stopping.set()
        for worker in self._workers.values():
            worker.kill()
        await asyncio.gather(*(worker.wait() for worker in self._workers.values()))


def ending(code: int) -> str:
    """Return how a process ended, for people."""
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"
