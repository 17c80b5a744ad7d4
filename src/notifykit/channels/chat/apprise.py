"""The long tail of chat services through Apprise: ``apprise://?schemas=tgram,ntfys``, addresses are URLs of Apprise.

Apprise blocks, so it runs in threads, and it says of a failure only that there was one.  An address may lead anywhere,
so the operator lists the services that may be posted to.
"""

from __future__ import annotations

import asyncio
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING

from ...errors import InvalidInputError, MissingExtraError
from ...models.delivery import Claim
from ...models.destination import Destination
from ...models.messages import ChatMessage, Message
from ...models.outcome import Accepted, Answer, BadRecipient, CircuitEffect, Outcome, Transient, Uncertain, Unsent
from ..messages import MessageChannel, any_address
from ..plain import PlainRenderer
from ..provider_url import parse_provider_url
from ..webhook.shortage import CONNECTION_LIMIT

if TYPE_CHECKING:
    from apprise import NotifyBase

    from ...ports import Provider, Renderer

_SCHEMA = re.compile(r"[a-z0-9]+")


def _has_no_url(record: logging.LogRecord) -> bool:
    """Let a line of Apprise's log pass; those with a URL show the tokens in URLs that it cannot read."""
    return "://" not in record.getMessage()


class AppriseProvider:
    """Posts through Apprise.

    Args:
        schemas: Which services an address may be of, by how their URLs begin: ``tgram``.
        threads: How many messages are under way at the most.

    Raises:
        MissingExtraError: The extra ``apprise`` is not installed.
    """

    name = "apprise"
    account = "apprise://"

    def __init__(self, schemas: frozenset[str], *, threads: int = 8) -> None:
        if find_spec("apprise") is None:
            raise MissingExtraError("posting through Apprise", "apprise")
        self._schemas = schemas
        logging.getLogger("apprise").addFilter(_has_no_url)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="notifykit-apprise")

    def check_address(self, address: str) -> str:
        """Return a URL of Apprise as it is.

        Raises:
            InvalidInputError: Its service is not one of those listed, or Apprise does not accept it.
        """
        address = any_address(address.strip())
        schema, found, _ = address.partition("://")
        if not found or schema.lower() not in self._schemas:
            known = ", ".join(f"{each}://" for each in sorted(self._schemas))
            raise InvalidInputError([f"address: must be a URL of Apprise that begins with one of {known}"])
        self._service(address)
        return address

    async def send(self, message: Message, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:  # noqa: ARG002 - nothing depends on them
        if not isinstance(message, ChatMessage):
            raise TypeError(f"Apprise carries a ChatMessage, not a {type(message).__name__}")
        try:  # another program may have stored it, or this one with other schemas
            address = self.check_address(destination.address)
        except InvalidInputError as error:
            return BadRecipient(reason="invalid_address", answer=Answer(body=str(error).encode()))
        posting = self._threads.submit(self._post, address, message.text)
        waiting = asyncio.wrap_future(posting)
        done, _ = await asyncio.wait({waiting}, timeout=destination.timeout.total_seconds())
        if not done:  # a thread cannot be stopped: Apprise has deadlines of its own
            return Unsent(reason=CONNECTION_LIMIT) if posting.cancel() else Uncertain(reason="timeout")
        # a failure is that of one service: the others have nothing to do with it
        return Accepted() if waiting.result() else Transient(reason="apprise_failed", circuit=CircuitEffect.NONE)

    async def aclose(self) -> None:
        """Wait for no thread."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _post(self, address: str, text: str) -> bool:
        return bool(self._service(address).notify(body=text))

    def _service(self, address: str) -> NotifyBase:
        from apprise import Apprise, AppriseAsset

        made = Apprise.instantiate(address, asset=AppriseAsset(secure_logging=True))
        if made is None:
            raise InvalidInputError(["address: Apprise does not accept it; see its documentation of the service"])
        return made


def channel_from_url(url: str, *, renderer: Renderer | None = None) -> MessageChannel:
    """Return the channel for ``apprise://`` URLs.

    Raises:
        ConfigurationError: The URL is not acceptable.
        MissingExtraError: The extra ``apprise`` is not installed.
    """
    found = parse_provider_url(url, example="apprise://?schemas=tgram,ntfys", credentials=0, options=("schemas",))
    schemas = frozenset(each.strip().lower() for each in found.options.get("schemas", "").split(",")) - {""}
    if not schemas or not all(map(_SCHEMA.fullmatch, schemas)):
        raise found.wrong(
            "schemas= is which services may be posted to, by how their URLs begin in Apprise, such as "
            "schemas=tgram,ntfys. An address may lead into your own network otherwise"
        )
    provider = AppriseProvider(schemas, threads=found.whole("connections", 8, most=100))
    return MessageChannel(
        "chat", renderer or PlainRenderer(), provider, check_address=provider.check_address, timeout=found.timeout
    )


if TYPE_CHECKING:
    _conforms: type[Provider] = AppriseProvider
