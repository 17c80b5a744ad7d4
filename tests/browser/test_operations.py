"""The operators' pages, as operators use them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from playwright.async_api import expect

from notifykit.models.access import Role
from notifykit.models.circuit import OpenCircuit
from tests.unit.web.world import ACME, ADA


@pytest.fixture
async def operations(world, tab):
    """A tab in which an operator has signed in with a key."""
    await tab.open("/operations/sign-in")
    await tab.page.fill("#f-key", world.secrets["", Role.OPERATOR])
    await tab.page.keyboard.press("Enter")
    await expect(tab.page.locator("h1")).to_have_text("Overview")
    return tab


async def test_the_overview_shows_what_waits_and_what_fails(kit, world, operations):
    """Counts, lanes with the age of the oldest delivery, and open circuits."""
    now = kit.clock.now()
    await kit.endpoints.pause(world.ids["endpoint_id"], tenant=ACME)
    await kit.deliveries.redrive(world.ids["delivery_id"], tenant=ACME)
    circuit = OpenCircuit(key=world.ids["endpoint_id"], tenant=ACME, since=now, probe_at=now, reason="http_503")
    await kit.store.save_circuit(ACME, circuit.key, circuit, now=now)
    kit.clock.advance(timedelta(minutes=3))

    await operations.page.reload()

    main = operations.page.locator("main")
    await expect(main.locator(".tiles")).to_contain_text("3 min")
    await expect(main.locator("table").first).to_contain_text("webhook")
    await expect(main.locator("table").nth(1)).to_contain_text("http 503")
    await operations.check()


async def test_dead_letters_are_sent_again(kit, world, operations):
    """An operator chooses some, or all that match."""
    page = operations.page
    await page.click("text=Dead letters")
    await page.fill("#f-tenant", ACME)
    await page.click("button:has-text('Show')")
    await page.check("input[name=delivery]")
    await page.click("text=Send the chosen again")

    await expect(page.locator("[role=status]")).to_have_text("Sent again: 1.")
    await expect(page.locator("main")).to_contain_text("There are no such dead letters.")
    await operations.check()


async def test_it_is_explained_why_somebody_is_told(world, operations):
    """For a person and a type: each step with the rules that were tried; for an event: where it went."""
    page = operations.page
    await page.click("text=Explain")
    await page.fill("#f-tenant", ACME)
    await page.fill("#f-recipient", ADA)
    await page.fill("#f-what", "order.shipped")
    await page.fill("#f-at", "2026-03-02T03:00")
    await page.click("main button")
    await expect(page.locator("h2")).to_have_text(f"order.shipped for {ADA}")
    assert await page.locator("text=Rules that were tried").count()
    await operations.check()

    await page.fill("#f-recipient", "")
    await page.fill("#f-what", world.ids["event_id"])
    await page.fill("#f-at", "")
    await page.click("main button")
    await expect(page.locator("main")).to_contain_text("matched")
    await operations.check()


async def test_an_operator_opens_a_portal_and_it_is_audited(world, operations):
    """What the operator does there has the operator's key in the audit log."""
    page = operations.page
    await page.fill("#f-tenant", ACME)
    await page.click("text=Open the portal")
    await expect(page.locator("nav")).to_have_attribute("aria-label", "Portal")
    await operations.open(f"/portal/endpoints/{world.ids['endpoint_id']}")
    await page.click("text=Show the signing secret")

    await operations.open("/operations/audit")

    await expect(page.locator("tbody tr", has_text="reveal secret")).to_contain_text("key_")
    await operations.check()
