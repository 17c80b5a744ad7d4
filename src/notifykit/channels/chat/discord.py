"""Discord's webhooks: ``discord://``, addresses like ``https://discord.com/api/webhooks/ID/TOKEN``.

With ``wait=true`` the answer is the message, with its id.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from ...models.messages import ChatMessage
from ...models.outcome import Outcome
from ..http_answers import Code, HttpAnswer, Meaning
from .rooms import Rooms, channel_maker, refusal_of

#: The longest text that Discord takes.
MAX_TEXT = 2000
#: The longest pause of a rate limit that is believed, in seconds.
_LONGEST_PAUSE = 3600
#: The ``code`` of an error; what is not here is judged by the HTTP status.
CODES: Mapping[int, Code] = {
    10003: Code(Meaning.BAD_RECIPIENT, "the channel was deleted"),
    10015: Code(Meaning.BAD_RECIPIENT, "the webhook was deleted"),
    50006: Code(Meaning.PERMANENT, "the text is empty"),
    50027: Code(Meaning.BAD_RECIPIENT, "the token in the URL is wrong"),
    50035: Code(Meaning.PERMANENT, "the request is invalid"),
}


class Discord:
    """Requests and answers of webhooks."""

    name = "discord"
    hosts = re.compile(r"((ptb|canary)\.)?discord(app)?\.com")
    paths = re.compile(r"/api(/v[0-9]+)?/webhooks/[0-9]+/[A-Za-z0-9_-]+")
    example = "https://discord.com/api/webhooks/0000/XXXX"

    def body(self, message: ChatMessage) -> Mapping[str, Any]:
        text = message.text if len(message.text) <= MAX_TEXT else message.text[: MAX_TEXT - 1] + "…"
        return {"content": text, "allowed_mentions": {"parse": []}}  # so that data cannot mention everybody

    def query(self, given: str) -> str:
        return urlencode({**dict(parse_qsl(given)), "wait": "true"})

    def outcome(self, answer: HttpAnswer, *, now: datetime) -> Outcome:
        fields = answer.json()
        if 200 <= answer.status < 300:
            return answer.accepted(fields.get("id"), now=now)
        number = fields.get("code")
        code = CODES.get(number) if isinstance(number, int) else None
        if code is not None:
            return answer.outcome(code.meaning, f"discord_{number}", now=now)
        return answer.outcome(refusal_of(answer), now=now, wait=_pause(fields.get("retry_after")))


def _pause(seconds: object) -> timedelta | None:
    """Return the pause that the body of a 429 names."""
    if not isinstance(seconds, int | float) or not 0 < seconds <= _LONGEST_PAUSE:
        return None
    return timedelta(seconds=seconds)


channel_from_url = channel_maker(Discord())

if TYPE_CHECKING:
    _conforms: type[Rooms] = Discord
