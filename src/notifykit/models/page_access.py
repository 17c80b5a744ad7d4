"""Who may see the pages of the server: what a link to the portal says, and a browser's session."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from .access import OPERATORS, ROLE_SCOPES, AccessScope, Role
from .checks import MAX_ID, duration, either, field_check, instant, many, one_of, optional, text
from .checks import tenant as tenant_check

#: How pages are coloured; ``auto`` follows the reader's system.
SCHEMES = ("auto", "light", "dark")
#: The longest time that a link works, and that one of a person to their preferences does.
MAX_LINK, MAX_PERSONAL_LINK = timedelta(days=1), timedelta(days=366)
#: The longest time that a session lasts, and that it does without a visit.
MAX_SESSION, MAX_IDLE = timedelta(hours=12), timedelta(minutes=30)


@attrs.frozen(kw_only=True)
class PageAccess:
    """What a link opens, or a session has opened.

    Attributes:
        tenant: Whose data; empty for an operator.
        scopes: What its holder may do; with none, nothing.
        subject: The id of an API key that the session ends with, the id of a person whose own pages it opens, or what
            audit records call the caller.
        scheme: How the pages are coloured: ``auto``, ``light`` or ``dark``.
        nonce: What tells this one from others.
        lasts: How long a session that a link opens lasts.
        expires_at: When it ends.
        idle_until: When a session ends if no page is visited before; ``None`` of a link, and of a session of the host.
    """

    tenant: str = attrs.field(validator=field_check(either(one_of({OPERATORS}), tenant_check)))
    role: Role = attrs.field(validator=field_check(one_of(Role)))
    scopes: tuple[AccessScope, ...] = attrs.field(
        validator=field_check(many(one_of(AccessScope), most=len(AccessScope), what="scopes"))
    )
    subject: str = attrs.field(validator=field_check(text(most=MAX_ID)))
    scheme: str = attrs.field(default="auto", validator=field_check(one_of(SCHEMES)))
    nonce: str = attrs.field(validator=field_check(text(most=64)), repr=False)
    lasts: timedelta = attrs.field(validator=field_check(duration(timedelta(minutes=1), MAX_SESSION)))
    expires_at: datetime = attrs.field(validator=field_check(instant))
    idle_until: datetime | None = attrs.field(default=None, validator=field_check(optional(instant)))

    @property
    def may(self) -> frozenset[AccessScope]:
        """What its holder may do: never more than the role."""
        return ROLE_SCOPES[self.role].intersection(self.scopes)
