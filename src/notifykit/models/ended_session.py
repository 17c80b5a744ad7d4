"""Sessions of browsers that were signed out before their time: their cookies open nothing any more."""

from __future__ import annotations

from datetime import datetime
from hashlib import blake2b

import attrs

from .access import OPERATORS

_PREFIX = "ses_"


def ended_id(nonce: str, expires_at: datetime) -> str:
    """Return the id of the record of a session: those that expire first sort first."""
    return ids_until(expires_at) + blake2b(nonce.encode(), digest_size=16).hexdigest()


def ids_until(at: datetime) -> str:
    """Return what sorts behind the ids of sessions that expired before that second, and before all others."""
    return f"{_PREFIX}{int(at.timestamp()):012d}"


@attrs.frozen(kw_only=True)
class EndedSession:
    """A session that was signed out.

    Attributes:
        id: Says when the session would have expired, and has a hash of what tells it from others; see
            :func:`ended_id`.  Some time afterwards the record is deleted.
        tenant: Always empty: only the server reads it.
        area: Which pages it was for.
        version: How often the record has been saved; 0 until it is.
    """

    id: str
    tenant: str = OPERATORS
    area: str = ""
    version: int = 0
