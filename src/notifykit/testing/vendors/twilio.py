"""Twilio: ``POST /2010-04-01/Accounts/{Sid}/Messages.json``, and the status callback."""

from __future__ import annotations

import hmac
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import parse_qsl, quote, urlencode

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

_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")
#: The HTTP status of a code; of those that are not here it is 400.
_STATUSES = {20003: 401, 20005: 401, 20006: 403, 20404: 404, 20429: 429, 14107: 429, 21610: 400, 20500: 500, 20503: 503}
#: What a status callback says of a message that was not delivered.
_STATES = {Simulated.BOUNCE: ("undelivered", "30005"), Simulated.DEFERRED: ("sent", None)}


class TwilioServer(SimulatedVendor):
    """Twilio's Messages API.

    Attributes:
        sid: The account's.
        token: The account's, which signs status callbacks, too.
    """

    channel = "sms"
    codes: ClassVar[Mapping[str, Any]] = {
        UNAUTHORIZED: 20003,
        Simulated.INVALID: 21211,
        Simulated.REJECTED: 21612,
        Simulated.THROTTLED: 20429,
        Simulated.UNAVAILABLE: 20503,
    }
    sid = "AC" + "0" * 31 + "1"
    token = "simulated-token"  # noqa: S105 - protects nothing
    sender = "+12025550199"
    account = (f"/2010-04-01/Accounts/{sid}/Messages.json?PageSize=1", {"messages": []})

    @property
    def provider_url(self) -> str:
        return f"twilio://{self.sid}:{self.token}@?from={quote(self.sender)}&countries=all&{option(self.url)}"

    def is_authentic(self, request: ReceivedRequest) -> bool:
        given = b64encode(f"{self.sid}:{self.token}".encode()).decode()
        return request.header("authorization") == f"Basic {given}"

    def read(self, request: ReceivedRequest) -> list[Sending]:
        if request.path != f"/2010-04-01/Accounts/{self.sid}/Messages.json" or request.method != "POST":
            raise RefusedError(20404)
        fields = dict(parse_qsl(request.body.decode("utf-8", "replace")))
        if not fields.get("To"):
            raise RefusedError(21604)
        if not _NUMBER.fullmatch(fields["To"]):
            raise RefusedError(21211)
        if not (fields.get("From") or fields.get("MessagingServiceSid")):
            raise RefusedError(21603)
        text = fields.get("Body", "")
        if not text:
            raise RefusedError(21602)
        if len(text) > 1600:
            raise RefusedError(21617)
        return [Sending(to=fields["To"], content=fields)]

    def answer(self, sendings: Sequence[Sending]) -> Reply:
        self.refuse_named(sendings)
        (sending,) = sendings
        sid = "SM" + new_id(32)
        self.take(sending, sid)
        value = {
            "account_sid": self.sid,
            "body": sending.content["Body"],
            "error_code": None,
            "from": sending.content.get("From"),
            "num_segments": "1",
            "price": None,
            "sid": sid,
            "status": "queued",
            "to": sending.to,
        }
        return json_reply(201, value)

    def error(self, code: Any, detail: str | None = None) -> Reply:  # noqa: ARG002 - Twilio names no field
        status = _STATUSES.get(code, 400)
        more = f"https://www.twilio.com/docs/errors/{code}"
        return json_reply(status, {"code": code, "message": "error", "more_info": more, "status": status})

    # -- the status callback -----------------------------------------------------------------------

    def receipt(self, message: SimulatedMessage, event: Simulated, url: str) -> SimulatedReceipt:
        status, code = _STATES.get(event, ("delivered", None))
        fields = {
            "AccountSid": self.sid,
            "From": message.content.get("From", ""),
            "MessageSid": message.reference,
            "MessageStatus": status,
            "SmsSid": message.reference,
            "SmsStatus": status,
            "To": message.to,
        }
        if code is not None:
            fields["ErrorCode"] = code
        return self._signed(url, fields)

    def answered(self, message: SimulatedMessage, text: str, url: str) -> SimulatedReceipt:
        """Return what Twilio posts to ``url`` when the person answers a message, for example with ``STOP``."""
        fields = {
            "AccountSid": self.sid,
            "Body": text,
            "From": message.to,
            "MessageSid": "SM" + new_id(32),
            "To": message.content.get("From", self.sender),
        }
        return self._signed(url, fields)

    def _signed(self, url: str, fields: Mapping[str, str]) -> SimulatedReceipt:
        signed = url + "".join(name + fields[name] for name in sorted(fields))
        signature = b64encode(hmac.digest(self.token.encode(), signed.encode(), "sha1")).decode()
        return SimulatedReceipt(
            headers={"content-type": "application/x-www-form-urlencoded", "x-twilio-signature": signature},
            body=urlencode(fields).encode(),
        )
