"""Provider accounts that tenants have themselves, over the operator's."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl, unquote, urlsplit

import attrs

from ..changes import change
from ..channels import routed_channel
from ..channels.accounts import accounts_of
from ..channels.webhook import WireError
from ..errors import ConfigurationError, DestinationRefusedError, InvalidInputError, MissingExtraError
from ..models import checks
from ..models.provider_account import BETWEEN, CHANNELS, ProviderAccount
from ..policies.arguments import checked
from ..ports import Clock, Store

#: Raises an error unless a host may be connected to.
VetHost = Callable[[str, int], Awaitable[object]]

_channel = checks.one_of(CHANNELS)
#: What reads the operator's files or environment, or leads into the operator's network.
_PLACES = re.compile(r"\b(?:env|file):")
_REFUSED = ("ca", "costs", "endpoint")
#: The usual port of each scheme, and those that a mail server may have: others belong to other services.
_SMTP_PORTS = {"smtp": 587, "smtps": 465}
_MAIL_PORTS = frozenset({25, 465, 587, 2465, 2525, 2587})


class Providers:
    """The provider accounts of tenants.

    Args:
        vet: Returns what decides whether a mail server of a tenant may be connected to.
    """

    def __init__(self, store: Store, clock: Clock, vet: Callable[[], VetHost]) -> None:
        self._store = store
        self._clock = clock
        self._vet = vet

    @checked(channel=_channel, url=checks.text(most=4096))
    async def set(self, channel: str, url: str, *, tenant: str) -> ProviderAccount:
        """Send a tenant's messages of a channel over an account of its own from now on.

        A dispatcher needs a provider of its own for the channel all the same: it is used for other tenants.

        Args:
            channel: ``email``, ``sms``, ``push`` or ``chat``.
            url: The provider's URL with its secrets, or several with ``||`` between them; stores encrypt it.

        Returns:
            The account, with its URL masked.

        Raises:
            InvalidInputError: The URL is not acceptable.  What a tenant gives must not read files or variables of the
                operator (``file:``, ``env:``, ``ca=``, ``costs=``), nor lead elsewhere than to the vendor
                (``endpoint=``) or to a public mail server with TLS.
        """
        await self._check(channel, url)
        made = ProviderAccount(tenant=tenant, id=channel, url=url.strip())

        async def read() -> ProviderAccount:
            found = await self._store.get(ProviderAccount, tenant, [channel])
            return attrs.evolve(made, version=found[0].version) if found else made

        return _shown(await change(read, attrs.evolve, self._store.save))

    @checked(channel=_channel)
    async def get(self, channel: str, *, tenant: str) -> ProviderAccount | None:
        """Return a tenant's account, with its URL masked; ``None`` if the tenant uses the operator's."""
        found = await self._store.get(ProviderAccount, tenant, [channel])
        return _shown(found[0]) if found else None

    @checked()
    async def list(self, *, tenant: str) -> list[ProviderAccount]:
        """Return a tenant's accounts in the order of their channels, with their URLs masked."""
        return [_shown(each) for each in await self._store.page(ProviderAccount, tenant, limit=len(CHANNELS))]

    @checked(channel=_channel)
    async def remove(self, channel: str, *, tenant: str) -> bool:
        """Send a tenant's messages over the operator's account again; return whether it had one of its own."""
        return await self._store.remove(ProviderAccount, tenant, channel, now=self._clock.now())

    async def _check(self, channel: str, url: str) -> None:
        for each in BETWEEN.split(url.strip()):
            if (wrong := _refused(each)) is not None:
                raise InvalidInputError([f"url: {wrong}"])
        try:
            accounts = accounts_of(url)
            with contextlib.suppress(MissingExtraError):  # which only processes that send need
                routed_channel(channel, accounts)
        except ConfigurationError as error:
            raise InvalidInputError([f"url: {error}"]) from None
        for each in BETWEEN.split(url.strip()):
            await self._vet_server(each)

    async def _vet_server(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _SMTP_PORTS:
            return
        port = parts.port or _SMTP_PORTS[parts.scheme]
        if port not in _MAIL_PORTS:
            raise InvalidInputError([f"url: {port} is not a port of mail servers"])
        try:
            await self._vet()(parts.hostname or "", port)
        except DestinationRefusedError as error:
            raise InvalidInputError([f"url: the mail server is not one that a tenant may name: {error}"]) from None
        except WireError:
            raise InvalidInputError(["url: the mail server's name could not be resolved"]) from None


def _refused(url: str) -> str | None:
    """Say why a URL must not come from a tenant; it shows no secret."""
    if url.partition("://")[0].lower() == "catch":
        return "catch:// writes into a file of this machine"
    if _PLACES.search(unquote(url)):
        return "env: and file: would read what is the operator's; give the secret itself"
    options = dict(parse_qsl(url.partition("?")[2], keep_blank_values=True))
    if found := [name for name in _REFUSED if name in options]:
        return f"{found[0]}= is for the operator's own accounts only"
    return "tls=off is for the operator's own mail server only" if "tls" in options else None


def _shown(account: ProviderAccount) -> ProviderAccount:
    return attrs.evolve(account, url=account.masked)
