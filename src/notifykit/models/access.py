"""Who may do what over the REST API: roles, scopes, and API keys as they are stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import attrs

from .checks import field_check, listed, many, one_of, text

#: The tenant of keys for operators, who act for any tenant.
OPERATORS: Final = ""
MAX_KEY_NAME = 128
#: How many secrets of a key, and how many access tokens, are kept.
MAX_KEY_SECRETS, MAX_ACCESS_TOKENS = 5, 32


class AccessScope(StrEnum):
    """What a caller may do: each route of the API asks for one of these."""

    EVENTS_READ = "events:read"
    EVENTS_WRITE = "events:write"
    ENDPOINTS_READ = "endpoints:read"
    ENDPOINTS_WRITE = "endpoints:write"
    SUBSCRIPTIONS_READ = "subscriptions:read"
    SUBSCRIPTIONS_WRITE = "subscriptions:write"
    DELIVERIES_READ = "deliveries:read"
    DELIVERIES_WRITE = "deliveries:write"
    RECIPIENTS_READ = "recipients:read"
    RECIPIENTS_WRITE = "recipients:write"
    PREFERENCES_READ = "preferences:read"
    PREFERENCES_WRITE = "preferences:write"
    INBOX_READ = "inbox:read"
    INBOX_WRITE = "inbox:write"
    TEMPLATES_READ = "templates:read"
    TEMPLATES_WRITE = "templates:write"
    SUPPRESSIONS_READ = "suppressions:read"
    SUPPRESSIONS_WRITE = "suppressions:write"
    KEYS_READ = "keys:read"
    KEYS_WRITE = "keys:write"
    SYSTEM_READ = "system:read"
    SYSTEM_WRITE = "system:write"


class Role(StrEnum):
    """What kind of caller a key or a token is for.

    Attributes:
        PRODUCER: A program that publishes events and reads what became of them.
        VIEWER: Reads everything of its tenant but its keys.
        TENANT_ADMIN: Does everything in its tenant.
        OPERATOR: Does everything in every tenant, which the request names.
        RECIPIENT: A person: their own preferences and inbox.
    """

    PRODUCER = "producer"
    VIEWER = "viewer"
    TENANT_ADMIN = "tenant_admin"
    OPERATOR = "operator"
    RECIPIENT = "recipient"


_ALL = frozenset(AccessScope)
_READ = frozenset(scope for scope in AccessScope if scope.endswith(":read"))
_OF_SYSTEM = frozenset({AccessScope.SYSTEM_READ, AccessScope.SYSTEM_WRITE})
#: What each role may do; the scopes of a key or a token can only take away.
ROLE_SCOPES: Mapping[Role, frozenset[AccessScope]] = {
    Role.PRODUCER: frozenset({AccessScope.EVENTS_READ, AccessScope.EVENTS_WRITE, AccessScope.DELIVERIES_READ}),
    Role.VIEWER: _READ - {AccessScope.KEYS_READ} - _OF_SYSTEM,
    Role.TENANT_ADMIN: _ALL - _OF_SYSTEM,
    Role.OPERATOR: _ALL,
    Role.RECIPIENT: frozenset(
        {
            AccessScope.PREFERENCES_READ,
            AccessScope.PREFERENCES_WRITE,
            AccessScope.INBOX_READ,
            AccessScope.INBOX_WRITE,
        }
    ),
}
#: Roles that a key can have: a person is known to the host, not by a key.
KEY_ROLES = tuple(role for role in Role if role is not Role.RECIPIENT)


def effective_scopes(role: Role, scopes: Iterable[str]) -> frozenset[AccessScope]:
    """Return what a caller may do: what the role may, or of that the ``scopes`` if any are given."""
    allowed = ROLE_SCOPES[role]
    given = frozenset(scopes)
    return frozenset(scope for scope in allowed if scope in given) if given else allowed


@attrs.frozen(kw_only=True)
class ApiKeySecret:
    """The hash of one secret of a key.

    Attributes:
        hash: SHA-256 of the secret, in hexadecimal: it has 256 random bits, so that a slow hash would add nothing.
        is_token: Whether it is an access token, which was given out for the key.
    """

    hash: str = attrs.field(repr=False)
    created_at: datetime
    expires_at: datetime | None = None
    is_token: bool = False


def _as_scopes(scopes: Iterable[str]) -> Any:
    return (scopes,) if isinstance(scopes, str) else listed(scopes, len(AccessScope))


@attrs.frozen(kw_only=True)
class ApiKey:
    """A key of the REST API, without its secret.

    Attributes:
        tenant: Whose data it opens; empty for an operator's.
        name: What people call it.
        scopes: Only these of what its role may do; none at all means all of it.
        secrets: The newest first; after a rotation more than one may be valid for a time.
        hint: How the newest secret begins.
        expires_at: When it ends; ``None`` for never.
        last_used_at: When it was last used, to the hour.
        version: How often the record has been saved; 0 until it is.
    """

    id: str
    tenant: str
    name: str = attrs.field(default="", validator=field_check(text(most=MAX_KEY_NAME, empty=True)))
    role: Role = attrs.field(validator=field_check(one_of(KEY_ROLES)))
    scopes: tuple[AccessScope, ...] = attrs.field(
        default=(),
        converter=_as_scopes,
        validator=field_check(many(one_of(AccessScope), most=len(AccessScope), what="scopes")),
    )
    secrets: tuple[ApiKeySecret, ...] = ()
    hint: str = ""
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    version: int = 0

    def is_valid(self, hashed: str, now: datetime) -> bool:
        """Return whether a secret with this hash opens the API at ``now``."""
        return any(each.hash == hashed for each in self.live_secrets(now))

    def live_secrets(self, now: datetime) -> tuple[ApiKeySecret, ...]:
        """Return the secrets that have not expired; none if the key itself has."""
        if self.expires_at is not None and self.expires_at <= now:
            return ()
        return tuple(each for each in self.secrets if each.expires_at is None or each.expires_at > now)


@attrs.frozen(kw_only=True)
class UnreadableApiKey(ApiKey):
    """Stands in for a key whose row is damaged: no secret opens anything."""
