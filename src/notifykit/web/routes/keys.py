"""A tenant's keys of this API."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import attrs

from ...models.access import KEY_ROLES, MAX_KEY_NAME, AccessScope, ApiKey, Role, effective_scopes
from ...models.checks import duration, field_check, one_of, text
from ..problems import Refusal
from ..route import Call, PageOf, PageQuery, Routes, described, page_of

ROUTES = Routes("API keys")


@attrs.frozen(kw_only=True)
class KeyView:
    """A key of this API, without its secret.

    Attributes:
        scopes: Only these of what its role may do; none at all means all of it.
        hint: How its secret begins.
        last_used_at: When it was last used, to the hour.
    """

    id: str
    name: str
    role: Role
    scopes: tuple[AccessScope, ...]
    hint: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None

    @classmethod
    def of(cls, key: ApiKey) -> KeyView:
        """Return what is shown of a key."""
        return cls(**{field.name: getattr(key, field.name) for field in attrs.fields(cls)})


@attrs.frozen(kw_only=True)
class KeyWithSecret:
    """A key with its secret.

    Attributes:
        secret: Shown in this answer only.
    """

    key: KeyView
    secret: str


@attrs.frozen(kw_only=True)
class NewKey:
    """A key to create.

    Attributes:
        scopes: Only these of what the role may do.
        expires_at: When it ends.
    """

    name: str = described(text(most=MAX_KEY_NAME, empty=True), default="", maxLength=MAX_KEY_NAME)
    role: Role = attrs.field(
        validator=field_check(one_of(KEY_ROLES)), metadata={"schema": {"enum": [role.value for role in KEY_ROLES]}}
    )
    scopes: tuple[AccessScope, ...] = ()
    expires_at: datetime | None = None


def require_no_more(call: Call, scopes: frozenset[AccessScope]) -> None:
    """Refuse to give out more than the caller may do: a key must not be a way to another one's rights."""
    if more := scopes - call.caller.scopes:
        named = ", ".join(sorted(more))
        raise Refusal(403, "forbidden", f"the key would have scopes that you do not have yourself: {named}")


@ROUTES.add("POST", "/v1/keys", AccessScope.KEYS_WRITE, body=NewKey, answer=KeyWithSecret, status=201)
async def create_key(call: Call) -> Any:
    """Create a key of this tenant; the answer has its secret."""
    new: NewKey = call.body
    require_no_more(call, effective_scopes(new.role, new.scopes))
    issued = await call.kit.api_keys.create(
        tenant=call.tenant, role=new.role, name=new.name, scopes=new.scopes, expires_at=new.expires_at
    )
    call.about(issued.key.id)
    return KeyWithSecret(key=KeyView.of(issued.key), secret=issued.secret)


@ROUTES.add("GET", "/v1/keys", AccessScope.KEYS_READ, query=PageQuery, answer=PageOf(KeyView))
async def list_keys(call: Call) -> Any:
    """List the keys of this tenant in the order of their creation."""
    query: PageQuery = call.query
    found = await call.kit.api_keys.list(tenant=call.tenant, limit=query.limit + 1, after=query.cursor)
    return page_of(found, query.limit, KeyView.of)


@ROUTES.add("GET", "/v1/keys/{key_id}", AccessScope.KEYS_READ, answer=KeyView)
async def get_key(call: Call) -> Any:
    """Return a key."""
    return KeyView.of(await call.kit.api_keys.get(call.path["key_id"], tenant=call.tenant))


@attrs.frozen(kw_only=True)
class KeyRotation:
    """How a secret is replaced.

    Attributes:
        overlap: For how many seconds the current one stays valid, up to 7 days.
    """

    overlap: timedelta = described(
        duration(timedelta(0), timedelta(days=7)), default=timedelta(hours=24), minimum=0, maximum=7 * 86_400
    )


@ROUTES.add("POST", "/v1/keys/{key_id}/rotate", AccessScope.KEYS_WRITE, body=KeyRotation, answer=KeyWithSecret)
async def rotate_key(call: Call) -> Any:
    """Give a key a new secret; the answer has it."""
    key = await call.kit.api_keys.get(call.path["key_id"], tenant=call.tenant)
    require_no_more(call, effective_scopes(key.role, key.scopes))
    issued = await call.kit.api_keys.rotate(key.id, tenant=call.tenant, overlap=call.body.overlap)
    return KeyWithSecret(key=KeyView.of(issued.key), secret=issued.secret)


@ROUTES.add("DELETE", "/v1/keys/{key_id}", AccessScope.KEYS_WRITE)
async def revoke_key(call: Call) -> None:
    """Remove a key; a process that used it may accept it for a few more seconds."""
    await call.kit.api_keys.revoke(call.path["key_id"], tenant=call.tenant)
