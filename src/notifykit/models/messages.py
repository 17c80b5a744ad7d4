"""What a person reads: one value for each channel, made from an event by a template or by a function of the host."""

from __future__ import annotations

from collections.abc import Mapping

import attrs


@attrs.frozen(kw_only=True)
class EmailMessage:
    """An e-mail; its address and Message-ID belong to the delivery.

    Attributes:
        subject: One line of text, not encoded.
        text: The plain form, which every e-mail has.
        html: The form that most mail programs show; ``None`` for a plain e-mail.
        sender: The mailbox of ``From``, with or without a name; ``None`` for the provider's own.
        reply_to: Mailboxes of ``Reply-To``.
        headers: Further header fields; none that the channel writes itself.
        unsubscribe_url: An HTTPS address for one-click unsubscribing (RFC 8058); marketing needs one.
        template: Name and version of the template it was made from, for the record.
    """

    subject: str
    text: str
    html: str | None = None
    sender: str | None = None
    reply_to: tuple[str, ...] = ()
    headers: Mapping[str, str] = attrs.field(factory=dict)
    unsubscribe_url: str | None = None
    template: str | None = None


@attrs.frozen(kw_only=True)
class SmsMessage:
    """A text message."""

    text: str
    template: str | None = None


@attrs.frozen(kw_only=True)
class PushMessage:
    """A notification on a device or in a browser.

    Attributes:
        url: What a tap opens.
        data: Short texts for the app.
        collapse_key: A later message with the same key replaces this one.
    """

    title: str
    body: str
    url: str | None = None
    data: Mapping[str, str] = attrs.field(factory=dict)
    collapse_key: str | None = None
    template: str | None = None


@attrs.frozen(kw_only=True)
class InAppMessage:
    """A row of a person's inbox.

    Attributes:
        url: What a click opens.
        data: What the host's client needs beside the text: JSON types.
    """

    title: str
    body: str = ""
    url: str | None = None
    data: Mapping[str, object] = attrs.field(factory=dict)
    template: str | None = None


@attrs.frozen(kw_only=True)
class ChatMessage:
    """A message to a chat room."""

    text: str
    template: str | None = None


#: By the names of people's channels.
KINDS: Mapping[str, type[Message]] = {
    "email": EmailMessage,
    "sms": SmsMessage,
    "push": PushMessage,
    "in_app": InAppMessage,
    "chat": ChatMessage,
}

Message = EmailMessage | SmsMessage | PushMessage | InAppMessage | ChatMessage


def is_empty(message: Message) -> bool:
    """Tell whether a message would show nothing to the person."""
    match message:
        case EmailMessage():
            shown = message.text + (message.html or "")
        case PushMessage() | InAppMessage():
            shown = message.title + message.body
        case _:
            shown = message.text
    return not shown.strip()


def title_of(event_type: str) -> str:
    """Return an event type as words: ``order.line_shipped`` is ``Order line shipped``."""
    words = event_type.replace(".", " ").replace("_", " ").strip()
    return words[:1].upper() + words[1:]
