"""Templates of tenants over the API."""

from __future__ import annotations

import pytest

from tests.unit.web.world import FOOTER, MARK

SMS = "order.shipped/sms.txt"


async def test_a_template_is_stored_rolled_back_and_removed(admin, kit, world):
    """Each revision names who saved it: by default the caller's key."""
    saved = [
        await admin.put("/v1/templates", json={"name": SMS, "text": text, **more})
        for text, more in (("One {{ data.n }}", {}), ("Two", {"by": "eve", "note": "shorter"}))
    ]
    rolled = (await admin.post("/v1/templates/rollback", json={"name": SMS, "to": 1, "note": "clearer"})).json()
    listed = (await admin.get("/v1/templates")).json()
    history = (await admin.get("/v1/templates/history", params={"name": SMS})).json()
    gone = [await admin.delete("/v1/templates", params={"name": SMS}) for _ in range(2)]
    after = await admin.get("/v1/templates/history", params={"name": SMS})

    assert [(1, ""), (2, "shorter")] == [(each.json()["revision"], each.json()["note"]) for each in saved]
    assert saved[0].json()["by"].startswith("key_")
    assert (3, "clearer") == (rolled["revision"], rolled["note"])
    assert [FOOTER, SMS] == [each["name"] for each in listed["data"]]
    assert ["One {{ data.n }}", "Two", "One {{ data.n }}"] == [each["text"] for each in history]
    assert ["eve"] == [each["by"] for each in history if each["revision"] == 2]
    assert [204, 404, 404] == [each.status_code for each in (*gone, after)]


async def test_templates_are_listed_page_by_page(admin):
    """In the order of their names."""
    for name in ("a.b/sms.txt", "c.d/sms.txt"):
        await admin.put("/v1/templates", json={"name": name, "text": "x"})
    first = (await admin.get("/v1/templates", params={"limit": 2})).json()
    second = (await admin.get("/v1/templates", params={"limit": 2, "cursor": first["next"]})).json()

    assert [FOOTER, "a.b/sms.txt"] == [each["name"] for each in first["data"]]
    assert (["c.d/sms.txt"], None) == ([each["name"] for each in second["data"]], second["next"])


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        (SMS, "{{ data.", "text"),
        (SMS, "{% include '_partials/none.txt' %}", "text"),
        ("order shipped/sms.txt", "x", "text"),
        (f"_tenants/acme/{SMS}", "x", "name"),
        ("", "x", "name"),
    ],
)
async def test_a_template_that_cannot_be_rendered_is_refused(admin, name, text, problem):
    """With what is wrong, and nothing is stored."""
    answer = await admin.put("/v1/templates", json={"name": name, "text": text})
    listed = (await admin.get("/v1/templates")).json()

    assert (422, problem) == (answer.status_code, answer.json()["problems"][0]["path"])
    assert [FOOTER] == [each["name"] for each in listed["data"]]


async def test_what_another_template_includes_stays(admin):
    """Its removal is refused as long as it is needed, and so is a rollback to what is not kept."""
    part = "_partials/greeting.txt"
    await admin.put("/v1/templates", json={"name": part, "text": "Hello"})
    await admin.put("/v1/templates", json={"name": SMS, "text": f"{{% include '{part}' %}}"})
    removed = await admin.delete("/v1/templates", params={"name": part})
    missing = await admin.post("/v1/templates/rollback", json={"name": FOOTER, "to": 9})

    assert (422, "query.name") == (removed.status_code, removed.json()["problems"][0]["path"])
    assert 404 == missing.status_code
    assert MARK not in missing.text
