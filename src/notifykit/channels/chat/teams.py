"""Microsoft Teams: ``teams://``, addresses are the URLs of workflows that post to a channel or a chat.

The message is an Adaptive Card.  Workflows answer 202 with nothing; the older connectors answer 200, with ``1`` for
success and with a text for failures.  Microsoft does not document these texts: the tests pin how they are read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ...models.messages import ChatMessage
from ...models.outcome import Outcome
from ..http_answers import HttpAnswer, Meaning
from .rooms import Rooms, channel_maker, refusal_of

_LABEL = r"[a-z0-9-]+"
_FAILED = re.compile(rb"HTTP error (\d{3})")


class Teams:
    """Requests and answers of workflows and connectors."""

    name = "teams"
    hosts = re.compile(
        rf"{_LABEL}\.webhook\.office\.com|({_LABEL}\.)+logic\.azure\.com|({_LABEL}\.)+environment\.api\.powerplatform\.com"
    )
    paths = re.compile(r"/(?:webhookb2|workflows|powerautomate/automations/direct/workflows)/[A-Za-z0-9@/_.-]+")
    example = "https://prod-00.westeurope.logic.azure.com/workflows/…/triggers/manual/paths/invoke?…"

    def body(self, message: ChatMessage) -> Mapping[str, Any]:
        # `[` begins a link whose text hides where it leads; a single line break would be a blank
        lines = message.text.replace("[", "\\[").splitlines() or [""]
        card = {
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard",
            "version": "1.2",
            "body": [{"type": "TextBlock", "text": line, "wrap": True, "spacing": "None"} for line in lines],
        }
        attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "content": card}
        return {"type": "message", "attachments": [attachment]}

    def query(self, given: str) -> str:
        return given

    def outcome(self, answer: HttpAnswer, *, now: datetime) -> Outcome:
        if 200 <= answer.status < 300:
            return self._taken(answer, now)
        meaning = Meaning.BAD_RECIPIENT if answer.status in (404, 410) else refusal_of(answer)
        return answer.outcome(meaning, now=now)

    def _taken(self, answer: HttpAnswer, now: datetime) -> Outcome:
        failed = _FAILED.search(answer.body)
        if failed is None:
            return answer.outcome(Meaning.ACCEPTED, now=now)
        meaning = refusal_of(HttpAnswer(status=int(failed[1])))
        return answer.outcome(meaning, f"http_{failed[1].decode()}", now=now)


channel_from_url = channel_maker(Teams())

if TYPE_CHECKING:
    _conforms: type[Rooms] = Teams
