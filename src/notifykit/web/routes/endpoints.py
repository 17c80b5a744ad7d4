"""A tenant's webhook URLs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

import attrs

from ...models.access import AccessScope
from ...models.checks import MAX_DESCRIPTION, duration, mapping, optional, prose, string, text, whole
from ...models.delivery import DeliveryState
from ...models.endpoint import Endpoint, EndpointState, RateLimit
from ...models.retry import DEFAULT_RETRY, RetryPolicy
from ...ports import DeliveryFilter
from ..route import Call, PageOf, PageQuery, Routes, described, page_of
from .deliveries import Moved
from .producers import PublishedEvent

ROUTES = Routes("Endpoints")
_RECENT = 200
_url = text(most=2048)
_headers = mapping(text(most=256), text(most=4096, empty=True), most=50)
_PROSE = {"maxLength": MAX_DESCRIPTION}
_timeout = duration(timedelta(seconds=1), timedelta(seconds=30))


@attrs.frozen(kw_only=True)
class RateLimitView:
    """A token bucket: so many attempts a second, and so many at once after a pause."""

    per_second: float
    burst: int = 1

    def limit(self) -> RateLimit:
        """Return the limit."""
        return RateLimit(per_second=self.per_second, burst=self.burst)


@attrs.frozen(kw_only=True)
class RetryView:
    """When a failed attempt is tried again.

    Attributes:
        delays: Seconds between attempts; there is one attempt more than pauses.
        jitter: Each pause is stretched or shrunk by up to this share.
        max_retry_after: The longest ``Retry-After`` that is honoured, in seconds.
    """

    delays: tuple[timedelta, ...]
    jitter: float = 0.2
    max_retry_after: timedelta = timedelta(hours=24)

    def policy(self) -> RetryPolicy:
        """Return the policy."""
        return RetryPolicy(delays=self.delays, jitter=self.jitter, max_retry_after=self.max_retry_after)


@attrs.frozen(kw_only=True)
class EndpointView:
    """A webhook URL.

    Attributes:
        state: Active, paused (what comes waits) or disabled (nothing is delivered).
        header_names: The extra headers of requests; their values are not shown.
        timeout: Seconds that one attempt may take.
        max_in_flight: How many attempts one process may have open.
        secrets: How many signing secrets it has.
    """

    id: str
    url: str
    description: str
    state: EndpointState
    state_reason: str | None
    header_names: tuple[str, ...]
    retry: RetryView
    timeout: timedelta
    max_in_flight: int
    rate_limit: RateLimitView | None
    secrets: int
    created_at: datetime
    updated_at: datetime
    version: int

    @classmethod
    def of(cls, endpoint: Endpoint) -> EndpointView:
        """Return what is shown of an endpoint."""
        limit, retry = endpoint.rate_limit, endpoint.retry
        return cls(
            id=endpoint.id,
            url=endpoint.url,
            description=endpoint.description,
            state=endpoint.state,
            state_reason=endpoint.state_reason,
            header_names=tuple(sorted(endpoint.headers)),
            retry=RetryView(delays=retry.delays, jitter=retry.jitter, max_retry_after=retry.max_retry_after),
            timeout=endpoint.timeout,
            max_in_flight=endpoint.max_in_flight,
            rate_limit=None if limit is None else RateLimitView(per_second=limit.per_second, burst=limit.burst),
            secrets=len(endpoint.secrets),
            created_at=endpoint.created_at,
            updated_at=endpoint.updated_at,
            version=endpoint.version,
        )


@attrs.frozen(kw_only=True)
class EndpointWithSecret:
    """An endpoint with the secret that receivers verify its signatures with.

    Attributes:
        secret: Shown in this answer only.
    """

    endpoint: EndpointView
    secret: str


def _with_secret(endpoint: Endpoint) -> EndpointWithSecret:
    return EndpointWithSecret(endpoint=EndpointView.of(endpoint), secret=endpoint.secrets[0].value)


@attrs.frozen(kw_only=True)
class NewEndpoint:
    """A webhook URL to create.

    Attributes:
        url: Where events are posted.
        headers: Extra headers of requests.
        secret: A ``whsec_…`` or ``whsk_…`` of your own; generated if not given.
        retry: When failed attempts are tried again.
        timeout: Seconds that one attempt may take, from 1 to 30.
        max_in_flight: How many attempts one process may have open.
        rate_limit: How many attempts a second all processes together may make.
    """

    url: str = described(_url, maxLength=2048)
    description: str = described(prose, default="", **_PROSE)
    headers: Mapping[str, str] | None = described(optional(_headers), default=None)
    secret: str | None = described(optional(string), default=None)
    retry: RetryView | None = None
    timeout: timedelta = described(_timeout, default=timedelta(seconds=15), minimum=1, maximum=30)
    max_in_flight: int = described(whole(1, 1000), default=64, minimum=1, maximum=1000)
    rate_limit: RateLimitView | None = None


@ROUTES.add(
    "POST", "/v1/endpoints", AccessScope.ENDPOINTS_WRITE, body=NewEndpoint, answer=EndpointWithSecret, status=201
)
async def create_endpoint(call: Call) -> Any:
    """Create an endpoint; the answer has its signing secret."""
    new: NewEndpoint = call.body
    created = await call.kit.endpoints.create(
        new.url,
        tenant=call.tenant,
        description=new.description,
        headers=new.headers,
        secret=new.secret,
        retry=DEFAULT_RETRY if new.retry is None else new.retry.policy(),
        timeout=new.timeout,
        max_in_flight=new.max_in_flight,
        rate_limit=None if new.rate_limit is None else new.rate_limit.limit(),
    )
    call.about(created.id)
    return _with_secret(created)


@ROUTES.add("GET", "/v1/endpoints", AccessScope.ENDPOINTS_READ, query=PageQuery, answer=PageOf(EndpointView))
async def list_endpoints(call: Call) -> Any:
    """List endpoints in the order of their creation."""
    query: PageQuery = call.query
    found = await call.kit.endpoints.list(tenant=call.tenant, limit=query.limit + 1, after=query.cursor)
    return page_of(found, query.limit, EndpointView.of)


@ROUTES.add("GET", "/v1/endpoints/{endpoint_id}", AccessScope.ENDPOINTS_READ, answer=EndpointView)
async def get_endpoint(call: Call) -> Any:
    """Return an endpoint."""
    return EndpointView.of(await call.kit.endpoints.get(call.path["endpoint_id"], tenant=call.tenant))


@attrs.frozen(kw_only=True)
class EndpointChanges:
    """What is to change; what is not given stays.

    Attributes:
        headers: All extra headers, in place of those that there are.
        rate_limit: ``null`` takes the limit away.
    """

    url: str | None = described(optional(_url), default=None, maxLength=2048)
    description: str | None = described(optional(prose), default=None, **_PROSE)
    headers: Mapping[str, str] | None = described(optional(_headers), default=None)
    retry: RetryView | None = None
    timeout: timedelta | None = described(optional(_timeout), default=None, minimum=1, maximum=30)
    max_in_flight: int | None = described(optional(whole(1, 1000)), default=None, minimum=1, maximum=1000)
    rate_limit: RateLimitView | None = None


@ROUTES.add(
    "PATCH", "/v1/endpoints/{endpoint_id}", AccessScope.ENDPOINTS_WRITE, body=EndpointChanges, answer=EndpointView
)
async def update_endpoint(call: Call) -> Any:
    """Change an endpoint; deliveries that wait use the new settings."""
    new: EndpointChanges = call.body
    limit: RateLimit | Literal["none"] | None = None
    if "rate_limit" in call.given:
        limit = "none" if new.rate_limit is None else new.rate_limit.limit()
    changed = await call.kit.endpoints.update(
        call.path["endpoint_id"],
        tenant=call.tenant,
        url=new.url,
        description=new.description,
        headers=new.headers,
        retry=None if new.retry is None else new.retry.policy(),
        timeout=new.timeout,
        max_in_flight=new.max_in_flight,
        rate_limit=limit,
    )
    return EndpointView.of(changed)


@ROUTES.add("DELETE", "/v1/endpoints/{endpoint_id}", AccessScope.ENDPOINTS_WRITE)
async def delete_endpoint(call: Call) -> None:
    """Remove an endpoint with its subscriptions; what waits for it is cancelled."""
    await call.kit.endpoints.delete(call.path["endpoint_id"], tenant=call.tenant)


@attrs.frozen(kw_only=True)
class Reason:
    """Why.

    Attributes:
        reason: Shown with the endpoint.
    """

    reason: str = described(prose, default="over the API", **_PROSE)


@ROUTES.add("POST", "/v1/endpoints/{endpoint_id}/pause", AccessScope.ENDPOINTS_WRITE, body=Reason, answer=EndpointView)
async def pause_endpoint(call: Call) -> Any:
    """Keep deliveries waiting; none is lost."""
    paused = await call.kit.endpoints.pause(call.path["endpoint_id"], tenant=call.tenant, reason=call.body.reason)
    return EndpointView.of(paused)


@ROUTES.add(
    "POST", "/v1/endpoints/{endpoint_id}/disable", AccessScope.ENDPOINTS_WRITE, body=Reason, answer=EndpointView
)
async def disable_endpoint(call: Call) -> Any:
    """Stop deliveries: new ones are suppressed, waiting ones cancelled."""
    disabled = await call.kit.endpoints.disable(call.path["endpoint_id"], tenant=call.tenant, reason=call.body.reason)
    return EndpointView.of(disabled)


@ROUTES.add("POST", "/v1/endpoints/{endpoint_id}/resume", AccessScope.ENDPOINTS_WRITE, answer=EndpointView)
async def resume_endpoint(call: Call) -> Any:
    """Deliver again; what was held is due at once."""
    return EndpointView.of(await call.kit.endpoints.resume(call.path["endpoint_id"], tenant=call.tenant))


@attrs.frozen(kw_only=True)
class SecretRotation:
    """How a signing secret is replaced.

    Attributes:
        secret: The new one; generated if not given.
        overlap: For how many seconds the current ones sign beside it, up to 7 days.
    """

    secret: str | None = described(optional(string), default=None)
    overlap: timedelta = described(
        duration(timedelta(0), timedelta(days=7)), default=timedelta(hours=24), minimum=0, maximum=7 * 86_400
    )


@ROUTES.add(
    "POST",
    "/v1/endpoints/{endpoint_id}/rotate",
    AccessScope.ENDPOINTS_WRITE,
    body=SecretRotation,
    answer=EndpointWithSecret,
)
async def rotate_secret(call: Call) -> Any:
    """Add a new signing secret; the answer has it."""
    asked: SecretRotation = call.body
    rotated = await call.kit.endpoints.rotate_secret(
        call.path["endpoint_id"], tenant=call.tenant, secret=asked.secret, overlap=asked.overlap
    )
    return _with_secret(rotated)


@ROUTES.add("POST", "/v1/endpoints/{endpoint_id}/test", AccessScope.ENDPOINTS_WRITE, answer=PublishedEvent, status=202)
async def test_endpoint(call: Call) -> Any:
    """Send a test event to this endpoint alone."""
    receipt = await call.kit.endpoints.test(call.path["endpoint_id"], tenant=call.tenant)
    return PublishedEvent(event_id=receipt.event_id, duplicate=receipt.duplicate)


@attrs.frozen(kw_only=True)
class EndpointHealth:
    """How an endpoint is doing.

    Attributes:
        circuit_open: Whether it keeps failing, so that deliveries wait between probes.
        failing_since: Since when.
        probe_at: When it is tried next.
        recent: How many of its newest deliveries, up to 200, are in each state.
        success_rate: The share of those that ended and were delivered; ``null`` if none has ended.
    """

    endpoint_id: str
    state: EndpointState
    circuit_open: bool
    failing_since: datetime | None
    probe_at: datetime | None
    circuit_reason: str | None
    recent: Mapping[str, int]
    success_rate: float | None


@ROUTES.add("GET", "/v1/endpoints/{endpoint_id}/health", AccessScope.ENDPOINTS_READ, answer=EndpointHealth)
async def get_endpoint_health(call: Call) -> Any:
    """Return how an endpoint is doing: its circuit, and its newest deliveries."""
    endpoint = await call.kit.endpoints.get(call.path["endpoint_id"], tenant=call.tenant)
    circuits = await call.kit.store.circuits()
    circuit = next((each for each in circuits if (each.tenant, each.key) == (call.tenant, endpoint.id)), None)
    newest = await call.kit.deliveries.list(
        DeliveryFilter(subscriber_id=endpoint.id), tenant=call.tenant, limit=_RECENT
    )
    counts = Counter(delivery.state for delivery in newest)
    ended = sum(count for state, count in counts.items() if state in (DeliveryState.DELIVERED, DeliveryState.DEAD))
    return EndpointHealth(
        endpoint_id=endpoint.id,
        state=endpoint.state,
        circuit_open=circuit is not None,
        failing_since=None if circuit is None else circuit.since,
        probe_at=None if circuit is None else circuit.probe_at,
        circuit_reason=None if circuit is None else circuit.reason,
        recent={state.value: count for state, count in counts.items()},
        success_rate=counts[DeliveryState.DELIVERED] / ended if ended else None,
    )


@attrs.frozen(kw_only=True)
class Recovery:
    """What is sent again: everything that did not arrive in a time.

    Attributes:
        since: Created at or after this time.
        until: Created before this time.
    """

    since: datetime
    until: datetime | None = None


@ROUTES.add(
    "POST",
    "/v1/endpoints/{endpoint_id}/recover",
    AccessScope.DELIVERIES_WRITE,
    body=Recovery,
    answer=Moved,
    status=202,
)
async def recover_endpoint(call: Call) -> Any:
    """Send everything again that did not arrive at an endpoint since a time."""
    asked: Recovery = call.body
    endpoint = await call.kit.endpoints.get(call.path["endpoint_id"], tenant=call.tenant)
    count = await call.kit.deliveries.recover(endpoint.id, tenant=call.tenant, since=asked.since, until=asked.until)
    return Moved(count=count)
