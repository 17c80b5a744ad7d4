"""Callers with a JSON Web Token of the host's identity provider (RFC 7519, 7517, 8725)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import attrs
import httpx

from ...errors import ConfigurationError, MissingExtraError
from ...models.access import KEY_ROLES, AccessScope, Role, effective_scopes
from ...models.checks import field_check, mapping, optional, text
from ...models.checks import tenant as tenant_check
from .callers import Caller, person

#: Asymmetric ones only: with a shared secret whoever checks tokens could make them.
ALGORITHMS = ("RS256", "ES256", "EdDSA")
#: Seconds for which keys are kept, and between two looks for an unknown one.
_KEPT, _PAUSE = 600.0, 30.0
_LEEWAY = 30
_MAX_TOKEN = 8_192


def _bad_options(problems: Any) -> ConfigurationError:
    return ConfigurationError("JwtAccess: " + "; ".join(problems))


_word = field_check(text(most=255), _bad_options)


@attrs.frozen(kw_only=True)
class JwtAccess:
    """Which tokens are accepted, and what their claims mean.

    Attributes:
        issuer: What ``iss`` must be.
        audience: What ``aud`` must contain.
        jwks_url: Where the issuer's keys are (JWKS); fetched when first needed and every ten minutes.
        keys: The keys themselves in place of that, in PEM, by their ``kid`` (``""`` for tokens without one).
        tenant_claim: The claim with the tenant.
        role_claim: The claim with the role; without it the token is a person's.
        recipient_claim: The claim with the person's id, for a token without a role.
        scope_claim: The claim with the scopes, separated by spaces, or as a list: only these of what the role may do.

    Raises:
        ConfigurationError: A field is not what it should be.
    """

    issuer: str = attrs.field(validator=_word)
    audience: str = attrs.field(validator=_word)
    jwks_url: str | None = attrs.field(default=None, validator=field_check(optional(text(most=2048)), _bad_options))
    keys: Mapping[str, str] = attrs.field(
        factory=dict,
        validator=field_check(mapping(text(most=255, empty=True), text(lines=True), most=100), _bad_options),
        repr=False,
    )
    tenant_claim: str = attrs.field(default="tenant", validator=_word)
    role_claim: str = attrs.field(default="role", validator=_word)
    recipient_claim: str = attrs.field(default="sub", validator=_word)
    scope_claim: str = attrs.field(default="scope", validator=_word)

    def __attrs_post_init__(self) -> None:
        if (self.jwks_url is None) == (not self.keys):
            raise ConfigurationError("JwtAccess: give either jwks_url or keys")


class JwtCallers:
    """Finds callers by their tokens."""

    def __init__(self, access: JwtAccess, client: httpx.AsyncClient | None = None) -> None:
        try:
            import jwt
        except ImportError as error:
            raise MissingExtraError("JSON Web Tokens", "server") from error
        self._jwt = jwt
        self._access = access
        self._client = client
        self._keys: dict[str, Any] = {}
        self._fetched_at = float("-inf")
        self._fetching = asyncio.Lock()
        try:
            self._pem = {kid: _public_key(pem) for kid, pem in access.keys.items()}
        except ValueError as error:
            raise ConfigurationError(f"JwtAccess: keys: {error}") from error

    async def find(self, token: str) -> Caller | None:
        """Return the caller whom a token names; ``None`` if it is not valid."""
        if len(token) > _MAX_TOKEN:
            return None
        jwt, access = self._jwt, self._access
        try:
            header = jwt.get_unverified_header(token)
            key = await self._key(header.get("kid"))
            if key is None or header.get("alg") not in ALGORITHMS:
                return None
            claims = jwt.decode(
                token,
                key,
                algorithms=[header["alg"]],
                audience=access.audience,
                issuer=access.issuer,
                leeway=_LEEWAY,
                options={"require": ["exp", "iss", "aud"]},
            )
        except (jwt.PyJWTError, TypeError, ValueError, AttributeError):
            return None
        return self._caller(claims)

    def _caller(self, claims: Mapping[str, Any]) -> Caller | None:
        access = self._access
        tenant, role = claims.get(access.tenant_claim), claims.get(access.role_claim)
        given = claims.get(access.scope_claim, ())
        named = tuple(given.split() if isinstance(given, str) else given if isinstance(given, list) else ())
        # Scopes of the identity provider's own, such as `openid`, restrict nothing here.
        scopes = [scope for scope in named if scope in tuple(AccessScope)]
        subject = str(claims.get("sub", ""))[:255]
        if role is None:
            recipient = claims.get(access.recipient_claim)
            if tenant_check(tenant) or not isinstance(recipient, str):
                return None
            try:
                return person(str(tenant), recipient, effective_scopes(Role.RECIPIENT, scopes), by_session=False)
            except ValueError:
                return None
        if role not in KEY_ROLES:
            return None
        if Role(role) is not Role.OPERATOR and tenant_check(tenant):
            return None
        return Caller(
            subject=subject,
            role=Role(role),
            scopes=effective_scopes(Role(role), scopes),
            tenant=None if Role(role) is Role.OPERATOR else str(tenant),
        )

    async def _key(self, kid: Any) -> Any:
        name = kid if isinstance(kid, str) else ""
        if self._access.jwks_url is None:
            return self._pem.get(name)
        async with self._fetching:
            age = time.monotonic() - self._fetched_at
            if age > _KEPT or (name not in self._keys and age > _PAUSE):
                await self._fetch(self._access.jwks_url)
        return self._keys.get(name)

    async def _fetch(self, url: str) -> None:
        """Read the issuer's keys; if it does not answer, those that are known stay."""
        self._fetched_at = time.monotonic()
        client = self._client or httpx.AsyncClient(timeout=5)
        try:
            answer = (await client.get(url)).raise_for_status().json()
            found = self._jwt.PyJWKSet.from_dict(answer)
        except (httpx.HTTPError, self._jwt.PyJWTError, ValueError, TypeError, AttributeError):
            return
        finally:
            if self._client is None:
                await client.aclose()
        self._keys = {key.key_id or "": key.key for key in found.keys}


def _public_key(pem: str) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    return load_pem_public_key(pem.encode())
