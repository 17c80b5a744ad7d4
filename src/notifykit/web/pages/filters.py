"""How values are written on pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from minijinja import Markup

from ...codec import unstructure

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def instant(value: datetime | None) -> Any:
    """Return a time as an element; the script of the pages shows it in the reader's zone."""
    if value is None:
        return "–"
    at = value.astimezone(UTC)
    return Markup(f'<time datetime="{at:%Y-%m-%dT%H:%M:%SZ}">{at:%Y-%m-%d %H:%M:%S} UTC</time>')


def span(value: timedelta | None) -> str:
    """Return a duration in its largest two units, or in milliseconds."""
    if value is None:
        return "–"
    seconds = value.total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    parts, left = [], round(seconds)
    for size, unit in _UNITS:
        if left >= size:
            parts.append(f"{left // size} {unit}")
            left %= size
    return " ".join(parts[:2])


def word(value: Any) -> str:
    """Return a name from the program as words: ``http_503`` and ``over_quota`` have no underscores for readers."""
    text = value.value if isinstance(value, Enum) else str(value)
    return text.replace("_", " ")


def pretty(value: Any) -> str:
    """Return a value as indented JSON."""
    return json.dumps(unstructure(value), indent=2, ensure_ascii=False, default=str)


def percent(value: float | None) -> str:
    """Return a share."""
    return "–" if value is None else f"{value:.1%}".replace(".0%", "%")


FILTERS: Mapping[str, Callable[..., Any]] = {
    "instant": instant,
    "span": span,
    "word": word,
    "pretty": pretty,
    "percent": percent,
}
