"""E-mail through Mailgun: ``mailgun://API_KEY@mg.example.org?sender=shop@mg.example.org&region=eu``.

One POST to ``/v3/DOMAIN/messages`` a message, or for as many as share a text (``recipient-variables``); the domain
follows the ``@``.  The delivery's id goes along as ``v:delivery_id``, which Mailgun's events repeat; the id in the
answer is that of all messages of a request.  Not written down by Mailgun, and pinned by the tests: that a form without
attachments may be URL-encoded, that headers and ``v:`` fields may have recipient variables, 402 for an account without
credit, the text of an error about the address, and that a request without a message is refused with 400 only if the key
may send for the domain, which is what a check depends on.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

import attrs

from ...models.delivery import Claim
from ...models.destination import Destination
from ...models.messages import EmailMessage, Message
from ...models.outcome import BadRecipient, Outcome
from ..http_answers import Code, HttpAnswer, Meaning
from ..http_provider import BULK_OPTIONS, BulkPart, BulkVendor, HttpRequest, http_channel
from ..messages import MessageChannel
from ..provider_url import parse_provider_url
from .address import Mailbox, canonical_address
from .parts import first_by_address, parts_in, parts_of, request_of, sender_of, sent_once, shown

if TYPE_CHECKING:
    from ...ports import Renderer

_ENDPOINTS: Final = {"us": "https://api.mailgun.net", "eu": "https://api.eu.mailgun.net"}
#: What a status says; of another one its class decides.
CODES: Final = {
    400: Code(Meaning.PERMANENT, "the request is invalid; if its text is about `to`: `bad_recipient`"),
    401: Code(Meaning.CONFIGURATION, "the API key is missing or wrong"),
    402: Code(Meaning.CONFIGURATION, "the account has no credit"),
    403: Code(Meaning.CONFIGURATION, "the domain may not send"),
    404: Code(Meaning.CONFIGURATION, "the domain does not exist in this region"),
    413: Code(Meaning.PERMANENT, "the message is too big"),
    429: Code(Meaning.THROTTLED, "too many requests"),
    500: Code(Meaning.TRANSIENT, "an error of Mailgun"),
}
_RECIPIENT: Final = re.compile(r"^'?to'? parameter is not a valid address", re.IGNORECASE)


@attrs.frozen(kw_only=True)
class Mailgun:
    """Makes requests to Mailgun and judges its answers.

    Attributes:
        domain: That the account sends from.
        sender: Of ``From``, unless a message names another one.
    """

    name = "mailgun"
    most = 1000
    most_bytes = 20_000_000  # of 25 MB
    account: str
    key: str = attrs.field(repr=False)
    domain: str
    sender: Mailbox
    endpoint: str = _ENDPOINTS["us"]

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.key, self._basic)

    @property
    def _basic(self) -> str:
        return b64encode(f"api:{self.key}".encode()).decode()

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
        fields = {
            "from": shown(parts.sender),
            "to": shown(to),
            "subject": parts.subject,
            "text": parts.text,
            "v:delivery_id": parts.id,
            **{f"h:{name}": value for name, value in parts.headers.items()},
        }
        if parts.html is not None:
            fields["html"] = parts.html
        if parts.reply_to:
            fields["h:Reply-To"] = ", ".join(map(shown, parts.reply_to))
        return attrs.evolve(self._post(fields), part=_part(fields, to))

    def _post(self, fields: dict[str, str]) -> HttpRequest:
        headers = {"authorization": f"Basic {self._basic}"}
        return HttpRequest.of_form(f"{self.endpoint}/v3/{self.domain}/messages", fields, headers)

    def check_request(self, *, now: datetime) -> HttpRequest:  # noqa: ARG002 - nothing in it depends on the time
        return self._post({})

    def check_answer(self, answer: HttpAnswer) -> str | None:
        return "the key may send for the domain" if answer.status == 400 else None

    def joined(self, requests: Sequence[HttpRequest], *, now: datetime) -> HttpRequest:  # noqa: ARG002 - not signed
        people = first_by_address(requests)
        variables = {address: own for address, (_, own) in people.items()}
        to = ", ".join(mailbox for mailbox, _ in people.values())
        shared = dict(parts_in(requests)[0].key)  # type: ignore[call-overload]
        return self._post({**shared, "to": to, "recipient-variables": json.dumps(variables)})

    def outcomes(
        self, answer: HttpAnswer, requests: Sequence[HttpRequest], *, now: datetime
    ) -> Sequence[Outcome | None]:
        outcome = self.outcome(answer, now=now)
        if isinstance(outcome, BadRecipient):  # one of them is, and the answer does not say which
            return [None] * len(requests)
        return [outcome if is_sent else None for is_sent in sent_once(requests)]

    def outcome(self, answer: HttpAnswer, *, now: datetime) -> Outcome:
        found = answer.json()
        if answer.meaning() is Meaning.ACCEPTED:
            if answer.body.startswith(b"Mailgun Magnificent API"):  # what any other path answers
                return answer.outcome(Meaning.CONFIGURATION, "mailgun_wrong_path", now=now)
            id = found.get("id")
            return answer.accepted(id.strip("<>") if isinstance(id, str) else None, now=now)
        code = CODES.get(answer.status)
        if code is None:
            return answer.outcome(now=now)
        meaning, reason = code.meaning, f"mailgun_{answer.status}"
        if answer.status == 400 and _RECIPIENT.match(str(found.get("message"))):
            meaning, reason = Meaning.BAD_RECIPIENT, "mailgun_invalid_recipient"
        return answer.outcome(meaning, reason, now=now)


def _part(fields: dict[str, str], to: Mailbox) -> BulkPart | None:
    """Return how an e-mail shares a request: what differs between recipients becomes variables."""
    if any("%recipient" in text for text in fields.values()):
        return None  # what it says would be taken for a variable
    own = {name: text for name, text in fields.items() if name == "v:delivery_id" or name.startswith("h:")}
    names = {name: f"own{number}" for number, name in enumerate(own)}
    shared = {name: text for name, text in fields.items() if name != "to" and name not in own}
    shared |= {name: f"%recipient.{variable}%" for name, variable in names.items()}
    variables = {names[name]: text for name, text in own.items()}
    return BulkPart(key=tuple(shared.items()), value=(to.address, (fields["to"], variables)))


def channel_from_url(url: str, *, renderer: Renderer | None = None) -> MessageChannel:
    """Return the channel for ``mailgun://`` URLs; nothing is connected yet.

    Args:
        renderer: Makes the messages; by default plain texts of what the event says.

    Raises:
        ConfigurationError: The URL is not acceptable.
    """
    parts = parse_provider_url(
        url,
        example="mailgun://API_KEY@mg.example.org?sender=shop@mg.example.org",
        credentials=1,
        options=("sender", "region", *BULK_OPTIONS),
        host=True,
    )
    vendor = Mailgun(
        account=parts.account,
        key=parts.credentials[0],
        domain=parts.host,
        sender=sender_of(parts),
        endpoint=parts.endpoint(parts.choice("region", _ENDPOINTS)),
    )
    return http_channel("email", vendor, parts, renderer=renderer, check_address=canonical_address)


if TYPE_CHECKING:
    _conforms: type[BulkVendor] = Mailgun
