"""Reads forms: each field as what it stands for, with every problem found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from ...codec import loads_unique
from ...errors import InvalidInputError
from .page import Visit


class Fields:
    """The fields of a form.

    Attributes:
        problems: What is wrong so far, each with the name of its field.
    """

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self.problems: list[str] = []

    def text(self, name: str) -> str:
        """Return a text, with the line breaks of this system."""
        return self._visit.field(name).replace("\r\n", "\n")

    def flag(self, name: str) -> bool:
        """Return whether a box is ticked."""
        return self._visit.field(name) != ""

    def number(self, name: str, default: float | None = None) -> float | None:
        """Return a number; ``default`` for an empty field."""
        given = self.text(name)
        if not given:
            return default
        try:
            return float(given)
        except ValueError:
            self.problems.append(f"{name}: must be a number")
            return default

    def seconds(self, name: str, default: timedelta) -> timedelta:
        """Return a duration that is given in seconds."""
        number = self.number(name)
        try:
            return default if number is None else timedelta(seconds=number)
        except (OverflowError, ValueError):
            self.problems.append(f"{name}: must be a number of seconds")
            return default

    def lines(self, name: str) -> list[str]:
        """Return the lines that are not empty."""
        return [line.strip() for line in self.text(name).split("\n") if line.strip()]

    def headers(self, name: str) -> dict[str, str]:
        """Return lines such as ``X-Token: secret``."""
        found: dict[str, str] = {}
        for line in self.lines(name):
            header, colon, value = line.partition(":")
            if not colon:
                self.problems.append(f"{name}: write each on a line of its own, as Name: value")
            found[header.strip()] = value.strip()
        return found

    def object(self, name: str) -> Mapping[str, Any] | None:
        """Return a JSON object; ``None`` for an empty field."""
        given = self.text(name)
        if not given:
            return None
        try:
            value, problems = loads_unique(given.encode())
        except ValueError as error:
            at = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
            self.problems.append(f"{name}: is not JSON{at}")
            return None
        self.problems += [f"{name}: {problem}" for problem in problems]
        if not isinstance(value, dict):
            self.problems.append(f"{name}: must be a JSON object, such as {{}}")
            return None
        return value

    def require_sound(self) -> None:
        """Refuse the form if there are problems.

        Raises:
            InvalidInputError: With all of them.
        """
        if self.problems:
            raise InvalidInputError(self.problems)
