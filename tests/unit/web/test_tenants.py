"""Operators see which tenants there are."""

from __future__ import annotations

from html import unescape

import pytest

from notifykit import ConfigurationError, Notifykit
from notifykit.models.access import Role
from notifykit.stores.memory import MemoryStore
from notifykit.web import create_app
from tests.unit.web.page_world import enter
from tests.unit.web.world import ACME, GLOBEX, client_of


async def test_tenants_are_listed_page_by_page(kit, world):
    """Also one that has nothing but a key."""
    headers = {"Authorization": f"Bearer {world.secrets['', Role.OPERATOR]}"}
    async with client_of(create_app(kit), headers=headers) as client:
        first = (await client.get("/v1/tenants", params={"limit": 1})).json()
        second = (await client.get("/v1/tenants", params={"cursor": first["next"]})).json()

    assert [{"id": ACME}, {"id": GLOBEX}] == [*first["data"], *second["data"]]
    assert second["next"] is None
    assert [GLOBEX] == await kit.tenants(after=ACME)


async def test_the_page_leads_to_their_portals(kit, world):
    """And to their dead letters; there is a link to more."""
    for number in range(100):
        await kit.api_keys.create(tenant=f"shop-{number:03}", role=Role.VIEWER)
    async with client_of(create_app(kit)) as client:
        token = await enter(kit, client, "", Role.OPERATOR)
        page = unescape((await client.get("/operations/tenants")).text)
        more = (await client.get("/operations/tenants", params={"cursor": "shop-097"})).text
        portal = await client.post("/operations/portal", data={"form_token": token, "tenant": ACME})

    assert "/operations/dead-letters?tenant=acme" in page
    assert "Open the portal of globex" in page
    assert "cursor=shop-097" in page
    assert ("shop-099" in more, "shop-097" in more, "cursor=" in more) == (True, False, False)
    assert 303 == portal.status_code


async def test_a_store_need_not_list_them():
    """It is said that it does not."""

    class Silent(MemoryStore):
        tenants = None  # type: ignore[assignment]

    async with Notifykit(store=Silent()) as kit:
        with pytest.raises(ConfigurationError, match="Silent lists no tenants"):
            await kit.tenants()
