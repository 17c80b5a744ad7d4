"""Which shard a tenant is on: by a placement that is stored, or else by its hash.

Pure: what databases say is handed in.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from ..sql.placements import HELD, MOVED, RING, Placement


@lru_cache(maxsize=100_000)
def dealt(tenant: str, ring: tuple[str, ...]) -> str:
    """Return the shard that a tenant's hash chooses (rendezvous hashing): the one with the highest score."""
    return max(ring, key=lambda name: blake2b(f"{name}\0{tenant}".encode(), digest_size=8).digest())


@lru_cache
def _names(ring: str) -> tuple[str, ...]:
    return tuple(json.loads(ring))


class Home(NamedTuple):
    """The shard of a tenant.

    Attributes:
        held: The placement, if the tenant is just now between two shards; or the change of the ring, if it is not known
            yet which one the tenant will be dealt to.
    """

    shard: str
    held: Placement | None = None


class Placements:
    """What is known of where tenants are.

    Attributes:
        first: The shards that tenants were dealt to at first.
        change: The last change of the ring, which may be under way.
        known: The placement of each tenant that has been moved, or is being moved.
        unfinished: The moves that the source says are not over, although the tenant may be at its target already.
    """

    def __init__(self, ring: Sequence[str] = ()) -> None:
        self.first = tuple(ring)
        self.change: Placement | None = None
        self.known: dict[str, Placement] = {}
        self.unfinished: dict[str, Placement] = {}

    @property
    def ring(self) -> tuple[str, ...]:
        """The shards that tenants are dealt to."""
        return self._rings[0]

    @property
    def _rings(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The ring, and the one that it is being changed to."""
        if self.change is None:
            return self.first, self.first
        before, after = _names(self.change.source), _names(self.change.shard)
        return (before if self.change.state == HELD else after), after

    def note(self, placements: Iterable[Placement], by: str) -> None:
        """Take in what the shard ``by`` says; of a tenant the latest counts, whichever shard says it."""
        for placement in placements:
            if placement.tenant == RING:
                if self.change is None or placement.rank >= self.change.rank:
                    self.change = placement
                continue
            if by == placement.source:
                self.unfinished.pop(placement.tenant, None)
                if placement.state == HELD:
                    self.unfinished[placement.tenant] = placement
            before = self.known.get(placement.tenant)
            if before is None or placement.rank >= before.rank:
                self.known[placement.tenant] = placement

    def home(self, tenant: str) -> Home:
        """Return where a tenant is."""
        placement = self.known.get(tenant)
        if placement is None:
            ring, after = self._rings
            shard = dealt(tenant, ring)
            return Home(shard, self.change if ring != after and dealt(tenant, after) != shard else None)
        if placement.state == MOVED:
            return Home(placement.shard)
        return Home(placement.source, placement if placement.state == HELD else None)

    def held_at(self, shard: str) -> list[Placement]:
        """Return the tenants that are leaving a shard at this moment."""
        return [each for each in self.known.values() if each.state == HELD and each.source == shard]
