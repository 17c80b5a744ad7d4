"""Read deliveries, and send again what did not arrive."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import attrs

from ..errors import NotFoundError, StateError
from ..models.checks import instance, optional
from ..models.delivery import Attempt, Delivery, DeliveryState
from ..policies.arguments import checked
from ..ports import Clock, DeliveryFilter, EventFilter, Move, Store
from .changes import Changes, Cursor, look

#: How many deliveries one redrive moves in one step.
PAGE = 500
_FILTER = optional(instance(DeliveryFilter))


class Deliveries:
    """A tenant's deliveries and dead letters."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    @checked()
    async def get(self, delivery_id: str, *, tenant: str) -> Delivery:
        """Return a delivery.

        Raises:
            NotFoundError: The tenant has no such delivery.
        """
        found = await self._store.find_deliveries(tenant, _only(delivery_id), limit=1)
        if not found:
            raise NotFoundError("delivery", delivery_id)
        return found[0]

    @checked(wanted=_FILTER)
    async def list(
        self,
        wanted: DeliveryFilter | None = None,
        *,
        tenant: str,
        limit: int = 50,
        before: str | None = None,
    ) -> Sequence[Delivery]:
        """Return a page of matching deliveries, newest first, from before the id ``before``."""
        return await self._store.find_deliveries(tenant, wanted or DeliveryFilter(), limit=limit, before=before)

    @checked()
    async def attempts(self, delivery_id: str, *, tenant: str) -> Sequence[Attempt]:
        """Return the attempts, in order.

        Raises:
            NotFoundError: The tenant has no such delivery.
        """
        await self.get(delivery_id, tenant=tenant)
        return await self._store.attempts(tenant, delivery_id)

    @checked()
    async def dead(self, *, tenant: str, limit: int = 50, before: str | None = None) -> Sequence[Delivery]:
        """Return a page of dead letters, newest first."""
        wanted = DeliveryFilter(states=frozenset({DeliveryState.DEAD}))
        return await self._store.find_deliveries(tenant, wanted, limit=limit, before=before)

    @checked()
    async def redrive(self, delivery_id: str, *, tenant: str) -> None:
        """Send an ended delivery again: same id, same bytes, a new generation of attempts.

        Raises:
            NotFoundError: The tenant has no such delivery.
            StateError: It has not ended, or its event has been deleted by retention.
        """
        delivery = await self.get(delivery_id, tenant=tenant)
        if not delivery.state.is_final:
            raise StateError(f"delivery {delivery_id} is {delivery.state.value}: it is still being delivered")
        if not await self._store.find_events(tenant, EventFilter(ids={delivery.event_id}), limit=1):
            raise StateError(f"the event of delivery {delivery_id} has been deleted by retention")
        if not await self._store.move(tenant, _only(delivery_id), Move.REDRIVE, now=self._clock.now()):
            raise StateError(f"delivery {delivery_id} has just been redriven by another process")

    @checked(wanted=_FILTER)
    async def redrive_all(self, wanted: DeliveryFilter | None = None, *, tenant: str) -> int:
        """Send every matching ended delivery again; return how many.

        Without states in the filter these are the dead letters.
        """
        chosen = wanted or DeliveryFilter()
        if chosen.states is None:
            chosen = attrs.evolve(chosen, states=frozenset({DeliveryState.DEAD}))
        total = 0
        while True:
            moved = await self._store.move(tenant, chosen, Move.REDRIVE, now=self._clock.now(), limit=PAGE)
            total += moved
            if moved < PAGE:
                return total

    @checked(wanted=_FILTER)
    async def wake_all(self, wanted: DeliveryFilter | None = None, *, tenant: str) -> int:
        """Make every matching held delivery due now; return how many.

        Whether it may be sent is decided anew: a correct template or an endpoint that works again is seen at once.
        """
        return await self._store.move(tenant, wanted or DeliveryFilter(), Move.WAKE, now=self._clock.now())

    @checked()
    async def recover(self, endpoint_id: str, *, tenant: str, since: datetime, until: datetime | None = None) -> int:
        """Send everything again that did not arrive at an endpoint since a time; return how much.

        That is what is dead, cancelled, expired, or was suppressed while the endpoint was disabled.
        """
        states = frozenset(
            {DeliveryState.DEAD, DeliveryState.CANCELLED, DeliveryState.EXPIRED, DeliveryState.SUPPRESSED}
        )
        wanted = DeliveryFilter(states=states, subscriber_id=endpoint_id, since=since, until=until)
        return await self.redrive_all(wanted, tenant=tenant)

    @checked(cursor=optional(instance(Cursor)), wanted=optional(instance(DeliveryFilter)))
    async def changes(
        self, cursor: Cursor | None = None, *, tenant: str, wanted: DeliveryFilter | None = None
    ) -> Changes:
        """Return what has happened to deliveries since the last call, with or without an attempt.

        The first call returns nothing but a cursor::

            found = await kit.deliveries.changes(tenant="acme")
            while True:
                await asyncio.sleep(1)
                found = await kit.deliveries.changes(found.cursor, tenant="acme")

        Args:
            cursor: That of the last call.
            wanted: Which deliveries; with states, only what has brought a delivery into one of them.  Its times
                do not count.
        """
        return await look(self._store, cursor, tenant=tenant, wanted=wanted or DeliveryFilter(), now=self._clock.now())

    @checked()
    async def cancel(self, delivery_id: str, *, tenant: str) -> None:
        """Cancel a delivery that waits.

        Raises:
            NotFoundError: The tenant has no such delivery.
            StateError: It is being sent, or has ended.
        """
        if not await self._store.move(tenant, _only(delivery_id), Move.CANCEL, now=self._clock.now()):
            delivery = await self.get(delivery_id, tenant=tenant)
            raise StateError(f"delivery {delivery_id} is {delivery.state.value}: only a waiting one can be cancelled")


def _only(delivery_id: str) -> DeliveryFilter:
    return DeliveryFilter(ids=frozenset({delivery_id}))
