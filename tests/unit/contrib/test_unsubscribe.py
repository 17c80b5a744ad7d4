"""The page for unsubscribing: GET asks, POST acts, and a link that does not work tells nothing."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import AsyncIterator
from datetime import timedelta
from hashlib import sha256
from typing import Any

import attrs
import httpx
import pytest

from notifykit import EventType, InvalidInputError, KeyRing, Mute, MuteSelector, Notifykit, Purpose, Recipient, Step
from notifykit.admin.unsubscribe_links import ONE_CLICK, PAGE
from notifykit.contrib.unsubscribe import Look, UnsubscribeApp
from notifykit.contrib.unsubscribe.words import WORDS, language_of
from notifykit.errors import StoreUnavailableError
from notifykit.testing import FakeClock

ACME, ADA = "acme", "user:42"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
ONE_CLICK_BODY = "List-Unsubscribe=One-Click"
_NEWS = {"category": "news", "channel": "email", "purpose": "marketing"}
NEWS = MuteSelector(category="news", channel="email", purpose=Purpose.MARKETING)


@attrs.frozen
class Site:
    """A kit with one recipient, who agrees to marketing, and the page as a browser sees it."""

    kit: Notifykit
    clock: FakeClock
    browser: httpx.AsyncClient

    def link(self, **named: Any) -> str:
        """Return the path of a link, by default to the news by e-mail."""
        url = self.kit.unsubscribe_links.url(ADA, **{"tenant": ACME, **(named or _NEWS)})
        return url.removeprefix("https://notify.example.org")

    async def ada(self) -> Recipient:
        return await self.kit.recipients.get(ADA, tenant=ACME)

    async def press(self, link: str, action: str) -> httpx.Response:
        """Press a button of the page."""
        return await self.browser.post(link, data={"action": action})


def app(kit: Notifykit, **options: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(UnsubscribeApp(kit, **options))
    return httpx.AsyncClient(transport=transport, base_url="https://notify.example.org")


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    clock = FakeClock()
    async with Notifykit("memory://", clock=clock, public_url="https://notify.example.org") as kit:
        await kit.recipients.save(ADA, tenant=ACME, email="ada@example.org", name="Ada")
        await kit.preferences(ADA, tenant=ACME).consent(how="form 7")
        async with app(kit, look=lambda tenant: Look(name=f"<{tenant}> & Co", color="#0a5")) as browser:
            yield Site(kit, clock, browser)


async def test_to_open_a_link_changes_nothing(site: Site) -> None:
    """Mail scanners do, also with HEAD; the page asks, in the tenant's look."""
    link, before = site.link(), await site.ada()

    page, head = await site.browser.get(link), await site.browser.head(link)

    assert [200, 200] == [page.status_code, head.status_code]
    assert ("", page.headers) == (head.text, head.headers)
    assert "<p>Stop marketing e-mails about “news”?</p>" in page.text
    assert "<small>&lt;acme&gt; &amp; Co</small>" in page.text
    assert "background:#0a5" in page.text
    assert re.findall('value="(.*?)"', page.text) == ["stop", "stop_all"]
    assert before == await site.ada()


async def test_the_page_loads_and_tells_nothing(site: Site) -> None:
    """No script, no frame, no other site; it is not kept, and says nothing of the person."""
    page = await site.browser.get(site.link())

    (style,) = re.findall("<style>(.*?)</style>", page.text, re.DOTALL)
    policy = page.headers["content-security-policy"]
    assert f"style-src 'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'" in policy
    assert all(rule in policy for rule in ("default-src 'none'", "form-action 'self'", "frame-ancestors 'none'"))
    assert ("no-store", "no-referrer", "nosniff") == tuple(
        page.headers[name] for name in ("cache-control", "referrer-policy", "x-content-type-options")
    )
    assert "prefers-color-scheme:dark" in style
    assert 'name="viewport"' in page.text
    assert not [each for each in ("ada@example.org", ADA, "Ada", "<script", "http") if each in page.text]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (ONE_CLICK_BODY, FORM),
        ("List-Unsubscribe=One-Click&x=1", FORM),
        (
            '--x\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--x--\r\n',
            {"Content-Type": "multipart/form-data; boundary=x"},
        ),
    ],
)
async def test_one_click_acts_without_a_session(site: Site, body: str, headers: dict[str, str]) -> None:
    """As RFC 8058 has it; repeating it changes nothing, and the record says who, when and how."""
    link = site.link()

    answers = [await site.browser.post(link, content=body, headers=headers) for _ in range(2)]
    first = await site.ada()

    assert [200, 200] == [each.status_code for each in answers]
    assert not [each for each in answers if "set-cookie" in each.headers or "location" in each.headers]
    assert (Mute(select=NEWS, at=site.clock.now(), by=ADA, how=ONE_CLICK),) == first.mutes
    assert (3, frozenset({Purpose.MARKETING})) == (first.version, first.consented)


async def test_a_person_stops_and_takes_it_back(site: Site) -> None:
    """On the page; the undo works again and again."""
    link = site.link()

    stopped = await site.press(link, "stop")
    muted = await site.ada()
    undone = [await site.press(link, "undo") for _ in range(2)]
    again = await site.ada()

    assert "You will get no more marketing e-mails about “news”." in stopped.text
    assert 'value="undo"' in stopped.text
    assert [(NEWS, ADA, PAGE)] == [(mute.select, mute.by, mute.how) for mute in muted.mutes]
    assert ["Undone" in each.text for each in undone] == [True, True]
    assert () == again.mutes


async def test_all_marketing_is_stopped_by_withdrawing_the_consent(site: Site) -> None:
    """Every step is kept; a link without any name stands for all."""
    link = site.link()

    stopped = await site.press(link, "stop_all")
    without = await site.ada()
    await site.press(link, "undo_all")
    again = await site.ada()
    whole = site.link(purpose="marketing")
    asked = await site.browser.get(whole)
    await site.browser.post(whole, content=ONE_CLICK_BODY, headers=FORM)
    await site.browser.post(whole, content=ONE_CLICK_BODY, headers=FORM)
    last = await site.ada()

    assert "You will get no more marketing." in stopped.text
    assert (frozenset(), ()) == (without.consented, without.mutes)
    assert {Purpose.MARKETING} == again.consented
    assert ["stop"] == re.findall('value="(.*?)"', asked.text)
    assert [
        (True, "form 7"),
        (False, PAGE),
        (True, "undone on the page of the unsubscribe link"),
        (False, ONE_CLICK),
    ] == [(consent.granted, consent.how) for consent in last.consents]
    assert [ADA] * 3 == [consent.by for consent in last.consents[1:]]


async def test_undo_takes_back_only_what_the_link_did(site: Site) -> None:
    """Not what the person or an operator has set otherwise."""
    link = site.link()
    preferences = site.kit.preferences(ADA, tenant=ACME)
    await preferences.mute(category="news", channel="email", purpose="marketing")
    await preferences.consent(granted=False, by="operator", how="letter")

    await site.press(link, "stop")
    await site.press(link, "undo")
    await site.press(link, "undo_all")
    kept = await site.ada()

    assert ([NEWS], frozenset()) == ([mute.select for mute in kept.mutes], kept.consented)
    assert 2 == len(kept.consents)


@pytest.mark.parametrize(
    ("named", "purpose", "told"),
    [
        ({"category": "comments", "channel": "email"}, None, "e-mails about “comments”"),
        ({"type": "sale.begins"}, None, "messages about “Sale begins”"),
        ({"topic": "project/7/**"}, None, "messages on the topic “project/7/**”"),
        ({"category": "news", "topic": "a"}, None, "messages about “news” on the topic “a”"),
        ({"category": "news", "purpose": "marketing"}, Purpose.MARKETING, "marketing messages about “news”"),
        ({"category": "news", "purpose": "transactional"}, Purpose.TRANSACTIONAL, "service messages about “news”"),
        ({"channel": "email"}, Purpose.MARKETING, "marketing e-mails"),
        ({"channel": "email", "purpose": None}, None, "e-mails"),
        ({"purpose": None}, None, "messages"),
    ],
)
async def test_a_link_stops_what_it_names(
    site: Site, named: dict[str, Any], purpose: Purpose | None, told: str
) -> None:
    """A category, a type or a topic for every purpose, a channel for marketing; and the page says just that."""
    page = await site.press(site.link(**named), "stop")

    (mute,) = (await site.ada()).mutes
    assert MuteSelector(**{**named, "purpose": purpose}) == mute.select
    assert f"You will get no more {told}." in page.text


async def test_notifications_of_a_category_stop_with_its_link(site: Site) -> None:
    """Also those that are no marketing."""
    site.kit.catalog.include([EventType(name="comment.created", category="comments", steps=(Step("email"),))])
    await site.kit.sync_event_types()

    await site.press(site.link(category="comments", channel="email"), "stop")

    told = await site.kit.explain(ADA, "comment.created", tenant=ACME)
    assert ["muted"] == [step.code for step in told.steps]


def test_no_link_stops_what_nobody_can_stop() -> None:
    """Notifications of purpose security are sent whatever a person has set."""
    kit = Notifykit("memory://", public_url="https://notify.example.org")
    with pytest.raises(InvalidInputError, match="purpose"):
        kit.unsubscribe_links.url(ADA, tenant=ACME, category="account", purpose="security")


async def test_links_that_do_not_work_all_look_the_same(site: Site) -> None:
    """Changed, expired, of another tenant, signed elsewhere: nothing is done, and nothing of them is shown."""
    link = site.link()
    other = Notifykit("memory://", keys=KeyRing.generate(), public_url="https://notify.example.org")
    foreign = other.unsubscribe_links.url(ADA, tenant=ACME).rpartition("/")[2]
    old = site.link(category="news", expires_in=timedelta(minutes=1))
    site.clock.advance(timedelta(minutes=1))
    tried = [
        link[:-1] + ("A" if link[-1] != "A" else "B"),
        f"/unsubscribe/{foreign}",
        old,
        "/unsubscribe/",
        "/",
        "/a/<b>",
    ]

    answers = [await site.browser.get(path) for path in tried]
    answers += [await site.press(path, "stop") for path in tried]
    async with app(site.kit, tenant="globex") as theirs:
        answers += [await theirs.get(link), await theirs.post(link, data={"action": "stop"})]
    async with app(site.kit, tenant=ACME) as own:
        works = await own.get(link)

    assert {404} == {each.status_code for each in answers}
    assert 1 == len({each.text for each in answers})
    assert "This link does not work." in answers[0].text
    assert not [each for each in ("acme", "news", "<form", ADA) if each in answers[0].text]
    assert (200, ()) == (works.status_code, (await site.ada()).mutes)


async def test_someone_who_is_gone_is_told_the_same(site: Site) -> None:
    """A link does not say who is known."""
    link = site.link()
    await site.kit.recipients.erase(ADA, tenant=ACME)

    stopped, undone = await site.press(link, "stop"), await site.press(link, "undo")

    assert [200, 200] == [stopped.status_code, undone.status_code]
    assert "You will get no more" in stopped.text
    assert [] == await site.kit.recipients.list(tenant=ACME)


@pytest.mark.parametrize(
    ("method", "body", "status"),
    [
        ("PUT", "", 405),
        ("DELETE", "", 405),
        ("POST", "", 400),
        ("POST", "action=delete", 400),
        ("POST", "List-Unsubscribe=Maybe", 400),
        ("POST", "&".join("a=1" for _ in range(99)), 400),
        ("POST", "\xff\x00", 400),
        ("POST", "x" * 20_000, 413),
    ],
)
async def test_requests_that_ask_for_nothing_change_nothing(site: Site, method: str, body: str, status: int) -> None:
    """Whatever they send."""
    before = await site.ada()

    answer = await site.browser.request(method, site.link(), content=body.encode("latin-1"), headers=FORM)

    assert status == answer.status_code
    assert before == await site.ada()
    assert (status == 405) == ("allow" in answer.headers)


async def test_a_store_that_is_away_is_tried_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mail program's request fails, so that it repeats it; the person is told so."""

    async def away(*_: Any, **__: Any) -> None:
        raise StoreUnavailableError("away")

    monkeypatch.setattr(site.kit.store, "get", away)
    answer = await site.browser.post(site.link(), content=ONE_CLICK_BODY, headers=FORM)

    assert 503 == answer.status_code
    assert "nothing was changed" in answer.text


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("nl, fr;q=0.5, en;q=0.7", "en"),
        ("ES", "es"),
        ("", "en"),
        ("*, ja", "en"),
        ("de;q=x, fr;q=0.1", "de"),
        ("de;q=0", "en"),
        ("de;q=1.1.1, fr;q=0.1", "fr"),
    ],
)
async def test_the_page_speaks_the_languages_of_the_browser(site: Site, accepted: str, expected: str) -> None:
    """As far as it knows them."""
    page = await site.browser.get(site.link(), headers={"Accept-Language": accepted})

    assert expected == language_of(accepted)
    assert f'<html lang="{expected}">' in page.text


def test_every_language_says_everything() -> None:
    """With the same places to fill in."""
    for words in WORDS.values():
        assert WORDS["en"].keys() == words.keys()
        for name, text in words.items():
            assert re.findall("{.*?}", WORDS["en"][name]) == re.findall("{.*?}", text)


@pytest.mark.parametrize(
    "look", [{"color": "red"}, {"color": "#12"}, {"color": "#1d4ed8;}"}, {"name": "a\nb"}, {"name": "x" * 101}]
)
def test_a_look_cannot_break_the_page(look: dict[str, str]) -> None:
    """Tenants choose it."""
    with pytest.raises(InvalidInputError):
        Look(**look)


async def test_a_server_can_run_the_page_alone() -> None:
    """It opens and closes the kit; there are no sockets."""
    kit = Notifykit("memory://", public_url="https://notify.example.org")
    page = UnsubscribeApp(kit)
    sent: list[Any] = []
    coming = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> Any:
        return next(coming)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await page({"type": "lifespan"}, receive, send)
    with pytest.raises(NotImplementedError):
        await page({"type": "websocket"}, receive, send)

    assert ["lifespan.startup.complete", "lifespan.shutdown.complete"] == sent
