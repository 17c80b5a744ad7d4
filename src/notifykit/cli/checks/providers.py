"""Checks of providers: whether their accounts can be used."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ..text import plain
from .finding import Finding, Opened


async def providers(opened: Opened) -> AsyncIterator[Finding]:
    """Connect to the provider of each channel to people, and log in; nothing is sent."""
    from ...channels.messages import MessageChannel
    from ...errors import ConfigurationError
    from ...ports import ChecksConnection

    for channel in opened.kit.channels:
        if not isinstance(channel, MessageChannel) or not isinstance(channel.provider, ChecksConnection):
            continue
        try:
            yield Finding(channel.name, "ok", plain(await channel.provider.check()))
        except ConfigurationError as error:
            yield Finding(
                channel.name, "bad", plain(str(error)), "until it works, deliveries are held and use up no attempts"
            )
