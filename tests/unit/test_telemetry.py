"""The telemetry events: one line each, whatever is in them, and nothing confidential."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
from datetime import timedelta
from typing import get_args

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifykit import EgressRules, Event, Notifykit, telemetry
from notifykit.errors import StoreUnavailableError
from notifykit.telemetry import (
    ClaimLost,
    DeliveryAttempted,
    EventsPlanned,
    LoopFailed,
    TelemetryEvent,
    line,
    log,
    tell,
    wants_log,
    why,
)

KINDS = get_args(TelemetryEvent)
ATTEMPTED = DeliveryAttempted(
    delivery_id="dlv_1",
    event_id="evt_1",
    event_type="order.shipped",
    tenant="acme",
    subscriber_id="end_1",
    channel="webhook",
    lane="webhook:high",
    attempt=2,
    outcome="transient",
    reason="http_503",
    status=503,
    decision="retry",
    due_in=timedelta(minutes=5),
    took=timedelta(microseconds=12_500),
    waited=timedelta(seconds=1),
)


def test_an_event_is_a_name_and_its_fields():
    """Durations are in milliseconds, as their names say; unknown values are left out."""
    assert (
        "delivery.attempted delivery_id=dlv_1 event_id=evt_1 event_type=order.shipped tenant=acme subscriber_id=end_1 "
        "channel=webhook lane=webhook:high attempt=2 outcome=transient reason=http_503 status=503 decision=retry "
        "due_in_ms=300000 took_ms=12 waited_ms=1000"
    ) == line(ATTEMPTED)
    assert "status=" not in line(attrs.evolve(ATTEMPTED, status=None))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("away", "away"),
        ("the database is away", '"the database is away"'),
        ('say "no"', '"say \\"no\\""'),
        ("two\nlines\r\n", '"two\\nlines\\r\\n"'),
        ("\x1b[31mred", '"\\x1b[31mred"'),
        ("nul\x00", '"nul\\x00"'),
        ("a\u2028b\u202ec", '"a\\u2028b\\u202ec"'),
        ("größe", '"gr\\xf6\\xdfe"'),
        ("🔑", '"\\U0001f511"'),
        ("\ud800", '"\\ud800"'),
        ("a\\b", "a\\b"),
    ],
)
def test_a_text_is_quoted_where_it_must_be(text, shown):
    """Nothing in a field can end the line, forge another field, or reach a terminal."""
    event = LoopFailed(loop="plan", error=text, pause=timedelta(0))

    assert f"loop.failed loop=plan error={shown} pause_ms=0" == line(event)


@given(st.text())
def test_any_text_stays_one_plain_line(text):
    """Whatever text a receiver or a driver returns."""
    written = line(LoopFailed(loop="plan", error=text, pause=timedelta(0)))

    assert written.isascii()
    assert written.isprintable()
    assert 1 == len(written.splitlines())
    assert 1 == written.count(" pause_ms=") or "pause_ms=" in text


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_kind_has_a_name_a_level_and_no_field_for_secrets(kind):
    """The contract: a dotted name, a level of logging, and no field for payloads, addresses or credentials."""
    fields = {field.name for field in attrs.fields(kind)}

    assert "." in kind.name
    assert kind.level in {logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR}
    assert kind.__doc__
    assert not fields & {"url", "address", "headers", "secret", "secrets", "body", "data", "payload", "response"}


def test_names_are_unique():
    """A line of a log identifies its event."""
    assert len(KINDS) == len({kind.name for kind in KINDS})


def test_an_event_is_logged_at_its_level(caplog):
    """Below the logger's level it costs nothing and writes nothing."""
    planned = EventsPlanned(events=1, deliveries=2, took=timedelta(0))

    with caplog.at_level(logging.INFO, logger="notifykit"):
        log(planned)
        log(ClaimLost(delivery_id="dlv_1", fence=3))
        everyday = wants_log()
    with caplog.at_level(logging.WARNING, logger="notifykit"):
        quiet = wants_log()

    (record,) = caplog.records
    assert ("notifykit", logging.WARNING, "claim.lost delivery_id=dlv_1 fence=3") == (
        record.name,
        record.levelno,
        record.getMessage(),
    )
    assert (True, False) == (everyday, quiet)


def test_a_log_that_fails_stops_no_delivery(monkeypatch):
    """The subscribers get the event all the same."""

    def fail(_: object) -> str:
        raise OSError(24, "Too many open files")

    heard: list[object] = []
    monkeypatch.setattr(telemetry, "line", fail)
    event = LoopFailed(loop="plan", error="no files", pause=timedelta(seconds=1))

    tell(event, [heard.append])

    assert [event] == heard


def test_an_event_can_be_logged_without_files():
    """Nothing has to be imported for it."""
    script = "import sys, notifykit.telemetry; print('encodings.unicode_escape' in sys.modules)"

    assert "True\n" == subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout


def test_a_failing_subscriber_stops_no_other(caplog):
    """The others get the event, and the log names the subscriber that failed."""
    heard: list[object] = []

    def broken(_: object) -> None:
        raise ZeroDivisionError

    tell(ATTEMPTED, [broken, heard.append])

    assert [ATTEMPTED] == heard
    assert ["a telemetry subscriber failed on delivery.attempted"] == [
        record.getMessage() for record in caplog.records if record.levelno == logging.ERROR
    ]


def test_an_error_is_one_field():
    """Our errors are logged with their message, others with their type."""
    assert "away" == why(StoreUnavailableError("away"))
    assert "ValueError: bad" == why(ValueError("bad"))


async def test_a_real_attempt_logs_nothing_secret(caplog):
    """A failing attempt at a URL with a token, with headers, secrets and a payload: none of them is in the log."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    heard: list[object] = []
    egress = EgressRules(allow=["127.0.0.0/8"], allow_http=True)
    async with Notifykit("memory://", egress=egress, subscribers=[heard.append]) as kit:
        _, endpoint = await kit.subscribe(
            "**",
            tenant="acme",
            endpoint=f"http://127.0.0.1:{port}/hooks?token=T0K3N",
            headers={"authorization": "Bearer H34D3R"},
        )
        await kit.apublish(Event(type="order.shipped", data={"name": "P4YL04D"}), tenant="acme")

        with caplog.at_level(logging.DEBUG):
            while await kit.dispatcher().step():
                pass

    written = caplog.text + repr(heard)
    assert "outcome=transient reason=connect" in written
    secrets = ("T0K3N", "H34D3R", "P4YL04D", endpoint.secrets[0].value)
    assert [] == [secret for secret in secrets if secret in written]
