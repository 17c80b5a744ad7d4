"""Unsubscribing from end to end: a mail arrives, its header is posted, the next one is refused, and it is undone."""

from __future__ import annotations

from html import unescape
from pathlib import Path

import attrs
import httpx

from notifykit import Notifykit, event
from notifykit.contrib.unsubscribe import UnsubscribeApp
from notifykit.testing import FakeSmtpServer

ACME, ADA = "acme", "user:42"
SITE = "https://notify.example.org"


@event("newsletter.sent", category="news", purpose="marketing")
@attrs.frozen
class NewsletterSent:
    headline: str


def write_templates(folder: Path) -> Path:
    """Write a newsletter with a link at its end."""
    files = {
        "email.subject.txt": "{{ data.headline }}",
        "email.html": '<p>{{ data.headline }}</p><a href="{{ unsubscribe_url }}">unsubscribe</a>',
    }
    (folder / "newsletter.sent").mkdir(parents=True)
    for name, text in files.items():
        (folder / "newsletter.sent" / name).write_text(text, encoding="utf-8")
    return folder


async def test_one_click_stops_the_newsletter_until_it_is_undone(tmp_path: Path) -> None:
    """Through a real mail server and a database; a second kit with the same store serves the page."""
    store = f"sqlite:///{tmp_path / 'shop.db'}"
    with FakeSmtpServer() as server:
        templates = write_templates(tmp_path / "templates")
        async with Notifykit(
            store, create=True, event_types=[NewsletterSent], email=server.url, public_url=SITE, templates=templates
        ) as kit:
            await kit.recipients.save(ADA, tenant=ACME, email="ada@example.org")
            await kit.preferences(ADA, tenant=ACME).consent(by=ADA, how="form 7")

            async def told(headline: str) -> list[tuple[str, str | None]]:
                receipt = await kit.apublish(NewsletterSent(headline), tenant=ACME, to=ADA, channels="email")
                async with kit.dispatcher() as dispatcher:
                    await dispatcher.drained()
                found = await kit.deliveries.list(tenant=ACME, limit=99)
                return [(each.state.value, each.reason) for each in found if each.event_id == receipt.event_id]

            first = await told("Spring")
            (mail,) = server.expect(1)
            link = str(mail.message["List-Unsubscribe"]).strip("<>")
            one_click = str(mail.message["List-Unsubscribe-Post"])
            async with Notifykit(store, public_url=SITE) as site:
                page = httpx.ASGITransport(UnsubscribeApp(site))
                async with httpx.AsyncClient(transport=page, base_url=SITE) as browser:
                    scanned = await browser.get(link)
                    scanned_then = await told("Summer")
                    name, _, value = one_click.partition("=")
                    clicked = await browser.post(link, data={name: value})
                    refused = await told("Autumn")
                    explained = await kit.explain(ADA, NewsletterSent, tenant=ACME)
                    await browser.post(link, data={"action": "undo"})
                    again = await told("Winter")
            server.expect(3)
            mails = [str(each.message["Subject"]) for each in server.mails]

    assert [("delivered", None)] == first == scanned_then == again
    assert [("suppressed", "muted")] == refused
    assert ["Spring", "Summer", "Winter"] == mails
    assert link.startswith(f"{SITE}/unsubscribe/u1.")
    assert link in unescape(mail.html)
    assert link in mail.text
    assert "List-Unsubscribe=One-Click" == one_click
    assert [200, 200] == [scanned.status_code, clicked.status_code]
    assert ["muted"] == [step.code for step in explained.steps if step.channel == "email"]
