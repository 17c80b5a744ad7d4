"""Messages without templates: the title is the event type's name, the text is the data, one field a line.

Pure: what an application gets before it has written templates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..codec import dumps, loads
from ..errors import TemplateError
from ..models.delivery import Claim, Collected
from ..models.destination import Destination
from ..models.messages import ChatMessage, EmailMessage, InAppMessage, Message, PushMessage, SmsMessage, title_of

if TYPE_CHECKING:
    from ..ports import Renderer

#: How many fields a message shows, and how many characters of each.
_MOST_FIELDS, _LONGEST_VALUE = 50, 500
#: How much text fits where there is little room: two SMS, or what a phone shows of a push.
_SHORT = 300


class PlainRenderer:
    """Renders every event on every channel of :data:`~notifykit.models.messages.KINDS`, in no language."""

    def render(self, claim: Claim, destination: Destination, *, now: datetime) -> Message:  # noqa: ARG002 - the same at any time
        make = _MAKERS.get(destination.channel)
        if make is None:
            raise TemplateError(f"{claim.event_type}: there is no default message on the channel {destination.channel}")
        if claim.collected is None:
            return make(title_of(claim.event_type), _data(claim.body))
        return make(*_digest(claim.collected))


def _digest(collected: Collected) -> tuple[str, Mapping[str, Any]]:
    """Return the title and the data of what a digest has collected: a number, and a field for each event."""
    titles = {title_of(item.event_type) for item in collected.items}
    title = titles.pop() if len(titles) == 1 else "Notification"
    shown = {
        f"#{number} {title_of(item.event_type)}": ", ".join(_lines(_data(item.body)))
        for number, item in enumerate(collected.items, 1)
    }
    if (left := collected.total - len(shown)) > 0:
        shown["…"] = f"{left} more"
    return f"{title} ({collected.total})", shown


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
    "email": lambda title, data: EmailMessage(subject=title, text=_text(data) or title),
    "sms": lambda title, data: SmsMessage(text=_brief(title, data)),
    "push": lambda title, data: PushMessage(title=title, body=_cut(_text(data), _SHORT)),
    "in_app": lambda title, data: InAppMessage(title=title, body=_text(data), data=data),
    "chat": lambda title, data: ChatMessage(text="\n".join([title, *_lines(data)])),
}

if TYPE_CHECKING:
    _conforms: type[Renderer] = PlainRenderer
