"""What a store must do, in groups of verbs; optional groups are protocols of their own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar, runtime_checkable

from ..models.circuit import OpenCircuit
from ..models.delivery import (
    Attempt,
    Claim,
    Collected,
    Delivery,
    Lane,
)
from ..models.event import StoredEvent, TakenEvent
from ..models.receipt import ReceiptMatch, ReceiptRecord
from ..models.subscription import Match, MatchQuery, TenantConfig
from .broker import Ticket
from .values import (
    CANCELLED,
    Appended,
    DeliveryFilter,
    Dismissal,
    EventFilter,
    Move,
    NextDue,
    Outstanding,
    Record,
    Rewrapped,
    Settlement,
    StoreStats,
    Survey,
    TokenRequest,
)


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
        ids: Collection[str] | None = None,
    ) -> list[Claim]:
        """Lease up to ``limit`` due deliveries of ``lane``.

        None of them is to a subscriber in ``exclude`` or of a tenant in ``exclude_tenants``; with ``only`` all of
        them are to subscribers that it names.  With ``ids`` all of them are named there, and those that are handed
        over (see :meth:`hand_off`) count as due; without it they do not.

        Of the open deliveries to a subscriber with the same ordering key only the one with
        the smallest id is handed out: it must end before the next one may start.
        """
        ...

    async def hand_off(
        self,
        lane: Lane,
        limit: int,
        *,
        now: datetime,
        hold: timedelta,
        most: Outstanding,
        exclude: Collection[str] = (),
        exclude_tenants: Collection[str] = (),
    ) -> list[Ticket]:
        """Hand over up to ``limit`` due deliveries of ``lane``, which would be claimed otherwise; return their tickets.

        A delivery that was handed over is not due before its hold has run out, at ``now + hold``.  Then it is as due
        as it was: it is claimed or handed over again.  Until then only a claim by its id gets it.  No more than
        ``most`` are handed over at a time, or a few more if several processes call at once.
        """
        ...

    async def record(self, records: Sequence[Record]) -> set[str]:
        """Write what became of claimed deliveries; return the ids that were written.

        A record counts only if the delivery is ``SENDING`` under the same fence; others write nothing.
        """
        ...

    async def extend(self, claims: Sequence[tuple[str, int]], *, until: datetime) -> set[str]:
        """Prolong the leases of (delivery id, fence) pairs; return the ids of those that were prolonged.

        One that is held, but is being recorded at this moment, may be left out.
        """
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

        With a delivery go its attempts and receipts.  Never deletes an event that is not planned or has open
        deliveries.  Idempotency keys published before ``keys_before`` are forgotten.  Buckets of people that must be
        full are deleted, too.
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

        Their record, subscriptions, deliveries, attempts and receipts are deleted.  They are taken out of the audience
        and the actor of events; an event that was addressed to no other recipient is deleted unless another subscriber
        has a delivery of it.  Operational events whose actor they are lose their data
        (:data:`~notifykit.models.event.OPERATIONAL`).  What is being sent is not recorded any more.  Repeating it does
        no harm.
        """
        ...

    async def load_tenants(
        self, tenants: Collection[str], *, most: int | None = None
    ) -> dict[str, TenantConfig | None]:
        """Return everything that planning and sending need to know of tenants, each read at one instant.

        Args:
            most: ``None`` is returned for a tenant with more endpoints, or more subscriptions, than this.  That there
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
        """Return the attempts of a delivery in order, with the receipts of the delivery."""
        ...

    async def move(
        self,
        tenant: str,
        wanted: DeliveryFilter,
        to: Move,
        *,
        now: datetime,
        limit: int | None = None,
        reason: str = CANCELLED,
    ) -> int:
        """Cancel, redrive or wake up to ``limit`` matching deliveries; return how many were moved.

        Deliveries in a state that the move does not start from are left alone (see :class:`Move`), and so are those
        that cannot be read.

        Args:
            reason: Of the deliveries that are cancelled.

        Raises:
            StoreError: The only delivery that the filter names by its id cannot be read.
        """
        ...

    async def record_receipts(self, records: Sequence[ReceiptRecord], *, now: datetime) -> list[ReceiptMatch]:
        """Store what providers report; return the receipts whose delivery is known, each time that they are given.

        A receipt is stored once, by its provider and id.  Its delivery is the one that it names, or else the one of
        which an attempt has its reference.  A delivery that is ``DEAD`` because of ``uncertain`` becomes
        ``DELIVERED`` when a receipt confirms it.

        A receipt whose delivery is not known waits, since the attempt may not be recorded yet.  A call without
        receipts returns those that have waited and whose delivery is known now.  It leaves them waiting, until they
        are given again; each is looked at a second after it came, and then after ever longer pauses.
        After :data:`~notifykit.models.receipt.WAITS` it is deleted.
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
    digest closes takes it out, as a delivery of its own that has ended, and leaves the others.  Filters about events do
    not move digests (see :meth:`DeliveryFilter.means_digests`).
    """

    async def collected(self, tenant: str, delivery_id: str) -> Collected | None:
        """Return what a digest has collected, by the id of its delivery; ``None`` if that is not a digest's own.

        Raises:
            MissingKeyError: An event cannot be decrypted here.
        """
        ...

    async def dismiss(
        self, tenant: str, delivery_id: str, fence: int, dismissals: Sequence[Dismissal], *, now: datetime
    ) -> bool:
        """Take deliveries out of a digest that is being sent; each ends as a delivery of its own.

        Args:
            delivery_id: Of the digest's own delivery.
            fence: Of its claim.

        Returns:
            Whether the claim was still held; otherwise nothing has changed.
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
class ListsTenants(Protocol):
    """Optional: a store that can tell operators which tenants there are."""

    async def tenants(self, *, limit: int, after: str | None = None) -> list[str]:
        """Return the names of tenants in their order, those after the name ``after``.

        It has every tenant whose version has been raised, also if all of its records have been removed since, and
        every tenant with a key of the REST API; others only if the store knows of them.
        """
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
