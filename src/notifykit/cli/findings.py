"""What the checks of ``notifykit check`` find."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        level: ``ok``, ``note``, ``warn`` (an operator should look) or ``bad`` (something is wrong).
        remedy: What to do about it.
    """

    name: str
    level: str
    found: str
    remedy: str = ""
