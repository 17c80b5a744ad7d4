"""Rows of provider accounts, endpoints, subscriptions and event types: their columns, to values and back."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import lru_cache
from typing import Any

from ...models.delivery import Priority
from ...models.digest import digest_from_json, digest_to_json
from ...models.endpoint import MAX_BURST, MAX_RATE, MIN_RATE, Endpoint, EndpointSecret, EndpointState, RateLimit
from ...models.event_type import StoredEventType
from ...models.provider_account import ProviderAccount
from ...models.retry import MAX_RETRY_AFTER, RetryPolicy
from ...models.steps import steps_from_json, steps_to_json
from ...models.subscription import Subscription
from ...models.throttle import throttle_from_json, throttle_to_json
from .rows import MICRO, Row, instant, instant_or_none, micros, micros_or_none


def account_values(account: ProviderAccount) -> dict[str, Any]:
    """Return the columns of ``provider_accounts``."""
    return {"tenant": account.tenant, "id": account.id, "url": account.url, "version": account.version}


def account_from(row: Row) -> ProviderAccount:
    """Return the account of a row of ``provider_accounts``; its URL is as it is stored."""
    return ProviderAccount(tenant=row["tenant"], id=row["id"], url=row["url"], version=row["version"])


def endpoint_values(endpoint: Endpoint) -> dict[str, Any]:
    """Return the columns of ``endpoints``."""
    limit = endpoint.rate_limit
    return {
        "tenant": endpoint.tenant,
        "id": endpoint.id,
        "url": endpoint.url,
        "description": endpoint.description,
        "state": endpoint.state.value,
        "state_reason": endpoint.state_reason,
        "secrets": json.dumps(
            [[s.value, micros(s.created_at), micros_or_none(s.expires_at)] for s in endpoint.secrets]
        ),
        "headers": json.dumps(dict(endpoint.headers)),
        "retry": json.dumps(
            {
                "delays": [delay // MICRO for delay in endpoint.retry.delays],
                "jitter": endpoint.retry.jitter,
                "max_retry_after": endpoint.retry.max_retry_after // MICRO,
            }
        ),
        "timeout": endpoint.timeout // MICRO,
        "max_in_flight": endpoint.max_in_flight,
        "rate_limit": None if limit is None else json.dumps([limit.per_second, limit.burst]),
        "created_at": micros(endpoint.created_at),
        "updated_at": micros(endpoint.updated_at),
        "version": endpoint.version,
    }


def endpoint_from(row: Row) -> Endpoint:
    """Return the endpoint of a row of ``endpoints``."""
    headers = row["headers"]
    return Endpoint(
        id=row["id"],
        tenant=row["tenant"],
        url=row["url"],
        description=row["description"],
        state=EndpointState(row["state"]),
        state_reason=row["state_reason"],
        secrets=tuple(
            EndpointSecret(value=value, created_at=instant(created), expires_at=instant_or_none(expires))
            for value, created, expires in json.loads(row["secrets"])
        ),
        headers={} if headers == "{}" else json.loads(headers),
        retry=_retry(row["retry"]),
        timeout=timedelta(microseconds=row["timeout"]),
        max_in_flight=row["max_in_flight"],
        rate_limit=_rate_limit(row["rate_limit"]),
        created_at=instant(row["created_at"]),
        updated_at=instant(row["updated_at"]),
        version=row["version"],
    )


@lru_cache(maxsize=256)  # most endpoints have the same one, and share it in memory
def _retry(text: str) -> RetryPolicy:
    retry = json.loads(text)
    return RetryPolicy(
        delays=tuple(timedelta(microseconds=delay) for delay in retry["delays"]),
        jitter=retry["jitter"],
        max_retry_after=min(timedelta(microseconds=retry["max_retry_after"]), MAX_RETRY_AFTER),
    )


def _rate_limit(text: str | None) -> RateLimit | None:
    """Return a limit; one of an earlier version, which knew no bounds, is brought within them."""
    if text is None:
        return None
    per_second, burst = json.loads(text)
    return RateLimit(per_second=min(max(per_second, MIN_RATE), MAX_RATE), burst=min(max(burst, 1), MAX_BURST))


def subscription_values(subscription: Subscription) -> dict[str, Any]:
    """Return the columns of ``subscriptions``."""
    return {
        "tenant": subscription.tenant,
        "id": subscription.id,
        "subscriber_id": subscription.subscriber_id,
        "channel": subscription.channel,
        "event_types": json.dumps(list(subscription.event_types)),
        "topic": subscription.topic,
        "filter": None if subscription.filter is None else json.dumps(dict(subscription.filter)),
        "description": subscription.description,
        "enabled": subscription.enabled,
        "disabled_reason": subscription.disabled_reason,
        "address": subscription.address,
        "created_at": micros(subscription.created_at),
        "updated_at": micros(subscription.updated_at),
        "version": subscription.version,
    }


def subscription_from(row: Row) -> Subscription:
    """Return the subscription of a row of ``subscriptions``."""
    return Subscription(
        id=row["id"],
        tenant=row["tenant"],
        subscriber_id=row["subscriber_id"],
        channel=row["channel"],
        event_types=tuple(json.loads(row["event_types"])),
        topic=row["topic"],
        filter=None if row["filter"] is None else json.loads(row["filter"]),
        description=row["description"],
        enabled=bool(row["enabled"]),
        disabled_reason=row["disabled_reason"],
        address=row["address"],
        created_at=instant(row["created_at"]),
        updated_at=instant(row["updated_at"]),
        version=row["version"],
    )


def event_type_values(event_type: StoredEventType) -> dict[str, Any]:
    """Return the columns of ``event_types``."""
    return {
        "tenant": event_type.tenant,
        "id": event_type.id,
        "details": json.dumps(
            {
                "category": event_type.category,
                "purpose": event_type.purpose,
                "priority": event_type.priority.value,
                "description": event_type.description,
                "schema": None if event_type.schema is None else dict(event_type.schema),
                "steps": steps_to_json(event_type.steps),
                "tells_actor": event_type.tells_actor,
                "digest": digest_to_json(event_type.digest),
                "throttle": throttle_to_json(event_type.throttle),
            }
        ),
        "version": event_type.version,
    }


def event_type_from(row: Row) -> StoredEventType:
    """Return the type of a row of ``event_types``."""
    details = json.loads(row["details"])
    return StoredEventType(
        id=row["id"],
        tenant=row["tenant"],
        category=details["category"],
        purpose=details["purpose"],
        priority=Priority(details["priority"]),
        description=details["description"],
        schema=details["schema"],
        steps=steps_from_json(details.get("steps", ())),  # rows of an earlier version have none
        tells_actor=details.get("tells_actor", False),
        digest=digest_from_json(details.get("digest")),
        throttle=throttle_from_json(details.get("throttle")),
        version=row["version"],
    )
