"""Every protocol that a third party may implement.

Each docstring is the contract.  Backends do not repeat it, they keep it, and the
suites in :mod:`notifykit.testing` prove that they do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, TypeVar, cast, runtime_checkable

import attrs

from .models.checks import field_check, flag, identifier, instant, listed, many, one_of, optional
from .models.circuit import OpenCircuit
from .models.delivery import (
    FINAL_STATES,
    Attempt,
    Claim,
    Collected,
    Delivery,
    DeliveryState,
    DigestEntry,
    Lane,
    NewDelivery,
)
from .models.destination import Destination
from .models.endpoint import RateLimit
from .models.event import StoredEvent, TakenEvent
from .models.inbox import InboxChanges, InboxCounts, InboxFilter, InboxItem, InboxMark, InboxMarks, InboxPage
from .models.messages import ChatMessage, EmailMessage, InAppMessage, Message, PushMessage, SmsMessage
from .models.outcome import Outcome
from .models.subscription import Match, MatchQuery, TenantConfig


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


class StoreStats(NamedTuple):
    """How much work waits, for health checks.  Counts stop at 10,000.

    Attributes:
        oldest_due: Since when the most overdue row waits.
    """

    unplanned: int
    waiting: int
    sending: int
    dead: int
    oldest_due: datetime | None


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


class ConfigRecord(Protocol):
    """What all configuration records have."""

    @property
    def tenant(self) -> str: ...

    @property
    def id(self) -> str: ...

    @property
    def version(self) -> int: ...


R = TypeVar("R", bound=ConfigRecord)


class Queue(Protocol):
    """Unplanned events (the outbox) and open deliveries: every row is leased and fenced."""

    async def append(self, events: Sequence[StoredEvent]) -> list[Appended]:
        """Store ``events`` in one transaction; return once they are durable, in the same order.

        An event that is already stored, or whose (tenant, idempotency key) is, is not stored again.
        """
        ...

    async def take(
        self,
        limit: int,
        *,
        now: datetime,
        lease: timedelta,
        exclude: Collection[str] = (),
        since: datetime | None = None,
    ) -> list[TakenEvent]:
        """Lease up to ``limit`` due events, urgent first, none of a tenant in ``exclude``.

        With ``since`` the store may ignore what became due before it: then the call costs the same
        however long the backlog is.
        No event is handed out twice before its lease has run out.  Of the events of a
        tenant with the same ordering key only the one with the smallest id is handed out.
        """
        ...

    async def settle(
        self, settlements: Sequence[Settlement], *, now: datetime, lease: timedelta, worker: str
    ) -> set[str]:
        """Write the planned deliveries and take their events out of the outbox, in one step.

        Deliveries that a digest collects are written as :class:`Digests` says.
        Deliveries in state ``SENDING`` are leased to ``worker`` until ``now + lease``, and count as created when
        they were due.
        A settlement whose fence is stale writes nothing.  Deliveries that exist already stay as they are.

        Returns:
            The ids of the events that were settled.
        """
        ...

    async def claim(
        self,
        lane: Lane,
        limit: int,
        *,
        now: datetime,
        lease: timedelta,
        worker: str,
        exclude: Collection[str] = (),
        exclude_tenants: Collection[str] = (),
        only: Collection[str] | None = None,
    ) -> list[Claim]:
        """Lease up to ``limit`` due deliveries of ``lane``.

        None of them is to a subscriber in ``exclude`` or of a tenant in ``exclude_tenants``; with ``only`` all of
        them are to subscribers that it names.

        Of the open deliveries to a subscriber with the same ordering key only the one with
        the smallest id is handed out: it must end before the next one may start.
        """
        ...

    async def record(self, records: Sequence[Record]) -> set[str]:
        """Write what became of claimed deliveries; return the ids that were written.

        A record counts only if the delivery is ``SENDING`` under the same fence; others write nothing.
        """
        ...

    async def extend(self, claims: Sequence[tuple[str, int]], *, until: datetime) -> set[str]:
        """Prolong the leases of (delivery id, fence) pairs; return the ids that are still held."""
        ...

    async def rescue(self, limit: int, *, now: datetime, max_abandoned: int) -> list[Delivery]:
        """End leases that have run out: record the attempt as abandoned and make the delivery due again.

        A delivery abandoned ``max_abandoned`` times is dead with reason ``quarantined``.
        Returns the deliveries in their new state.

        Raises:
            StoreUnavailableError: Results cannot be written now, so that a worker may be alive although its lease
                has run out.  A store that can find this out raises at once instead of waiting.
        """
        ...

    async def next_due(self) -> NextDue:
        """Return when the next event and the next delivery of each lane become due, and whether any work is open.

        Every process calls this every few seconds, so it also reports what makes further work impossible.

        Raises:
            NewerSchemaError: The tables have been migrated to a newer version than this store knows.
            StoreUnavailableError: Nothing can be written any more, because the database became read-only.
        """
        ...

    async def wait(self, timeout: timedelta, *, idle_timeout: timedelta | None = None) -> bool:
        """Return ``True`` when there may be new work, and ``False`` after ``timeout``.

        A notification may come without work, and work may come without a notification.  One that arrives
        while no call waits ends the next wait.

        Args:
            timeout: How long to wait at the most.
            idle_timeout: How long to wait instead as long as notifications of everything that other processes
                append are known to arrive here.

        Raises:
            StoreUnavailableError: Notifications of other processes cannot be heard; raised once, not by each call.
        """
        ...

    async def purge(self, *, before: datetime, keys_before: datetime, limit: int) -> int:
        """Delete up to ``limit`` deliveries and events that ended before ``before``; return how many rows were deleted.

        Never deletes an event that is not planned or has open deliveries.  Idempotency
        keys published before ``keys_before`` are forgotten.  Buckets of people that must be full are deleted, too.
        """
        ...


class Records(Protocol):
    """Configuration records of a tenant: one set of verbs for every kind.

    A kind is named by its class: :class:`~notifykit.models.endpoint.Endpoint`,
    :class:`~notifykit.models.subscription.Subscription`, :class:`~notifykit.models.event_type.StoredEventType`,
    :class:`~notifykit.models.recipient.Recipient`, :class:`~notifykit.models.recipient.TenantPreferences`.
    Saving or removing a record that planning or sending depends on raises the tenant's version in the same
    transaction.

    A record that is stored but cannot be read (a damaged row, a missing key) is returned as a stand-in of its class
    that is inactive and that ``save`` refuses (see :mod:`notifykit.models.unreadable`): it hides no other record.
    """

    async def save(self, record: R) -> R:
        """Insert or replace one record; return it with its new version.

        The version of ``record`` is the one at which it was read, or 0 for a new record; the store compares
        and raises it in one step.

        Raises:
            StaleWriteError: The stored record has another version, was removed, or (at version 0) exists
                already; nothing is changed.
        """
        ...

    async def save_many(self, records: Sequence[R]) -> list[R | None]:
        """Save records of one kind and one tenant, no id twice, in one transaction; return them in the same order.

        ``None`` stands for a record that :meth:`save` would refuse as stale; the others are saved all the same.
        """
        ...

    async def get(self, kind: type[R], tenant: str, ids: Collection[str]) -> list[R]:
        """Return those of the records with these ids that exist, each once, in any order."""
        ...

    async def page(
        self, kind: type[R], tenant: str, *, limit: int, after: str | None = None, subscriber_id: str | None = None
    ) -> list[R]:
        """Return records in the order of their ids, those after the id ``after``.

        Args:
            subscriber_id: Only those of this subscriber, for a kind that has one.
        """
        ...

    async def remove(self, kind: type[R], tenant: str, id: str, *, now: datetime) -> bool:
        """Remove one record and what depends on it; return whether it existed.

        Removing an endpoint removes its subscriptions, its circuit and its tokens, and cancels the deliveries
        that wait for it (``endpoint_deleted``).  Removing a recipient removes their subscriptions, and cancels the
        deliveries that wait for them (``recipient_deleted``).  Removing a subscription leaves its deliveries.
        """
        ...

    async def erase(self, tenant: str, recipient_id: str, *, now: datetime) -> int:
        """Delete everything that is known of a person in one step; return how many rows were deleted or changed.

        Their record, subscriptions, deliveries and attempts are deleted.  They are taken out of the audience and the
        actor of events; an event that was addressed to nobody else is deleted unless another subscriber has a
        delivery of it.  What is being sent is not recorded any more.  Repeating it does no harm.
        """
        ...

    async def load_tenant(self, tenant: str, *, most: int | None = None) -> TenantConfig | None:
        """Return everything that planning and sending need to know of a tenant, read at one instant.

        Args:
            most: Return ``None`` for a tenant with more endpoints, or more subscriptions, than this.  That there
                are more is found out without counting them all.
        """
        ...

    async def match(self, tenant: str, queries: Sequence[MatchQuery], *, limit: int) -> list[list[Match]]:
        """Return for each query, in their order, the next ``limit`` subscriptions that may match the event.

        Every subscription that matches is among them, in the order of ids; others may be, since the caller applies
        the whole rule.  The cost depends on what is returned, however many subscriptions the tenant has.
        Fewer than ``limit`` are returned only if there are no more.
        """
        ...


class Operations(Protocol):
    """Events and deliveries as operators read and move them.

    One that is stored but cannot be read (a damaged row, a missing key) is returned as a stand-in of its class with
    what can be read (see :mod:`notifykit.models.unreadable`): it hides no other.
    """

    async def find_deliveries(
        self, tenant: str, wanted: DeliveryFilter, *, limit: int, before: str | None = None
    ) -> list[Delivery]:
        """Return matching deliveries, newest first, that sort before the id ``before``."""
        ...

    async def find_events(
        self, tenant: str, wanted: EventFilter, *, limit: int, before: str | None = None
    ) -> list[StoredEvent]:
        """Return matching events, newest first, that sort before the id ``before``."""
        ...

    async def attempts(self, tenant: str, delivery_id: str) -> list[Attempt]:
        """Return the attempts of a delivery in order."""
        ...

    async def move(
        self, tenant: str, wanted: DeliveryFilter, to: Move, *, now: datetime, limit: int | None = None
    ) -> int:
        """Cancel, redrive or wake up to ``limit`` matching deliveries; return how many were moved.

        Deliveries in a state that the move does not start from are left alone (see :class:`Move`), and so are those
        that cannot be read.

        Raises:
            StoreError: The only delivery that the filter names by its id cannot be read.
        """
        ...

    async def stats(self, *, now: datetime) -> StoreStats:
        """Return how much work waits."""
        ...


class Limits(Protocol):
    """What all processes share of circuits and rate limits."""

    async def circuits(self) -> list[OpenCircuit]:
        """Return every open circuit, of all tenants and accounts."""
        ...

    async def save_circuit(
        self, tenant: str, key: str, circuit: OpenCircuit | None, *, now: datetime
    ) -> OpenCircuit | None:
        """Insert or replace a circuit, or close it (``None``) and make what it holds back (``HELD``) due.

        Does not raise the tenant's version.

        Args:
            tenant: Of the endpoint; empty for the circuit of a provider's account.
            key: The endpoint's id or the name of the account.

        Returns:
            The circuit with its new version; when it is closed, the circuit that was open, if there was one.

        Raises:
            StaleWriteError: As for :meth:`Records.save`, or the tenant has no such endpoint; nothing is changed.
        """
        ...

    async def acquire(self, requests: Sequence[TokenRequest], *, now: datetime) -> list[int]:
        """Take tokens out of buckets, which start full; return how many each request got, in their order.

        Of several requests of one bucket the first is served first.
        """
        ...


class Store(Queue, Records, Operations, Limits, Protocol):
    """The truth.

    Every verb is one atomic step, takes ``now`` where time matters and works on
    batches.  A store knows no rules, never retries, and translates its client's
    exceptions to :class:`~notifykit.errors.StoreError` at the edge:
    :class:`~notifykit.errors.ValueRefusedError` if one of the values that were to be written is to blame,
    so that trying again would not help, others if it may.
    """

    async def open(self) -> None:
        """Connect and check the schema.

        Raises:
            SchemaError: The tables are missing or of another version.
            StoreUnavailableError: The database does not answer.
        """
        ...

    async def aclose(self) -> None:
        """Release every connection."""
        ...


@runtime_checkable
class Digests(Protocol):
    """Optional: a store whose ``settle`` and ``claim`` collect deliveries in digests.

    A planned delivery with a :class:`~notifykit.models.delivery.DigestEntry` joins the open digest with its key, or
    opens one.  If it opens one that sends its first delivery at once, it is ``PENDING`` in place of being collected.
    Of a tenant's digests with the same key one is open at a time, however many processes settle; a
    constraint of the database ensures it, not a lock that a process holds.

    A digest has one delivery, ``HELD`` until the digest closes.  To claim that delivery closes the digest in the same
    step, and so does ending it in any other way: what comes later opens the next one.  What a digest has collected
    stays readable as long as its delivery.

    A record with a digest moves the claimed delivery into it; ``sends_first`` does not count there.

    Deliveries that it has collected are found like others, as far as the digest has come.  To cancel one before the
    digest closes takes it out, and leaves the others.  Filters about events do not move digests (see
    :meth:`DeliveryFilter.means_digests`).
    """

    async def collected(self, tenant: str, delivery_id: str) -> Collected | None:
        """Return what a digest has collected, by the id of its delivery; ``None`` if that is not a digest's own.

        Raises:
            MissingKeyError: An event cannot be decrypted here.
        """
        ...


@runtime_checkable
class JoinsTransactions(Protocol):
    """Optional: a store in a database whose transactions a producer can publish in."""

    def append_joined(self, connection: Any, events: Sequence[StoredEvent]) -> list[Appended]:
        """Store ``events`` through the caller's own connection, of SQLAlchemy or Django; never commit.

        Raises:
            CannotJoinError: The connection leads to another database, or has no transaction.
        """
        ...


@runtime_checkable
class Inbox(Protocol):
    """Optional: a store that keeps the in-app inboxes of people.

    Every change of an inbox (a new item, a step that marks items) gets a number, in the order in which changes become
    visible: whoever has read up to a number has missed no smaller one, however many processes write.  Numbers never
    come back, also not in an inbox that was erased.
    """

    async def inbox_put(self, items: Sequence[InboxItem]) -> None:
        """Add items as they are new, of any inboxes; their numbers are the store's.

        An item that is there already, under the same id in the same inbox, stays as it is.
        """
        ...

    async def inbox_page(
        self, tenant: str, recipient: str, wanted: InboxFilter, *, now: datetime, limit: int, after: int | None = None
    ) -> InboxPage:
        """Return matching items, newest first, those with smaller numbers than ``after``."""
        ...

    async def inbox_counts(self, tenant: str, recipient: str, *, now: datetime) -> InboxCounts:
        """Count active items, up to :data:`~notifykit.models.inbox.COUNT_CAP`; the cost does not depend on the rest."""
        ...

    async def inbox_mark(
        self,
        tenant: str,
        recipient: str,
        mark: InboxMark,
        *,
        now: datetime,
        ids: Collection[str] | None = None,
        wanted: InboxFilter | None = None,
        until: datetime | None = None,
        limit: int,
    ) -> list[str]:
        """Mark up to ``limit`` items, newest first; return the ids of those that this has changed.

        Args:
            ids: Only these, whatever state they are in.
            wanted: Only those that match.
            until: Of a snooze.
        """
        ...

    async def inbox_changes(self, tenant: str, since: Mapping[str, int], *, limit: int) -> dict[str, InboxChanges]:
        """Return what is new in some of a tenant's inboxes, by recipient; those without changes are left out.

        Args:
            since: The number up to which each inbox was read; 0 for the beginning.
            limit: How many items of each inbox, the oldest changes first; only items that were marked in one step are
                returned together, even if they are more.
        """
        ...

    async def inbox_marks(self, tenant: str, wanted: Collection[tuple[str, str]]) -> dict[tuple[str, str], InboxMarks]:
        """Return what people have done with the items of events, by (recipient, event id); absent ones are left out.

        If an event has several items in an inbox, a mark on one of them counts.
        """
        ...

    async def inbox_erase(self, tenant: str, recipient: str, *, limit: int) -> int:
        """Delete up to ``limit`` items of an inbox, and the inbox with its last item; return how many were deleted."""
        ...

    async def inbox_wait(self, timeout: timedelta) -> bool:
        """Return ``True`` when any inbox may have changed, ``False`` after ``timeout``; a change may come unnoticed."""
        ...


@runtime_checkable
class Rekeys(Protocol):
    """Optional: a durable store that encrypts secrets, and whose keys can be rotated."""

    async def rewrap(
        self, *, dry_run: bool = False, progress: Callable[[Rewrapped], None] = lambda _: None
    ) -> Rewrapped:
        """Encrypt every secret again under the current key, beside running traffic; return what was done.

        Args:
            dry_run: Only count.
            progress: Called now and then with what has been done so far.
        """
        ...

    async def survey(self) -> Survey:
        """Find out whether the keys at hand decrypt what is stored: endpoints up to a bound, a sample of the rest."""
        ...


class Channel(Protocol):
    """Carries deliveries to one kind of address.

    A channel knows no rules: it neither retries nor decides.  Every failure of
    the outside world is an :data:`~notifykit.models.outcome.Outcome`; an
    exception means a bug, and is recorded as a transient failure, except a
    :class:`~notifykit.errors.TemplateError`: then the delivery is held.  What this
    process itself lacks is :class:`~notifykit.models.outcome.Unsent`, which only
    says so of an attempt of which nothing was sent: it is made again without end.

    An answer is stored as it is returned: a channel removes what must not be kept (secrets that it sent).
    """

    name: str

    async def send(self, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        """Make one attempt and return within ``destination.timeout`` (plus half a second at the most).

        Called concurrently for many deliveries.  Cancellation must leave no
        connection in an unknown state.
        """
        ...

    async def aclose(self) -> None:
        """Close idle connections; no ``send`` runs any more."""
        ...


@runtime_checkable
class AddressedChannel(Channel, Protocol):
    """A channel whose addresses need no record: a subscription names the subscriber and the address.

    Webhooks are not one of them: each goes to an endpoint, whose record has the URL, keys and limits.
    """

    def check_address(self, address: str) -> str:
        """Return the canonical form of an address; no I/O.

        Raises:
            InvalidInputError: It is none.
        """
        ...

    def destination(self, *, tenant: str, subscriber_id: str, address: str) -> Destination:
        """Return what the engine sends to for an address in its canonical form; no I/O.

        The channel says here how often and for how long an attempt is made, how many at a time, whether it is fast
        (``is_fast``), and which attempts share a circuit: those of one provider's account, if the address itself
        says nothing about others.  The engine keeps what is returned while the address is in use.
        """
        ...


class Renderer(Protocol):
    """Makes what a person reads of an event."""

    def render(self, claim: Claim, destination: Destination, *, now: datetime) -> Message:
        """Return the message of a delivery in its recipient's locale and zone; no I/O.

        Raises:
            TemplateError: The template is missing or failed; it says which line and variable.
        """
        ...


class Person(Protocol):
    """A recipient, as far as it matters for what is written; ``destination.config`` of people's channels.

    Attributes:
        locale: BCP 47, such as ``de-AT``.
        zone: IANA, such as ``Europe/Berlin``.
        traits: What the host knows besides.
    """

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str | None: ...
    @property
    def locale(self) -> str | None: ...
    @property
    def zone(self) -> str | None: ...
    @property
    def traits(self) -> Mapping[str, Any]: ...


class RendersEmail(Protocol):
    """Optional base of a typed event class that makes its e-mails itself; a type checker then checks the method."""

    def email(self, to: Person) -> EmailMessage | None:
        """Return the e-mail of this event for a person; ``None`` leaves it to the templates."""
        ...


class RendersSms(Protocol):
    """As :class:`RendersEmail`, for text messages."""

    def sms(self, to: Person) -> SmsMessage | None: ...


class RendersPush(Protocol):
    """As :class:`RendersEmail`, for notifications on devices."""

    def push(self, to: Person) -> PushMessage | None: ...


class RendersInApp(Protocol):
    """As :class:`RendersEmail`, for rows of the inbox."""

    def in_app(self, to: Person) -> InAppMessage | None: ...


class RendersChat(Protocol):
    """As :class:`RendersEmail`, for messages to chat rooms."""

    def chat(self, to: Person) -> ChatMessage | None: ...


class Provider(Protocol):
    """One vendor's way to carry messages of a channel, such as an SMTP server.

    Like a channel it knows no rules: failures of the outside world are outcomes, and it does not retry.

    Attributes:
        name: The vendor or the protocol: ``smtp``.
        account: Whose circuit opens if attempts fail, without secrets: ``smtp://shop@mail.example.org:587``.
    """

    name: str
    account: str

    async def send(self, message: Message, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        """Make one attempt and return within ``destination.timeout`` (plus half a second at the most)."""
        ...

    async def aclose(self) -> None:
        """Close idle connections; no ``send`` runs any more."""
        ...


@runtime_checkable
class ChecksConnection(Protocol):
    """Optional: a provider whose account can be tried without sending anything."""

    async def check(self) -> str:
        """Connect and log in; return in a few words what was found.

        Raises:
            ConfigurationError: It failed; the message says why, and shows no secret.
        """
        ...


class Clock(Protocol):
    """Tells the time; tests hand in their own."""

    def now(self) -> datetime:
        """Return the current instant in UTC."""
        ...
