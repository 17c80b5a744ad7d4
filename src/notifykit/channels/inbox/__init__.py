"""The in-app inbox as a channel: a delivery becomes an item in its recipient's inbox."""

from __future__ import annotations

from .channel import InboxChannel, channel_from_url

__all__ = ["InboxChannel", "channel_from_url"]
