"""E-mail through Amazon SES, version 2 of its API: ``ses://KEY_ID:SECRET@eu-west-1?sender=shop@example.org``.

One POST to ``/v2/email/outbound-emails`` a message, signed with Signature Version 4; the region follows the ``@``.
The e-mail is sent raw: the same bytes as over SMTP.  SES replaces its ``Message-ID``; the delivery's id goes along as
the tag ``delivery_id``.  With the option ``batch`` e-mails that share a text go to ``/v2/email/outbound-bulk-emails``
as an inline template, which needs a permission of its own (``ses:SendBulkEmail``).  Not written down by AWS, and pinned
by the tests: that the name of an error is in the header ``x-amzn-errortype`` or in the body's ``__type`` or ``code``.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime, timedelta
from email.utils import formataddr
from typing import TYPE_CHECKING, Any, Final

import attrs

from ...models.delivery import Claim
from ...models.destination import Destination
from ...models.messages import EmailMessage, Message
from ...models.outcome import Outcome
from ...signing.sigv4 import AwsCredentials, signed_headers
from ..http_answers import Code, HttpAnswer, Meaning
from ..http_provider import BULK_OPTIONS, BulkPart, BulkVendor, HttpRequest, http_channel
from ..messages import MessageChannel
from ..provider_url import parse_provider_url
from .address import Mailbox, canonical_address
from .mime import write
from .parts import Parts, parts_in, parts_of, request_of, sender_of

if TYPE_CHECKING:
    from ...ports import Renderer

#: What the name of an error says, without ``Exception`` at its end; of another one the HTTP status decides.
CODES: Final = {
    "AccessDenied": Code(Meaning.CONFIGURATION, "the key may not send"),
    "AccountSuspended": Code(Meaning.CONFIGURATION, "AWS has suspended the account's sending for good"),
    "BadRequest": Code(Meaning.PERMANENT, "the request is invalid"),
    "ExpiredToken": Code(Meaning.CONFIGURATION, "the temporary key has expired"),
    "InternalFailure": Code(Meaning.TRANSIENT, "an error of SES"),
    "InvalidClientTokenId": Code(Meaning.CONFIGURATION, "the key does not exist"),
    "InvalidParameterValue": Code(Meaning.PERMANENT, "the request is invalid"),
    "LimitExceeded": Code(Meaning.THROTTLED, "the day's quota is used up; the next attempt is an hour later"),
    "MailFromDomainNotVerified": Code(Meaning.CONFIGURATION, "the sender's domain is not verified"),
    "MessageRejected": Code(Meaning.PERMANENT, "SES refuses the content"),
    "NotFound": Code(Meaning.CONFIGURATION, "the identity or the configuration set does not exist"),
    "SendingPaused": Code(Meaning.CONFIGURATION, "sending is paused for the account or the configuration set"),
    "SignatureDoesNotMatch": Code(Meaning.CONFIGURATION, "the secret is wrong"),
    "Throttling": Code(Meaning.THROTTLED, "too many requests"),
    "TooManyRequests": Code(Meaning.THROTTLED, "too many requests"),
    "UnrecognizedClient": Code(Meaning.CONFIGURATION, "the key does not exist"),
}
_QUOTA_WAIT: Final = timedelta(hours=1)
#: The ``Status`` of a message of a batch, and the error that a message alone would have had.
_STATUSES: Final = {
    "ACCOUNT_DAILY_QUOTA_EXCEEDED": "LimitExceeded",
    "ACCOUNT_SENDING_PAUSED": "SendingPaused",
    "ACCOUNT_SUSPENDED": "AccountSuspended",
    "ACCOUNT_THROTTLED": "TooManyRequests",
    "CONFIGURATION_SET_NOT_FOUND": "NotFound",
    "CONFIGURATION_SET_SENDING_PAUSED": "SendingPaused",
    "FAILED": "InternalFailure",
    "INVALID_PARAMETER": "InvalidParameterValue",
    "MAIL_FROM_DOMAIN_NOT_VERIFIED": "MailFromDomainNotVerified",
    "MESSAGE_REJECTED": "MessageRejected",
    "TRANSIENT_FAILURE": "InternalFailure",
}


@attrs.frozen(kw_only=True)
class Ses:
    """Makes requests to Amazon SES and judges its answers.

    Attributes:
        sender: Of ``From``, unless a message names another one.
        configuration_set: Its name, if events are to be published.
        is_bulk: Whether e-mails may share a request.
    """

    name = "ses"
    most = 50
    most_bytes = 20_000_000
    account: str
    credentials: AwsCredentials
    region: str
    sender: Mailbox
    endpoint: str
    configuration_set: str | None = None
    is_bulk: bool = False

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(text for text in (self.credentials.secret, self.credentials.token) if text)

    def request(
        self, message: Message, claim: Claim, destination: Destination, *, now: datetime
    ) -> HttpRequest | Outcome:
        return request_of(message, destination, lambda mail, to: self._make(mail, claim, to, now))

    def _make(self, message: EmailMessage, claim: Claim, to: Mailbox, now: datetime) -> HttpRequest:
        mail = write(message, sender=self.sender, to=to, id=claim.delivery_id, now=now)
        body: dict[str, Any] = {
            "FromEmailAddress": mail.sender,
            "Destination": {"ToAddresses": [mail.recipient]},
            "Content": {"Raw": {"Data": b64encode(mail.data).decode()}},
            "EmailTags": [{"Name": "delivery_id", "Value": claim.delivery_id}],
        }
        if self.configuration_set is not None:
            body["ConfigurationSetName"] = self.configuration_set
        part = _part(parts_of(message, claim, sender=self.sender, to=to)) if self.is_bulk else None
        return attrs.evolve(self._signed("outbound-emails", body, now), part=part)

    def _signed(self, action: str, body: dict[str, Any], now: datetime) -> HttpRequest:
        made = HttpRequest.of_json(f"{self.endpoint}/v2/email/{action}", body, {})
        headers = signed_headers(
            "POST",
            made.url,
            made.headers,
            made.body,
            credentials=self.credentials,
            region=self.region,
            service="ses",
            now=now,
        )
        return attrs.evolve(made, headers=headers)

    def check_request(self, *, now: datetime) -> HttpRequest:
        url = f"{self.endpoint}/v2/email/account"
        headers = signed_headers(
            "GET", url, {}, b"", credentials=self.credentials, region=self.region, service="ses", now=now
        )
        return HttpRequest(url=url, headers=headers, body=b"", method="GET")

    def check_answer(self, answer: HttpAnswer) -> str | None:
        if answer.status == 200:
            return "the account may send" if answer.json().get("SendingEnabled") else None
        # A key need not be allowed to read this to be allowed to send.
        return "the key exists" if _error_name(answer, answer.json()) == "AccessDenied" else None

    def joined(self, requests: Sequence[HttpRequest], *, now: datetime) -> HttpRequest:
        parts = parts_in(requests)
        body = {**json.loads(str(parts[0].key)), "BulkEmailEntries": [part.value for part in parts]}
        if self.configuration_set is not None:
            body["ConfigurationSetName"] = self.configuration_set
        return self._signed("outbound-bulk-emails", body, now)

    def outcomes(
        self, answer: HttpAnswer, requests: Sequence[HttpRequest], *, now: datetime
    ) -> Sequence[Outcome | None]:
        results = _results_in(answer)
        if answer.meaning() is not Meaning.ACCEPTED or len(results) != len(requests):
            return [self.outcome(answer, now=now)] * len(requests)
        return [self.outcome(_answer_of(result), now=now) for result in results]

    def outcome(self, answer: HttpAnswer, *, now: datetime) -> Outcome:
        found = answer.json()
        if answer.meaning() is Meaning.ACCEPTED:
            return answer.accepted(found.get("MessageId"), now=now)
        name = _error_name(answer, found)
        code = CODES.get(name)
        if code is None:
            return answer.outcome(now=now)
        wait = _QUOTA_WAIT if name == "LimitExceeded" else None
        return answer.outcome(code.meaning, f"ses_{name}", now=now, wait=wait)


def _part(parts: Parts) -> BulkPart | None:
    """Return how an e-mail shares a request: with those of the same text, which becomes a template."""
    content = {"Subject": parts.subject, "Text": parts.text, **({"Html": parts.html} if parts.html else {})}
    if any("{{" in text for text in content.values()):
        return None  # what it says would be taken for a variable
    shared: dict[str, Any] = {
        "FromEmailAddress": _mailbox(parts.sender),
        "DefaultContent": {"Template": {"TemplateContent": content, "TemplateData": "{}"}},
    }
    if parts.reply_to:
        shared["ReplyToAddresses"] = [_mailbox(each) for each in parts.reply_to]
    entry = {
        "Destination": {"ToAddresses": [_mailbox(parts.to)]},
        "ReplacementEmailContent": {"ReplacementTemplate": {"ReplacementTemplateData": "{}"}},
        "ReplacementHeaders": [{"Name": name, "Value": value} for name, value in parts.headers.items()],
        "ReplacementTags": [{"Name": "delivery_id", "Value": parts.id}],
    }
    return BulkPart(key=json.dumps(shared), value=entry)


def _mailbox(mailbox: Mailbox) -> str:
    return formataddr((mailbox.name, mailbox.address)) if mailbox.address.isascii() else mailbox.address


def _results_in(answer: HttpAnswer) -> list[dict[str, Any]]:
    results = answer.json().get("BulkEmailEntryResults")
    return [each for each in results if isinstance(each, dict)] if isinstance(results, list) else []


def _answer_of(result: dict[str, Any]) -> HttpAnswer:
    """Return what a message alone would have been answered."""
    status = str(result.get("Status"))
    if status == "SUCCESS":
        return HttpAnswer(status=200, body=json.dumps({"MessageId": result.get("MessageId")}).encode())
    body = {**result, "code": _STATUSES.get(status, status)}
    return HttpAnswer(status=400, body=json.dumps(body).encode())


def _error_name(answer: HttpAnswer, found: dict[str, Any]) -> str:
    """Return the name of an error, without what AWS puts around it: ``namespace#``, ``Exception`` and ``:url``."""
    given = answer.headers.get("x-amzn-errortype") or found.get("__type") or found.get("code") or ""
    return str(given).partition(":")[0].rpartition("#")[2].removesuffix("Exception")


def channel_from_url(url: str, *, renderer: Renderer | None = None) -> MessageChannel:
    """Return the channel for ``ses://`` URLs; nothing is connected yet.

    Args:
        renderer: Makes the messages; by default plain texts of what the event says.

    Raises:
        ConfigurationError: The URL is not acceptable.
    """
    parts = parse_provider_url(
        url,
        example="ses://KEY_ID:SECRET@eu-west-1?sender=shop@example.org",
        credentials=2,
        options=("configuration_set", "sender", "token", *BULK_OPTIONS),
        host=True,
    )
    key_id, secret = parts.credentials
    domain = "amazonaws.com.cn" if parts.host.startswith("cn-") else "amazonaws.com"
    vendor = Ses(
        account=parts.account,
        credentials=AwsCredentials(key_id=key_id, secret=secret, token=parts.secret("token")),
        region=parts.host,
        sender=sender_of(parts),
        endpoint=parts.endpoint(f"https://email.{parts.host}.{domain}"),
        configuration_set=parts.options.get("configuration_set"),
        is_bulk="batch" in parts.options,
    )
    return http_channel("email", vendor, parts, renderer=renderer, check_address=canonical_address, batch=1)


if TYPE_CHECKING:
    _conforms: type[BulkVendor] = Ses
