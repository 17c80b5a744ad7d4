"""Amazon SNS: ``sns://KEY_ID:SECRET@eu-west-1?countries=DE,AT&from=Example``.

One POST with the action ``Publish`` a message, signed with Signature Version 4; the region follows the ``@``.  Several
messages can share a request only if they go to a topic, so each text is a request of its own.  There are no receipts
over HTTP, and the number of a person who has opted out is taken like any other.  Not written down by AWS, and pinned by
the tests: the names of the attributes, and that the text of an ``InvalidParameter`` names ``PhoneNumber`` if it is the
recipient's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import attrs

from ...models.delivery import Claim
from ...models.destination import Destination
from ...models.messages import Message
from ...models.outcome import Outcome
from ...signing.sigv4 import AwsCredentials, signed_headers
from ..http_answers import Code, HttpAnswer, Meaning
from ..http_provider import HttpRequest, Vendor
from ..messages import MessageChannel
from ..provider_url import parse_provider_url
from .account import OPTIONS, SmsAccount, Text, meaning_of

if TYPE_CHECKING:
    from ...ports import Renderer

_EXAMPLE = "sns://KEY_ID:SECRET@eu-west-1?countries=DE,AT"
_KINDS = {"transactional": "Transactional", "promotional": "Promotional"}
#: A name, as SNS allows it, or a number that belongs to the account.
_SENDER = r"\+?[0-9]{3,15}|(?=.*[A-Za-z])[A-Za-z0-9-]{1,11}"
_VERSION = "2010-03-31"
_PRICE = re.compile(r"[0-9]{1,4}(\.[0-9]{1,5})?")
_ID = re.compile(rb"<MessageId>([^<]+)</MessageId>")
_CODE = re.compile(rb"<Code>([^<]+)</Code>")

#: The ``Code`` of an error; what is not here is judged by the HTTP status.
CODES: Mapping[str, Code] = {
    "AccessDenied": Code(Meaning.CONFIGURATION, "the key may not send"),
    "AuthorizationError": Code(Meaning.CONFIGURATION, "the key may not send"),
    "ExpiredToken": Code(Meaning.CONFIGURATION, "the temporary key has expired"),
    "InternalError": Code(Meaning.TRANSIENT, "an error of SNS"),
    "InternalFailure": Code(Meaning.TRANSIENT, "an error of SNS"),
    "InvalidClientTokenId": Code(Meaning.CONFIGURATION, "the key does not exist"),
    "InvalidParameter": Code(
        Meaning.PERMANENT, "the request is invalid; if its text is about `PhoneNumber`: `bad_recipient`"
    ),
    "OptedOut": Code(Meaning.BAD_RECIPIENT, "the recipient has opted out (STOP)"),
    "ParameterValueInvalid": Code(Meaning.PERMANENT, "the request is invalid"),
    "RequestExpired": Code(Meaning.CONFIGURATION, "the clock of this machine is wrong"),
    "ServiceUnavailable": Code(Meaning.TRANSIENT, "an error of SNS"),
    "SignatureDoesNotMatch": Code(Meaning.CONFIGURATION, "the secret, or the clock of this machine, is wrong"),
    "Throttled": Code(Meaning.THROTTLED, "too many requests"),
    "Throttling": Code(Meaning.THROTTLED, "too many requests"),
}


class Sns:
    """Requests and answers of the action ``Publish``."""

    name = "sns"

    def __init__(self, account: SmsAccount, credentials: AwsCredentials) -> None:
        url = account.url
        domain = "amazonaws.com.cn" if url.host.startswith("cn-") else "amazonaws.com"
        self.account = url.account
        self.secrets = tuple(text for text in (credentials.secret, credentials.token) if text)
        self._account = account
        self._credentials = credentials
        self._region = url.host
        self._url = f"{url.endpoint(f'https://sns.{url.host}.{domain}')}/"
        self._fields = [("Action", "Publish"), ("Version", _VERSION), *_attributes(account)]

    def request(
        self,
        message: Message,
        claim: Claim,  # noqa: ARG002 - the API has no field for a reference
        destination: Destination,
        *,
        now: datetime,
    ) -> HttpRequest | Outcome:
        text = self._account.text_for(message, destination)
        if not isinstance(text, Text):
            return text
        return self._signed([*self._fields, ("PhoneNumber", text.number), ("Message", text.text)], now)

    def check_request(self, *, now: datetime) -> HttpRequest:
        return self._signed([("Action", "GetSMSAttributes"), ("Version", _VERSION)], now)

    def check_answer(self, answer: HttpAnswer) -> str | None:
        if answer.status == 200:
            return "the key is right"
        # A key need not be allowed to read this to be allowed to send.
        return "the key exists" if self._code(answer) in ("AccessDenied", "AuthorizationError") else None

    def _signed(self, fields: list[tuple[str, str]], now: datetime) -> HttpRequest:
        made = HttpRequest.of_form(self._url, fields, {})
        headers = signed_headers(
            "POST",
            made.url,
            made.headers,
            made.body,
            credentials=self._credentials,
            region=self._region,
            service="sns",
            now=now,
        )
        return attrs.evolve(made, headers=headers)

    def outcome(self, answer: HttpAnswer, *, now: datetime) -> Outcome:
        if 200 <= answer.status < 300:
            return answer.accepted(_text_of(_ID, answer), now=now)
        name = self._code(answer)
        code = CODES.get(name)
        if code is None:
            return answer.outcome(meaning_of(answer), now=now)
        meaning = code.meaning
        if name == "InvalidParameter" and b"PhoneNumber" in answer.body:
            meaning = Meaning.BAD_RECIPIENT
        return answer.outcome(meaning, f"sns_{name}", now=now)

    @staticmethod
    def _code(answer: HttpAnswer) -> str:
        return (_text_of(_CODE, answer) or "").removesuffix("Exception")


def _attributes(account: SmsAccount) -> list[tuple[str, str]]:
    """Return the fields that say how a text is sent."""
    url = account.url
    values = [("AWS.SNS.SMS.SMSType", "String", url.choice("type", _KINDS))]
    if account.sender:
        is_number = account.sender.lstrip("+").isdecimal()
        name = "AWS.MM.SMS.OriginationNumber" if is_number else "AWS.SNS.SMS.SenderID"
        values.append((name, "String", account.sender))
    price = url.options.get("max_price")
    if price is not None:
        if not _PRICE.fullmatch(price):
            raise url.wrong("max_price is what a text may cost in US dollars, such as 0.10")
        values.append(("AWS.SNS.SMS.MaxPrice", "Number", price))
    fields = []
    for number, (name, kind, value) in enumerate(values, 1):
        entry = f"MessageAttributes.entry.{number}"
        fields += [(f"{entry}.Name", name), (f"{entry}.Value.DataType", kind), (f"{entry}.Value.StringValue", value)]
    return fields


def _text_of(element: re.Pattern[bytes], answer: HttpAnswer) -> str | None:
    found = element.search(answer.body)
    return found[1].decode("utf-8", "replace").strip() if found else None


def channel_from_url(url: str, *, renderer: Renderer | None = None) -> MessageChannel:
    """Return the channel for ``sns://`` URLs; nothing is connected yet.

    Raises:
        ConfigurationError: The URL is not acceptable.
    """
    options = (*OPTIONS, "max_price", "token", "type")
    found = parse_provider_url(url, example=_EXAMPLE, credentials=2, options=options, host=True)
    account = SmsAccount.of(found, sender=_SENDER, needs_sender=False)
    key_id, secret = found.credentials
    credentials = AwsCredentials(key_id=key_id, secret=secret, token=found.secret("token"))
    return account.channel(Sns(account, credentials), renderer)


if TYPE_CHECKING:
    _conforms: type[Vendor] = Sns
