"""Encryption at rest: a ring of keys, what is encrypted with it, and where the keys come from."""

from __future__ import annotations

from .ring import KeyRing, context
from .source import Vault

__all__ = ["KeyRing", "Vault", "context"]
