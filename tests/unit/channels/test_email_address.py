"""Addresses have one canonical form, and what is none is refused with a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifykit import InvalidInputError
from notifykit.channels.email import Mailbox, canonical_address, parse_mailbox


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        ("ada@example.org", "ada@example.org"),
        (" Ada.Lovelace+x@EXAMPLE.org ", "Ada.Lovelace+x@example.org"),
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("ada@BÜCHER.example", "ada@xn--bcher-kva.example"),
        ("ada@XN--BCHER-KVA.example", "ada@xn--bcher-kva.example"),
        ("ada@faß.example", "ada@xn--fa-hia.example"),  # IDNA 2008: not fass
        ("u\u0308nal@example.org", "ünal@example.org"),
        ("用户@例子.广告", "用户@xn--fsqu00a.xn--4rr70v"),
        ("shop@localhost", "shop@localhost"),
        ("o'neil=x/y@a-b.example", "o'neil=x/y@a-b.example"),
    ],
)
def test_the_canonical_form(given: str, canonical: str) -> None:
    """The domain is ASCII in lower case, the part before the @ is as it is, and the form is stable."""
    assert canonical == canonical_address(given)
    assert canonical == canonical_address(canonical)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("", "must be like"),
        ("ada", "must be like"),
        ("@example.org", "must be like"),
        ("ada@", "domain"),
        ("ada@example..org", "domain"),
        ("ada@-example.org", "domain"),
        ("ada@10.0.0.1", "domain"),
        ("ada@[10.0.0.1]", "domain"),
        ("ada@exa mple.org", "domain"),
        ("ada@exa\x00mple.org", "domain"),
        ("ada@a\u200db.example", "domain"),
        ("ada@" + "a" * 64 + ".org", "domain"),
        ("ada lovelace@example.org", "characters before"),
        ("ada\r\nRCPT TO:<eve@example.org>@example.org", "characters before"),
        ("ada@eve@example.org", "characters before"),
        (".ada@example.org", "characters before"),
        ("a..b@example.org", "characters before"),
        ("a\u202eb@example.org", "characters before"),
        ("a\ud800@example.org", "characters before"),
        ("Ada <ada@example.org>", "characters before|domain"),
        ('"ada lovelace"@example.org', "quoted"),
        ("a" * 65 + "@example.org", "64 bytes"),
        ("ä" * 33 + "@example.org", "64 bytes"),
        ("a@" + "a.bcdefgh." * 25 + "org", "254 bytes"),
    ],
)
def test_what_is_no_address(given: str, why: str) -> None:
    """The reason says what to look at, and never shows the value."""
    with pytest.raises(InvalidInputError, match=why) as refused:
        canonical_address(given)
    assert "ada" not in str(refused.value)


@given(st.text(max_size=80))
def test_any_text_is_an_address_or_is_refused(text: str) -> None:
    """Whatever comes in, what comes out fits into an SMTP command."""
    try:
        found = canonical_address(text)
    except InvalidInputError:
        return
    assert not set(found) & set('\r\n\0 <>"')
    assert 1 == found.count("@")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("shop@example.org", Mailbox("shop@example.org")),
        ("Example Shop <shop@EXAMPLE.org>", Mailbox("shop@example.org", "Example Shop")),
        (' "Müller, \\"Söhne\\"" <shop@example.org> ', Mailbox("shop@example.org", 'Müller, "Söhne"')),
        ("<shop@example.org>", Mailbox("shop@example.org")),
        ('"" <shop@example.org>', Mailbox("shop@example.org")),
    ],
)
def test_mailboxes(text: str, expected: Mailbox) -> None:
    """With a name or without."""
    assert expected == parse_mailbox(text)
    assert "example.org" == parse_mailbox(text).domain


@pytest.mark.parametrize("text", ["Shop <shop>", "Sh\r\nBcc: x <a@b.c>", "a <b@c.d>, e <f@g.h>", '"x <a@b.c>', ""])
def test_what_is_no_mailbox(text: str) -> None:
    """One address, and no line breaks in the name."""
    with pytest.raises(InvalidInputError):
        parse_mailbox(text)
