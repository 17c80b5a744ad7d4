"""How many connections a wire may have, and for how long."""

from __future__ import annotations

import attrs

#: How many connections there are at the most by default, and where the system has no limit of open files.
_MOST_CONNECTIONS, _SOME_CONNECTIONS = 16_384, 4096


def affordable() -> int:
    """Return for how many connections this process may open files; a quarter of them is left for other uses."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return _SOME_CONNECTIONS
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    return max(1, min(_MOST_CONNECTIONS, files - files // 4))


@attrs.frozen(kw_only=True)
class Limits:
    """Bounds of a wire's connections.

    Attributes:
        connections: How many may be open at a time; further attempts wait for room.  By default as many as
            three quarters of the files that the process may open, and at most 16,384.
        idle: How many of them may be idle: 4 kB each.
        idle_tls: How many of those may be encrypted: some 50 kB each on uvloop, 300 kB on asyncio's own loop.
        idle_per_origin: How many may belong to one tenant and origin.
        idle_for: How many seconds one may be idle.
        max_age: After how many seconds the name is resolved and judged anew.
    """

    connections: int = attrs.field(factory=affordable)
    idle: int = attrs.field()
    idle_tls: int = 2048
    idle_per_origin: int = 1024
    idle_for: float = 30.0
    max_age: float = 300.0

    @idle.default
    def _most_of_them(self) -> int:
        # so that a new connection rarely has to close an idle one first
        return self.connections - self.connections // 4
