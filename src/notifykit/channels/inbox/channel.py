"""Writes items into inboxes, through the store."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from ...codec import dumps
from ...errors import ConfigurationError, InvalidInputError, StoreError, TemplateError, ValueRefusedError
from ...models.checks import MAX_ID, text
from ...models.delivery import Claim
from ...models.destination import Destination
from ...models.event import Resource
from ...models.inbox import IN_APP, InboxItem
from ...models.messages import InAppMessage
from ...models.outcome import Accepted, Outcome, Permanent, Transient
from ...native import mypyc_attr
from ...ports import Inbox, Renderer
from ..plain import PlainRenderer
from .batches import Batches

#: Bytes of an item's title, body, URL and data at the most.
MAX_CONTENT = 64 * 1024

_recipient = text(most=MAX_ID)


@mypyc_attr(allow_interpreted_subclasses=True)
class InboxChannel:
    """Puts what it sends into the recipient's inbox.  An address is the recipient's id.

    An item has the id of its delivery, so a delivery that is sent twice is there once.

    Args:
        store: Where the inboxes are.
        renderer: Makes the messages; by default plain ones.
    """

    name = IN_APP

    def __init__(self, store: Inbox, renderer: Renderer | None = None) -> None:
        self._renderer = renderer or PlainRenderer()
        self._batches = Batches(store)

    def check_address(self, address: str) -> str:
        if (wrong := _recipient(address)) is not None:
            raise InvalidInputError([f"address: {wrong}"])
        return address

    def destination(
        self,
        *,
        tenant: str,
        subscriber_id: str,
        address: str,
        app: str | None = None,  # noqa: ARG002 - an inbox belongs to no app
    ) -> Destination:
        return Destination(subscriber_id=subscriber_id, tenant=tenant, channel=self.name, address=address, is_fast=True)

    async def send(self, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        """Store the item; see :class:`notifykit.ports.Channel`.

        Raises:
            TemplateError: The message cannot be made.
        """
        message = self._renderer.render(claim, destination, now=now)
        if not isinstance(message, InAppMessage):
            raise TemplateError(f"{claim.event_type} ({self.name}): made no InAppMessage, but {type(message).__name__}")
        if len(dumps([message.title, message.body, message.url or "", message.data])) > MAX_CONTENT:
            return Permanent(reason="message_too_large")
        try:
            await self._batches.put(_item(claim, destination, message, now), destination.timeout.total_seconds())
        except TimeoutError:
            return Transient(reason="timeout")
        except ValueRefusedError:
            return Permanent(reason="value_refused")
        except StoreError:
            return Transient(reason="store_unavailable")
        return Accepted()

    async def aclose(self) -> None:
        await self._batches.aclose()


def _item(claim: Claim, destination: Destination, message: InAppMessage, now: datetime) -> InboxItem:
    details = claim.details
    kind, id_ = details.resource_kind, details.resource_id
    return InboxItem(
        id=claim.delivery_id,
        tenant=claim.tenant,
        recipient=destination.address,
        event_id=claim.event_id,
        event_type=claim.event_type,
        category=details.category,
        resource=None if kind is None or id_ is None else Resource(kind, id_),
        title=message.title,
        body=message.body,
        url=message.url,
        data=message.data,
        created_at=now,
    )


def channel_from_url(
    url: str, *, store: Inbox | None = None, renderer: Renderer | None = None, catcher: str | None = None
) -> InboxChannel:
    """Return the channel of ``in_app://``.

    Args:
        catcher: The URL of a catcher (``catch://``), which gets a copy of each item.

    Raises:
        ConfigurationError: The URL has more, or there is no store with inboxes.
    """
    if url.partition("://")[2]:
        raise ConfigurationError(f"in_app:// takes nothing behind it, got {url!r}")
    if store is None:
        raise ConfigurationError("in_app:// needs a store that keeps inboxes (notifykit.ports.Inbox)")
    if catcher is not None:
        from ..catcher import Catcher, CaughtInbox, file_of

        return CaughtInbox(store, renderer or PlainRenderer(), Catcher(file_of(catcher)))
    return InboxChannel(store, renderer)


if TYPE_CHECKING:
    from ...ports import AddressedChannel

    _conforms: type[AddressedChannel] = InboxChannel
