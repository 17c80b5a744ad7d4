"""The telemetry events: a public contract.

Each event is a frozen value; its fields are the contract.  Subscribers are plain
callables; the one that comes with the library writes to :mod:`logging` (logger
``notifykit``), one line per event: a dotted past-tense name and ``key=value`` fields.

No event carries payloads, secrets or full addresses.
"""

from __future__ import annotations

import codecs
import contextlib
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import ClassVar

import attrs

from .errors import NotifykitError

_log = logging.getLogger("notifykit")


@attrs.frozen(kw_only=True)
class DeliveryAttempted:
    """One attempt was made and recorded.

    Attributes:
        outcome: ``accepted``, ``transient``, ``throttled``, ``permanent``, ``bad_recipient`` or ``uncertain``.
        status: The HTTP status, if there was an answer.
        subscriber_id: The endpoint (``end_…``) or another subscriber that it went to.
        decision: ``complete``, ``retry`` or ``dead_letter``.
        due_in: Until the next attempt, if one follows.
        took: From the start of the attempt to its outcome.
        waited: From publishing to the start of the attempt.
        account: The provider's account that carried the message, without secrets.
        trace: The ``traceparent`` of the event.
        finished_at: When the outcome was known; not in the log, whose records have a time.
    """

    name: ClassVar[str] = "delivery.attempted"
    level: ClassVar[int] = logging.INFO

    delivery_id: str
    event_id: str
    event_type: str
    tenant: str
    subscriber_id: str
    channel: str
    lane: str
    attempt: int
    outcome: str
    reason: str | None
    status: int | None
    decision: str
    due_in: timedelta | None
    took: timedelta
    waited: timedelta
    account: str | None = None
    trace: str | None = None
    finished_at: datetime | None = None


@attrs.frozen(kw_only=True)
class DeliveryNotSent:
    """A claimed delivery was not sent: held, ended, or put back because this process lacks a resource.

    Attributes:
        decision: ``held``, ``cancelled``, ``expired``, ``suppressed`` or ``pending``: due again soon.
    """

    name: ClassVar[str] = "delivery.not_sent"
    level: ClassVar[int] = logging.INFO

    delivery_id: str
    event_id: str
    tenant: str
    decision: str
    reason: str | None


@attrs.frozen(kw_only=True)
class DeliveryAbandoned:
    """A lease ran out: its worker died or hung.

    Attributes:
        abandoned: How often this has happened to the delivery.
        quarantined: Whether it happened too often, and the delivery is dead.
    """

    name: ClassVar[str] = "delivery.abandoned"
    level: ClassVar[int] = logging.WARNING

    delivery_id: str
    event_id: str
    tenant: str
    abandoned: int
    quarantined: bool


@attrs.frozen(kw_only=True)
class ClaimLost:
    """A result came too late: the lease had run out and the write was refused by the fence."""

    name: ClassVar[str] = "claim.lost"
    level: ClassVar[int] = logging.WARNING

    delivery_id: str
    fence: int


@attrs.frozen(kw_only=True)
class EventsPlanned:
    """A batch of events was turned into deliveries.

    Attributes:
        events: How many events.
        deliveries: How many deliveries were made of them.
    """

    name: ClassVar[str] = "events.planned"
    level: ClassVar[int] = logging.DEBUG

    events: int
    deliveries: int
    took: timedelta


@attrs.frozen(kw_only=True)
class EndpointDisabled:
    """An endpoint was disabled: it answered that it is gone, or has only failed for too long.

    Attributes:
        reason: The code that is also the endpoint's ``state_reason``: ``http_410`` or ``failing``.
    """

    name: ClassVar[str] = "endpoint.disabled"
    level: ClassVar[int] = logging.WARNING

    endpoint_id: str
    tenant: str
    reason: str


@attrs.frozen(kw_only=True)
class SubscriptionDisabled:
    """A subscription was disabled because its address is gone for good.

    Attributes:
        reason: The code that is also the subscription's ``disabled_reason``.
    """

    name: ClassVar[str] = "subscription.disabled"
    level: ClassVar[int] = logging.WARNING

    subscription_id: str
    tenant: str
    reason: str


@attrs.frozen(kw_only=True)
class AddressGone:
    """An address of a recipient was marked as gone: its provider says that there is no such address any more.

    Attributes:
        recipient_id: The host's own id of the person.
        channel: Of the address.
        reason: The code that is also the address's ``reason``.
    """

    name: ClassVar[str] = "recipient.address_gone"
    level: ClassVar[int] = logging.WARNING

    recipient_id: str
    tenant: str
    channel: str
    reason: str


@attrs.frozen(kw_only=True)
class AddressSuppressed:
    """An address of a recipient is not used any more for some purposes: the person has complained or unsubscribed.

    Attributes:
        recipient_id: The host's own id of the person.
        channel: Of the address.
        purposes: For which, joined by commas.
        reason: ``complaint``, ``unsubscribe`` or ``stop``.
    """

    name: ClassVar[str] = "recipient.address_suppressed"
    level: ClassVar[int] = logging.INFO

    recipient_id: str
    tenant: str
    channel: str
    purposes: str
    reason: str


@attrs.frozen(kw_only=True)
class ReceiptRecorded:
    """A provider has reported what became of a message.

    Attributes:
        kind: ``sent``, ``deferred``, ``failed``, ``delivered``, ``opened``, ``clicked``, ``bounced``, ``unsubscribed``
            or ``complained``.
        code: The provider's own code.
    """

    name: ClassVar[str] = "receipt.recorded"
    level: ClassVar[int] = logging.INFO

    provider: str
    kind: str
    code: str | None
    delivery_id: str
    tenant: str
    channel: str


@attrs.frozen(kw_only=True)
class BouncesUnusual:
    """So many addresses bounce that the fault is likely ours: no address is marked as gone because of it.

    Look for what is wrong with the sender, its domain or the account, or with the list of addresses.

    Attributes:
        tenant: Whose messages; empty for those of all tenants together.
        bounced: Definitive bounces of the last minutes, …
        total: … out of so many receipts that say what became of a message.
    """

    name: ClassVar[str] = "provider.bouncing"
    level: ClassVar[int] = logging.ERROR

    provider: str
    tenant: str
    bounced: int
    total: int


@attrs.frozen(kw_only=True)
class CircuitOpened:
    """An endpoint or a provider's account keeps failing; deliveries wait between probes and use up no attempts.

    Attributes:
        key: The endpoint's id or the name of the account.
        tenant: Of the endpoint; empty for an account.
    """

    name: ClassVar[str] = "circuit.opened"
    level: ClassVar[int] = logging.WARNING

    key: str
    tenant: str
    reason: str


@attrs.frozen(kw_only=True)
class CircuitClosed:
    """A failing endpoint or account answers again; what was held is delivered.

    Attributes:
        key: The endpoint's id or the name of the account.
        tenant: Of the endpoint; empty for an account.
    """

    name: ClassVar[str] = "circuit.closed"
    level: ClassVar[int] = logging.INFO

    key: str
    tenant: str


@attrs.frozen(kw_only=True)
class SendingPaused:
    """This process lacked what every attempt needs, and sends nothing for a moment; no attempts are used up.

    Attributes:
        reason: ``no_files`` (the limit of open files) or ``no_memory``.
        pause: Until it sends again.
    """

    name: ClassVar[str] = "sending.paused"
    level: ClassVar[int] = logging.WARNING

    reason: str
    pause: timedelta


@attrs.frozen(kw_only=True)
class LoopFailed:
    """A background loop failed and is tried again after a pause; usually the database is away.

    Attributes:
        loop: Which one, such as ``plan``, ``claim webhook``, ``record``, ``sweep`` or ``wait``.
        pause: Until the next try.
    """

    name: ClassVar[str] = "loop.failed"
    level: ClassVar[int] = logging.ERROR

    loop: str
    error: str
    pause: timedelta


@attrs.frozen(kw_only=True)
class WorkerAlive:
    """The loops of a worker turn and its store answers: every five seconds, every fifteen while there is no work.

    Attributes:
        worker: Its host, process and a random part.
        in_flight: Attempts in progress.
        at: Now, by the worker's clock; not in the log, whose records have a time.
    """

    name: ClassVar[str] = "worker.alive"
    level: ClassVar[int] = logging.DEBUG

    worker: str
    in_flight: int
    at: datetime


@attrs.frozen(kw_only=True)
class WorkerOutdated:
    """The tables are of a newer version than this process knows: it finishes what is under way and stops.

    Attributes:
        found: The version of the tables.
        known: The newest version that this process knows.
    """

    name: ClassVar[str] = "worker.outdated"
    level: ClassVar[int] = logging.ERROR

    found: str
    known: str


@attrs.frozen(kw_only=True)
class ChannelFailed:
    """A channel raised instead of returning an outcome: a bug; the attempt counts as transient."""

    name: ClassVar[str] = "channel.failed"
    level: ClassVar[int] = logging.ERROR

    channel: str
    delivery_id: str
    error: str


@attrs.frozen(kw_only=True)
class RenderingFailed:
    """A message could not be made from its template: the delivery is held, and tried again every few minutes.

    Correct the template; ``kit.deliveries.wake_all`` sends what is held at once.  No attempt is used up.
    """

    name: ClassVar[str] = "rendering.failed"
    level: ClassVar[int] = logging.ERROR

    channel: str
    delivery_id: str
    event_type: str
    tenant: str
    error: str


@attrs.frozen(kw_only=True)
class ActionAudited:
    """A request, over the REST API or of a page, changed something other than by publishing, or is an operator's.

    The audit log (``kit.audit``) keeps these, apart from what people do with their inboxes and preferences and from
    operators' requests that only read how the system is doing.

    Attributes:
        action: The operation, such as ``update_endpoint``, or the page, such as ``portal.reveal_secret``.
        subject: Who it was: the id of the API key, the subject of the token, or the person.
        role: Of the caller.
        target: The ids in the path, if there are any.
        status: The HTTP status that it was answered with: also what was refused is reported.
        request_id: What the response calls the request.
    """

    name: ClassVar[str] = "action.audited"
    level: ClassVar[int] = logging.INFO

    action: str
    subject: str
    role: str
    tenant: str
    target: str | None
    status: int
    request_id: str


@attrs.frozen(kw_only=True)
class AccessRefused:
    """A request, over the REST API or for a page, had no valid credentials, or asked for more than they allow.

    Attributes:
        action: The operation, such as ``update_endpoint``, or the page, such as ``portal.sign_in``.
        client: The address that it came from.
        subject: Who it was, if the credentials were valid: as in ``action.audited``.
        status: The HTTP status that it was answered with: 401, 403, or 429 after too many wrong credentials.
        request_id: What the response calls the request.
    """

    name: ClassVar[str] = "access.refused"
    level: ClassVar[int] = logging.WARNING

    action: str
    client: str
    subject: str | None
    status: int
    request_id: str


TelemetryEvent = (
    DeliveryAttempted
    | DeliveryNotSent
    | DeliveryAbandoned
    | ClaimLost
    | EventsPlanned
    | EndpointDisabled
    | SubscriptionDisabled
    | AddressGone
    | AddressSuppressed
    | ReceiptRecorded
    | BouncesUnusual
    | CircuitOpened
    | CircuitClosed
    | SendingPaused
    | LoopFailed
    | WorkerAlive
    | WorkerOutdated
    | ChannelFailed
    | RenderingFailed
    | ActionAudited
    | AccessRefused
)

Subscriber = Callable[[TelemetryEvent], None]

# Loaded with its first use otherwise, which fails in a process that has no more files: just when that has to be logged.
codecs.lookup("unicode_escape")


def log(event: TelemetryEvent) -> None:
    """Write ``event`` to the logger ``notifykit`` if its level is on."""
    if _log.isEnabledFor(event.level):
        _log.log(event.level, "%s", line(event))


def tell(event: TelemetryEvent, subscribers: Sequence[Subscriber]) -> None:
    """Log ``event`` and hand it to ``subscribers``; an error of a subscriber is logged and has no other effect."""
    with contextlib.suppress(Exception):  # a handler or a filter may fail, and deliveries go on
        log(event)
    for subscriber in subscribers:
        try:
            subscriber(event)
        except Exception:  # noqa: BLE001 - deliveries go on whatever a subscriber does
            _log.exception("a telemetry subscriber failed on %s", event.name)


def why(error: BaseException) -> str:
    """Return an error as one field: errors of notifykit by their message, others with their type."""
    return str(error) if isinstance(error, NotifykitError) else f"{type(error).__name__}: {error}"


def wants_log() -> bool:
    """Whether any event of the everyday level would be written."""
    return _log.isEnabledFor(logging.INFO)


def line(event: TelemetryEvent) -> str:
    """Return the event as one line: its name and ``key=value`` fields; control characters are escaped."""
    fields = []
    for field in attrs.fields(type(event)):
        value = getattr(event, field.name)
        if value is None or isinstance(value, datetime):
            continue
        if isinstance(value, timedelta):
            fields.append(f"{field.name}_ms={value / timedelta(milliseconds=1):.0f}")
        else:
            fields.append(f"{field.name}={_plain(value)}")
    return f"{event.name} {' '.join(fields)}"


def _plain(value: object) -> str:
    text = str(value)
    if text.isascii() and text.isprintable() and " " not in text and '"' not in text:
        return text
    escaped = text.encode("unicode_escape").decode("ascii").replace('"', '\\"')
    return f'"{escaped}"'
