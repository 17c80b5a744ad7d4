"""A ring of keys that encrypts values with AES-256-GCM, each bound to its encryption context.

An encrypted text is ``nk1.<key id>.<nonce>.<ciphertext>``, the last two in unpadded base64url; encrypted
bytes are ``nk1.<key id>.`` followed by the nonce and the ciphertext as they are.

The *context* of a value names its table, tenant, row and column.  It is the associated data, so
that a ciphertext which was moved to another row or column does not decrypt; and the key that encrypts is
derived from the ring's key and the context, so that random nonces stay safe however many values
one key of the ring encrypts (NIST SP 800-38D allows 2**32 for a key; here that is the limit of each context).
"""

from __future__ import annotations

import binascii
import hmac
import os
import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Mapping
from functools import cache
from typing import Any, Self

from ..errors import ConfigurationError, MissingKeyError, TamperedError
from ..models import checks

KEY_BYTES = 32
_NONCE_BYTES, _TAG_BYTES = 12, 16
_TEXT, _BYTES = "nk1.", b"nk1."
# base64url and back, without the checks of ``base64``: thousands of secrets are decrypted at a time, and
# compared again.
_FOR_TEXT, _FOR_BASE64 = bytes.maketrans(b"+/", b"-_"), bytes.maketrans(b"-_", b"+/")
_ID = re.compile(r"[A-Za-z0-9-]{1,32}")
#: Separates these derived keys from all others that may ever be made of the same key.
_PURPOSE = b"notifykit vault 1\0"
_SIGNING = b"notifykit signature 1\0"
#: 32 random bytes have fewer distinct values once in 10**24 times: a key with fewer is a typed placeholder.
_FEWEST_DIFFERENT = 12

_KEYS = checks.mapping(checks.string, checks.instance(bytes), most=1000)

HOW_TO_MAKE = "make one with: notifykit keys generate"


def context(*names: str) -> str:
    """Return the encryption context of a value as one text: table, tenant, row, column; it is unique to the value."""
    return "".join(f"{len(name)}:{name};" for name in names)


class KeyRing:
    """256-bit keys by key id; the first one encrypts, all of them decrypt.

    Immutable, and safe to use from several threads.

    Args:
        keys: By key id: up to 32 letters, digits and hyphens.

    Raises:
        ConfigurationError: An id or a key is not acceptable.
    """

    __slots__ = ("_keys", "current")

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        if (wrong := _KEYS(keys)) is not None:
            raise ConfigurationError(f"keys: {wrong}; {HOW_TO_MAKE}")
        if not keys:
            raise ConfigurationError(f"a key ring needs at least one key; {HOW_TO_MAKE}")
        for key_id, key in keys.items():
            if not _ID.fullmatch(key_id):
                raise ConfigurationError(f"key id {key_id!r}: use up to 32 letters, digits and hyphens")
            if len(key) != KEY_BYTES:
                raise ConfigurationError(f"key {key_id!r} has {len(key)} bytes instead of {KEY_BYTES}; {HOW_TO_MAKE}")
            if len(set(key)) < _FEWEST_DIFFERENT:
                raise ConfigurationError(f"key {key_id!r} is not random; {HOW_TO_MAKE}")
        self._keys = dict(keys)
        #: The id of the key that encrypts.
        self.current = next(iter(self._keys))

    @classmethod
    def generate(cls, name: str = "k") -> Self:
        """Return a ring with one new key, its id made of ``name`` and random digits."""
        return cls({f"{name}-{secrets.token_hex(4)}": secrets.token_bytes(KEY_BYTES)})

    @classmethod
    def parse(cls, text: str, *, source: str = "keys") -> Self:
        """Read ``id:base64,id2:base64``; the first key is the current one.

        Args:
            source: What error messages call the text; they never show it.

        Raises:
            ConfigurationError: The text is not of that form.
        """
        if (wrong := checks.string(text)) is not None:
            raise ConfigurationError(f"{source}: {wrong}; {HOW_TO_MAKE}")
        keys: dict[str, bytes] = {}
        for number, entry in enumerate(filter(None, (part.strip() for part in text.split(","))), 1):
            key_id, colon, encoded = (part.strip() for part in entry.partition(":"))
            where = f"{source}, entry {number}"
            if not colon or not _ID.fullmatch(key_id):
                raise ConfigurationError(f"{where}: write it as id:base64; {HOW_TO_MAKE}")
            if key_id in keys:
                raise ConfigurationError(f"{where}: there are two keys with the id {key_id!r}")
            keys[key_id] = _key(encoded, where)
        if (wrong := _KEYS(keys)) is not None:
            raise ConfigurationError(f"keys: {wrong}; {HOW_TO_MAKE}")
        if not keys:
            raise ConfigurationError(f"{source}: there is no key in it; {HOW_TO_MAKE}")
        return cls(keys)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all keys, the current one first."""
        return tuple(self._keys)

    def text(self) -> str:
        """Return the ring as :meth:`parse` reads it.  This is the secret itself."""
        return ",".join(f"{key_id}:{b64encode(key).decode()}" for key_id, key in self._keys.items())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self._keys))})"

    def __reduce__(self) -> Any:
        raise TypeError("a key ring is not pickled: pass KeyRing.text() over a private channel instead")

    # -- signatures ------------------------------------------------------------------------------

    def mac(self, data: bytes, *, purpose: str, key_id: str | None = None) -> bytes:
        """Return the HMAC-SHA-256 of ``data`` under a key that is derived for ``purpose`` alone.

        Args:
            key_id: The key of the ring; by default the current one.

        Raises:
            MissingKeyError: The ring does not have the key.
        """
        key = self._keys.get(self.current if key_id is None else key_id)
        if key is None:
            raise MissingKeyError(str(key_id), self.ids)
        return hmac.digest(hmac.digest(key, _SIGNING + purpose.encode(), "sha256"), data, "sha256")

    # -- texts -----------------------------------------------------------------------------------

    def encrypt(self, plain: bytes, *, context: str) -> str:
        """Return ``plain`` encrypted with the current key, bound to ``context``."""
        nonce, encrypted = _encrypt(self._keys[self.current], plain, context)
        return f"{_TEXT}{self.current}.{encoded(nonce)}.{encoded(encrypted)}"

    def open(self, encrypted: str, *, context: str) -> bytes:
        """Return the plain text of what was encrypted for ``context``.

        Raises:
            MissingKeyError: The ring does not have the key.
            TamperedError: The value was changed, or it was encrypted for another context.
        """
        parts = encrypted.split(".")
        if (
            len(parts) != 4
            or (parts[1] not in self._keys and key_id_of(encrypted) is None)
            or not is_encrypted(encrypted)
        ):
            raise TamperedError(context)
        nonce, ciphertext = decoded(parts[2]), decoded(parts[3])
        if nonce is None or ciphertext is None:
            raise TamperedError(context)
        return self._decrypted(parts[1], nonce, ciphertext, context)

    # -- bytes -----------------------------------------------------------------------------------

    def encrypt_bytes(self, plain: bytes, *, context: str) -> bytes:
        """Return ``plain`` encrypted as bytes: a third shorter than the text."""
        nonce, encrypted = _encrypt(self._keys[self.current], plain, context)
        return b"%b%b.%b%b" % (_BYTES, self.current.encode(), nonce, encrypted)

    def open_bytes(self, encrypted: bytes, *, context: str) -> bytes:
        """Return the plain text of what was encrypted as bytes; see :meth:`open`."""
        key_id = key_id_of(encrypted)
        if key_id is None:
            raise TamperedError(context)
        start = len(_BYTES) + len(key_id) + 1
        nonce_ends = start + _NONCE_BYTES
        return self._decrypted(key_id, encrypted[start:nonce_ends], encrypted[nonce_ends:], context)

    def _decrypted(self, key_id: str, nonce: bytes, encrypted: bytes, context: str) -> bytes:
        key = self._keys.get(key_id)
        if key is None:
            raise MissingKeyError(key_id, self.ids)
        if len(nonce) != _NONCE_BYTES or len(encrypted) < _TAG_BYTES:
            raise TamperedError(context)
        place = context.encode()
        cipher, invalid = _primitives()
        try:
            plain: bytes = cipher(_derived(key, place)).decrypt(nonce, encrypted, place)
        except invalid as error:
            raise TamperedError(context) from error
        return plain


def is_encrypted(value: str | bytes) -> bool:
    """Return whether a stored value is encrypted."""
    return value.startswith(_TEXT) if isinstance(value, str) else value.startswith(_BYTES)


def key_id_of(value: str | bytes) -> str | None:
    """Return the id of the key that encrypted a stored value; ``None`` if the value names none."""
    if not is_encrypted(value):
        return None
    # An id is at most 32 characters, so the full stop behind it is not far.
    start = value[len(_TEXT) : len(_TEXT) + 33]
    key_id = (start if isinstance(start, str) else start.decode("latin-1")).partition(".")
    return key_id[0] if key_id[1] and _ID.fullmatch(key_id[0]) else None


def prefix(key_id: str) -> str:
    """Return the prefix of every value encrypted with a key."""
    return f"{_TEXT}{key_id}."


def _encrypt(key: bytes, plain: bytes, context: str) -> tuple[bytes, bytes]:
    place = context.encode()
    nonce = os.urandom(_NONCE_BYTES)
    return nonce, _primitives()[0](_derived(key, place)).encrypt(nonce, plain, place)


def _derived(key: bytes, place: bytes) -> bytes:
    return hmac.digest(key, _PURPOSE + place, "sha256")


@cache
def _primitives() -> tuple[Any, type[Exception]]:
    """Return the cipher and what it raises; loaded with the first value that is encrypted or decrypted."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM, InvalidTag


def encoded(data: bytes) -> str:
    """Return bytes in unpadded base64url."""
    return binascii.b2a_base64(data, newline=False).rstrip(b"=").translate(_FOR_TEXT).decode()


def decoded(text: str) -> bytes | None:
    """Return the bytes of :func:`encoded`; ``None`` if the text is not what it returns."""
    try:
        data = binascii.a2b_base64(text.encode("ascii").translate(_FOR_BASE64) + b"=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None
    return data if encoded(data) == text else None  # one value has one spelling


def _key(encoded: str, where: str) -> bytes:
    plain = encoded.rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        key = b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigurationError(f"{where}: that is not {KEY_BYTES} bytes in base64; {HOW_TO_MAKE}") from None
    return key
