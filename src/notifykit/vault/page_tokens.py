"""The tokens of the server's pages: links to the portal, sessions of browsers, and what forms prove."""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from ..errors import InvalidInputError, InvalidLinkError
from ..models.access import ROLE_SCOPES, AccessScope, Role
from ..models.page_access import MAX_SESSION, PageAccess
from .ring import KeyRing, decoded, encoded
from .signed import Signer

_RANDOM_BYTES = 12


class PageTokens:
    """Signs and reads tokens; one kind is never taken for another.

    Args:
        ring: Returns the keys; called when the first token is signed or read.
    """

    def __init__(self, ring: Callable[[], KeyRing]) -> None:
        self._ring = ring
        self._links = Signer(ring, "l1", "portal link")
        self._sessions = Signer(ring, "s1", "page session")

    def sign_link(self, access: PageAccess) -> str:
        """Return the token of a link."""
        return self._links.sign(_content(access))

    def read_link(self, token: str, *, now: datetime) -> PageAccess:
        """Return what a link opens.

        Raises:
            InvalidLinkError: It was not signed with a key of the ring, was changed, or has expired.
        """
        return _access(self._links.read(token), now)

    def sign_session(self, access: PageAccess) -> str:
        """Return the value of a session's cookie."""
        return self._sessions.sign(_content(access))

    def read_session(self, token: str, *, now: datetime) -> PageAccess:
        """Return what a session has opened.

        Raises:
            InvalidLinkError: See :meth:`read_link`.
        """
        access = _access(self._sessions.read(token), now)
        if access.idle_until is None:  # signed by a version whose sessions did not end without visits
            raise InvalidLinkError("malformed")
        if access.idle_until <= now:
            raise InvalidLinkError("expired")
        return access

    def sign_form(self, nonce: str) -> str:
        """Return what a form of a session sends back, to prove that a page of ours had it.

        It differs from page to page, so that its compressed length tells nothing (the attack called BREACH).
        """
        ring, random = self._ring(), secrets.token_bytes(_RANDOM_BYTES)
        return f"{ring.current}.{encoded(random + ring.mac(random + nonce.encode(), purpose='page form'))}"

    def is_form(self, token: str, nonce: str) -> bool:
        """Return whether a page of this session had the form."""
        key_id, _, rest = token.partition(".")
        given, ring = decoded(rest) if rest.isascii() else None, self._ring()
        if given is None or key_id not in ring.ids:
            return False
        random, mac = given[:_RANDOM_BYTES], given[_RANDOM_BYTES:]
        expected = ring.mac(random + nonce.encode(), purpose="page form", key_id=key_id)
        return hmac.compare_digest(expected, mac)


def _content(access: PageAccess) -> bytes:
    fields = [
        access.tenant,
        access.role.value,
        None if access.may == ROLE_SCOPES[access.role] else [scope.value for scope in access.scopes],
        access.subject,
        access.scheme,
        access.nonce,
        int(access.lasts.total_seconds()),
        int(access.expires_at.timestamp()),
    ]
    if access.idle_until is not None:
        fields.append(int(access.idle_until.timestamp()))
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def _access(content: bytes, now: datetime) -> PageAccess:
    try:
        tenant, name, scopes, subject, scheme, nonce, lasts, expires, *idle = json.loads(content)
        role = Role(name)
        access = PageAccess(
            tenant=tenant,
            role=role,
            scopes=tuple(sorted(ROLE_SCOPES[role]) if scopes is None else map(AccessScope, scopes)),
            subject=subject,
            scheme=scheme,
            nonce=nonce,
            lasts=min(timedelta(seconds=lasts), MAX_SESSION),  # links of earlier versions may say more
            expires_at=datetime.fromtimestamp(expires, UTC),
            idle_until=datetime.fromtimestamp(idle[0], UTC) if idle else None,
        )
    except (InvalidInputError, TypeError, ValueError) as error:  # signed by another version
        raise InvalidLinkError("malformed") from error
    if access.expires_at <= now:
        raise InvalidLinkError("expired")
    return access
