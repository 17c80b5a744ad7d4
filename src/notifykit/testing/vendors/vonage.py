"""Vonage: ``POST /sms/json``, which answers 200 whatever happens, and delivery receipts."""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlencode

from ...policies.simulation import Simulated
from ...policies.sms import segments
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

#: Its ``status`` and ``err-code`` of a text that was not delivered, or not yet.
_STATES = {
    Simulated.BOUNCE: ("failed", "3"),
    Simulated.DEFERRED: ("buffered", "0"),
    Simulated.COMPLAINT: ("delivered", "0"),
}


class VonageServer(SimulatedVendor):
    """Vonage's SMS API.

    Attributes:
        signature_secret: What delivery receipts are signed with (HMAC-SHA-256).
    """

    channel = "sms"
    codes: ClassVar[Mapping[str, Any]] = {
        UNAUTHORIZED: "4",
        Simulated.INVALID: "6",
        Simulated.REJECTED: "15",
        Simulated.THROTTLED: "1",
        Simulated.UNAVAILABLE: "5",
    }
    key = "simulated"
    api_secret = "simulated-secret"  # noqa: S105 - protects nothing
    account = ("/account/get-balance", {"value": 10.0})
    signature_secret = "simulated-signature-secret"  # noqa: S105 - protects nothing

    @property
    def provider_url(self) -> str:
        return f"vonage://{self.key}:{self.api_secret}@?from=Example&countries=all&{option(self.url)}"

    def is_authentic(self, request: ReceivedRequest) -> bool:
        given = b64encode(f"{self.key}:{self.api_secret}".encode()).decode()
        return request.header("authorization") == f"Basic {given}"

    def read(self, request: ReceivedRequest) -> list[Sending]:
        fields = dict(parse_qsl(request.body.decode("utf-8", "replace")))
        if request.path != "/sms/json" or not fields.get("to") or not fields.get("from") or not fields.get("text"):
            raise RefusedError("2")
        if not fields["to"].isdecimal():
            raise RefusedError("3")
        if len(fields["text"]) > 3200:
            raise RefusedError("12")
        return [Sending(to=f"+{fields['to']}", delivery_id=fields.get("client-ref"), content=fields)]

    def answer(self, sendings: Sequence[Sending]) -> Reply:
        self.refuse_named(sendings)
        (sending,) = sendings
        count = segments(sending.content["text"]).total
        parts = [
            {
                "to": sending.to.removeprefix("+"),
                "message-id": new_id(16).upper(),
                "status": "0",
                "remaining-balance": "3.14",
                "message-price": "0.03",
                "network": "12345",
                "client-ref": sending.delivery_id,
            }
            for _ in range(count)
        ]
        self.take(sending, str(parts[0]["message-id"]))
        return json_reply(200, {"message-count": str(count), "messages": parts})

    def error(self, code: Any, detail: str | None = None) -> Reply:  # noqa: ARG002 - Vonage names no field
        return json_reply(200, {"message-count": "1", "messages": [{"status": code, "error-text": "error"}]})

    # -- delivery receipts -------------------------------------------------------------------------

    def receipt(self, message: SimulatedMessage, event: Simulated, url: str) -> SimulatedReceipt:  # noqa: ARG002 - not signed
        status, code = _STATES.get(event, ("delivered", "0"))
        fields = {
            "msisdn": message.to.removeprefix("+"),
            "to": str(message.content["from"]),
            "network-code": "12345",
            "messageId": message.reference,
            "price": "0.03",
            "status": status,
            "scts": datetime.fromtimestamp(message.at + 1, UTC).strftime("%y%m%d%H%M"),
            "err-code": code,
            "api-key": self.key,
            "message-timestamp": datetime.fromtimestamp(message.at + 1, UTC).strftime("%Y-%m-%d %H:%M:%S"),
            "timestamp": str(int(self._clock())),
            "nonce": new_id(20),
        }
        if message.delivery_id is not None:
            fields["client-ref"] = message.delivery_id
        signed = "".join(f"&{name}={_without(fields[name])}" for name in sorted(fields))
        fields["sig"] = hmac.digest(self.signature_secret.encode(), signed.encode(), "sha256").hex()
        headers = {"content-type": "application/x-www-form-urlencoded"}
        return SimulatedReceipt(headers=headers, body=urlencode(fields).encode())


def _without(text: str) -> str:
    """Return a value as it is signed: what separates fields is replaced."""
    return text.replace("&", "_").replace("=", "_")
