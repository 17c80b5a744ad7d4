"""Links that open a tenant's portal in a browser."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import attrs

from ...errors import InvalidInputError
from ...models.access import AccessScope, Role, effective_scopes
from ...models.checks import duration, field_check, one_of
from ...models.page_access import MAX_LINK, MAX_SESSION, SCHEMES
from ..route import Call, Routes, described
from .keys import require_no_more

ROUTES = Routes("Portal")
_ROLES = (Role.TENANT_ADMIN, Role.VIEWER)


@attrs.frozen(kw_only=True)
class NewPortalLink:
    """What a link opens.

    Attributes:
        role: ``tenant_admin``, or ``viewer`` for a portal in which nothing can be changed.
        scopes: Only these of what the role may do.
        scheme: The colours: ``auto`` (as the reader's system), ``light`` or ``dark``.
        expires_in: For how many seconds the link works, up to a day.
        lasts: For how many seconds the session lasts that it opens, up to twelve hours; half an hour without a visit
            ends it earlier.
    """

    role: Role = attrs.field(
        default=Role.TENANT_ADMIN,
        validator=field_check(one_of(_ROLES)),
        metadata={"schema": {"enum": [role.value for role in _ROLES]}},
    )
    scopes: tuple[AccessScope, ...] = ()
    scheme: str = attrs.field(
        default="auto", validator=field_check(one_of(SCHEMES)), metadata={"schema": {"enum": list(SCHEMES)}}
    )
    expires_in: timedelta = described(
        duration(timedelta(seconds=10), MAX_LINK), default=timedelta(minutes=5), minimum=10, maximum=86_400
    )
    lasts: timedelta = described(
        duration(timedelta(minutes=1), MAX_SESSION), default=timedelta(hours=1), minimum=60, maximum=43_200
    )


@attrs.frozen(kw_only=True)
class PortalLink:
    """A link to a tenant's portal.

    Attributes:
        url: Have the browser of the person whom it is for follow it: whoever has it can see the portal.
        expires_at: When it stops working.
    """

    url: str
    expires_at: datetime


@ROUTES.add("POST", "/v1/portal-links", AccessScope.KEYS_WRITE, body=NewPortalLink, answer=PortalLink, status=201)
async def create_portal_link(call: Call) -> Any:
    """Create a link that opens this tenant's portal; the session ends with the key that asks for it."""
    new: NewPortalLink = call.body
    allowed = effective_scopes(new.role, new.scopes)
    if new.scopes:
        require_no_more(call, allowed)
    allowed &= call.caller.scopes
    if not allowed:
        raise InvalidInputError(["scopes: the portal would show nothing"])
    url = call.kit.portal_links.url(
        tenant=call.tenant,
        role=new.role,
        scopes=sorted(allowed),
        subject=call.caller.subject,
        scheme=new.scheme,
        expires_in=new.expires_in,
        lasts=new.lasts,
        base_url=call.kit.public_url or str(call.request.base_url),
    )
    return PortalLink(url=url, expires_at=call.kit.clock.now() + new.expires_in)
