"""The preference centre and the page for unsubscribing, as people use them; also without scripts."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from notifykit import Digest, Notifykit
from notifykit.contrib.unsubscribe import Look
from notifykit.models.event_type import StoredEventType
from notifykit.models.preferences import Scope, Selector, Setting
from notifykit.models.recipient import RecipientAddress
from notifykit.testing import FakeClock
from notifykit.web import PageOptions, create_app
from tests.browser.tab import LARGE, SMALL, new_tab, serving
from tests.unit.web.world import ACME, ADA, made, new_kit

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
async def kit():
    """A kit with keys for links, types of several categories, and a tenant that locks one."""
    async with new_kit(FakeClock(), public_url="http://localhost") as kit:
        types = [
            StoredEventType(id="comment.created", category="comments", digest=Digest("daily", at="08:00")),
            StoredEventType(id="account.login", category="account_security", purpose="security"),
            StoredEventType(id="invoice.made", category="invoices"),
        ]
        for each in types:
            await kit.store.save(each)
        await kit.tenant_preferences(tenant=ACME).set(category="invoices", channel="email", value="on", locked=True)
        yield kit


@pytest.fixture
async def world(kit):
    world = await made(kit)
    await kit.recipients.save(ADA, tenant=ACME, zone="Europe/Berlin", email="ada@example.org")
    return world


@pytest.fixture
async def url(kit, world):
    pages = PageOptions(look=lambda tenant: Look(name=f"{tenant.title()} Shop", color="#0a7c4a"))
    async with serving(create_app(kit, pages=pages)) as url:
        yield url


async def settings(kit: Notifykit) -> dict[tuple[str | None, str | None], str]:
    recipient = await kit.recipients.get(ADA, tenant=ACME)
    return {(each.select.category, each.select.channel): each.value for each in recipient.settings}


@pytest.mark.parametrize(("size", "dark"), [(LARGE, False), (SMALL, True)], ids=["large-light", "small-dark"])
async def test_a_person_chooses(kit, browser, url, size, dark):
    """Each choice is saved at once; what cannot be chosen says why; the rest of the page works as well."""
    async with new_tab(browser, url, size=size, dark=dark) as tab:
        page = tab.page
        await tab.open(kit.portal_links.preferences_url(ADA, tenant=ACME, base_url=url))
        await expect(page.get_by_role("banner")).to_have_text("Acme Shop")
        await tab.check()
        await expect(page.get_by_text("Always on, because it is about the security of your account")).to_have_count(1)
        await expect(page.get_by_text("Always on, set by Acme Shop")).to_have_count(1)

        await page.get_by_label("Orders, E-mail").select_option("off")
        await expect(page.get_by_text("Saved.")).to_be_visible()
        await page.get_by_label("Comments, E-mail").select_option(label="Daily")
        await expect(page.get_by_text("Saved.")).to_be_visible()
        await page.reload()
        await expect(page.get_by_label("Comments, E-mail")).to_have_value("digest:daily")
        assert {("orders", "email"): "off", ("comments", "email"): "digest:daily"} == await settings(kit)

        await page.get_by_role("button", name="Mute", exact=True).click()
        await expect(page.get_by_text("Everything, until")).to_be_visible()
        await tab.check()
        await page.get_by_role("button", name="End: Everything").click()
        await expect(page.get_by_text("Nothing is muted.")).to_be_visible()
        group = page.get_by_role("group", name="Add quiet hours")
        await group.get_by_label("Mon").check()
        await group.get_by_label("From").fill("22:00")
        await group.get_by_label("To").fill("07:00")
        await page.get_by_role("group", name="Sent all the same").get_by_label("Orders").check()
        await page.get_by_role("button", name="Save quiet hours").click()
        await expect(page.get_by_role("group", name="Quiet hours 1").get_by_label("Mon")).to_be_checked()
        await page.get_by_role("button", name="I agree to marketing").click()
        await expect(page.get_by_text("You have agreed to marketing on")).to_be_visible()
        await tab.check()

    ada = await kit.recipients.get(ADA, tenant=ACME)
    (window,) = ada.quiet_hours.windows
    assert ("Europe/Berlin", ("mon",), "22:00", "07:00") == (ada.zone, window.days, window.from_, window.to)
    assert {"orders"} == ada.quiet_hours.exceptions
    assert ("marketing", True, ADA) == (ada.consents[-1].purpose, ada.consents[-1].granted, ada.consents[-1].by)


async def test_it_works_without_scripts(kit, browser, url):
    """With a button; what was changed elsewhere meanwhile is not undone by an old page."""
    context = await browser.new_context(java_script_enabled=False, locale="en-GB")
    page = await context.new_page()
    await page.goto(kit.portal_links.preferences_url(ADA, tenant=ACME, base_url=url))
    await page.get_by_label("Orders, Push").select_option("off")
    await page.get_by_role("button", name="Save", exact=True).click()
    await expect(page.get_by_text("Your choices are saved.")).to_be_visible()
    assert {("orders", "push"): "off"} == await settings(kit)

    await kit.preferences(ADA, tenant=ACME).set(category="orders", channel="sms", value="off")
    await page.get_by_label("Orders, Push").select_option("on")
    await page.get_by_role("button", name="Save", exact=True).click()

    await expect(page.get_by_text("your choices have been changed elsewhere meanwhile")).to_be_visible()
    assert {("orders", "push"): "off", ("orders", "sms"): "off"} == await settings(kit)
    await context.close()


async def test_names_run_nothing(kit, browser, url):
    """Whatever a category, an address or a mute is called."""
    await kit.store.save(StoredEventType(id="a.b", category=HOSTILE))
    await kit.recipients.save(ADA, tenant=ACME, addresses=[RecipientAddress(channel="chat", address=HOSTILE)])
    await kit.preferences(ADA, tenant=ACME).mute(category=HOSTILE)
    own = Setting(scope=Scope.RECIPIENT, select=Selector(type="a.b", channel="email"), value="off")
    await kit.preferences(ADA, tenant=ACME).replace([own])
    async with new_tab(browser, url, size=SMALL) as tab:
        tab.page.on("dialog", lambda dialog: tab.complaints.append(dialog.message))
        await tab.open(kit.portal_links.preferences_url(ADA, tenant=ACME, base_url=url))
        assert not await tab.page.locator("main img").count()
        await tab.check()
        await tab.page.get_by_label(f"{HOSTILE}, E-mail").select_option("on")
        await expect(tab.page.get_by_text("Saved.")).to_be_visible()
        await tab.page.get_by_role("button", name=f"End: “{HOSTILE}”").click()
        await expect(tab.page.get_by_text("Nothing is muted.")).to_be_visible()

    ada = await kit.recipients.get(ADA, tenant=ACME)
    assert {"on"} == {setting.value for setting in ada.settings}
    assert 2 == len(ada.settings)  # of the category, and of the type that the person had set


async def test_a_link_without_a_session_asks_for_a_newer_one(tab):
    """There is nothing to sign in with."""
    tab.expect(401)
    await tab.open("/preferences")
    await expect(tab.page.get_by_role("alert")).to_be_visible()
    await tab.check()


async def test_a_person_unsubscribes_and_takes_it_back(browser, kit, world):
    """In the look of the tenant."""
    pages = PageOptions(look=lambda _: Look(name="Acme Shop", color="#0a7c4a"))
    async with serving(create_app(kit, pages=pages)) as url, new_tab(browser, url) as tab:
        link = kit.unsubscribe_links.url(ADA, tenant=ACME, category="comments", channel="email")
        await tab.open(f"/unsubscribe/{link.rpartition('/')[2]}")
        await expect(tab.page.get_by_text("Acme Shop")).to_be_visible()
        await tab.page.get_by_role("button", name="Unsubscribe", exact=True).click()
        await expect(tab.page.get_by_text("You will get no more")).to_be_visible()
        assert 1 == len((await kit.recipients.get(ADA, tenant=ACME)).mutes)
        await tab.page.get_by_role("button", name="Undo").click()
        await expect(tab.page.get_by_text("Undone.")).to_be_visible()

    assert () == (await kit.recipients.get(ADA, tenant=ACME)).mutes
