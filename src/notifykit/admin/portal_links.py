"""Links that open the server's pages in a browser: a tenant's portal, the operators', or a person's preferences."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import timedelta

from ..errors import ConfigurationError, InvalidInputError
from ..models import checks
from ..models.access import KEY_ROLES, OPERATORS, AccessScope, Role, effective_scopes
from ..models.checks import optional
from ..models.page_access import MAX_LINK, MAX_PERSONAL_LINK, MAX_SESSION, SCHEMES, PageAccess
from ..models.recipient import recipient_id
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
            lasts: How long the session lasts that it opens, at most 12 hours; 30 minutes without a visit end it
                earlier.
            base_url: Where the server is; by default the kit's ``public_url``, and ``""`` for the path alone.

        Raises:
            ConfigurationError: Neither ``base_url`` nor the kit's ``public_url`` is given.
            InvalidInputError: With every problem found.
        """
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
        return self._link(access, "operations" if access.role is Role.OPERATOR else "portal", base_url)

    @checked(
        recipient_id=recipient_id,
        scheme=checks.one_of(SCHEMES),
        expires_in=checks.duration(timedelta(seconds=10), MAX_PERSONAL_LINK),
        lasts=checks.duration(timedelta(minutes=1), MAX_SESSION),
        base_url=optional(checks.text(most=2048, empty=True)),
    )
    def preferences_url(
        self,
        recipient_id: str,
        *,
        tenant: str,
        scheme: str = "auto",
        expires_in: timedelta = timedelta(days=30),
        lasts: timedelta = timedelta(hours=1),
        base_url: str | None = None,
    ) -> str:
        """Return a link that opens a person's preference centre, such as for the foot of an e-mail.

        Whoever has the link sees the person's addresses, and can change what the person has chosen.

        Args:
            scheme: The colours: ``auto`` (as the reader's system), ``light`` or ``dark``.
            expires_in: How long the link works, at most 366 days.
            lasts: How long the session lasts that it opens, at most 12 hours; 30 minutes without a visit end it
                earlier.
            base_url: Where the server is; by default the kit's ``public_url``.

        Raises:
            ConfigurationError: Neither ``base_url`` nor the kit's ``public_url`` is given.
            InvalidInputError: With every problem found.
        """
        access = PageAccess(
            tenant=tenant,
            role=Role.RECIPIENT,
            scopes=(AccessScope.PREFERENCES_READ, AccessScope.PREFERENCES_WRITE),
            subject=recipient_id,
            scheme=scheme,
            nonce=secrets.token_urlsafe(12),
            lasts=lasts,
            expires_at=self._clock.now() + expires_in,
        )
        return self._link(access, "preferences", base_url)

    def _link(self, access: PageAccess, area: str, base_url: str | None) -> str:
        base = self._public_url if base_url is None else base_url.rstrip("/")
        if base is None:
            raise ConfigurationError("there is no page to link to: set public_url= or NOTIFYKIT_PUBLIC_URL")
        return f"{base}/{area}/enter/{self.tokens.sign_link(access)}"
