"""Which providers the channels of a kit have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..ports import Channel, Provider


def providers_of(channels: Iterable[Channel]) -> Iterator[tuple[str, Provider]]:
    """Yield the name of each channel to people with each of its providers."""
    from ..channels.messages import MessageChannel
    from ..channels.routed import RoutedChannel

    for channel in channels:
        if isinstance(channel, MessageChannel):
            yield channel.name, channel.provider
        elif isinstance(channel, RoutedChannel):
            for member in channel.members:
                yield channel.name, member.provider
