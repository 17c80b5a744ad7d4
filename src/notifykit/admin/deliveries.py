"""Read deliveries, and send again what did not arrive."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import anyio
import attrs

from ..errors import InvalidInputError, NotFoundError, StateError
from ..models.checks import identifier, instance, optional, text
from ..models.delivery import Attempt, Delivery, DeliveryState
from ..models.event_type import ALL_TENANTS, StoredEventType
from ..policies.arguments import checked
from ..ports import Clock, DeliveryFilter, Digests, EventFilter, Move, Store
from .changes import Changes, Cursor, look

#: How many deliveries one redrive moves in one step.
PAGE = 500
#: How often, and after how many seconds each, it is tried to cancel an event that a planner has.
_TRIES: Final = 40
_PAUSE: Final = 0.05
_ID = optional(identifier)
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
            StateError: It has not ended, its event has been deleted by retention, or a digest has collected it: redrive
                the digest.
        """
        delivery = await self.get(delivery_id, tenant=tenant)
        if not delivery.state.is_final:
            raise StateError(f"delivery {delivery_id} is {delivery.state.value}: it is still being delivered")
        if not await self._store.find_events(tenant, EventFilter(ids={delivery.event_id}), limit=1):
            raise StateError(f"the event of delivery {delivery_id} has been deleted by retention")
        if not await self._store.move(tenant, _only(delivery_id), Move.REDRIVE, now=self._clock.now()):
            if (digest := await self._digest_of(delivery)) is not None:
                raise StateError(f"delivery {delivery_id} is part of the digest {digest}: redrive that one")
            raise StateError(f"delivery {delivery_id} has just been redriven by another process")

    async def _digest_of(self, delivery: Delivery) -> str | None:
        """Return the id of the digest that has collected a delivery, which ended with it; ``None`` if none has."""
        if delivery.digest is None or not isinstance(self._store, Digests):
            return None
        ended = DeliveryFilter(
            states=frozenset({delivery.state}),
            subscriber_id=delivery.subscriber_id,
            until=delivery.created_at + timedelta(microseconds=1),
        )
        wanted = (delivery.digest, delivery.channel, delivery.address, delivery.finished_at)
        for each in await self._store.find_deliveries(delivery.tenant, ended, limit=PAGE):
            is_alike = wanted == (each.digest, each.channel, each.address, each.finished_at)
            if is_alike and await self._store.collected(delivery.tenant, each.id) is not None:
                return each.id
        return None

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

    @checked(wanted=_FILTER, reason=optional(text(most=64)))
    async def wake_all(self, wanted: DeliveryFilter | None = None, *, tenant: str, reason: str | None = None) -> int:
        """Make every matching held delivery due now; return how many.

        Whether it may be sent is decided anew: a correct template or an endpoint that works again is seen at once.

        Args:
            reason: Only those that are held for it, such as ``template_failed``; by default also later steps.
        """
        chosen = wanted or DeliveryFilter()
        if reason is None:
            return await self._store.move(tenant, chosen, Move.WAKE, now=self._clock.now())
        held = attrs.evolve(chosen, states=chosen.states_for(Move.WAKE))
        woken, before = 0, None
        while True:
            page = await self._store.find_deliveries(tenant, held, limit=PAGE, before=before)
            its = DeliveryFilter(ids=[each.id for each in page if each.reason == reason])
            woken += await self._store.move(tenant, its, Move.WAKE, now=self._clock.now())
            if len(page) < PAGE:
                return woken
            before = page[-1].id

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

    @checked(event_id=_ID, key=_ID, recipient=_ID)
    async def cancel_all(
        self,
        *,
        tenant: str,
        event_id: str | None = None,
        key: str | None = None,
        recipient: str | None = None,
        type: str | None = None,
        category: str | None = None,
    ) -> int:
        """Cancel what waits of an event, or for a recipient; return how many deliveries.

        An event that is not planned yet, such as a scheduled one, will not be planned, and counts as one.  What a
        recipient will be told of events that are not planned yet is not cancelled.

        Args:
            event_id: The event's id.
            key: The event's idempotency key.
            recipient: The recipient's id.
            type: Only events of this type, for a recipient.
            category: Only types of this category, for a recipient.

        Raises:
            InvalidInputError: Not exactly one of event_id, key and recipient is given, or type or category without one.
            NotFoundError: The tenant has no such event.
            StateError: A planner has had the event all the time; try again.
        """
        named = [each for each in (event_id, key, recipient) if each is not None]
        if len(named) != 1 or (recipient is None and (type is not None or category is not None)):
            clear = "give one of event_id, key and recipient; type and category go with recipient"
            raise InvalidInputError([f"what to cancel of tenant {tenant} is not clear: {clear}"])
        if recipient is None:
            return await self._cancel_event(tenant, event_id, key)
        types = [type] if category is None else await self._types(category)
        return sum(
            [
                await self._cancel(tenant, DeliveryFilter(subscriber_id=recipient, event_type=each))
                for each in types
                if type in (None, each)
            ]
        )

    async def _cancel_event(self, tenant: str, event_id: str | None, key: str | None) -> int:
        its = EventFilter(ids=None if event_id is None else {event_id}, idempotency_key=key)
        found = await self._store.find_events(tenant, its, limit=1)
        if not found:
            raise NotFoundError("event", f"with the key {key}" if event_id is None else event_id)
        id_ = found[0].id
        count = 0
        for _ in range(_TRIES):
            count += await self._cancel(tenant, DeliveryFilter(event_id=id_))
            if not await self._store.find_events(tenant, EventFilter(ids={id_}, planned=False), limit=1):
                return count
            await anyio.sleep(_PAUSE)
        raise StateError(f"event {id_} is being planned: {count} of its deliveries were cancelled, try again")

    async def _cancel(self, tenant: str, wanted: DeliveryFilter) -> int:
        """Cancel what waits, a page at a time."""
        total, moved = 0, PAGE
        while moved >= PAGE:
            moved = await self._store.move(tenant, wanted, Move.CANCEL, now=self._clock.now(), limit=PAGE)
            total += moved
        return total

    async def _types(self, category: str) -> Sequence[str]:
        """Return the types of a category."""
        found: list[str] = []
        after: str | None = None
        while True:
            page = await self._store.page(StoredEventType, ALL_TENANTS, limit=PAGE, after=after)
            found += [each.id for each in page if each.category == category]
            if len(page) < PAGE:
                return found
            after = page[-1].id


def _only(delivery_id: str) -> DeliveryFilter:
    return DeliveryFilter(ids=frozenset({delivery_id}))
