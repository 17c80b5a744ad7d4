"""What operations of the API take and answer, as JSON has it: times are texts, durations seconds.

Generated: python -m docs.generate_client
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NotRequired, TypedDict


class About(TypedDict):
    """What an event is about."""

    kind: str
    id: str


AccessScope = Literal[
    "events:read",
    "events:write",
    "endpoints:read",
    "endpoints:write",
    "subscriptions:read",
    "subscriptions:write",
    "deliveries:read",
    "deliveries:write",
    "recipients:read",
    "recipients:write",
    "preferences:read",
    "preferences:write",
    "inbox:read",
    "inbox:write",
    "templates:read",
    "templates:write",
    "suppressions:read",
    "suppressions:write",
    "keys:read",
    "keys:write",
    "system:read",
    "system:write",
]


class Address(TypedDict):
    """Where a person is reached on a channel."""

    channel: str
    address: str
    state: AddressState
    reason: str | None
    app: str | None
    platform: str | None


class AddressAction(TypedDict):
    """What is done with an address."""

    action: Literal["remove", "suppress", "unsuppress", "verify"]
    channel: str
    address: str
    reason: NotRequired[str]
    purposes: NotRequired[Sequence[Purpose]]
    until: NotRequired[str | None]


AddressState = Literal["active", "unverified", "suppressed", "gone"]


class AllowedAddress(TypedDict):
    """An address that may be used again."""

    channel: str
    address: str
    reason: NotRequired[SuppressionReason | None]


class Attempt(TypedDict):
    """One try and its outcome."""

    number: int
    started_at: str
    took: float
    outcome: str
    reason: str | None
    status: int | None
    retry_at: str | None
    response: str
    reference: str | None


class AuditEntry(TypedDict):
    """One request that changed something, or that an operator sent."""

    id: str
    at: str
    action: str
    subject: str
    role: str
    tenant: str | None
    target: str | None
    status: int
    request_id: str


class AuditEntryPage(TypedDict):
    """A page of a list."""

    data: Sequence[AuditEntry]
    next: str | None


class Cell(TypedDict):
    """What the settings of all levels come to for a type of event on a channel."""

    type: str
    category: str
    purpose: Purpose
    channel: str
    value: str
    scope: Scope | None
    locked: bool
    muted: bool


class Changes(TypedDict):
    """What has happened to an inbox since a cursor."""

    items: Sequence[Item]
    cursor: int
    has_more: bool
    is_reset: bool


class CheckedAddress(TypedDict):
    """An address that is looked for."""

    channel: str
    address: str


class Consent(TypedDict):
    """That a person agreed to a purpose, or withdrew their consent."""

    purpose: Purpose
    granted: bool
    at: str
    by: str
    how: str


class ConsentBody(TypedDict):
    """That a person agrees to a purpose, or withdraws their consent."""

    purpose: NotRequired[Purpose]
    granted: NotRequired[bool]
    by: NotRequired[str]
    how: NotRequired[str]


class Counts(TypedDict):
    """How many active items are new; 100 stands for that many or more."""

    unseen: int
    unread: int


class Delivery(TypedDict):
    """An event on its way to one subscriber over one channel."""

    id: str
    event_id: str
    event_type: str
    subscription_id: str
    subscriber_id: str
    channel: str
    priority: Priority
    state: DeliveryState
    reason: str | None
    attempts: int
    generation: int
    created_at: str
    due_at: str | None
    expires_at: str | None
    finished_at: str | None
    address: str | None
    digest: str | None


class DeliveryPage(TypedDict):
    """A page of a list."""

    data: Sequence[Delivery]
    next: str | None


DeliveryState = Literal["pending", "sending", "held", "delivered", "dead", "cancelled", "expired", "suppressed"]


class Endpoint(TypedDict):
    """A webhook URL."""

    id: str
    url: str
    description: str
    state: EndpointState
    state_reason: str | None
    header_names: Sequence[str]
    retry: Retry
    timeout: float
    max_in_flight: int
    rate_limit: RateLimit | None
    secrets: int
    created_at: str
    updated_at: str
    version: int


class EndpointChanges(TypedDict):
    """What is to change; what is not given stays."""

    url: NotRequired[str | None]
    description: NotRequired[str | None]
    headers: NotRequired[Mapping[str, str] | None]
    retry: NotRequired[Retry | None]
    timeout: NotRequired[float | None]
    max_in_flight: NotRequired[int | None]
    rate_limit: NotRequired[RateLimit | None]


class EndpointHealth(TypedDict):
    """How an endpoint is doing."""

    endpoint_id: str
    state: EndpointState
    circuit_open: bool
    failing_since: str | None
    probe_at: str | None
    circuit_reason: str | None
    recent: Mapping[str, int]
    success_rate: float | None


class EndpointPage(TypedDict):
    """A page of a list."""

    data: Sequence[Endpoint]
    next: str | None


EndpointState = Literal["active", "paused", "disabled"]


class EndpointWithSecret(TypedDict):
    """An endpoint with the secret that receivers verify its signatures with."""

    endpoint: Endpoint
    secret: str


class Erased(TypedDict):
    """What was erased."""

    rows: int


class Event(TypedDict):
    """A published event."""

    id: str
    type: str
    version: int
    data: Any
    topic: str | None
    resource_kind: str | None
    resource_id: str | None
    actor: str | None
    occurred_at: str
    published_at: str
    due_at: str
    expires_at: str | None
    priority: Priority
    ordering_key: str | None
    idempotency_key: str | None
    to: Sequence[str]


class EventExplanation(TypedDict):
    """Why an event went where it went."""

    event_id: str
    planned: bool
    deliveries: Sequence[Delivery]
    verdicts: Sequence[Verdict]


class EventPage(TypedDict):
    """A page of a list."""

    data: Sequence[Event]
    next: str | None


class EventType(TypedDict):
    """A type of event."""

    name: str
    category: str
    purpose: str
    priority: Priority
    description: str
    schema: Mapping[str, Any] | None
    steps: Sequence[Step]


class EventTypeBody(TypedDict):
    """A type of event that no program declares."""

    category: NotRequired[str]
    purpose: NotRequired[Purpose]
    priority: NotRequired[Priority]
    description: NotRequired[str]
    schema: NotRequired[Mapping[str, Any] | None]
    steps: NotRequired[Sequence[StepBody]]


class EventTypePage(TypedDict):
    """A page of a list."""

    data: Sequence[EventType]
    next: str | None


class Health(TypedDict):
    """Whether the server works."""

    status: NotRequired[str]


InboxMark = Literal["seen", "read", "unread", "archived", "unarchived", "snoozed", "unsnoozed"]


class InboxPage(TypedDict):
    """Some items, newest first."""

    data: Sequence[Item]
    next: int | None
    changes: int


InboxState = Literal["active", "unseen", "unread", "read", "snoozed", "archived"]


class InputProblem(TypedDict):
    """One thing that is wrong with the input."""

    path: str
    message: str


class Item(TypedDict):
    """A notification in an inbox."""

    id: str
    event_id: str
    event_type: str
    category: str | None
    title: str
    body: str
    url: str | None
    data: Mapping[str, Any]
    created_at: str
    seen_at: str | None
    read_at: str | None
    archived_at: str | None
    snoozed_until: str | None
    number: int
    change: int


class Key(TypedDict):
    """A key of this API, without its secret."""

    id: str
    name: str
    role: Role
    scopes: Sequence[AccessScope]
    hint: str
    created_at: str
    expires_at: str | None
    last_used_at: str | None


class KeyPage(TypedDict):
    """A page of a list."""

    data: Sequence[Key]
    next: str | None


class KeyRotation(TypedDict):
    """How a secret is replaced."""

    overlap: NotRequired[float]


class KeyWithSecret(TypedDict):
    """A key with its secret."""

    key: Key
    secret: str


class LaneWork(TypedDict):
    """How much waits in a lane."""

    lane: str
    waiting: int
    oldest_due: str | None


class ListedEvent(TypedDict):
    """What was done with an event of a list."""

    event_id: str | None
    duplicate: bool


class MarkBody(TypedDict):
    """What a person does with items."""

    mark: InboxMark
    ids: NotRequired[Sequence[str] | None]
    state: NotRequired[InboxState | None]
    category: NotRequired[str | None]
    until: NotRequired[str | None]


class Marked(TypedDict):
    """What was changed."""

    count: int


class Moved(TypedDict):
    """How many deliveries are sent again."""

    count: int


class MuteBody(TypedDict):
    """A wish not to get something: each part that is given must fit; without any that is everything."""

    type: NotRequired[str | None]
    category: NotRequired[str | None]
    channel: NotRequired[str | None]
    topic: NotRequired[str | None]
    purpose: NotRequired[Purpose | None]
    until: NotRequired[str | None]


class NewAddress(TypedDict):
    """An address to add, such as the token of a device."""

    channel: str
    address: str
    app: NotRequired[str | None]
    platform: NotRequired[str | None]


class NewEndpoint(TypedDict):
    """A webhook URL to create."""

    url: str
    description: NotRequired[str]
    headers: NotRequired[Mapping[str, str] | None]
    secret: NotRequired[str | None]
    retry: NotRequired[Retry | None]
    timeout: NotRequired[float]
    max_in_flight: NotRequired[int]
    rate_limit: NotRequired[RateLimit | None]


class NewEvent(TypedDict):
    """An event to publish: whoever is subscribed gets it, and the recipients that it names are told."""

    type: str
    data: Mapping[str, Any]
    topic: NotRequired[str | None]
    resource: NotRequired[About | None]
    actor: NotRequired[str | None]
    metadata: NotRequired[Mapping[str, str] | None]
    idempotency_key: NotRequired[str | None]
    trace: NotRequired[str | None]
    occurred_at: NotRequired[str | None]
    deliver_at: NotRequired[str | None]
    delay: NotRequired[float | None]
    expires_at: NotRequired[str | None]
    priority: NotRequired[Priority | None]
    ordering_key: NotRequired[str | None]
    version: NotRequired[int]
    to: NotRequired[Sequence[str]]
    channels: NotRequired[Sequence[str]]


class NewKey(TypedDict):
    """A key to create."""

    name: NotRequired[str]
    role: Literal["producer", "viewer", "tenant_admin", "operator"]
    scopes: NotRequired[Sequence[AccessScope]]
    expires_at: NotRequired[str | None]


class NewMessage(TypedDict):
    """A message for one or several persons."""

    recipients: str | Sequence[str]
    template: str
    channel: NotRequired[str | None]
    data: NotRequired[Mapping[str, Any]]


class NewNotification(TypedDict):
    """Something that a person is to be told."""

    user_id: str
    type: str
    payload: NotRequired[Mapping[str, Any]]
    channels: NotRequired[Sequence[str]]


class NewPortalLink(TypedDict):
    """What a link opens."""

    role: NotRequired[Literal["tenant_admin", "viewer"]]
    scopes: NotRequired[Sequence[AccessScope]]
    scheme: NotRequired[Literal["auto", "light", "dark"]]
    expires_in: NotRequired[float]
    lasts: NotRequired[float]


class NewRevision(TypedDict):
    """The text of a template."""

    name: str
    text: str
    by: NotRequired[str]
    note: NotRequired[str]


class NewSubscription(TypedDict):
    """A subscription to create: of an endpoint, of a recipient, or of an address of another channel."""

    event_types: Sequence[str]
    endpoint_id: NotRequired[str | None]
    recipient: NotRequired[str | None]
    subscriber: NotRequired[str | None]
    channel: NotRequired[str]
    address: NotRequired[str | None]
    topic: NotRequired[str | None]
    filter: NotRequired[Mapping[str, Any] | None]
    description: NotRequired[str]


class NewSuppression(TypedDict):
    """An address that must not be used."""

    channel: str
    address: str
    reason: NotRequired[SuppressionReason]
    purposes: NotRequired[Sequence[Purpose] | None]
    evidence: NotRequired[str]
    until: NotRequired[str | None]


class Notification(TypedDict):
    """A notification in a person's inbox."""

    notification_id: str
    user_id: str
    type: str
    title: str
    message: str
    read: bool
    created_at: str


class PersonExplanation(TypedDict):
    """Why a person was told of an event, or was not, and what would become of it now."""

    recipient_id: str
    event_type: str
    is_known: bool
    reached_by: str | None
    deliveries: Sequence[Delivery]
    steps: Sequence[StepVerdict]
    text: str


class PortalLink(TypedDict):
    """A link to a tenant's portal."""

    url: str
    expires_at: str


class PreferenceUpdate(TypedDict):
    """The shape of ``POST /update_notification_preferences``."""

    user_id: str
    preferences: Mapping[str, bool]


class Preferences(TypedDict):
    """What a person wants."""

    user_id: str
    settings: Sequence[SettingBody]
    mutes: Sequence[MuteBody]
    quiet_hours: QuietHoursBody
    consents: Sequence[Consent]
    matrix: Sequence[Cell]
    version: int


class PreferencesBody(TypedDict):
    """What a person wants, in place of what was there; mutes and quiet hours that are not given stay."""

    settings: Sequence[SettingBody]
    mutes: NotRequired[Sequence[MuteBody] | None]
    quiet_hours: NotRequired[QuietHoursBody | None]


class PreferencesUpdated(TypedDict):
    """What a person wants is stored."""

    status: NotRequired[str]


Priority = Literal["high", "normal", "low"]


class Problem(TypedDict):
    """What went wrong, as RFC 9457 has it."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    problems: NotRequired[Sequence[InputProblem]]
    events: NotRequired[Sequence[ListedEvent]]


class PublishedEvent(TypedDict):
    """An event that is stored, and will be delivered."""

    event_id: str
    duplicate: NotRequired[bool]


Purpose = Literal["transactional", "marketing", "security"]


class QueuedNotification(TypedDict):
    """A notification that is stored, and will be sent."""

    notification_id: str
    status: NotRequired[str]


class QuietHoursBody(TypedDict):
    """When a person is not disturbed, in their own time zone."""

    windows: NotRequired[Sequence[WindowBody]]
    exceptions: NotRequired[Sequence[str]]


class RateLimit(TypedDict):
    """A token bucket: so many attempts a second, and so many at once after a pause."""

    per_second: float
    burst: int


class Reason(TypedDict):
    """Why."""

    reason: NotRequired[str]


class Recipient(TypedDict):
    """A person."""

    id: str
    name: str | None
    locale: str | None
    zone: str | None
    traits: Mapping[str, Any]
    addresses: Sequence[Address]
    created_at: str
    updated_at: str
    version: int


class RecipientFields(TypedDict):
    """What is said of a person."""

    name: NotRequired[str | None]
    locale: NotRequired[str | None]
    zone: NotRequired[str | None]
    traits: NotRequired[Mapping[str, Any] | None]
    email: NotRequired[Sequence[str] | None]
    sms: NotRequired[Sequence[str] | None]


class RecipientPage(TypedDict):
    """A page of a list."""

    data: Sequence[Recipient]
    next: str | None


class Recovery(TypedDict):
    """What is sent again: everything that did not arrive in a time."""

    since: str
    until: NotRequired[str | None]


class Redrive(TypedDict):
    """Which dead letters are sent again; without any field all of them."""

    subscriber_id: NotRequired[str | None]
    event_id: NotRequired[str | None]
    event_type: NotRequired[str | None]
    since: NotRequired[str | None]
    until: NotRequired[str | None]


class Retry(TypedDict):
    """When a failed attempt is tried again."""

    delays: Sequence[float]
    jitter: float
    max_retry_after: float


class Revision(TypedDict):
    """One text of a template."""

    revision: int
    text: str
    at: str
    by: str
    note: str


Role = Literal["producer", "viewer", "tenant_admin", "operator", "recipient"]


class Rollback(TypedDict):
    """Which revision is used again."""

    name: str
    to: int
    by: NotRequired[str]
    note: NotRequired[str]


Scope = Literal["system", "type", "tenant", "recipient", "subscription"]


class SecretRotation(TypedDict):
    """How a signing secret is replaced."""

    secret: NotRequired[str | None]
    overlap: NotRequired[float]


class SendNotification(TypedDict):
    """The shape of ``POST /send_notification``."""

    user_id: str
    type: str
    channels: NotRequired[Sequence[str]]
    message: NotRequired[str | None]
    data: NotRequired[Mapping[str, Any]]


class SettingBody(TypedDict):
    """Whether events are sent: of a type, of a category or all, on a channel or on all."""

    type: NotRequired[str | None]
    category: NotRequired[str | None]
    channel: NotRequired[str | None]
    value: str


class SimpleNotification(TypedDict):
    """The shape of ``POST /notify``."""

    userId: str
    type: NotRequired[str | None]
    template: str
    data: NotRequired[Mapping[str, Any]]


class Stats(TypedDict):
    """How much work waits; counts stop at 10,000."""

    unplanned: int
    waiting: int
    sending: int
    dead: int
    oldest_due: str | None
    lanes: Sequence[LaneWork]


class Step(TypedDict):
    """A channel over which people are told."""

    channel: str
    after: float
    unless: Sequence[str]
    fallback: bool


class StepBody(TypedDict):
    """A channel over which people are told."""

    channel: str
    after: NotRequired[float]
    unless: NotRequired[Sequence[Unless]]
    fallback: NotRequired[bool]


class StepVerdict(TypedDict):
    """What would become of one step."""

    channel: str
    at: str | None
    code: str
    sentence: str
    fallback: bool


class Subscription(TypedDict):
    """A rule: events that match are delivered to one subscriber."""

    id: str
    event_types: Sequence[str]
    subscriber_id: str
    topic: str | None
    filter: Mapping[str, Any] | None
    channel: str
    description: str
    enabled: bool
    disabled_reason: str | None
    address: str | None
    created_at: str
    updated_at: str
    version: int


class SubscriptionPage(TypedDict):
    """A page of a list."""

    data: Sequence[Subscription]
    next: str | None


class SubscriptionUpdate(TypedDict):
    """What is to change; what is not given stays."""

    event_types: NotRequired[Sequence[str] | None]
    topic: NotRequired[str | None]
    filter: NotRequired[Mapping[str, Any] | None]
    description: NotRequired[str | None]
    enabled: NotRequired[bool | None]


class Suppression(TypedDict):
    """An address on the suppression list, which has a hash of it only."""

    id: str
    channel: str
    entries: Sequence[SuppressionEntry]


class SuppressionCheck(TypedDict):
    """What the list says of an address."""

    suppressed: bool
    entries: Sequence[SuppressionEntry]


class SuppressionEntry(TypedDict):
    """One reason why an address must not be used."""

    reason: SuppressionReason
    purposes: Sequence[Purpose]
    evidence: str
    since: str
    until: str | None


class SuppressionPage(TypedDict):
    """A page of a list."""

    data: Sequence[Suppression]
    next: str | None


SuppressionReason = Literal["hard_bounce", "complaint", "unsubscribe", "stop", "unregistered", "manual"]


class SuppressionRemoved(TypedDict):
    """Whether an address was on the list."""

    removed: bool


class Template(TypedDict):
    """A template of a tenant, without its text."""

    name: str
    revision: int
    at: str
    by: str
    note: str


class TemplatePage(TypedDict):
    """A page of a list."""

    data: Sequence[Template]
    next: str | None


class Tenant(TypedDict):
    """A tenant."""

    id: str


class TenantPage(TypedDict):
    """A page of a list."""

    data: Sequence[Tenant]
    next: str | None


class Trial(TypedDict):
    """Conditions, and an event to try them on; nothing is stored."""

    event_types: Sequence[str]
    topic: NotRequired[str | None]
    filter: NotRequired[Mapping[str, Any] | None]
    type: str
    event_topic: NotRequired[str | None]
    data: NotRequired[Mapping[str, Any]]


class TrialResult(TypedDict):
    """Whether the event would be delivered."""

    matches: bool
    code: str


Unless = Literal["seen", "read"]


class Verdict(TypedDict):
    """What a subscription says to an event."""

    subscription_id: str
    subscriber_id: str
    code: str


class Warning(TypedDict):
    """A condition because of which a subscription, as it seems, never matches."""

    path: str
    code: str
    text: str


Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class WindowBody(TypedDict):
    """A span of wall-clock time on some days of the week."""

    days: Sequence[Weekday]
    begin: str
    end: str


class Worker(TypedDict):
    """A dispatcher: a process, or one of several in it."""

    id: str
    host: str
    process: int
    roles: Sequence[str]
    channels: Sequence[str]
    started_at: str
    seen_at: str
    in_flight: int
    silent: bool


class WorkerPage(TypedDict):
    """A page of a list."""

    data: Sequence[Worker]
    next: str | None


class ListEventsQuery(TypedDict):
    """The query of ``list_events``."""

    limit: NotRequired[int]
    type: NotRequired[str]
    cursor: NotRequired[str]


class ListNotificationsQuery(TypedDict):
    """The query of ``list_notifications``."""

    limit: NotRequired[int]
    cursor: NotRequired[str]
    user_id: str


class ListWorkersQuery(TypedDict):
    """The query of ``list_workers``."""

    limit: NotRequired[int]
    cursor: NotRequired[str]


class ListTenantsQuery(TypedDict):
    """The query of ``list_tenants``."""

    limit: NotRequired[int]
    cursor: NotRequired[str]


class ListInboxQuery(TypedDict):
    """The query of ``list_inbox``."""

    state: NotRequired[InboxState]
    category: NotRequired[str]
    limit: NotRequired[int]
    cursor: NotRequired[int]


class ListInboxChangesQuery(TypedDict):
    """The query of ``list_inbox_changes``."""

    cursor: NotRequired[int]
    limit: NotRequired[int]


class ExplainPersonQuery(TypedDict):
    """The query of ``explain_person``."""

    event_id: NotRequired[str]
    type: NotRequired[str]
    topic: NotRequired[str]
    at: NotRequired[str]


class ExplainEventQuery(TypedDict):
    """The query of ``explain_event``."""

    subscriber_id: NotRequired[str]


class ListEventTypesQuery(TypedDict):
    """The query of ``list_event_types``."""

    limit: NotRequired[int]
    cursor: NotRequired[str]


class ListEndpointsQuery(TypedDict):
    """The query of ``list_endpoints``."""

    limit: NotRequired[int]
    cursor: NotRequired[str]


class ListSubscriptionsQuery(TypedDict):
    """The query of ``list_subscriptions``."""

    limit: NotRequired[int]
    cursor: NotRequired[str]
    endpoint_id: NotRequired[str]
    recipient: NotRequired[str]


class ListDeliveriesQuery(TypedDict):
    """The query of ``list_deliveries``."""

    limit: NotRequired[int]
    state: NotRequired[Sequence[DeliveryState]]
    subscriber_id: NotRequired[str]
    event_id: NotRequired[str]
    event_type: NotRequired[str]
    since: NotRequired[str]
    until: NotRequired[str]
    cursor: NotRequired[str]


class ListDeadLettersQuery(TypedDict):
    """The query of ``list_dead_letters``."""

    limit: NotRequired[int]
    cursor: NotRequired[str]


class ListRecipientsQuery(TypedDict):
    """The query of ``list_recipients``."""

    limit: NotRequired[int]
    cursor: NotRequired[str]


class ListSuppressionsQuery(TypedDict):
    """The query of ``list_suppressions``."""

    limit: NotRequired[int]
    cursor: NotRequired[str]


class ListTemplatesQuery(TypedDict):
    """The query of ``list_templates``."""

    limit: NotRequired[int]
    cursor: NotRequired[str]


class RemoveTemplateQuery(TypedDict):
    """The query of ``remove_template``."""

    name: str


class ListTemplateRevisionsQuery(TypedDict):
    """The query of ``list_template_revisions``."""

    name: str


class ListKeysQuery(TypedDict):
    """The query of ``list_keys``."""

    limit: NotRequired[int]
    cursor: NotRequired[str]


class ListAuditLogQuery(TypedDict):
    """The query of ``list_audit_log``."""

    tenant: NotRequired[str]
    subject: NotRequired[str]
    action: NotRequired[str]
    limit: NotRequired[int]
    cursor: NotRequired[str]
