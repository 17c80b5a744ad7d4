"""Repairs and cleans: ends leases that ran out, prolongs our own, forgets what is old.

Every duty is a leased claim or an idempotent delete, so any process may do any of
them at any time: there is no leader.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from ..failpoints import failpoint
from ..models.delivery import DeliveryState
from ..ports import Clock, Store
from ..telemetry import DeliveryAbandoned, TelemetryEvent
from .leases import Leases
from .settings import DispatchSettings

_PAGE = 500


@attrs.define
class Janitor:
    """The duties of cleaning."""

    store: Store
    leases: Leases
    settings: DispatchSettings
    clock: Clock
    emit: Callable[[TelemetryEvent], None]

    async def rescue(self) -> int:
        """End every lease that has run out; return how many did."""
        total = 0
        while True:
            rescued = await self.store.rescue(_PAGE, now=self.clock.now(), max_abandoned=self.settings.max_abandoned)
            if rescued:
                failpoint("sweep.committed")
            for delivery in rescued:
                self.emit(
                    DeliveryAbandoned(
                        delivery_id=delivery.id,
                        event_id=delivery.event_id,
                        tenant=delivery.tenant,
                        abandoned=delivery.abandoned,
                        quarantined=delivery.state is DeliveryState.DEAD,
                    )
                )
            total += len(rescued)
            if len(rescued) < _PAGE:
                return total

    async def extend(self) -> int:
        """Prolong those of our own leases of which half has gone; return how many."""
        now = self.clock.now()
        until = now + self.settings.lease
        half = now + self.settings.lease / 2
        old = [claim for claim in self.leases.held.values() if self.leases.until(claim) < half]
        failed: Exception | None = None
        for start in range(0, len(old), _PAGE):
            page = old[start : start + _PAGE]
            try:
                kept = await self.store.extend([(claim.delivery_id, claim.fence) for claim in page], until=until)
            except Exception as error:  # the other pages must not lose their leases with this one
                failed = error
                continue
            failpoint("lease.renewed")
            for delivery_id in kept:
                self.leases.extended(delivery_id, until)
        if failed is not None:
            raise failed
        return len(old)

    async def purge(self) -> int:
        """Delete what is older than the retention; return how many rows went."""
        total = 0
        while True:
            now = self.clock.now()
            gone = await self.store.purge(
                before=now - self.settings.retention,
                keys_before=now - self.settings.idempotency_window,
                limit=_PAGE,
            )
            total += gone
            if gone < _PAGE:
                return total
