"""Postmark: ``POST /email`` and ``/email/batch``, and its webhooks."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import getaddresses
from typing import Any, ClassVar
from uuid import uuid4

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
    option,
)

_MOST = 500
#: The HTTP status of an ``ErrorCode``; of those that are not here it is 422.
_STATUSES = {10: 401, 100: 503, 404: 404, 429: 429}
_REFUSED = (Simulated.INVALID, Simulated.REJECTED)


class PostmarkServer(SimulatedVendor):
    """Postmark's mail API.

    Attributes:
        token: The server token that it wants.
        user: Name and password that its webhooks come with, because they are not signed.
    """

    channel = "email"
    codes: ClassVar[Mapping[str, Any]] = {
        UNAUTHORIZED: 10,
        Simulated.INVALID: 406,
        Simulated.REJECTED: 411,
        Simulated.THROTTLED: 429,
        Simulated.UNAVAILABLE: 100,
    }
    account = ("/server", {"Name": "simulated"})
    token = "simulated-token"  # noqa: S105 - protects nothing
    user = ("postmark", "simulated-password")

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._is_batch = False

    @property
    def provider_url(self) -> str:
        return f"postmark://{self.token}@?sender=shop@example.org&{option(self.url)}"

    def is_authentic(self, request: ReceivedRequest) -> bool:
        return request.header("x-postmark-server-token") == self.token

    def read(self, request: ReceivedRequest) -> list[Sending]:
        self._is_batch = request.path == "/email/batch"
        if not self._is_batch and request.path != "/email":
            raise RefusedError(404)
        try:
            body = request.json()
        except ValueError:
            raise RefusedError(402) from None
        messages = body if self._is_batch else [body]
        if not isinstance(messages, list) or not all(isinstance(each, dict) for each in messages):
            raise RefusedError(403)
        if len(messages) > _MOST:
            raise RefusedError(410)
        sendings = [_sending(each) for each in messages]
        if not self._is_batch and (wrong := _wrong(sendings[0])):
            raise RefusedError(300, wrong)
        return sendings

    def answer(self, sendings: Sequence[Sending]) -> Reply:
        if not self._is_batch:
            self.refuse_named(sendings)
            return json_reply(200, self._taken(sendings[0]))
        return json_reply(200, [self._item(each) for each in sendings])

    def _item(self, sending: Sending) -> Mapping[str, Any]:
        if wrong := _wrong(sending):
            return {"ErrorCode": 300, "Message": wrong}
        if sending.name in _REFUSED:
            return {"ErrorCode": self.codes[sending.name], "Message": "refused"}
        return self._taken(sending)

    def _taken(self, sending: Sending) -> Mapping[str, Any]:
        reference = str(uuid4())
        self.take(sending, reference)
        return {"ErrorCode": 0, "Message": "OK", "MessageID": reference, "To": sending.to}

    def error(self, code: Any, detail: str | None = None) -> Reply:
        return json_reply(_STATUSES.get(code, 422), {"ErrorCode": code, "Message": detail or "error"})

    # -- the webhooks ------------------------------------------------------------------------------

    def receipt(self, message: SimulatedMessage, event: Simulated, url: str) -> SimulatedReceipt:  # noqa: ARG002 - not signed
        at = datetime.fromtimestamp(message.at + 1, UTC).isoformat()
        common = {"MessageID": message.reference, "Metadata": message.content.get("Metadata", {}), "ServerID": 1}
        if event in (Simulated.BOUNCE, Simulated.DEFERRED):
            kind, number = ("HardBounce", 1) if event is Simulated.BOUNCE else ("Transient", 2)
            own = {"RecordType": "Bounce", "Type": kind, "TypeCode": number, "ID": 1, "Email": message.to}
            own |= {"BouncedAt": at, "Inactive": event is Simulated.BOUNCE, "Description": "simulated"}
        elif event is Simulated.COMPLAINT:
            own = {"RecordType": "SpamComplaint", "Type": "SpamComplaint", "TypeCode": 512, "ID": 1}
            own |= {"Email": message.to, "BouncedAt": at}
        else:
            own = {"RecordType": "Delivery", "Recipient": message.to, "DeliveredAt": at}
        credentials = b64encode(":".join(self.user).encode()).decode()
        return SimulatedReceipt(
            headers={"content-type": "application/json", "authorization": f"Basic {credentials}"},
            body=json.dumps({**common, **own}).encode(),
        )


def _sending(message: Mapping[str, Any]) -> Sending:
    addresses = [address for _, address in getaddresses([str(message.get("To", ""))])]
    metadata = message.get("Metadata") or {}
    return Sending(to=addresses[0] if addresses else "", delivery_id=metadata.get("delivery_id"), content=message)


def _wrong(sending: Sending) -> str | None:
    if "@" not in sending.to:
        return "Error parsing 'To': Illegal email address."
    if "@" not in str(sending.content.get("From", "")):
        return "Error parsing 'From': Illegal email address."
    if not (sending.content.get("TextBody") or sending.content.get("HtmlBody")):
        return "Provide either email TextBody or HtmlBody or both."
    return None
