"""The fixtures of the pytest plugin, also where notifykit is not installed and its entry point not there."""

from __future__ import annotations

from notifykit.testing.plugin import outbox, outbox_options

__all__ = ["outbox", "outbox_options"]
