"""Fairness between tenants, and bounds on what waiting costs (see ADR 0024).

Whatever is handed out goes round the tenants first and round each tenant's subscribers second.

An attempt that is answered at once needs its place for milliseconds; one to an endpoint that accepts
connections and never answers needs it until its timeout.  An attempt that takes long therefore leaves the
``concurrency`` of its lane and is counted among those that take long, of which there may be
thousands: it costs little more than a socket.  A destination is expected to do what it did last: one that
answered late is only sent to while there is room for one more attempt that takes long, and one that has
not answered may only use a part of that room.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final

#: What is expected of a destination: an answer at once, a late answer, or nothing.
PROMPT: Final = 0
SLOW: Final = 1
UNPROVEN: Final = 2

#: Seconds after which an attempt takes long.
LONG: Final = 0.1
#: How many destinations without open deliveries are remembered.
_REMEMBERED: Final = 20_000


class Places:
    """How many attempts of a lane are open, and whether one more may be.

    Args:
        concurrency: Attempts that may be open at a time, apart from those that take long.
        max_unproven: Attempts that take long that may be open as well; with 0 all are counted alike.

    Attributes:
        new: Attempts that count towards ``concurrency``.
        long: Attempts that take long.
    """

    def __init__(self, concurrency: int, max_unproven: int) -> None:
        self._concurrency = concurrency
        self._max_long = max_unproven
        # The rest is for prompt destinations: any of them may become slow at any moment.
        self._max_slow = max_unproven - max_unproven // 4
        self._max_unproven = max(1, max_unproven // 2)
        self._max_unproven_new = max(1, concurrency // 2)
        self._new_of = [0, 0, 0]
        self._long_of = [0, 0, 0]
        self.new = 0
        self.long = 0

    @property
    def free(self) -> int:
        """How many more attempts may begin at the most."""
        return self._concurrency - self.new

    def admits(self, proof: int) -> bool:
        """Tell whether one more attempt may begin to a destination of which this is expected."""
        if self.new >= self._concurrency:
            return False
        if proof == PROMPT or not self._max_long:
            return True
        new = self._new_of[UNPROVEN]
        if self.long + self._new_of[SLOW] + new >= self._max_slow:
            return False
        return proof == SLOW or (new < self._max_unproven_new and new + self._long_of[UNPROVEN] < self._max_unproven)

    def begin(self, proof: int) -> None:
        """Count an attempt that begins."""
        self._new_of[proof] += 1
        self.new += 1

    def prolong(self, proof: int) -> bool:
        """Count an attempt among those that take long; return whether there was room for it."""
        if self.long >= self._max_long:
            return False
        self._new_of[proof] -= 1
        self.new -= 1
        self._long_of[proof] += 1
        self.long += 1
        return True

    def end(self, proof: int, *, is_long: bool) -> None:
        """Count an attempt no more."""
        if is_long:
            self._long_of[proof] -= 1
            self.long -= 1
        else:
            self._new_of[proof] -= 1
            self.new -= 1


class Proofs:
    """What is expected of destinations that have no open deliveries at the moment."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, int] = OrderedDict()

    def keep(self, subscriber_id: str, proof: int) -> None:
        """Remember what is expected of a destination."""
        self._of.pop(subscriber_id, None)
        if proof != UNPROVEN:
            self._of[subscriber_id] = proof
            if len(self._of) > _REMEMBERED:
                self._of.popitem(last=False)

    def of(self, subscriber_id: str) -> int:
        """Return what is expected of a destination."""
        return self._of.get(subscriber_id, UNPROVEN)

    def latest(self, limit: int) -> list[str]:
        """Return destinations that have answered, the latest first."""
        found: list[str] = []
        for subscriber_id in reversed(self._of):
            if len(found) >= limit:
                break
            found.append(subscriber_id)
        return found


class Rotation:
    """Names in turn: round their tenants first, and round the names of each tenant second."""

    def __init__(self) -> None:
        self._names: dict[str, deque[str]] = {}
        self._tenants: deque[str] = deque()

    def __len__(self) -> int:
        """Return how many tenants have names here."""
        return len(self._tenants)

    def add(self, tenant: str, name: str) -> None:
        """Put a name at the end of its tenant's turns; a tenant without any gets the last turn."""
        names = self._names.get(tenant)
        if names is None:
            self._names[tenant] = deque((name,))
            self._tenants.append(tenant)
        else:
            names.append(name)

    def next(self) -> str | None:
        """Take out and return the name whose turn it is."""
        if not self._tenants:
            return None
        tenant = self._tenants.popleft()
        names = self._names[tenant]
        name = names.popleft()
        if names:
            self._tenants.append(tenant)
        else:
            del self._names[tenant]
        return name

    def clear(self) -> None:
        """Take out all names."""
        self._names.clear()
        self._tenants.clear()
