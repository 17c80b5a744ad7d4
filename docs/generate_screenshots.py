"""Take the pictures of the server's pages that the guides show: ``python -m docs.generate_screenshots``.

It needs Chromium.  The data are made up, and the clock stands still, so that pictures change only with the pages.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from playwright.async_api import Browser, async_playwright
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route

from notifykit import Digest, EgressRules, Event, EventType, Notifykit
from notifykit.models.outcome import Accepted, Answer, Outcome, Transient
from notifykit.models.quiet_hours import Window
from notifykit.models.worker import WorkerRecord
from notifykit.ports import DeliveryFilter, Inbox
from notifykit.testing import FakeClock, make_inbox_item
from notifykit.web import EndUser, PageOptions, create_app
from tests.browser.tab import SMALL, chromium, new_tab, serving
from tests.unit.dispatch.support import ScriptedChannel

IMAGES = Path(__file__).parent / "images"
TENANT, PERSON = "acme", "user:42"
_SIZE = {"width": 1100, "height": 700}
_INBOX_SIZE = {"width": 620, "height": 640}
_HOST = """<!doctype html><html lang="en"><title>Acme Shop</title><link rel="icon" href="data:,">
<script type="module" src="/inbox.js"></script>
<style>:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif } body { margin: 0 }
header { display: flex; justify-content: space-between; align-items: center; padding: .5rem 1rem;
background: light-dark(#e8f3ee, #10241c) }</style>
<header><strong>Acme Shop</strong><notify-inbox user="user:42"></notify-inbox></header>"""
_TYPES = [
    EventType(name="account.signed_in", category="account", purpose="security"),
    EventType(name="comment.created", category="comments", digest=Digest("daily summary", at="08:00")),
    EventType(name="invoice.made", category="invoices"),
    *(
        EventType(
            name=f"order.{name}",
            category="orders",
            description=text,
            schema={"type": "object", "required": ["order_id"], "properties": {"order_id": {"type": "string"}}},
        )
        for name, text in (("paid", "An order was paid."), ("shipped", "An order has left the warehouse."))
    ),
]


async def main() -> None:
    path = chromium()
    if path is None:
        raise SystemExit("there is no Chromium: apt-get install chromium, or set NOTIFYKIT_TEST_CHROMIUM")
    clock = FakeClock()
    rules = EgressRules(allow=["198.51.100.0/24"], allow_http=True)
    async with (
        async_playwright() as playwright,
        await playwright.chromium.launch(executable_path=path) as browser,
        Notifykit("memory://", clock=clock, egress=rules, event_types=_TYPES) as kit,
        serving(create_app(kit, pages=PageOptions(name="Acme Shop", accent="#0b6e4f"))) as url,
    ):
        endpoint, delivery = await _fill(kit, clock)
        portal = kit.portal_links.url(tenant=TENANT, base_url=url)
        await _take(browser, url, portal, {"overview": "", "endpoint": f"/endpoints/{endpoint}"}, prefix="portal")
        await _take(
            browser, url, portal, {"delivery": f"/deliveries/{delivery}"}, prefix="portal", size=SMALL, dark=True
        )
        preferences = kit.portal_links.preferences_url(PERSON, tenant=TENANT, base_url=url)
        await _take(browser, url, preferences, {"centre": ""}, prefix="preferences")
        await _take_inbox(browser, kit)
        operations = kit.portal_links.url(tenant="", role="operator", base_url=url)
        await _take(browser, url, operations, {"overview": ""}, prefix="operations")


async def _fill(kit: Notifykit, clock: FakeClock) -> tuple[str, str]:
    """Make a tenant with two endpoints, one of which fails; return the ids of what is shown."""
    await kit.sync_event_types()
    good = await kit.endpoints.create("http://198.51.100.7/webhooks", tenant=TENANT, description="Warehouse")
    bad = await kit.endpoints.create("http://198.51.100.8/hooks/orders", tenant=TENANT, description="Accounting")
    await kit.subscribe("order.*", tenant=TENANT, endpoint=good.id)
    await kit.subscribe("order.paid", tenant=TENANT, endpoint=bad.id, filter={"total": [{"numeric": [">=", 100]}]})
    await kit.recipients.save(PERSON, tenant=TENANT, name="Ada", email="ada@acme.example", zone="Europe/London")
    await kit.tenant_preferences(tenant=TENANT).set(category="invoices", channel="email", value="on", locked=True)
    own = kit.preferences(PERSON, tenant=TENANT)
    await own.set(category="comments", channel="email", value="digest:daily summary")
    await own.quiet_hours([Window(days=["mon", "tue", "wed", "thu"], from_="22:00", to="07:00")], exceptions=["orders"])

    def answer(claim: object) -> Outcome:
        if getattr(claim, "subscriber_id", "") == bad.id:
            return Transient(reason="http_503", answer=Answer(status=503, body=b'{"error": "maintenance"}'))
        return Accepted(answer=Answer(status=200, body=b"ok"))

    dispatcher = kit.dispatcher([ScriptedChannel(answer)])
    for number in range(1, 15):
        type_ = "order.paid" if number % 3 else "order.shipped"
        data = {"order_id": f"A-{1000 + number}", "total": 60 + 10 * number}
        await kit.apublish(Event(type=type_, data=data), tenant=TENANT)
        while await dispatcher.step():
            clock.advance(timedelta(milliseconds=240))
        clock.advance(timedelta(minutes=11))
    now = clock.now()
    for host, roles, age in (("app-1", ("plan", "send"), 5), ("app-2", ("plan", "send", "clean"), 200)):
        seen_at = now - timedelta(seconds=age)
        record = WorkerRecord(
            id=f"{host}:4127:7f3c", host=host, process=4127, roles=roles, channels=("email", "webhook"),
            started_at=now - timedelta(hours=3), seen_at=seen_at, in_flight=12,
        )  # fmt: skip
        await kit.store.save(record)
    failed = await kit.deliveries.list(DeliveryFilter(subscriber_id=bad.id), tenant=TENANT, limit=50)
    return bad.id, failed[-1].id


async def _take(
    browser: Browser,
    url: str,
    link: str,
    pages: dict[str, str],
    *,
    prefix: str,
    size: dict[str, int] = _SIZE,
    dark: bool = False,
) -> None:
    async with new_tab(browser, url, size=size, dark=dark) as tab:
        await tab.open(link)
        for name, path in pages.items():
            await tab.open(f"/{prefix}{path}")
            await tab.picture(IMAGES / f"{prefix}-{name}.png")
            print(f"docs/images/{prefix}-{name}.png")


async def _take_inbox(browser: Browser, kit: Notifykit) -> None:
    """Take the element, open in a page of a host."""
    items = [
        ("Your invoice for March is here", "It is due on 14 April.", "invoices"),
        ("Grace commented on “Spring sale”", "Looks good to me, let us start on Monday.", "comments"),
        ("Order A-1003 is on its way", "It arrives in two days.", "orders"),
        ("Order A-1014 was delivered", "", "orders"),
    ]
    assert isinstance(kit.store, Inbox)
    for title, body, category in items:
        item = make_inbox_item(PERSON, tenant=TENANT, title=title, body=body, category=category, at=kit.clock.now())
        await kit.store.inbox_put([item])
    await kit.inbox(PERSON, tenant=TENANT).mark(item.id, "read")

    async def page(_: Request) -> HTMLResponse:
        return HTMLResponse(_HOST)

    api = create_app(kit, recipient=lambda _: EndUser(tenant=TENANT, recipient_id=PERSON))
    async with serving(Starlette(routes=[Route("/", page), Mount("/", api)])) as url:
        for name, dark in (("inbox", False), ("inbox-dark", True)):
            async with new_tab(browser, url, size=_INBOX_SIZE, dark=dark) as tab:
                await tab.open("/")
                await tab.page.get_by_role("button", name="Notifications").click()
                await tab.page.get_by_role("listitem").nth(3).wait_for()
                await tab.picture(IMAGES / f"{name}.png")
                print(f"docs/images/{name}.png")


if __name__ == "__main__":
    asyncio.run(main())
