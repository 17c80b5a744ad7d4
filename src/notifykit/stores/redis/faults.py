"""What an error of the client or of the server means for the caller."""

from __future__ import annotations

from ...errors import SchemaError, StoreError, StoreUnavailableError
from .driver import exceptions

READ_ONLY = (
    "the server is read-only: it is a replica; use the address of the primary, or redis+sentinel:// to follow failovers"
)
FULL = (
    "the memory of the server is full: raise its maxmemory, or keep less with a shorter retention "
    "(notifykit run --retention)"
)
#: Characters of a text of the client that are shown, where it may go on with all that it has tried.
_SHOWN = 200
#: How answers begin of a server that cannot serve now: its data is being loaded, its disk is full, a
#: script runs for too long, or its cluster or its replicas are not complete.
_MAY_PASS = ("LOADING", "MISCONF", "BUSY", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN", "NOREPLICAS", "UNBLOCKED")
#: What lets a client go on, or not, whatever the server.
FAILURES = (exceptions.RedisError, exceptions.RedisClusterException, OSError, TimeoutError)


def translated(error: BaseException) -> StoreError:
    """Return our error for one of the client's."""
    text = str(error) or type(error).__name__
    if "unknown command 'SENTINEL'" in text:
        return StoreError("a host of the URL is no Sentinel: name the Sentinels, or use redis:// for the server itself")
    if text.startswith("No master found"):  # goes on with the errors of each Sentinel, as objects
        return StoreUnavailableError(f"no Sentinel answers that knows the primary: {text.partition(' : ')[0]}")
    if isinstance(error, exceptions.RedisClusterException):
        return StoreUnavailableError(f"the cluster is not available: {text[:_SHOWN]}")
    if isinstance(error, exceptions.ReadOnlyError) or "READONLY" in text[:120]:
        return StoreUnavailableError(READ_ONLY)
    if isinstance(error, (exceptions.AuthenticationError, exceptions.AuthorizationError)):
        return StoreError(f"the server refused the login: {text}")
    if isinstance(error, (exceptions.ConnectionError, exceptions.TimeoutError, OSError, TimeoutError)):
        return StoreUnavailableError(f"the server is not available: {text}")
    if isinstance(error, exceptions.NoPermissionError):
        return StoreError(f"the server's access rules refuse a command that the store needs: {text}")
    if text.startswith("OOM") or "maxmemory" in text or isinstance(error, exceptions.OutOfMemoryError):
        return StoreUnavailableError(FULL)
    if text.startswith(_MAY_PASS):
        return StoreUnavailableError(f"the server cannot do that now: {text}")
    if "WRONGTYPE" in text:
        return SchemaError(f"a key of the store holds something else; give the store a ?prefix= of its own: {text}")
    return StoreError(f"{type(error).__name__}: {text}")
