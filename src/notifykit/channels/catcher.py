"""A provider for development: it appends messages to a file, which ``notifykit catch`` shows in a browser."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import attrs

from ..codec import dumps
from ..errors import ConfigurationError
from ..models.delivery import Claim
from ..models.destination import Destination
from ..models.messages import EmailMessage, Message
from ..models.outcome import Accepted, Answer, Outcome, Transient
from ..policies.sms import canonical_number
from .inbox import InboxChannel
from .messages import MessageChannel, any_address
from .plain import PlainRenderer

if TYPE_CHECKING:
    from ..ports import Inbox, Provider, Renderer

#: The file of ``catch://``, in the working directory.
DEFAULT_FILE = "notifykit-caught.jsonl"
#: A file that has grown beyond this is emptied: it is for looking at, not for keeping.
MAX_FILE = 64 * 1024 * 1024


def file_of(url: str) -> Path:
    """Return the absolute path of the file that ``catch://`` or ``catch:///path/to/file.jsonl`` names.

    Raises:
        ConfigurationError: The URL has a host, an account or options.
    """
    parts = urlsplit(url)
    if parts.scheme != "catch" or parts.netloc or parts.query or parts.fragment:
        raise ConfigurationError("the URL of the catcher is catch:// or catch:///path/to/file.jsonl")
    return Path(unquote(parts.path) or DEFAULT_FILE).absolute()


class Catcher:
    """Takes the messages of every channel and sends none of them.

    Several processes may append to one file: each message is one write.

    Args:
        file: JSON Lines, created when the first message comes; only its owner can read it.
    """

    name = "catch"
    account = "catch"

    def __init__(self, file: Path) -> None:
        self.file = file

    async def send(self, message: Message, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        if (refused := unwritable(message, claim, destination, now)) is not None:
            return refused
        line = dumps(_record(message, claim, destination, now)) + b"\n"
        try:
            await asyncio.to_thread(self.append, line)
        except OSError as error:
            return Transient(reason="catcher_unwritable", answer=Answer(body=str(error).encode()))
        return Accepted(answer=Answer(reference=f"caught:{claim.delivery_id}"))

    async def aclose(self) -> None:
        """Nothing is open between messages."""

    def append(self, line: bytes) -> None:
        """Append a line to the file.

        Raises:
            OSError: It cannot be written.
        """
        file = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if os.fstat(file).st_size > MAX_FILE:
                os.ftruncate(file, 0)
            os.write(file, line)
        finally:
            os.close(file)


def unwritable(message: Message, claim: Claim, destination: Destination, now: datetime) -> Outcome | None:
    """Return the outcome of an e-mail that no provider could send, such as one with a line break in its subject."""
    if not isinstance(message, EmailMessage):
        return None
    from .email.address import Mailbox
    from .email.mime import InvalidMessageError, write

    to = Mailbox("to@notifykit.example", getattr(destination.config, "name", None) or "")
    try:
        write(message, sender=Mailbox("from@notifykit.example"), to=to, id=claim.delivery_id, now=now)
    except InvalidMessageError as error:
        return error.outcome
    return None


def _record(message: Message, claim: Claim, destination: Destination, now: datetime) -> Mapping[str, Any]:
    return {
        "at": now.isoformat(),
        "channel": destination.channel,
        "to": destination.address,
        "recipient": destination.subscriber_id,
        "tenant": claim.tenant,
        "type": claim.event_type,
        "event_id": claim.event_id,
        "delivery_id": claim.delivery_id,
        "attempt": claim.attempt,
        "message": attrs.asdict(message),
    }


class CaughtInbox(InboxChannel):
    """Puts what it sends into inboxes, and a copy into the catcher's file, which may fail: the inbox is what counts."""

    def __init__(self, store: Inbox, renderer: Renderer, catcher: Catcher) -> None:
        super().__init__(store, renderer)
        self._catcher = catcher

    async def send(self, claim: Claim, destination: Destination, *, now: datetime) -> Outcome:
        outcome = await super().send(claim, destination, now=now)
        if isinstance(outcome, Accepted):
            message: Any = self._renderer.render(claim, destination, now=now)
            await self._catcher.send(message, claim, destination, now=now)
        return outcome


def email_from_url(url: str, *, renderer: Renderer | None = None) -> MessageChannel:
    """Return a channel for e-mails that the catcher takes.

    Raises:
        ConfigurationError: The URL is not ``catch://`` with or without the path of a file.
    """
    from .email.address import canonical_address

    return _maker("email", canonical_address)(url, renderer=renderer)


def _maker(channel: str, check_address: Callable[[str], str] = any_address) -> Callable[..., MessageChannel]:
    def channel_from_url(url: str, *, renderer: Renderer | None = None) -> MessageChannel:
        catcher = Catcher(file_of(url))
        return MessageChannel(channel, renderer or PlainRenderer(), catcher, check_address=check_address)

    return channel_from_url


sms_from_url = _maker("sms", canonical_number)
push_from_url, chat_from_url = _maker("push"), _maker("chat")


if TYPE_CHECKING:
    _conforms: type[Provider] = Catcher
