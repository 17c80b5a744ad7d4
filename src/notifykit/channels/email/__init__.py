"""E-mail: addresses, the bytes of a mail, and SMTP."""

from __future__ import annotations

from .address import Mailbox, canonical_address, parse_mailbox
from .mime import InvalidMessageError, Mail, write
from .options import SmtpOptions, parse_url
from .provider import SmtpProvider, channel_from_url

__all__ = [
    "InvalidMessageError",
    "Mail",
    "Mailbox",
    "SmtpOptions",
    "SmtpProvider",
    "canonical_address",
    "channel_from_url",
    "parse_mailbox",
    "parse_url",
    "write",
]
