"""Provider accounts of a channel: one URL, several with ``||`` between them, or objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import attrs

from ..errors import ConfigurationError
from ..models.checks import having
from ..models.provider_account import BETWEEN
from ..models.routing import RouteOptions

if TYPE_CHECKING:
    from ..ports import Provider

#: The parameters of a URL that are read here and not by the provider.
_OPTIONS = ("weight", "costs", "failures", "slow")
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
#: How many accounts a channel may have.
MOST = 16

#: Returns the secrets of an account: those that precede the ``@`` of its URL.
Credentials = Callable[[], "str | tuple[str, ...]"]


def _provider(value: object) -> str | None:
    return having("send", "aclose", what="Provider")(value)


@attrs.frozen(init=False, repr=False)
class Account:
    """One of the provider accounts that carry the messages of a channel.

    Args:
        provider: Its URL, such as ``postmark://env:TOKEN@?sender=shop@example.org``, or a provider of your own
            (:class:`notifykit.ports.Provider`), which is closed with the dispatcher that uses it.
        weight: See :class:`~notifykit.models.routing.RouteOptions`; so are the others.
        credentials: Returns the secret, or the user and the secret, of a URL that has none.  It is called whenever the
            account is set up: by each dispatcher that starts.

    Raises:
        ConfigurationError: An option is not acceptable.
    """

    provider: str | Provider
    options: RouteOptions
    credentials: Credentials | None

    def __init__(
        self,
        provider: str | Provider,
        *,
        weight: float | None = None,
        costs: Mapping[str, Any] | None = None,
        failures: int = 5,
        slow: timedelta = timedelta(seconds=5),
        credentials: Credentials | None = None,
    ) -> None:
        given: dict[str, Any] = {"weight": weight, "costs": costs or {}, "failures": failures, "slow": slow}
        if isinstance(provider, str):
            provider, found = _split(provider)
            given |= found
        elif (wrong := _provider(provider)) is not None:
            raise ConfigurationError(f"provider: {wrong}, or the URL of one")
        elif credentials is not None:
            raise ConfigurationError("credentials: a provider that is an object has its own")
        self.__attrs_init__(provider, RouteOptions(**given), credentials)

    def __repr__(self) -> str:
        return f"<Account {self.scheme}>"

    def url(self) -> str | None:
        """Return the URL with its secrets; ``None`` if the provider is an object.

        Raises:
            ConfigurationError: The credentials are not what is needed.
        """
        if not isinstance(self.provider, str):
            return None
        if self.credentials is None:
            return self.provider
        secrets: Any = self.credentials()
        secrets = (secrets,) if isinstance(secrets, str) else secrets
        scheme, found, rest = self.provider.partition("://")
        if not found or not isinstance(secrets, tuple) or not all(type(each) is str and each for each in secrets):
            raise ConfigurationError("credentials: must return a text, or a tuple of two, for the URL of a provider")
        if "@" in rest.partition("?")[0]:
            rest = rest.partition("@")[2]
        return f"{scheme}://{':'.join(quote(each, safe='') for each in secrets)}@{rest}"

    @property
    def scheme(self) -> str:
        """What operators know it by before it is set up: the URL's scheme, or the provider's name."""
        if isinstance(self.provider, str):
            return self.provider.partition("://")[0].lower()
        return str(getattr(self.provider, "name", ""))


def accounts_of(given: Any) -> tuple[Account, ...]:
    """Return the accounts that are given for a channel: a URL, several with ``||`` between them, objects, or a list.

    Raises:
        ConfigurationError: One is not acceptable, or only some have a weight.
    """
    listed = list(given) if isinstance(given, list | tuple) else [given]
    accounts: list[Account] = []
    for each in listed:
        if isinstance(each, Account):
            accounts.append(each)
        elif isinstance(each, str):
            accounts += [Account(url) for url in BETWEEN.split(each.strip())]
        else:
            accounts.append(Account(each))
    if not 1 <= len(accounts) <= MOST:
        raise ConfigurationError(f"a channel has between 1 and {MOST} providers, not {len(accounts)}")
    if len({account.options.weight is None for account in accounts}) > 1:
        raise ConfigurationError(
            "weight: give one to each provider of the channel or to none; with weight=0 a provider is only used "
            "if no other can be"
        )
    return tuple(accounts)


def _split(url: str) -> tuple[str, dict[str, Any]]:
    """Return the URL without the options that are read here, and these."""
    base, found, query = url.strip().partition("?")
    own: dict[str, Any] = {}
    rest = []
    for part in query.split("&") if found else ():
        name, _, text = part.partition("=")
        if name in _OPTIONS:
            own[name] = _READ[name](base.partition("://")[0], unquote(text))
        else:
            rest.append(part)
    return base + ("?" + "&".join(rest) if rest else ""), own


def _number(name: str, read: Callable[[str], Any]) -> Callable[[str, str], Any]:
    def parse(scheme: str, text: str) -> Any:
        if not text.isascii() or not _NUMBER.fullmatch(text) or (read is int and "." in text):
            raise ConfigurationError(f"{scheme}: {name} is a {'whole ' if read is int else ''}number")
        return read(text)

    return parse


def read_costs(scheme: str, path: str) -> dict[str, str]:
    """Read a table of costs: a line for each country, ``DE,0.075``, and ``*,0.1`` for all others.

    Raises:
        ConfigurationError: It cannot be read, or has a line that is none.
    """
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{scheme}: the table of costs {path!r} cannot be read: {error}") from None
    costs: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        country, comma, cost = (part.strip() for part in text.partition(","))
        if not text:
            continue
        if not comma or not _NUMBER.fullmatch(cost):
            raise ConfigurationError(f"{scheme}: costs: line {number} of {path!r} must be like DE,0.075")
        costs[country] = cost
    return costs


_READ: Mapping[str, Callable[[str, str], Any]] = {
    "weight": _number("weight", float),
    "failures": _number("failures", int),
    "slow": lambda scheme, text: timedelta(seconds=_number("slow", float)(scheme, text)),
    "costs": read_costs,
}
