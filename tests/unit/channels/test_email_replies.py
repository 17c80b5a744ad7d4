"""What a mail server's replies mean: the table."""

from __future__ import annotations

import pytest

from notifykit.channels.email.replies import Reply, Stage, outcome_of
from notifykit.models.outcome import (
    Accepted,
    Answer,
    BadRecipient,
    CircuitEffect,
    Permanent,
    Throttled,
    Transient,
    Uncertain,
)

COUNT, OPEN, NONE = CircuitEffect.COUNT, CircuitEffect.OPEN, CircuitEffect.NONE


@pytest.mark.parametrize(
    ("stage", "code", "text", "kind", "reason", "circuit"),
    [
        # later
        ("connect", 421, "4.7.0 too many connections", Throttled, "smtp_421", COUNT),
        ("mail", 421, "4.3.2 shutting down", Throttled, "smtp_421", COUNT),
        ("rcpt", 421, "4.7.0 try again later", Throttled, "smtp_421", COUNT),
        ("mail", 451, "4.3.0 local error", Throttled, "smtp_451", COUNT),
        ("mail", 452, "4.3.1 insufficient storage", Transient, "smtp_452", COUNT),
        ("login", 454, "4.7.0 temporary failure", Throttled, "smtp_454", COUNT),
        ("rcpt", 450, "4.2.0 greylisted", Throttled, "smtp_450", NONE),
        ("rcpt", 451, "4.7.1 greylisted", Throttled, "smtp_451", NONE),
        ("rcpt", 452, "4.2.2 mailbox full", Transient, "mailbox_full", NONE),
        ("rcpt", 452, "too many recipients or mailbox full", Transient, "mailbox_full", NONE),
        ("rcpt", 432, "x", Transient, "smtp_432", NONE),
        ("end", 452, "4.2.2 over quota", Transient, "mailbox_full", NONE),
        ("end", 451, "4.7.1 rate limited", Throttled, "smtp_451", COUNT),
        ("end", 442, "4.4.2 timeout", Transient, "smtp_442", COUNT),
        # an operator has to do something
        ("login", 535, "5.7.8 bad credentials", Transient, "auth_failed", OPEN),
        ("login", 504, "no such mechanism", Transient, "auth_failed", OPEN),
        ("mail", 530, "5.7.0 authentication required", Transient, "auth_failed", OPEN),
        ("rcpt", 550, "5.7.8 log in first", Transient, "auth_failed", OPEN),
        ("rcpt", 554, "5.7.1 <x@y.z>: Relay access denied", Transient, "relay_denied", OPEN),
        ("rcpt", 550, "relaying denied", Transient, "relay_denied", OPEN),
        ("mail", 553, "5.7.1 sender address rejected: not owned by user", Transient, "sender_refused", OPEN),
        # about the server
        ("connect", 554, "no SMTP service here", Transient, "smtp_554", COUNT),
        ("mail", 503, "5.5.1 EHLO first", Transient, "smtp_503", COUNT),
        ("data", 502, "not implemented", Transient, "smtp_502", COUNT),
        # about the recipient
        ("rcpt", 550, "5.1.1 no such user", BadRecipient, "smtp_5.1.1", None),
        ("rcpt", 550, "5.1.10 null MX", BadRecipient, "smtp_5.1.10", None),
        ("rcpt", 553, "5.1.3 bad address syntax", BadRecipient, "smtp_5.1.3", None),
        ("rcpt", 550, "5.2.1 mailbox disabled", BadRecipient, "smtp_5.2.1", None),
        ("end", 550, "5.1.1 unknown", BadRecipient, "smtp_5.1.1", None),
        ("rcpt", 550, "No such user here", BadRecipient, "smtp_550", None),
        ("rcpt", 550, "mailbox ada not found", BadRecipient, "smtp_550", None),
        ("rcpt", 552, "5.2.2 mailbox full", Transient, "mailbox_full", NONE),
        ("rcpt", 552, "quota exceeded", Transient, "mailbox_full", NONE),
        # about the message
        ("rcpt", 550, "blocked, see https://blocklist.example", Permanent, "smtp_550", None),
        ("rcpt", 550, "5.7.1 policy: no such user", Permanent, "smtp_550", None),
        ("rcpt", 550, "5.1.100 not a code of ours", Permanent, "smtp_550", None),
        ("mail", 552, "5.3.4 message too big", Permanent, "message_too_big", None),
        ("end", 552, "too big", Permanent, "message_too_big", None),
        ("end", 554, "5.7.1 spam", Permanent, "smtp_554", None),
        ("data", 554, "5.5.1 no valid recipients", Permanent, "smtp_554", None),
        # what is no answer to the command
        ("end", 354, "go on", Uncertain, "unexpected_reply", None),
        ("rcpt", 250, "ok", Transient, "unexpected_reply", COUNT),
    ],
)
def test_a_reply_has_one_meaning(
    stage: str, code: int, text: str, kind: type, reason: str, circuit: CircuitEffect | None
) -> None:
    """By its code, its enhanced code and the stage; what was said is kept."""
    found = outcome_of(Reply(code, text), Stage(stage))

    assert (kind, reason, circuit) == (type(found), found.reason, getattr(found, "circuit", None))  # type: ignore[union-attr]
    assert Answer(status=code, body=text.encode()) == found.answer


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("2.0.0 Ok: queued as 4F2A1", "4F2A1"),
        ("OK id=1rABCd-0005xy-2B", "1rABCd-0005xy-2B"),
        ("2.6.0 accepted", None),
    ],
)
def test_an_accepted_mail_keeps_the_servers_id(text: str, reference: str | None) -> None:
    """Where there is one: an operator finds the mail with it in the server's log."""
    assert Accepted(answer=Answer(status=250, body=text.encode(), reference=reference)) == outcome_of(
        Reply(250, text), Stage.END
    )


def test_a_sender_of_the_message_is_no_fault_of_the_configuration() -> None:
    """Only this message is refused."""
    found = outcome_of(Reply(553, "5.7.1 not owned"), Stage.MAIL, own_sender=False)

    assert ("sender_refused", Permanent) == (found.reason, type(found))  # type: ignore[union-attr]


def test_what_must_not_be_kept_is_not() -> None:
    """Neither in the answer nor in the reference."""
    found = outcome_of(
        Reply(535, "5.7.8 hunter2 is wrong"), Stage.LOGIN, kept=lambda text: text.replace("hunter2", "X")
    )

    assert b"5.7.8 X is wrong" == found.answer.body
