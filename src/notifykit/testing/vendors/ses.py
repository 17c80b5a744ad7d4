"""Amazon SES v2: ``POST /v2/email/outbound-emails``, and its events through SNS."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import getaddresses
from typing import Any, ClassVar

from ...policies.simulation import Simulated
from ..receiver import ReceivedRequest, Reply
from .aws import KEY_ID, REGION, SECRET, SnsTopic, is_signed
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

#: How many messages a batch has at the most.
_MOST = 50
_STATUSES = {
    "AccessDeniedException": 403,
    "InternalFailure": 500,
    "NotFoundException": 404,
    "SignatureDoesNotMatch": 403,
    "TooManyRequestsException": 429,
}


class SesServer(SimulatedVendor):
    """SES's mail API.

    Attributes:
        topic: Signs its events, which come through SNS.
    """

    channel = "email"
    codes: ClassVar[Mapping[str, Any]] = {
        UNAUTHORIZED: "SignatureDoesNotMatch",
        Simulated.INVALID: "MessageRejected",  # it has no code for an address: bounces come as events
        Simulated.REJECTED: "MessageRejected",
        Simulated.THROTTLED: "TooManyRequestsException",
        Simulated.UNAVAILABLE: "InternalFailure",
    }

    account = ("/v2/email/account", {"SendingEnabled": True})

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.topic = SnsTopic("ses-events")
        self._is_batch = False

    @property
    def provider_url(self) -> str:
        return f"ses://{KEY_ID}:{SECRET}@{REGION}?sender=shop@example.org&{option(self.url)}"

    def is_authentic(self, request: ReceivedRequest) -> bool:
        return is_signed(request, self.url, "ses")

    def read(self, request: ReceivedRequest) -> list[Sending]:
        self._is_batch = request.path == "/v2/email/outbound-bulk-emails"
        if self._is_batch:
            return _entries(request)
        if request.path != "/v2/email/outbound-emails":
            raise RefusedError("NotFoundException")
        try:
            body = request.json()
            (to,) = body["Destination"]["ToAddresses"]
            raw = b64decode(body["Content"]["Raw"]["Data"], validate=True)
            tags = {tag["Name"]: tag["Value"] for tag in body.get("EmailTags", [])}
        except (ValueError, KeyError, TypeError):
            raise RefusedError("BadRequestException") from None
        content = {"from": body.get("FromEmailAddress"), "raw": raw, "tags": tags}
        return [Sending(to=to, delivery_id=tags.get("delivery_id"), content=content)]

    def answer(self, sendings: Sequence[Sending]) -> Reply:
        if self._is_batch:
            return json_reply(200, {"BulkEmailEntryResults": [self._result(each) for each in sendings]})
        self.refuse_named(sendings)
        return json_reply(200, {"MessageId": self._taken(sendings[0])})

    def _result(self, sending: Sending) -> dict[str, str]:
        if sending.name in (Simulated.INVALID, Simulated.REJECTED):
            return {"Status": "MESSAGE_REJECTED", "Error": "refused"}
        return {"Status": "SUCCESS", "MessageId": self._taken(sending)}

    def _taken(self, sending: Sending) -> str:
        reference = f"0102{new_id(12)}-{new_id(8)}-000000"
        self.take(sending, reference)
        return reference

    def error(self, code: Any, detail: str | None = None) -> Reply:  # noqa: ARG002 - SES names no field
        reply = json_reply(_STATUSES.get(code, 400), {"message": "error"})
        return Reply(status=reply.status, body=reply.body, headers={**reply.headers, "x-amzn-errortype": code})

    def receipt(self, message: SimulatedMessage, event: Simulated, url: str) -> SimulatedReceipt:  # noqa: ARG002 - not signed
        at = datetime.fromtimestamp(message.at + 1, UTC).isoformat()
        mail = {
            "messageId": message.reference,
            "source": message.content["from"],
            "destination": [message.to],
            "tags": {name: [value] for name, value in message.content["tags"].items()},
        }
        recipient = {"emailAddress": message.to}
        told: dict[Simulated, dict[str, Any]] = {
            Simulated.BOUNCE: {
                "eventType": "Bounce",
                "bounce": {"bounceType": "Permanent", "bounceSubType": "General", "bouncedRecipients": [recipient]},
            },
            Simulated.DEFERRED: {
                "eventType": "DeliveryDelay",
                "deliveryDelay": {"delayType": "TransientCommunicationFailure", "delayedRecipients": [recipient]},
            },
            Simulated.COMPLAINT: {
                "eventType": "Complaint",
                "complaint": {"complainedRecipients": [recipient], "complaintFeedbackType": "abuse"},
            },
        }
        own = told.get(event, {"eventType": "Delivery", "delivery": {"timestamp": at, "recipients": [message.to]}})
        return self.topic.notification(json.dumps({**own, "mail": mail}), now=self._clock())


def _entries(request: ReceivedRequest) -> list[Sending]:
    try:
        body = request.json()
        content, entries = body["DefaultContent"]["Template"]["TemplateContent"], body["BulkEmailEntries"]
        found = []
        for entry in entries:
            ((_, to),) = getaddresses(entry["Destination"]["ToAddresses"])
            tags = {tag["Name"]: tag["Value"] for tag in entry.get("ReplacementTags", [])}
            headers = {each["Name"]: each["Value"] for each in entry.get("ReplacementHeaders", [])}
            own = {"from": body["FromEmailAddress"], "headers": headers, "tags": tags}
            found.append(Sending(to=to, delivery_id=tags.get("delivery_id"), content={**content, **own}))
    except (ValueError, KeyError, TypeError):
        raise RefusedError("BadRequestException") from None
    if not 1 <= len(found) <= _MOST:
        raise RefusedError("BadRequestException")
    return found
