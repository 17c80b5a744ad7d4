"""E-mail through SendGrid: ``sendgrid://API_KEY@?sender=shop@example.org&region=eu``.

One POST to ``/v3/mail/send`` a message, or for as many as share a text (``personalizations``).  The id in the answer is
that of all messages of a request, and only the beginning of the id that SendGrid's events have, so the delivery's id
goes along as ``custom_args.delivery_id``.  Not written down by SendGrid, and pinned by the tests: the name of the field
in an error about the address, and ``X-RateLimit-Reset``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

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
from .parts import first_by_address, parts_in, parts_of, request_of, sender_of, sent_once

if TYPE_CHECKING:
    from ...ports import Renderer

_ENDPOINTS: Final = {"global": "https://api.sendgrid.com", "eu": "https://api.eu.sendgrid.com"}
#: What a status says; of another one its class decides.
CODES: Final = {
    400: Code(Meaning.PERMANENT, "the request is invalid; if the field is the recipient's address: `bad_recipient`"),
    401: Code(Meaning.CONFIGURATION, "the API key is missing or wrong"),
    403: Code(
        Meaning.CONFIGURATION, "the key or the sender may not send, or SendGrid has blocked the account for a while"
    ),
    404: Code(Meaning.CONFIGURATION, "the URL is wrong"),
    405: Code(Meaning.CONFIGURATION, "the URL is wrong"),
    413: Code(Meaning.PERMANENT, "the message is too big"),
    429: Code(Meaning.THROTTLED, "too many requests"),
    500: Code(Meaning.TRANSIENT, "an error of SendGrid"),
}
_RECIPIENT: Final = re.compile(r"personalizations(\.\d+|\[\d+\])?\.to\b")
_ONE_OF_MANY: Final = re.compile(r"personalizations[.\[](\d+)\b")


@attrs.frozen(kw_only=True)
class SendGrid:
    """Makes requests to SendGrid and judges its answers.

    Attributes:
        sender: Of ``From``, unless a message names another one.
    """

    name = "sendgrid"
    most = 1000
    most_bytes = 20_000_000  # of 30 MB
    account: str
    key: str = attrs.field(repr=False)
    sender: Mailbox
    endpoint: str = _ENDPOINTS["global"]

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.key,)

    def request(
        self,
        message: Message,
        claim: Claim,
        destination: Destination,
        *,
        now: datetime,  # noqa: ARG002 - nothing is signed
    ) -> HttpRequest | Outcome:
        return request_of(message, destination, lambda mail, to: self._make(mail, claim, to))

    def _make(self, message: EmailMessage, claim: Claim, to: Mailbox) -> HttpRequest:
        parts = parts_of(message, claim, sender=self.sender, to=to)
        content = [{"type": "text/plain", "value": parts.text}]
        if parts.html is not None:
            content.append({"type": "text/html", "value": parts.html})
        body: dict[str, Any] = {
            "personalizations": [{"to": [_mailbox(to)], "custom_args": {"delivery_id": parts.id}}],
            "from": _mailbox(parts.sender),
            "subject": parts.subject,
            "content": content,
            "headers": parts.headers,
        }
        if parts.reply_to:
            body["reply_to_list"] = [_mailbox(each) for each in parts.reply_to]
        person = {**body["personalizations"][0], "subject": body["subject"], "headers": body["headers"]}
        shared = {name: body[name] for name in ("from", "content", "reply_to_list") if name in body}
        part = BulkPart(key=json.dumps(shared), value=(to.address, person))
        return attrs.evolve(self._post(body), part=part)

    def _post(self, body: dict[str, Any]) -> HttpRequest:
        return HttpRequest.of_json(f"{self.endpoint}/v3/mail/send", body, {"authorization": f"Bearer {self.key}"})

    def joined(self, requests: Sequence[HttpRequest], *, now: datetime) -> HttpRequest:  # noqa: ARG002 - not signed
        shared = json.loads(str(parts_in(requests)[0].key))
        return self._post({"personalizations": list(first_by_address(requests).values()), **shared})

    def outcomes(
        self, answer: HttpAnswer, requests: Sequence[HttpRequest], *, now: datetime
    ) -> Sequence[Outcome | None]:
        outcome = self.outcome(answer, now=now)
        blamed = {number: self.outcome(one, now=now) for number, one in _blamed(answer).items()}
        sent = sent_once(requests)
        if answer.status == 400 and blamed and max(blamed) < sent.count(True):
            position = iter(range(len(requests)))
            return [blamed.get(next(position)) if is_sent else None for is_sent in sent]
        return [outcome if is_sent else None for is_sent in sent]

    def check_request(self, *, now: datetime) -> HttpRequest:  # noqa: ARG002 - nothing in it depends on the time
        headers = {"authorization": f"Bearer {self.key}"}
        return HttpRequest(url=f"{self.endpoint}/v3/scopes", headers=headers, body=b"", method="GET")

    def check_answer(self, answer: HttpAnswer) -> str | None:
        scopes = answer.json().get("scopes")
        may_send = answer.status == 200 and isinstance(scopes, list) and "mail.send" in scopes
        return "the key may send" if may_send else None

    def outcome(self, answer: HttpAnswer, *, now: datetime) -> Outcome:
        if answer.meaning() is Meaning.ACCEPTED:
            return answer.accepted(answer.headers.get("x-message-id"), now=now)
        code = CODES.get(answer.status)
        if code is None:
            return answer.outcome(now=now)
        meaning, reason = code.meaning, f"sendgrid_{answer.status}"
        if answer.status == 400 and _is_about_recipient(answer):
            meaning, reason = Meaning.BAD_RECIPIENT, "sendgrid_invalid_recipient"
        return answer.outcome(meaning, reason, now=now, wait=_wait(answer, now))


def _mailbox(mailbox: Mailbox) -> dict[str, str]:
    return {"email": mailbox.address, "name": mailbox.name} if mailbox.name else {"email": mailbox.address}


def _is_about_recipient(answer: HttpAnswer) -> bool:
    errors = answer.json().get("errors")
    return isinstance(errors, list) and any(
        isinstance(error, dict) and _RECIPIENT.match(str(error.get("field"))) for error in errors
    )


def _blamed(answer: HttpAnswer) -> dict[int, HttpAnswer]:
    """Return the positions of messages that an error is about, each with an answer that has its error alone."""
    errors = answer.json().get("errors")
    found = {}
    for error in errors if isinstance(errors, list) else ():
        field = str(error.get("field")) if isinstance(error, dict) else ""
        if where := _ONE_OF_MANY.match(field):
            body = json.dumps({"errors": [error]}).encode()
            found[int(where[1])] = attrs.evolve(answer, body=body)
    return found


def _wait(answer: HttpAnswer, now: datetime) -> timedelta | None:
    """Return how long it is until requests are allowed again, at the most an hour."""
    text = answer.headers.get("x-ratelimit-reset", "")
    if not re.fullmatch(r"\d{1,10}", text, re.ASCII):
        return None
    wait = datetime.fromtimestamp(int(text), UTC) - now
    return min(wait, timedelta(hours=1)) if wait > timedelta(0) else None


def channel_from_url(url: str, *, renderer: Renderer | None = None) -> MessageChannel:
    """Return the channel for ``sendgrid://`` URLs; nothing is connected yet.

    Args:
        renderer: Makes the messages; by default plain texts of what the event says.

    Raises:
        ConfigurationError: The URL is not acceptable.
    """
    parts = parse_provider_url(
        url,
        example="sendgrid://API_KEY@?sender=shop@example.org",
        credentials=1,
        options=("sender", "region", *BULK_OPTIONS),
    )
    vendor = SendGrid(
        account=parts.account,
        key=parts.credentials[0],
        sender=sender_of(parts),
        endpoint=parts.endpoint(parts.choice("region", _ENDPOINTS)),
    )
    return http_channel("email", vendor, parts, renderer=renderer, check_address=canonical_address)


if TYPE_CHECKING:
    _conforms: type[BulkVendor] = SendGrid
