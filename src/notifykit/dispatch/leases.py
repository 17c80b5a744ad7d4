"""The leases of this process: what it may send, and until when."""

from __future__ import annotations

from datetime import datetime

from ..models.delivery import Claim


class Leases:
    """The claims this process holds and until when: what the keeper extends."""

    def __init__(self) -> None:
        self.held: dict[str, Claim] = {}
        self._extended: dict[str, datetime] = {}

    def add(self, claim: Claim) -> None:
        """Note a claim."""
        self.held[claim.delivery_id] = claim

    def drop(self, delivery_id: str) -> None:
        """Forget a claim."""
        self.held.pop(delivery_id, None)
        if self._extended:
            self._extended.pop(delivery_id, None)

    def until(self, claim: Claim) -> datetime:
        """Return until when the claim is valid."""
        return self._extended.get(claim.delivery_id, claim.lease_until) if self._extended else claim.lease_until

    def extended(self, delivery_id: str, until: datetime) -> None:
        """Note that the store prolonged a lease."""
        if delivery_id in self.held:
            self._extended[delivery_id] = until
