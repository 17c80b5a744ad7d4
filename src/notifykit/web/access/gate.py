"""Finds out who calls: a key, a token, or the host's own session."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from starlette.requests import Request

from ...models.access import ROLE_SCOPES, Role
from ..limits import RequestLimits
from ..problems import Refusal
from .attempts import FailedAttempts
from .callers import Caller, FindEndUser, person
from .jwt import JwtAccess, JwtCallers
from .keys import KeyAccess

if TYPE_CHECKING:
    from ...kit import Notifykit


class Gate:
    """The ways in.

    Attributes:
        keys: Finds callers by API keys.
    """

    def __init__(
        self, kit: Notifykit, jwt: JwtAccess | None, recipient: FindEndUser | None, limits: RequestLimits
    ) -> None:
        self.keys = KeyAccess(kit)
        self._jwt = None if jwt is None else JwtCallers(jwt)
        self._recipient = recipient
        self._failures = FailedAttempts(limits.failures)

    async def admit(self, request: Request) -> Caller:
        """Return who sends a request.

        Raises:
            Refusal: 401 without credentials that are valid, 429 after too many such requests.
        """
        address = address_of(request)
        self.require_patience(address)
        given = request.headers.get("authorization")
        caller = await (self._by_session(request) if given is None else self._by_token(given))
        if caller is None:
            if given is not None:
                self._failures.add(address)
            raise _unauthorized(given is not None)
        return caller

    async def signed_in(self, request: Request) -> Caller | None:
        """Return the person whom the host has signed in, if there is one."""
        return await self._by_session(request)

    def require_patience(self, address: str) -> None:
        """Refuse an address that has failed too often.

        Raises:
            Refusal: 429.
        """
        if wait := self._failures.wait(address):
            seconds = max(1, round(wait))
            detail = f"too many requests with wrong credentials: try again after {seconds} s"
            raise Refusal(429, "too_many_requests", detail, {"Retry-After": str(seconds)})

    def count_failure(self, request: Request) -> None:
        """Count credentials that were wrong."""
        self._failures.add(address_of(request))

    async def _by_token(self, given: str) -> Caller | None:
        scheme, _, token = given.partition(" ")
        if scheme.lower() != "bearer":
            return None
        token = token.strip()
        if token.startswith(("nk_", "nt_")):
            return await self.keys.find(token)
        return None if self._jwt is None else await self._jwt.find(token)

    async def _by_session(self, request: Request) -> Caller | None:
        if self._recipient is None:
            return None
        found = self._recipient(request)
        user = await found if inspect.isawaitable(found) else found
        if user is None:
            return None
        return person(user.tenant, user.recipient_id, ROLE_SCOPES[Role.RECIPIENT], by_session=True)


def address_of(request: Request) -> str:
    """Return the address of the client, as the server knows it."""
    return "" if request.client is None else request.client.host


def _unauthorized(is_given: bool) -> Refusal:
    challenge = 'Bearer error="invalid_token"' if is_given else "Bearer"
    what = "the credentials are not valid, or no more" if is_given else "send Authorization: Bearer with an API key"
    return Refusal(401, "unauthorized", what, {"WWW-Authenticate": challenge})
