"""An ingest: turns the messages of a broker into events, until it is killed."""

from __future__ import annotations

import asyncio
from typing import Any

from notifykit import Notifykit

from .. import sabotage
from .orders import orders, ready


async def main(options: dict[str, Any]) -> None:
    """Read one topic."""
    async with Notifykit(options["url"]) as kit:
        ingest = kit.ingest(options["broker"], topic=options["topic"], type="order.{status}", tenant="{shop}")
        ready()
        await ingest.run()


if __name__ == "__main__":
    sabotage.apply()
    asyncio.run(main(orders()))
