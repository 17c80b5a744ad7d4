"""What the simulated services of AWS share: the key, the check of its signature, and a topic of SNS that signs."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING
from uuid import uuid4

from ...signing.sigv4 import AwsCredentials, signed_headers
from ..receiver import ReceivedRequest
from .base import SimulatedReceipt

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

KEY_ID, SECRET, REGION = "AKIDSIMULATED", "simulated-secret", "eu-west-1"
_AUTHORIZATION = re.compile(r"AWS4-HMAC-SHA256 Credential=(\S+?)/\S+, SignedHeaders=(\S+), Signature=[0-9a-f]{64}")


def is_signed(request: ReceivedRequest, url: str, service: str) -> bool:
    """Tell whether a request has the signature that the key makes."""
    found = _AUTHORIZATION.fullmatch(request.header("authorization") or "")
    date = request.header("x-amz-date")
    if found is None or date is None or found[1] != KEY_ID:
        return False
    now = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    signed = {name: request.header(name) or "" for name in found[2].split(";") if name not in ("host", "x-amz-date")}
    expected = signed_headers(
        request.method,
        url + request.path,
        signed,
        request.body,
        credentials=AwsCredentials(key_id=KEY_ID, secret=SECRET),
        region=REGION,
        service=service,
        now=now,
    )
    return expected["authorization"] == request.header("authorization")


class SnsTopic:
    """A topic of SNS, whose messages are signed as SNS signs (``SignatureVersion`` 2: RSA with SHA-256).

    Attributes:
        arn: Its name.
        certificate_url: Where a verifier would get the certificate; it has to be given :attr:`certificate` instead.
    """

    def __init__(self, name: str) -> None:
        self.arn = f"arn:aws:sns:{REGION}:123456789012:{name}"
        self.certificate_url = f"https://sns.{REGION}.amazonaws.com/SimpleNotificationService-simulated.pem"

    @cached_property
    def _key(self) -> RSAPrivateKey:
        from cryptography.hazmat.primitives.asymmetric import rsa

        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @cached_property
    def certificate(self) -> bytes:
        """The certificate of the key, in PEM."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.serialization import Encoding
        from cryptography.x509.oid import NameOID

        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
        start = datetime(2020, 1, 1, tzinfo=UTC)
        builder = x509.CertificateBuilder(
            issuer_name=name,
            subject_name=name,
            public_key=self._key.public_key(),
            serial_number=1,
            not_valid_before=start,
            not_valid_after=start + timedelta(days=36_500),
        )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def notification(self, message: str, *, now: float) -> SimulatedReceipt:
        """Return what the topic posts to its subscribers."""
        return self._signed("Notification", {"Message": message}, now)

    def confirmation(self, *, now: float) -> SimulatedReceipt:
        """Return what the topic posts to a new subscriber, which has to fetch ``SubscribeURL``."""
        token = uuid4().hex
        url = f"https://sns.{REGION}.amazonaws.com/?Action=ConfirmSubscription&TopicArn={self.arn}&Token={token}"
        fields = {"Message": "You have chosen to subscribe", "SubscribeURL": url, "Token": token}
        return self._signed("SubscriptionConfirmation", fields, now)

    def _signed(self, kind: str, fields: Mapping[str, str], now: float) -> SimulatedReceipt:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        at = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        signed = {**fields, "MessageId": str(uuid4()), "Timestamp": at, "TopicArn": self.arn, "Type": kind}
        text = "".join(f"{name}\n{signed[name]}\n" for name in sorted(signed))
        signature = self._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        proof = {
            "SignatureVersion": "2",
            "Signature": b64encode(signature).decode(),
            "SigningCertURL": self.certificate_url,
        }
        headers = {
            "content-type": "text/plain; charset=UTF-8",
            "x-amz-sns-message-type": kind,
            "x-amz-sns-message-id": signed["MessageId"],
            "x-amz-sns-topic-arn": self.arn,
        }
        return SimulatedReceipt(headers=headers, body=json.dumps({**signed, **proof}).encode())
