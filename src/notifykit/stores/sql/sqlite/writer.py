"""The one thread that works on an SQLite database."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue


class Writer:
    """Does jobs one after the other, in the order in which they come; jobs do not raise.

    A daemon, and not an executor's thread: those end before the threads and the exit handlers of the
    program do, which may have something to publish until the very end.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="notifykit-sqlite", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], None]) -> None:
        """Do ``job`` after those that came before."""
        self._jobs.put(job)

    def end(self) -> None:
        """Return when every job is done and the thread has ended."""
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
