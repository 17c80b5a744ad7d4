"""The audit log: what callers of the REST API and of the pages did."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import attrs

from .access import OPERATORS

ENTRY = "aud_"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: More microseconds than any instant has: ids count down from it.
_LATEST = 10**17


def entry_id(at: datetime) -> str:
    """Return a new id that sorts before those of earlier instants: a page of a store then has the newest first."""
    return f"{ids_before(at)}{os.urandom(6).hex()}"


def ids_before(at: datetime) -> str:
    """Return what sorts before the ids of that instant and of earlier ones, and after those of later ones."""
    # With a digit more than instants since 1970 need: a retention may reach back before.
    return f"{ENTRY}{_LATEST - (at - _EPOCH) // timedelta(microseconds=1):018d}"


@attrs.frozen(kw_only=True)
class AuditEntry:
    """One request that changed something, or that an operator sent.

    Attributes:
        tenant: Always empty: the log is for operators.
        action: The operation (``update_endpoint``) or the page (``portal.reveal_secret``).
        subject: Who it was: the id of the API key, the subject of the token, or the person.
        role: Of the caller.
        about: The tenant that the request was about; empty if it was about none.
        target: The object, if there is one: an id or a name.
        status: The HTTP status that it was answered with: also what was refused is here.
        request_id: What the response and the log call the request.
        version: How often the record has been saved; 0 until it is.
    """

    id: str
    tenant: str = OPERATORS
    at: datetime
    action: str
    subject: str
    role: str
    about: str = ""
    target: str | None = None
    status: int
    request_id: str
    version: int = 0


@attrs.frozen(kw_only=True)
class UnreadableAuditEntry(AuditEntry):
    """Stands in for an entry whose row is damaged."""
