"""Standard Webhooks 1.0.0: sign what is sent, verify what is received.

Importable alone: a receiver pays for the standard library only.  ``cryptography`` is
imported when the first Ed25519 key is used, attrs when the first event is parsed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .dedupe import AsyncDedupeStore, DedupeStore, MemoryDedupe, Seen
from .keys import generate_secret, public_key, secret_problem
from .refusals import VerificationError
from .signer import Signer
from .verifier import Verifier

if TYPE_CHECKING:
    from .received import ReceivedEvent

__all__ = [
    "AsyncDedupeStore",
    "DedupeStore",
    "MemoryDedupe",
    "ReceivedEvent",
    "Seen",
    "Signer",
    "VerificationError",
    "Verifier",
    "generate_secret",
    "public_key",
    "secret_problem",
]


def __getattr__(name: str) -> Any:
    if name == "ReceivedEvent":
        from .received import ReceivedEvent

        return ReceivedEvent
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
