"""Fixtures: Chromium for all tests, a kit with a tenant, its server, and a tab that is checked at the end."""

from __future__ import annotations

import pytest
from playwright.async_api import async_playwright

from notifykit.testing import FakeClock
from notifykit.web import PageOptions, create_app
from tests.browser.tab import chromium, new_tab, serving
from tests.services import is_required
from tests.unit.web.world import made, new_kit


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave what drives a browser to CI and to ``nox -s browser``."""
    for item in items:
        if "/tests/browser/" in item.path.as_posix():
            item.add_marker("thorough")


@pytest.fixture(scope="session")
async def browser():
    """Chromium, without anything that a user has set."""
    path = chromium()
    if path is None:
        reason = "no Chromium (apt-get install chromium, or set NOTIFYKIT_TEST_CHROMIUM)"
        (pytest.fail if is_required("chromium") else pytest.skip)(reason)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path)
        yield browser
        await browser.close()


@pytest.fixture
async def kit():
    async with new_kit(FakeClock()) as kit:
        yield kit


@pytest.fixture
async def world(kit):
    """A tenant that has one of everything."""
    return await made(kit)


@pytest.fixture
async def url(kit, world):
    """Where the server is."""
    async with serving(create_app(kit, pages=PageOptions(name="Acme Shop"))) as url:
        yield url


@pytest.fixture
async def tab(browser, url):
    async with new_tab(browser, url) as tab:
        yield tab
