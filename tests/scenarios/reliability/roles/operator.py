"""An operator's tool: makes one change to the configuration or to deliveries and ends."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from .. import sabotage
from .orders import kit_for, orders, ready


async def main(options: dict[str, Any]) -> None:
    """Run the command."""
    kit = kit_for(options["url"])
    if options["task"] == "migrate":
        ready()
        await kit.migrate()
        return
    async with kit:
        ready()
        tenant = options["tenant"]
        match options["task"]:
            case "redrive":
                for delivery in await kit.deliveries.dead(tenant=tenant):
                    await kit.deliveries.redrive(delivery.id, tenant=tenant)
            case "rotate":
                await kit.endpoints.rotate_secret(options["endpoint"], tenant=tenant, overlap=timedelta(hours=1))
            case "disable":
                await kit.endpoints.disable(options["endpoint"], tenant=tenant)
            case task:
                raise ValueError(task)


if __name__ == "__main__":
    sabotage.apply()
    asyncio.run(main(orders()))
