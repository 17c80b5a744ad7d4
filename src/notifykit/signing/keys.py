"""Signing keys: how they are written, made and checked.

``whsec_`` is a shared HMAC-SHA256 secret (signatures ``v1``), ``whsk_`` an Ed25519
private key and ``whpk_`` its public half (signatures ``v1a``).  What we *issue or
store for a tenant* is strict (:func:`secret_problem`); what we *use* may be written as
other senders write it: without prefix, without padding, down to 16 bytes.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal, Protocol

from notifykit.errors import ConfigurationError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SYMMETRIC, PRIVATE, PUBLIC = "whsec_", "whsk_", "whpk_"

#: Standard Webhooks 1.0.0: a shared secret has 24 to 64 random bytes.
STRICT_BYTES = range(24, 64 + 1)

#: 128 bits is the least that cannot be searched; more than 256 bytes is a paste accident, not a key.
USABLE_BYTES = range(16, 256 + 1)

_NEW_BYTES = 32
_SEED_BYTES = 32

#: The block of SHA-256 and what RFC 2104 does to the bytes of a key that fills one.
_BLOCK_BYTES = 64
_INNER_PAD = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD = bytes(byte ^ 0x5C for byte in range(256))
_LONGEST_TEXT = 512
_BASE64 = re.compile(r"([A-Za-z0-9+/]+)(={0,2})")


class SigningKey(Protocol):
    """Makes one entry of the signature header."""

    def sign(self, head: bytes, body: bytes) -> bytes:
        """Return ``version,base64`` for the message ``head + body``."""
        ...


class VerifyingKey(Protocol):
    """Checks the entries of a signature header."""

    def matches(self, head: bytes, body: bytes, entries: Sequence[bytes]) -> bool:
        """Return whether one of ``entries`` is this key's signature; every entry is compared."""
        ...


class HmacKey:
    """A shared secret: signs and verifies ``v1``."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, secret: bytes) -> None:
        # RFC 2104 in its two halves: hashing the padded key costs as much as hashing 128 bytes, copies of the
        # keyed states save that, and a copy of an `hmac` object costs three times as much as of a hash.
        key = hashlib.sha256(secret).digest() if len(secret) > _BLOCK_BYTES else secret
        key = key.ljust(_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(key.translate(_INNER_PAD))
        self._outer = hashlib.sha256(key.translate(_OUTER_PAD))

    def sign(self, head: bytes, body: bytes) -> bytes:
        """Return ``v1,base64`` for the message ``head + body``."""
        inner = self._inner.copy()
        inner.update(head)
        inner.update(body)  # apart from the head, so that a large body is not copied
        outer = self._outer.copy()
        outer.update(inner.digest())
        return b"v1," + b2a_base64(outer.digest(), newline=False)

    def matches(self, head: bytes, body: bytes, entries: Sequence[bytes]) -> bool:
        """Return whether one of ``entries`` is the signature.

        Whole entries are compared as text, so nothing but the canonical spelling matches.
        """
        expected = self.sign(head, body)
        found = False
        for entry in entries:
            found |= hmac.compare_digest(expected, entry)
        return found


class Ed25519SigningKey:
    """A private key: signs ``v1a``."""

    __slots__ = ("_key",)

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    def sign(self, head: bytes, body: bytes) -> bytes:
        """Return ``v1a,base64`` for the message ``head + body``."""
        return b"v1a," + b2a_base64(self._key.sign(head + body), newline=False)


class Ed25519VerifyingKey:
    """A public key: verifies ``v1a`` and is never used for ``v1``."""

    __slots__ = ("_invalid", "_key")

    def __init__(self, public: bytes) -> None:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        self._key = Ed25519PublicKey.from_public_bytes(public)
        self._invalid = InvalidSignature

    def matches(self, head: bytes, body: bytes, entries: Sequence[bytes]) -> bool:
        """Return whether one of ``entries`` is a canonical signature by this key."""
        message = head + body
        found = False
        for entry in entries:
            signature = _v1a_signature(entry)
            if signature is not None:
                found |= self._verifies(signature, message)
        return found

    def _verifies(self, signature: bytes, message: bytes) -> bool:
        try:
            self._key.verify(signature, message)
        except self._invalid:
            return False
        return True


def generate_secret(kind: Literal["v1", "v1a"] = "v1") -> str:
    """Make a new signing key: ``whsec_`` for ``v1``, ``whsk_`` (seed and public half) for ``v1a``."""
    if kind == "v1":
        return SYMMETRIC + _encode(secrets.token_bytes(_NEW_BYTES))
    if kind != "v1a":
        shown = repr(kind[:40]) if isinstance(kind, str) else type(kind).__name__
        raise ConfigurationError(f"there is no signature kind {shown}; use 'v1' or 'v1a'")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    return PRIVATE + _encode(key.private_bytes_raw() + key.public_key().public_bytes_raw())


def public_key(whsk: str) -> str:
    """Return the ``whpk_`` that verifies what ``whsk`` signs; this is what a receiver is given.

    Raises:
        ConfigurationError: ``whsk`` is not a usable private key.
    """
    text = _text(whsk)
    if not text.startswith(PRIVATE):
        raise ConfigurationError(f"unusable signing key: only a {PRIVATE} key has a public half")
    return PUBLIC + _encode(_private(text).public_key().public_bytes_raw())


def secret_problem(value: object) -> str | None:
    """Return why ``value`` must not become an endpoint's signing key, or ``None`` if it may.

    This is the strict check for keys that a tenant brings: prefix, canonical base64, 24 to
    64 bytes for ``whsec_``; for ``whsk_`` a seed, or a seed with the public half that fits it.
    """
    try:
        text = _text(value)
        if text.startswith(PRIVATE):
            _private(text, strict=True)
        elif text.startswith(SYMMETRIC):
            _symmetric(text, STRICT_BYTES, strict=True)
        elif text.startswith(PUBLIC):
            return "a public key cannot sign"
        else:
            return f"it must start with {SYMMETRIC} or {PRIVATE}"
    except ConfigurationError as error:
        return str(error).partition(": ")[2]
    return None


def signing_keys(values: str | Iterable[str], most: int) -> tuple[SigningKey, ...]:
    """Parse the keys of a sender."""
    keys: list[SigningKey] = []
    for text in _texts(values, most):
        if text.startswith(PUBLIC):
            raise ConfigurationError("unusable signing key: a public key cannot sign")
        if text.startswith(PRIVATE):
            keys.append(Ed25519SigningKey(_private(text)))
        else:
            keys.append(HmacKey(_symmetric(text, USABLE_BYTES)))
    return tuple(keys)


def verifying_keys(values: str | Iterable[str], most: int) -> tuple[VerifyingKey, ...]:
    """Parse the keys of a receiver."""
    keys: list[VerifyingKey] = []
    for text in _texts(values, most):
        if text.startswith(PRIVATE):
            # A private key can sign: one that is configured on a receiver has leaked, and accepting it would
            # hide that.
            raise ConfigurationError(
                f"unusable signing key: a private key does not belong on a receiver; give it the {PUBLIC} half"
            )
        if text.startswith(PUBLIC):
            keys.append(Ed25519VerifyingKey(_public(text)))
        else:
            keys.append(HmacKey(_symmetric(text, USABLE_BYTES)))
    return tuple(keys)


def _texts(values: str | Iterable[str], most: int) -> list[str]:
    if isinstance(values, str):
        return [_text(values)]
    try:
        texts = [_text(value) for value in values]
    except TypeError:
        raise ConfigurationError(
            f"unusable signing key: text or a sequence of texts is needed, not {type(values).__name__}"
        ) from None
    if not texts:  # fail closed: a receiver without keys would have to accept every request
        raise ConfigurationError("unusable signing key: none is configured")
    if len(texts) > most:
        raise ConfigurationError(f"unusable signing key: {len(texts)} keys, at most {most} can be in use")
    return texts


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(f"unusable signing key: text is needed, not {type(value).__name__}")
    if not value:
        raise ConfigurationError("unusable signing key: it is empty")
    if value != value.strip():
        raise ConfigurationError(
            "unusable signing key: it has a blank or a line break at an end (from a file or an environment variable?)"
        )
    return value


def _symmetric(text: str, allowed: range, *, strict: bool = False) -> bytes:
    secret = _decode(text.removeprefix(SYMMETRIC), strict=strict)
    if len(secret) not in allowed:
        raise ConfigurationError(
            f"unusable signing key: {len(secret)} bytes, needed are {allowed[0]} to {allowed[-1]} random bytes"
        )
    return secret


def _private(text: str, *, strict: bool = False) -> Ed25519PrivateKey:
    blob = _decode(text.removeprefix(PRIVATE), strict=strict)
    if len(blob) not in (_SEED_BYTES, 2 * _SEED_BYTES):
        raise ConfigurationError(
            f"unusable signing key: {len(blob)} bytes, an Ed25519 private key has {_SEED_BYTES} (the seed) "
            f"or {2 * _SEED_BYTES} (seed and public key)"
        )
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(blob[:_SEED_BYTES])
    public = blob[_SEED_BYTES:]
    if public and public != key.public_key().public_bytes_raw():
        raise ConfigurationError("unusable signing key: its public half does not belong to its seed")
    return key


def _public(text: str) -> bytes:
    public = _decode(text.removeprefix(PUBLIC), strict=False)
    if len(public) != _SEED_BYTES:
        raise ConfigurationError(f"unusable signing key: {len(public)} bytes, an Ed25519 public key has {_SEED_BYTES}")
    return public


def _decode(text: str, *, strict: bool) -> bytes:
    match = _BASE64.fullmatch(text) if len(text) <= _LONGEST_TEXT else None
    if match is None:
        raise ConfigurationError("unusable signing key: what follows the prefix is not base64")
    digits, padding = match.groups()
    wanted = -len(digits) % 4
    if wanted == 3 or len(padding) > wanted:
        raise ConfigurationError("unusable signing key: its base64 is cut off or damaged")
    decoded = a2b_base64(digits + "=" * wanted)
    if strict and _encode(decoded) != text:
        raise ConfigurationError("unusable signing key: its base64 lacks padding or has stray bits at the end")
    return decoded


def _encode(raw: bytes) -> str:
    return b2a_base64(raw, newline=False).decode("ascii")


def _v1a_signature(entry: bytes) -> bytes | None:
    """Return the 64 bytes of a canonical ``v1a`` entry."""
    version, _, text = entry.partition(b",")
    if version != b"v1a" or len(text) != 88:
        return None
    try:
        signature = a2b_base64(text, strict_mode=True)
    except ValueError:
        return None
    canonical = len(signature) == 64 and b2a_base64(signature, newline=False) == text
    return signature if canonical else None
