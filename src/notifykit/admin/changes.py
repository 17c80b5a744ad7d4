"""A live view of a tenant's deliveries: what has happened since the last call."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

import attrs

from ..models.delivery import OPEN_STATES, Attempt, Delivery
from ..policies.changes import Seen, moved
from ..ports import DeliveryFilter, Store

#: How many deliveries are read, of those that are open and of the newest ones.
MOST = 1000
#: How old a delivery may be and still count as new: one that is sent before it is written is as old as its attempt,
#: and the clocks of processes differ.
_WINDOW = timedelta(minutes=2)


@attrs.frozen(kw_only=True)
class Cursor:
    """What was seen by a call; the next call is given it.

    Attributes:
        at: When that was.
    """

    at: datetime
    seen: Mapping[str, Seen]


class Change(NamedTuple):
    """Something that happened to a delivery.

    Attributes:
        attempt: The attempt that was made; ``None`` where the delivery is new or changed its state without one.
    """

    delivery: Delivery
    attempt: Attempt | None


@attrs.frozen(kw_only=True)
class Changes:
    """What has happened since the last call.

    Attributes:
        changes: In the order of the deliveries' ids, and of the attempts of each.
        cursor: For the next call.
        complete: Whether all deliveries were read; with very many new or open deliveries, only the newest are.
    """

    changes: tuple[Change, ...]
    cursor: Cursor
    complete: bool


async def look(store: Store, cursor: Cursor | None, *, tenant: str, wanted: DeliveryFilter, now: datetime) -> Changes:
    """Return what has happened to the wanted deliveries since ``cursor``; without one, only a cursor."""
    since = now - _WINDOW if cursor is None else cursor.at - _WINDOW
    newest = attrs.evolve(wanted, states=None, since=since, until=None)
    waiting = attrs.evolve(wanted, states=OPEN_STATES, since=None, until=None)
    recent = await store.find_deliveries(tenant, newest, limit=MOST)
    still_open = await store.find_deliveries(tenant, waiting, limit=MOST)
    found = {delivery.id: delivery for delivery in (*still_open, *recent)}
    changes: list[Change] = []
    if cursor is not None:
        ended = await _ended(store, cursor, found, tenant)
        for delivery, known in moved(cursor.seen, [*found.values(), *ended], new={d.id for d in recent}):
            if wanted.states is None or delivery.state in wanted.states:
                changes += await _changes(store, delivery, known)
    seen = {id_: Seen(delivery.state, delivery.attempts) for id_, delivery in found.items()}
    return Changes(
        changes=tuple(changes),
        cursor=Cursor(at=now, seen=seen),
        complete=len(recent) < MOST and len(still_open) < MOST,
    )


async def _ended(store: Store, cursor: Cursor, found: Mapping[str, Delivery], tenant: str) -> list[Delivery]:
    """Return the deliveries that were open at the last call and are not among the open ones any more."""
    gone = [id_ for id_, seen in cursor.seen.items() if not seen.state.is_final and id_ not in found]
    ended: list[Delivery] = []
    for at in range(0, len(gone), MOST):
        ids = DeliveryFilter(ids=frozenset(gone[at : at + MOST]))
        ended += await store.find_deliveries(tenant, ids, limit=MOST)
    return ended


async def _changes(store: Store, delivery: Delivery, known: int) -> list[Change]:
    if delivery.attempts <= known:
        return [Change(delivery, None)]
    attempts = await store.attempts(delivery.tenant, delivery.id)
    return [Change(delivery, attempt) for attempt in attempts if attempt.number > known]
