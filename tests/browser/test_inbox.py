"""The element ``<notify-inbox>`` in pages of a host, of the same site and of another, in tabs and on devices."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from playwright.async_api import expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route

from notifykit.models.access import Role
from notifykit.testing import make_inbox_item
from notifykit.web import EndUser, create_app
from tests.browser.tab import SMALL, new_tab, serving
from tests.unit.web.world import ACME, ADA

PAGE = """<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><title>Shop</title>
<script type="module" src="{src}"></script>
<style>:root {{ color-scheme: light dark }} header {{ display: flex; justify-content: flex-end }}</style>
<header><notify-inbox user="user:42" page-size="5" {attributes}></notify-inbox></header>
<main><h1>Shop</h1><p>What the host shows.</p></main>"""
#: As strict as a host can be.
POLICY = "default-src 'none'; script-src {server}; connect-src {server}; style-src 'unsafe-inline'; img-src data:; "
POLICY += "require-trusted-types-for 'script'; trusted-types 'none'"
#: What the script of a host does.
SETUP = """customElements.whenDefined("notify-inbox").then(() => {
  const inbox = document.querySelector("notify-inbox");
  inbox.strings = { title: "Mitteilungen", categoryName: (name) => name.toUpperCase() };
  inbox.token = ({ expired }) => Promise.resolve(expired ? "SECRET" : "old");
  inbox.addEventListener("notify-open", (event) => {
    event.preventDefault();
    document.title = event.detail.item.title;
  });
})"""
HOSTILE = "<img src=x onerror=alert(1)>"


def page(src: str, server: str = "'self'", attributes: str = "") -> HTMLResponse:
    html = PAGE.format(src=src, attributes=attributes)
    return HTMLResponse(html, headers={"Content-Security-Policy": POLICY.format(server=server)})


@pytest.fixture
async def url(kit, world):
    """A host whose own session says who looks, with the server mounted in it."""
    api = create_app(kit, recipient=lambda _: EndUser(tenant=ACME, recipient_id=ADA))

    async def shop(request: Request) -> HTMLResponse:
        return page("/notify/inbox.js", attributes=request.query_params.get("with", ""))

    async with serving(Starlette(routes=[Route("/", shop), Mount("/notify", api)])) as url:
        yield url


async def give(kit: Any, count: int, **more: Any) -> list[str]:
    items = [
        make_inbox_item(ADA, tenant=ACME, at=kit.clock.now(), **{"title": f"Item {n}", **more}) for n in range(count)
    ]
    await kit.store.inbox_put(items)
    return [item.id for item in items]


async def shows(tab: Any, count: int, name: str = "Notifications") -> None:
    bell = f"{name}, {count} unread" if count else name
    await expect(tab.page.get_by_role("button", name=bell, exact=True)).to_be_visible()


async def open_inbox(tab: Any) -> None:
    await tab.page.get_by_role("button", name="Notifications").click()
    await expect(tab.page.get_by_role("dialog", name="Notifications")).to_be_visible()


async def test_a_person_reads_their_inbox(kit, tab):
    """The badge, the list, older items as one scrolls, categories, marks one by one and all; nothing is markup."""
    await give(kit, 12, category="orders")
    await give(kit, 1, title=HOSTILE, body=HOSTILE, url="javascript:alert(2)", category="news")
    await tab.open("/")
    await shows(tab, 14)

    await open_inbox(tab)
    rows = tab.page.get_by_role("listitem")
    await expect(rows.first).to_contain_text(HOSTILE)
    await tab.check()
    assert 0 == await tab.page.locator("notify-inbox img, notify-inbox a").count()
    await rows.first.get_by_role("button", name="Mark as read").click()
    await shows(tab, 13)
    for loaded in (5, 10, 14):
        await expect(rows).to_have_count(loaded)
        await tab.page.locator("notify-inbox .list").evaluate("(list) => list.scrollTo(0, list.scrollHeight)")

    await tab.page.get_by_label("Category").select_option("news")
    await expect(rows).to_have_count(1)
    await rows.get_by_role("button", name="Archive").click()
    await expect(tab.page.get_by_text("There is nothing here.")).to_be_visible()
    await tab.page.get_by_role("button", name="Archived", exact=True).click()
    await expect(rows).to_have_count(1)
    await tab.page.get_by_label("Category").select_option("")
    await tab.page.get_by_role("button", name="All", exact=True).click()
    await expect(rows).to_have_count(5)
    await tab.page.get_by_role("button", name="Mark all as read").click()
    await shows(tab, 0)

    assert (0, 0) == tuple(await kit.inbox(ADA, tenant=ACME).counts())
    assert 1 == len((await kit.inbox(ADA, tenant=ACME).page(state="archived")).items)


async def test_keys_do_everything(kit, tab):
    """Into the list, along the items, their marks, and back to the bell."""
    first, second = await give(kit, 2)
    await tab.open("/")
    await shows(tab, 3)
    await tab.page.keyboard.press("Tab")
    await tab.page.keyboard.press("Enter")
    await expect(tab.page.get_by_role("dialog")).to_be_focused()

    links = tab.page.locator("notify-inbox .what")
    await links.nth(0).focus()
    await tab.page.keyboard.press("ArrowDown")
    await expect(links.nth(1)).to_be_focused()
    await tab.page.keyboard.press("r")
    await shows(tab, 2)
    await expect(links.nth(1)).to_be_focused()
    await tab.page.keyboard.press("Home")
    await tab.page.keyboard.press("e")
    await expect(links).to_have_count(2)
    await expect(links.nth(0)).to_be_focused()
    await tab.page.keyboard.press("Escape")

    await expect(tab.page.get_by_role("button", name="Notifications, 1 unread")).to_be_focused()
    assert [second] == [item.id for item in (await kit.inbox(ADA, tenant=ACME).page(state="archived")).items]
    assert first in [item.id for item in (await kit.inbox(ADA, tenant=ACME).page(state="read")).items]


async def test_tabs_and_devices_follow_each_other(kit, browser, url):
    """What happens in one is seen in all, with one stream for each browser; also after that tab was closed."""
    async with new_tab(browser, url) as laptop, new_tab(browser, url, size=SMALL, dark=True) as phone:
        second = await laptop.page.context.new_page()
        tabs = [laptop.page, second, phone.page]
        for each in tabs:
            await each.goto(url)
            await expect(each.get_by_role("button", name="Notifications, 1 unread")).to_be_visible()

        async def all_show(count: int, pages: list[Any]) -> None:
            name = f"Notifications, {count} unread" if count else "Notifications"
            await asyncio.gather(
                *(expect(each.get_by_role("button", name=name, exact=True)).to_be_visible() for each in pages)
            )

        (id_,) = await give(kit, 1, title="News")
        await all_show(2, tabs)
        assert 2 == sum(map(len, kit._inbox_watch._readers.values()))
        await open_inbox(phone)
        await phone.check()
        await phone.page.get_by_role("button", name="Mark as read: News").click()
        await all_show(1, tabs)
        await laptop.page.close()
        await kit.inbox(ADA, tenant=ACME).mark(id_, "unread")
        await all_show(2, tabs[1:])


async def test_it_works_without_a_connection(kit, tab):
    """What was loaded stays, marks are sent later, and what was missed comes."""
    await give(kit, 1, title="Before")
    await tab.open("/")
    await open_inbox(tab)
    await expect(tab.page.get_by_role("listitem")).to_have_count(2)
    context = tab.page.context
    await context.set_offline(True)
    tab.page.remove_listener("console", tab._on_console)  # the browser reports each request that fails
    await expect(tab.page.get_by_text("You are offline")).to_be_visible()

    await tab.page.get_by_role("button", name="Mark as read: Before").click()
    await shows(tab, 1)
    await give(kit, 1, title="Meanwhile")
    await context.set_offline(False)

    await expect(tab.page.get_by_role("listitem").first).to_contain_text("Meanwhile")
    await shows(tab, 2)
    await expect(tab.page.get_by_text("You are offline")).to_be_hidden()
    for _ in range(100):
        counts = await kit.inbox(ADA, tenant=ACME).counts()
        if counts.unread == 2:
            break
        await asyncio.sleep(0.05)
    assert 2 == counts.unread


async def test_a_page_of_another_site_gives_tokens(kit, world, browser):
    """By a function that is asked again when one has expired; of sites that are not allowed nothing is answered."""
    secret = world.secrets[ACME, Role.TENANT_ADMIN]
    where: dict[str, str] = {}

    async def shop(request: Request) -> HTMLResponse:
        return page(f"{where['api']}/inbox.js", where["api"], f'server="{where["api"]}" inline')

    given = Starlette(routes=[Route("/", shop)])
    async with (
        serving(given) as host,
        serving(given) as stranger,
        serving(create_app(kit, origins=[host])) as where["api"],
    ):
        async with new_tab(browser, host) as tab:
            tab.expect(401)
            await tab.page.add_init_script(SETUP.replace("SECRET", secret))
            await give(kit, 1, title="Over there", url="https://shop.example/orders/1")
            await tab.open("/")
            await expect(tab.page.get_by_role("region", name="Mitteilungen")).to_be_visible()
            await tab.page.get_by_role("link", name="Over there").click()
            await expect(tab.page).to_have_title("Over there")
            await expect(tab.page.get_by_role("button", name="Mark as unread: Over there")).to_be_visible()
            await tab.check()
        async with new_tab(browser, stranger) as tab:
            tab.page.remove_listener("console", tab._on_console)
            refused = asyncio.Event()
            tab.page.on("requestfailed", lambda _: refused.set())
            await tab.open("/")
            async with asyncio.timeout(10):
                await refused.wait()
            assert 0 == await tab.page.locator("notify-inbox [part~=panel]").count()


async def test_a_host_gives_it_its_own_look(tab):
    """By custom properties, parts and a scheme."""
    await tab.open('/?with=inline%20scheme="dark"%20style="--notify-accent:%23ff0066;--notify-background:%23102030"')
    panel = tab.page.locator("notify-inbox [part~=panel]")
    await expect(panel).to_be_visible()

    colors = await panel.evaluate(
        "(element) => [getComputedStyle(element).backgroundColor, getComputedStyle(element).color]"
    )
    assert ["rgb(16, 32, 48)", "rgb(230, 232, 236)"] == colors
