"""E-mail through Postmark: ``postmark://SERVER_TOKEN@?sender=shop@example.org&stream=outbound``.

One POST to ``/email`` a message, or to ``/email/batch`` for several.  An error is HTTP 422 with an ``ErrorCode``, and
it is the code that says what follows; in a batch each message has its own.  That names and subjects are taken as UTF-8
is not written down by Postmark; the tests pin what is sent.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

import attrs

from ...models.delivery import Claim
from ...models.destination import Destination
from ...models.messages import EmailMessage, Message
from ...models.outcome import Outcome
from ..http_answers import Code, HttpAnswer, Meaning
from ..http_provider import BULK_OPTIONS, BulkPart, BulkVendor, HttpRequest, http_channel
from ..messages import MessageChannel
from ..provider_url import parse_provider_url
from .address import Mailbox, canonical_address
from .parts import parts_of, request_of, sender_of, shown

if TYPE_CHECKING:
    from ...ports import Renderer

_ENDPOINT: Final = "https://api.postmarkapp.com"
#: What ``ErrorCode`` says; of another one the HTTP status decides.
CODES: Final = {
    10: Code(Meaning.CONFIGURATION, "the server token is missing or wrong"),
    100: Code(Meaning.TRANSIENT, "maintenance"),
    300: Code(Meaning.PERMANENT, "the request is invalid; if its text is about the `To` address: `bad_recipient`"),
    400: Code(Meaning.CONFIGURATION, "the sender's signature does not exist"),
    401: Code(Meaning.CONFIGURATION, "the sender's signature is not confirmed"),
    402: Code(Meaning.PERMANENT, "the JSON is invalid"),
    403: Code(Meaning.PERMANENT, "the JSON is not what was expected"),
    405: Code(Meaning.CONFIGURATION, "out of credit"),
    406: Code(Meaning.BAD_RECIPIENT, "the recipient is inactive: a hard bounce, a complaint or a suppression"),
    409: Code(Meaning.PERMANENT, "the request is not JSON"),
    410: Code(Meaning.PERMANENT, "too many messages in a batch"),
    411: Code(Meaning.PERMANENT, "a forbidden type of attachment"),
    412: Code(Meaning.CONFIGURATION, "the account is pending"),
    413: Code(Meaning.CONFIGURATION, "the account may not send"),
    429: Code(Meaning.THROTTLED, "too many requests"),
}


@attrs.frozen(kw_only=True)
class Postmark:
    """Makes requests to Postmark and judges its answers.

    Attributes:
        sender: Of ``From``, unless a message names another one.
        stream: The message stream; by default that of the server.
    """

    name = "postmark"
    most = 500
    most_bytes = 40_000_000  # of 50 MB
    account: str
    token: str = attrs.field(repr=False)
    sender: Mailbox
    stream: str | None = None
    endpoint: str = _ENDPOINT

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.token,)

    def request(
        self,
        message: Message,
        claim: Claim,
        destination: Destination,
        *,
        now: datetime,  # noqa: ARG002 - no signature
    ) -> HttpRequest | Outcome:
        return request_of(message, destination, lambda mail, to: self._make(mail, claim, to))

    def _make(self, message: EmailMessage, claim: Claim, to: Mailbox) -> HttpRequest:
        parts = parts_of(message, claim, sender=self.sender, to=to)
        value = {
            "From": shown(parts.sender),
            "To": shown(parts.to),
            "Subject": parts.subject,
            "TextBody": parts.text,
            "HtmlBody": parts.html,
            "ReplyTo": ", ".join(map(shown, parts.reply_to)) or None,
            "Headers": [{"Name": name, "Value": text} for name, text in parts.headers.items()],
            "Metadata": {"delivery_id": parts.id},
            "MessageStream": self.stream,
        }
        body = {name: part for name, part in value.items() if part is not None}
        headers = {"accept": "application/json", "x-postmark-server-token": self.token}
        request = HttpRequest.of_json(f"{self.endpoint}/email", body, headers)
        return attrs.evolve(request, part=BulkPart(key=None, value=None))  # any messages can share a request

    def joined(self, requests: Sequence[HttpRequest], *, now: datetime) -> HttpRequest:  # noqa: ARG002 - no signature
        body = b"[" + b",".join(request.body for request in requests) + b"]"
        return attrs.evolve(requests[0], url=f"{self.endpoint}/email/batch", body=body, part=None)

    def outcomes(
        self, answer: HttpAnswer, requests: Sequence[HttpRequest], *, now: datetime
    ) -> Sequence[Outcome | None]:
        items = answer.items(len(requests)) if answer.meaning() is Meaning.ACCEPTED else None
        if items is None:
            return [self.outcome(answer, now=now)] * len(requests)
        # an item has the code of an answer to one message, but not its status
        answers = [
            HttpAnswer(status=422 if one.get("ErrorCode") else 200, body=json.dumps(one).encode()) for one in items
        ]
        return [self.outcome(one, now=now) for one in answers]

    def check_request(self, *, now: datetime) -> HttpRequest:  # noqa: ARG002 - nothing in it depends on the time
        headers = {"accept": "application/json", "x-postmark-server-token": self.token}
        return HttpRequest(url=f"{self.endpoint}/server", headers=headers, body=b"", method="GET")

    def check_answer(self, answer: HttpAnswer) -> str | None:
        name = answer.json().get("Name")
        return f"the token is that of the server {name!r}" if answer.status == 200 and name else None

    def outcome(self, answer: HttpAnswer, *, now: datetime) -> Outcome:
        found = answer.json()
        number = found.get("ErrorCode")
        if answer.meaning() is Meaning.ACCEPTED and number in (0, None):
            return answer.accepted(found.get("MessageID"), now=now)
        code = CODES.get(number) if isinstance(number, int) else None
        if code is None:
            return answer.outcome(now=now)
        meaning = code.meaning
        if number == 300 and "'To'" in str(found.get("Message")):
            meaning = Meaning.BAD_RECIPIENT
        return answer.outcome(meaning, f"postmark_{number}", now=now)


def channel_from_url(url: str, *, renderer: Renderer | None = None) -> MessageChannel:
    """Return the channel for ``postmark://`` URLs; nothing is connected yet.

    Args:
        renderer: Makes the messages; by default plain texts of what the event says.

    Raises:
        ConfigurationError: The URL is not acceptable.
    """
    parts = parse_provider_url(
        url,
        example="postmark://TOKEN@?sender=shop@example.org",
        credentials=1,
        options=("sender", "stream", *BULK_OPTIONS),
    )
    vendor = Postmark(
        account=parts.account,
        token=parts.credentials[0],
        sender=sender_of(parts),
        stream=parts.options.get("stream"),
        endpoint=parts.endpoint(_ENDPOINT),
    )
    return http_channel("email", vendor, parts, renderer=renderer, check_address=canonical_address)


if TYPE_CHECKING:
    _conforms: type[BulkVendor] = Postmark
