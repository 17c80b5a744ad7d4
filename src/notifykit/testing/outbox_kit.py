"""The kit of an outbox: for every event loop of a test, with dispatchers that leave deliveries to the test."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Self, Unpack

import attrs

from ..channels.webhook import Guard
from ..dispatch.runtime.dispatcher import Dispatcher
from ..dispatch.settings import DispatchSettings
from ..kit import Notifykit
from ..models.event import Receipt
from ..options import EgressRules, KitOptions, given_public_url
from ..ports import Channel
from ..publisher import PublishOptions
from ..stores.sql.callers import AnyConnection, AnySession

if TYPE_CHECKING:
    from .outbox import Outbox

#: What every name resolves to: a public address; nothing is ever sent to it.
_ADDRESS = "93.184.216.34"
#: Messages go nowhere, whatever the environment says.
_NO_PROVIDERS: KitOptions = {"email": "", "sms": "", "push": "", "chat": ""}


class OutboxKit(Notifykit):
    """A kit for all event loops of a test, also short-lived ones.

    Its dispatchers do nothing: a program that runs one must not race with its test.
    """

    def __init__(self, outbox: Outbox, **options: Unpack[KitOptions]) -> None:
        made_with: KitOptions = {**options, **_NO_PROVIDERS}
        super().__init__(**made_with)
        self._outbox = outbox

    async def open(self) -> Self:
        return self

    async def aclose(self) -> None:
        pass

    async def apublish(
        self,
        event: object,
        *,
        session: AnySession | None = None,
        connection: AnyConnection | None = None,
        **options: Unpack[PublishOptions],
    ) -> Receipt:
        if session is None and connection is None:
            return await self._outbox.at_home(lambda kit: kit.apublish(event, **options))
        return await super().apublish(event, session=session, connection=connection, **options)

    async def apublish_many(
        self,
        events: Iterable[object],
        *,
        session: AnySession | None = None,
        connection: AnyConnection | None = None,
        **options: Unpack[PublishOptions],
    ) -> list[Receipt]:
        if session is None and connection is None:
            return await self._outbox.at_home(lambda kit: kit.apublish_many(events, **options))
        return await super().apublish_many(events, session=session, connection=connection, **options)

    def configure(self, options: KitOptions) -> None:
        """Take what a program configures for the messages themselves; everything else is the test's."""
        if (public_url := options.get("public_url")) is not None:
            self.public_url = given_public_url(public_url)
            self._outbox.use_renderer()
        if (templates := options.get("templates")) is not None:
            self._templates = os.fspath(templates)
            self._outbox.use_renderer()

    def dispatcher(
        self, channels: Sequence[Channel] | None = None, settings: DispatchSettings | None = None
    ) -> Dispatcher:
        del channels, settings
        return _IdleDispatcher(self._outbox)


class _IdleDispatcher(Dispatcher):
    def __init__(self, outbox: Outbox) -> None:
        idle = DispatchSettings(roles=frozenset())
        super().__init__(outbox.kit.store, [], idle, clock=outbox.clock)
        self._outbox = outbox

    async def drained(self) -> None:
        await self._outbox.adeliver()


@attrs.frozen(kw_only=True)
class OfflineEgress(EgressRules):
    """The rules of production, without a look-up of names."""

    def guard(self) -> Guard:
        return Guard(self.allow, allow_http=self.allow_http, allow_names=self.allow_names, resolver=_Anywhere())


class _Anywhere:
    async def resolve(self, host: str, port: int) -> Sequence[str]:  # noqa: ARG002
        return [_ADDRESS]
