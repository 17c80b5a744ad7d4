"""The argument and the result of a check."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from ...kit import Notifykit
    from ...ports import StoreStats
    from ...stores.sql.health import Health

Level = Literal["ok", "note", "warn", "bad"]


class Finding(NamedTuple):
    """The result of a check.

    Attributes:
        level: ``ok``, ``note``, ``warn`` (needs attention) or ``bad`` (the check failed).
        remedy: What to do next.
    """

    name: str
    level: Level
    found: str
    remedy: str = ""


class Opened(NamedTuple):
    """An open store, and the values that were read from it for all checks.

    Attributes:
        shown_url: Its URL without the password.
        tenant: The tenant of the command line.
        now: When the check began.
        max_age: How long due work may wait.
        health: The state of the tables; ``None`` for a store that has none.
    """

    kit: Notifykit
    shown_url: str
    tenant: str
    now: datetime
    max_age: timedelta
    stats: StoreStats
    health: Health | None


SoftwareCheck = Callable[[], Iterator[Finding]]
StoreCheck = Callable[[Opened], AsyncIterator[Finding]]
