"""JSON Web Tokens (RFC 7519) for push services: signed, never read."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Mapping

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ...codec import dumps


def base64url(data: bytes) -> str:
    """Return base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(claims: Mapping[str, object], key: RSAPrivateKey | EllipticCurvePrivateKey, **header: str) -> str:
    """Return a token that is signed with RS256 or ES256, by the kind of the key."""
    is_rsa = isinstance(key, RSAPrivateKey)
    head = dumps({"alg": "RS256" if is_rsa else "ES256", "typ": "JWT", **header})
    content = f"{base64url(head)}.{base64url(dumps(claims))}"
    data = content.encode()
    if isinstance(key, RSAPrivateKey):
        signature = key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    else:
        r, s = decode_dss_signature(key.sign(data, ECDSA(hashes.SHA256())))
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return f"{content}.{base64url(signature)}"


def rsa_key(pem: str) -> RSAPrivateKey:
    """Read the private key of a Google service account.

    Raises:
        ValueError: It is none.
    """
    key = _key(pem)
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("not an RSA key")
    return key


def p256_key(pem: str) -> EllipticCurvePrivateKey:
    """Read a private key of the curve P-256.

    Raises:
        ValueError: It is none.
    """
    key = _key(pem)
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise ValueError("not a key of the curve P-256")
    return key


def _key(pem: str) -> object:
    try:
        return load_pem_private_key(pem.encode(), password=None)
    except Exception as error:  # noqa: BLE001 - of many kinds, and their texts may show parts of the key
        raise ValueError(f"not a private key in PEM: {type(error).__name__}") from None
