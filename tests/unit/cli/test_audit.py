"""``notifykit audit`` shows what callers of the server did."""

from __future__ import annotations

import asyncio
from typing import Any

from notifykit import Notifykit
from notifykit.telemetry import ActionAudited


def filled(url: str) -> None:
    async def fill() -> None:
        async with Notifykit(url) as kit:
            for tenant, target in (("acme", "end_1"), ("globex", None), ("acme", "\x1b[2J")):
                told: dict[str, Any] = {"subject": "key_1", "role": "operator", "tenant": tenant, "target": target}
                await kit.audit.add(ActionAudited(action="pause_endpoint", status=200, request_id="req_1", **told))

    asyncio.run(fill())


def test_entries_are_shown_newest_first(cli, store_url):
    """Of all tenants, or of one; a terminal gets no control characters."""
    filled(store_url)

    table = cli("audit")
    records = cli("audit", "--about", "acme", "--who", "key_", "--json").records
    cut = cli("audit", "--limit", "1")

    assert 0 == table.code
    assert "\x1b" not in table.out
    assert [("acme", "\x1b[2J"), ("acme", "end_1")] == [(each["tenant"], each["target"]) for each in records]
    assert 3 == table.out.count("pause_endpoint")
    assert 1 == cut.out.count("pause_endpoint")
    assert "only the first 1" in cut.err
