"""Checks of providers: whether their accounts can be used."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ..text import plain
from .finding import Finding, Opened

_HELP = "until it works, deliveries go over another provider, or are held and use up no attempts"


async def providers(opened: Opened) -> AsyncIterator[Finding]:
    """Connect to the providers of each channel to people, and log in; nothing is sent."""
    from ...errors import ConfigurationError
    from ...ports import ChecksConnection
    from ..provider_list import providers_of

    for channel, provider in providers_of(opened.kit.channels):
        if not isinstance(provider, ChecksConnection):
            continue
        try:
            yield Finding(channel, "ok", plain(await provider.check()))
        except ConfigurationError as error:
            yield Finding(channel, "bad", plain(str(error)), _HELP)
