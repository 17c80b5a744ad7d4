"""The pages' access: every page, every role, every tenant; and values that try to be code.

The cases are made from the table of pages.
"""

from __future__ import annotations

import re
from html import escape
from html.parser import HTMLParser

import attrs
import pytest

from notifykit import Event
from notifykit.models.access import ROLE_SCOPES, Role
from notifykit.models.event_type import StoredEventType
from notifykit.models.outcome import Answer, Permanent
from notifykit.testing import FakeClock
from notifykit.web import create_app
from notifykit.web.pages.serve import PAGES
from tests.unit.dispatch.support import ScriptedChannel
from tests.unit.web.page_world import enter, visit
from tests.unit.web.world import ACME, ADA, GLOBEX, MARK, client_of, made, new_kit

ROLES = (Role.PRODUCER, Role.VIEWER, Role.TENANT_ADMIN)
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
#: A stream does not end, so that the transport of the tests does not answer.
STREAM = "portal.stream"
PORTAL = [page for page in PAGES if page.area == "portal" and page.name != STREAM]
OPERATIONS = [page for page in PAGES if page.area == "operations"]

#: What would run, or would be seen as something else than text, if a page did not escape it.
HOSTILE = (
    "<script>hit()</script>",
    '"><img src=x onerror=hit()>',
    "' autofocus onfocus=hit() x='",
    "</textarea></pre><svg/onload=hit()>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt;<b>bold</b>",
    "\u202egnp.exe <iframe srcdoc='<script>hit()</script>'>",
)


@pytest.fixture
async def kit():
    async with new_kit(FakeClock()) as kit:
        yield kit


@pytest.fixture
async def world(kit):
    return await made(kit)


@every_page
async def test_without_a_session_there_is_no_page(kit, world, page):
    """Whatever is asked for, the answer is the page for signing in, and nothing is changed."""
    before = await world.snapshot()

    async with client_of(create_app(kit)) as client:
        answer = await visit(client, world, page, "")
        client.cookies.set(f"notifykit_{page.area}", "s1.x.y.z")
        forged = await visit(client, world, page, "")

    assert [401, 401] == [each.status_code for each in (answer, forged)]
    assert MARK not in answer.text + forged.text
    assert before == await world.snapshot()


@pytest.mark.parametrize("page", PORTAL, ids=lambda page: page.name)
async def test_roles_see_what_their_scopes_say(kit, world, page):
    """Without the scope a page is refused and changes nothing; with it there is an answer."""
    before = await world.snapshot()

    for role in ROLES:
        async with client_of(create_app(kit)) as client:
            answer = await visit(client, world, page, await enter(kit, client, ACME, role))
        if page.scope in ROLE_SCOPES[role]:
            # The delivery has ended: it cannot be cancelled.
            assert answer.status_code in ((409,) if page.name == "portal.cancel_delivery" else (200, 303)), answer.text
            continue
        assert 403 == answer.status_code, role
        assert MARK not in answer.text
        assert before == await world.snapshot()


@pytest.mark.parametrize("page", PORTAL, ids=lambda page: page.name)
async def test_another_tenant_sees_and_changes_nothing(kit, world, page):
    """Foreign ids are answered as missing ones are, and no page of another tenant has anything of this one."""
    before = await world.snapshot()

    for role in ROLES:
        async with client_of(create_app(kit)) as client:
            answer = await visit(client, world, page, await enter(kit, client, GLOBEX, role))
        assert MARK not in answer.text
        if page.scope in ROLE_SCOPES[role] and "_id}" in page.path:
            assert 404 == answer.status_code, answer.text
    assert before == await world.snapshot()


@pytest.mark.parametrize("page", PORTAL, ids=lambda page: page.name)
async def test_a_tenant_is_named_by_the_session_alone(kit, world, page):
    """Whatever a query says, the pages are about the session's tenant."""
    async with client_of(create_app(kit)) as client:
        token = await enter(kit, client, GLOBEX, Role.TENANT_ADMIN)
        client.params = client.params.set("tenant", ACME)
        answer = await visit(client, world, page, token)

    assert MARK not in answer.text


@pytest.mark.parametrize("page", OPERATIONS, ids=lambda page: page.name)
async def test_operations_are_for_operators(kit, world, page):
    """A tenant's session opens none of them, not even with its cookie under the other name."""
    async with client_of(create_app(kit)) as client:
        token = await enter(kit, client, ACME, Role.TENANT_ADMIN)
        client.cookies.set("notifykit_operations", client.cookies["notifykit_portal"])
        refused = await visit(client, world, page, token)
    async with client_of(create_app(kit)) as client:
        answer = await visit(client, world, page, await enter(kit, client, "", Role.OPERATOR))

    assert 401 == refused.status_code
    assert MARK not in refused.text
    assert answer.status_code in (200, 303), answer.text


async def test_activity_is_for_those_who_may_see_deliveries(kit, world):
    """Its stream asks for the scope that the list asks for."""
    page = next(each for each in PAGES if each.name == STREAM)

    async with client_of(create_app(kit)) as client:
        token = await enter(kit, client, ACME, Role.TENANT_ADMIN, scopes=["endpoints:read"])
        answer = await visit(client, world, page, token)

    assert 403 == answer.status_code


async def test_an_operator_has_no_more_in_a_portal_than_before(kit, world):
    """The portal that an operator opens gives the scopes of the operator's session, and ends with the key."""
    page = next(each for each in OPERATIONS if each.name == "operations.open_portal")
    issued = await kit.api_keys.create(tenant="", role=Role.OPERATOR, scopes=["system:read", "deliveries:read"])
    poor = await kit.api_keys.create(tenant="", role=Role.OPERATOR, scopes=["system:read"])

    async with client_of(create_app(kit)) as client:
        await client.post("/operations/sign-in", data={"key": issued.secret})
        opened = await visit(client, world, page, _form_token(kit, client))
        await client.get(opened.headers["location"])
        seen = [await client.get(path) for path in ("/portal", "/portal/endpoints")]
        await kit.api_keys.revoke(issued.key.id, tenant="")
        seen.append(await client.get("/portal"))
        await client.post("/operations/sign-in", data={"key": poor.secret})
        refused = await visit(client, world, page, _form_token(kit, client))

    assert [200, 403, 401, 403] == [each.status_code for each in (*seen, refused)]


async def test_what_callers_do_is_audited(kit, world):
    """Showing a secret, for example, is in the operators' log, with who did it."""
    async with client_of(create_app(kit)) as client:
        token = await enter(kit, client, ACME, Role.TENANT_ADMIN, subject="ada@acme.example")
        endpoint = world.ids["endpoint_id"]
        await client.post(f"/portal/endpoints/{endpoint}/secret", data={"form_token": token})
        await client.post(f"/portal/deliveries/{world.ids['delivery_id']}/cancel", data={"form_token": token})
        await enter(kit, client, "", Role.OPERATOR)
        log = (await client.get("/operations/audit", params={"subject": "ada@"})).text

    assert "portal.reveal secret" in log
    assert "ada@acme.example" in log
    assert endpoint in log
    assert re.search(r"portal.cancel delivery<.*?>409</td>", log, re.DOTALL)


class _Parts(HTMLParser):
    """Collects the elements of a page, and what of it would run."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.running: list[str] = []

    def handle_starttag(self, tag, given):
        self.elements.add(tag)
        for name, value in given:
            text = (value or "").strip().lower()
            is_file = name == "src" and text.startswith("/static/")
            if name.startswith("on") or name in ("style", "srcdoc") or text.startswith("javascript:"):
                self.running.append(f"{tag} {name}={value}")
            if name == "src" and not is_file:
                self.running.append(f"{tag} src={value}")


@pytest.mark.parametrize("hostile", HOSTILE)
async def test_values_are_shown_as_text(kit, world, hostile):
    """Wherever a value is shown, on pages and in forms that are shown again, it is text and nothing else."""
    ids = await fill(kit, world, hostile)
    hostile_world = attrs.evolve(world, ids={**world.ids, **ids})
    shown = 0

    for area, tenant, role in (("portal", ACME, Role.TENANT_ADMIN), ("operations", "", Role.OPERATOR)):
        async with client_of(create_app(kit)) as client:
            await enter(kit, client, tenant, role)
            pages = [page for page in (*PORTAL, *OPERATIONS) if page.area == area and page.method == "GET"]
            answers = [await visit(client, hostile_world, page, "") for page in pages]
            answers += [
                await client.get(page.path, params=_reflected(hostile)) for page in pages if "{" not in page.path
            ]
            answers.append(await client.get(f"/{area}/events/{hostile}"))
        for answer in answers:
            parts = _Parts()
            parts.feed(answer.text)
            assert not parts.running, answer.request.url
            assert not parts.elements & {"img", "svg", "iframe", "b"}, answer.request.url
            shown += escape(hostile[1:8]).replace("/", "&#x2f;") in answer.text

    assert shown > 8


async def fill(kit, world, hostile):
    """Put a text wherever a tenant, a publisher or a receiver can put one; return the ids of what shows it."""
    endpoint, plain = world.ids["endpoint_id"], "".join(each for each in hostile if each.isprintable())
    await kit.endpoints.update(endpoint, tenant=ACME, description=plain, headers={"x-a": "v"})
    await kit.subscriptions.update(
        world.ids["subscription_id"], tenant=ACME, description=plain, filter={hostile: [hostile]}, enabled=True
    )
    await kit.store.save(StoredEventType(id="order.hostile", description=plain, schema={"description": hostile}))
    await kit.subscriptions.create("order.*", tenant=ACME, endpoint_id=endpoint)
    await kit.apublish(Event(type="order.shipped", data={"note": hostile}), tenant=ACME)
    answer = Permanent(reason="http_400", answer=Answer(status=400, body=hostile.encode()))
    dispatcher = kit.dispatcher([ScriptedChannel(lambda _: answer)])
    while await dispatcher.step():
        pass
    await kit.recipients.save(ADA, tenant=ACME, name=plain)
    await kit.endpoints.pause(endpoint, tenant=ACME, reason=plain)
    newest = await kit.deliveries.list(tenant=ACME, limit=1)
    return {"delivery_id": newest[0].id, "event_id": newest[0].event_id}


def _reflected(hostile):
    names = ("tenant", "state", "endpoint", "type", "event", "cursor", "subscriber", "recipient", "what", "topic", "at")
    return dict.fromkeys((*names, "subject", "action", "done", "since"), hostile)


def _form_token(kit, client):
    tokens = kit.portal_links.tokens
    session = tokens.read_session(client.cookies["notifykit_operations"], now=kit.clock.now())
    return tokens.sign_form(session.nonce)
