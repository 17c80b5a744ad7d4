"""Create, rotate and revoke the keys of the REST API, and find out whose a secret is."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets as random
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import NamedTuple

import attrs

from ..changes import change
from ..errors import InvalidInputError, NotFoundError, StaleWriteError, StateError
from ..models import checks
from ..models.access import (
    KEY_ROLES,
    MAX_ACCESS_TOKENS,
    MAX_KEY_NAME,
    MAX_KEY_SECRETS,
    OPERATORS,
    AccessScope,
    ApiKey,
    ApiKeySecret,
    Role,
    effective_scopes,
)
from ..models.checks import optional
from ..models.ids import new_id
from ..policies.arguments import checked
from ..ports import Clock, Store

#: How ids of keys begin, and their secrets, and access tokens.
KEY, _SECRET, _TOKEN = "key_", "nk_", "nt_"
#: ``nk_``, the tenant, the key's id without its prefix, and the secret.
_GRAMMAR = re.compile(r"(?:nk_|nt_)([A-Za-z0-9_-]*)\.([0-9A-HJKMNP-TV-Z]{26})\.[A-Za-z0-9_-]{43}")
#: The longest text that is looked at as a secret: the name of a tenant has up to 128 characters.
_MAX_SECRET = 512
#: How far ``last_used_at`` may be behind.
COARSE = timedelta(hours=1)
_tenant = checks.either(checks.one_of({OPERATORS}), checks.tenant)


class IssuedKey(NamedTuple):
    """A key with its secret, which is not stored and not shown again.

    Attributes:
        secret: What a request sends: ``Authorization: Bearer nk_…``.
    """

    key: ApiKey
    secret: str


class ApiKeys:
    """The keys of a tenant; those of operators belong to the tenant ``""``."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    @checked(
        tenant=_tenant,
        name=checks.text(most=MAX_KEY_NAME, empty=True),
        role=checks.one_of(KEY_ROLES),
        scopes=checks.many(checks.one_of(AccessScope), most=len(AccessScope), what="scopes"),
        expires_at=optional(checks.instant),
    )
    async def create(
        self,
        *,
        tenant: str,
        role: Role | str,
        name: str = "",
        scopes: Iterable[AccessScope | str] = (),
        expires_at: datetime | None = None,
    ) -> IssuedKey:
        """Create a key.

        Args:
            tenant: Whose data it opens; ``""`` for an operator's key.
            role: ``producer``, ``viewer``, ``tenant_admin`` or ``operator``.
            scopes: Only these of what the role may do.
            expires_at: When it ends.

        Raises:
            InvalidInputError: With every problem found.
        """
        now = self._clock.now()
        if (Role(role) is Role.OPERATOR) != (tenant == OPERATORS):
            raise InvalidInputError(["tenant: keys of operators have none, and only they"])
        given = [AccessScope(scope) for scope in scopes]
        if not effective_scopes(Role(role), given):
            raise InvalidInputError([f"scopes: none of them is of the role {Role(role)}"])
        if expires_at is not None and expires_at <= now:
            raise InvalidInputError(["expires_at: must be later than now"])
        key = ApiKey(
            id=new_id(KEY),
            tenant=tenant,
            name=name,
            role=Role(role),
            scopes=tuple(given),
            created_at=now,
            expires_at=expires_at,
        )
        key, secret = _with_secret(key, now)
        return IssuedKey(await self._store.save(key), secret)

    @checked(key_id=checks.identifier, tenant=_tenant)
    async def get(self, key_id: str, *, tenant: str) -> ApiKey:
        """Return a key.

        Raises:
            NotFoundError: The tenant has no such key.
        """
        found = await self._store.get(ApiKey, tenant, [key_id])
        if not found:
            raise NotFoundError("api key", key_id)
        return found[0]

    @checked(tenant=_tenant)
    async def list(self, *, tenant: str, limit: int = 50, after: str | None = None) -> Sequence[ApiKey]:
        """Return a page of keys in the order of their creation, from behind the id ``after``."""
        return await self._store.page(ApiKey, tenant, limit=limit, after=after)

    @checked(key_id=checks.identifier, tenant=_tenant)
    async def rotate(self, key_id: str, *, tenant: str, overlap: timedelta = timedelta(hours=24)) -> IssuedKey:
        """Give a key a new secret; the current ones stay valid for ``overlap`` (0 to 7 days).

        Raises:
            NotFoundError: The tenant has no such key.
            StateError: It has five valid secrets already.
        """
        now, secret = self._clock.now(), ""

        def rotated(key: ApiKey) -> ApiKey:
            nonlocal secret
            kept = [_ending(each, now + overlap) for each in key.live_secrets(now) if overlap or each.is_token]
            if sum(not each.is_token for each in kept) >= MAX_KEY_SECRETS:
                raise StateError(f"key {key_id} has {MAX_KEY_SECRETS} valid secrets: wait until one has ended")
            new, secret = _with_secret(attrs.evolve(key, secrets=tuple(kept)), now)
            return new

        return IssuedKey(await self._change(key_id, tenant, rotated), secret)

    @checked(key_id=checks.identifier, tenant=_tenant)
    async def revoke(self, key_id: str, *, tenant: str) -> None:
        """Remove a key: its secrets and access tokens open nothing any more.

        A process of the REST API that used it may accept it for a few more seconds.

        Raises:
            NotFoundError: The tenant has no such key.
        """
        if not await self._store.remove(ApiKey, tenant, key_id, now=self._clock.now()):
            raise NotFoundError("api key", key_id)

    @checked(secret=checks.text(most=_MAX_SECRET, empty=True))
    async def find(self, secret: str) -> ApiKey | None:
        """Return the key that a secret or an access token belongs to, if it is valid now."""
        place = place_of(secret)
        if place is None:
            return None
        found = await self._store.get(ApiKey, place[0], [place[1]])
        hashed, now = hash_of(secret), self._clock.now()
        # every hash is compared in the same time, so that none can be guessed from how long it takes
        valid = [hmac.compare_digest(each.hash, hashed) for key in found for each in key.live_secrets(now)]
        return found[0] if any(valid) else None

    @checked(key_id=checks.identifier, tenant=_tenant, lasts=checks.duration(timedelta(minutes=1), timedelta(days=1)))
    async def issue_token(self, key_id: str, *, tenant: str, lasts: timedelta = timedelta(hours=1)) -> IssuedKey:
        """Give out an access token that stands for a key for a time.

        A key has 32 tokens at the most: another one ends the oldest.

        Raises:
            NotFoundError: The tenant has no such key.
        """
        now, token = self._clock.now(), ""

        def extended(key: ApiKey) -> ApiKey:
            nonlocal token
            token = _new_secret(_TOKEN, key)
            new = ApiKeySecret(hash=hash_of(token), created_at=now, expires_at=now + lasts, is_token=True)
            live = key.live_secrets(now)
            tokens = [each for each in live if each.is_token][: MAX_ACCESS_TOKENS - 1]
            return attrs.evolve(key, secrets=(*(each for each in live if not each.is_token), new, *tokens))

        return IssuedKey(await self._change(key_id, tenant, extended), token)

    @checked(key=checks.instance(ApiKey))
    async def note_use(self, key: ApiKey) -> None:
        """Record that a key was used, at most once an hour."""
        now = self._clock.now()
        if key.last_used_at is not None and now - key.last_used_at < COARSE:
            return
        try:
            await self._store.save(attrs.evolve(key, last_used_at=now))
        except StaleWriteError:
            return  # another process has recorded it, or the key was changed: the next use tells

    async def _change(self, key_id: str, tenant: str, make: Callable[[ApiKey], ApiKey]) -> ApiKey:
        return await change(lambda: self.get(key_id, tenant=tenant), make, self._store.save)


def place_of(secret: str) -> tuple[str, str] | None:
    """Return the tenant and the id of the key that a secret names, whether or not there is such a key."""
    match = _GRAMMAR.fullmatch(secret)
    if match is None:
        return None
    encoded, ulid = match.groups()
    try:
        tenant = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return None if _tenant(tenant) else (tenant, KEY + ulid)


def hash_of(secret: str) -> str:
    """Return what is stored of a secret."""
    return sha256(secret.encode()).hexdigest()


def _new_secret(prefix: str, key: ApiKey) -> str:
    tenant = base64.urlsafe_b64encode(key.tenant.encode()).decode().rstrip("=")
    return f"{prefix}{tenant}.{key.id.removeprefix(KEY)}.{random.token_urlsafe(32)}"


def _with_secret(key: ApiKey, now: datetime) -> tuple[ApiKey, str]:
    secret = _new_secret(_SECRET, key)
    new = ApiKeySecret(hash=hash_of(secret), created_at=now)
    return attrs.evolve(key, secrets=(new, *key.secrets), hint=f"{secret[:-39]}…"), secret


def _ending(secret: ApiKeySecret, at: datetime) -> ApiKeySecret:
    ends_before = secret.expires_at is not None and secret.expires_at <= at
    return secret if ends_before else attrs.evolve(secret, expires_at=at)
