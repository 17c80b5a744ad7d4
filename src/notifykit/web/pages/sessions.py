"""Sessions of browsers: a signed cookie names the user, and every form proves that it is of our own page."""

from __future__ import annotations

import contextlib
import secrets
from datetime import timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import attrs
from starlette.requests import Request
from starlette.responses import Response

from ...errors import InvalidLinkError, NotFoundError, StaleWriteError
from ...models.access import OPERATORS, Role
from ...models.ended_session import EndedSession, ended_id
from ...models.page_access import MAX_IDLE, PageAccess
from ..access.callers import Caller
from ..response_headers import is_https
from .options import PageOptions

if TYPE_CHECKING:
    from ...kit import Notifykit

PORTAL, OPERATIONS, PREFERENCES = "portal", "operations", "preferences"
#: What sites of :attr:`PageOptions.embedded_in` may show in a frame.
EMBEDDABLE = frozenset({PORTAL, PREFERENCES})
_AREAS = {Role.OPERATOR: OPERATIONS, Role.RECIPIENT: PREFERENCES}
#: How long a session lasts that an API key has opened; it ends with the key.
SIGNED_IN = timedelta(hours=8)
_PROLONGED_EVERY = timedelta(minutes=1)
_KEY = "key_"


class Sessions:
    """Reads and sets the cookies of an application."""

    def __init__(self, kit: Notifykit, options: PageOptions) -> None:
        self._kit = kit
        self._options = options
        self.tokens = kit.portal_links.tokens

    async def find(self, request: Request, area: str) -> PageAccess | None:
        """Return what the session of a request has opened, if there is one that has not ended."""
        try:
            access = self.tokens.read_session(request.cookies.get(_name(area), ""), now=self._kit.clock.now())
        except InvalidLinkError:
            return None
        if area_of(access.role) != area:
            return None
        return access if await self._is_alive(access) else None

    async def _is_alive(self, access: PageAccess) -> bool:
        """Return whether nobody has signed out of the session, and the key that has opened it still opens anything."""
        if await self._kit.store.get(EndedSession, OPERATORS, [ended_id(access.nonce, access.expires_at)]):
            return False
        if access.role is Role.RECIPIENT or not access.subject.startswith(_KEY):
            return True
        for tenant in {access.tenant, OPERATORS}:
            try:
                key = await self._kit.api_keys.get(access.subject, tenant=tenant)
            except NotFoundError:
                continue
            return bool(key.live_secrets(self._kit.clock.now()))
        return False

    def from_link(self, token: str) -> PageAccess:
        """Return the session that a link opens.

        Raises:
            InvalidLinkError: The link does not work, or not any more.
        """
        now = self._kit.clock.now()
        link = self.tokens.read_link(token, now=now)
        return attrs.evolve(link, nonce=_nonce(), expires_at=now + link.lasts, idle_until=now + MAX_IDLE)

    def of_person(self, caller: Caller) -> PageAccess:
        """Return the session of a person whom the host has signed in."""
        person = f"{caller.tenant} {caller.recipient}".encode()
        return PageAccess(
            tenant=caller.tenant or "",
            role=Role.RECIPIENT,
            scopes=tuple(sorted(caller.scopes)),
            subject=caller.recipient or "",
            nonce=blake2b(person, digest_size=16).hexdigest(),
            lasts=SIGNED_IN,
            expires_at=self._kit.clock.now() + SIGNED_IN,
        )

    def from_caller(self, caller: Caller) -> PageAccess:
        """Return the session that an API key opens."""
        now = self._kit.clock.now()
        return PageAccess(
            tenant=OPERATORS if caller.tenant is None else caller.tenant,
            role=caller.role,
            scopes=tuple(sorted(caller.scopes)),
            subject=caller.subject,
            nonce=_nonce(),
            lasts=SIGNED_IN,
            expires_at=now + SIGNED_IN,
            idle_until=now + MAX_IDLE,
        )

    def start(self, request: Request, response: Response, area: str, access: PageAccess) -> None:
        """Set the cookie of a session."""
        age = int((access.expires_at - self._kit.clock.now()).total_seconds())
        self._set(request, response, area, self.tokens.sign_session(access), age)

    def prolong(self, request: Request, response: Response, area: str, access: PageAccess) -> None:
        """Have a session go on after a visit; what the scripts of a page read by themselves is none."""
        is_visit = request.method == "POST" or request.headers.get("sec-fetch-mode", "navigate") == "navigate"
        idle_until = self._kit.clock.now() + MAX_IDLE
        if is_visit and access.idle_until is not None and idle_until - access.idle_until >= _PROLONGED_EVERY:
            self.start(request, response, area, attrs.evolve(access, idle_until=idle_until))

    async def end(self, request: Request, response: Response, area: str) -> PageAccess | None:
        """End the session of a request, for every process, and have the browser forget it; return what it was."""
        access = await self.find(request, area)
        if access is not None:
            with contextlib.suppress(StaleWriteError):  # ended by another request at this moment
                await self._kit.store.save(EndedSession(id=ended_id(access.nonce, access.expires_at), area=area))
        self._set(request, response, area, "", 0)
        return access

    def _set(self, request: Request, response: Response, area: str, value: str, age: int) -> None:
        path = f"{request.scope.get('root_path', '')}/{area}"
        parts = [f"{_name(area)}={value}", f"Max-Age={age}", f"Path={path}", "HttpOnly"]
        is_secure = is_https(request.scope, self._kit)
        if is_secure:
            parts.append("Secure")
        # In a frame of another site the cookie is for that site's pages alone (CHIPS); browsers want it secure then.
        is_framed = is_secure and area in EMBEDDABLE and self._options.embedded_in
        parts.append("SameSite=None; Partitioned" if is_framed else "SameSite=Lax")
        response.headers.append("Set-Cookie", "; ".join(parts))


def area_of(role: Role) -> str:
    """Return which pages a role has."""
    return _AREAS.get(role, PORTAL)


def is_of_this_site(request: Request) -> bool:
    """Return whether a form was sent by a page of this server, as far as the browser tells."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


def _name(area: str) -> str:
    return f"notifykit_{area}"


def _nonce() -> str:
    return secrets.token_urlsafe(12)
