"""A queue of items that become due, handed out fairly.

It knows nothing of events and deliveries: an item is an id with the time when it is due, its tenant,
and its group within that tenant.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Collection
from datetime import datetime
from itertools import count

#: When an item is due; then the order of queueing; then the item.
_Entry = tuple[datetime, int, str]


class FairQueue:
    """Items in the order in which they become due, dealt round tenants and round each tenant's groups.

    Queueing costs O(log n).  Dealing visits every group once, so that the backlog of a group
    costs nothing.
    """

    def __init__(self) -> None:
        self._order = count()
        self._current: dict[str, _Entry] = {}
        # Both dictionaries are in round-robin order: a tenant or group that was served goes to the end.
        self._tenants: dict[str, dict[str, list[_Entry]]] = {}

    def __len__(self) -> int:
        return len(self._current)

    def put(self, item: str, *, tenant: str, group: str, due_at: datetime) -> None:
        """Queue ``item``, or move it to another time."""
        entry = (due_at, next(self._order), item)
        self._current[item] = entry
        heapq.heappush(self._tenants.setdefault(tenant, {}).setdefault(group, []), entry)

    def discard(self, item: str) -> None:
        """Take ``item`` out; nothing happens if it is not queued."""
        self._current.pop(item, None)

    def deal(
        self,
        limit: int,
        *,
        now: datetime,
        exclude: Collection[str] = (),
        exclude_tenants: Collection[str] = (),
        only: Collection[str] | None = None,
    ) -> list[str]:
        """Remove and return up to ``limit`` items that are due, of the groups and tenants that are meant."""
        dealt: list[str] = []
        turns = deque(
            (tenant, due)
            for tenant in list(self._tenants)
            if tenant not in exclude_tenants and (due := self._due(tenant, now, exclude, only))
        )
        while turns and len(dealt) < limit:
            tenant, groups = turns.popleft()
            group = groups.popleft()
            heaps = self._tenants[tenant]
            heap = heaps[group]
            item = heapq.heappop(heap)[2]
            del self._current[item]
            dealt.append(item)
            heaps[group] = heaps.pop(group)
            self._tenants[tenant] = self._tenants.pop(tenant)
            if self._drop_stale(heap) and heap[0][0] <= now:
                groups.append(group)
            if groups:
                turns.append((tenant, groups))
        return dealt

    def next_due(self) -> datetime | None:
        """Return when the first item becomes due."""
        heads = (h[0][0] for heaps in self._tenants.values() for h in heaps.values() if self._drop_stale(h))
        return min(heads, default=None)

    def _due(self, tenant: str, now: datetime, exclude: Collection[str], only: Collection[str] | None) -> deque[str]:
        """Return the tenant's groups that have something due; forget those that have nothing at all."""
        heaps = self._tenants[tenant]
        for group in [group for group, heap in heaps.items() if not self._drop_stale(heap)]:
            del heaps[group]
        if not heaps:
            del self._tenants[tenant]
        return deque(
            group
            for group, heap in heaps.items()
            if group not in exclude and (only is None or group in only) and heap[0][0] <= now
        )

    def _drop_stale(self, heap: list[_Entry]) -> bool:
        """Drop entries that were discarded or moved from the head; return whether anything is left."""
        while heap and self._current.get(heap[0][2]) is not heap[0]:
            heapq.heappop(heap)
        return bool(heap)
