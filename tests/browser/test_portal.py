"""The portal of a tenant, as people use it."""

from __future__ import annotations

import json

import pytest
from playwright.async_api import expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from notifykit import Event
from notifykit.models.outcome import Accepted, Answer, Permanent
from notifykit.web import PageOptions, create_app
from tests.browser.tab import new_tab, serving
from tests.unit.dispatch.support import ScriptedChannel
from tests.unit.web.world import ACME


@pytest.fixture
async def portal(kit, tab):
    """A tab with the portal of the tenant."""
    await tab.open(kit.portal_links.url(tenant=ACME, base_url=tab.base_url))
    return tab


async def send(kit, outcome):
    dispatcher = kit.dispatcher([ScriptedChannel(lambda _: outcome)])
    while await dispatcher.step():
        pass


async def test_from_a_url_to_a_delivered_event(kit, portal):
    """A business creates an endpoint, sees its secret, tries conditions, subscribes, and sees an event arrive."""
    page = portal.page
    await page.click("text=Endpoints")
    await page.click("text=Create an endpoint")
    await page.fill("#f-url", "http://127.0.0.1:8080/orders")
    await page.fill("#f-description", "Orders")
    await page.click("button:has-text('Create')")
    assert (await page.inner_text("#secret")).startswith("whsec_")

    await page.click("text=Subscribe to events")
    await page.fill("#f-event_types", "order.*")
    await page.fill("#f-filter", '{"total": [{"numeric": [">=", 100]}]}')
    await page.fill("#f-try_type", "order.shipped")
    for total, verdict in ((99, "would not be delivered"), (100, "would be delivered")):
        await page.fill("#f-try_data", json.dumps({"total": total}))
        await page.click("button:has-text('Try it')")
        await expect(page.locator("[role=status]")).to_contain_text(verdict)
    await page.click("main button:has-text('Subscribe')")
    await expect(page.locator("[role=status]")).to_contain_text("Subscribed")

    await kit.apublish(Event(type="order.shipped", data={"total": 100}), tenant=ACME)
    await send(kit, Accepted(answer=Answer(status=200, body=b"thank you")))
    await page.click("text=Activity")
    await page.click("td >> text=order.shipped >> nth=0")
    await page.click("text=What was answered")
    await expect(page.locator("main pre").first).to_have_text("thank you")
    await portal.check()


async def test_activity_is_shown_as_it_happens(kit, world, portal):
    """A delivery that is made while somebody looks appears in the list, and its state changes, without a reload."""
    page = portal.page
    await page.click("text=Activity")
    await expect(page.locator("#live-status")).to_have_text("Live")
    await expect(page.locator("#deliveries tbody tr")).to_have_count(1)
    await page.evaluate("window.isSamePage = true")

    await kit.apublish(Event(type="order.shipped", data={"n": 2}), tenant=ACME)
    await send(kit, Accepted())

    await expect(page.locator("#deliveries tbody tr")).to_have_count(2)
    await expect(page.locator("#deliveries .state.delivered")).to_have_count(1)
    assert await page.evaluate("window.isSamePage")
    await portal.check()


async def test_what_failed_is_sent_again(kit, world, portal):
    """The timeline shows why; it is sent again, one by one or all of an endpoint since a time."""
    page = portal.page
    await page.click("text=Activity")
    await page.select_option("#f-state", "dead")
    await page.click("button:has-text('Show')")
    await page.click("td >> text=order.shipped")
    await expect(page.locator(".steps")).to_contain_text("http 400")
    await page.click("text=Send again")
    await expect(page.locator("[role=status]")).to_have_text("It is sent again.")
    await send(kit, Permanent(reason="http_400"))
    await page.reload()
    await expect(page.locator(".steps")).to_contain_text("Attempt 2")

    await portal.open(f"/portal/endpoints/{world.ids['endpoint_id']}")
    await page.click("text=Send again what did not arrive")
    await page.select_option("#f-since", "24")
    await page.click("details[open] button")

    await expect(page.locator("[role=status]")).to_have_text("Sent again: 1.")


async def test_an_endpoint_is_looked_after(kit, world, portal):
    """Test event, pause, resume, edit, reveal and replace the secret, remove."""
    page, endpoint = portal.page, world.ids["endpoint_id"]
    told = page.locator(".alert.good")
    await portal.open(f"/portal/endpoints/{endpoint}")
    await page.click("text=Send a test event")
    await expect(told).to_have_text("The test event is on its way.")
    await portal.open(f"/portal/endpoints/{endpoint}")
    await page.click("button:has-text('Pause')")
    await expect(told).to_have_text("Deliveries wait until you resume.")
    await page.click("button:has-text('Resume')")
    await expect(told).to_have_text("What waited is sent now.")
    await page.click("text=Edit")
    await page.fill("#f-url", "nonsense")
    portal.expect(422)
    await page.click("button:has-text('Save')")
    await expect(page.locator("[role=alert]")).to_contain_text("url")
    await portal.check()
    await page.fill("#f-url", "http://127.0.0.1:8080/changed")
    await page.click("button:has-text('Save')")
    await expect(page.locator("h1")).to_have_text("http://127.0.0.1:8080/changed")

    await page.click("text=Show the signing secret")
    first = await page.inner_text("#secret")
    await page.click("text=Replace the signing secret")
    await page.click("button:has-text('Replace the secret')")
    assert first != await page.inner_text("#secret")
    await expect(page.locator(".alert.warn")).to_contain_text("1 former secret still signs")
    await portal.check()
    await page.click("text=Remove this endpoint")
    await page.click("button:has-text('Remove the endpoint')")

    assert "There is no endpoint yet." in await page.inner_text("main")
    assert not await kit.endpoints.list(tenant=ACME)


async def test_a_viewer_sees_and_changes_nothing(browser, kit, world, url):
    """Pages of a viewer have no buttons for what a viewer may not do."""
    async with new_tab(browser, url) as tab:
        await tab.open(kit.portal_links.url(tenant=ACME, role="viewer", base_url=url))
        for path in (f"/portal/endpoints/{world.ids['endpoint_id']}", f"/portal/deliveries/{world.ids['delivery_id']}"):
            await tab.open(path)
            assert ["Sign out"] == await tab.page.locator("button:visible").all_inner_texts()


async def test_scripts_are_not_needed(browser, kit, url):
    """A browser that runs none creates an endpoint and reads the activity; what needs scripts is not shown."""
    async with new_tab(browser, url, scripts=False) as tab:
        await tab.open(kit.portal_links.url(tenant=ACME, base_url=url))
        await tab.page.click("text=Endpoints")
        await tab.page.click("text=Create an endpoint")
        await tab.page.fill("#f-url", "http://127.0.0.1:8080/plain")
        await tab.page.click("main button")
        await expect(tab.page.locator("#secret")).to_contain_text("whsec_")
        await expect(tab.page.locator("text=Copy")).to_be_hidden()
        await tab.page.click("text=Activity")
        await expect(tab.page.locator("time").first).to_contain_text("UTC")
        await expect(tab.page.locator("#live-status")).to_be_hidden()


async def test_the_keyboard_is_enough(kit, world, portal):
    """The first stop skips to the content; links, forms and what is folded up work without a mouse."""
    page = portal.page
    await page.keyboard.press("Tab")
    assert "Skip to the content" == await page.evaluate("document.activeElement.textContent")
    await page.keyboard.press("Enter")
    assert "main" == await page.evaluate("document.activeElement.id")

    await portal.open(f"/portal/endpoints/{world.ids['endpoint_id']}")
    stops = await _stops(page)
    await page.focus("summary:has-text('Remove this endpoint')")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    focused = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert "Remove the endpoint" == await page.evaluate("document.activeElement.textContent")
    await page.keyboard.press("Enter")

    assert "solid" == focused
    assert {"Skip to the content", "Endpoints", "Edit", "Pause", "order.*", "Sign out"} <= set(stops)
    await expect(page.locator("h1")).to_have_text("Endpoints")


async def test_the_portal_is_shown_in_the_page_of_a_product(browser, kit, world):
    """A site of the options has it in a frame and works with it; any other site is refused by the browser."""
    link = ""

    async def host(_: Request) -> HTMLResponse:
        frame = f'<iframe title="Portal" src="{link}">'
        return HTMLResponse(f'<!doctype html><html lang="en"><title>Shop</title><link rel="icon" href="data:,">{frame}')

    product = Starlette(routes=[Route("/", host)])
    async with serving(product) as friend, serving(product) as stranger:
        app = create_app(kit, pages=PageOptions(embedded_in=[friend], name="Acme Shop", accent="#7a1fa2"))
        async with serving(app) as url:
            async with new_tab(browser, friend) as tab:
                link = kit.portal_links.url(tenant=ACME, base_url=url)
                await tab.open("/")
                frame = tab.page.frame_locator("iframe")
                await frame.locator("text=Endpoints").first.click()
                await frame.locator("text=Create an endpoint").click()
                await frame.locator("#f-url").fill("http://127.0.0.1:8080/framed")
                await frame.locator("main button").click()
                await expect(frame.locator("h1")).to_have_text("http://127.0.0.1:8080/framed")
            with pytest.raises(AssertionError, match="frame-ancestors"):
                await _look_at(browser, stranger)


async def _look_at(browser, url):
    async with new_tab(browser, url) as tab:
        await tab.open("/")
        await tab.page.wait_for_timeout(300)


async def _stops(page):
    """Return what the focus stops at, from the top of the page on."""
    await page.evaluate("document.activeElement.blur()")
    stops = []
    for _ in range(40):
        await page.keyboard.press("Tab")
        stops.append(await page.evaluate("document.activeElement.textContent.trim()"))
    return stops
