"""Generate ``reference/telemetry.md`` from ``notifykit.telemetry``: ``python -m docs.generate_telemetry``.

The classes are the contract; a test checks that the page is current.
"""

from __future__ import annotations

import inspect
import logging
import re
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args, get_type_hints

import attrs

from notifykit import telemetry

PAGE = Path(__file__).parent / "reference" / "telemetry.md"

#: Fields that mean the same in every event.
COMMON = {
    "attempt": "The number of the attempt, over all generations of the delivery.",
    "channel": "The channel of the delivery: `webhook`.",
    "delivery_id": "`dlv_…`",
    "endpoint_id": "`end_…`",
    "subscription_id": "`sub_…`",
    "error": "The exception, in one line.",
    "event_id": "`evt_…`; receivers know it as `webhook-id`.",
    "event_type": "The type of the event, such as `order.shipped`.",
    "fence": "The fence of the claim.",
    "lane": "The channel and, unless it is normal, the priority: `webhook:high`.",
    "provider": "The vendor that reports: `sendgrid`.",
    "reason": "A stable code, such as `http_503` or `endpoint_paused`.",
    "tenant": "The tenant that owns the data.",
    "took": "The duration.",
}

_HEAD = """\
# Telemetry events

% Generated from src/notifykit/telemetry.py: python -m docs.generate_telemetry

A dispatcher emits these events to its subscribers and to the logger `notifykit`. Names and fields are a public
contract: a minor release may add a field, and only a major release removes one. No event contains payloads, secrets or
full addresses.

A subscriber receives the event as an object. The log has one line for each event: the name and `field=value` pairs.
Fields without a value are left out. A duration is in milliseconds, and its name ends in `_ms`. How to use the events:
{doc}`../howto/telemetry`.
"""


def page() -> str:
    """Return the text of the page."""
    parts = [_HEAD, _overview(), *map(_section, events())]
    return "\n".join(parts)


def events() -> tuple[type[Any], ...]:
    """Return the classes of all events, in the order of the module."""
    return get_args(telemetry.TelemetryEvent)


def fields(event: type[Any]) -> list[tuple[str, str, str]]:
    """Return name, type and meaning of an event's fields.

    Raises:
        ValueError: A field has no explanation.
    """
    meanings = COMMON | _explained(event)
    types = get_type_hints(event)
    found = []
    for field in attrs.fields(event):
        if field.name not in _explained(event) and field.name not in COMMON:
            raise ValueError(f"{event.__name__}.{field.name} is explained neither in its class nor in COMMON")
        found.append((field.name, _type(types[field.name]), meanings[field.name]))
    return found


def _overview() -> str:
    rows = [f"| [`{e.name}`](#{_anchor(e.name)}) | {_level(e)} | {_sentence(e)} |" for e in events()]
    return "\n".join(["| event | level | when |", "| --- | --- | --- |", *rows, ""])


def _level(event: type[Any]) -> str:
    return logging.getLevelName(event.level).lower()


def _section(event: type[Any]) -> str:
    rows = [f"| {_shown(event, name)} | {kind} | {meaning} |" for name, kind, meaning in fields(event)]
    return "\n".join(
        [
            f"## {event.name}",
            "",
            f"{{py:class}}`notifykit.telemetry.{event.__name__}`. {_summary(event)}",
            "",
            "| field | type | meaning |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )


def _shown(event: type[Any], name: str) -> str:
    hint = get_type_hints(event)[name]
    return f"`{name}` (`{name}_ms`)" if timedelta in (hint, *get_args(hint)) else f"`{name}`"


def _type(hint: Any) -> str:
    names = [getattr(part, "__name__", str(part)) for part in get_args(hint) or (hint,)]
    return " or ".join(name.replace("NoneType", "none") for name in names)


def _summary(event: type[Any]) -> str:
    return _plain((inspect.getdoc(event) or "").partition("\n\n")[0])


def _sentence(event: type[Any]) -> str:
    return re.split(r"(?<=\.)\s", _summary(event))[0]


def _explained(event: type[Any]) -> dict[str, str]:
    """Return what the class's docstring says under "Attributes:"."""
    _, _, attributes = (inspect.getdoc(event) or "").partition("Attributes:\n")
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE)
    return {name: _plain(text) for name, text in entries}


def _plain(text: str) -> str:
    return " ".join(text.replace("``", "`").split())


def _anchor(name: str) -> str:
    return re.sub(r"[^\w-]", "", name)  # as MyST makes them


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
