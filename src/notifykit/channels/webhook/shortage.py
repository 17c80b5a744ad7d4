"""What this process itself lacks when a connection cannot be made, so that no receiver is blamed for it."""

from __future__ import annotations

import errno
import socket
from typing import Final

#: No file can be opened: the limit of the process or of the system is reached.
NO_FILES: Final = "no_files"
#: The kernel has no memory for a connection, or the process none for a thread.
NO_MEMORY: Final = "no_memory"
#: Every local port is in use towards this one address.
NO_PORTS: Final = "no_ports"
#: As many connections are open as the limits of the transport allow.
CONNECTION_LIMIT: Final = "connection_limit"
#: As many names are being looked up as there are threads for.
LOOKUP_LIMIT: Final = "lookup_limit"

_REASONS: Final = {
    errno.EMFILE: NO_FILES,
    errno.ENFILE: NO_FILES,
    errno.ENOMEM: NO_MEMORY,
    errno.ENOBUFS: NO_MEMORY,
}


class LookupLimitError(OSError):
    """A name was not looked up: no thread became free in time."""


def shortage(error: OSError, address: str, port: int) -> str | None:
    """Return what was lacking when a connection to ``address`` failed, or ``None`` if it failed for another reason."""
    if error.errno == errno.EADDRNOTAVAIL:
        return NO_PORTS if _has_source(address, port) else None
    return _REASONS.get(error.errno or 0)


def shortage_at_lookup(error: Exception) -> str | None:
    """Return what was lacking when a name was not resolved, or ``None`` if it failed for another reason."""
    if isinstance(error, LookupLimitError):
        return LOOKUP_LIMIT
    if isinstance(error, OSError) and not isinstance(error, socket.gaierror) and error.errno in _REASONS:
        return _REASONS[error.errno]
    try:  # the resolver's own codes do not report that it could open no file
        socket.socket().close()
    except OSError as error:
        return _REASONS.get(error.errno or 0)
    return None


def _has_source(address: str, port: int) -> bool:
    """Return whether this host has an address to send from; on one without IPv6 the error is the same."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect((address, port))  # sends nothing
    except OSError:
        return False
    return True
