"""Messages without templates: the title is the event type's name, the text is the data, one field a line.

Pure: what an application gets before it has written templates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..codec import dumps, loads
from ..errors import TemplateError
from ..models.delivery import Claim
from ..models.destination import Destination
from ..models.messages import ChatMessage, EmailMessage, InAppMessage, Message, PushMessage, SmsMessage

if TYPE_CHECKING:
    from ..ports import Renderer

#: How many fields a message shows, and how many characters of each.
_MOST_FIELDS, _LONGEST_VALUE = 50, 500
#: How much text fits where there is little room: two SMS, or what a phone shows of a push.
_SHORT = 300


def title_of(event_type: str) -> str:
    """Return an event type as words: ``order.line_shipped`` is ``Order line shipped``."""
    words = event_type.replace(".", " ").replace("_", " ").strip()
    return words[:1].upper() + words[1:]


class PlainRenderer:
    """Renders every event on every channel of :data:`~notifykit.models.messages.KINDS`, in no language."""

    def render(self, claim: Claim, destination: Destination, *, now: datetime) -> Message:  # noqa: ARG002 - the same at any time
        make = _MAKERS.get(destination.channel)
        if make is None:
            raise TemplateError(f"{claim.event_type}: there is no default message on the channel {destination.channel}")
        return make(title_of(claim.event_type), _data(claim.body))


def _data(body: bytes) -> Mapping[str, Any]:
    data = loads(body).get("data")
    return data if isinstance(data, dict) else {}


def _lines(data: Mapping[str, Any]) -> Iterator[str]:
    for number, (name, value) in enumerate(data.items()):
        if number == _MOST_FIELDS:
            yield f"… {len(data) - _MOST_FIELDS} more"
            return
        text = value if isinstance(value, str) else dumps(value).decode()
        yield f"{title_of(name)}: {_cut(text, _LONGEST_VALUE)}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _text(data: Mapping[str, Any]) -> str:
    return "\n".join(_lines(data))


def _brief(title: str, data: Mapping[str, Any]) -> str:
    return _cut(". ".join([title, *_lines(data)]), _SHORT)


_MAKERS: Mapping[str, Callable[[str, Mapping[str, Any]], Message]] = {
    "email": lambda title, data: EmailMessage(subject=title, text=_text(data)),
    "sms": lambda title, data: SmsMessage(text=_brief(title, data)),
    "push": lambda title, data: PushMessage(title=title, body=_cut(_text(data), _SHORT)),
    "in_app": lambda title, data: InAppMessage(title=title, body=_text(data), data=data),
    "chat": lambda title, data: ChatMessage(text="\n".join([title, *_lines(data)])),
}

if TYPE_CHECKING:
    _conforms: type[Renderer] = PlainRenderer
