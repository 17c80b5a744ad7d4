"""The client of the Redis store, or an error that names the extra which brings it."""

from __future__ import annotations

from ...errors import MissingExtraError

try:
    import redis.asyncio as client
    from redis import exceptions
    from redis.asyncio.connection import parse_url
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
except ImportError as error:
    raise MissingExtraError("the Redis store", "redis") from error

__all__ = ["NoBackoff", "Retry", "client", "exceptions", "parse_url"]
