"""Slack's incoming webhooks: ``slack://``, addresses like ``https://hooks.slack.com/services/T…/B…/…``.

The answer to success is the text ``ok``, without an id.  Slack takes about one message a second for each room.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ...models.messages import ChatMessage
from ...models.outcome import Outcome
from ..http_answers import Code, HttpAnswer, Meaning
from .rooms import Rooms, channel_maker, refusal_of

#: The text of an error; what is not here is judged by the HTTP status.
CODES: Mapping[str, Code] = {
    "action_prohibited": Code(Meaning.PERMANENT, "the workspace's administrator does not allow it"),
    "channel_is_archived": Code(Meaning.BAD_RECIPIENT, "the channel is archived"),
    "channel_not_found": Code(Meaning.BAD_RECIPIENT, "the channel was deleted"),
    "invalid_payload": Code(Meaning.PERMANENT, "the request is invalid"),
    "invalid_token": Code(Meaning.BAD_RECIPIENT, "the URL was revoked"),
    "no_active_hooks": Code(Meaning.BAD_RECIPIENT, "the webhook is disabled"),
    "no_service": Code(Meaning.BAD_RECIPIENT, "the webhook was removed"),
    "no_team": Code(Meaning.BAD_RECIPIENT, "the workspace was deleted"),
    "no_text": Code(Meaning.PERMANENT, "the text is empty"),
    "posting_to_general_channel_denied": Code(Meaning.PERMANENT, "only some may post to the general channel"),
    "rollup_error": Code(Meaning.TRANSIENT, "an error of Slack"),
    "too_many_attachments": Code(Meaning.PERMANENT, "the request is invalid"),
}
#: So that data cannot mention everybody (``<!channel>``) or give a link another text.
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


class Slack:
    """Requests and answers of incoming webhooks."""

    name = "slack"
    hosts = re.compile(r"hooks\.slack(-gov)?\.com")
    paths = re.compile(r"/services/[A-Z0-9]+/[A-Z0-9]+/[A-Za-z0-9]+")
    example = "https://hooks.slack.com/services/T000/B000/XXXX"

    def body(self, message: ChatMessage) -> Mapping[str, Any]:
        return {"text": message.text.translate(_ESCAPES)}

    def query(self, given: str) -> str:
        return given

    def outcome(self, answer: HttpAnswer, *, now: datetime) -> Outcome:
        text = answer.body[:100].decode("utf-8", "replace").strip()
        if 200 <= answer.status < 300:
            return answer.outcome(now=now) if text == "ok" else answer.accepted(None, now=now)
        if text in CODES:
            return answer.outcome(CODES[text].meaning, f"slack_{text}", now=now)
        return answer.outcome(refusal_of(answer), now=now)


channel_from_url = channel_maker(Slack())

if TYPE_CHECKING:
    _conforms: type[Rooms] = Slack
