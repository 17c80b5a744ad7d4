"""Signed texts that fit into a link or a cookie: nothing about them is stored.

A token is ``<version>.<key id>.<content>.<signature>``, the last two in unpadded base64url.  The signature is an
HMAC-SHA-256, cut to 128 bits, under a key that is derived from a key of the ring for one purpose alone.  New tokens
are signed with the ring's first key; those of older keys stay valid as long as the ring has the key.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

from ..errors import InvalidLinkError, MissingKeyError
from .ring import KeyRing, decoded, encoded

#: A longer token is not looked at.
MAX_TOKEN = 4096
_SIGNATURE_BYTES = 16


class Signer:
    """Signs contents for one purpose, and reads what it has signed.

    Args:
        ring: Returns the keys; called when the first token is signed or read.
        version: How tokens begin.
        purpose: What the key is derived for.
    """

    def __init__(self, ring: Callable[[], KeyRing], version: str, purpose: str) -> None:
        self._ring = ring
        self._version = version
        self._purpose = purpose

    def sign(self, content: bytes) -> str:
        """Return the token of a content."""
        ring = self._ring()
        signed = f"{self._version}.{ring.current}.{encoded(content)}"
        return f"{signed}.{encoded(self._signature(ring, ring.current, signed))}"

    def read(self, token: str) -> bytes:
        """Return the content of a token.

        Raises:
            InvalidLinkError: It was not signed with a key of the ring, or was changed.
        """
        parts = token.split(".") if len(token) <= MAX_TOKEN and token.isascii() else []
        if len(parts) != 4 or parts[0] != self._version:
            raise InvalidLinkError("malformed")
        signature, content = decoded(parts[3]), decoded(parts[2])
        try:
            expected = self._signature(self._ring(), parts[1], token.rpartition(".")[0])
        except MissingKeyError:
            raise InvalidLinkError("unknown_key") from None
        if signature is None or content is None or not hmac.compare_digest(expected, signature):
            raise InvalidLinkError("tampered")
        return content

    def _signature(self, ring: KeyRing, key_id: str, signed: str) -> bytes:
        return ring.mac(signed.encode(), purpose=self._purpose, key_id=key_id)[:_SIGNATURE_BYTES]
