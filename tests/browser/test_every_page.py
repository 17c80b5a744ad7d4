"""Every page: nothing keeps people from using it, on a large screen and on a small one, light and dark."""

from __future__ import annotations

import pytest

from tests.browser.tab import LARGE, SMALL, new_tab
from tests.browser.tour import paths
from tests.security.test_page_access import HOSTILE, fill
from tests.unit.web.world import ACME

LOOKS = pytest.mark.parametrize(("size", "dark"), [(LARGE, False), (SMALL, True)], ids=["large-light", "small-dark"])
AREAS = pytest.mark.parametrize(
    ("area", "tenant", "role"), [("portal", ACME, "tenant_admin"), ("operations", "", "operator")]
)


@LOOKS
@AREAS
async def test_a_page_can_be_used(browser, kit, world, url, area, tenant, role, size, dark):
    """No violation of WCAG 2.2 AA that axe-core finds, no error in the console, no scrolling from side to side."""
    async with new_tab(browser, url, size=size, dark=dark) as tab:
        await tab.open(f"/{area}/sign-in")
        await tab.check()
        await tab.open(kit.portal_links.url(tenant=tenant, role=role, base_url=url))
        for path in paths(world, area):
            await tab.open(path)
            await tab.check()


@AREAS
async def test_values_run_nothing(browser, kit, world, url, area, tenant, role):
    """What tenants, publishers and receivers write is shown as text: nothing runs, nothing is loaded, all fits."""
    world.ids.update(await fill(kit, world, " ".join(HOSTILE)))
    async with new_tab(browser, url, size=SMALL) as tab:
        tab.page.on("dialog", lambda dialog: tab.complaints.append(dialog.message))
        await tab.open(kit.portal_links.url(tenant=tenant, role=role, base_url=url))
        for path in paths(world, area):
            await tab.open(path)
            assert not await tab.page.locator("main :is(img, svg, iframe, script)").count()
            await tab.check()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_a_link_chooses_the_colours(browser, kit, url, scheme):
    """Whatever the reader's system says, the page has the colours that the host's page around it has."""
    backgrounds = {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 23, 28)"}
    async with new_tab(browser, url, dark=scheme == "light") as tab:
        await tab.open(kit.portal_links.url(tenant=ACME, scheme=scheme, base_url=url))

        assert backgrounds[scheme] == await tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
        await tab.check()
