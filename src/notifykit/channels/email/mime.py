"""The bytes of an e-mail: header fields and bodies as RFC 5322, 2045 to 2047, 6532 and 8058 want them.

Pure.  The standard library's policies take ten times as long for the same bytes; the tests read what is written
here back with them.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64encode, encodebytes
from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from ...errors import InvalidInputError
from ...models.checks import UNPRINTABLE
from ...models.messages import EmailMessage
from ...models.outcome import Answer, Permanent
from .address import Mailbox, parse_mailbox

#: RFC 5322: a line should have 78 characters and must not have more than 998.
_LINE, _LONGEST_LINE = 78, 998
_NAME = re.compile(r"[!-9;-~]{1,70}")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")
_URL = re.compile(r"https://[!-;=?-~]+")
_ID = re.compile(r"[A-Za-z0-9_.-]{1,255}")
_CONTROL = "has line breaks or control characters"
#: What the channel writes itself, or the servers on the way.
_OWN = frozenset(
    {
        *("date", "from", "sender", "to", "cc", "bcc", "subject", "message-id", "reply-to", "auto-submitted"),
        *("list-unsubscribe", "list-unsubscribe-post", "mime-version", "received", "return-path"),
        *("dkim-signature", "authentication-results"),
    }
)


class InvalidMessageError(InvalidInputError):
    """A message cannot be written as an e-mail.

    Attributes:
        field: Which part of it: ``subject``, ``sender``, ``headers`` …
    """

    subject = "e-mail"

    def __init__(self, field: str, problem: str) -> None:
        super().__init__([f"{field}: {problem}"])
        self.field = field

    @property
    def outcome(self) -> Permanent:
        """What becomes of its delivery."""
        return Permanent(reason=f"invalid_{self.field}", answer=Answer(body=str(self).encode()))


class Mail(NamedTuple):
    """An e-mail and its envelope.

    Attributes:
        sender: The address of the envelope, where bounces go.
        data: Header and body with ``CRLF`` line ends.
        is_utf8: Whether an address has characters outside ASCII, which needs ``SMTPUTF8``.
    """

    sender: str
    recipient: str
    data: bytes
    is_utf8: bool


def write(
    message: EmailMessage, *, sender: Mailbox, to: Mailbox, id: str, now: datetime, return_path: str | None = None
) -> Mail:
    """Return the e-mail of one delivery.

    Args:
        sender: Of ``From``, if the message names none.
        id: The delivery's: the same in each attempt, so that mail programs recognise a repeated message.
        return_path: Where bounces go; by default to the sender.

    Raises:
        InvalidMessageError: A part cannot be written; it says which one and why.
    """
    if not _ID.fullmatch(id):
        raise InvalidMessageError("id", "has characters that a Message-ID cannot have")
    if UNPRINTABLE.search(message.subject):
        raise InvalidMessageError("subject", _CONTROL)
    if UNPRINTABLE.search(to.name):
        raise InvalidMessageError("recipient", f"the name {_CONTROL}")
    author = sender if message.sender is None else mailbox_of("sender", message.sender)
    head = [
        f"Date: {format_datetime(now)}",
        _from_field(author),
        f"To: {_shown(to, 4)}",
        text_field("Subject", message.subject),
        f"Message-ID: <{id}@{author.domain}>",
        "Auto-Submitted: auto-generated",
        "MIME-Version: 1.0",
    ]
    if message.reply_to:
        head.append("Reply-To: " + ",\r\n ".join(_shown(mailbox_of("reply_to", each)) for each in message.reply_to))
    if message.unsubscribe_url is not None:
        head += [f"{name}: {value}" for name, value in unsubscribe_fields(message.unsubscribe_url).items()]
    for name, value in message.headers.items():
        check_field(name, value)
        head.append(text_field(name, value))
    content = _content(message, id)
    data = "\r\n".join(head).encode() + b"\r\n" + content
    bounces = return_path or author.address
    return Mail(bounces, to.address, data, is_utf8=not (data.isascii() and bounces.isascii()))


# -- header fields -------------------------------------------------------------------------------------


def text_field(name: str, value: str) -> str:
    """Return a header field of free text: folded, and encoded where it is not plain ASCII (RFC 2047)."""
    value = value.strip(" ")
    line = f"{name}: {value}"
    if value.isascii() and "=?" not in value:
        if len(line) <= _LINE:
            return line
        if (folded := _folded(line)) is not None:
            return folded
    return f"{name}: {_encoded(value, len(name) + 2)}"


def _folded(line: str) -> str | None:
    """Return a line broken before blanks, or ``None`` if it has no blank where one is needed."""
    lines = []
    while len(line) > _LINE:
        at = line.rfind(" ", 1, _LINE + 1)
        if at <= 0 or line[:at].isspace() or line[at - 1] in " :":
            return None
        lines.append(line[:at])
        line = line[at:]
    return "\r\n".join([*lines, line])


def _encoded(text: str, column: int) -> str:
    """Return encoded words for a text that begins in ``column``; none is longer than a line."""
    data = text.encode()
    room = max((76 - column - 12) // 4 * 3, 6)
    words, at = [], 0
    while at < len(data):
        end = at + room
        while end < len(data) and data[end] & 0xC0 == 0x80:  # inside a character
            end -= 1
        words.append(f"=?utf-8?b?{b64encode(data[at:end]).decode()}?=")
        at, room = end, 45
    return "\r\n ".join(words)


@lru_cache(maxsize=1024)
def _from_field(author: Mailbox) -> str:
    return f"From: {_shown(author, 6)}"


def _shown(mailbox: Mailbox, column: int = 10) -> str:
    """Return a mailbox as header fields have it; its address is on a line of its own if it does not fit."""
    if not mailbox.name:
        return mailbox.address
    if mailbox.name.isascii() and len(mailbox.name) <= 60 and "=?" not in mailbox.name:
        escaped = mailbox.name.replace("\\", "\\\\").replace('"', '\\"')
        is_plain = _ATOMS.fullmatch(mailbox.name) and mailbox.name == " ".join(mailbox.name.split())
        name = mailbox.name if is_plain else f'"{escaped}"'
    else:
        name = _encoded(mailbox.name, column)
    fits = column + len(name) + len(mailbox.address) + 3 <= _LINE
    return f"{name}{' ' if fits else chr(13) + chr(10) + ' '}<{mailbox.address}>"


def mailbox_of(field: str, text: str) -> Mailbox:
    """Read the mailbox in a field of a message.

    Raises:
        InvalidMessageError: It is none.
    """
    try:
        return parse_mailbox(text)
    except InvalidInputError as error:
        raise InvalidMessageError(field, "; ".join(error.problems)) from None


def unsubscribe_fields(url: str) -> dict[str, str]:
    """Return the header fields of one-click unsubscribing (RFC 8058).

    Raises:
        InvalidMessageError: The URL is not one that they can have.
    """
    if not _URL.fullmatch(url) or len(url) > _LONGEST_LINE - 30:
        raise InvalidMessageError("unsubscribe_url", "must be an https:// address in ASCII, of at most 968 characters")
    return {"List-Unsubscribe": f"<{url}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}


def check_field(name: str, value: str) -> None:
    """Check a header field of the host's own.

    Raises:
        InvalidMessageError: Its name or its value is not possible, or the channel writes it.
    """
    lower = name.lower()
    if not _NAME.fullmatch(name):
        raise InvalidMessageError("headers", "a name has characters that header names cannot have")
    if lower in _OWN or lower.startswith(("content-", "resent-", "arc-")):
        raise InvalidMessageError("headers", f"{name} is written by the channel or by mail servers")
    if UNPRINTABLE.search(value):
        raise InvalidMessageError("headers", f"{name} {_CONTROL}")


# -- bodies --------------------------------------------------------------------------------------------


def _content(message: EmailMessage, id: str) -> bytes:
    """Return the rest of the header and the body: one part, or the plain and the HTML form of the same."""
    text = _part("text", "plain", message.text)
    if message.html is None:
        return text
    html = _part("html", "html", message.html)
    mark = f"=_{blake2b(id.encode(), digest_size=15).hexdigest()}".encode()
    while mark in text or mark in html:  # only if a text repeats what was made for this delivery before
        mark += b"_"
    return b'Content-Type: multipart/alternative; boundary="%b"\r\n\r\n--%b\r\n%b\r\n--%b\r\n%b\r\n--%b--\r\n' % (
        mark,
        mark,
        text,
        mark,
        html,
        mark,
    )


def _part(field: str, kind: str, text: str) -> bytes:
    """Return one part with its own header fields."""
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        raise InvalidMessageError(field, "has half of a surrogate pair, which is no character") from None
    if b"\r" in raw:
        raw = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    charset = "us-ascii" if raw.isascii() else "utf-8"
    encoding, body = _transfer(raw)
    head = f"Content-Type: text/{kind}; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    return head.encode() + body


def _transfer(raw: bytes) -> tuple[str, bytes]:
    """Return the transfer encoding of a body, and the body in it."""
    if not raw.endswith(b"\n"):
        raw += b"\n"
    if raw.isascii() and b"\0" not in raw and max(map(len, raw.split(b"\n"))) <= _LONGEST_LINE:
        return "7bit", raw.replace(b"\n", b"\r\n")
    quoted = binascii.b2a_qp(raw, istext=True)
    if len(quoted) <= len(raw) * 4 / 3:
        return "quoted-printable", quoted.replace(b"\n", b"\r\n")
    return "base64", encodebytes(raw).replace(b"\n", b"\r\n")
