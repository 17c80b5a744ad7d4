"""An operator that changes its own side of an endpoint and of a subscription, again and again, beside another one."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from notifykit import Endpoint, NotFoundError, Notifykit, StateError, Subscription

from .. import sabotage
from .orders import kit_for, orders, ready

TENANT = "acme"


def seen(side: str, endpoint: Any, subscription: Any) -> list[Any]:
    """Return what only the operator of ``side`` changes."""
    if side == "state":
        return [endpoint.state.value, endpoint.state_reason, subscription.description]
    return [sorted(secret.value for secret in endpoint.secrets), subscription.topic]


def wait_for(file: Path) -> None:
    """Wait until the file exists, so that all begin at the same time."""
    while not file.exists():
        time.sleep(0.001)


async def change_state(kit: Notifykit, endpoint_id: str, subscription_id: str, number: int) -> Endpoint | Subscription:
    """Pause, change the subscription's description, resume, and so on."""
    match number % 3:
        case 0:
            return await kit.endpoints.pause(endpoint_id, tenant=TENANT, reason=f"pause {number}")
        case 1:
            return await kit.subscriptions.update(subscription_id, tenant=TENANT, description=f"change {number}")
        case _:
            return await kit.endpoints.resume(endpoint_id, tenant=TENANT)


async def change_secrets(
    kit: Notifykit, endpoint_id: str, subscription_id: str, number: int
) -> Endpoint | Subscription:
    """Rotate the secret, change the subscription's topic, revoke the old secret, and so on."""
    match number % 3:
        case 0:
            return await kit.endpoints.rotate_secret(endpoint_id, tenant=TENANT, overlap=timedelta(hours=1))
        case 1:
            return await kit.subscriptions.update(subscription_id, tenant=TENANT, topic=f"change/{number}")
        case _:
            old = (await kit.endpoints.get(endpoint_id, tenant=TENANT)).secrets[-1].value
            return await kit.endpoints.revoke_secret(endpoint_id, old, tenant=TENANT)


async def main(options: dict[str, Any]) -> None:
    """Make changes; print how many were made, and how often one was missing afterwards."""
    ids = options["endpoint"], options["subscription"]
    side = options["side"]
    change = change_state if side == "state" else change_secrets
    made = undone = 0
    async with kit_for(options["url"]) as kit:

        async def read() -> list[Endpoint | Subscription]:
            return [await kit.endpoints.get(ids[0], tenant=TENANT), await kit.subscriptions.get(ids[1], tenant=TENANT)]

        records = await read()
        ready()
        wait_for(Path(options["go"]))
        for number in range(options["count"]):
            try:
                changed = await change(kit, *ids, number)
                records[isinstance(changed, Subscription)] = changed
                made += 1
            except (NotFoundError, StateError):  # the secret that was just made is gone, or the revoked one is back
                undone += 1
            found = await read()
            undone += seen(side, *found) != seen(side, *records)
            records = found
    print(json.dumps({"made": made, "undone": undone}), flush=True)


if __name__ == "__main__":
    sabotage.apply()
    asyncio.run(main(orders()))
