"""Which of several provider accounts carries a message.

Pure: the clock and the random numbers are arguments.  Two things keep an account from being chosen: its *circuit*,
which all processes share, is open, or its *health* is bad, which each process keeps for itself and which reacts within
a few attempts.  Health is a number between 0 and 1.  Failures and slow attempts lower it, successes raise it, and so
does time: an account that is not used drifts back.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count, islice
from typing import NamedTuple

import attrs

from ..models.circuit import OpenCircuit
from ..models.delivery import Priority
from ..models.outcome import Outcome, Throttled
from ..models.preferences import Purpose
from ..models.routing import DEFAULT_ROUTE, RouteOptions
from .circuits import is_success
from .retry import Rng

#: An account with less health gets no traffic while another one can take it; with as much as ``_FULL`` its full share.
_LEAST, _FULL = 0.5, 0.8
#: After this time without attempts half of what was lost of an account's health has come back.
_HALF_LIFE = timedelta(seconds=15)
#: A message that has failed so often over one account is first offered to the next.
_TRIES = 2
#: How long a provider that asks for a pause gets less traffic at the most.
_LONGEST_REST = timedelta(minutes=1)
#: The pause of a message while each account is being probed.
_PROBE_PAUSE = timedelta(seconds=1)


@attrs.define(eq=False)
class Health:
    """What one process has seen lately of the attempts over one account.

    Attributes:
        score: As of ``at``; see :meth:`now`.
        rests_until: The provider has asked for a pause until then.
    """

    options: RouteOptions = DEFAULT_ROUTE
    score: float = 1.0
    at: datetime | None = None
    rests_until: datetime | None = None
    _under_way: dict[int, datetime] = attrs.field(factory=dict)
    _tickets: count[int] = attrs.field(factory=count)

    @property
    def in_flight(self) -> int:
        """How many attempts are under way."""
        return len(self._under_way)

    def begin(self, now: datetime) -> int:
        """Note that an attempt begins; return what ends it."""
        ticket = next(self._tickets)
        self._under_way[ticket] = now
        return ticket

    def end(self, ticket: int, outcome: Outcome | None, took: timedelta) -> None:
        """Note how an attempt has ended; ``None`` if it was not made after all."""
        now = self._under_way.pop(ticket) + took
        good = None if outcome is None else is_success(outcome)
        if good is None:
            return
        value = min(1.0, self.options.slow / took) if good and took else float(good)
        before = self.now(now)
        # As many failures in a row as the option says lower full health to what is too little.
        self.score = before + (value - before) * (1 - _LEAST ** (1 / self.options.failures))
        self.at = now if self.at is None else max(now, self.at)
        if isinstance(outcome, Throttled) and outcome.retry_after is not None:
            self.rests_until = now + min(outcome.retry_after, _LONGEST_REST)

    def now(self, now: datetime) -> float:
        """Return the health at ``now``: without attempts it comes back."""
        if self.at is None or now <= self.at:
            return self.score
        return float(1 - (1 - self.score) * 0.5 ** ((now - self.at) / _HALF_LIFE))

    def share(self, now: datetime) -> float:
        """Return which part of its share of the traffic the account gets: 0 for none, 1 for all."""
        rests = self.rests_until is not None and now < self.rests_until
        if rests or self._is_stuck(now):
            return 0.0
        return min(1.0, max(0.0, (self.now(now) - _LEAST) / (_FULL - _LEAST)))

    def _is_stuck(self, now: datetime) -> bool:
        """Tell whether so many attempts that are under way have taken too long that the account has failed by that."""
        last = next(islice(self._under_way.values(), self.options.failures - 1, None), now)
        return now - last > self.options.slow / _LEAST


class Candidate(NamedTuple):
    """An account that may carry a message.

    Attributes:
        circuit: Its circuit, if it is open.
        places: How many attempts may be in flight over it.
        price: What the message costs over it, if that is known.
    """

    health: Health
    circuit: OpenCircuit | None = None
    places: int = 1
    price: Decimal | None = None

    def has_room(self, now: datetime) -> bool:
        """Tell whether the circuit lets an attempt be made now."""
        if self.circuit is None:
            return True
        return now >= self.circuit.probe_at and self.health.in_flight < self.places

    def share(self, now: datetime) -> float:
        """Return which part of its traffic it gets; while its circuit is probed, all that there are places for."""
        return self.health.share(now) if self.circuit is None else 1.0


def is_critical(purpose: str | None, priority: Priority) -> bool:
    """Tell whether a message takes the best account whatever it costs.

    What is not urgent, or is advertising, takes the cheapest.
    """
    if purpose == Purpose.SECURITY or priority is Priority.HIGH:
        return True
    return purpose != Purpose.MARKETING and priority is not Priority.LOW


def choose(
    candidates: Sequence[Candidate], *, critical: bool = True, tries: int = 0, now: datetime, rng: Rng
) -> Candidate | datetime:
    """Return the account that carries a message, or until when none can.

    Args:
        candidates: At least one, in the order in which the operator gave them.
        critical: Whether its cost does not matter (see :func:`is_critical`).
        tries: How many attempts have failed before.
    """
    open_ = [each for each in candidates if each.has_room(now)]
    if not open_:
        return _when_probed(candidates, now)
    usable = [each for each in open_ if each.share(now) > 0]
    if not usable:  # an attempt is better than none
        return max(open_, key=lambda each: each.health.now(now))
    if not critical and any(each.price is not None for each in usable):
        usable.sort(key=lambda each: (each.price is None, each.price or 0))
    elif usable[0].health.options.weight is not None:
        return _by_weight(usable, now, rng)
    after = tries // _TRIES % len(usable)
    ordered = usable[after:] + usable[:after]
    return next((each for each in ordered if rng() < each.share(now)), ordered[-1])


def _by_weight(usable: Sequence[Candidate], now: datetime, rng: Rng) -> Candidate:
    weights = [(each.health.options.weight or 0) * each.share(now) for each in usable]
    at = rng() * sum(weights)
    for each, weight in zip(usable, weights, strict=True):
        if at < weight:
            return each
        at -= weight
    return max(usable, key=lambda each: each.health.now(now))  # all that are left are for when no other can be used


def _when_probed(candidates: Sequence[Candidate], now: datetime) -> datetime:
    probes = [each.circuit.probe_at for each in candidates if each.circuit is not None]
    return max(min(probes), now + _PROBE_PAUSE)
