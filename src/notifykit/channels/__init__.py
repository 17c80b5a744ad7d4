"""Channels by URL: a table of names, and entry points for third parties (``notifykit.channels``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from ..ports import Channel

#: A channel's name, which is also the scheme of its URLs, and the function that makes it.
_CHANNELS = {
    "in_app": "notifykit.channels.inbox:channel_from_url",
    "webhook": "notifykit.channels.webhook:channel_from_url",
}


def channel_from_url(url: str, **options: Any) -> Channel:
    """Return the channel for ``url``, such as ``webhook://``; nothing is connected yet.

    A package adds a channel with an entry point of the group ``notifykit.channels``: its name is the scheme, and it
    leads to a function that takes the URL and returns a :class:`~notifykit.ports.Channel`.

    Args:
        url: ``name://`` and what the channel reads behind it.
        options: What the channel's function takes beside the URL.

    Raises:
        ConfigurationError: It is no URL of a channel, or no installed channel has this name.
        MissingExtraError: What the channel needs is not installed.
    """
    scheme, found, _ = url.partition("://")
    name = scheme.lower()
    if not found or not name:  # the URL itself is not shown: it may hold an account's key
        raise ConfigurationError(f"a channel's URL begins with its name and '://', known: {', '.join(known())}")
    path = _CHANNELS.get(name)
    if path is not None:
        module, _, attribute = path.partition(":")
        make = getattr(import_module(module), attribute)
    else:
        entry = next((entry for entry in entry_points(group="notifykit.channels") if entry.name == name), None)
        if entry is None:
            raise ConfigurationError(
                f"no channel for {name!r} URLs; known: {', '.join(known())}. "
                "A package provides more with an entry point of the group 'notifykit.channels'"
            )
        make = entry.load()
    channel: Channel = make(url, **options)
    return channel


def known() -> list[str]:
    """Return the names of all channels that are installed."""
    return sorted({*_CHANNELS, *(entry.name for entry in entry_points(group="notifykit.channels"))})


def channels_of(given: Iterable[Channel | str], own: Mapping[str, Mapping[str, Any]]) -> list[Channel]:
    """Return the channels that a process delivers over: our own and those that are given.

    Args:
        given: Channels, or their URLs; one with the name of one of our own replaces it.
        own: Our own by name, each with the options that it takes.

    Raises:
        ConfigurationError: No channel belongs to a URL.
    """
    channels = [_channel(one, own) if isinstance(one, str) else one for one in given]
    replaced = {channel.name for channel in channels}
    return [channel_from_url(f"{name}://", **own[name]) for name in own if name not in replaced] + channels


def _channel(url: str, own: Mapping[str, Mapping[str, Any]]) -> Channel:
    return channel_from_url(url, **own.get(url.partition("://")[0].lower(), {}))
