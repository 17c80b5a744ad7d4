"""What all SQL stores share: the verbs that are written once.

A concrete store runs functions over a SQLAlchemy ``Connection`` (``_read`` and
``_write``) and brings its own form of the five frequent verbs.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, TypeVar

import attrs
from sqlalchemy import Connection

from ...failpoints import failpoint
from ...models.circuit import OpenCircuit
from ...models.delivery import Attempt, Claim, Delivery, DeliveryState
from ...models.endpoint import Endpoint, RateLimit
from ...models.event import StoredEvent
from ...models.subscription import Match, MatchQuery, Subscription, TenantConfig
from ...ports import Appended, DeliveryFilter, NextDue, Record, Settlement, StoreStats
from . import circuits, config, joined, migrate, subscription_index, transitions
from .encryption import Encryption
from .rows import ended_by

T = TypeVar("T")

#: Notifications that a process may send a second, and how many it may save up.
NOTIFICATIONS_PER_SECOND, NOTIFICATIONS_TO_SPARE = 500, 10
#: Why a delivery is held whose event cannot be read here.
MISSING_KEY = "missing_key"
NOT_OPEN = "the store is not open: use 'async with' or open()"


def answer(waiter: asyncio.Future[bool], *, hinted: bool) -> None:
    """Answer a call that waits for a notification, unless that has been done."""
    if not waiter.done():
        waiter.set_result(hinted)


def leaves_work(settlement: Settlement) -> bool:
    """Whether a settlement leaves work that is due: another page, or a delivery that its planner does not send."""
    ended = ended_by(settlement)
    return settlement.cursor is not None or any(
        new.state is DeliveryState.PENDING and new.id not in ended for new in settlement.deliveries
    )


class SqlStore(ABC):
    """The verbs of :class:`notifykit.ports.Store` that are rare enough to share."""

    url: str
    encryption: Encryption
    #: The newest version of the tables that this store knows.
    schema = migrate.HEAD
    _notified = 0.0
    _allowance = 0.0

    @abstractmethod
    async def _read(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a transaction that reads."""

    @abstractmethod
    async def _write(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in a transaction that writes, and commit."""

    @abstractmethod
    def hint(self) -> None:
        """Wake the calls that wait for work in this process."""

    def _telling(self, connection: Connection, result: T) -> T:
        """Return a result, and tell processes that wait on the same data of it when it is committed."""
        del connection  # those of a file hear of every commit
        return result

    def append_joined(self, connection: Any, events: Sequence[StoredEvent]) -> list[Appended]:
        encrypted = self.encryption.events(events)
        return self.encryption.answers(
            encrypted, joined.append(self.url, connection, encrypted, hint=self._notification_is_due())
        )

    async def _opened(self, claims: list[Claim], now: datetime, until: datetime) -> list[Claim]:
        """Return the claims whose body opens; hold those whose key is missing here for the length of a lease.

        Another worker may have the key, or this one may get it: nothing about the delivery is wrong.
        """
        opened, locked = self.encryption.claims(claims)
        if locked:
            await self.record(
                [
                    Record(claim.delivery_id, claim.fence, DeliveryState.HELD, MISSING_KEY, until, now, None)
                    for claim in locked
                ]
            )
        return opened

    @abstractmethod
    async def record(self, records: Sequence[Record]) -> set[str]:
        """See :meth:`notifykit.ports.Deliveries.record`."""

    def _notification_is_due(self) -> bool:
        """Whether the next append may carry a notification.

        A NOTIFY in every commit makes busy committers queue up behind one lock.  So there are
        only so many a second, with some to spare for a burst; a dispatcher that was just woken
        looks again by itself.
        """
        now = time.monotonic()
        self._allowance = min(
            self._allowance + (now - self._notified) * NOTIFICATIONS_PER_SECOND, NOTIFICATIONS_TO_SPARE
        )
        self._notified = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True

    async def rescue(self, limit: int, *, now: datetime, max_abandoned: int) -> list[Delivery]:
        found = await self._write(lambda c: transitions.rescue(c, limit, now, max_abandoned))
        if found:
            self.hint()
        return found

    async def cancel(self, tenant: str, delivery_ids: Sequence[str], *, now: datetime) -> int:
        return await self._write(lambda c: transitions.cancel(c, tenant, delivery_ids, now))

    async def redrive(self, tenant: str, wanted: DeliveryFilter, *, now: datetime, limit: int) -> int:
        count = await self._write(lambda c: self._telling(c, transitions.redrive(c, tenant, wanted, now, limit)))
        self.hint()
        return count

    async def redrive_one(self, tenant: str, delivery_id: str, *, now: datetime) -> bool:
        done = await self._write(lambda c: self._telling(c, transitions.redrive_one(c, tenant, delivery_id, now)))
        failpoint("replay.created")
        self.hint()
        return done

    async def wake(self, tenant: str, subscriber_id: str, *, now: datetime) -> int:
        count = await self._write(lambda c: transitions.wake(c, tenant, subscriber_id, now))
        self.hint()
        return count

    async def get_delivery(self, tenant: str, delivery_id: str) -> Delivery | None:
        return await self._read(lambda c: transitions.get(c, tenant, delivery_id))

    async def find_deliveries(
        self, tenant: str, wanted: DeliveryFilter, *, limit: int, before: str | None = None
    ) -> list[Delivery]:
        return await self._read(lambda c: transitions.find(c, tenant, wanted, limit, before))

    async def attempts(self, tenant: str, delivery_id: str) -> list[Attempt]:
        return await self._read(
            lambda c: [*map(self.encryption.opened_attempt, transitions.attempts(c, tenant, delivery_id))]
        )

    async def get_event(self, tenant: str, event_id: str) -> StoredEvent | None:
        stored = await self._read(lambda c: config.get_event(c, tenant, event_id))
        return None if stored is None else self.encryption.opened_event(stored)

    async def find_events(
        self, tenant: str, *, type: str | None = None, limit: int, before: str | None = None
    ) -> list[StoredEvent]:
        stored = await self._read(lambda c: config.find_events(c, tenant, type, limit, before))
        return [*map(self.encryption.listed_event, stored)]

    async def is_planned(self, tenant: str, event_id: str) -> bool:
        return await self._read(lambda c: config.is_planned(c, tenant, event_id))

    async def save_endpoint(self, endpoint: Endpoint) -> Endpoint:
        version = await self._write(lambda c: config.save_endpoint(c, self.encryption.endpoint(endpoint)))
        failpoint("ep.changed")
        return attrs.evolve(endpoint, version=version)

    async def get_endpoint(self, tenant: str, endpoint_id: str) -> Endpoint | None:
        stored = await self._read(lambda c: config.get_endpoint(c, tenant, endpoint_id))
        return None if stored is None else self.encryption.opened_endpoint(stored)

    async def find_endpoints(self, tenant: str, *, limit: int, after: str | None = None) -> list[Endpoint]:
        stored = await self._read(lambda c: config.find_endpoints(c, tenant, limit, after))
        return [*map(self.encryption.usable_endpoint, stored)]

    async def pick_endpoints(self, tenant: str, endpoint_ids: Collection[str]) -> list[Endpoint]:
        stored = await self._read(lambda c: config.pick_endpoints(c, tenant, endpoint_ids))
        return [*map(self.encryption.usable_endpoint, stored)]

    async def circuits(self) -> list[OpenCircuit]:
        return await self._read(circuits.failing)

    async def save_circuit(self, circuit: OpenCircuit) -> OpenCircuit:
        return attrs.evolve(circuit, version=await self._write(lambda c: circuits.save(c, circuit)))

    async def close_circuit(self, tenant: str, endpoint_id: str, *, now: datetime) -> bool:
        removed = await self._write(lambda c: circuits.remove(c, tenant, endpoint_id, now))
        self.hint()
        return removed

    async def acquire(self, tenant: str, endpoint_id: str, wanted: int, limit: RateLimit, *, now: datetime) -> int:
        return await self._write(lambda c: circuits.acquire(c, tenant, endpoint_id, wanted, limit, now))

    async def remove_endpoint(self, tenant: str, endpoint_id: str, *, now: datetime) -> bool:
        return await self._write(lambda c: config.remove_endpoint(c, tenant, endpoint_id, now))

    async def save_subscription(self, subscription: Subscription) -> Subscription:
        version = await self._write(lambda c: config.save_subscription(c, subscription))
        return attrs.evolve(subscription, version=version)

    async def get_subscription(self, tenant: str, subscription_id: str) -> Subscription | None:
        return await self._read(lambda c: config.get_subscription(c, tenant, subscription_id))

    async def find_subscriptions(
        self, tenant: str, *, subscriber_id: str | None = None, limit: int, after: str | None = None
    ) -> list[Subscription]:
        return await self._read(lambda c: config.find_subscriptions(c, tenant, subscriber_id, limit, after))

    async def remove_subscription(self, tenant: str, subscription_id: str) -> bool:
        return await self._write(lambda c: config.remove_subscription(c, tenant, subscription_id))

    async def load_tenant(self, tenant: str) -> TenantConfig:
        return await self._read(lambda c: self.encryption.opened_config(config.load_tenant(c, tenant)))

    async def load_small_tenant(self, tenant: str, most: int) -> TenantConfig | None:
        found = await self._read(lambda c: config.load_small_tenant(c, tenant, most))
        return None if found is None else self.encryption.opened_config(found)

    async def find_matches(self, tenant: str, queries: Sequence[MatchQuery], *, limit: int) -> list[list[Match]]:
        return await self._read(lambda c: [subscription_index.candidates(c, tenant, each, limit) for each in queries])

    async def tenants(self) -> list[str]:
        return await self._read(config.tenants)

    @property
    @abstractmethod
    def hears_notifications(self) -> bool: ...

    async def next_due(self) -> NextDue:
        return await self._read(transitions.next_due)

    async def has_work(self) -> bool:
        return await self._read(self._has_work)

    def _has_work(self, connection: Connection) -> bool:
        migrate.refuse_newer(migrate.stamp(connection), self.schema)
        return transitions.has_work(connection)

    async def purge(self, *, before: datetime, keys_before: datetime, limit: int) -> int:
        return await self._write(lambda c: transitions.purge(c, before, keys_before, limit))

    async def stats(self, *, now: datetime) -> StoreStats:
        return await self._read(lambda c: transitions.stats(c, now))
