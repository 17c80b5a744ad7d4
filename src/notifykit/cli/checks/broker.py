"""The check of the broker: whether it can be used, and is set up well."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from ..text import plain
from .finding import Finding, Opened

if TYPE_CHECKING:
    from ...ports import Broker

_HELP = (
    "start it, correct its URL (--broker, NOTIFYKIT_BROKER) or what its user may do; until then deliveries wait, and "
    "none is lost"
)


async def broker(opened: Opened) -> AsyncIterator[Finding]:
    """Connect to the broker, make the queues that are missing, and look at its settings; no ticket is touched."""
    if (used := opened.kit.new_broker()) is None:
        return
    try:
        async for finding in _findings(opened, used):
            yield finding
    finally:
        await used.aclose()


async def _findings(opened: Opened, used: Broker) -> AsyncIterator[Finding]:
    from ...errors import BrokerUnavailableError
    from ...models.delivery import Lane, Priority
    from ...ports import ChecksBroker

    if not isinstance(used, ChecksBroker):
        yield Finding("broker", "note", f"{type(used).__name__} cannot be checked")
        return
    lanes = [Lane(channel.name, priority) for channel in opened.kit.channels for priority in Priority]
    try:
        for note in await used.check(lanes):
            yield Finding("broker", "warn" if note.remedy else "ok", plain(note.found), plain(note.remedy))
    except BrokerUnavailableError as error:
        yield Finding("broker", "bad", plain(str(error)), _HELP)
