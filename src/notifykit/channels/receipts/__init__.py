"""Receipts of providers: verified and parsed, one module for each vendor.

What a vendor sends becomes :class:`~notifykit.models.receipt.ProviderReceipt` values without any I/O::

    receipts = receipt_verifier("mailgun", "signing key").receipts(headers, body, url, now=now)

``notifykit.contrib.provider_receipts`` is the web application that does this and stores the result.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from importlib import import_module
from typing import Protocol

from ...errors import ConfigurationError
from ...models.receipt import ProviderReceipt
from ...signing.verifier import ReceivedHeaders

__all__ = ["ReceiptVerifier", "known_verifiers", "receipt_verifier"]

#: The class of each vendor; it takes one or several secrets.
_VERIFIERS = {
    "mailgun": "notifykit.channels.receipts.mailgun:MailgunReceipts",
    "postmark": "notifykit.channels.receipts.postmark:PostmarkReceipts",
    "sendgrid": "notifykit.channels.receipts.sendgrid:SendGridReceipts",
    "ses": "notifykit.channels.receipts.ses:SesReceipts",
    "twilio": "notifykit.channels.receipts.twilio:TwilioReceipts",
    "vonage": "notifykit.channels.receipts.vonage:VonageReceipts",
}


class ReceiptVerifier(Protocol):
    """Verifies what one vendor sends, and reads it.

    Attributes:
        name: The vendor, as the receipts name it.
    """

    @property
    def name(self) -> str: ...

    def receipts(self, headers: ReceivedHeaders, body: bytes, url: str, *, now: datetime) -> list[ProviderReceipt]:
        """Return the receipts of a request: none if it is authentic and reports nothing that is of interest.

        May be called in any thread, and several times at once.

        Args:
            headers: The request headers, a mapping or pairs; names in any case, text or bytes.
            body: The request body exactly as received.
            url: The URL that the vendor has called, with its query: behind a proxy the public one.
            now: The current time.

        Raises:
            VerificationError: The request is not authentic, or it is malformed; nothing else is raised.
        """
        ...


def receipt_verifier(name: str, secrets: str | Iterable[str]) -> ReceiptVerifier:
    """Return the verifier of a vendor.

    Args:
        name: ``mailgun``, ``postmark``, ``sendgrid``, ``ses``, ``twilio`` or ``vonage``.
        secrets: One or, while they are rotated, several: what it is is said by the vendor's class.

    Raises:
        ConfigurationError: There is no such vendor, or a secret cannot be one of it.
    """
    path = _VERIFIERS.get(name)
    if path is None:
        raise ConfigurationError(f"no receipts of {name[:40]!r} can be verified; known: {', '.join(known_verifiers())}")
    module, _, attribute = path.partition(":")
    verifier: ReceiptVerifier = getattr(import_module(module), attribute)(secrets)
    return verifier


def known_verifiers() -> list[str]:
    """Return the names of all vendors whose receipts can be verified."""
    return sorted(_VERIFIERS)
