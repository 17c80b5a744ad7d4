"""Which digest collects a delivery, and when that digest closes.

Pure: the clock is an argument.  That one digest of a key is open at a time, and that a delivery is collected once, is
kept by stores (see :class:`notifykit.ports.Digests`), which know nothing of windows and time zones.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, Protocol

from ..models.delivery import Claim, Collected, DeliveryState, DigestEntry, DigestItem, NewDelivery
from ..models.digest import STANDARD_DIGESTS, Digest
from ..models.ids import delivery_id, recipient_key
from ..models.quiet_hours import QuietHours, Weekday
from .decide import SEND, Cancel, Decision, Expire, Hold, Suppress
from .quiet_hours import quiet_until

#: Why the delivery of a digest waits.
DIGEST: Final = "digest"
#: Why a delivery is sent by itself: the event has no value by which its digest groups, …
NO_GROUP: Final = "digest_group_missing"
#: … or would be of no use any more when the digest closes.
TOO_LATE: Final = "expires_before_digest"
#: Why nothing is sent of a digest that has collected nothing.
EMPTY: Final = "digest_empty"

_DAY = timedelta(days=1)
#: The longest value that names a group, as JSON.
_MAX_VALUE = 1024


def digest_named(name: str, declared: Digest | None) -> Digest:
    """Return what the setting ``digest:NAME`` asks for.

    That is the digest that the event's type declares, if it has this name, else one of the standard digests.  What
    nothing has this name is sent daily: a person who asks for a digest wants fewer messages.

    Args:
        declared: By the event's type.
    """
    if declared is not None and declared.name == name:
        return declared
    return STANDARD_DIGESTS.get(name) or Digest(name, at="08:00")


class Collectable(Protocol):
    """A delivery that is planned or claimed."""

    @property
    def event_id(self) -> str: ...
    @property
    def subscriber_id(self) -> str: ...
    @property
    def channel(self) -> str: ...
    @property
    def address(self) -> str | None: ...
    @property
    def expires_at(self) -> datetime | None: ...


def enter(
    its: Collectable, digest: Digest, group: str | None, *, clock: tzinfo, quiet: QuietHours | None, now: datetime
) -> DigestEntry | str:
    """Return what a delivery brings to its digest or, if it is sent by itself, the reason.

    Args:
        group: The value of the event by which the digest groups (see :func:`group_of`).
        clock: The recipient's time zone.
        quiet: The recipient's quiet hours: a digest that would close in them closes when they end.
    """
    if digest.group is None:
        group = None
    elif group is None:
        return NO_GROUP
    closes_at, closes_by = window_from(digest, clock, quiet, now)
    if its.expires_at is not None and its.expires_at <= closes_by:
        return TOO_LATE
    key = digest_key(its, digest.name, group)
    return DigestEntry(
        delivery_id=delivery_id(its.event_id, recipient_key(its.subscriber_id, its.channel, key)),
        key=key,
        name=digest.name,
        closes_at=closes_at,
        closes_by=closes_by,
        sends_first=digest.first == "now",
        quiet_since=None if digest.look_back is None else now - digest.look_back,
        max_items=digest.max_items,
    )


def collected(new: NewDelivery, entry: DigestEntry) -> NewDelivery:
    """Return a planned delivery as its digest collects it."""
    return new._replace(state=DeliveryState.HELD, reason=DIGEST, digest=entry)


def carrier_of(new: NewDelivery, closes_at: datetime) -> NewDelivery:
    """Return the digest's own delivery, which is due when it closes, from the one that opens it."""
    assert new.digest is not None, "it opens a digest"
    return new._replace(
        id=new.digest.delivery_id,
        state=DeliveryState.HELD,
        reason=DIGEST,
        due_at=closes_at,
        expires_at=None,
        ordering_key=None,
    )


def sent_ahead(new: NewDelivery) -> NewDelivery:
    """Return the delivery that opens a digest and is sent at once."""
    return new._replace(state=DeliveryState.PENDING, reason=None)


def group_of(event: Any, path: str) -> str | None:
    """Return the value at ``path`` as JSON; ``None`` if there is none, or none that could name a group.

    Args:
        event: What the body of the event says.
    """
    value = event
    for step in path.split("."):
        if not isinstance(value, Mapping) or step not in value:
            return None
        value = value[step]
    if not isinstance(value, str | int):  # a float that was computed has many forms
        return None
    text = json.dumps(value)
    return text if len(text) <= _MAX_VALUE else None


def digest_key(its: Collectable, name: str, group: str | None) -> str:
    """Return what tells the open digests of a tenant apart: recipient, channel and address, name, and group.

    A person with two addresses gets a digest at each, as without a digest each event is sent to each.
    """
    parts = json.dumps([its.subscriber_id, its.channel, its.address, name, group])
    return blake2b(parts.encode(), digest_size=16).hexdigest()


def window_from(digest: Digest, clock: tzinfo, quiet: QuietHours | None, now: datetime) -> tuple[datetime, datetime]:
    """Return when a digest closes that opens at ``now``, if nothing is added, and at the latest."""
    if digest.window is not None:
        ends = now + digest.window, now + (digest.max_window or digest.window)
    else:
        assert digest.at is not None, "a digest has a window or a time of day"
        ends = (next_at(digest.at, digest.day, clock, now),) * 2
    closes_at, closes_by = (end if quiet is None else quiet_until(quiet, end) or end for end in ends)
    return closes_at, closes_by


def next_at(at: str, day: str | None, clock: tzinfo, now: datetime) -> datetime:
    """Return the first instant after ``now`` at which it becomes the time ``at`` on the wall, in UTC.

    Once each day, or each week on ``day``: a time that the clock shows twice counts when it is shown first, and one
    that the clock leaves out counts when it jumps.
    """
    today = now.astimezone(clock).replace(tzinfo=None, fold=0)
    hour, minute = int(at[:2]), int(at[3:])
    wall = today.replace(hour=hour, minute=minute, second=0, microsecond=0)
    while True:
        if day is None or wall.weekday() == _NUMBER[day]:
            instant = _first_shown(clock, wall)
            if instant > now:
                return instant
        wall += _DAY


_NUMBER: Mapping[str, int] = {day: number for number, day in enumerate(Weekday)}


@lru_cache(maxsize=4096)
def _first_shown(clock: tzinfo, wall: datetime) -> datetime:
    """Return when a clock first shows this time or, if it leaves it out, when it jumps over it."""
    instant = wall.replace(tzinfo=clock).astimezone(UTC)
    if instant.astimezone(clock).replace(tzinfo=None) == wall:
        return instant
    # The clock jumps over it: with the offset after the jump it is before the jump, and with the one before, after.
    before = wall.replace(tzinfo=clock, fold=1).astimezone(UTC)
    offset = before.astimezone(clock).utcoffset()
    low, high = 0, int((instant - before).total_seconds())
    while high - low > 1:
        middle = (low + high) // 2
        if (before + timedelta(seconds=middle)).astimezone(clock).utcoffset() == offset:
            low = middle
        else:
            high = middle
    return before + timedelta(seconds=high)


def parts_of(claim: Claim, found: Collected | None) -> list[Claim]:
    """Return what is decided about when a digest is sent: each event that it has collected, as a claim of its own.

    Args:
        found: What the digest has collected; ``None`` if the claim is of a delivery that is sent ahead of it.
    """
    return (
        [claim]
        if found is None
        else [_as_event(claim, item)._replace(delivery_id=item.delivery_id) for item in found.items]
    )


def refused(parts: Iterable[Claim], decisions: Mapping[str, Decision]) -> dict[str, Decision]:
    """Return the decisions about events that are not sent with their digest, by the ids of their deliveries."""
    found = {part.delivery_id: decisions.get(part.delivery_id, SEND) for part in parts}
    return {id_: decision for id_, decision in found.items() if isinstance(decision, Cancel | Expire | Suppress)}


def decide_digest(found: Collected, decisions: Mapping[str, Decision]) -> Decision:
    """Decide about a digest as a whole, from the decisions about what it has collected.

    It is refused, as its first event is, if all are; otherwise it waits as long as one that is not refused has to.
    """
    if not found.items:
        return Cancel(EMPTY)
    each = [decisions.get(item.delivery_id, SEND) for item in found.items]
    kept = [decision for decision in each if not isinstance(decision, Cancel | Expire | Suppress)]
    if not kept and found.total == len(each):
        return each[0]
    return next((decision for decision in kept if isinstance(decision, Hold)), SEND)


def without(found: Collected, ids: Container[str]) -> Collected:
    """Return what a digest has collected without some of it."""
    items = tuple(item for item in found.items if item.delivery_id not in ids)
    return Collected(found.total - len(found.items) + len(items), items)


def opened(claim: Claim, found: Collected | None) -> Claim:
    """Return the claim of a digest with what it sends; one event is sent as that event."""
    if found is None or not found.items:
        return claim
    if found.total == 1:
        return _as_event(claim, found.items[0])
    if claim.event_id not in {item.event_id for item in found.items}:
        claim = _as_event(claim, found.items[0])
    return claim._replace(collected=found)


def _as_event(claim: Claim, item: DigestItem) -> Claim:
    return claim._replace(
        event_id=item.event_id,
        event_type=item.event_type,
        published_at=item.published_at,
        body=item.body,
        details=item.details,
    )
