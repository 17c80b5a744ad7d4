"""What callers do is stored for operators."""

from __future__ import annotations

from datetime import timedelta

import pytest

from notifykit import StoreUnavailableError
from notifykit.models.access import Role
from notifykit.web import create_app
from tests.unit.web.page_world import enter
from tests.unit.web.world import ACME, ADA, GLOBEX, MARK, client_of

SECOND = timedelta(seconds=1)


@pytest.fixture
async def operator(kit, world):
    async with client_of(create_app(kit), headers=world.headers(ACME, Role.OPERATOR)) as client:
        yield client


async def stored(kit):
    """Return what the log has, oldest first."""
    return [*(await kit.audit.page()).entries][::-1]


async def test_operators_are_stored_with_what_they_did(kit, world, operator, clock):
    """Also what they have read of a tenant, and what was refused: who, what, which object, when, in which request."""
    endpoint = world.ids["endpoint_id"]
    await operator.post(f"/v1/endpoints/{endpoint}/pause", json={}, headers={"X-Request-Id": "mine-1"})
    clock.advance(SECOND)
    await operator.get(f"/v1/recipients/{ADA}")
    clock.advance(SECOND)
    await operator.post("/v1/endpoints/end_0/pause", json={})

    pause, read, missing = await stored(kit)
    assert ("pause_endpoint", "operator", ACME, endpoint, 200, "mine-1") == (
        pause.action,
        pause.role,
        pause.about,
        pause.target,
        pause.status,
        pause.request_id,
    )
    assert pause.subject.startswith("key_")
    assert ("get_recipient", ADA) == (read.action, read.target)
    assert (404, "end_0") == (missing.status, missing.target)
    assert pause.at < read.at


async def test_what_happens_all_day_is_not_stored(kit, world, operator, admin):
    """Events, inboxes, preferences, and what monitoring asks; changes of a tenant's own administrators are."""
    await operator.get("/v1/stats")
    await operator.get("/v1/audit")
    await admin.get("/v1/endpoints")
    await admin.post("/v1/events", json={"type": "order.shipped", "data": {}})
    await admin.post(f"/v1/inbox/{ADA}/marks", json={"mark": "read"})
    await admin.put(f"/v1/preferences/{ADA}", json={"settings": []})
    created = (await admin.post("/v1/endpoints", json={"url": "http://127.0.0.1:8081/h"})).json()

    (entry,) = await stored(kit)
    assert ("create_endpoint", "tenant_admin", created["endpoint"]["id"]) == (entry.action, entry.role, entry.target)
    assert created["secret"] not in repr(entry)


async def test_the_log_is_read_page_by_page_and_searched(kit, world, operator, clock):
    """By operators alone; a tenant's administrators do not see it."""
    for tenant in (ACME, GLOBEX, ACME):
        await operator.post("/v1/dead-letters/redrive", json={}, headers={"Notifykit-Tenant": tenant})
        clock.advance(SECOND)
    first = (await operator.get("/v1/audit", params={"tenant": ACME, "action": "redrive", "limit": 1})).json()
    second = (await operator.get("/v1/audit", params={"tenant": ACME, "cursor": first["next"]})).json()
    none = (await operator.get("/v1/audit", params={"subject": "nobody"})).json()

    assert [ACME, ACME] == [each["tenant"] for each in (*first["data"], *second["data"])]
    assert first["data"][0]["at"] > second["data"][0]["at"]
    assert {"data": [], "next": None} == none


async def test_the_page_shows_it(kit, world, clock):
    """With a link to what is older."""
    async with client_of(create_app(kit)) as client:
        token = await enter(kit, client, ACME, Role.TENANT_ADMIN, subject="ada@acme.example")
        for _ in range(101):
            clock.advance(SECOND)
            await client.post(f"/portal/endpoints/{world.ids['endpoint_id']}/pause", data={"form_token": token})
        await enter(kit, client, "", Role.OPERATOR)
        newest = (await client.get("/operations/audit", params={"subject": "ada@", "tenant": ACME})).text
        entries = await kit.audit.page(limit=101)
        older = (await client.get("/operations/audit", params={"subject": "ada@", "cursor": entries.next})).text

    assert 100 == newest.count("portal.pause endpoint")
    assert "cursor=" in newest
    assert "portal.sign in" in older
    assert "cursor=" not in older
    assert MARK not in newest


async def test_a_log_that_cannot_be_written_is_no_error_of_the_request(kit, world, operator, monkeypatch, caplog):
    """What was done is done; the server's own log says what is missing."""
    save = kit.store.save

    async def fails(record):
        if type(record).__name__ == "AuditEntry":
            raise StoreUnavailableError("the disk is full")
        return await save(record)

    monkeypatch.setattr(kit.store, "save", fails)
    answer = await operator.post(f"/v1/endpoints/{world.ids['endpoint_id']}/pause", json={})

    assert (200, "paused") == (answer.status_code, answer.json()["state"])
    assert f"audit.not_stored request_id={answer.headers['x-request-id']} error=the disk is full" in caplog.text
