"""E-mail through Amazon SES, version 2 of its API: ``ses://KEY_ID:SECRET@eu-west-1?sender=shop@example.org``.

One POST to ``/v2/email/outbound-emails`` a message, signed with Signature Version 4; the region follows the ``@``.
The e-mail is sent raw: the same bytes as over SMTP.  SES replaces its ``Message-ID``; the delivery's id goes along as
the tag ``delivery_id``.  Not written down by AWS, and pinned by the tests: that the name of an error is in the header
``x-amzn-errortype`` or in the body's ``__type`` or ``code``.
"""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import attrs

from ...models.delivery import Claim
from ...models.destination import Destination
from ...models.messages import EmailMessage, Message
from ...models.outcome import Outcome
from ..http_answers import Code, HttpAnswer, Meaning
from ..http_provider import HttpRequest, Vendor, http_channel
from ..messages import MessageChannel
from ..provider_url import parse_provider_url
from ..sigv4 import AwsCredentials, signed_headers
from .address import Mailbox, canonical_address
from .mime import write
from .parts import request_of, sender_of

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


@attrs.frozen(kw_only=True)
class Ses:
    """Makes requests to Amazon SES and judges its answers.

    Attributes:
        sender: Of ``From``, unless a message names another one.
        configuration_set: Its name, if events are to be published.
    """

    name = "ses"
    account: str
    credentials: AwsCredentials
    region: str
    sender: Mailbox
    endpoint: str
    configuration_set: str | None = None

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
        made = HttpRequest.of_json(f"{self.endpoint}/v2/email/outbound-emails", body, {})
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
        options=("configuration_set", "sender", "token"),
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
    )
    return http_channel("email", vendor, parts, renderer=renderer, check_address=canonical_address)


if TYPE_CHECKING:
    _conforms: type[Vendor] = Ses
