"""The reference store: the contract of :class:`notifykit.ports.Store` in plain Python."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Self

from anyio.lowlevel import checkpoint

from ...errors import ConfigurationError
from ...models.delivery import Collected, DeliveryState, Lane
from ...models.throttle import CAP, MAX_PER
from ...ports import LaneStats, NextDue, StoreStats
from .circuits import MemoryLimits
from .due import FairQueue
from .inbox import MemoryInbox
from .notifications import Notifications
from .outbox import MemoryOutbox
from .records import MemoryRecords
from .tables import WAITING, Tables

_COUNT_CAP = 10_000


class MemoryStore(MemoryOutbox, MemoryRecords, MemoryLimits, MemoryInbox):
    """Keeps everything in this process and forgets it with the process.

    For tests, demos and events that may be lost.  It belongs to one event loop (it is
    not safe to use from several threads), cannot join a transaction, and grows until
    :meth:`purge` is called.
    """

    #: No second store can be opened on the same data.
    private = True

    def __init__(self) -> None:
        self._tables = Tables()
        self._notifications = Notifications()
        self._inboxes = {}
        self._inbox_notifications = Notifications()

    @classmethod
    def from_url(
        cls, url: str, *, keys: object = None, environment: object = None, encrypt_payloads: object = None
    ) -> Self:
        """Return an empty store; every ``memory://`` has its own.

        Options about encryption at rest are accepted and not needed: nothing is stored outside of this process.
        """
        del keys, environment, encrypt_payloads
        if url.partition("://")[2]:
            raise ConfigurationError(f"memory:// takes nothing behind it, got {url!r}")
        return cls()

    async def open(self) -> None:
        """Do nothing: there is nothing to connect to."""

    async def aclose(self) -> None:
        """Do nothing: what was stored stays readable."""

    async def next_due(self) -> NextDue:
        counts = self._tables.counts
        return NextDue(
            _first(self._tables.unplanned.values()),
            {lane: due for lane, queue in self._tables.waiting.items() if (due := queue.next_due()) is not None},
            bool(self._tables.outbox) or any(counts[state] for state in (*WAITING, DeliveryState.SENDING)),
        )

    async def wait(self, timeout: timedelta, *, idle_timeout: timedelta | None = None) -> bool:
        # There are no other processes, so every notification arrives.
        return await self._notifications.wait(idle_timeout or timeout)

    async def purge(self, *, before: datetime, keys_before: datetime, limit: int) -> int:
        await checkpoint()
        tables = self._tables
        for name in [name for name, key in tables.keys.items() if key.published_at < keys_before]:
            del tables.keys[name]
        ended = [row.delivery.id for row in islice(tables.ended_before(before), limit)]
        tables.forget(ended, ())
        full = [key for key, (_, at) in tables.buckets.items() if key[1].startswith(CAP) and at < before - MAX_PER]
        for bucket in full[:limit]:
            del tables.buckets[bucket]
        # An event goes after its last delivery, because a redrive needs its body.
        needed = tables.needed_events() | tables.outbox.keys()
        unneeded = (id_ for id_, event in tables.events.items() if event.published_at < before and id_ not in needed)
        events = list(islice(unneeded, limit - len(ended)))
        tables.forget((), events)
        return len(ended) + len(events) + len(full[:limit])

    async def collected(self, tenant: str, delivery_id: str) -> Collected | None:
        return self._tables.digests.collected(tenant, delivery_id, self._tables.events)

    async def stats(self, *, now: datetime) -> StoreStats:
        counts = self._tables.counts
        # An event that is being planned is still due: without it the store would seem idle for a moment.
        unplanned = (event.event.due_at for event in self._tables.outbox.values())
        lanes = {lane: self._of_lane(lane, queue, now) for lane, queue in self._tables.waiting.items() if len(queue)}
        of_lanes = (lane.oldest_due for lane in lanes.values())
        oldest = min((due for due in (*unplanned, *of_lanes) if due is not None), default=None)
        return StoreStats(
            unplanned=min(len(self._tables.outbox), _COUNT_CAP),
            waiting=min(sum(counts[state] for state in WAITING), _COUNT_CAP),
            sending=min(counts[DeliveryState.SENDING], _COUNT_CAP),
            dead=min(counts[DeliveryState.DEAD], _COUNT_CAP),
            oldest_due=oldest if oldest is not None and oldest <= now else None,
            lanes=lanes,
        )

    def _of_lane(self, lane: Lane, queue: FairQueue, now: datetime) -> LaneStats:
        handed = (self._tables.rows[id_].delivery for id_ in self._tables.handed)
        due = [queue.next_due(), *(each.due_at for each in handed if (each.channel, each.priority) == lane)]
        oldest = min((at for at in due if at is not None and at <= now), default=None)
        return LaneStats(min(len(queue), _COUNT_CAP), oldest)


def _first(queues: Iterable[FairQueue]) -> datetime | None:
    return min((due for queue in queues if (due := queue.next_due()) is not None), default=None)


if TYPE_CHECKING:
    from ...ports import Digests, Inbox, Store

    _conforms: type[Store] = MemoryStore
    _keeps_inboxes: type[Inbox] = MemoryStore
    _collects: type[Digests] = MemoryStore
