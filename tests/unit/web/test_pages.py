"""The pages of the server: links and sessions, forms, headers, files."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from notifykit import DispatchSettings
from notifykit.errors import ConfigurationError, InvalidInputError, InvalidLinkError, StoreUnavailableError
from notifykit.models.access import AccessScope, Role
from notifykit.models.ended_session import EndedSession
from notifykit.models.endpoint import RateLimit
from notifykit.telemetry import AccessRefused
from notifykit.vault import KeyRing, PageTokens
from notifykit.web import PageOptions, RequestLimits, create_app
from notifykit.web.pages.assets import Assets
from tests.unit.web.page_world import enter
from tests.unit.web.world import ACME, ADA, client_of, made, new_kit

SIGNS_IN = {"portal": Role.VIEWER, "operations": Role.OPERATOR}
NEW = {"url": "http://127.0.0.1:8080/new"}


@pytest.fixture
async def client(kit, world):
    async with client_of(create_app(kit)) as client:
        yield client


async def test_a_link_opens_a_session_for_its_time(kit, client, clock):
    """The link works for five minutes, the session for an hour, however often it is used."""
    link = kit.portal_links.url(tenant=ACME, base_url="http://api.test")

    assert 303 == (await client.get(link)).status_code
    assert 200 == (await client.get("/portal")).status_code
    clock.advance(timedelta(minutes=5))
    late = await client.get(link)
    still = await client.get("/portal")
    for _ in range(2):
        clock.advance(timedelta(minutes=27))
        assert 200 == (await client.get("/portal")).status_code
    clock.advance(timedelta(minutes=1))
    after = await client.get("/portal")

    assert [403, 200, 401] == [each.status_code for each in (late, still, after)]
    assert "does not work any more" in late.text


async def test_a_link_leaves_no_trace(kit, client):
    """Its answer is kept nowhere, says nothing to other sites, and its cookie is not for scripts."""
    answer = await client.get(kit.portal_links.url(tenant=ACME, base_url=""))

    assert ("no-store", "no-referrer") == (answer.headers["cache-control"], answer.headers["referrer-policy"])
    assert answer.headers["set-cookie"].endswith("Max-Age=3600; Path=/portal; HttpOnly; SameSite=Lax")


async def test_links_that_were_changed_open_nothing(kit, client):
    """Neither a changed one, nor a session's cookie in its place, nor an operator's link at the portal."""
    link = kit.portal_links.url(tenant=ACME, base_url="")
    token = link.rpartition("/")[2]
    await client.get(link)
    cookie = client.cookies["notifykit_portal"]
    client.cookies.clear()
    operator = kit.portal_links.url(tenant="", role="operator", base_url="").rpartition("/")[2]

    changed = token[:-1] + ("A" if token[-1] != "A" else "B")
    answers = [await client.get(f"/portal/enter/{each}") for each in (changed, cookie, "x", operator)]

    assert [403, 403, 403, 404] == [each.status_code for each in answers]
    assert not client.cookies


@pytest.mark.parametrize("content", ["[]", '["acme","root",[],"x","auto","n",60,9999999999]', "7"])
def test_a_content_of_another_version_opens_nothing(content):
    """What is signed and cannot be read is refused as a link that does not work."""
    ring = KeyRing.generate()
    tokens = PageTokens(lambda: ring)
    token = tokens._links.sign(content.encode())

    with pytest.raises(InvalidLinkError):
        tokens.read_link(token, now=datetime.now(UTC))


async def test_a_link_gives_no_more_than_the_role(kit):
    """Scopes restrict; those of which none remain are refused, as is a tenant for operators."""
    with pytest.raises(InvalidInputError, match="none of them is of the role"):
        kit.portal_links.url(tenant=ACME, role="viewer", scopes=["keys:write"], base_url="")
    for tenant, role in (("", "tenant_admin"), (ACME, "operator")):
        with pytest.raises(InvalidInputError, match="operators have none"):
            kit.portal_links.url(tenant=tenant, role=role, base_url="")
    with pytest.raises(ConfigurationError, match="public_url"):
        kit.portal_links.url(tenant=ACME)


async def test_a_key_opens_a_session_that_ends_with_it(kit, world, client):
    """Whoever has an API key signs in with it; when the key is revoked, the session is over."""
    issued = await kit.api_keys.create(tenant=ACME, role=Role.TENANT_ADMIN)

    entered = await client.post("/portal/sign-in", data={"key": f" {issued.secret} "})
    seen = await client.get("/portal")
    await kit.api_keys.revoke(issued.key.id, tenant=ACME)
    after = await client.get("/portal")

    assert [303, 200, 401] == [each.status_code for each in (entered, seen, after)]


async def test_sessions_cannot_be_guessed(kit, client):
    """Each has 96 random bits of its own, beside the signature (HMAC-SHA256)."""
    nonces, tokens = set(), kit.portal_links.tokens
    link = kit.portal_links.url(tenant=ACME, base_url="")
    for _ in range(50):
        await client.get(link)
        session = tokens.read_session(client.cookies["notifykit_portal"], now=kit.clock.now())
        nonces.add(base64.urlsafe_b64decode(session.nonce))

    assert 50 == len(nonces)
    assert {12} == {len(nonce) for nonce in nonces}


async def test_keys_open_their_own_pages_alone(kit, world, client):
    """A tenant's key opens no operations, an operator's no portal, and guessing is slowed down."""
    admin, operator = world.secrets[ACME, Role.TENANT_ADMIN], world.secrets["", Role.OPERATOR]
    tried = [("operations", admin), ("portal", operator), ("portal", "nk_x"), *[("portal", "")] * 18]

    answers = [await client.post(f"/{area}/sign-in", data={"key": key}) for area, key in tried]

    assert [403] * 20 + [429] == [each.status_code for each in answers]
    assert not client.cookies


@pytest.mark.parametrize("area", ["portal", "operations"])
async def test_signing_out_ends_the_session(kit, world, client, area):
    """The browser forgets the cookie, which opens nothing any more; another session of the same person goes on."""
    secret = world.secrets[ACME if area == "portal" else "", SIGNS_IN[area]]
    cookies = []
    for _ in range(2):
        await client.post(f"/{area}/sign-in", data={"key": secret})
        cookies.append(client.cookies[f"notifykit_{area}"])

    answers = [
        await client.post(f"/{area}/sign-out"),
        await client.get(f"/{area}"),
        await client.post(f"/{area}/sign-out"),
    ]
    for cookie in cookies:
        client.cookies.set(f"notifykit_{area}", cookie)
        answers.append(await client.get(f"/{area}"))
        client.cookies.clear()

    assert [303, 401, 303, 200, 401] == [each.status_code for each in answers]
    assert "Max-Age=0" in answers[0].headers["set-cookie"]
    assert [f"{area}.sign_out"] == [each.action for each in (await kit.audit.page()).entries if "out" in each.action]


@pytest.mark.parametrize("area", ["portal", "operations"])
async def test_a_session_that_is_not_used_ends(world, client, clock, area):
    """After half an hour; visits and forms count, what scripts read and streams that come back do not."""
    secret = world.secrets[ACME if area == "portal" else "", SIGNS_IN[area]]
    await client.post(f"/{area}/sign-in", data={"key": secret})
    clock.advance(timedelta(seconds=59))
    at_once = await client.get(f"/{area}")
    clock.advance(timedelta(minutes=28))
    visit = await client.get(f"/{area}", headers={"Sec-Fetch-Mode": "navigate"})
    clock.advance(timedelta(minutes=29, seconds=59))
    by_script = await client.get(f"/{area}", headers={"Sec-Fetch-Mode": "cors"})
    clock.advance(timedelta(seconds=1))
    after = await client.get(f"/{area}")

    assert [200, 200, 200, 401] == [each.status_code for each in (at_once, visit, by_script, after)]
    assert [False, True, False] == ["set-cookie" in each.headers for each in (at_once, visit, by_script)]
    assert "Max-Age=2706" in visit.headers["set-cookie"]


async def test_a_form_that_a_script_sends_is_a_visit(kit, client, clock):
    """The preference centre sends each choice so."""
    token = await enter(kit, client, ACME, Role.TENANT_ADMIN)
    clock.advance(timedelta(minutes=29))

    await client.post("/portal/endpoints/new", data={"form_token": token, **NEW}, headers={"Sec-Fetch-Mode": "cors"})
    clock.advance(timedelta(minutes=29))

    assert 200 == (await client.get("/portal")).status_code


async def test_a_session_lasts_twelve_hours_at_the_most(kit, client, clock):
    """More cannot be asked for; a link of an earlier version that says more opens one of twelve hours."""
    too_long = timedelta(hours=12, seconds=1)
    with pytest.raises(InvalidInputError, match="lasts"):
        kit.portal_links.url(tenant=ACME, lasts=too_long, base_url="")
    with pytest.raises(InvalidInputError, match="lasts"):
        kit.portal_links.preferences_url(ADA, tenant=ACME, lasts=too_long, base_url="")
    links = kit.portal_links.tokens._links
    link = kit.portal_links.url(tenant=ACME, lasts=timedelta(hours=12), base_url="")
    older = links.read(link.rpartition("/")[2]).replace(b",43200,", b",86400,")
    await client.get(f"/portal/enter/{links.sign(older)}")

    seen = []
    for _ in range(25):
        clock.advance(timedelta(minutes=29))
        seen.append((await client.get("/portal")).status_code)

    assert [200] * 24 + [401] == seen


async def test_a_session_of_an_earlier_version_opens_nothing(kit, client):
    """It does not say when it was last used."""
    await enter(kit, client, ACME, Role.VIEWER)
    sessions = kit.portal_links.tokens._sessions
    *older, _ = json.loads(sessions.read(client.cookies["notifykit_portal"]))

    client.cookies.clear()
    client.cookies.set("notifykit_portal", sessions.sign(json.dumps(older).encode()))

    assert 401 == (await client.get("/portal")).status_code


async def test_a_session_ends_in_every_process(clock, tmp_path):
    """What one process signs out opens nothing in another, also one that has served it before or starts later."""
    ring, url = KeyRing.generate(), f"sqlite:///{tmp_path / 'pages.db'}"
    async with (
        new_kit(clock, url, keys=ring) as one,
        new_kit(clock, url, keys=ring) as other,
        client_of(create_app(one)) as here,
        client_of(create_app(other)) as there,
    ):
        await enter(one, here, ACME, Role.VIEWER)
        there.cookies.update(here.cookies)
        before = await there.get("/portal")
        await here.post("/portal/sign-out")
        after = await there.get("/portal")
    async with new_kit(clock, url, keys=ring) as later, client_of(create_app(later)) as client:
        client.cookies.update(there.cookies)
        restarted = await client.get("/portal")

    assert [200, 401, 401] == [each.status_code for each in (before, after, restarted)]


async def test_a_session_that_cannot_be_looked_up_opens_nothing(kit, client, monkeypatch):
    """Nor does the server say that one was signed out if that could not be stored."""
    await enter(kit, client, ACME, Role.VIEWER)

    async def fails(*_: object) -> None:
        raise StoreUnavailableError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(kit.store, "save", fails)
        unsaved = await client.post("/portal/sign-out")
    monkeypatch.setattr(kit.store, "get", fails)
    unread = await client.get("/portal")

    assert [503, 503] == [unsaved.status_code, unread.status_code]


async def test_what_is_kept_of_an_ended_session_is_deleted_after_it_would_have_expired(kit, client, clock):
    """By workers that clean, with twelve hours for clocks that differ; not before."""
    await enter(kit, client, ACME, Role.VIEWER)
    await client.post("/portal/sign-out")

    kept = []
    for wait in (timedelta(hours=12, minutes=59), timedelta(minutes=2)):
        clock.advance(wait)
        dispatcher = kit.dispatcher(settings=DispatchSettings(roles=frozenset({"clean"})))
        while await dispatcher.step():
            pass
        kept.append(len(await kit.store.page(EndedSession, "", limit=9)))

    assert [1, 0] == kept


async def test_forms_are_refused_that_no_page_of_the_session_had(kit, client):
    """Without the token, with that of another session, or sent by a page of another site, nothing is done."""
    other = await enter(kit, client, ACME, Role.TENANT_ADMIN)
    token = await enter(kit, client, ACME, Role.TENANT_ADMIN)
    before = await kit.endpoints.list(tenant=ACME)

    async def create(given: str, **headers: str) -> int:
        answer = await client.post("/portal/endpoints/new", data={"form_token": given, **NEW}, headers=headers)
        return answer.status_code

    changed = token[:-9] + ("A" if token[-9] != "A" else "B") + token[-8:]
    refused = [await create(given) for given in ("", "x", "k.é", other, changed)]
    refused += [
        await create(token, **{"Sec-Fetch-Site": "cross-site"}),
        await create(token, **{"Sec-Fetch-Site": "same-site"}),
        await create(token, Origin="https://evil.example"),
        await create(token, Origin="null"),
    ]
    json = await client.post("/portal/endpoints/new", json={"form_token": token, **NEW})

    assert [403] * 9 == refused
    assert 415 == json.status_code
    assert before == await kit.endpoints.list(tenant=ACME)
    assert 200 == await create(token, **{"Sec-Fetch-Site": "same-origin", "Origin": "http://api.test"})


async def test_pages_allow_no_inline_code(kit, client):
    """The policy names this server's files alone, and no page has a script or a style in it."""
    await enter(kit, client, ACME, Role.TENANT_ADMIN)

    page = await client.get("/portal")

    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert not re.findall(r"<script(?! src=)|<style|style=| on\w+=", page.text)
    assert "no-store" == page.headers["cache-control"]


async def test_the_portal_is_embedded_where_the_options_say(kit, world):
    """The sites may show the portal in a frame, with a cookie for that; operations are shown in none."""
    options = PageOptions(embedded_in=["https://app.example.com"], name="Shop <&>", accent="#ffcc00")
    kit.public_url = "https://notify.example.org"
    async with client_of(create_app(kit, pages=options)) as client:
        entered = await client.get(kit.portal_links.url(tenant=ACME, base_url=""))
        page, operations = await client.get("/portal/sign-in"), await client.get("/operations/sign-in")
        (path,) = re.findall(r'href="([^"]*theme[^"]*)"', page.text)
        theme = await client.get(path.replace("&#x2f;", "/"))

    assert "frame-ancestors https://app.example.com;" in page.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in operations.headers["content-security-policy"]
    assert entered.headers["set-cookie"].endswith("HttpOnly; Secure; SameSite=None; Partitioned")
    assert "Shop &lt;&amp;&gt;" in page.text
    assert ":root { --accent: #ffcc00; --on-accent: #000; }\n" == theme.text


@pytest.mark.parametrize(
    "wrong",
    [{"accent": "red; }"}, {"embedded_in": ["*"]}, {"embedded_in": "http://app.example"}, {"name": ""}, {"portal": 1}],
)
def test_options_that_cannot_work_are_refused(wrong):
    """A colour that is none, a frame of any site or without TLS, no name."""
    with pytest.raises(ConfigurationError, match="PageOptions"):
        PageOptions(**wrong)


async def test_pages_can_be_left_out(kit, world):
    """An application serves the pages that its options offer."""
    async with client_of(create_app(kit, pages=PageOptions(portal=False, operations=False))) as client:
        answers = [await client.get(f"/{area}/sign-in") for area in ("portal", "operations")]

    assert [404, 404] == [each.status_code for each in answers]


async def test_pages_work_under_a_prefix(kit, world):
    """Mounted in another application, links, forms, files and the cookie stay below the prefix."""
    async with client_of(Starlette(routes=[Mount("/notify", create_app(kit))]), follow_redirects=True) as client:
        page = await client.get(kit.portal_links.url(tenant=ACME, base_url="/notify"))
        html = page.text.replace("&#x2f;", "/").replace('href="#main"', "")
        files = re.findall(r'(?:src|href)="([^"]+)"', html)
        answers = [await client.get(each) for each in files]

    assert len(files) > 8
    assert all(each.startswith("/notify/") for each in files)
    assert {200} == {each.status_code for each in answers}


def test_files_are_named_by_what_they_say():
    """Another content has another name, so that a browser and a CDN may keep each for good."""
    one, other = Assets({"theme.css": b"a"}), Assets({"theme.css": b"b"})

    assert one.path("theme.css") != other.path("theme.css")
    assert one.path("pages.css") == other.path("pages.css")


async def test_files_are_kept_for_a_year(client):
    """Their names change with them."""
    answer = await client.get(Assets().path("pages.js"))

    assert "public, max-age=31536000, immutable" == answer.headers["cache-control"]
    assert "text/javascript; charset=utf-8" == answer.headers["content-type"]


async def test_an_interface_makes_links_as_well(kit, world, client):
    """A program asks for a link with its key; the session ends with the key and can do no more than it."""
    issued = await kit.api_keys.create(
        tenant=ACME, role=Role.TENANT_ADMIN, scopes=[AccessScope.KEYS_WRITE, AccessScope.DELIVERIES_READ]
    )
    headers = {"Authorization": f"Bearer {issued.secret}"}

    made = await client.post("/v1/portal-links", json={}, headers=headers)
    more = await client.post("/v1/portal-links", json={"scopes": ["endpoints:write"]}, headers=headers)
    nothing = await client.post("/v1/portal-links", json={"role": "viewer", "scopes": ["keys:write"]}, headers=headers)
    entered = await client.get(made.json()["url"])
    seen = [await client.get(path) for path in ("/portal", "/portal/endpoints")]
    await kit.api_keys.revoke(issued.key.id, tenant=ACME)
    after = await client.get("/portal")

    assert made.json()["url"].startswith("http://api.test/portal/enter/l1.")
    assert [201, 403, 422, 303] == [each.status_code for each in (made, more, nothing, entered)]
    assert [200, 403, 401] == [each.status_code for each in (*seen, after)]


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"url": "ftp://x"}, "url"),
        ({"url": "http://127.0.0.1/", "headers": "no colon"}, "headers"),
        ({"url": "http://127.0.0.1/", "timeout": "soon"}, "timeout"),
        ({"url": "http://127.0.0.1/", "timeout": "1e999"}, "timeout"),
        ({"url": "http://127.0.0.1/", "per_second": "-1"}, "per_second"),
    ],
)
async def test_a_form_is_shown_again_with_its_problems(kit, client, wrong, problem):
    """What was typed stays, and nothing is stored."""
    token = await enter(kit, client, ACME, Role.TENANT_ADMIN)

    answer = await client.post("/portal/endpoints/new", data={"form_token": token, "description": "kept", **wrong})

    assert 422 == answer.status_code
    assert problem in answer.text.partition('role="alert">')[2].partition("</div>")[0]
    assert 'value="kept"' in answer.text
    assert 1 == len(await kit.endpoints.list(tenant=ACME))


async def test_conditions_are_tried_on_an_example(kit, world, client):
    """The page says whether the event would be delivered, why not, or what is wrong; nothing is stored."""
    token = await enter(kit, client, ACME, Role.TENANT_ADMIN)
    path = f"/portal/endpoints/{world.ids['endpoint_id']}/subscribe"
    form = {
        "form_token": token,
        "do": "try",
        "event_types": "order.*",
        "filter": '{"total": [{"numeric": [">=", 100]}]}',
    }

    async def tried(**more: str) -> str:
        return (await client.post(path, data={**form, **more})).text

    assert "would be delivered" in await tried(try_type="order.shipped", try_data='{"total": 100}')
    assert "would not be delivered" in await tried(try_type="order.shipped", try_data='{"total": 99}')
    assert "filter: is not JSON" in await tried(try_type="order.shipped", filter="{")
    assert "must be a JSON object" in await tried(try_type="order.shipped", try_data="[]")
    assert 1 == len(await kit.subscriptions.list(tenant=ACME))


async def test_who_is_refused_is_reported(clock, caplog):
    """Without a session, with a wrong key or link, and for more than a session allows, and never with what was sent."""
    heard: list[Any] = []
    async with new_kit(clock, subscribers=[heard.append]) as kit:
        world = await made(kit)
        limits = RequestLimits(failures=RateLimit(per_second=0.001, burst=2))
        async with client_of(create_app(kit, limits=limits)) as client:
            answers = [await client.get(f"/{area}") for area in ("portal", "operations", "preferences")]
            token = await enter(kit, client, ACME, Role.VIEWER, subject="ada@acme.example")
            path = f"/portal/endpoints/{world.ids['endpoint_id']}/pause"
            answers.append(await client.post(path, data={"form_token": token}))
            await client.get("/portal")
            answers.append(await client.post("/operations/sign-in", data={"key": "nk_guess"}))
            answers.append(await client.get("/preferences/enter/l1.guess", headers={"X-Request-Id": "mine-1"}))
            answers.append(await client.post("/portal/sign-in", data={"key": "nk_guess"}))

    told = [each for each in heard if isinstance(each, AccessRefused)]
    assert [
        ("portal.home", None, 401),
        ("operations.overview", None, 401),
        ("preferences.preferences", None, 401),
        ("portal.pause_endpoint", "ada@acme.example", 403),
        ("operations.sign_in", None, 403),
        ("preferences.enter", None, 403),
        ("portal.sign_in", None, 429),
    ] == [(each.action, each.subject, each.status) for each in told]
    assert [each.status_code for each in answers] == [each.status for each in told]
    assert [each.headers["x-request-id"] for each in answers] == [each.request_id for each in told]
    assert "mine-1" == told[5].request_id
    assert "guess" not in caplog.text
