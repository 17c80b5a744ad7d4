"""A caller, and what a route asks of one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
from starlette.requests import Request

from ...errors import InvalidInputError
from ...models.access import AccessScope, Role
from ...models.checks import field_check, text
from ...models.checks import tenant as tenant_check
from ...models.recipient import recipient_id
from ..problems import Refusal

#: How an operator names the tenant.
TENANT_HEADER = "Notifykit-Tenant"


@attrs.frozen(kw_only=True)
class EndUser:
    """A person whom the host has signed in.

    Attributes:
        tenant: Of the person.
        recipient_id: The host's own id of the person.

    Raises:
        InvalidInputError: A field is not what it should be.
    """

    tenant: str = attrs.field(validator=field_check(tenant_check))
    recipient_id: str = attrs.field(validator=field_check(text(most=255)))


#: Returns the person whom the host's session in a request is of, if there is one.
FindEndUser = Callable[[Request], EndUser | Awaitable[EndUser | None] | None]


@attrs.frozen(kw_only=True)
class Caller:
    """Who sends a request, and what they may do.

    Attributes:
        subject: The id of the key, the subject of the token, or the person's id.
        tenant: Whose data they may see; ``None`` for an operator, whose requests name it.
        recipient: The person, if it is one: they see what is their own.
        by_session: Whether the browser's own session says so, which other sites could make use of.
    """

    subject: str
    role: Role
    scopes: frozenset[AccessScope]
    tenant: str | None
    recipient: str | None = None
    by_session: bool = False

    def require(self, scope: AccessScope) -> None:
        """Refuse a caller who lacks a scope.

        Raises:
            Refusal: 403.
        """
        if scope not in self.scopes:
            raise Refusal(403, "forbidden", f"this needs the scope {scope}, and the role {self.role} does not give it")

    def tenant_of(self, request: Request) -> str:
        """Return the tenant that a request is about.

        Raises:
            InvalidInputError: An operator's request names none.
        """
        if self.tenant is not None:
            return self.tenant
        named = request.headers.get(TENANT_HEADER, "")
        if wrong := tenant_check(named):
            what = f"{wrong}; requests of operators name the tenant in this header"
            raise InvalidInputError([f"header.{TENANT_HEADER}: {what}"])
        return named


def person(tenant: str, recipient: str, scopes: frozenset[AccessScope], *, by_session: bool) -> Caller:
    """Return the caller that a person is.

    Raises:
        InvalidInputError: It is no id of a recipient.
    """
    if wrong := recipient_id(recipient):
        raise InvalidInputError([f"recipient: {wrong}"])
    return Caller(
        subject=recipient,
        role=Role.RECIPIENT,
        scopes=scopes,
        tenant=tenant,
        recipient=recipient,
        by_session=by_session,
    )
