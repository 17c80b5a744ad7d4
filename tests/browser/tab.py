"""A tab of Chromium that notices what a person would complain about."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import attrs
import uvicorn
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, ConsoleMessage, Page, Response
from starlette.types import ASGIApp

#: The size of a small phone: pages must need no scrolling from side to side (WCAG 2.2, 1.4.10).
SMALL = {"width": 320, "height": 640}
LARGE = {"width": 1280, "height": 900}
_RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
}


def chromium() -> str | None:
    """Return where Chromium is: ``NOTIFYKIT_TEST_CHROMIUM``, or that of the system."""
    names = [os.environ.get("NOTIFYKIT_TEST_CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome"]
    return next((found for name in names if name and (found := shutil.which(name))), None)


@attrs.define(kw_only=True, slots=False)  # playwright marks the owners of its handlers
class Tab:
    """A tab, and what went wrong in it.

    Attributes:
        complaints: Errors in the console, exceptions of scripts, and requests that the server could not answer.
    """

    page: Page
    base_url: str
    complaints: list[str] = attrs.field(factory=list)
    _expected: set[int] = attrs.field(factory=set)

    def __attrs_post_init__(self) -> None:
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"exception: {error}"))
        self.page.on("response", self._on_response)

    def expect(self, *statuses: int) -> None:
        """Let answers with one of these statuses pass."""
        self._expected.update(statuses)

    async def open(self, path: str) -> None:
        """Go to a page, by its path or its URL."""
        await self.page.goto(path if "://" in path else self.base_url + path)

    async def check(self, *, fits: bool = True) -> None:
        """Fail if something keeps people from using the page (axe-core), or if it is wider than the tab."""
        found = await Axe().run(self.page, options=_RULES)
        assert not found.response["violations"], _told(found.response["violations"])
        if fits:
            width = await self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert width <= 0, f"{self.page.url} is {width} px wider than the tab"

    async def picture(self, path: Path) -> None:
        """Save what the tab shows."""
        path.parent.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=path, full_page=True)

    def _on_console(self, message: ConsoleMessage) -> None:
        told = f"{message.type}: {message.text} ({message.location.get('url', '')})"
        refused = any(f"status of {status} " in told for status in self._expected)
        if message.type in ("error", "warning") and not refused:
            self.complaints.append(told)

    def _on_response(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self._expected:
            self.complaints.append(f"{response.status}: {response.request.method} {response.url}")


@contextlib.asynccontextmanager
async def new_tab(
    browser: Browser, base_url: str, *, size: dict[str, int] | None = None, dark: bool = False, scripts: bool = True
) -> AsyncIterator[Tab]:
    """Open a tab with cookies of its own; at the end there must have been no complaints."""
    options: dict[str, Any] = {"viewport": size or LARGE, "color_scheme": "dark" if dark else "light"}
    options["java_script_enabled"] = scripts
    context = await browser.new_context(**options, locale="en-GB", timezone_id="Europe/London")
    context.set_default_timeout(10_000)
    try:
        tab = Tab(page=await context.new_page(), base_url=base_url)
        yield tab
    finally:
        await context.close()
    assert not tab.complaints, "\n".join(tab.complaints)


@contextlib.asynccontextmanager
async def serving(app: ASGIApp) -> AsyncIterator[str]:
    """Serve an application in this event loop while the block runs; yields its URL."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="off", ws="none")
    server = _Server(config)
    task = asyncio.create_task(server.serve())
    try:
        while not server.started:
            assert not task.done(), "the server has ended before it began"
            await asyncio.sleep(0.005)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        await task


class _Server(uvicorn.Server):
    """A server that leaves signals to pytest."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _told(violations: list[Any]) -> str:
    return "\n".join(
        f"{each['id']}: {each['help']}: {node['html'][:200]} {node.get('failureSummary', '')[:300]}"
        for each in violations
        for node in each["nodes"]
    )
