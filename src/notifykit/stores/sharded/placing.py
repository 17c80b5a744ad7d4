"""Which shard a tenant is on: by a placement that is stored, or else by its hash.

Pure: what databases say is handed in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from ..sql.placements import HELD, MOVED, Placement


@lru_cache(maxsize=100_000)
def dealt(tenant: str, ring: tuple[str, ...]) -> str:
    """Return the shard that a tenant's hash chooses (rendezvous hashing): the one with the highest score."""
    return max(ring, key=lambda name: blake2b(f"{name}\0{tenant}".encode(), digest_size=8).digest())


class Home(NamedTuple):
    """The shard of a tenant.

    Attributes:
        held: The placement, if the tenant is just now between two shards.
    """

    shard: str
    held: Placement | None = None


class Placements:
    """What is known of where tenants are.

    Attributes:
        ring: The shards that tenants are dealt to.
        known: The placement of each tenant that has been moved, or is being moved.
        unfinished: The moves that the source says are not over, although the tenant may be at its target already.
    """

    def __init__(self, ring: Sequence[str] = ()) -> None:
        self.ring = tuple(ring)
        self.known: dict[str, Placement] = {}
        self.unfinished: dict[str, Placement] = {}

    def note(self, placements: Iterable[Placement], by: str) -> None:
        """Take in what the shard ``by`` says; of a tenant the latest counts, whichever shard says it."""
        for placement in placements:
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
            return Home(dealt(tenant, self.ring))
        if placement.state == MOVED:
            return Home(placement.shard)
        return Home(placement.source, placement if placement.state == HELD else None)

    def held_at(self, shard: str) -> list[Placement]:
        """Return the tenants that are leaving a shard at this moment."""
        return [each for each in self.known.values() if each.state == HELD and each.source == shard]
