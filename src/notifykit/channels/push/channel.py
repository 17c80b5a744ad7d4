"""The channel ``push``: each token goes to the service that issued it.

A person may have devices of several kinds, and an operator may have several apps::

    fcm://?key=file:firebase.json && apns://?key=file:AuthKey.p8&… && webpush://?key=file:vapid.pem&…

The form of a token says which service issued it; among several accounts with one service, the app that was registered
with the token decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING

import attrs

from ...errors import ConfigurationError
from ...models.delivery import Claim
from ...models.destination import Destination
from ...models.messages import Message
from ...models.outcome import Answer, Outcome, Permanent
from ...policies.push import Service, canonical_token, service_of
from ...ports import ChecksConnection
from ..messages import MessageChannel
from ..plain import PlainRenderer
from .service import PushService

if TYPE_CHECKING:
    from ...ports import AddressedChannel, Provider, Renderer


class PushServices:
    """Sends each push through the service that issued the device's token."""

    def __init__(self, services: Sequence[PushService]) -> None:
        self._services = tuple(services)
        self.name = "+".join(dict.fromkeys(service.vendor.name for service in services))
        self.account = " && ".join(service.vendor.account for service in services)
        self.timeout = max(service.timeout for service in services)

    def __repr__(self) -> str:
        return f"<PushServices {self.account}>"

    def service(self, token: str, app: str | None) -> PushService | None:
        """Return the account that a token belongs to: that of its app, or one for all apps."""
        issued_by = service_of(token)
        found = [each for each in self._services if each.vendor.service is issued_by]
        fitting = [each for each in found if each.vendor.app == app] or [
            each for each in found if each.vendor.app is None or app is None
        ]
        return fitting[0] if fitting else None

    async def send(self, message: Message, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        service = self.service(destination.address, destination.app)
        if service is None:
            said = f"no {service_of(destination.address)}:// URL for tokens of the app {destination.app}"
            return Permanent(reason="no_push_service", answer=Answer(body=said.encode()))
        within = attrs.evolve(destination, timeout=min(destination.timeout, service.timeout))
        return await service.provider.send(message, claim, within, now=now)

    async def check(self) -> str:
        """See :class:`notifykit.ports.ChecksConnection`; services that cannot be tried without a push are named."""
        return ", ".join(
            [
                await service.provider.check()
                if isinstance(service.provider, ChecksConnection)
                else f"{service.vendor.account} (not tried)"
                for service in self._services
            ]
        )

    async def aclose(self) -> None:
        for service in self._services:
            await service.provider.aclose()


class PushChannel(MessageChannel):
    """Sends pushes; each service's account has a circuit of its own."""

    def __init__(self, services: PushServices, renderer: Renderer) -> None:
        super().__init__("push", renderer, services, check_address=canonical_token, timeout=services.timeout)
        self._services = services

    def destination(self, *, tenant: str, subscriber_id: str, address: str, app: str | None = None) -> Destination:
        made = super().destination(tenant=tenant, subscriber_id=subscriber_id, address=address, app=app)
        service = self._services.service(address, app)
        return made if service is None else attrs.evolve(made, timeout=service.timeout)

    def circuit_key(self, address: str, app: str | None) -> str | None:
        service = self._services.service(address, app)
        return None if service is None else service.vendor.circuit(address)


def channel_from_url(url: str, *, renderer: Renderer | None = None) -> MessageChannel:
    """Return the channel for the URLs of one or several push services, joined by ``&&``; nothing is connected yet.

    Raises:
        ConfigurationError: A URL is not acceptable, or two have the same service and app.
        MissingExtraError: What a service needs is not installed.
    """
    services = [_service(part) for part in url.split(" && ")]
    seen = set()
    for service in services:
        vendor = service.vendor
        if (vendor.service, vendor.app) in seen:
            raise ConfigurationError(f"push: there are two {vendor.name}:// URLs for one app; name each app with app=")
        seen.add((vendor.service, vendor.app))
    return PushChannel(PushServices(services), renderer or PlainRenderer())


def _service(url: str) -> PushService:
    scheme = url.strip().partition("://")[0].lower()
    if scheme not in set(Service):
        known = ", ".join(f"{name}://" for name in Service)
        raise ConfigurationError(f"push: several URLs are joined by ' && ', and each begins with one of {known}")
    made: PushService = import_module(f".{scheme}", __package__).service_from_url(url.strip())
    return made


if TYPE_CHECKING:
    _conforms: type[Provider] = PushServices
    _addressed: type[AddressedChannel] = PushChannel
