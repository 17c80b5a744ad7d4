"""Digests, as far as databases share them: what joins which, what is closed, and what has been collected.

Joining is one statement of each database, ``INSERT … ON CONFLICT … DO UPDATE`` on the index that allows one open digest
of a key.  It locks the digest's row until the items are committed, and closing takes the same lock: an item joins
before its digest is closed, or opens the next one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, delete, func, insert, select, update

from ...models.delivery import DeliveryState, DigestEntry, NewDelivery
from ...models.event import StoredEvent
from ...policies.digest import carrier_of, sent_ahead
from ...ports import DeliveryFilter, Dismissal, Move
from ..encoding.readable import event_from
from ..encoding.rows import PRIORITIES, RANK, NamedRow, Row, instant, micros, micros_or_none
from . import schema as s
from .fetching import fetch, first
from .reading import COLLECTED, SHARED, conditions, in_states, open_rows


class Joining(NamedTuple):
    """The deliveries of a batch that one digest collects.

    Attributes:
        entry: Of the first.
        closes_at: The latest of theirs.
        first: It opens the digest, if none is open.
    """

    entry: DigestEntry
    closes_at: datetime
    first: NewDelivery
    others: list[NewDelivery]

    @property
    def key(self) -> tuple[str, str]:
        """The tenant and the digest's key."""
        return self.first.tenant, self.entry.key

    @property
    def slides(self) -> bool:
        """Whether the digest may close later than it would without these deliveries."""
        return self.entry.closes_by > self.entry.closes_at

    def values(self, now: int) -> tuple[Any, ...]:
        """Return the columns that :data:`DIGEST_COLUMNS` names."""
        entry = self.entry
        return entry.delivery_id, *self.key, micros(self.closes_at), micros(entry.closes_by), now, entry.max_items


DIGEST_COLUMNS = ("id", "tenant", "key", "closes_at", "closes_by", "last_at", "max_items")


class Joined(NamedTuple):
    """What is written of a :class:`Joining`.

    Attributes:
        queued: Rows of the queue: of a digest that was opened, and of what is sent ahead of it.
        items: Rows of collected deliveries.
    """

    queued: list[tuple[Any, ...]]
    items: list[tuple[Any, ...]]


QUEUE_COLUMNS = (
    *("id", "event_id", "tenant", "subscription_id", "subscriber_id", "channel", "priority", "state", "reason"),
    *("created_at", "due_at", "expires_at", "ordering_key", "address", "digest"),
)
ITEM_COLUMNS = ("id", "tenant", "event_id", "digest_id", "created_at")


def joinings(deliveries: Iterable[NewDelivery]) -> list[Joining]:
    """Return planned deliveries by their digests, in an order in which two processes never wait for each other."""
    found: dict[tuple[str, str], Joining] = {}
    for new in deliveries:
        entry = new.digest
        assert entry is not None, "it names its digest"
        key = new.tenant, entry.key
        if (known := found.get(key)) is None:
            found[key] = Joining(entry, entry.closes_at, new, [])
        else:
            known.others.append(new)
            found[key] = known._replace(closes_at=min(known.entry.closes_by, max(known.closes_at, entry.closes_at)))
    return [joining for _, joining in sorted(found.items())]


def joined(joining: Joining, digest_id: str, closes_at: int, *, was_quiet: bool, now: int) -> Joined:
    """Return what is written of deliveries once it is known which digest collects them.

    Args:
        digest_id: Of the digest that is open; it was opened just now if it is the one that the entry names.
        was_quiet: Whether the digest had nothing for so long that the first may be sent at once.
    """
    new, collected, queued = joining.first, [joining.first, *joining.others], []
    if digest_id == joining.entry.delivery_id:
        queued.append(carrier_of(new, instant(closes_at)))
        if joining.entry.sends_first and was_quiet:
            queued.append(sent_ahead(new))
            collected = joining.others
    return Joined(
        [_queue_values(each, joining.entry.name, now) for each in queued],
        [(each.id, each.tenant, each.event_id, digest_id, now) for each in collected],
    )


def _queue_values(new: NewDelivery, digest: str, now: int) -> tuple[Any, ...]:
    return (
        *new[:6],
        RANK[new.priority],
        new.state.value,
        new.reason,
        now,
        micros(new.due_at),
        micros_or_none(new.expires_at),
        new.ordering_key,
        new.address,
        digest,
    )


def from_queue(row: NamedRow, entry: DigestEntry, at: datetime) -> NewDelivery:
    """Return a claimed delivery that goes from the queue into a digest as if it had just been planned."""
    return NewDelivery(
        id=row["id"],
        event_id=row["event_id"],
        tenant=row["tenant"],
        subscription_id=row["subscription_id"],
        subscriber_id=row["subscriber_id"],
        channel=row["channel"],
        priority=PRIORITIES[row["priority"]],
        state=DeliveryState.HELD,
        reason=None,
        due_at=at,
        expires_at=None,
        ordering_key=None,
        address=row["address"],
        digest=entry._replace(sends_first=False),
    )


# ── what is rare enough to be written once ─────────────────────────────────────────────────────


def close(connection: Connection, deliveries: Iterable[NamedRow], now: datetime) -> None:
    """Close digests whose deliveries have ended without having been claimed."""
    by_tenant: dict[str, list[str]] = {}
    for row in deliveries:
        if row["digest"] is not None:
            by_tenant.setdefault(row["tenant"], []).append(row["id"])
    for tenant, ids in sorted(by_tenant.items()):
        these = and_(s.digests.c.tenant == tenant, s.digests.c.id.in_(_lock(connection, tenant, ids)))
        connection.execute(update(s.digests).where(these).values(open=False, last_at=micros(now)))


def withdraw(
    connection: Connection, tenant: str, wanted: DeliveryFilter, limit: int | None, reason: str, now: datetime
) -> int:
    """Cancel deliveries in digests that are open; return how many."""
    states = in_states(COLLECTED, wanted.states_for(Move.CANCEL))
    query = (
        open_rows(COLLECTED).add_columns(COLLECTED.c.digest_id).where(*conditions(COLLECTED, tenant, wanted), states)
    )
    found = fetch(connection, query.order_by(COLLECTED.c.id).limit(limit))
    held = set(_lock(connection, tenant, {row["digest_id"] for row in found})) if found else ()
    rows = [row for row in found if row["digest_id"] in held]
    _end(connection, tenant, rows, {row["id"]: (DeliveryState.CANCELLED, reason) for row in rows}, now)
    return len(rows)


def dismiss(
    connection: Connection, tenant: str, delivery_id: str, fence: int, dismissals: Iterable[Dismissal], now: datetime
) -> bool:
    """End deliveries that a digest which is being sent has collected; return whether the claim was still held."""
    q, endings = s.queue.c, {id_: (state, reason) for id_, state, reason in dismissals}
    is_claim = and_(q.id == delivery_id, q.tenant == tenant, q.fence == fence, q.state == DeliveryState.SENDING.value)
    if first(connection, select(q.id).where(is_claim).with_for_update()) is None:
        return False
    its = COLLECTED.c
    rows = open_rows(COLLECTED).where(its.tenant == tenant, its.digest_id == delivery_id, its.id.in_(endings))
    _end(connection, tenant, fetch(connection, rows), endings, now)
    return True


def _end(
    connection: Connection,
    tenant: str,
    rows: Sequence[Row],
    endings: Mapping[str, tuple[DeliveryState, str]],
    now: datetime,
) -> None:
    """Take deliveries out of their digests, as deliveries of their own that have ended."""
    if not rows:
        return
    ids = [row["id"] for row in rows]
    connection.execute(delete(s.digest_items).where(s.digest_items.c.tenant == tenant, s.digest_items.c.id.in_(ids)))
    untried = {"attempts": 0, "abandoned": 0, "fence": 0, "digest": None, "finished_at": micros(now)}
    ended = [
        {**{name: row[name] for name in SHARED}, **untried, "state": state.value, "reason": reason}
        for row in rows
        for state, reason in (endings[row["id"]],)
    ]
    connection.execute(insert(s.deliveries), ended)


def _lock(connection: Connection, tenant: str, digest_ids: Collection[str]) -> Sequence[str]:
    """Return the ids of those digests that are open and stay so, locked in the order in which they are joined."""
    are_open = and_(s.digests.c.tenant == tenant, s.digests.c.id.in_(digest_ids), s.digests.c.open)
    in_order = select(s.digests.c.id).where(are_open).order_by(s.digests.c.key)
    return connection.scalars(in_order.with_for_update()).all()


def forget(connection: Connection, delivery_ids: Collection[str]) -> None:
    """Delete the digests that these deliveries carried, with what they collected."""
    connection.execute(delete(s.digest_items).where(s.digest_items.c.digest_id.in_(delivery_ids)))
    connection.execute(delete(s.digests).where(s.digests.c.id.in_(delivery_ids)))


def collected(
    connection: Connection, tenant: str, delivery_id: str
) -> tuple[int, list[tuple[str, StoredEvent]]] | None:
    """Return how many deliveries a digest has, and the first of them with their events; ``None`` if there is none."""
    digest = first(
        connection,
        select(s.digests.c.max_items).where(s.digests.c.id == delivery_id, s.digests.c.tenant == tenant),
    )
    if digest is None:
        return None
    items, events = s.digest_items, s.events
    its = and_(items.c.tenant == tenant, items.c.digest_id == delivery_id)
    of_event = and_(events.c.tenant == items.c.tenant, events.c.id == items.c.event_id)
    query = select(items.c.id.label("item_id"), events).join_from(items, events, of_event).where(its)
    rows = fetch(connection, query.order_by(items.c.id).limit(digest["max_items"]))
    total = connection.scalar(select(func.count()).select_from(items).where(its)) or 0
    return total, [(row["item_id"], event_from(row)) for row in rows]
