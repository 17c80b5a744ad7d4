"""The page of ``notifykit catch`` in a browser: what each channel would have sent, as it comes."""

from __future__ import annotations

import asyncio

import attrs
import pytest
from playwright.async_api import Page as Shown
from playwright.async_api import expect

import notifykit
from notifykit import Notifykit, Step
from notifykit.channels.catcher import Catcher
from notifykit.cli.catch.command import Page
from notifykit.cli.catch.tail import Tail
from notifykit.cli.receiver import Receiver
from notifykit.codec import dumps
from notifykit.models.messages import ChatMessage, EmailMessage, InAppMessage, PushMessage, SmsMessage
from tests.browser.tab import SMALL, new_tab

HOSTILE = "<img src=x onerror=alert(1)>"
HOSTILE_HTML = """<p>Hello</p><script>parent.document.title = "run"</script>
<form action="/" target="_top"><button>Send</button></form>
<a href="javascript:parent.document.title = 'run'" target="_top">Click</a>"""
HTML = """<!doctype html><title>An order</title><style>#narrow { display: none }
@media (max-width: 400px) { #narrow { display: block } #wide { display: none } }</style>
<p id="wide">For wide screens</p><p id="narrow">For narrow screens</p>"""


@notifykit.event("order.shipped", steps=[Step(name) for name in ("email", "sms", "push", "chat", "in_app")])
@attrs.frozen
class OrderShipped:
    """An order left."""

    order: str

    def email(self, to: object) -> EmailMessage:
        return EmailMessage(subject=f"Order {self.order}", text=f"{HOSTILE}\nA plain text.", html=HTML)

    def sms(self, to: object) -> SmsMessage:
        return SmsMessage(text=f"{self.order} \N{PACKAGE} left")

    def push(self, to: object) -> PushMessage:
        return PushMessage(title=f"Pushed {self.order}", body=HOSTILE, url="https://shop.example/a", data={"n": "1"})

    def chat(self, to: object) -> ChatMessage:
        return ChatMessage(text=f"Posted {self.order}")

    def in_app(self, to: object) -> InAppMessage:
        return InAppMessage(title=f"Kept {self.order}", body=HOSTILE, url="javascript:alert(1)")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "caught.jsonl"


@pytest.fixture
async def kit(file):
    """A kit whose messages are caught, and a person with an address on every channel."""
    catch = f"catch://{file}"
    async with Notifykit(
        "memory://", event_types=[OrderShipped], email=catch, sms=catch, push=catch, chat=catch
    ) as kit:
        await kit.recipients.save("user:42", tenant="acme", email="ada@example.org", sms="+4915112345678")
        await kit.recipients.add_address("user:42", "push", "token", tenant="acme", app="shop", platform="ios")
        await kit.recipients.add_address("user:42", "chat", "https://chat.example/room", tenant="acme")
        yield kit


@pytest.fixture
async def url(file):
    """Where the page is."""
    page = Page(Tail(file))
    async with Receiver(page.handle) as receiver:
        page.port = receiver.port
        following = asyncio.create_task(page.follow())
        yield f"http://127.0.0.1:{receiver.port}"
        following.cancel()


async def tell(kit: Notifykit, order: str) -> None:
    """Deliver the messages of one event."""
    await kit.apublish(OrderShipped(order), tenant="acme", to=["user:42"])
    async with kit.dispatcher() as dispatcher:
        await dispatcher.drained()


async def choose(page: Shown, title: str) -> None:
    await page.get_by_role("button", name=title).click()
    await expect(page.get_by_role("article").get_by_role("heading", name=title)).to_be_visible()


async def test_messages_of_every_channel_are_shown_as_they_come(kit, tab):
    """The page is open before; nothing that a message says is markup of the page."""
    await tab.open("/")
    await expect(tab.page.get_by_text("No message yet.")).to_be_visible()
    await tell(kit, "A-1")
    await expect(tab.page.get_by_role("listitem")).to_have_count(5)
    await expect(tab.page.get_by_role("status")).to_contain_text("5 messages")
    shown = tab.page.get_by_role("article")

    await choose(tab.page, "Order A-1")
    await expect(shown.locator("pre")).to_contain_text(HOSTILE)
    await tab.check()
    for width, text in ((600, "For wide screens"), (320, "For narrow screens")):
        frame = shown.get_by_title(f"HTML at {width} pixels")
        assert width == await frame.evaluate("(frame) => frame.clientWidth")
        await expect(frame.content_frame.get_by_text("screens").filter(visible=True)).to_have_text(text)
    await choose(tab.page, "A-1 \N{PACKAGE} left")
    await expect(shown.locator(".bubble")).to_have_text("A-1 \N{PACKAGE} left")
    await tab.check()
    for title, kind in (("Pushed A-1", ".card"), ("Kept A-1", ".row")):
        await choose(tab.page, title)
        await expect(shown.locator(kind)).to_contain_text(HOSTILE)
        await tab.check()
    await choose(tab.page, "Posted A-1")
    await tab.check()
    assert 0 == await tab.page.locator("img, a").count()


async def test_keys_do_everything_while_messages_come(kit, tab):
    """The list keeps the focus when a message is chosen and when another arrives; filters leave what they say."""
    await tell(kit, "A-1")
    await tab.open("/")
    rows = tab.page.get_by_role("listitem").get_by_role("button")
    await expect(rows).to_have_count(5)
    keys = tab.page.keyboard
    for _ in range(3):
        await keys.press("Tab")
    await expect(rows.nth(0)).to_be_focused()
    await keys.press("Tab")
    chosen = rows.nth(1)
    title = await chosen.locator("strong").inner_text()
    await keys.press("Enter")
    await expect(tab.page.get_by_role("article").get_by_role("heading", name=title)).to_be_visible()
    await expect(chosen).to_be_focused()
    await expect(chosen).to_have_attribute("aria-current", "true")

    await tell(kit, "B-2")
    await expect(rows).to_have_count(10)

    await expect(rows.nth(6)).to_be_focused()
    await expect(tab.page.get_by_role("article").get_by_role("heading", name=title)).to_be_visible()
    await tab.page.get_by_label("Channel").select_option("sms")
    await expect(rows).to_have_count(2)
    await tab.page.get_by_label("Search").fill("b-2")
    await expect(rows).to_have_count(1)
    await tab.page.get_by_label("Search").fill("none of them")
    await expect(rows).to_have_count(0)


async def test_it_fits_a_phone_in_the_dark(kit, browser, url):
    """The same page in 320 pixels, where the wide mail is as wide as there is room."""
    await tell(kit, "A-1")
    async with new_tab(browser, url, size=SMALL, dark=True) as tab:
        await tab.open("/")
        for title in ("Order A-1", "A-1 \N{PACKAGE} left", "Pushed A-1", "Kept A-1"):
            await choose(tab.page, title)
            await tab.check()


async def test_the_html_of_a_mail_can_do_nothing(file, tab):
    """Its scripts do not run, it cannot navigate the page, and what it says stays in its frame."""
    message = {"subject": HOSTILE, "text": HOSTILE, "html": HOSTILE_HTML}
    Catcher(file).append(dumps({"channel": "email", "to": HOSTILE, "type": HOSTILE, "message": message}) + b"\n")
    tab.page.remove_listener("console", tab._on_console)  # the browser reports what it blocks
    await tab.open("/")
    frame = tab.page.get_by_title("HTML at 600 pixels").content_frame
    await expect(frame.get_by_text("Hello")).to_be_visible()

    await frame.get_by_role("link", name="Click").click()
    await frame.get_by_role("button", name="Send").click()

    await expect(tab.page.get_by_role("article").get_by_role("heading")).to_have_text(HOSTILE)
    assert "notifykit catch" == await tab.page.title()
    assert 0 == await tab.page.locator("img").count()
