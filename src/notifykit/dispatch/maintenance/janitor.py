"""Repairs and cleans: ends leases that ran out, prolongs our own, forgets what is old.

Every task is a leased claim or an idempotent delete, so any process may do any of
them at any time: there is no leader.
"""

from __future__ import annotations

from datetime import UTC, datetime

import attrs

from ...failpoints import failpoint
from ...models.access import OPERATORS
from ...models.audit import AuditEntry, ids_before
from ...models.delivery import DeliveryState
from ...models.ended_session import EndedSession, ids_until
from ...models.page_access import MAX_SESSION
from ...telemetry import DeliveryAbandoned
from ..context import Context
from ..sending.leases import Leases

_PAGE = 500
#: A worker prolongs a lease when half of it has gone, and looks four times in a lease: an eighth is always left.
_LEFT = 8
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@attrs.define
class Janitor:
    """The tasks of maintenance."""

    context: Context
    leases: Leases

    _could_write_at: datetime = attrs.field(init=False, default=_NEVER)

    async def rescue(self) -> int:
        """End the leases of workers that died; return how many.

        A lease also runs out if its worker lives and cannot prolong it, because the store is away or locked.
        Such a worker prolongs what it holds as soon as it can, so it is given the time for that: a lease is ended
        only if it had run out soon after an instant at which the store is known to have been writable.  A
        worker that can write never lets less be left of a lease.  The first look, and the first after an outage,
        therefore only finds out that the store can be written, and the next one ends leases.
        """
        await self.extend()
        now = self.context.clock.now()
        total = await self.end_leases(min(now, self._could_write_at + self.context.settings.lease / _LEFT))
        self._could_write_at = now
        return total

    async def end_leases(self, before: datetime) -> int:
        """End every lease that ran out before this time; return how many did."""
        total = 0
        while True:
            rescued = await self.context.store.rescue(
                _PAGE, now=before, max_abandoned=self.context.settings.max_abandoned
            )
            if rescued:
                failpoint("sweep.committed")
            for delivery in rescued:
                self.context.emit(
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
        now = self.context.clock.now()
        until = now + self.context.settings.lease
        half = now + self.context.settings.lease / 2
        old = [claim for claim in self.leases.held.values() if self.leases.until(claim) < half]
        failed: Exception | None = None
        for start in range(0, len(old), _PAGE):
            page = old[start : start + _PAGE]
            try:
                kept = await self.context.store.extend(
                    [(claim.delivery_id, claim.fence) for claim in page], until=until
                )
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
            now = self.context.clock.now()
            gone = await self.context.store.purge(
                before=now - self.context.settings.retention,
                keys_before=now - self.context.settings.idempotency_window,
                limit=_PAGE,
            )
            total += gone
            if gone < _PAGE:
                return total + await self._forget()

    async def _forget(self) -> int:
        """Delete old entries of the audit log, and ended sessions that have expired anyway; return how many."""
        store, now = self.context.store, self.context.clock.now()
        oldest = ids_before(now - self.context.settings.audit_retention)
        total = 0
        while old := await store.page(AuditEntry, OPERATORS, limit=_PAGE, after=oldest):
            for entry in old:
                await store.remove(AuditEntry, OPERATORS, entry.id, now=now)
            total += len(old)
        expired = ids_until(now - MAX_SESSION)  # also by a clock that is behind
        while ended := [each for each in await store.page(EndedSession, OPERATORS, limit=_PAGE) if each.id < expired]:
            for session in ended:
                await store.remove(EndedSession, OPERATORS, session.id, now=now)
            total += len(ended)
        return total
