"""``notifykit follow``: a live tail, in a process of its own."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime, timedelta

import pytest

from notifykit.admin import Change
from notifykit.cli import follow
from notifykit.cli.commands import build
from notifykit.cli.context import Context
from notifykit.models.delivery import WEBHOOK, Attempt, Delivery, DeliveryState, Priority
from tests.unit.cli.driving import Command, Deliver, Desk, publish, start


def test_attempts_are_shown_as_they_are_made(cli: Command, desk: Desk, endpoint: str, deliver: Deliver) -> None:
    """Each attempt is a JSON line with its delivery; the past is not shown, and Ctrl-C ends it with 130."""
    publish(cli)
    deliver()
    with start("follow", "--json", "--poll", "50ms") as process:
        assert process.stderr is not None
        assert process.stdout is not None
        assert "Ctrl-C" in process.stderr.readline()
        desk.status = 500
        event_id = publish(cli)
        deliver()
        line = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)

    assert (event_id, "dead", endpoint) == tuple(
        line["delivery"][name] for name in ("event_id", "state", "subscriber_id")
    )
    assert (1, "http_500") == (line["attempt"]["number"], line["attempt"]["reason"])
    assert (130, "", "") == (process.returncode, out, err)


def test_it_stops_after_as_many_as_asked(cli: Command, desk: Desk, endpoint: str, deliver: Deliver) -> None:
    """With ``--count`` it ends by itself; only what the options choose counts."""
    with start("follow", "--count", "1", "--poll", "50ms", "--type", "order.paid") as process:
        assert process.stderr is not None
        process.stderr.readline()
        publish(cli)
        publish(cli, "order.paid")
        deliver()
        out, _ = process.communicate(timeout=10)

    assert 0 == process.returncode
    (line,) = out.splitlines()
    for text in ("attempt 1 accepted, http 200", "order.paid", "dlv_", endpoint):
        assert text in line


AT = datetime(2026, 1, 31, 9, tzinfo=UTC)
DELIVERY = Delivery(
    id="dlv_01J9ZK5V7QW3XH8N2M4P6R0T1Y0123456789ABC",
    event_id="evt_01J9ZK5V7QW3XH8N2M4P6R0T1Y",
    event_type="order.shipped",
    tenant="acme",
    subscription_id="sub_1",
    subscriber_id="end_01J9ZK5V7QW3XH8N2M4P6R0T1Z",
    channel=WEBHOOK,
    priority=Priority.NORMAL,
    state=DeliveryState.DEAD,
    reason="http_410",
    attempts=1,
    created_at=AT,
)
FAILED = Attempt(DELIVERY.id, 1, AT, timedelta(milliseconds=12), "permanent", "http_410", 410, None, b"", "w")


@pytest.mark.parametrize("attempt", [FAILED, None])
def test_ids_and_reasons_are_whole_at_80_columns(
    attempt: Attempt | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What does not fit beside stands below; no line is longer than the terminal."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")

    follow._show(Context(build().parse_args(["follow"])), Change(DELIVERY, attempt))

    lines = capsys.readouterr().out.splitlines()
    assert 80 >= max(map(len, lines))
    for text in (DELIVERY.id, DELIVERY.subscriber_id, "order.shipped", "dead", "(http_410)"):
        assert text in "\n".join(lines)
