"""The store that keeps everything in this process: for tests, demos and programs that may forget.

Nothing is durable and nothing is bounded: what is not purged stays in memory.
"""

from __future__ import annotations

from .store import MemoryStore

__all__ = ["MemoryStore"]
