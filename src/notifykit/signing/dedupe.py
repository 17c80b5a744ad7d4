"""Run the handler of a received webhook once, although it may arrive more than once.

Senders repeat a message whose answer they did not see.  A store remembers, per
source and ``webhook-id``, whether its handler runs or has succeeded.  A running handler holds a lease:
if the process dies, the lease runs out and the next retry runs the handler again.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from notifykit.errors import ConfigurationError

#: Longer than the retries of any known sender last (ours: about 28 hours; some: three to seven days).
TTL = timedelta(days=8)

#: Longer than any handler that answers within a webhook's timeout works.
LEASE = timedelta(minutes=5)


class Seen(StrEnum):
    """What a store knows about a message.

    ``NEW``: not handled yet; the caller now has the lease and must handle it.
    ``IN_PROGRESS``: another caller has the lease; answer "try again later".
    ``DONE``: it was handled; answer success.
    """

    NEW = "new"
    IN_PROGRESS = "in_progress"
    DONE = "done"


class DedupeStore(Protocol):
    """Remembers which messages were handled.

    Each method is one atomic step, called from any thread and, where the store is
    shared, from any process.  ``source`` separates senders whose message ids could be equal.
    """

    def begin(self, source: str, id: str) -> Seen:
        """Take the lease if it is free and the message was not handled.

        Of concurrent calls for one message exactly one returns ``NEW``.

        Raises:
            StoreUnavailableError: The store did not answer; nothing is known.
        """
        ...

    def finish(self, source: str, id: str) -> None:
        """Mark the message as handled; may be repeated."""
        ...

    def forget(self, source: str, id: str) -> None:
        """Give the lease back after a failure, so that the next retry is ``NEW``.

        A message that is already handled stays so.
        """
        ...


class AsyncDedupeStore(Protocol):
    """The same contract as :class:`DedupeStore` for an event loop."""

    async def begin(self, source: str, id: str) -> Seen:
        """Take the lease if it is free and the message was not handled."""
        ...

    async def finish(self, source: str, id: str) -> None:
        """Mark the message as handled; may be repeated."""
        ...

    async def forget(self, source: str, id: str) -> None:
        """Give the lease back after a failure, so that the next retry is ``NEW``."""
        ...


class MemoryDedupe:
    """Remembers in this process: for one process, for tests, for a first try.

    Args:
        most: How many handled messages are remembered; beyond it the oldest is forgotten.  As
            many may be in progress; beyond it new ones get ``IN_PROGRESS``.
        ttl: How long a handled message is remembered.
        lease: How long a handler may take.
        clock: Returns now in seconds; only differences matter.
    """

    def __init__(
        self,
        *,
        most: int = 100_000,
        ttl: timedelta = TTL,
        lease: timedelta = LEASE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if most < 1:
            raise ConfigurationError(f"a dedupe store must remember at least one message, not {most}")
        self._most = most
        self._ttl, self._lease = seconds(ttl, "ttl"), seconds(lease, "lease")
        self._clock = clock
        self._lock = threading.Lock()
        # Each is ordered by expiry: entries are added in the order of time, and all have the same lifetime.
        self._leased: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._done: OrderedDict[tuple[str, str], float] = OrderedDict()

    def begin(self, source: str, id: str) -> Seen:
        """See :meth:`DedupeStore.begin`."""
        key, now = (source, id), self._clock()
        with self._lock:
            _drop_expired(self._leased, now)
            _drop_expired(self._done, now)
            if key in self._done:
                return Seen.DONE
            if key in self._leased or len(self._leased) >= self._most:
                return Seen.IN_PROGRESS
            self._leased[key] = now + self._lease
            return Seen.NEW

    def finish(self, source: str, id: str) -> None:
        """See :meth:`DedupeStore.finish`."""
        key, now = (source, id), self._clock()
        with self._lock:
            self._leased.pop(key, None)
            self._done.pop(key, None)
            self._done[key] = now + self._ttl
            if len(self._done) > self._most:
                self._done.popitem(last=False)

    def forget(self, source: str, id: str) -> None:
        """See :meth:`DedupeStore.forget`."""
        with self._lock:
            self._leased.pop((source, id), None)


def seconds(duration: timedelta, name: str) -> float:
    """Return a duration that must be positive as seconds."""
    if duration <= timedelta(0):
        raise ConfigurationError(f"the {name} of a dedupe store must be longer than nothing, not {duration}")
    return duration.total_seconds()


def _drop_expired(entries: OrderedDict[tuple[str, str], float], now: float) -> None:
    while entries and next(iter(entries.values())) <= now:
        entries.popitem(last=False)


if TYPE_CHECKING:
    _conforms: type[DedupeStore] = MemoryDedupe
