"""Create, change and test a tenant's endpoints."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol, TypedDict

import attrs

from ..changes import change
from ..errors import DestinationRefusedError, InvalidEndpointError, NotFoundError, StateError
from ..models import checks
from ..models.checks import optional
from ..models.delivery import Priority
from ..models.endpoint import Endpoint, EndpointSecret, EndpointState, RateLimit
from ..models.event import Event, Receipt
from ..models.ids import ENDPOINT, new_id
from ..models.retry import DEFAULT_RETRY, RetryPolicy
from ..models.unreadable import UnreadableEndpoint
from ..policies.arguments import ARGUMENTS, checked
from ..policies.retry import TenacityWait, from_tenacity
from ..ports import Clock, DeliveryFilter, Move, Store
from ..signing import generate_secret, secret_problem

MAX_SECRETS = 5
_SETTINGS: Mapping[str, checks.Check] = {
    "timeout": checks.duration(timedelta(seconds=1), timedelta(seconds=30)),
    "max_in_flight": checks.whole(1, 1000),
    "description": checks.prose,
}
#: The type of the event that :meth:`Endpoints.test` sends.
TEST_EVENT = "notifykit.test"

Retry = RetryPolicy | TenacityWait

#: Where ``None`` keeps what there is.
_UPDATES: Mapping[str, checks.Check] = {
    "url": optional(ARGUMENTS["url"]),
    "description": optional(ARGUMENTS["description"]),
    "retry": optional(ARGUMENTS["retry"]),
    "timeout": optional(ARGUMENTS["timeout"]),
    "max_in_flight": optional(ARGUMENTS["max_in_flight"]),
    "rate_limit": checks.either(checks.one_of({"none"}), optional(checks.instance(RateLimit))),
}


class EndpointOptions(TypedDict, total=False):
    """What can be said of a new endpoint beside its URL; see :meth:`Endpoints.create`."""

    description: str
    headers: Mapping[str, str] | None
    secret: str | None
    retry: Retry
    timeout: timedelta
    max_in_flight: int
    rate_limit: RateLimit | None


class Egress(Protocol):
    """What tells whether an endpoint's URL and headers are acceptable."""

    async def accept(self, url: str, headers: Mapping[str, str]) -> tuple[str, list[str]]:
        """Return the canonical URL and every problem found.

        Raises:
            DestinationRefusedError: Nothing will be delivered to that URL.
        """
        ...


class Endpoints:
    """A tenant's webhook URLs.

    Every change reaches planners and senders with the next event or claim.  Changes that are made at the
    same time, wherever, are made one after the other: none undoes another.
    """

    def __init__(
        self, store: Store, egress: Egress, clock: Clock, publish_to: Callable[[Event, Endpoint], Any]
    ) -> None:
        self._store = store
        self._egress = egress
        self._clock = clock
        self._publish_to = publish_to

    @checked(refusal=InvalidEndpointError)
    async def create(
        self,
        url: str,
        *,
        tenant: str,
        description: str = "",
        headers: Mapping[str, str] | None = None,
        secret: str | None = None,
        retry: Retry = DEFAULT_RETRY,
        timeout: timedelta = timedelta(seconds=15),
        max_in_flight: int = 64,
        rate_limit: RateLimit | None = None,
    ) -> Endpoint:
        """Create an endpoint; its signing secret is in ``secrets[0].value``.

        Args:
            url: ``https://…``; checked against the egress rules.
            headers: Extra request headers.
            secret: A ``whsec_…`` or ``whsk_…`` of your own; generated if not given.
            retry: A policy, or one of tenacity's wait strategies.
            timeout: The total deadline of one attempt, at most 30 s.
            max_in_flight: How many attempts one process may have open at a time, in each lane.
            rate_limit: How many attempts a second all processes together may make.

        Raises:
            InvalidEndpointError: With every problem found.
        """
        now = self._clock.now()
        endpoint = Endpoint(
            id=new_id(ENDPOINT),
            tenant=tenant,
            url=url,
            description=description,
            headers=dict(headers or {}),
            secrets=(EndpointSecret(value=secret or generate_secret(), created_at=now),),
            retry=_policy(retry),
            timeout=timeout,
            max_in_flight=max_in_flight,
            rate_limit=rate_limit,
            created_at=now,
            updated_at=now,
        )
        return await self._save_checked(endpoint)

    @checked()
    async def get(self, endpoint_id: str, *, tenant: str) -> Endpoint:
        """Return an endpoint.

        Raises:
            NotFoundError: The tenant has no such endpoint.
            VaultError: Its secrets or headers cannot be decrypted with the keys at hand.
        """
        found = await self._store.get(Endpoint, tenant, [endpoint_id])
        if not found:
            raise NotFoundError("endpoint", endpoint_id)
        (endpoint,) = found
        if isinstance(endpoint, UnreadableEndpoint) and endpoint.error is not None:
            raise endpoint.error
        return endpoint

    @checked()
    async def list(self, *, tenant: str, limit: int = 50, after: str | None = None) -> Sequence[Endpoint]:
        """Return a page of endpoints in the order of their creation, from behind the id ``after``."""
        return await self._store.page(Endpoint, tenant, limit=limit, after=after)

    @checked(refusal=InvalidEndpointError, **_UPDATES)
    async def update(
        self,
        endpoint_id: str,
        *,
        tenant: str,
        url: str | None = None,
        description: str | None = None,
        headers: Mapping[str, str] | None = None,
        retry: Retry | None = None,
        timeout: timedelta | None = None,
        max_in_flight: int | None = None,
        rate_limit: RateLimit | Literal["none"] | None = None,
    ) -> Endpoint:
        """Change what is given and keep the rest; deliveries that wait use the new settings.

        ``rate_limit="none"`` takes a limit away.

        Raises:
            InvalidEndpointError: With every problem found; nothing is changed.
            NotFoundError: The tenant has no such endpoint.
        """
        changes: dict[str, Any] = {
            "url": url,
            "description": description,
            "headers": None if headers is None else dict(headers),
            "retry": None if retry is None else _policy(retry),
            "timeout": timeout,
            "max_in_flight": max_in_flight,
            "rate_limit": rate_limit,
        }
        given = {name: value for name, value in changes.items() if value is not None}
        if rate_limit == "none":
            given["rate_limit"] = None
        return await self._change(endpoint_id, tenant, lambda e: attrs.evolve(e, **given), self._save_checked)

    @checked()
    async def delete(self, endpoint_id: str, *, tenant: str) -> None:
        """Remove an endpoint with its subscriptions; what waits for it is cancelled.

        Raises:
            NotFoundError: The tenant has no such endpoint.
        """
        if not await self._store.remove(Endpoint, tenant, endpoint_id, now=self._clock.now()):
            raise NotFoundError("endpoint", endpoint_id)

    @checked()
    async def pause(self, endpoint_id: str, *, tenant: str, reason: str = "paused by the operator") -> Endpoint:
        """Keep deliveries waiting; none is lost and no attempt is used up."""
        return await self._set_state(endpoint_id, tenant, EndpointState.PAUSED, reason)

    @checked()
    async def resume(self, endpoint_id: str, *, tenant: str) -> Endpoint:
        """Deliver again after a pause or after the endpoint was disabled; what was held is due at once."""
        saved = await self._set_state(endpoint_id, tenant, EndpointState.ACTIVE, None)
        its = DeliveryFilter(subscriber_id=endpoint_id)
        await self._store.move(tenant, its, Move.WAKE, now=self._clock.now())
        return saved

    @checked()
    async def disable(self, endpoint_id: str, *, tenant: str, reason: str = "disabled by the operator") -> Endpoint:
        """Stop deliveries: new ones are recorded as suppressed, waiting ones are cancelled as they come up."""
        return await self._set_state(endpoint_id, tenant, EndpointState.DISABLED, reason)

    @checked(refusal=InvalidEndpointError)
    async def rotate_secret(
        self,
        endpoint_id: str,
        *,
        tenant: str,
        secret: str | None = None,
        overlap: timedelta = timedelta(hours=24),
    ) -> Endpoint:
        """Add a new signing secret; the current ones keep signing beside it for ``overlap`` (0 to 7 days).

        Raises:
            StateError: The endpoint already has five secrets that sign.
        """
        if secret is not None and (problem := secret_problem(secret)):
            raise InvalidEndpointError([f"secret: {problem}"])
        now = self._clock.now()
        new = EndpointSecret(value=secret or generate_secret(), created_at=now)
        return await self._change(endpoint_id, tenant, lambda e: _rotated(e, new, now, until=now + overlap))

    @checked(secret=checks.string)
    async def revoke_secret(self, endpoint_id: str, secret: str, *, tenant: str) -> Endpoint:
        """Stop signing with ``secret`` at once.

        Raises:
            StateError: It is the only secret; rotate first.
            NotFoundError: The endpoint has no such secret.
        """
        return await self._change(endpoint_id, tenant, lambda e: _revoked(e, secret, self._clock.now()))

    @checked()
    async def test(self, endpoint_id: str, *, tenant: str) -> Receipt:
        """Send a ``notifykit.test`` event to this endpoint alone, whatever it is subscribed to.

        Raises:
            NotFoundError: The tenant has no such endpoint.
            StateError: It is paused or disabled, so that no attempt would be made.
        """
        endpoint = await self.get(endpoint_id, tenant=tenant)
        if endpoint.state is not EndpointState.ACTIVE:
            why = f" ({endpoint.state_reason})" if endpoint.state_reason else ""
            raise StateError(
                f"endpoint {endpoint_id} is {endpoint.state.value}{why}: no test event is sent; resume it first"
            )
        event = Event(
            type=TEST_EVENT,
            tenant=tenant,
            data={"endpoint_id": endpoint_id, "message": "This is a test event."},
            priority=Priority.HIGH,
        )
        receipt: Receipt = await self._publish_to(event, endpoint)
        return receipt

    async def _checked(self, endpoint: Endpoint) -> Endpoint:
        problems = _problems(endpoint)
        try:
            url, found = await self._egress.accept(endpoint.url, endpoint.headers)
            problems += found
        except DestinationRefusedError as error:
            raise InvalidEndpointError([f"url: {error}", *problems]) from error
        if problems:
            raise InvalidEndpointError(problems)
        return attrs.evolve(endpoint, url=url, headers=_lower(endpoint.headers))

    async def _set_state(self, endpoint_id: str, tenant: str, state: EndpointState, reason: str | None) -> Endpoint:
        return await self._change(endpoint_id, tenant, lambda e: attrs.evolve(e, state=state, state_reason=reason))

    async def _change(
        self,
        endpoint_id: str,
        tenant: str,
        make: Callable[[Endpoint], Endpoint],
        save: Callable[[Endpoint], Awaitable[Endpoint]] | None = None,
    ) -> Endpoint:
        return await change(lambda: self.get(endpoint_id, tenant=tenant), make, save or self._save)

    async def _save_checked(self, endpoint: Endpoint) -> Endpoint:
        return await self._save(await self._checked(endpoint))

    async def _save(self, endpoint: Endpoint) -> Endpoint:
        return await self._store.save(attrs.evolve(endpoint, updated_at=self._clock.now()))


def _rotated(endpoint: Endpoint, new: EndpointSecret, now: datetime, *, until: datetime) -> Endpoint:
    kept = tuple(
        s if s.expires_at is not None and s.expires_at <= until else attrs.evolve(s, expires_at=until)
        for s in endpoint.secrets
        if (s.expires_at is None or s.expires_at > now) and until > now
    )
    if len(kept) >= MAX_SECRETS:
        raise StateError(f"endpoint {endpoint.id} has {MAX_SECRETS} signing secrets: revoke one first")
    return attrs.evolve(endpoint, secrets=(new, *kept))


def _revoked(endpoint: Endpoint, secret: str, now: datetime) -> Endpoint:
    kept = tuple(s for s in endpoint.secrets if s.value != secret)
    if len(kept) == len(endpoint.secrets):
        raise NotFoundError("secret", f"{secret[:6]}…")
    if not any(s.expires_at is None or s.expires_at > now for s in kept):
        raise StateError("this is the only secret that signs: rotate first, then revoke it")
    if all(s.expires_at is not None for s in kept):
        kept = (attrs.evolve(kept[0], expires_at=None), *kept[1:])
    return attrs.evolve(endpoint, secrets=kept)


def _problems(endpoint: Endpoint) -> list[str]:
    problems = [f"secret: {problem}" for s in endpoint.secrets if (problem := secret_problem(s.value))]
    return problems + checks.problems({name: getattr(endpoint, name) for name in _SETTINGS}, _SETTINGS)


def _policy(retry: Retry) -> RetryPolicy:
    return retry if isinstance(retry, RetryPolicy) else from_tenacity(retry)


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
