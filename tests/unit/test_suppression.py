"""Suppressed addresses: how one is found again, and what makes a valid one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from notifykit import InvalidInputError
from notifykit.cli.suppressions import REASONS
from notifykit.models.preferences import Purpose
from notifykit.models.suppression import (
    SuppressedAddress,
    SuppressionEntry,
    SuppressionReason,
    listed_channel,
    record_id,
    suppression_id,
)

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("channel", "spellings"),
    [
        ("email", ["ada@example.org", "Ada@Example.ORG", " ada@example.org "]),
        ("email", ["ada@bücher.example", "Ada@BÜCHER.example", "ada@xn--bcher-kva.example"]),
        ("email", ["jose\u0301@example.org", "jos\u00e9@example.org"]),
        ("email", ["a@\u200bexample", "A@\u200bexample"]),
        ("sms", ["+4915123456789", "+49 151 2345-6789", "+49 (151) 23456789"]),
        ("push", ["Token"]),
    ],
)
def test_every_spelling_of_an_address_is_the_same(channel: str, spellings: list[str]) -> None:
    """And an address is another one on another channel and for another tenant."""
    ids = {suppression_id("acme", channel, each) for each in spellings}
    others = {suppression_id("globex", channel, spellings[0]), suppression_id("acme", "chat", spellings[0])}

    assert 1 == len(ids)
    assert not ids & others
    assert record_id(ids.pop()) is None


def test_other_addresses_are_others() -> None:
    """Dots and plus signs are part of a name; the case of a token counts."""
    mails = ["ada@example.org", "a.da@example.org", "ada+x@example.org", "ada@example.com"]

    assert len(mails) == len({suppression_id("acme", "email", each) for each in mails})
    assert suppression_id("acme", "push", "Token") != suppression_id("acme", "push", "token")


def test_the_id_does_not_change() -> None:
    """Lists that are stored, and exports, are found by it."""
    expected = "email:e7506e5eae29162bba1a559c0a682f647104c6ed0a900bcf2e6c48a1d72a5c10"
    assert expected == suppression_id("acme", "email", "ada@example.org")


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"reason": "spam"}, "reason: must be one of complaint"),
        ({"purposes": ["all"]}, "purposes: \\[0\\] must be one of marketing"),
        ({"purposes": "marketing"}, "purposes: at most 3|purposes: \\[0\\]"),
        ({"evidence": 5}, "evidence: must be"),
        ({"since": NOW.replace(tzinfo=None)}, "since: has no zone"),
        ({"until": "tomorrow"}, "until: must be a datetime"),
    ],
)
def test_an_entry_is_valid_from_birth(fields: dict[str, Any], problem: str) -> None:
    """Reasons and purposes may be given by their names."""
    with pytest.raises(InvalidInputError, match=problem):
        SuppressionEntry(**{"reason": "manual", "since": NOW, **fields})

    entry = SuppressionEntry(reason="stop", purposes=["marketing"], since=NOW)
    assert (SuppressionReason.STOP, (Purpose.MARKETING,)) == (entry.reason, entry.purposes)


def test_an_entry_ends() -> None:
    """At the very instant; without one it does not."""
    ends = SuppressionEntry(reason="manual", since=NOW, until=NOW + timedelta(seconds=1))

    assert ends.is_active(NOW)
    assert not ends.is_active(NOW + timedelta(seconds=1))
    assert SuppressionEntry(reason="manual", since=NOW).is_active(NOW)


def test_a_record_reads_as_text() -> None:
    """With dates, purposes and evidence, or without."""
    full = SuppressionEntry(reason="complaint", purposes=["marketing"], since=NOW, until=NOW, evidence="letter")
    bare = SuppressionEntry(reason="stop", since=NOW)
    record = SuppressedAddress(id="sms:1", tenant="acme", entries=[full, bare])

    told = "complaint since 2026-03-02 until 2026-03-02 for marketing (letter); stop since 2026-03-02"
    assert (told, "sms") == (str(record), record.channel)
    assert "allowed again" == str(SuppressedAddress(id="sms:1", tenant="acme", entries=[]))


@pytest.mark.parametrize("value", ["", "email", "email:12", "email:" + "x" * 64, ":" + "0" * 64, "x" * 300, 5])
def test_what_is_no_id_of_a_record_is_refused(value: object) -> None:
    """An import names it, rather than saving what nothing finds."""
    assert record_id(value) is not None


def test_channels_without_addresses_have_no_list() -> None:
    """What to do instead is said."""
    assert listed_channel("email") is None
    assert "mute" in (listed_channel("in_app") or "")
    assert "must" in (listed_channel(5) or "")


def test_the_command_line_knows_every_reason() -> None:
    """Without the import that would slow down every command."""
    assert tuple(SuppressionReason) == REASONS
