"""The driver of the PostgreSQL store, or an error that names the extra which brings it."""

from __future__ import annotations

from ....errors import MissingExtraError

try:
    import asyncpg
except ImportError as error:
    raise MissingExtraError("the PostgreSQL store", "postgres") from error

__all__ = ["asyncpg"]
