"""Two processes change the same endpoint and the same subscription, and each change stays made."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from notifykit import Notifykit
from notifykit.testing import make_endpoint, make_subscription
from tests import report

from .processes import Role
from .roles.changer import TENANT

pytestmark = pytest.mark.in_turn


def lost_updates(url: str, folder: Path, *, count: int, sabotage: str = "") -> dict[str, int]:
    """Let two processes make ``count`` changes each; return the changes that were lost.

    Every change raises a record's version by one, so the versions count the changes; and after each
    change a process checks that the fields that only it changes are still as it left them.
    """
    folder.mkdir(exist_ok=True)
    endpoint, subscription = asyncio.run(_saved(url))
    told = {"url": url, "endpoint": endpoint, "subscription": subscription, "go": str(folder / "go"), "count": count}
    roles = [
        Role("changer", {**told, "side": side}, folder / f"{side}.err", sabotage=sabotage)
        for side in ("state", "secrets")
    ]
    try:
        assert ["ready", "ready"] == [role.ready() for role in roles], _complaints(folder)
        (folder / "go").touch()
        answers = [role.ready() for role in roles]
        assert all(answers), _complaints(folder)
    finally:
        for role in roles:
            role.kill()
    made, undone = (sum(json.loads(answer)[name] for answer in answers) for name in ("made", "undone"))
    return {"undone": undone, "lost": made - asyncio.run(_changes(url, endpoint, subscription))}


def _complaints(folder: Path) -> str:
    return "\n".join(path.read_text()[-2000:] for path in folder.glob("*.err"))


async def _saved(url: str) -> tuple[str, str]:
    async with Notifykit(url) as kit:
        made = make_endpoint(tenant=TENANT)
        endpoint = await kit.store.save(made)
        subscription = await kit.store.save(make_subscription(endpoint))
    return endpoint.id, subscription.id


async def _changes(url: str, endpoint_id: str, subscription_id: str) -> int:
    """Return how often both have been saved since they were made."""
    async with Notifykit(url) as kit:
        endpoint = await kit.endpoints.get(endpoint_id, tenant=TENANT)
        subscription = await kit.subscriptions.get(subscription_id, tenant=TENANT)
    return endpoint.version + subscription.version - 2


@pytest.mark.parametrize("count", [40, pytest.param(1000, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_no_change_of_two_processes_is_lost(
    kind: str, count: int, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Pauses and resumes of one process and rotations and revocations of another one do not undo each other."""
    with request.getfixturevalue(f"{kind}_databases")() as url:
        noticed = lost_updates(url, tmp_path / "roles", count=count)

    report.note(f"lost updates, {kind}", changes=2 * count, undone=noticed["undone"], lost_updates=noticed["lost"])
    assert {"undone": 0, "lost": 0} == noticed
