"""What the verbs of a store take and give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple, cast

import attrs

from ..models.checks import field_check, flag, identifier, instant, listed, many, one_of, optional
from ..models.delivery import (
    FINAL_STATES,
    Attempt,
    DeliveryState,
    DigestEntry,
    Lane,
    NewDelivery,
)
from ..models.endpoint import RateLimit
from ..models.event import StoredEvent


class Appended(NamedTuple):
    """What became of one appended event.

    Attributes:
        event_id: The id of the event that the store holds.
        duplicate: An earlier event of the tenant has the same idempotency key.
        fingerprint: The held event's fingerprint, when ``duplicate``.
    """

    event_id: str
    duplicate: bool = False
    fingerprint: bytes | None = None


class Record(NamedTuple):
    """What becomes of one claimed delivery, as one write.

    Attributes:
        state: The new state.  A final one ends the delivery; ``PENDING`` and ``HELD`` need ``due_at``.
        at: The instant of the decision.
        attempt: The try that was made; ``None`` when nothing was sent.
        digest: The digest that collects the delivery in place of holding it, in a store that has digests.
        event: An operational event to append in the same step, if this record is written.
    """

    delivery_id: str
    fence: int
    state: DeliveryState
    reason: str | None
    due_at: datetime | None
    at: datetime
    attempt: Attempt | None
    event: StoredEvent | None = None
    digest: DigestEntry | None = None


class Outstanding(NamedTuple):
    """How many deliveries may be handed over to a relay at a time, not counting those whose hold has run out.

    Attributes:
        lane: Of one lane.
        tenant: Of one tenant in a lane.
        subscriber: To one subscriber in a lane.
    """

    lane: int
    tenant: int
    subscriber: int


class Dismissal(NamedTuple):
    """A delivery that leaves its digest and ends, because it is not sent with it.

    Attributes:
        state: A final one.
        reason: Why it is not sent.
    """

    delivery_id: str
    state: DeliveryState
    reason: str


class Settlement(NamedTuple):
    """The plan of one event (or of one page of it).

    Attributes:
        cursor: ``None`` when the whole event is planned; otherwise where the next page starts.
        records: What became of some of the deliveries, which were sent before this was written.  It is as if
            these had been settled in state ``SENDING``, and recorded under fence 1.
    """

    event_id: str
    fence: int
    deliveries: Sequence[NewDelivery]
    cursor: str | None = None
    records: Sequence[Record] = ()


def _as_states(states: Iterable[DeliveryState | str] | str | None) -> frozenset[DeliveryState] | None:
    """Return any number of states, or one, as a set; leave anything else as it is, for the check to refuse."""
    given: Any = (states,) if isinstance(states, str) else listed(states or (), len(DeliveryState))
    if states is None or _STATES(given) is not None:
        return cast("frozenset[DeliveryState] | None", states)
    return frozenset(map(DeliveryState, given))


_STATES = many(one_of(tuple(DeliveryState)), most=len(DeliveryState), what="states")


def _are_states(states: object) -> str | None:
    if isinstance(states, frozenset):
        return None
    return f"must be states out of {', '.join(DeliveryState)}"


#: Ids that one filter may name.
MAX_IDS = 1000
_IDS = many(identifier, most=MAX_IDS, what="ids")


def _as_ids(ids: Iterable[str] | str | None) -> frozenset[str] | None:
    """Return any number of ids, or one, as a set; leave anything else as it is, for the check to refuse."""
    given: Any = (ids,) if isinstance(ids, str) else listed(() if ids is None else ids, MAX_IDS)
    if ids is None or _IDS(given) is not None:
        return cast("frozenset[str] | None", given if ids is not None else None)
    return frozenset(given)


_identifier, _instant, _ids = (field_check(optional(check)) for check in (identifier, instant, _IDS))


#: Why a delivery was cancelled, if nothing else is said.
CANCELLED: Final = "cancelled"


class Move(StrEnum):
    """How an operator moves deliveries.

    Attributes:
        CANCEL: End deliveries that wait (``PENDING`` and ``HELD``, not those being sent).  A filter with nothing but an
            event's id also takes the event out of the outbox, unless a planner has it, and that counts as one.
        REDRIVE: Make deliveries that have ended due again as a new generation: without states in the filter all
            but those that were delivered, but those that are named by id whatever their end was.
        WAKE: Make deliveries that are ``HELD`` due now.
    """

    CANCEL = "cancel"
    REDRIVE = "redrive"
    WAKE = "wake"


@attrs.frozen(kw_only=True)
class DeliveryFilter:
    """Which deliveries are meant; fields that are ``None`` do not restrict.

    Attributes:
        ids: With one of these ids, at most 1,000; any iterable of them.
        states: In one of these states; any iterable of them, or of their names.
        since: Created at or after this time, which needs a zone.
        until: Created before this time, which needs a zone.

    Raises:
        InvalidInputError: A field is not what it should be.
    """

    ids: frozenset[str] | None = attrs.field(default=None, converter=_as_ids, validator=_ids)
    states: frozenset[DeliveryState] | None = attrs.field(
        default=None, converter=_as_states, validator=field_check(optional(_are_states))
    )
    subscriber_id: str | None = attrs.field(default=None, validator=_identifier)
    event_id: str | None = attrs.field(default=None, validator=_identifier)
    event_type: str | None = attrs.field(default=None, validator=_identifier)
    since: datetime | None = attrs.field(default=None, validator=_instant)
    until: datetime | None = attrs.field(default=None, validator=_instant)

    def states_for(self, move: Move) -> frozenset[DeliveryState]:
        """Return the states out of which ``move`` takes the deliveries that are meant."""
        allowed = _STARTS[move]
        if self.states is not None:
            return allowed & self.states
        if move is Move.REDRIVE and self.ids is None:
            return allowed - {DeliveryState.DELIVERED}
        return allowed

    def means_event(self, move: Move) -> bool:
        """Tell whether ``move`` cancels a whole event: what is planned of it, and what is not."""
        return move is Move.CANCEL and self.event_id is not None and self == DeliveryFilter(event_id=self.event_id)

    def means_digests(self, move: Move) -> bool:
        """Tell whether ``move`` takes the deliveries of digests, which are about many events, of those that are meant.

        It does unless the filter is about events.  A digest is woken, and so closed, only by its id.
        """
        if self.ids is not None:
            return True
        return move is not Move.WAKE and self.event_id is None and self.event_type is None


_STARTS = {
    Move.CANCEL: frozenset({DeliveryState.PENDING, DeliveryState.HELD}),
    Move.REDRIVE: FINAL_STATES,
    Move.WAKE: frozenset({DeliveryState.HELD}),
}


@attrs.frozen(kw_only=True)
class EventFilter:
    """Which events are meant; fields that are ``None`` do not restrict.

    Attributes:
        ids: With one of these ids, at most 1,000; any iterable of them.
        type: Of this type.
        planned: Whether the event has left the outbox.
        idempotency_key: Published with this key.

    Raises:
        InvalidInputError: A field is not what it should be.
    """

    ids: frozenset[str] | None = attrs.field(default=None, converter=_as_ids, validator=_ids)
    type: str | None = attrs.field(default=None, validator=_identifier)
    planned: bool | None = attrs.field(default=None, validator=field_check(optional(flag)))
    idempotency_key: str | None = attrs.field(default=None, validator=_identifier)


class TokenRequest(NamedTuple):
    """A request for tokens of one bucket.

    Attributes:
        endpoint_id: Whose bucket it is: an endpoint's, or the key of a person's (see
            :meth:`~notifykit.models.throttle.Throttle.bucket`).
        tokens: How many are wanted at the most.
        limit: How fast the bucket refills, and how many it holds.
    """

    tenant: str
    endpoint_id: str
    tokens: int
    limit: RateLimit


class LaneStats(NamedTuple):
    """How much waits in a lane.

    Attributes:
        waiting: Deliveries, due or not; the Redis store counts one of each FIFO group.
        oldest_due: Since when the most overdue one waits.
    """

    waiting: int
    oldest_due: datetime | None


_NO_LANES: Mapping[Lane, LaneStats] = MappingProxyType({})


class StoreStats(NamedTuple):
    """How much work waits, for health checks.  Counts stop at 10,000.

    Attributes:
        oldest_due: Since when the most overdue row waits, those included that are handed over to a broker.
        lanes: The same of each lane in which deliveries wait.
    """

    unplanned: int
    waiting: int
    sending: int
    dead: int
    oldest_due: datetime | None
    lanes: Mapping[Lane, LaneStats] = _NO_LANES


class NextDue(NamedTuple):
    """When something becomes due; a time that has passed means now.

    Attributes:
        event: The next event that no planner has taken.
        lanes: The next delivery that waits in each lane that has any.
        is_open: Whether any work is open, due or not: an event in the outbox, or a delivery that waits or is
            being sent.
    """

    event: datetime | None
    lanes: Mapping[Lane, datetime]
    is_open: bool

    @property
    def first(self) -> datetime | None:
        """Whichever comes first."""
        return min((due for due in (self.event, *self.lanes.values()) if due is not None), default=None)


@attrs.define(kw_only=True)
class Rewrapped:
    """What a rewrap has done so far.

    Attributes:
        key: The id of the key that values are encrypted under.
        rows: Rows that were encrypted again (or would have been, in a dry run).
        endpoints: Endpoints that were read.
        missed: Rows that another process changed at that moment, and that were not read again.
        unreadable: Rows that were left as they are, by the id of the key that is missing, or :data:`TAMPERED`.
    """

    key: str
    rows: int = 0
    endpoints: int = 0
    missed: int = 0
    unreadable: Counter[str] = attrs.field(factory=Counter)


@attrs.define(kw_only=True)
class Survey:
    """What a survey has read, and what of it cannot be decrypted.

    Attributes:
        endpoints: Endpoints that were read.
        sampled: Rows of events and answers that were read.
        encrypted: Rows with an encrypted value in them.
        unreadable: Rows that cannot be decrypted, by the id of the key that is missing, or :data:`TAMPERED`.
    """

    endpoints: int = 0
    sampled: int = 0
    encrypted: int = 0
    unreadable: Counter[str] = attrs.field(factory=Counter)


#: Under which name rows are counted that cannot be decrypted although their key is there.
TAMPERED = "(tampered)"
