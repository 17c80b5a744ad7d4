"""Addresses that are gone for good are not used again: their endpoint, or the subscriptions to them, are disabled.

An address of a recipient is marked as gone, and the recipient's others stay in use.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import attrs

from ...changes import change
from ...errors import StoreError
from ...models.destination import Destination
from ...models.endpoint import Endpoint, EndpointState
from ...models.recipient import Person
from ...models.subscription import Subscription
from ...telemetry import EndpointDisabled, LoopFailed, SubscriptionDisabled, why
from ..addresses import Where, mark_gone
from ..context import Context
from ..operational_events import OperationalEvents

#: Subscriptions of a subscriber that are read at a time.
_PAGE = 500


@dataclass(eq=False)
class Invalidation:
    """The addresses that senders found to be invalid, until that is written."""

    context: Context
    operational: OperationalEvents

    def __post_init__(self) -> None:
        self._wanted: dict[tuple[str, str], tuple[Destination, str]] = {}

    @property
    def is_pending(self) -> bool:
        """Whether an address has still to be invalidated."""
        return bool(self._wanted)

    def note(self, destination: Destination, reason: str) -> None:
        """Have the address of a destination invalidated soon."""
        self._wanted[destination.subscriber_id, destination.address] = (destination, reason)

    async def write(self) -> None:
        """Invalidate what was noted; what the store does not take now is written next time."""
        for key, (destination, reason) in list(self._wanted.items()):
            try:
                if isinstance(destination.config, Person):
                    context, to = self.context, destination
                    where = Where(to.tenant, to.subscriber_id, to.channel, to.address)
                    await mark_gone(context.store, where, reason, now=context.clock.now(), emit=context.emit)
                elif not await self._disable_endpoint(destination, reason):
                    await self._disable_subscriptions(destination, reason)
            except StoreError:
                continue
            except Exception as error:  # the others are invalidated all the same; its next answer notes it again
                text = f"{destination.subscriber_id}: {why(error)}"
                self.context.emit(LoopFailed(loop="invalidate", error=text, pause=timedelta(0)))
            self._wanted.pop(key, None)

    async def _disable_endpoint(self, destination: Destination, reason: str) -> bool:
        """Disable an endpoint, unless it is not active any more or has another URL; tell whether there is one."""
        tenant, endpoint_id = destination.tenant, destination.subscriber_id

        def disabled(current: Endpoint | None) -> Endpoint | None:
            if current is None or current.state is not EndpointState.ACTIVE or current.url != destination.address:
                return current
            return attrs.evolve(current, state=EndpointState.DISABLED, state_reason=reason)

        async def save(wanted: Endpoint | None) -> Endpoint | None:
            assert wanted is not None
            now = self.context.clock.now()
            saved = await self.context.store.save(attrs.evolve(wanted, updated_at=now))
            self.context.emit(EndpointDisabled(endpoint_id=endpoint_id, tenant=tenant, reason=reason))
            data = {"endpoint_id": endpoint_id, "reason": reason}
            event = self.operational.event("endpoint.disabled", tenant, data, now)
            if event is not None:
                await self.context.store.append([event])
            return saved

        async def read() -> Endpoint | None:
            return next(iter(await self.context.store.get(Endpoint, tenant, [endpoint_id])), None)

        return await change(read, disabled, save) is not None

    async def _disable_subscriptions(self, destination: Destination, reason: str) -> None:
        """Disable a subscriber's subscriptions to an address; others of the subscriber stay as they are."""
        tenant, subscriber_id, after = destination.tenant, destination.subscriber_id, None
        while True:
            page = await self.context.store.page(
                Subscription, tenant, subscriber_id=subscriber_id, limit=_PAGE, after=after
            )
            for found in page:
                if (found.channel, found.address) == (destination.channel, destination.address):
                    await self._disable_subscription(found, reason)
            if len(page) < _PAGE:
                return
            after = page[-1].id

    async def _disable_subscription(self, subscription: Subscription, reason: str) -> None:
        async def save(wanted: Subscription | None) -> Subscription | None:
            assert wanted is not None
            saved = await self.context.store.save(attrs.evolve(wanted, updated_at=self.context.clock.now()))
            self.context.emit(SubscriptionDisabled(subscription_id=saved.id, tenant=saved.tenant, reason=reason))
            return saved

        def disabled(current: Subscription | None) -> Subscription | None:
            if current is None or not current.enabled or current.address != subscription.address:
                return current
            return attrs.evolve(current, enabled=False, disabled_reason=reason)

        async def read() -> Subscription | None:
            return next(iter(await self.context.store.get(Subscription, subscription.tenant, [subscription.id])), None)

        await change(read, disabled, save)
