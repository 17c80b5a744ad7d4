"""Message encryption for Web Push: RFC 8291 over the content encoding ``aes128gcm`` of RFC 8188.

Pure, except that keys and salts are random.
"""

from __future__ import annotations

import os
from base64 import urlsafe_b64decode

from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDH,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

#: Bytes of a body that push services must take, and of the text that fits into it: beside it there are a header of 86
#: bytes, a tag of 16 and a delimiter of one.
MAX_BODY, MAX_TEXT = 4096, 3993


def encrypt(
    text: bytes, p256dh: str, auth: str, *, key: EllipticCurvePrivateKey | None = None, salt: bytes | None = None
) -> bytes:
    """Return the body of a request with ``text`` that only the browser can read.

    Args:
        p256dh: The public key of the subscription, in base64url.
        auth: Its shared secret, in base64url.
        key: Used once; by default a new one.
        salt: 16 bytes; by default new ones.

    Raises:
        ValueError: The keys of the subscription are not valid.
    """
    theirs = _decoded(p256dh)
    public = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), theirs)
    key = key or generate(SECP256R1())
    salt = salt or os.urandom(16)
    ours = public_point(key)
    secret = _hkdf(_decoded(auth), key.exchange(ECDH(), public), b"WebPush: info\0" + theirs + ours, 32)
    content_key = _hkdf(salt, secret, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _hkdf(salt, secret, b"Content-Encoding: nonce\0", 12)
    header = salt + MAX_BODY.to_bytes(4, "big") + bytes([len(ours)]) + ours
    return header + AESGCM(content_key).encrypt(nonce, text + b"\x02", None)  # 2 marks the last record


def public_point(key: EllipticCurvePrivateKey) -> bytes:
    """Return the public key as an uncompressed point of 65 bytes."""
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _hkdf(salt: bytes, secret: bytes, info: bytes, size: int) -> bytes:
    """Return HKDF-SHA-256 (RFC 5869) of at most 32 bytes, which takes one step."""
    return _hmac(_hmac(salt, secret), info + b"\x01")[:size]


def _hmac(key: bytes, data: bytes) -> bytes:
    made = HMAC(key, SHA256())
    made.update(data)
    return made.finalize()
