"""Links that open the server's pages in a browser: a tenant's portal, or the operators' pages."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import timedelta

from ..errors import ConfigurationError, InvalidInputError
from ..models import checks
from ..models.access import KEY_ROLES, OPERATORS, AccessScope, Role, effective_scopes
from ..models.checks import optional
from ..models.page_access import MAX_LINK, MAX_SESSION, SCHEMES, PageAccess
from ..policies.arguments import checked
from ..ports import Clock
from ..vault import PageTokens


class PortalLinks:
    """Links to the portal.  Nothing is stored: the link itself says what it opens.

    Attributes:
        tokens: Signs and reads them, and the sessions that they open.
    """

    def __init__(self, clock: Clock, tokens: PageTokens, public_url: str | None) -> None:
        self._clock = clock
        self.tokens = tokens
        self._public_url = public_url

    @checked(
        tenant=checks.either(checks.one_of({OPERATORS}), checks.tenant),
        role=checks.one_of(KEY_ROLES),
        scopes=checks.many(checks.one_of(AccessScope), most=len(AccessScope), what="scopes"),
        subject=optional(checks.identifier),
        scheme=checks.one_of(SCHEMES),
        expires_in=checks.duration(timedelta(seconds=10), MAX_LINK),
        lasts=checks.duration(timedelta(minutes=1), MAX_SESSION),
        base_url=optional(checks.text(most=2048, empty=True)),
    )
    def url(
        self,
        *,
        tenant: str,
        role: Role | str = Role.TENANT_ADMIN,
        scopes: Iterable[AccessScope | str] = (),
        subject: str | None = None,
        scheme: str = "auto",
        expires_in: timedelta = timedelta(minutes=5),
        lasts: timedelta = timedelta(hours=1),
        base_url: str | None = None,
    ) -> str:
        """Return a link that opens a tenant's portal: have a browser follow it at once.

        Args:
            tenant: Whose portal; ``""`` with the role ``operator`` for the operators' pages.
            role: ``tenant_admin``, or ``viewer`` for a portal in which nothing can be changed.
            scopes: Only these of what the role may do; none at all means all of it.
            subject: What audit records call the caller, such as your id of the signed in person; with the id of an API
                key the session ends with that key.
            scheme: The colours: ``auto`` (as the reader's system), ``light`` or ``dark``.
            expires_in: How long the link works.
            lasts: How long the session lasts that it opens.
            base_url: Where the server is; by default the kit's ``public_url``, and ``""`` for the path alone.

        Raises:
            ConfigurationError: Neither ``base_url`` nor the kit's ``public_url`` is given.
            InvalidInputError: With every problem found.
        """
        base = self._public_url if base_url is None else base_url.rstrip("/")
        if base is None:
            raise ConfigurationError("there is no portal to link to: set public_url= or NOTIFYKIT_PUBLIC_URL")
        if (Role(role) is Role.OPERATOR) != (tenant == OPERATORS):
            raise InvalidInputError(["tenant: links for operators have none, and only they"])
        allowed = effective_scopes(Role(role), scopes)
        if not allowed:
            raise InvalidInputError([f"scopes: none of them is of the role {role}"])
        access = PageAccess(
            tenant=tenant,
            role=Role(role),
            scopes=tuple(sorted(allowed)),
            subject=subject or "portal-link",
            scheme=scheme,
            nonce=secrets.token_urlsafe(12),
            lasts=lasts,
            expires_at=self._clock.now() + expires_in,
        )
        area = "operations" if Role(role) is Role.OPERATOR else "portal"
        return f"{base}/{area}/enter/{self.tokens.sign_link(access)}"
