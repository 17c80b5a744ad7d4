"""Paths of all pages about a tenant's objects, for tests that look at each of them."""

from __future__ import annotations

from urllib.parse import urlencode

from notifykit.web.pages.serve import PAGES
from tests.unit.web.page_world import QUERIES
from tests.unit.web.world import World

_STREAM = "portal.stream"


def paths(world: World, area: str) -> list[str]:
    """Return the paths of an area's pages."""
    ids = {**world.ids, "name": "order.shipped"}
    found = []
    for page in PAGES:
        if page.area == area and page.method == "GET" and page.name != _STREAM:
            query = urlencode(QUERIES.get(page.name, {}))
            found.append(page.path.format(**ids) + (f"?{query}" if query else ""))
    return found
