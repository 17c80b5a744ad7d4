"""An e-mail in parts, as vendors' APIs take it: checked, and not yet encoded.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from ...errors import InvalidInputError
from ...models.checks import UNPRINTABLE
from ...models.delivery import Claim
from ...models.destination import Destination
from ...models.messages import EmailMessage, Message
from ...models.outcome import Answer, BadRecipient, Outcome
from ..http_provider import BulkPart, HttpRequest
from ..provider_url import ProviderUrl
from .address import Mailbox, canonical_address, parse_mailbox
from .mime import InvalidMessageError, check_field, mailbox_of, text_field, unsubscribe_fields


@attrs.frozen(kw_only=True)
class Parts:
    """An e-mail of one delivery.

    Attributes:
        headers: All that are not a part of their own; values are in ASCII (RFC 2047).
    """

    id: str
    sender: Mailbox
    to: Mailbox
    subject: str
    text: str
    html: str | None
    reply_to: tuple[Mailbox, ...]
    headers: dict[str, str]


def shown(mailbox: Mailbox) -> str:
    """Return ``"Name" <name@example.org>``, not encoded: APIs take UTF-8."""
    if not mailbox.name:
        return mailbox.address
    name = mailbox.name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{name}" <{mailbox.address}>'


def parts_of(message: EmailMessage, claim: Claim, *, sender: Mailbox, to: Mailbox) -> Parts:
    """Check the e-mail of a delivery.

    Raises:
        InvalidMessageError: A part is not possible; it says which one and why.
    """
    for field, text in (("subject", message.subject), ("recipient", to.name)):
        if UNPRINTABLE.search(text):
            raise InvalidMessageError(field, "has line breaks or control characters")
    for field, text in (("subject", message.subject), ("text", message.text), ("html", message.html or "")):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidMessageError(field, "has half of a surrogate pair, which is no character") from None
    headers = {"Auto-Submitted": "auto-generated"}
    if message.unsubscribe_url is not None:
        headers |= unsubscribe_fields(message.unsubscribe_url)
    for name, value in message.headers.items():
        check_field(name, value)
        headers[name] = text_field(name, value).partition(": ")[2].replace("\r\n", "")
    return Parts(
        id=claim.delivery_id,
        sender=sender if message.sender is None else mailbox_of("sender", message.sender),
        to=to,
        subject=message.subject,
        text=message.text,
        html=message.html,
        reply_to=tuple(mailbox_of("reply_to", each) for each in message.reply_to),
        headers=headers,
    )


def recipient_of(destination: Destination) -> Mailbox:
    """Return the mailbox that a delivery goes to, with the name that the recipient's record has.

    Raises:
        InvalidInputError: The address, which another program may have stored, is none.
    """
    return Mailbox(canonical_address(destination.address), getattr(destination.config, "name", None) or "")


def request_of(
    message: Message, destination: Destination, make: Callable[[EmailMessage, Mailbox], HttpRequest]
) -> HttpRequest | Outcome:
    """Return the request that sends an e-mail, or the outcome of one that cannot be sent.

    Args:
        make: Makes it for a recipient, or raises :class:`~.mime.InvalidMessageError`.
    """
    if not isinstance(message, EmailMessage):
        raise TypeError(f"e-mail is an EmailMessage, not a {type(message).__name__}")
    try:
        to = recipient_of(destination)
    except InvalidInputError as error:
        return BadRecipient(reason="invalid_address", answer=Answer(body=str(error).encode()))
    try:
        return make(message, to)
    except InvalidMessageError as error:
        return error.outcome


def sender_of(url: ProviderUrl) -> Mailbox:
    """Return the mailbox of ``From`` that a provider's URL names.

    Raises:
        ConfigurationError: It names none.
    """
    text = url.options.get("sender")
    if not text:
        raise url.wrong("sender= is missing: the address in From, such as sender=shop@example.org")
    try:
        return parse_mailbox(text)
    except InvalidInputError as error:
        raise url.wrong(f"sender: {'; '.join(error.problems)}") from None


def parts_in(requests: Sequence[HttpRequest]) -> list[BulkPart]:
    """Return the parts of requests that can be joined."""
    return [request.part for request in requests if request.part is not None]


def first_by_address(requests: Sequence[HttpRequest]) -> dict[str, Any]:
    """Return what a joined request has by address.

    An address is in it once only, as vendors want it: what else goes to it is sent afterwards (see :func:`sent_once`).
    The value of each part is the address, and what the request has of it.
    """
    found: dict[str, Any] = {}
    for part in parts_in(requests):
        found.setdefault(*part.value)
    return found


def sent_once(requests: Sequence[HttpRequest]) -> list[bool]:
    """Tell of each request whether it is in the joined one, or an earlier one to its address is."""
    seen: set[str] = set()
    found = []
    for part in parts_in(requests):
        found.append(part.value[0] not in seen)
        seen.add(part.value[0])
    return found
