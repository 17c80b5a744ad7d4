"""Requests for every page, and sessions of every role, for tests of the pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from notifykit import Notifykit
from notifykit.models.access import Role
from notifykit.web.pages.page import PageRoute
from tests.unit.web.world import ACME, World

#: What the forms say; a new form needs an entry.
FORMS: Mapping[str, Mapping[str, str]] = {
    "portal.create_endpoint": {"url": "http://127.0.0.1:8080/new"},
    "portal.update_endpoint": {"url": "http://127.0.0.1:8080/changed", "description": "changed"},
    "portal.pause_endpoint": {},
    "portal.resume_endpoint": {},
    "portal.remove_endpoint": {},
    "portal.reveal_secret": {},
    "portal.rotate_secret": {"overlap": "24"},
    "portal.test_endpoint": {},
    "portal.recover_endpoint": {"since": "24"},
    "portal.create_subscription": {"event_types": "order.*", "do": "save"},
    "portal.update_subscription": {"event_types": "order.*", "description": "changed", "do": "save"},
    "portal.remove_subscription": {},
    "portal.resend_delivery": {},
    "portal.cancel_delivery": {},
    "preferences.choose": {"general/email": "off"},
    "preferences.save_quiet_hours": {"zone": "Europe/Berlin", "begin": "22:00", "end": "07:00", "days-0": "mon"},
    "preferences.mute": {"hours": "24"},
    "preferences.unmute": {"number": "0", "what": "Everything"},
    "preferences.consent": {"granted": "yes"},
    "operations.open_portal": {"tenant": ACME},
    "operations.redrive": {"tenant": ACME, "do": "all"},
}
QUERIES: Mapping[str, Mapping[str, str]] = {
    "operations.dead_letters": {"tenant": ACME},
    "operations.explain": {"tenant": ACME, "what": "order.shipped", "recipient": "user:42"},
}


async def enter(kit: Notifykit, client: httpx.AsyncClient, tenant: str, role: Role, **options: Any) -> str:
    """Open a session with a link; return what its forms send back."""
    link = kit.portal_links.url(tenant=tenant, role=role, base_url="", **options)
    answer = await client.get(link)
    assert 303 == answer.status_code, answer.text
    tokens, area = kit.portal_links.tokens, answer.headers["location"].rpartition("/")[2]
    session = tokens.read_session(client.cookies[f"notifykit_{area}"], now=kit.clock.now())
    return tokens.sign_form(session.nonce)


async def visit(client: httpx.AsyncClient, world: World, page: PageRoute, form_token: str) -> httpx.Response:
    """Ask for a page about the tenant that has one of everything, or send its form."""
    path = page.path.format(**{**world.ids, "name": "order.shipped"})
    if page.method == "POST":
        assert page.name in FORMS, f"FORMS needs an entry for {page.name}"
        return await client.post(path, data={"form_token": form_token, **FORMS[page.name]})
    return await client.get(path, params=QUERIES.get(page.name))
