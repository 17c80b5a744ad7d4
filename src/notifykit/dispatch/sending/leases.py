"""The leases of this process: what it may send and has to record, and until when."""

from __future__ import annotations

from datetime import datetime

from ...models.delivery import Claim


class Leases:
    """The claims this process holds and until when: what the janitor extends.

    A claim is held until its result is *written*: a result that waits for the store needs the lease just as
    an attempt does, or another worker would take the delivery for abandoned and send it again.
    """

    def __init__(self) -> None:
        self.held: dict[str, Claim] = {}
        self._extended: dict[str, datetime] = {}

    def add(self, claim: Claim) -> None:
        """Note a claim."""
        self.held[claim.delivery_id] = claim
        if self._extended:  # an earlier claim of the same delivery may have been lost
            self._extended.pop(claim.delivery_id, None)

    def drop(self, delivery_id: str, fence: int) -> None:
        """Forget a claim, but not a later one of the same delivery."""
        held = self.held.get(delivery_id)
        if held is not None and held.fence == fence:
            del self.held[delivery_id]
            if self._extended:
                self._extended.pop(delivery_id, None)

    def until(self, claim: Claim) -> datetime:
        """Return until when the claim is valid."""
        return self._extended.get(claim.delivery_id, claim.lease_until) if self._extended else claim.lease_until

    def extended(self, delivery_id: str, until: datetime) -> None:
        """Note that the store prolonged a lease."""
        if delivery_id in self.held:
            self._extended[delivery_id] = until
