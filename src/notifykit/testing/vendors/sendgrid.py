"""SendGrid: ``POST /v3/mail/send``, and the event webhook."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from ...policies.simulation import Simulated
from ..receiver import ReceivedRequest, Reply
from .base import (
    UNAUTHORIZED,
    RefusedError,
    Sending,
    SimulatedMessage,
    SimulatedReceipt,
    SimulatedVendor,
    json_reply,
    new_id,
    option,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_MOST = 1000
_TEXTS = {
    400: "Bad Request",
    401: "The provided authorization grant is invalid, expired, or revoked",
    403: "access forbidden",
    404: "not found",
    405: "method not allowed",
    413: "payload too large",
    429: "too many requests",
    500: "internal server error",
    503: "service unavailable",
}
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")


class SendGridServer(SimulatedVendor):
    """SendGrid's mail API.

    Attributes:
        key: The API key that it wants.
    """

    channel = "email"
    codes: ClassVar[Mapping[str, Any]] = {
        UNAUTHORIZED: 401,
        Simulated.INVALID: 400,
        Simulated.REJECTED: 413,
        Simulated.THROTTLED: 429,
        Simulated.UNAVAILABLE: 503,
    }
    account = ("/v3/scopes", {"scopes": ["mail.send"]})
    key = "SG.simulated-key"

    @property
    def provider_url(self) -> str:
        return f"sendgrid://{self.key}@?sender=shop@example.org&{option(self.url)}"

    def is_authentic(self, request: ReceivedRequest) -> bool:
        return request.header("authorization") == f"Bearer {self.key}"

    def read(self, request: ReceivedRequest) -> list[Sending]:
        if request.path != "/v3/mail/send":
            raise RefusedError(404)
        if request.method != "POST":
            raise RefusedError(405)
        try:
            body = request.json()
            people, sender, content = body["personalizations"], body["from"]["email"], body["content"]
            shared = {
                "from": body["from"],
                "content": {part["type"]: part["value"] for part in content},
                "reply_to": body.get("reply_to_list", []),
            }
        except (ValueError, KeyError, TypeError):
            raise RefusedError(400) from None
        if not _ADDRESS.fullmatch(str(sender)):
            raise RefusedError(400, "from.email")
        if not all(shared["content"].values()) or next(iter(shared["content"])) != "text/plain":
            raise RefusedError(400, "content")
        return _sendings(body, people, shared)

    def answer(self, sendings: Sequence[Sending]) -> Reply:
        for number, sending in enumerate(sendings):
            if sending.name is Simulated.REJECTED:
                raise RefusedError(413)
            if sending.name is Simulated.INVALID:
                raise RefusedError(400, f"personalizations.{number}.to.0.email")
        reference = new_id(22)
        for sending in sendings:
            self.take(sending, reference)
        return Reply(status=202, headers={"x-message-id": reference})

    def error(self, code: Any, detail: str | None = None) -> Reply:
        error = {"message": _TEXTS.get(code, "error"), "field": detail, "help": None}
        return json_reply(code, {"errors": [error]})

    # -- the event webhook -------------------------------------------------------------------------

    @cached_property
    def _private_key(self) -> EllipticCurvePrivateKey:
        from cryptography.hazmat.primitives.asymmetric import ec

        return ec.generate_private_key(ec.SECP256R1())

    @cached_property
    def public_key(self) -> str:
        """What the settings of the event webhook show: the key that verifies it."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        key = self._private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return b64encode(key).decode()

    def receipt(self, message: SimulatedMessage, event: Simulated, url: str) -> SimulatedReceipt:  # noqa: ARG002 - not signed
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        fields: dict[str, Any] = {
            "email": message.to,
            "timestamp": int(message.at) + 1,
            "sg_message_id": f"{message.reference}.recvd-{new_id(10)}",
            "sg_event_id": new_id(22),
            "event": {Simulated.DEFERRED: "deferred", Simulated.COMPLAINT: "spamreport"}.get(event, event.value),
        }
        if message.delivery_id is not None:
            fields["delivery_id"] = message.delivery_id
        if event is Simulated.BOUNCE:
            fields |= {"type": "bounce", "reason": "550 5.1.1 no such user", "status": "5.1.1"}
        elif event is Simulated.DEFERRED:
            fields |= {"response": "451 4.7.1 try again later", "attempt": "1"}
        body = json.dumps([fields]).encode()
        timestamp = str(int(self._clock()))
        signature = self._private_key.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
        return SimulatedReceipt(
            headers={
                "content-type": "application/json",
                "x-twilio-email-event-webhook-signature": b64encode(signature).decode(),
                "x-twilio-email-event-webhook-timestamp": timestamp,
            },
            body=body,
        )


def _sendings(body: Mapping[str, Any], people: Any, shared: Mapping[str, Any]) -> list[Sending]:
    if not isinstance(people, list) or not 1 <= len(people) <= _MOST:
        raise RefusedError(400, "personalizations")
    found = []
    for number, person in enumerate(people):
        where = f"personalizations.{number}"
        to = [str(each.get("email")) for each in person.get("to", [])]
        if len(to) != 1 or not _ADDRESS.fullmatch(to[0]):
            raise RefusedError(400, f"{where}.to.0.email")
        subject = person.get("subject") or body.get("subject")
        if not subject:
            raise RefusedError(400, f"{where}.subject")
        headers = {**body.get("headers", {}), **person.get("headers", {})}
        custom = person.get("custom_args", {})
        content = {**shared, "subject": subject, "headers": headers, "custom_args": custom}
        found.append(Sending(to=to[0], delivery_id=custom.get("delivery_id"), content=content))
    if len({sending.to for sending in found}) < len(found):
        raise RefusedError(400, "personalizations")  # each address once
    return found
