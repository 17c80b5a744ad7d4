"""Round robin over tenants or subscribers when there is more to do than fits a batch, and how large a batch may be.

Stores hand out the oldest rows first and leave out the names that they are given (see
ADR 0004).  A round is a series of full batches: a name with a share of one is throttled, that
is, left out, until the others were asked.  The round ends with the first batch that is not
full, because then every name was served.

While several names are served, a batch is only as large as fits the latency target, and new
events of names with little to do may bypass the batch in progress (see ADR 0015).
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from enum import IntEnum
from typing import Final

#: A share of a full batch is more than one in so many.
_SHARE: Final = 50
#: At most so many names are throttled; a batch of more names is mixed anyway.
_MOST: Final = 200
#: When no other name had work while the heavy ones were throttled, they are served for so many full batches before
#: they are throttled again: to ask for others costs a scan of everything that is due.
_CALMEST: Final = 2
#: How many seconds a batch may take while several are served, and the smallest part of a batch that this may mean.
_LATENCY_TARGET, _SMALLEST = 0.01, 10
#: The same while other names bypass the heavy ones.
_SHORT_TARGET, _VERY_SMALLEST = 0.004, 40
#: So many items are taken while others wait for short transactions and it is not known how long an item takes.
_FIRST: Final = 32
#: Several names are served if these last batches were not all of one; a name with a share of a full one is heavy.
_LASTS: Final = 50
#: A name with more than so many items in a batch that is not full is heavy, too: they take a while.
_MANY: Final = 10


class PollResult(IntEnum):
    """What a poll found: after ``MUCH`` there may be more right away, after ``FEW`` a notification announces it."""

    NOTHING = 0
    FEW = 1
    MUCH = 2


class Pace:
    """How long an item of a batch takes, as the last batches showed."""

    def __init__(self) -> None:
        self._each = 0.0

    def note(self, took: float, count: int, weight: float) -> None:
        """Take in a batch; ``weight`` says how much it counts beside those before."""
        if count:
            self._each += (took / count - self._each) * (weight if self._each else 1)

    @property
    def is_known(self) -> bool:
        """Whether a batch has been taken in."""
        return self._each > 0

    def fits(self, target: float) -> int:
        """Return how many items fit in so many seconds."""
        # A hair more, so that what fits exactly does.
        return int(target / self._each * (1 + 1e-9)) if self._each else sys.maxsize


class RoundRobin:
    """Makes batches go round the names (of tenants, of subscribers) that they are made of.

    Args:
        batch: The size of a batch at the most.
        dispatchers: How many share the process: by the clock a batch takes that many times as long as it would alone.

    Attributes:
        throttled: The names to leave out of the next batch.
    """

    def __init__(self, batch: int, dispatchers: int = 1) -> None:
        self._most_items = batch
        self._latency_target = _LATENCY_TARGET * dispatchers
        self._last: str | None = None
        self._several = self._bypassed = self._calm = self._empty = 0
        self._pace = Pace()
        self._batches = 0
        self._heavy: dict[str, int] = {}
        self.throttled: tuple[str, ...] = ()

    @property
    def batch_size(self) -> int:
        """How large the next batch may be."""
        target, smallest = (_SHORT_TARGET, _VERY_SMALLEST) if self.is_bypassed else (self._latency_target, _SMALLEST)
        if not self._several or self._pace.fits(target) >= self._most_items:
            return self._most_items
        return max(1, self._most_items // smallest, self._pace.fits(target))

    def fits(self, target: float) -> int:
        """Return how many items a batch may have that takes so many seconds: few until one has shown that."""
        return min(self._pace.fits(target), self._most_items) if self._pace.is_known else _FIRST

    @property
    def is_bypassed(self) -> bool:
        """Whether others have passed the last batches."""
        return self._bypassed > 0

    @property
    def only(self) -> str | None:
        """The name that all items had lately, if they had the same one."""
        return None if self._several else self._last

    @property
    def heavy(self) -> tuple[str, ...]:
        """The names that others may bypass: those with a share of a full batch lately, while several are served."""
        return tuple(self._heavy) if self._several and len(self._heavy) <= _MOST else ()

    def note_bypass(self, names: Iterable[str], *, limit: int) -> None:
        """Take in whose items, at most ``limit``, passed the batch that is under way."""
        shares = Counter(names)
        if shares:
            self._several = self._bypassed = _LASTS
        if shares.total() >= limit:
            self._note_heavy(shares, limit)

    def is_alone(self, name: str) -> bool:
        """Tell whether no other name was served lately."""
        return not self._several and self._last in (None, name)

    def note_much(self, name: str) -> None:
        """Take in that one item of a name has much to do, before its batch is over."""
        if not self.is_alone(name):
            self._several = _LASTS
        self._heavy[name] = self._batches

    def note(self, names: Iterable[str], *, limit: int, took: float) -> None:
        """Take in whose items made up a batch of at most ``limit``, and how many seconds it took."""
        shares = Counter(names)
        self._note_names(shares)
        count = shares.total()
        if count:
            # A few items tell little of how long many take.
            self._pace.note(took, count, 0.5 if count * 4 >= self.batch_size else 0.02)
        if self.throttled:
            self._calm = 0 if shares else min(self._calm + 1, _CALMEST)
            self._empty = self._calm
        self._batches += 1
        self._bypassed = max(0, self._bypassed - 1)
        self._heavy = {name: at for name, at in self._heavy.items() if self._batches - at <= _LASTS}
        self._note_heavy(shares, limit if count >= limit else _MANY * _SHARE)
        if count < limit:
            self.throttled = ()
        elif self._empty and not self.throttled:
            self._empty -= 1
        else:
            served = (*self.throttled, *_heavy_of(shares, limit))
            self.throttled = served if len(served) <= _MOST else ()

    def _note_heavy(self, shares: Counter[str], limit: int) -> None:
        self._heavy.update(dict.fromkeys(_heavy_of(shares, limit), self._batches))

    def _note_names(self, shares: Counter[str]) -> None:
        if len(shares) > 1 or (shares and self._last is not None and self._last not in shares):
            self._several = _LASTS
        else:
            self._several = max(0, self._several - 1)
        self._last = next(iter(shares), self._last)


def _heavy_of(shares: Counter[str], limit: int) -> list[str]:
    return [name for name, share in shares.items() if share * _SHARE > limit]
