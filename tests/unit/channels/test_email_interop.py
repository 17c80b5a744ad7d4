"""Our e-mails are read by a parser that is not the standard library's: one in Rust."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from .test_email_mime import texts, written

pytestmark = pytest.mark.interop
parser = pytest.importorskip("fast_mail_parser", reason="the package is in the dependency group 'test'")


def parsed(**changes: Any) -> Any:
    """Write a message, and read it there."""
    return parser.parse_email(written(**changes).data)


def one(parts: list[str]) -> str:
    (part,) = parts
    return part.replace("\r\n", "\n")


@given(texts)
@example("=?utf-8?b?aGk=?=")
@example("word" + " word" * 60)
@example("👩‍👩‍👧‍👦" * 20)
def test_every_subject_comes_back(subject: str) -> None:
    """Short or long, ASCII or not."""
    assert subject == parsed(subject=subject).subject


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=300))
@example("x" * 5000)
@example("ä" * 5000)
@example("From me\n.\n..\n.x\n=3D")
def test_both_forms_of_a_body_come_back(text: str) -> None:
    """As plain text and as HTML, in this order."""
    found = parsed(text=text, html=f"<p>{text}</p>")

    assert text.removesuffix("\n") == one(found.text_plain).removesuffix("\n")
    assert f"<p>{text}</p>" == one(found.text_html).removesuffix("\n")


def test_the_headers_come_back() -> None:
    """Those that mail programs act on."""
    url = "https://shop.example/u/1"
    headers = parsed(reply_to=("help@example.org",), unsubscribe_url=url, headers={"X-Tag": "grün"}).headers

    assert ["Example Shop <shop@example.org>"] == headers["From"]
    assert ["help@example.org"] == headers["Reply-To"]
    assert ["grün"] == headers["X-Tag"]
    assert ([f"<{url}>"], ["List-Unsubscribe=One-Click"]) == tuple(
        headers[name] for name in ("List-Unsubscribe", "List-Unsubscribe-Post")
    )
