"""The preference centre belongs to one person: by a signed link, or by the session of the host."""

from __future__ import annotations

from datetime import timedelta

import pytest

from notifykit import InvalidInputError
from notifykit.models.access import Role
from notifykit.testing import FakeClock
from notifykit.web import EndUser, create_app
from notifykit.web.pages.serve import PAGES
from tests.unit.web.page_world import FORMS, enter
from tests.unit.web.world import ACME, ADA, BOB, GLOBEX, MARK, client_of, made, new_kit

OWN = [page for page in PAGES if page.area == "preferences"]
every_page = pytest.mark.parametrize("page", OWN, ids=lambda page: page.name)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def kit(clock):
    async with new_kit(clock) as kit:
        yield kit


@pytest.fixture
async def world(kit):
    world = await made(kit)
    await kit.preferences(ADA, tenant=ACME).mute()
    return world


async def come(kit, client, person: str, tenant: str = ACME) -> str:
    """Follow a person's link; return what the forms of the session send back."""
    answer = await client.get(kit.portal_links.preferences_url(person, tenant=tenant, base_url=""))
    assert 303 == answer.status_code
    session = kit.portal_links.tokens.read_session(client.cookies["notifykit_preferences"], now=kit.clock.now())
    return kit.portal_links.tokens.sign_form(session.nonce)


async def ask(client, page, form_token: str, **headers: str):
    if page.method == "GET":
        return await client.get(page.path, headers=headers)
    return await client.post(page.path, data={"form_token": form_token, **FORMS[page.name]}, headers=headers)


@every_page
async def test_a_person_changes_what_is_their_own(kit, world, page):
    """And nothing of anybody else, in this tenant or in another that has a person with the same id."""
    await kit.recipients.save(ADA, tenant=GLOBEX, name="Other Ada")
    others = [(BOB, ACME), (ADA, GLOBEX)]
    before = [await kit.recipients.get(person, tenant=tenant) for person, tenant in others]
    own = await kit.recipients.get(ADA, tenant=ACME)

    async with client_of(create_app(kit)) as client:
        answer = await ask(client, page, await come(kit, client, ADA))

    assert answer.status_code in (200, 303), answer.text
    assert before == [await kit.recipients.get(person, tenant=tenant) for person, tenant in others]
    assert (page.method == "POST") == (own != await kit.recipients.get(ADA, tenant=ACME))


@every_page
async def test_nobody_else_gets_in(kit, world, page):
    """Without a session, with that of the portal or of operators, from another site, or with another's form."""
    before = await world.snapshot()

    async with client_of(create_app(kit)) as client:
        assert 401 == (await ask(client, page, "")).status_code
        for tenant, role in ((ACME, Role.TENANT_ADMIN), ("", Role.OPERATOR)):
            token = await enter(kit, client, tenant, role)
            area = "portal" if tenant else "operations"
            client.cookies.set("notifykit_preferences", client.cookies[f"notifykit_{area}"])
            answer = await ask(client, page, token)
            assert 401 == answer.status_code
            assert MARK not in answer.text
        client.cookies.clear()
        foreign = await come(kit, client, BOB)
        client.cookies.clear()
        own = await come(kit, client, ADA)
        if page.method == "POST":
            assert 403 == (await ask(client, page, foreign)).status_code
            assert 403 == (await ask(client, page, own, **{"Sec-Fetch-Site": "cross-site"})).status_code
    assert before == await world.snapshot()


async def test_a_link_opens_nothing_else(kit, world, clock):
    """No pages of businesses or operators, and nothing once it has expired or was changed."""
    link = kit.portal_links.preferences_url(ADA, tenant=ACME, base_url="", expires_in=timedelta(hours=1))
    async with client_of(create_app(kit)) as client:
        for area in ("portal", "operations"):
            assert 404 == (await client.get(link.replace("preferences", area))).status_code
        changed = link[:-9] + ("A" if link[-9] != "A" else "B") + link[-8:]
        assert 403 == (await client.get(changed)).status_code
        assert 303 == (await client.get(link)).status_code
        for area in ("portal", "operations"):
            client.cookies.set(f"notifykit_{area}", client.cookies["notifykit_preferences"])
            assert 401 == (await client.get(f"/{area}")).status_code
        clock.advance(timedelta(hours=2))
        assert 403 == (await client.get(link)).status_code
        assert 401 == (await client.get("/preferences")).status_code


async def test_the_host_knows_best_who_it_is(kit, world):
    """Its session counts, also where somebody has followed another person's link before."""
    app = create_app(kit, recipient=lambda _: EndUser(tenant=ACME, recipient_id=BOB))
    await kit.recipients.save(BOB, tenant=ACME, email="bob@example.org")
    await kit.recipients.save(ADA, tenant=ACME, email="ada@example.org")

    async with client_of(app) as client:
        foreign = await come(kit, client, ADA)
        shown = await client.get("/preferences")
        refused = await client.post("/preferences/mute", data={"form_token": foreign, "hours": "24"})
        token = shown.text.partition('name="form_token" value="')[2].partition('"')[0]
        done = await client.post("/preferences/mute", data={"form_token": token, "hours": "24"})

    assert "bob@example.org" in shown.text
    assert "ada@example.org" not in shown.text
    assert (403, 303) == (refused.status_code, done.status_code)
    assert 1 == len((await kit.recipients.get(BOB, tenant=ACME)).mutes)


async def test_a_person_who_is_not_there_is_not_found(kit, world):
    """An erased person's link still opens a session, in which there is nothing."""
    async with client_of(create_app(kit)) as client:
        await come(kit, client, "user:gone")
        assert 404 == (await client.get("/preferences")).status_code


async def test_links_last_no_longer_than_a_year(kit):
    """And need an address."""
    with pytest.raises(InvalidInputError):
        kit.portal_links.preferences_url(ADA, tenant=ACME, base_url="", expires_in=timedelta(days=400))
