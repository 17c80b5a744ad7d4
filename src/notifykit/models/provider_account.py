"""A provider account that a tenant has itself: its messages of a channel go over it instead of the operator's."""

from __future__ import annotations

import re
from typing import Final

import attrs

from . import checks
from .checks import field_check, one_of, text

#: Channels whose messages are carried by providers.
CHANNELS: Final = ("email", "sms", "push", "chat")
#: What is shown of a URL: the scheme, the host, and the options that are no secrets.
_SHOWN: Final = frozenset(
    {"connections", "countries", "failures", "from", "segments", "sender", "slow", "timeout", "weight"}
)
_ACCOUNT = re.compile(
    r"(?P<scheme>[A-Za-z0-9_+.-]+)://(?:(?P<user>[^@?]*)@)?(?P<host>[^/?#]*)[^?]*(?:\?(?P<query>.*))?"
)
#: Between the URLs of several accounts.
BETWEEN: Final = re.compile(r"\s*\|\|\s*")


@attrs.frozen(kw_only=True)
class ProviderAccount:
    """The account of a tenant for one channel; stores encrypt its URL.

    Attributes:
        id: The channel: ``email``, ``sms``, ``push`` or ``chat``.
        url: The provider's URL with its secrets, or several with ``||`` between them.
        version: How often it has been saved; 0 until it is.
    """

    tenant: str = attrs.field(validator=field_check(checks.tenant))
    id: str = attrs.field(validator=field_check(one_of(CHANNELS)))
    url: str = attrs.field(repr=False, validator=field_check(text(most=4096, empty=True)))
    version: int = attrs.field(default=0, validator=field_check(checks.whole(0, 2**31 - 1)))

    @property
    def masked(self) -> str:
        """The URL without what may be a secret."""
        return " || ".join(map(masked, BETWEEN.split(self.url.strip())))


def masked(url: str) -> str:
    """Return a provider's URL without its credentials and without the options that may be secrets."""
    parts = _ACCOUNT.fullmatch(url.strip())
    if parts is None:
        return "***"
    user = "***@" if parts["user"] else ""
    options = [option for option in (parts["query"] or "").split("&") if option]
    shown = [option if (name := option.partition("=")[0]) in _SHOWN else f"{name}=***" for option in options]
    return f"{parts['scheme'].lower()}://{user}{parts['host']}{'?' + '&'.join(shown) if shown else ''}"
