"""Channels by URL: a table of names, and entry points for third parties (``notifykit.channels``)."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from ..ports import Channel, Renderer

#: The scheme of a channel's URLs, and the function that makes it.
_CHANNELS = {
    "webhook": "notifykit.channels.webhook:channel_from_url",
    "smtp": "notifykit.channels.email:channel_from_url",
    "smtps": "notifykit.channels.email:channel_from_url",
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


def channels_of(
    given: Iterable[Channel | str], *, email: str | None = None, renderer: Renderer | None = None, **webhook: Any
) -> list[Channel]:
    """Return the channels that a process delivers over: those that are given, webhooks, and e-mail.

    Args:
        given: Channels, or their URLs.
        email: The URL of the mail server.
        renderer: Makes the messages of channels to people that are made here; by default plain ones.
        webhook: What the webhook channel takes, unless a channel of that name is given.

    Raises:
        ConfigurationError: No channel belongs to a URL.
    """
    channels = [_channel(one, webhook) if isinstance(one, str) else one for one in given]
    if all(channel.name != "webhook" for channel in channels):
        channels.insert(0, channel_from_url("webhook://", **webhook))
    if email is not None and all(channel.name != "email" for channel in channels):
        channels.append(channel_from_url(email, renderer=renderer))
    return channels


def _channel(url: str, webhook: dict[str, Any]) -> Channel:
    return channel_from_url(url, **(webhook if url.lower().startswith("webhook://") else {}))
