"""The events that the demo publishes: those of the package, or those of a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from ..failures import UsageError
from ..inputs import unreadable
from ..text import plain


class Sample(NamedTuple):
    """One event of a file."""

    type: str
    data: Mapping[str, Any]


def load(path: str | None) -> list[Sample]:
    """Return the events of a file of JSON lines, or those of the package.

    Raises:
        UsageError: The file cannot be read, or a line is not an event.
    """
    if path is None:
        text, name = (files("notifykit") / "samples" / "events.jsonl").read_text("utf-8"), "events.jsonl"
    else:
        name = plain(path)
        try:
            text = Path(path).read_text("utf-8")
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot read {name}: {unreadable(error)}; give --events FILE.jsonl") from error
    samples = [_sample(line, f"{name}, line {at}") for at, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not samples:
        raise UsageError(f"{name} has no events; a line is an object with 'type' and 'data' (or 'payload')")
    return samples


def _sample(line: str, place: str) -> Sample:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{place}: {plain(error)}; an object with 'type' and 'data' (or 'payload') is needed"
        ) from error
    if not isinstance(found, dict):
        raise UsageError(f"{place}: an object with 'type' and 'data' (or 'payload') is needed")
    type_, data = found.get("type"), found.get("data", found.get("payload"))
    if not isinstance(type_, str) or not isinstance(data, dict):
        raise UsageError(f"{place}: 'type' must be a string and 'data' (or 'payload') an object")
    return Sample(type_, data)
