"""Lines: who has the turn among the items that share an ordering key.

It knows nothing of events and deliveries: an item is an id, and ids sort in the order of publishing.
"""

from __future__ import annotations

from bisect import bisect_left, insort

#: What the items of a line have in common: a subscriber or tenant, and the ordering key.
LineKey = tuple[str, str]


class Lines:
    """Items in line, the smallest id first; nobody has the turn while an item of the line is out."""

    def __init__(self) -> None:
        self._ids: dict[LineKey, list[str]] = {}
        self._out: dict[LineKey, set[str]] = {}

    def turn(self, line: LineKey) -> str | None:
        """Return the item that may go out next, if one may."""
        ids = self._ids.get(line)
        return ids[0] if ids and line not in self._out else None

    def join(self, line: LineKey, item: str, *, out: bool = False) -> None:
        """Put an item where its id says, if it is not in line already; note whether it is out."""
        ids = self._ids.setdefault(line, [])
        at = bisect_left(ids, item)
        if at == len(ids) or ids[at] != item:
            insort(ids, item)
        if out:
            self._out.setdefault(line, set()).add(item)
        else:
            self._come_back(line, item)

    def leave(self, line: LineKey, item: str) -> None:
        """Take an item out of its line; nothing happens if it is not in line."""
        self._come_back(line, item)
        ids = self._ids.get(line, [])
        at = bisect_left(ids, item)
        if at < len(ids) and ids[at] == item:
            del ids[at]
        if not ids:
            self._ids.pop(line, None)

    def _come_back(self, line: LineKey, item: str) -> None:
        out = self._out.get(line)
        if out is not None:
            out.discard(item)
            if not out:
                del self._out[line]
