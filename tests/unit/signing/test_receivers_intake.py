"""The intake: what every framework's receiver does."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from notifykit.contrib.receivers import Answer, Intake, ReceivedEvent
from notifykit.errors import ConfigurationError, StoreUnavailableError
from notifykit.signing import MemoryDedupe, Seen, Verifier
from tests.unit.signing.messages import BODY, NOW, OTHER_SECRET, SECRET, headers, verifier


class Down:
    """A dedupe store whose database does not answer."""

    def begin(self, source: str, id: str) -> Seen:
        raise StoreUnavailableError("down")

    def finish(self, source: str, id: str) -> None:
        raise StoreUnavailableError("down")

    forget = finish


def opened(intake: Intake) -> ReceivedEvent:
    event = intake.open(BODY, headers())
    assert isinstance(event, ReceivedEvent)
    return event


@pytest.mark.parametrize(
    ("body", "further", "status"),
    [
        (BODY[:-1], {"Content-Length": str(len(BODY))}, 500),
        (b"", {"content-length": str(len(BODY))}, 500),
        (b"", {"Transfer-Encoding": "chunked"}, 500),
        (b"", {"Content-Length": "0"}, 401),
        (BODY + b" ", {"Content-Length": str(len(BODY))}, 401),
        (BODY + b" ", {"Content-Length": "many"}, 401),
    ],
)
def test_a_body_that_is_not_whole_is_no_forgery(body, further, status):
    """A body shorter than declared, or empty without a length, is the receiving program's fault and says so."""
    answer = Intake(verifier(), dedupe=None).open(body, headers() | further)

    assert Answer(status=status, reason="body_unavailable" if status == 500 else "no_match") == answer


@pytest.mark.parametrize(
    ("body", "given", "answer"),
    [
        (BODY, headers(OTHER_SECRET), Answer(status=401, reason="no_match")),
        (BODY, headers(at=NOW - 301), Answer(status=401, reason="timestamp_too_old")),
        (BODY, headers(at=NOW + 301), Answer(status=401, reason="timestamp_too_new")),
        (BODY, {}, Answer(status=400, reason="header_missing")),
        (BODY, headers() | {"webhook-id": "a.b"}, Answer(status=400, reason="id_malformed")),
        (b"hello", headers(body=b"hello"), Answer(status=400, reason="payload_malformed")),
        (b"x" * 101, headers(body=b"x" * 101), Answer(status=413, reason="body_too_large")),
        (None, headers(), Answer(status=413, reason="body_too_large")),
    ],
)
def test_refusals_have_a_status_and_a_reason(body, given, answer, caplog):
    """Forgeries are 401, malformed requests 400 or 413; the log has the reason and nothing of the body."""
    intake = Intake(verifier(), dedupe=None, max_body=100)

    with caplog.at_level(logging.WARNING, "notifykit"):
        refused = intake.open(body, given)

    assert answer == refused
    assert [answer.reason] == [record.__dict__["reason"] for record in caplog.records]


def test_each_message_is_handled_once():
    """New, then in progress, then a duplicate."""
    intake = Intake(verifier(), dedupe=MemoryDedupe(), source="acme")
    event = opened(intake)

    first, meanwhile = intake.begin(event), intake.begin(event)
    intake.end(event, handled=True)
    after = intake.begin(event)

    assert first is None
    assert meanwhile is not None
    assert (503, "in_progress", "10") == (meanwhile.status, meanwhile.reason, meanwhile.headers["Retry-After"])
    assert Answer(status=204, reason="duplicate") == after


def test_a_failure_gives_the_message_back():
    """After a failure the retry is handled."""
    intake = Intake(verifier(), dedupe=MemoryDedupe())
    event = opened(intake)

    intake.begin(event)
    intake.end(event, handled=False)

    assert intake.begin(event) is None


def test_without_a_store_every_repetition_is_handled():
    """Handlers that are idempotent themselves need no memory."""
    intake = Intake(verifier(), dedupe=None)
    event = opened(intake)

    assert [None, None] == [intake.begin(event), intake.begin(event)]
    intake.end(event, handled=True)
    assert intake.begin(event) is None


def test_a_store_that_is_down_puts_the_sender_off_before_the_work_and_not_after_it(caplog):
    """Nothing is handled unmarked; but what was handled is not answered as a failure."""
    intake = Intake(verifier(), dedupe=Down())
    event = opened(intake)

    answer = intake.begin(event)
    intake.end(event, handled=True)

    assert answer is not None
    assert (503, "dedupe_unavailable") == (answer.status, answer.reason)
    assert ["begin", "end"] == [record.__dict__["step"] for record in caplog.records]


def test_a_verifier_or_keys_can_be_given():
    """Keys make a verifier with the usual tolerance; one with another tolerance is taken as it is."""
    usual = Intake([SECRET, OTHER_SECRET], dedupe=None)
    wide = Intake(Verifier(SECRET, tolerance=timedelta(days=36_500)), dedupe=None)

    assert Answer(status=401, reason="timestamp_too_old") == usual.open(BODY, headers())
    assert isinstance(wide.open(BODY, headers()), ReceivedEvent)


@pytest.mark.parametrize("wrong", [{"secrets": []}, {"secrets": None}, {"max_body": 0}])
def test_an_intake_that_could_take_nothing_is_refused(wrong):
    """Without keys, or with no room for a body, there is no receiver."""
    with pytest.raises(ConfigurationError):
        Intake(**({"secrets": SECRET, "dedupe": None} | wrong))
