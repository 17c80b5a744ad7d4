"""Mailgun: ``POST /v3/{domain}/messages`` with recipient variables, and its webhooks."""

from __future__ import annotations

import hmac
import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from email.utils import getaddresses
from typing import Any, ClassVar
from urllib.parse import parse_qsl

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

_MOST = 1000
_VARIABLE = re.compile(r"%recipient\.(\w+)%")
_TEXTS = {
    400: "parameter is missing",
    401: "Forbidden",
    404: "Domain not found",
    413: "Request Entity Too Large",
    429: "Too many requests",
    503: "Service Unavailable",
}


class MailgunServer(SimulatedVendor):
    """Mailgun's mail API.

    Attributes:
        key: The API key that it wants.
        signing_key: What its webhooks are signed with.
    """

    channel = "email"
    codes: ClassVar[Mapping[str, Any]] = {
        UNAUTHORIZED: 401,
        Simulated.INVALID: 400,
        Simulated.REJECTED: 413,
        Simulated.THROTTLED: 429,
        Simulated.UNAVAILABLE: 503,
    }
    key = "key-simulated"
    signing_key = "signing-key-simulated"
    domain = "mg.example.org"

    @property
    def provider_url(self) -> str:
        return f"mailgun://{self.key}@{self.domain}?sender=shop@{self.domain}&{option(self.url)}"

    def is_authentic(self, request: ReceivedRequest) -> bool:
        return request.header("authorization") == f"Basic {b64encode(f'api:{self.key}'.encode()).decode()}"

    def read(self, request: ReceivedRequest) -> list[Sending]:
        if request.path != f"/v3/{self.domain}/messages":
            raise RefusedError(404)
        fields = dict(parse_qsl(request.body.decode("utf-8", "replace")))
        if not fields.get("from") or not fields.get("subject") or not (fields.get("text") or fields.get("html")):
            raise RefusedError(400)
        addresses = [address for _, address in getaddresses([fields.get("to", "")])]
        if not addresses or not all(re.fullmatch(r"[^@\s]+@[^@\s]+", each) for each in addresses):
            raise RefusedError(400, "to")
        try:
            variables = json.loads(fields.pop("recipient-variables", "{}"))
        except ValueError:
            raise RefusedError(400) from None
        # without variables everybody would see all addresses
        if len(addresses) > _MOST or (len(addresses) > 1 and set(variables) != set(addresses)):
            raise RefusedError(400)
        return [_sending(address, fields, variables.get(address, {})) for address in addresses]

    def answer(self, sendings: Sequence[Sending]) -> Reply:
        for sending in sendings:
            if sending.name is Simulated.INVALID:
                raise RefusedError(400, "to")
            if sending.name is Simulated.REJECTED:
                raise RefusedError(413)
        reference = f"{new_id(20)}@{self.domain}"
        for sending in sendings:
            self.take(sending, reference)
        return json_reply(200, {"id": f"<{reference}>", "message": "Queued. Thank you."})

    def error(self, code: Any, detail: str | None = None) -> Reply:
        text = "to parameter is not a valid address. please check documentation" if detail else _TEXTS.get(code, "no")
        return json_reply(code, {"message": text})

    # -- the webhooks ------------------------------------------------------------------------------

    def receipt(self, message: SimulatedMessage, event: Simulated, url: str) -> SimulatedReceipt:  # noqa: ARG002 - not signed
        name, more = _EVENTS.get(event, ("delivered", {}))
        data = {
            "event": name,
            "id": new_id(22),
            "timestamp": message.at + 1,
            "recipient": message.to,
            "message": {"headers": {"message-id": message.reference, "to": message.to}},
            "user-variables": {} if message.delivery_id is None else {"delivery_id": message.delivery_id},
            **more,
        }
        timestamp, token = str(int(self._clock())), new_id(50)
        signature = hmac.digest(self.signing_key.encode(), (timestamp + token).encode(), "sha256").hex()
        signed = {"timestamp": timestamp, "token": token, "signature": signature}
        body = json.dumps({"signature": signed, "event-data": data}).encode()
        return SimulatedReceipt(headers={"content-type": "application/json"}, body=body)


def _sending(address: str, fields: Mapping[str, str], own: Mapping[str, Any]) -> Sending:
    filled = {name: _VARIABLE.sub(lambda found: str(own.get(found[1], "")), text) for name, text in fields.items()}
    return Sending(to=address, delivery_id=filled.get("v:delivery_id"), content={**filled, "to": address})


_EVENTS: Mapping[Simulated, tuple[str, Mapping[str, Any]]] = {
    Simulated.BOUNCE: (
        "failed",
        {
            "severity": "permanent",
            "reason": "bounce",
            "delivery-status": {"code": 550, "message": "5.1.1 no such user"},
        },
    ),
    Simulated.DEFERRED: (
        "failed",
        {"severity": "temporary", "reason": "generic", "delivery-status": {"code": 451, "message": "4.7.1 later"}},
    ),
    Simulated.COMPLAINT: ("complained", {}),
}
