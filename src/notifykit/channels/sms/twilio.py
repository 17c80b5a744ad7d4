"""Twilio's Messages API: ``twilio://ACCOUNT_SID:TOKEN@?from=…&countries=…``.

``POST /2010-04-01/Accounts/{Sid}/Messages.json``; one recipient a call, success is 201 with a ``sid``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from ...models.delivery import Claim
from ...models.destination import Destination
from ...models.messages import Message
from ...models.outcome import Outcome
from ..http_answers import Code, HttpAnswer, Meaning
from ..http_provider import HttpRequest, Vendor
from ..messages import MessageChannel
from ..provider_url import parse_provider_url
from .account import OPTIONS, SENDER, SmsAccount, Text, meaning_of

if TYPE_CHECKING:
    from ...ports import Renderer

_EXAMPLE = "twilio://ACCOUNT_SID:TOKEN@?from=+4915123456789&countries=DE,AT"
_ACCOUNT = re.compile(r"AC[0-9a-f]{32}")
_SERVICE = re.compile(r"MG[0-9a-f]{32}")

#: The ``code`` of an error; what is not here is judged by the HTTP status.
CODES: Mapping[int, Code] = {
    14107: Code(Meaning.THROTTLED, "too many messages at a time"),
    20003: Code(Meaning.CONFIGURATION, "the account or its token is wrong"),
    20005: Code(Meaning.CONFIGURATION, "the account is not active"),
    20006: Code(Meaning.CONFIGURATION, "the key may not send"),
    20404: Code(Meaning.CONFIGURATION, "there is no such account"),
    20429: Code(Meaning.THROTTLED, "too many requests"),
    21211: Code(Meaning.BAD_RECIPIENT, "the number is invalid"),
    21212: Code(Meaning.CONFIGURATION, "the sender is invalid"),
    21408: Code(Meaning.PERMANENT, "the account may not send to this region"),
    21602: Code(Meaning.PERMANENT, "the text is empty"),
    21603: Code(Meaning.CONFIGURATION, "the sender is missing"),
    21606: Code(Meaning.CONFIGURATION, "the sender does not belong to the account"),
    21608: Code(Meaning.PERMANENT, "a trial account sends to verified numbers only"),
    21610: Code(Meaning.BAD_RECIPIENT, "the recipient has opted out (STOP)"),
    21611: Code(Meaning.THROTTLED, "the sender's queue is full"),
    21612: Code(Meaning.PERMANENT, "there is no route from the sender to this number"),
    21614: Code(Meaning.BAD_RECIPIENT, "the number cannot receive SMS"),
    21617: Code(Meaning.PERMANENT, "the text has more than 1,600 characters"),
    21635: Code(Meaning.BAD_RECIPIENT, "the number is a landline"),
}


class Twilio:
    """Requests and answers of the Messages API."""

    name = "twilio"

    def __init__(self, account: SmsAccount, sid: str) -> None:
        self.account = account.url.account
        self.secrets = (account.url.credentials[1], account.basic)
        self._account = account
        self._headers = {"authorization": f"Basic {account.basic}"}
        self._url = f"{account.url.endpoint('https://api.twilio.com')}/2010-04-01/Accounts/{sid}/Messages.json"
        self._sender = "MessagingServiceSid" if _SERVICE.fullmatch(account.sender) else "From"

    def request(
        self,
        message: Message,
        claim: Claim,
        destination: Destination,
        *,
        now: datetime,  # noqa: ARG002 - nothing in it depends on the time
    ) -> HttpRequest | Outcome:
        text = self._account.text_for(message, destination)
        if not isinstance(text, Text):
            return text
        fields = {"To": text.number, self._sender: self._account.sender, "Body": text.text}
        if self._account.callback is not None:  # the API has no field for a reference of ours
            fields["StatusCallback"] = f"{self._account.callback}?delivery_id={claim.delivery_id}"
        return HttpRequest.of_form(self._url, fields, self._headers)

    def check_request(self, *, now: datetime) -> HttpRequest:  # noqa: ARG002 - nothing in it depends on the time
        return HttpRequest(url=f"{self._url}?PageSize=1", headers=self._headers, body=b"", method="GET")

    def check_answer(self, answer: HttpAnswer) -> str | None:
        return "the account and its token are right" if answer.status == 200 else None

    def outcome(self, answer: HttpAnswer, *, now: datetime) -> Outcome:
        fields = answer.json()
        if 200 <= answer.status < 300:
            return answer.accepted(fields.get("sid"), now=now)
        number = fields.get("code")
        code = CODES.get(number) if isinstance(number, int) else None
        if code is not None:
            return answer.outcome(code.meaning, f"twilio_{number}", now=now)
        return answer.outcome(meaning_of(answer), now=now)


def channel_from_url(url: str, *, renderer: Renderer | None = None) -> MessageChannel:
    """Return the channel for ``twilio://`` URLs; nothing is connected yet.

    Raises:
        ConfigurationError: The URL is not acceptable.
    """
    found = parse_provider_url(url, example=_EXAMPLE, credentials=2, options=(*OPTIONS, "account"))
    sid = found.options.get("account", found.credentials[0])
    if not _ACCOUNT.fullmatch(sid):
        raise found.wrong("an account's SID is AC and 32 digits; with an API key it is the option account=AC…")
    account = SmsAccount.of(found, sender=f"{SENDER}|{_SERVICE.pattern}")
    return account.channel(Twilio(account, sid), renderer)


if TYPE_CHECKING:
    _conforms: type[Vendor] = Twilio
