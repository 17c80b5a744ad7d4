"""Channels by URL: a table of names, and entry points for third parties (``notifykit.channels``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError

if TYPE_CHECKING:
    from ..ports import Channel, Renderer
    from .accounts import Account as Account
    from .routed import RoutedChannel
    from .tenant_accounts import TenantAccounts

#: A channel's name, which is also the scheme of its URLs, and the function that makes it.
_CHANNELS = {
    "in_app": "notifykit.channels.inbox:channel_from_url",
    "webhook": "notifykit.channels.webhook:channel_from_url",
}
#: People's channels: the scheme of each provider's URLs, and the function that makes the channel of one.
_PROVIDERS = {
    "email": {
        "catch": "notifykit.channels.catcher:email_from_url",
        "mailgun": "notifykit.channels.email.mailgun:channel_from_url",
        "postmark": "notifykit.channels.email.postmark:channel_from_url",
        "sendgrid": "notifykit.channels.email.sendgrid:channel_from_url",
        "ses": "notifykit.channels.email.ses:channel_from_url",
        "smtp": "notifykit.channels.email:channel_from_url",
        "smtps": "notifykit.channels.email:channel_from_url",
    },
    "sms": {
        "catch": "notifykit.channels.catcher:sms_from_url",
        "sns": "notifykit.channels.sms.sns:channel_from_url",
        "twilio": "notifykit.channels.sms.twilio:channel_from_url",
        "vonage": "notifykit.channels.sms.vonage:channel_from_url",
    },
    "push": {
        "apns": "notifykit.channels.push.channel:channel_from_url",
        "catch": "notifykit.channels.catcher:push_from_url",
        "fcm": "notifykit.channels.push.channel:channel_from_url",
        "webpush": "notifykit.channels.push.channel:channel_from_url",
    },
    "chat": {
        "apprise": "notifykit.channels.chat.apprise:channel_from_url",
        "catch": "notifykit.channels.catcher:chat_from_url",
        "discord": "notifykit.channels.chat.discord:channel_from_url",
        "slack": "notifykit.channels.chat.slack:channel_from_url",
        "teams": "notifykit.channels.chat.teams:channel_from_url",
    },
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
    if path is None:
        entry = next((entry for entry in entry_points(group="notifykit.channels") if entry.name == name), None)
        if entry is None:
            raise ConfigurationError(
                f"no channel for {name!r} URLs; known: {', '.join(known())}. "
                "A package provides more with an entry point of the group 'notifykit.channels'"
            )
        made: Channel = entry.load()(url, **options)
        return made
    return _make(path, url, options)


def provider_channel_from_url(channel: str, url: str, *, renderer: Renderer | None = None) -> Channel:
    """Return a channel to people that sends through the provider of ``url``; nothing is connected yet.

    Args:
        channel: ``email``, ``sms``, ``push`` or ``chat``.
        url: The provider's URL: ``smtp://user:password@host``.
        renderer: Makes the messages; by default plain ones.

    Raises:
        ConfigurationError: No provider of the channel has such URLs, or it does not accept this one.
        MissingExtraError: What the provider needs is not installed.
    """
    providers = _PROVIDERS[channel]
    scheme, found, _ = url.partition("://")
    path = providers.get(scheme.lower()) if found else None
    if path is None:
        schemes = ", ".join(f"{name}://" for name in providers)
        raise ConfigurationError(f"{channel}: the URL of a provider is needed, which begins with one of {schemes}")
    return _make(path, url, {"renderer": renderer})


def routed_channel(
    channel: str,
    accounts: Sequence[Account],
    *,
    renderer: Renderer | None = None,
    tenants: TenantAccounts | None = None,
) -> RoutedChannel:
    """Return a channel to people that sends over one of several accounts; nothing is connected yet.

    Args:
        tenants: Knows the accounts that tenants have themselves.

    Raises:
        ConfigurationError: An account is not acceptable.
        MissingExtraError: What a provider needs is not installed.
    """
    from .routed import RoutedChannel

    def make(url: str) -> Any:
        return provider_channel_from_url(channel, url, renderer=renderer)

    return RoutedChannel(channel, accounts, make, renderer=renderer, tenants=tenants)


def _make(path: str, url: str, options: Mapping[str, Any]) -> Channel:
    module, _, attribute = path.partition(":")
    channel: Channel = getattr(import_module(module), attribute)(url, **options)
    return channel


def known() -> list[str]:
    """Return the names of all channels that are installed."""
    return sorted({*_CHANNELS, *(entry.name for entry in entry_points(group="notifykit.channels"))})


def channels_of(
    given: Iterable[Channel | str],
    own: Mapping[str, Mapping[str, Any]],
    providers: Mapping[str, Sequence[Account]],
    renderer: Renderer | None = None,
    tenants: TenantAccounts | None = None,
) -> list[Channel]:
    """Return the channels that a process delivers over: our own and those that are given.

    Args:
        given: Channels, or their URLs; one with the name of one of our own replaces it.
        own: Our own by name, each with the options that it takes.
        providers: The accounts of each channel to people.
        renderer: Makes the messages of those channels.
        tenants: Knows the accounts that tenants have themselves.

    Raises:
        ConfigurationError: No channel belongs to a URL.
    """
    channels = [_channel(one, own) if isinstance(one, str) else one for one in given]
    replaced = {channel.name for channel in channels}
    ours = [channel_from_url(f"{name}://", **own[name]) for name in own if name not in replaced]
    ours += [
        routed_channel(name, accounts, renderer=renderer, tenants=tenants)
        for name, accounts in providers.items()
        if name not in replaced
    ]
    return ours + channels


def _channel(url: str, own: Mapping[str, Mapping[str, Any]]) -> Channel:
    return channel_from_url(url, **own.get(url.partition("://")[0].lower(), {}))
