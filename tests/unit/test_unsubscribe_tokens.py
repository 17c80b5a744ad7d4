"""The tokens of links for unsubscribing: only what was signed, for whom it was signed, and as long as it is valid."""

from __future__ import annotations

import base64
import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from notifykit import InvalidInputError, InvalidLinkError, KeyRing, UnsubscribeScope
from notifykit.models.preferences import Purpose
from notifykit.vault import UnsubscribeTokens

OLD, NEW = bytes(range(32)), bytes(range(100, 132))
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
TOKENS = UnsubscribeTokens(lambda: KeyRing({"k1": OLD}))


def scope(**fields: Any) -> UnsubscribeScope:
    return UnsubscribeScope(
        **{"tenant": "acme", "recipient_id": "user:42", "expires_at": NOW + timedelta(hours=1), **fields}
    )


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"purpose": Purpose.MARKETING, "channel": "email", "category": "news"},
        {"type": "order.shipped", "channel": "sms"},
        {"topic": "project/7/**"},
        {"recipient_id": 'Ω"user\\.🐘', "tenant": "a" * 64, "category": "n" * 128},
    ],
)
def test_a_token_says_what_was_signed(fields: dict[str, Any]) -> None:
    """It fits into a path without escapes, and a header field can have it."""
    signed = TOKENS.sign(scope(**fields))

    assert scope(**fields) == TOKENS.read(signed, now=NOW)
    assert signed.isascii()
    assert set(signed) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
    assert len(signed) < 600


def test_the_form_of_a_token_does_not_change() -> None:
    """Those that are in people's mail are valid for a year."""
    fixed = scope(category="news", channel="email", purpose=Purpose.MARKETING)
    expected = "u1.k1.WyJhY21lIiwidXNlcjo0MiIsMTc3MjQ1NjQwMCwibWFya2V0aW5nIiwiZW1haWwiLCJuZXdzIl0."

    assert TOKENS.sign(fixed).startswith(expected)
    assert fixed == TOKENS.read(expected + "V7QVh_FSkClaBkTBzCz5Bg", now=NOW)


def test_a_token_expires() -> None:
    """At the very second."""
    signed = TOKENS.sign(scope())

    TOKENS.read(signed, now=NOW + timedelta(seconds=3599))
    with pytest.raises(InvalidLinkError) as refused:
        TOKENS.read(signed, now=NOW + timedelta(hours=1))
    assert "expired" == refused.value.reason


def test_keys_are_rotated() -> None:
    """Tokens of an old key are valid while the ring has it; new ones are signed with the new key."""
    rotated = UnsubscribeTokens(lambda: KeyRing({"k2": NEW, "k1": OLD}))
    retired = UnsubscribeTokens(lambda: KeyRing({"k2": NEW}))
    old, new = TOKENS.sign(scope()), rotated.sign(scope())

    assert scope() == rotated.read(old, now=NOW) == rotated.read(new, now=NOW) == retired.read(new, now=NOW)
    assert new.startswith("u1.k2.")
    with pytest.raises(InvalidLinkError) as refused:
        retired.read(old, now=NOW)
    assert "unknown_key" == refused.value.reason
    with pytest.raises(InvalidLinkError):
        retired.read(old.replace(".k1.", ".k2."), now=NOW)


def _content(fields: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("", "malformed"),
        ("u1", "malformed"),
        ("u2.k1.e30.e30", "malformed"),
        ("u1.k1.e30", "malformed"),
        ("u1.k1.e30.e30.e30", "malformed"),
        ("u1.k1.é.e30", "malformed"),
        ("u1.k1." + "A" * 5000 + ".e30", "malformed"),
        ("u1.k9.e30.e30", "unknown_key"),
        ("u1..e30.e30", "unknown_key"),
        ("u1.k1.e30.e30", "tampered"),
        ("u1.k1.!.e30", "tampered"),
        ("u1.k1.e30.", "tampered"),
        ("u1.k1.." + "A" * 22, "tampered"),
    ],
)
def test_what_was_not_signed_is_refused(token: str, reason: str) -> None:
    """Whatever it looks like."""
    with pytest.raises(InvalidLinkError) as refused:
        TOKENS.read(token, now=NOW)
    assert reason == refused.value.reason


def test_another_tenant_or_person_needs_another_signature() -> None:
    """The signature covers everything, and stands for nothing else that the keys do."""
    signed = TOKENS.sign(scope())
    head, _, signature = signed.rpartition(".")
    expires = int((NOW + timedelta(hours=1)).timestamp())
    forged = [
        f"u1.k1.{_content([tenant, person, at])}.{signature}"
        for tenant, person, at in (
            ("globex", "user:42", expires),
            ("acme", "user:43", expires),
            ("acme", "user:42", 2**40),
        )
    ]
    ring = KeyRing({"k1": OLD})
    other_use = base64.urlsafe_b64encode(ring.mac(head.encode(), purpose="receipts")[:16]).decode().rstrip("=")

    for token in (*forged, f"{head}.{other_use}"):
        with pytest.raises(InvalidLinkError):
            TOKENS.read(token, now=NOW)


@pytest.mark.parametrize("count", [500, pytest.param(20_000, marks=[pytest.mark.thorough, pytest.mark.no_cover])])
def test_no_change_of_a_token_is_accepted(count: int) -> None:
    """Of any character, or any that is left out or added; and the only error is the one that is documented."""
    rng = random.Random(8058)
    signed = TOKENS.sign(scope(category="news", channel="email", purpose=Purpose.MARKETING))
    for _ in range(count):
        at, letter = rng.randrange(len(signed)), rng.choice("AZaz09-_.=+/ \0é")
        changed = rng.choice(
            [
                signed[:at] + letter + signed[at + 1 :],
                signed[:at] + signed[at + 1 :],
                signed[:at] + letter + signed[at:],
            ]
        )
        if changed != signed:
            with pytest.raises(InvalidLinkError):
                TOKENS.read(changed, now=NOW)


def test_what_another_version_signed_is_refused() -> None:
    """With the same error, if a name in it is none here."""
    ring = KeyRing({"k1": OLD})
    for fields in (["", "user:42", 2**31], ["acme", "user:42", 2**31, "other"], ["acme", "user:42", 2**60], [None] * 9):
        head = f"u1.k1.{_content(fields)}"
        mac = base64.urlsafe_b64encode(ring.mac(head.encode(), purpose="unsubscribe")[:16]).decode().rstrip("=")
        with pytest.raises(InvalidLinkError):
            TOKENS.read(f"{head}.{mac}", now=NOW)


def test_a_scope_is_valid_from_birth() -> None:
    """What it stops as a whole is all marketing."""
    with pytest.raises(InvalidInputError, match="category:"):
        scope(category="")

    narrow = scope(category="news", channel="email")
    assert (True, False) == (scope(channel="email").is_whole, narrow.is_whole)
    assert scope(purpose=Purpose.MARKETING) == narrow.whole()
