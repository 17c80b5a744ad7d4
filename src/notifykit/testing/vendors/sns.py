"""Amazon SNS: the action ``Publish`` to a telephone number.  It has no receipts over HTTP."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import parse_qsl
from uuid import uuid4
from xml.sax.saxutils import escape

from ...policies.simulation import Simulated
from ..receiver import ReceivedRequest, Reply
from .aws import KEY_ID, REGION, SECRET, is_signed
from .base import UNAUTHORIZED, RefusedError, Sending, SimulatedVendor, option

_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")
_STATUSES = {"AuthorizationError": 403, "InternalError": 500, "SignatureDoesNotMatch": 403, "Throttled": 429}


class SnsServer(SimulatedVendor):
    """SNS, as far as it sends SMS."""

    channel = "sms"
    codes: ClassVar[Mapping[str, Any]] = {
        UNAUTHORIZED: "SignatureDoesNotMatch",
        Simulated.INVALID: "InvalidParameter",
        Simulated.REJECTED: "ParameterValueInvalid",
        Simulated.THROTTLED: "Throttled",
        Simulated.UNAVAILABLE: "InternalError",
    }

    @property
    def provider_url(self) -> str:
        return f"sns://{KEY_ID}:{SECRET}@{REGION}?countries=all&from=Example&{option(self.url)}"

    def is_authentic(self, request: ReceivedRequest) -> bool:
        return is_signed(request, self.url, "sns")

    def about_account(self, request: ReceivedRequest) -> Reply | None:
        if not request.body.startswith(b"Action=GetSMSAttributes&"):
            return None
        return _xml(200, "<GetSMSAttributesResponse></GetSMSAttributesResponse>")

    def read(self, request: ReceivedRequest) -> list[Sending]:
        fields = dict(parse_qsl(request.body.decode("utf-8", "replace")))
        if fields.get("Action") != "Publish" or not fields.get("Message"):
            raise RefusedError("InvalidParameter", "Empty message")
        if not _NUMBER.fullmatch(fields.get("PhoneNumber", "")):
            raise RefusedError("InvalidParameter", "PhoneNumber")
        return [Sending(to=fields["PhoneNumber"], content=fields)]

    def answer(self, sendings: Sequence[Sending]) -> Reply:
        self.refuse_named(sendings)
        reference = str(uuid4())
        self.take(sendings[0], reference)
        result = f"<PublishResult><MessageId>{reference}</MessageId></PublishResult>"
        return _xml(200, f"<PublishResponse>{result}</PublishResponse>")

    def error(self, code: Any, detail: str | None = None) -> Reply:
        about = detail if detail and not detail.isdecimal() else "PhoneNumber"
        text = f"Invalid parameter: {about}" if code == "InvalidParameter" else "error"
        error = f"<Error><Type>Sender</Type><Code>{escape(code)}</Code><Message>{escape(text)}</Message></Error>"
        return _xml(_STATUSES.get(code, 400), f"<ErrorResponse>{error}</ErrorResponse>")


def _xml(status: int, body: str) -> Reply:
    return Reply(status=status, headers={"content-type": "text/xml"}, body=body.encode())
