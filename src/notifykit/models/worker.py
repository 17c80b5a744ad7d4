"""Workers as operators see them: dispatchers that say now and then that they work."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from .access import OPERATORS

#: How often a worker says so; one that has not for three times as long is silent, and is forgotten after a day.
REPORTS_EVERY = timedelta(seconds=30)
SILENT_AFTER, FORGOTTEN_AFTER = 3 * REPORTS_EVERY, timedelta(days=1)


@attrs.frozen(kw_only=True)
class WorkerRecord:
    """A dispatcher of one process.

    Attributes:
        id: Its host, process and a random part.
        tenant: Always empty: workers deliver for all tenants.
        host: The name of its machine.
        process: The id of its process there.
        roles: What it does: ``plan``, ``relay``, ``send``, ``clean``.
        channels: What it sends over.
        started_at: Since when it works.
        seen_at: When it last said that it does, by its own clock.
        in_flight: Attempts in progress then.
        version: How often the record has been saved; 0 until it is.
    """

    id: str
    tenant: str = OPERATORS
    host: str = ""
    process: int = 0
    roles: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    started_at: datetime
    seen_at: datetime
    in_flight: int = 0
    version: int = 0

    def is_silent(self, now: datetime) -> bool:
        """Return whether it should have said something since."""
        return now - self.seen_at > SILENT_AFTER


@attrs.frozen(kw_only=True)
class UnreadableWorker(WorkerRecord):
    """Stands in for a worker whose row is damaged: it is taken for one that is long gone."""
