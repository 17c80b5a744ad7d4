"""The seams: every protocol that a third party may implement.

Each docstring is the contract.  Backends do not repeat it, they keep it, and the
suites in :mod:`notifykit.testing` prove that they do.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol, cast

import attrs

from .models.checks import field_check, identifier, instant, listed, many, one_of, optional
from .models.circuit import OpenCircuit
from .models.delivery import Attempt, Claim, Delivery, DeliveryState, Lane, NewDelivery
from .models.endpoint import Endpoint, RateLimit
from .models.event import StoredEvent, TakenEvent
from .models.outcome import Outcome
from .models.subscription import Match, MatchQuery, Subscription, TenantConfig


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
    """Return any number of states, or one, as a set; what is none stays as it is, for the check to say so."""
    given: Any = (states,) if isinstance(states, str) else listed(states or (), len(DeliveryState))
    if states is None or _STATES(given) is not None:
        return cast("frozenset[DeliveryState] | None", states)
    return frozenset(map(DeliveryState, given))


_STATES = many(one_of(tuple(DeliveryState)), most=len(DeliveryState), what="states")


def _are_states(states: object) -> str | None:
    if isinstance(states, frozenset):
        return None
    return f"must be states out of {', '.join(DeliveryState)}"


_identifier, _instant = (field_check(optional(check)) for check in (identifier, instant))


@attrs.frozen(kw_only=True)
class DeliveryFilter:
    """Which deliveries are meant; fields that are ``None`` do not restrict.

    Attributes:
        states: In one of these states; any iterable of them, or of their names.
        since: Created at or after this time, which needs a zone.
        until: Created before this time, which needs a zone.

    Raises:
        InvalidInputError: A field is not what it should be.
    """

    states: frozenset[DeliveryState] | None = attrs.field(
        default=None, converter=_as_states, validator=field_check(optional(_are_states))
    )
    subscriber_id: str | None = attrs.field(default=None, validator=_identifier)
    event_id: str | None = attrs.field(default=None, validator=_identifier)
    event_type: str | None = attrs.field(default=None, validator=_identifier)
    since: datetime | None = attrs.field(default=None, validator=_instant)
    until: datetime | None = attrs.field(default=None, validator=_instant)


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
        delivery: The next delivery that waits.
    """

    event: datetime | None
    delivery: datetime | None

    @property
    def first(self) -> datetime | None:
        """Whichever comes first."""
        return min((due for due in self if due is not None), default=None)


class Outbox(Protocol):
    """Events that were published and are not planned yet."""

    async def append(self, events: Sequence[StoredEvent]) -> list[Appended]:
        """Store ``events`` in one transaction; return once they are durable, in the same order.

        An event that is already stored, or whose (tenant, idempotency key) is, is not stored again.
        """
        ...

    def append_joined(self, connection: Any, events: Sequence[StoredEvent]) -> list[Appended]:
        """Store ``events`` through the caller's own connection, of SQLAlchemy or Django; never commit.

        Raises:
            CannotJoinError: The store is not in the caller's database.
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

        With ``since`` what became due before it need not be looked at: the call should cost the same
        however much has been waiting for longer.
        No event is handed to two takers before its lease has run out.  Of the events of a
        tenant with the same ordering key only the one with the smallest id is handed out.
        """
        ...

    async def settle(
        self, settlements: Sequence[Settlement], *, now: datetime, lease: timedelta, worker: str
    ) -> set[str]:
        """Write the planned deliveries and take their events out of the outbox, in one step.

        Deliveries in state ``SENDING`` are leased to ``worker`` until ``now + lease``, and count as made when
        they were due.
        A settlement whose fence is stale writes nothing.  Deliveries that exist already stay as they are.

        Returns:
            The ids of the events that were settled.
        """
        ...


class Deliveries(Protocol):
    """The work: claims are leased and fenced, records are batched and fenced."""

    async def claim_due(
        self,
        lane: Lane,
        limit: int,
        *,
        now: datetime,
        lease: timedelta,
        worker: str,
        exclude: Collection[str] = (),
    ) -> list[Claim]:
        """Lease up to ``limit`` due deliveries of ``lane``, none of them to a subscriber in ``exclude``.

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
            StoreUnavailableError: Results cannot be written now, so that a worker may live although its lease
                has run out.  A store that can tell says so at once instead of waiting.
        """
        ...

    async def cancel(self, tenant: str, delivery_ids: Sequence[str], *, now: datetime) -> int:
        """Cancel deliveries that wait (not those being sent); return how many."""
        ...

    async def redrive(self, tenant: str, wanted: DeliveryFilter, *, now: datetime, limit: int) -> int:
        """Make up to ``limit`` matching ended deliveries due again as a new generation; return how many."""
        ...

    async def redrive_one(self, tenant: str, delivery_id: str, *, now: datetime) -> bool:
        """Make one ended delivery due again; return whether it was one."""
        ...

    async def wake(self, tenant: str, subscriber_id: str, *, now: datetime) -> int:
        """Make all ``HELD`` deliveries of a subscriber due now; return how many."""
        ...

    async def get_delivery(self, tenant: str, delivery_id: str) -> Delivery | None:
        """Return one delivery."""
        ...

    async def find_deliveries(
        self, tenant: str, wanted: DeliveryFilter, *, limit: int, before: str | None = None
    ) -> list[Delivery]:
        """Return matching deliveries, newest first, that sort before the id ``before``."""
        ...

    async def attempts(self, tenant: str, delivery_id: str) -> list[Attempt]:
        """Return the attempts of a delivery in order."""
        ...


class Events(Protocol):
    """Published events as people read them."""

    async def get_event(self, tenant: str, event_id: str) -> StoredEvent | None:
        """Return one event."""
        ...

    async def find_events(
        self, tenant: str, *, type: str | None = None, limit: int, before: str | None = None
    ) -> list[StoredEvent]:
        """Return events, newest first, that sort before the id ``before``."""
        ...

    async def is_planned(self, tenant: str, event_id: str) -> bool:
        """Tell whether the event has left the outbox."""
        ...


class Endpoints(Protocol):
    """A tenant's endpoints.  Every write raises the tenant's version in the same transaction.

    Each record has a version of its own, which a save checks and raises in one step: the value that is saved
    says at which version it was read, or 0 for a new record.
    """

    async def save_endpoint(self, endpoint: Endpoint) -> Endpoint:
        """Insert or replace one endpoint; return it with its new version.

        Raises:
            StaleWriteError: The stored endpoint has another version, was removed, or (at version 0) exists
                already; nothing is changed.
        """
        ...

    async def get_endpoint(self, tenant: str, endpoint_id: str) -> Endpoint | None:
        """Return one endpoint."""
        ...

    async def find_endpoints(self, tenant: str, *, limit: int, after: str | None = None) -> list[Endpoint]:
        """Return endpoints in the order of their ids, from behind ``after``."""
        ...

    async def pick_endpoints(self, tenant: str, endpoint_ids: Collection[str]) -> list[Endpoint]:
        """Return those of these endpoints that exist, in any order, each as ``load_tenant`` returns it."""
        ...

    async def circuits(self) -> list[OpenCircuit]:
        """Return what every failing endpoint of every tenant suffers from; an engine's verb."""
        ...

    async def save_circuit(self, circuit: OpenCircuit) -> OpenCircuit:
        """Insert or replace what an endpoint suffers from; return it with its new version.

        Does not raise the tenant's version.

        Raises:
            StaleWriteError: As for :meth:`save_endpoint`, or there is no such endpoint; nothing is changed.
        """
        ...

    async def close_circuit(self, tenant: str, endpoint_id: str, *, now: datetime) -> bool:
        """Note that an endpoint has recovered and make what is parked for it (``HELD``) due; tell whether it ailed."""
        ...

    async def acquire(self, tenant: str, endpoint_id: str, wanted: int, limit: RateLimit, *, now: datetime) -> int:
        """Take up to ``wanted`` tokens out of an endpoint's bucket, which starts full; return how many there were."""
        ...

    async def remove_endpoint(self, tenant: str, endpoint_id: str, *, now: datetime) -> bool:
        """Remove an endpoint and its subscriptions; cancel what waits for it (``endpoint_deleted``)."""
        ...


class Subscriptions(Protocol):
    """A tenant's subscriptions.  Every write raises the tenant's version in the same transaction."""

    async def save_subscription(self, subscription: Subscription) -> Subscription:
        """Insert or replace one subscription; return it with its new version.

        Raises:
            StaleWriteError: As for :meth:`Endpoints.save_endpoint`; nothing is changed.
        """
        ...

    async def get_subscription(self, tenant: str, subscription_id: str) -> Subscription | None:
        """Return one subscription."""
        ...

    async def find_subscriptions(
        self, tenant: str, *, subscriber_id: str | None = None, limit: int, after: str | None = None
    ) -> list[Subscription]:
        """Return subscriptions in the order of their ids, from behind ``after``."""
        ...

    async def remove_subscription(self, tenant: str, subscription_id: str) -> bool:
        """Remove one subscription; deliveries that exist stay."""
        ...

    async def load_tenant(self, tenant: str) -> TenantConfig:
        """Return everything that planning and sending need to know of a tenant, read at one instant."""
        ...

    async def load_small_tenant(self, tenant: str, most: int) -> TenantConfig | None:
        """Return what ``load_tenant`` returns, but ``None`` for a tenant with more endpoints or subscriptions.

        Args:
            most: How many endpoints, and how many subscriptions, a small tenant has at the most.  That there
                are more is found out without counting them all.
        """
        ...

    async def find_matches(self, tenant: str, queries: Sequence[MatchQuery], *, limit: int) -> list[list[Match]]:
        """Return for each inquiry, in their order, the next ``limit`` subscriptions that may want the event.

        All that want it are among them, in the order of ids; others may be, since the caller applies the
        whole rule.  What is asked for costs what is returned, however many subscriptions the tenant has.
        Fewer than ``limit`` are returned only if there are no more.
        """
        ...


class Store(Outbox, Deliveries, Events, Endpoints, Subscriptions, Protocol):
    """The truth.

    Every verb is one atomic step, takes ``now`` where time matters and works on
    batches.  A store knows no rules, never retries, and translates its client's
    exceptions to :class:`~notifykit.errors.StoreError` at the edge:
    :class:`~notifykit.errors.ValueRefusedError` if one of the values that were to be written is to blame,
    and trying again would not help, others if it may.
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

    async def next_due(self) -> NextDue:
        """Return when the next event and the next delivery become due."""
        ...

    @property
    def hears_notifications(self) -> bool:
        """Whether notifications of all that other processes append are known to arrive here now."""
        ...

    async def has_work(self) -> bool:
        """Return whether any event waits or is being planned, or any delivery waits or is being sent.

        Every process asks this every few seconds, so here it learns what else concerns it.

        Raises:
            NewerSchemaError: The tables are of a newer version by now than this store knows.
            StoreUnavailableError: Nothing can be written any more, because the database became read-only.
        """
        ...

    async def wait(self, timeout: timedelta) -> bool:
        """Return ``True`` when there may be new work, and ``False`` after ``timeout``.

        The notification may come without work, and work may come without it.  One that comes
        while no call waits ends the next wait.

        Raises:
            StoreUnavailableError: Notifications of other processes cannot be received; raised once, not each time.
        """
        ...

    async def purge(self, *, before: datetime, keys_before: datetime, limit: int) -> int:
        """Delete up to ``limit`` ended deliveries and events of before ``before``; return how many rows went.

        Never deletes an event that is not planned or has open deliveries.  Idempotency
        keys published before ``keys_before`` are forgotten.
        """
        ...

    async def stats(self, *, now: datetime) -> StoreStats:
        """Return how much work waits."""
        ...

    async def tenants(self) -> list[str]:
        """Return the tenants that have endpoints or subscriptions."""
        ...


class Channel(Protocol):
    """Carries deliveries to one kind of address.

    A channel knows no rules: it neither retries nor decides.  Every failure of
    the outside world is an :data:`~notifykit.models.outcome.Outcome`; an
    exception means a bug, and is recorded as a transient failure.  What this
    process itself lacks is :class:`~notifykit.models.outcome.Unsent`, which only
    says so of an attempt of which nothing was sent: it is made again without end.
    """

    name: str

    async def send(self, claim: Claim, endpoint: Endpoint, *, now: datetime) -> Outcome:
        """Make one attempt and return within ``endpoint.timeout`` (plus half a second at the most).

        Called concurrently for many deliveries.  Cancellation must leave no
        connection in an unknown state.
        """
        ...

    async def aclose(self) -> None:
        """Close idle connections; no ``send`` runs any more."""
        ...


class Clock(Protocol):
    """Tells the time; tests hand in their own."""

    def now(self) -> datetime:
        """Return the current instant in UTC."""
        ...
