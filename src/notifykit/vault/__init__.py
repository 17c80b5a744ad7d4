"""Keys: a ring of them, what is encrypted and signed with it, and where the keys come from."""

from __future__ import annotations

from .page_tokens import PageTokens
from .ring import KeyRing, context
from .source import Vault
from .tokens import UnsubscribeTokens

__all__ = ["KeyRing", "PageTokens", "UnsubscribeTokens", "Vault", "context"]
