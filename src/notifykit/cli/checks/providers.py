"""Checks of providers: whether their accounts can be used."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

from ..text import plain
from .finding import Finding, Opened

if TYPE_CHECKING:
    from ...ports import Provider

_HELP = "until it works, deliveries go over another provider, or are held and use up no attempts"


async def providers(opened: Opened) -> AsyncIterator[Finding]:
    """Connect to the providers of each channel to people, and log in; nothing is sent."""
    from ...errors import ConfigurationError
    from ...ports import ChecksConnection

    for channel, provider in _providers(opened):
        if not isinstance(provider, ChecksConnection):
            continue
        try:
            yield Finding(channel, "ok", plain(await provider.check()))
        except ConfigurationError as error:
            yield Finding(channel, "bad", plain(str(error)), _HELP)


def _providers(opened: Opened) -> Iterator[tuple[str, Provider]]:
    from ...channels.messages import MessageChannel
    from ...channels.routed import RoutedChannel

    for channel in opened.kit.channels:
        if isinstance(channel, MessageChannel):
            yield channel.name, channel.provider
        elif isinstance(channel, RoutedChannel):
            for member in channel.members:
                yield channel.name, member.provider
