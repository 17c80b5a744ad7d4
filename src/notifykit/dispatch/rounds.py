"""Whose turn it is when there is more to do than fits a batch.

Stores hand out the oldest first and leave out whom they are told to leave out (see
ADR 0004).  A round is a series of full batches: whoever has had a share of one stands
back until the others were asked.  The round ends with the first batch that is not
full, because then everybody has been.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

#: A share of a full batch is more than one in so many.
_SHARE = 50
#: Standing back is for the few who crowd; of more names than this a batch is mixed anyway.
_MOST = 200
#: While others come through beside those who crowd, batches are so many times smaller, because the
#: others wait for the batch that is under way; and how many batches that lasts after the last of them.
_PORTIONS, _LASTS = 5, 50
#: When nobody came while those who crowd stood back, so many full batches pass before they do it again:
#: asking for others costs a look at everything that is due.
_CALMEST = 2


class Rounds:
    """Makes batches go round the names (of tenants, of subscribers) that they are made of.

    Args:
        batch: The size of a batch at the most.

    Attributes:
        standing_back: Who is to be left out of the next batch.
    """

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self._mixed = self._calm = self._passing = 0
        self.standing_back: tuple[str, ...] = ()

    @property
    def portion(self) -> int:
        """How large the next batch may be."""
        if self._mixed and not self.standing_back:
            return max(1, self._batch // _PORTIONS)
        return self._batch

    def note(self, names: Iterable[str], *, limit: int) -> None:
        """Take in whose items made up a batch of at most ``limit``."""
        shares = Counter(names)
        if self.standing_back and shares:
            self._mixed, self._calm = _LASTS, 0
        else:
            self._mixed = max(0, self._mixed - 1)
            if self.standing_back:
                self._calm = self._passing = min(self._calm + 1, _CALMEST)
        if shares.total() < limit:
            self.standing_back = ()
        elif self._passing and not self.standing_back:
            self._passing -= 1
        else:
            served = (*self.standing_back, *(name for name, count in shares.items() if count * _SHARE > limit))
            self.standing_back = served if len(served) <= _MOST else ()
