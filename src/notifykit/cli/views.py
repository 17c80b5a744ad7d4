"""The library's values as JSON and as text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from .text import Cell

if TYPE_CHECKING:
    from ..admin.explain import PersonExplanation
    from ..models.delivery import Attempt, Delivery, DeliveryState
    from ..models.endpoint import Endpoint, EndpointState, RateLimit
    from ..models.event import StoredEvent
    from ..models.inbox import InboxItem
    from ..models.receipt import ProviderReceipt
    from ..models.subscription import Subscription
    from ..models.suppression import SuppressedAddress
    from ..policies.unmatchable import SubscriptionWarning

#: Counts of a store stop at this number.
_CAP = 10_000
_STATE_STYLES = {
    "delivered": "green",
    "active": "green",
    "dead": "red",
    "disabled": "red",
    "sending": "blue",
    "held": "yellow",
    "paused": "yellow",
}


def masked(secret: str) -> str:
    """Return the first and last characters of a secret, by which it can be recognised."""
    return f"{secret[:6]}…{secret[-4:]}" if len(secret) > 16 else "…"


def instant(value: datetime | None) -> str | None:
    """Return a time for JSON."""
    return None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def clock(value: datetime | None, *, millis: bool = False) -> str:
    """Return a time as text, in UTC."""
    if value is None:
        return "-"
    return value.astimezone(UTC).isoformat(" ", "milliseconds" if millis else "seconds").replace("+00:00", "Z")


def span(value: timedelta) -> str:
    """Return a duration as text: ``240 ms``, ``5 s``, ``1h 30m``."""
    seconds = value.total_seconds()
    if seconds < 0:
        return f"-{span(-value)}"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, hours, days = int(seconds) // 60, int(seconds) // 3600, int(seconds) // 86400
    if minutes < 60:
        return f"{minutes}m {int(seconds) % 60}s"
    return f"{hours}h {minutes % 60}m" if hours < 48 else f"{days}d {hours % 24}h"


def capped(count: int) -> str:
    """Return a count of a store as text; counts of all tenants stop at 10,000."""
    return f"{count:,}" if count < _CAP else f"{_CAP:,} or more"


def state(value: DeliveryState | EndpointState) -> Cell:
    """Return a state in its colour."""
    return Cell(value.value, _STATE_STYLES.get(value.value))


def compact(value: Any) -> str:
    """Return JSON on one line."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def endpoint(value: Endpoint, *, reveal: bool = False) -> dict[str, Any]:
    """Return an endpoint for JSON; secrets and header values are masked unless ``reveal``."""
    from ..codec import unstructure

    data: dict[str, Any] = unstructure(value)
    if not reveal:
        for secret in data["secrets"]:
            secret["value"] = masked(secret["value"])
        data["headers"] = dict.fromkeys(data["headers"], "…")
    return data


def endpoint_fields(value: Endpoint, *, reveal: bool = False) -> dict[str, object]:
    """Return an endpoint as text."""
    delays = ", ".join(span(delay) for delay in value.retry.delays) or "no retry"
    shown: dict[str, object] = {
        "id": value.id,
        "url": value.url,
        "state": value.state.value + (f" ({value.state_reason})" if value.state_reason else ""),
        "description": value.description or None,
        "retry after": f"{delays}, ±{value.retry.jitter:.0%}",
        "timeout": span(value.timeout),
        "in flight": f"at most {value.max_in_flight} in each process",
        "rate limit": None if value.rate_limit is None else _rate(value.rate_limit),
        "created": clock(value.created_at),
        "updated": clock(value.updated_at),
    }
    for name, text in value.headers.items():
        shown[f"header {name}"] = text if reveal else "…"
    for number, secret in enumerate(value.secrets, 1):
        until = "" if secret.expires_at is None else f"  signs until {clock(secret.expires_at)}"
        name = "secret" if len(value.secrets) == 1 else f"secret {number}"
        shown[name] = (secret.value if reveal else masked(secret.value)) + until
    return shown


def _rate(limit: RateLimit) -> str:
    return f"{limit.per_second:g} a second, {limit.burst} at once"


def subscription(value: Subscription, warnings: Sequence[SubscriptionWarning] | None = None) -> dict[str, Any]:
    """Return a subscription for JSON, with its warnings if they are given."""
    from ..codec import unstructure

    data: dict[str, Any] = unstructure(value)
    return data if warnings is None else {**data, "warnings": [warning._asdict() for warning in warnings]}


def subscription_fields(value: Subscription) -> dict[str, object]:
    """Return a subscription as text."""
    return {
        "id": value.id,
        "events": " ".join(value.event_types),
        "topic": value.topic,
        "filter": None if value.filter is None else compact(value.filter),
        _target_of(value): value.subscriber_id,
        "address": None if value.address is None else f"{value.address} ({value.channel})",
        "enabled": "yes" if value.enabled else f"no ({value.disabled_reason})" if value.disabled_reason else "no",
        "description": value.description or None,
        "created": clock(value.created_at),
        "updated": clock(value.updated_at),
    }


def _target_of(value: Subscription) -> str:
    """Return what a subscription delivers to."""
    from ..models.subscription import PEOPLE

    if value.channel == PEOPLE:
        return "recipient"
    return "endpoint" if value.address is None else "subscriber"


def conditions(value: Subscription) -> str:
    """Return the conditions of a subscription, on one line."""
    parts = [" ".join(value.event_types)]
    if value.topic is not None:
        parts.append(f"topic {value.topic}")
    if value.filter is not None:
        parts.append(f"where {compact(value.filter)}")
    return ", ".join(parts)


def delivery(value: Delivery) -> dict[str, Any]:
    """Return a delivery for JSON."""
    from ..codec import unstructure

    data: dict[str, Any] = unstructure(value)
    return data


def attempt(value: Attempt) -> dict[str, Any]:
    """Return an attempt for JSON."""
    return {
        "number": value.number,
        "started_at": instant(value.started_at),
        "took_ms": round(value.took / timedelta(milliseconds=1), 3),
        "outcome": value.outcome,
        "reason": value.reason,
        "status": value.status,
        "retry_at": instant(value.retry_at),
        "response": value.response.decode("utf-8", "replace"),
        "worker": value.worker,
        "reference": value.reference,
        "account": value.account,
        "cost": None if value.cost is None else f"{value.cost.normalize():f}",
        "receipts": [receipt(each) for each in value.receipts],
    }


def receipt(value: ProviderReceipt) -> dict[str, Any]:
    """Return what a provider has reported, for JSON."""
    return {
        "provider": value.provider,
        "kind": value.kind.value,
        "at": instant(value.at),
        "code": value.code,
        "permanent": value.permanent,
        "address": value.address,
        "id": value.id,
    }


def inbox_item(value: InboxItem) -> dict[str, Any]:
    """Return an item of an inbox for JSON."""
    resource = value.resource
    return {
        "id": value.id,
        "event_id": value.event_id,
        "event_type": value.event_type,
        "category": value.category,
        "resource": None if resource is None else {"kind": resource.kind, "id": resource.id},
        "title": value.title,
        "body": value.body,
        "url": value.url,
        "data": dict(value.data),
        "created_at": instant(value.created_at),
        **{name: instant(at) for name, at in value.marks._asdict().items()},
        "number": value.number,
        "change": value.change,
    }


def event(value: StoredEvent) -> dict[str, Any]:
    """Return an event for JSON, with its data."""
    from ..codec import loads
    from ..models.audience import Audience

    audience = Audience.from_json(value.audience)
    body: Mapping[str, Any] = loads(value.body)
    metadata = value.metadata
    return {
        "id": value.id,
        "type": value.type,
        "version": value.version,
        "tenant": value.tenant,
        "topic": value.topic,
        "resource": None if value.resource_kind is None else {"kind": value.resource_kind, "id": value.resource_id},
        "actor": value.actor,
        "occurred_at": instant(value.occurred_at),
        "published_at": instant(value.published_at),
        "due_at": instant(value.due_at),
        "expires_at": instant(value.expires_at),
        "priority": value.priority.value,
        "ordering_key": value.ordering_key,
        "idempotency_key": value.idempotency_key,
        "trace": value.trace,
        "category": value.category,
        "purpose": value.purpose,
        "to": list(audience.to),
        "channels": list(audience.channels),
        "metadata": {} if metadata is None else json.loads(metadata),
        "data": body.get("data"),
    }


def person_explanation(value: PersonExplanation) -> dict[str, Any]:
    """Return why a person was told of an event or was not, for JSON."""
    return {
        "recipient": value.recipient_id,
        "type": value.event_type,
        "is_known": value.is_known,
        "event": None if value.event is None else event(value.event),
        "reached_by": value.reached_by,
        "deliveries": [delivery(each) for each in value.deliveries],
        "last_attempts": {id_: attempt(each) for id_, each in value.attempts.items()},
        "verdicts": [{"subscription": subscription(of), "verdict": str(verdict)} for of, verdict in value.verdicts],
        "steps": [
            {
                "channel": step.channel,
                "verdict": step.verdict.value,
                "code": step.code.value,
                "sentence": step.sentence,
                "at": instant(step.at),
                "addresses": list(step.addresses),
                "fallback": step.fallback,
                "trail": [{"code": rule.code.value, "when": rule.when, "applies": rule.applies} for rule in step.trail],
            }
            for step in value.steps
        ],
        "suppressed": [suppressed(each) for each in value.suppressed],
    }


def suppressed(value: SuppressedAddress) -> dict[str, Any]:
    """Return an address of the suppression list for JSON."""
    return {
        "id": value.id,
        "channel": value.channel,
        "entries": [
            {
                "reason": entry.reason.value,
                "purposes": [purpose.value for purpose in entry.purposes],
                "evidence": entry.evidence,
                "since": instant(entry.since),
                "until": instant(entry.until),
            }
            for entry in value.entries
        ],
    }
