"""Encryption at rest: a ring of keys, what is sealed under it, and where it comes from."""

from __future__ import annotations

from .ring import KeyRing, context
from .source import Vault

__all__ = ["KeyRing", "Vault", "context"]
