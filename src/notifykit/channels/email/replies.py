"""What a mail server's reply means: from a code and the stage of the exchange to an outcome.

Pure.  Reply codes are those of RFC 5321, enhanced status codes those of RFC 3463.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from ...models.outcome import (
    Accepted,
    Answer,
    BadRecipient,
    CircuitEffect,
    Outcome,
    Permanent,
    Throttled,
    Transient,
    Uncertain,
)

_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_QUEUED = re.compile(r"\bqueued as ([\w.-]+)|\bid=([\w.-]+)", re.IGNORECASE)
_UNKNOWN_USER = re.compile(
    r"user unknown|unknown user|no such (user|recipient|mailbox)|(user|mailbox|recipient|account)( \S+)? "
    r"(not found|does(n't| not) exist)",
    re.IGNORECASE,
)
_RELAY = re.compile(r"\brelay", re.IGNORECASE)

#: There is no such mailbox, or none any more.
_GONE = frozenset({"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1"})
#: The account may not send: credentials are missing, wrong, or too weak.
_LOGIN = frozenset({"5.7.8", "5.7.9", "5.7.11", "5.7.14"})


class Stage(StrEnum):
    """How far an exchange has come."""

    CONNECT = "connect"
    LOGIN = "login"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    END = "end"


class Reply(NamedTuple):
    """A reply of the server; the lines of a long one are joined with line ends."""

    code: int
    text: str

    @property
    def is_positive(self) -> bool:
        """Whether the command was carried out."""
        return 200 <= self.code < 300

    @property
    def enhanced(self) -> str | None:
        """The enhanced status code, such as ``5.1.1``, if there is one."""
        found = _ENHANCED.match(self.text)
        return None if found is None else found[1]


def outcome_of(reply: Reply, stage: Stage, *, own_sender: bool = True, kept: Callable[[str], str] = str) -> Outcome:
    """Turn a reply into an outcome.

    Args:
        own_sender: Whether the envelope's sender is that of the configuration, and not that of one message.
        kept: Returns what may be kept of a text.
    """
    text = kept(reply.text)
    queued = _QUEUED.search(text)
    answer = Answer(
        status=reply.code,
        body=text.encode("utf-8", "replace"),
        reference=(queued[1] or queued[2]) if queued and reply.is_positive else None,
    )
    if stage is Stage.END and reply.is_positive:
        return Accepted(answer=answer)
    if 400 <= reply.code < 500:
        return _not_now(reply, stage, answer)
    if 500 <= reply.code < 600:
        return _never(reply, stage, answer, own_sender)
    kind = Uncertain if stage is Stage.END else Transient
    return kind(reason="unexpected_reply", answer=answer)


def _not_now(reply: Reply, stage: Stage, answer: Answer) -> Outcome:
    """Return the outcome of a reply of the class 4: it may work later."""
    about_recipient = stage is Stage.RCPT and reply.code != 421
    circuit = CircuitEffect.NONE if about_recipient else CircuitEffect.COUNT
    enhanced = reply.enhanced or ""
    if enhanced == "4.2.2" or (reply.code == 452 and about_recipient):
        return Transient(reason="mailbox_full", circuit=CircuitEffect.NONE, answer=answer)
    if reply.code in (421, 450, 451) or enhanced.startswith("4.7."):
        return Throttled(reason=f"smtp_{reply.code}", circuit=circuit, answer=answer)
    return Transient(reason=f"smtp_{reply.code}", circuit=circuit, answer=answer)


def _never(reply: Reply, stage: Stage, answer: Answer, own_sender: bool) -> Outcome:
    """Return the outcome of a reply of the class 5: the same again does not work."""
    reason, enhanced = f"smtp_{reply.code}", reply.enhanced or ""
    if stage is Stage.LOGIN or reply.code in (530, 534, 535, 538) or enhanced in _LOGIN:
        return Transient(reason="auth_failed", circuit=CircuitEffect.OPEN, answer=answer)
    if stage is Stage.CONNECT or reply.code in (500, 502, 503, 504, 521):
        return Transient(reason=reason, answer=answer)  # about the server, and not about this message
    if reply.code == 552 or enhanced == "5.2.2":
        return _too_much(enhanced, stage, answer)
    if stage is Stage.RCPT and _RELAY.search(reply.text) and enhanced in ("", "5.7.0", "5.7.1"):
        return Transient(reason="relay_denied", circuit=CircuitEffect.OPEN, answer=answer)
    if stage is Stage.MAIL:
        if own_sender:
            return Transient(reason="sender_refused", circuit=CircuitEffect.OPEN, answer=answer)
        return Permanent(reason="sender_refused", answer=answer)
    if enhanced in _GONE or (not enhanced and stage is Stage.RCPT and _UNKNOWN_USER.search(reply.text)):
        return BadRecipient(reason=f"smtp_{enhanced or reply.code}", answer=answer)
    return Permanent(reason=reason, answer=answer)


def _too_much(enhanced: str, stage: Stage, answer: Answer) -> Outcome:
    """Return the outcome of "too much": for the recipient's mailbox, which may be emptied, or for the server."""
    if enhanced == "5.2.2" or (not enhanced and stage is Stage.RCPT):
        return Transient(reason="mailbox_full", circuit=CircuitEffect.NONE, answer=answer)
    return Permanent(reason="message_too_big", answer=answer)
