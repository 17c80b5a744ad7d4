"""FIFO groups: of the items that share an ordering key only the head may be handed out.

It knows nothing of events and deliveries: an item is an id, and ids sort in the order of publishing.
"""

from __future__ import annotations

from bisect import bisect_left, insort

#: What the items of a group have in common: a subscriber or tenant, and the ordering key.
GroupKey = tuple[str, str]


class FifoGroups:
    """Items by group, the smallest id first; a group has no head while one of its items is handed out."""

    def __init__(self) -> None:
        self._ids: dict[GroupKey, list[str]] = {}
        self._handed_out: dict[GroupKey, set[str]] = {}

    def head(self, group: GroupKey) -> str | None:
        """Return the item that may be handed out next, if any."""
        ids = self._ids.get(group)
        return ids[0] if ids and group not in self._handed_out else None

    def join(self, group: GroupKey, item: str, *, handed_out: bool = False) -> None:
        """Insert an item in the order of ids, unless it is there already; note whether it is handed out."""
        ids = self._ids.setdefault(group, [])
        at = bisect_left(ids, item)
        if at == len(ids) or ids[at] != item:
            insort(ids, item)
        if handed_out:
            self._handed_out.setdefault(group, set()).add(item)
        else:
            self._give_back(group, item)

    def leave(self, group: GroupKey, item: str) -> None:
        """Remove an item from its group; nothing happens if it is not in it."""
        self._give_back(group, item)
        ids = self._ids.get(group, [])
        at = bisect_left(ids, item)
        if at < len(ids) and ids[at] == item:
            del ids[at]
        if not ids:
            self._ids.pop(group, None)

    def _give_back(self, group: GroupKey, item: str) -> None:
        handed_out = self._handed_out.get(group)
        if handed_out is not None:
            handed_out.discard(item)
            if not handed_out:
                del self._handed_out[group]
