"""Links for unsubscribing in messages: in the text of any, in the header of marketing e-mails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from notifykit import ConfigurationError, EventType, KeyRing, Notifykit, Purpose, TemplateError, UnsubscribeScope
from notifykit.channels.plain import PlainRenderer
from notifykit.models.delivery import Collected, DigestItem, EventDetails
from notifykit.models.destination import Destination
from notifykit.models.messages import EmailMessage
from notifykit.templates.unsubscribe import LIFETIME
from tests.unit.templates.rendering import NOW, claim

PAGE = "https://notify.example.org"
KEYS = KeyRing.generate()
NEWS = EventDetails(category="news", purpose="marketing")
NOTHING = EventDetails()
TYPES = [
    EventType(name="sale.begins", purpose="marketing"),
    EventType(name="login.new", purpose="security", category="account"),
    EventType(name="order.shipped", category="orders"),
]


@attrs.frozen
class Post:
    """A kit whose messages are looked at."""

    kit: Notifykit

    def message(self, type: str = "letter.sent", details: EventDetails = NEWS, **changes: Any) -> Any:
        """Return the message of an event for a person."""
        fields = {"subscription_id": "", **changes}
        its = claim(fields.pop("channel", "email"), {"a": 1}, type, details=details, **fields)
        there = Destination(subscriber_id="user:42", tenant="acme", channel=its.channel, address="ada@example.org")
        return self.kit.renderer(PlainRenderer()).render(its, there, now=NOW)

    def scope(self, url: str | None) -> UnsubscribeScope:
        """Return what a link stops."""
        assert url is not None
        page, _, token = url.rpartition("/")
        assert f"{PAGE}/unsubscribe" == page
        return self.kit.unsubscribe_links._tokens.read(token, now=NOW)


def post(page: str = PAGE, folder: Path | None = None) -> Post:
    return Post(
        Notifykit("sqlite:///never-made.db", public_url=page, templates=folder or "", event_types=TYPES, keys=KEYS)
    )


def files(folder: Path, **texts: str) -> Path:
    """Write templates of the type ``letter.sent``; ``_`` in a name stands for a full stop."""
    (folder / "letter.sent").mkdir()
    for name, text in texts.items():
        (folder / "letter.sent" / name.replace("_", ".")).write_text(text, encoding="utf-8")
    return folder


def test_marketing_has_the_link_of_its_category_in_the_header() -> None:
    """Whatever makes the message; it works for a year."""
    its = post()

    scope = its.scope(its.message().unsubscribe_url)

    assert ("acme", "user:42", "email", "news") == (scope.tenant, scope.recipient_id, scope.channel, scope.category)
    assert (Purpose.MARKETING, NOW + LIFETIME) == (scope.purpose, scope.expires_at)


@pytest.mark.parametrize(
    ("type", "details", "expected"),
    [
        ("sale.begins", NOTHING, (None, "sale.begins", Purpose.MARKETING)),
        (
            "sale.begins",
            EventDetails(category="general", purpose="marketing"),
            (None, "sale.begins", Purpose.MARKETING),
        ),
        ("login.new", NEWS, ("news", None, Purpose.MARKETING)),
        ("order.shipped", NOTHING, None),
        ("login.new", NOTHING, None),
        ("other.type", NOTHING, None),
        ("other.type", EventDetails(purpose="new kind"), None),
    ],
)
def test_a_type_says_what_its_publisher_did_not(type: str, details: EventDetails, expected: Any) -> None:
    """The default category has nothing in common, so that the type is stopped alone."""
    its = post()
    url = its.message(type, details).unsubscribe_url
    scope = its.scope(url) if url else None

    assert expected == (scope and (scope.category, scope.type, scope.purpose))


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        ([("order.shipped", NOTHING)], None),
        ([("order.shipped", NOTHING), ("letter.sent", NEWS)], ("news", None, Purpose.MARKETING)),
        ([("letter.sent", NEWS), ("letter.sent", NEWS)], ("news", None, Purpose.MARKETING)),
        ([("sale.begins", NOTHING), ("letter.sent", NEWS)], (None, None, Purpose.MARKETING)),
    ],
)
def test_a_digest_has_the_link_of_the_marketing_in_it(contents: list[tuple[str, EventDetails]], expected: Any) -> None:
    """Of one category if it has one, else of all marketing on the channel; whichever event opened it."""
    its = post()
    items = [
        DigestItem(f"dlv_{at}", f"evt_{at}", *each[:1], NOW, b'{"data":{}}', each[1])
        for at, each in enumerate(contents)
    ]
    collected = Collected(len(items), tuple(items))

    url = its.message("order.shipped", NOTHING, collected=collected, digest="daily").unsubscribe_url

    scope = its.scope(url) if url else None
    assert expected == (scope and (scope.category, scope.type, scope.purpose))


def test_marketing_without_a_link_is_not_sent() -> None:
    """The error says what to do; what is not for a recipient has nobody who could stop it."""
    its = post(page="")

    with pytest.raises(TemplateError, match=r"set public_url= or NOTIFYKIT_PUBLIC_URL, or write email\.unsub"):
        its.message()

    assert its.message(details=NOTHING).unsubscribe_url is None
    assert its.message(subscription_id="sub_1", subscriber_id="room:5").unsubscribe_url is None
    assert "Letter sent. A: 1" == its.message(channel="sms").text


def test_a_page_of_a_developer_has_no_header() -> None:
    """Which needs https; the link in the text works all the same."""
    assert post(page="http://localhost:8000").message().unsubscribe_url is None


def test_templates_show_the_link(tmp_path: Path) -> None:
    """Of any purpose but security, on any channel, for each person another."""
    shown = "{% if unsubscribe_url %}{{ unsubscribe_url }}{% else %}none{% endif %}"
    its = post(folder=files(tmp_path, email_txt=shown, sms_txt=shown, email_subject_txt="x"))

    news, order = its.message(), its.message(details=EventDetails(category="orders"))
    other = its.message(subscriber_id="user:43")
    sms = its.message(channel="sms")

    assert news.text == news.unsubscribe_url
    assert ("orders", None) == (its.scope(order.text).category, order.unsubscribe_url)
    assert its.scope(order.text).purpose is None
    assert "user:43" == its.scope(other.text).recipient_id
    assert "sms" == its.scope(sms.text).channel
    assert "none" == its.message(details=EventDetails(purpose="security")).text


def test_a_template_may_have_its_own_address(tmp_path: Path) -> None:
    """It is the one in the header and in the text, with or without a page."""
    folder = files(tmp_path, email_unsubscribe_txt="https://shop.example.org/bye", email_txt="{{ unsubscribe_url }}")

    for page in (PAGE, ""):
        message: EmailMessage = post(page, folder).message()
        assert "https://shop.example.org/bye" == message.unsubscribe_url == message.text


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://notify.example.org/", "https://notify.example.org"),
        ("https://example.org:8443/a/b", "https://example.org:8443/a/b"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://127.0.0.1/x", "http://127.0.0.1/x"),
        ("", None),
    ],
)
def test_the_address_of_the_pages(url: str, kept: str | None) -> None:
    """Without the last slash."""
    assert kept == Notifykit("memory://", public_url=url).public_url


@pytest.mark.parametrize(
    "url",
    [
        *("notify.example.org", "http://example.org", "http://localhost.example.org", "ftp://example.org", "https://"),
        *("https://a@example.org", "https://example.org/?a=b", "https://example.org/#a", "https://exämple.org"),
        *("https://example.org/<a>", "https://example.org/a b", "https://example.org/" + "a" * 300),
    ],
)
def test_what_cannot_be_an_address_of_pages_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an option and in the environment, by its name."""
    with pytest.raises(ConfigurationError, match="public_url: "):
        Notifykit("memory://", public_url=url)
    monkeypatch.setenv("NOTIFYKIT_PUBLIC_URL", url)
    with pytest.raises(ConfigurationError, match="NOTIFYKIT_PUBLIC_URL: "):
        Notifykit("memory://")


def test_the_environment_has_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the program gives one; a twin has the same, and the same keys."""
    monkeypatch.setenv("NOTIFYKIT_PUBLIC_URL", PAGE)
    kit = Notifykit("memory://")
    url = kit.unsubscribe_links.url("user:42", tenant="acme")

    assert (PAGE, PAGE) == (kit.public_url, kit.twin().public_url)
    assert Notifykit("memory://", public_url="").public_url is None
    assert kit.twin().unsubscribe_links.read(url.rpartition("/")[2]).is_whole
