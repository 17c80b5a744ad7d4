"""Keys for tests of push services, made once."""

from __future__ import annotations

import json
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    """Return a private key as Apple and Google give it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


EC_PEM, RSA_PEM = pem(EC_KEY), pem(RSA_KEY)
#: A line from the middle of each: what must not show anywhere.
EC_LINE, RSA_LINE = EC_PEM.splitlines()[2], RSA_PEM.splitlines()[2]

APNS_TOKEN = "0123456789abcdef" * 4
FCM_TOKEN = (
    "cF1a-2_b:APA91bHPRgkF3JUikC4ENAHEeMrd41Zxv3hVZjC9KtT8OvPVGJ-hQMRKRrZuJAEcl7B338qju59zJMjw2DELjzEvxwYv7hH5Ynpc"
)
APNS_URL = f"apns://?key={quote(EC_PEM)}&key_id=ABC123DEFG&team=DEF123GHIJ&topic=org.example.shop"


def service_account(token_uri: str, **changes: object) -> str:
    """Return what Google's console gives."""
    account = {
        "type": "service_account",
        "project_id": "example-shop",
        "client_email": "sender@example-shop.iam.gserviceaccount.com",
        "private_key": RSA_PEM,
        "private_key_id": "key-7",
        "token_uri": token_uri,
    }
    return json.dumps({**account, **changes})


def fcm_url(token_uri: str, **changes: object) -> str:
    return f"fcm://?key={quote(service_account(token_uri, **changes))}"
