"""The portal of a tenant, as a person uses it."""

from __future__ import annotations

from tests.unit.web.world import ACME


async def test_a_link_opens_the_portal(kit, tab):
    """A signed link opens a session; without one the portal asks for a key."""
    tab.expect(401)
    await tab.open("/portal")
    assert "Sign in" == await tab.page.inner_text("h1")
    await tab.check()

    await tab.open(kit.portal_links.url(tenant=ACME, base_url=tab.base_url))

    assert "Overview" == await tab.page.inner_text("h1")
    await tab.check()
