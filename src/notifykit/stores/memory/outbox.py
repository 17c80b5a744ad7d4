"""The memory store's outbox, and its events as operators read them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from itertools import islice

from anyio.lowlevel import checkpoint

from ...models.delivery import DeliveryState, NewDelivery, Priority
from ...models.event import StoredEvent, TakenEvent
from ...ports import Appended, EventFilter, Settlement
from .deliveries import write
from .notifications import Notifications
from .planned import add, settle_collected
from .tables import Tables, Unplanned


class MemoryOutbox:
    """The verbs of :class:`notifykit.ports.Queue` and :class:`notifykit.ports.Operations` about events."""

    _tables: Tables
    _notifications: Notifications

    async def append(self, events: Sequence[StoredEvent]) -> list[Appended]:
        await checkpoint()
        answers = [self._append(event) for event in events]
        self._notifications.give()
        return answers

    def _append(self, event: StoredEvent) -> Appended:
        return self._tables.append(event)

    async def take(
        self,
        limit: int,
        *,
        now: datetime,
        lease: timedelta,
        exclude: Collection[str] = (),
        since: datetime | None = None,  # noqa: ARG002 - a backlog costs nothing here
    ) -> list[TakenEvent]:
        await checkpoint()
        ids: list[str] = []
        for priority in (Priority.HIGH, Priority.NORMAL, Priority.LOW):
            ids += self._tables.unplanned[priority].deal(limit - len(ids), now=now, exclude=exclude)
        return [self._take(self._tables.outbox[id_], now + lease) for id_ in ids]

    def _take(self, unplanned: Unplanned, until: datetime) -> TakenEvent:
        unplanned.fence += 1
        self._tables.wait_for_planning(unplanned, until)
        event = unplanned.event
        return TakenEvent(
            id=event.id,
            fence=unplanned.fence,
            tenant=event.tenant,
            type=event.type,
            topic=event.topic,
            priority=event.priority,
            ordering_key=event.ordering_key,
            published_at=event.published_at,
            expires_at=event.expires_at,
            body=event.body,
            cursor=unplanned.cursor,
            tenant_version=self._tables.versions[event.tenant],
            details=event.details,
            audience=event.audience,
        )

    async def settle(
        self, settlements: Sequence[Settlement], *, now: datetime, lease: timedelta, worker: str
    ) -> set[str]:
        await checkpoint()
        settled = set()
        for event_id, fence, deliveries, cursor, records in settlements:
            unplanned = self._tables.outbox.get(event_id)
            if unplanned is None or unplanned.fence != fence:
                continue
            settled.add(event_id)
            sent = {record.delivery_id for record in records}
            for new in deliveries:
                leased = new._replace(state=DeliveryState.SENDING) if new.id in sent else new
                if new.digest is None:
                    self._add(leased, now, now + lease, worker)
                else:
                    settle_collected(self._tables, new, now)
            for record in records:
                write(self._tables, self._notifications, record)
            if cursor is None:
                self._tables.planned(unplanned.event)
            else:
                unplanned.cursor = cursor
                self._tables.wait_for_planning(unplanned, unplanned.event.due_at)
        self._notifications.give()
        return settled

    def _add(self, new: NewDelivery, now: datetime, until: datetime, worker: str) -> None:
        if new.id not in self._tables.rows:
            add(self._tables, new, now, until, worker)

    async def find_events(
        self, tenant: str, wanted: EventFilter, *, limit: int, before: str | None = None
    ) -> list[StoredEvent]:
        events = (self._tables.events[id_] for id_ in self._tables.event_ids.before(tenant, before, wanted.ids))
        return list(islice((event for event in events if self._is_wanted(event, wanted)), limit))

    def _is_wanted(self, event: StoredEvent, wanted: EventFilter) -> bool:
        return (
            (wanted.ids is None or event.id in wanted.ids)
            and (wanted.type is None or event.type == wanted.type)
            and (wanted.idempotency_key is None or event.idempotency_key == wanted.idempotency_key)
            and (wanted.planned is None or (event.id not in self._tables.outbox) == wanted.planned)
        )
