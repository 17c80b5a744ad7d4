"""Vonage's SMS API: ``vonage://KEY:SECRET@?from=…&countries=…``.

``POST /sms/json``; HTTP 200 even for failures, each part of a text has its own status.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ...models.delivery import Claim
from ...models.destination import Destination
from ...models.messages import Message
from ...models.outcome import Outcome
from ..http_answers import Code, HttpAnswer, Meaning
from ..http_provider import HttpRequest, Vendor
from ..messages import MessageChannel
from ..provider_url import parse_provider_url
from .account import OPTIONS, SmsAccount, Text, meaning_of

if TYPE_CHECKING:
    from ...ports import Renderer

_EXAMPLE = "vonage://KEY:SECRET@?from=Example&countries=DE,AT"
#: The vendor limits requests per second, and names no pause.
_PAUSES = {Meaning.THROTTLED: timedelta(seconds=2)}

#: The ``status`` of a part; one that is not here is permanent.
CODES: Mapping[str, Code] = {
    "0": Code(Meaning.ACCEPTED, "accepted"),
    "1": Code(Meaning.THROTTLED, "too many requests"),
    "2": Code(Meaning.PERMANENT, "a parameter is missing"),
    "3": Code(Meaning.PERMANENT, "a parameter is invalid"),
    "4": Code(Meaning.CONFIGURATION, "the key or the secret is wrong"),
    "5": Code(Meaning.TRANSIENT, "an error of the vendor"),
    "6": Code(Meaning.BAD_RECIPIENT, "no network has the number"),
    "7": Code(Meaning.BAD_RECIPIENT, "the number is barred"),
    "8": Code(Meaning.CONFIGURATION, "the account is barred"),
    "9": Code(Meaning.CONFIGURATION, "the account has no credit"),
    "10": Code(Meaning.THROTTLED, "too many connections"),
    "11": Code(Meaning.CONFIGURATION, "the account may not use this API"),
    "12": Code(Meaning.PERMANENT, "the text is too long"),
    "14": Code(Meaning.CONFIGURATION, "the signature is wrong"),
    "15": Code(Meaning.PERMANENT, "the sender is not allowed for this number"),
    "22": Code(Meaning.PERMANENT, "the network's code is invalid"),
    "23": Code(Meaning.PERMANENT, "the callback URL is invalid"),
    "29": Code(Meaning.CONFIGURATION, "a trial account sends to its own numbers only"),
    "32": Code(Meaning.CONFIGURATION, "signature and secret are both given"),
    "33": Code(Meaning.BAD_RECIPIENT, "the number is deactivated"),
}


class Vonage:
    """Requests and answers of the SMS API."""

    name = "vonage"

    def __init__(self, account: SmsAccount) -> None:
        self.account = account.url.account
        self.secrets = (account.url.credentials[1], account.basic)
        self._account = account
        self._headers = {"authorization": f"Basic {account.basic}"}
        base = account.url.endpoint("https://rest.nexmo.com")
        self._url, self._balance = f"{base}/sms/json", f"{base}/account/get-balance"

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
        fields = {
            "to": text.number.removeprefix("+"),
            "from": self._account.sender.removeprefix("+"),
            "text": text.text,
            "type": "text" if text.is_gsm else "unicode",
            "client-ref": claim.delivery_id,
        }
        if self._account.callback is not None:
            fields["callback"] = self._account.callback
        return HttpRequest.of_form(self._url, fields, self._headers)

    def check_request(self, *, now: datetime) -> HttpRequest:  # noqa: ARG002 - nothing in it depends on the time
        return HttpRequest(url=self._balance, headers=self._headers, body=b"", method="GET")

    def check_answer(self, answer: HttpAnswer) -> str | None:
        balance = answer.json().get("value")
        return f"the balance is {balance}" if answer.status == 200 and balance is not None else None

    def outcome(self, answer: HttpAnswer, *, now: datetime) -> Outcome:
        if not 200 <= answer.status < 300:
            return answer.outcome(meaning_of(answer), now=now)
        parts = answer.json().get("messages")
        if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
            parts = []
        statuses = [part.get("status") for part in parts]
        failed = [status for status in statuses if status != "0"]
        if not failed:  # without any part the answer does not say what became of the message
            return answer.accepted(parts[0].get("message-id") if parts else None, now=now)
        if len(failed) < len(statuses):  # to send all parts again would repeat some
            return answer.outcome(Meaning.UNCERTAIN, "partly_accepted", now=now)
        status = failed[0]
        if not isinstance(status, str):
            return answer.accepted(None, now=now)
        meaning = CODES[status].meaning if status in CODES else Meaning.PERMANENT
        return answer.outcome(meaning, f"vonage_{status}", now=now, wait=_PAUSES.get(meaning))


def channel_from_url(url: str, *, renderer: Renderer | None = None) -> MessageChannel:
    """Return the channel for ``vonage://`` URLs; nothing is connected yet.

    Raises:
        ConfigurationError: The URL is not acceptable.
    """
    account = SmsAccount.of(parse_provider_url(url, example=_EXAMPLE, credentials=2, options=OPTIONS))
    return account.channel(Vonage(account), renderer)


if TYPE_CHECKING:
    _conforms: type[Vendor] = Vonage
