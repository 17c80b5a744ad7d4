"""One rendering: for whom it is, and what it may still take."""

from __future__ import annotations

from contextvars import ContextVar
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

import attrs
from babel import Locale

from .limits import MAX_MADE, MAX_STEPS


class Problem(Exception):  # noqa: N818 - becomes a TemplateError where the place is known
    """What is wrong with a value, or with a template."""


@attrs.define
class Rendering:
    """What the filters need to know.

    Attributes:
        locale: How dates, numbers and plurals are written.
        zone: In which zone times are written.
        now: When the rendering takes place.
        place: The number of the place that is being written.
    """

    locale: Locale
    zone: ZoneInfo
    now: datetime
    place: int | None = attrs.field(default=None, init=False)
    _made: int = attrs.field(default=MAX_MADE, init=False)
    _steps: int = attrs.field(default=MAX_STEPS, init=False)

    def make(self, characters: int) -> None:
        """Count text that is made.

        Raises:
            Problem: It is too much.
        """
        self._made -= characters
        if self._made < 0:
            raise Problem(f"the template makes more than {MAX_MADE:,} characters")

    def step(self, steps: int) -> None:
        """Count work that is done.

        Raises:
            Problem: It is too much.
        """
        self._steps -= steps
        if self._steps < 0:
            raise Problem("the template takes too many steps")


#: The rendering that the filters belong to: one for each thread, because a rendering does not wait for anything.
CURRENT: Final[ContextVar[Rendering]] = ContextVar("notifykit_rendering")
