"""Wakes waiting dispatchers when there may be new work."""

from __future__ import annotations

from datetime import timedelta

import anyio


class Notifications:
    """A notification that arrives while no call waits ends the next wait, so that none is lost in between."""

    def __init__(self) -> None:
        self._given = anyio.Event()

    def give(self) -> None:
        """Wake every waiting call."""
        self._given.set()

    async def wait(self, timeout: timedelta) -> bool:
        """Return whether a notification came, after ``timeout`` at the latest."""
        given = self._given
        with anyio.move_on_after(timeout.total_seconds()):
            await given.wait()
        if given.is_set() and given is self._given:
            self._given = anyio.Event()
        return given.is_set()
