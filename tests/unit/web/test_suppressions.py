"""The suppression list of a tenant over the API."""

from __future__ import annotations

import pytest

from tests.unit.web.world import MARK

ADDRESS = {"channel": "email", "address": "Eve@Example.com"}


async def test_an_address_is_suppressed_checked_and_allowed_again(admin, kit):
    """For each reason an entry; the spelling does not matter."""
    added = await admin.post("/v1/suppressions", json={**ADDRESS, "reason": "unsubscribe", "evidence": "letter"})
    both = (await admin.post("/v1/suppressions", json={**ADDRESS, "until": "2126-01-01T00:00:00Z"})).json()
    other = {"channel": "email", "address": "eve@example.com"}
    checked = (await admin.post("/v1/suppressions/check", json=other)).json()
    removed = [
        (await admin.post("/v1/suppressions/remove", json={**other, **reason})).json()["removed"]
        for reason in ({"reason": "unsubscribe"}, {"reason": "unsubscribe"}, {})
    ]
    after = (await admin.post("/v1/suppressions/check", json=other)).json()

    assert [("unsubscribe", ["marketing"], "letter")] == [
        (each["reason"], each["purposes"], each["evidence"]) for each in added.json()["entries"]
    ]
    assert {"unsubscribe", "manual"} == {each["reason"] for each in both["entries"]}
    assert (True, both["entries"]) == (checked["suppressed"], checked["entries"])
    assert [True, False, True] == removed
    assert {"suppressed": False, "entries": []} == after


async def test_the_list_has_no_addresses(admin):
    """Page by page, with hashes in place of addresses."""
    for n in range(3):
        await admin.post("/v1/suppressions", json={"channel": "email", "address": f"eve{n}@example.com"})
    first = await admin.get("/v1/suppressions", params={"limit": 3})
    second = await admin.get("/v1/suppressions", params={"limit": 3, "cursor": first.json()["next"]})
    found = [*first.json()["data"], *second.json()["data"]]

    assert 4 == len({each["id"] for each in found})
    assert {"email"} == {each["channel"] for each in found}
    assert second.json()["next"] is None
    assert "@" not in first.text + second.text


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"channel": "email", "address": "nobody"}, "address"),
        ({"channel": "in_app", "address": "x"}, "channel"),
        ({**ADDRESS, "reason": "because"}, "reason"),
        ({**ADDRESS, "purposes": ["fun"]}, "purposes[0]"),
    ],
)
async def test_what_cannot_be_suppressed_is_refused(admin, body, problem):
    """With the path of each problem."""
    answer = await admin.post("/v1/suppressions", json=body)

    assert (422, problem) == (answer.status_code, answer.json()["problems"][0]["path"])


async def test_the_audit_log_names_no_address(kit, admin, caplog):
    """But the id, by which the list has it."""
    caplog.set_level("INFO", "notifykit")
    added = (await admin.post("/v1/suppressions", json={"channel": "email", "address": f"{MARK}@example.com"})).json()

    (line,) = [record.message for record in caplog.records if "add_suppression" in record.message]
    assert f"target={added['id']}" in line
    assert MARK not in line
