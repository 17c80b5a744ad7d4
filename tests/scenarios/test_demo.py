"""``notifykit demo``: the main job in one command, and no trace of it after a Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from notifykit.cli.demo.mail import open_mailbox
from notifykit.cli.demo.receivers import DemoReceiver
from notifykit.cli.demo.report import compare
from notifykit.cli.demo.samples import load
from notifykit.cli.demo.scenario import ROLES, TENANTS, demo_events, subscriptions
from tests.shared_data import shared_data

pytestmark = pytest.mark.in_turn


def demo(*options: str, folder: Path, **given: Any) -> subprocess.Popen[str]:
    """Start the demo with its temporary folder in ``folder``."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NOTIFYKIT_")}
    return subprocess.Popen(
        [sys.executable, "-m", "notifykit", "demo", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**environment, "TMPDIR": str(folder)},
        **given,
    )


def children(pid: int) -> list[int]:
    """Return the processes that a process has started and that live."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_the_demo_delivers_everything(tmp_path: Path) -> None:
    """Every receiver gets its events, those of the broken one are dead letters, and every signature verifies."""
    with demo("--count", "48", "--rate", "200", folder=tmp_path) as process:
        out, err = process.communicate(timeout=60)

    assert 0 == process.returncode, err
    assert "Every receiver and person got what they should" in out
    assert "dead list" in out
    assert "\x1b" not in out + err


def test_the_numbers_add_up(tmp_path: Path) -> None:
    """The JSON report has what each receiver counted, and the kept store agrees with it."""
    with demo("--count", "48", "--rate", "200", "--json", "--keep", "demo.db", folder=tmp_path) as process:
        out, err = process.communicate(timeout=60)
    report = json.loads(out)
    dead = [
        subprocess.run(
            [
                *(sys.executable, "-m", "notifykit", "--url", report["url"], "--tenant", tenant),
                "dead",
                "list",
                "--json",
            ],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for tenant in TENANTS
    ]

    rows = {row["name"]: row for row in report["receivers"]}
    assert (0, True) == (process.returncode, report["ok"]), err
    assert all(row["events"] > 0 and row["refused"] == 0 for row in rows.values())
    assert all(rows[name]["delivered"] == rows[name]["events"] for name in ("healthy", "flaky", "slow"))
    assert 2 * rows["flaky"]["events"] == rows["flaky"]["retries"]
    assert (0, rows["broken"]["events"]) == (rows["broken"]["delivered"], rows["broken"]["dead"])
    assert rows["broken"]["dead"] == len("".join(dead).splitlines())
    assert [(4, 4), (0, 0), (2, 2), (0, 4), (0, 4), (1, 0)] == [
        (len(each["mails"]), each["inbox"]) for each in report["people"]
    ]
    assert [("delivered", "delivered"), ("delivered", "bounced"), ("dead", None), ("delivered", "delivered")] == [
        (each["state"], each["receipt"]) for each in report["texts"][:4]
    ]
    assert [1, 1, 1, 1, 0] == [each["requests"] for each in report["texts"]]
    assert 0 < rows["healthy"]["p50_ms"] <= rows["healthy"]["p99_ms"]
    assert [tmp_path / "demo.db"] == [path for path in tmp_path.iterdir() if path.suffix == ".db"]


def test_other_events_can_be_shown(tmp_path: Path) -> None:
    """A file of other events, large and not all ASCII, arrives as completely."""
    path = shared_data("github-events.jsonl")

    with demo("--events", str(path), "--count", "60", "--rate", "300", "--seed", "7", folder=tmp_path) as process:
        out, err = process.communicate(timeout=60)

    assert 0 == process.returncode, err
    assert "github." in out


def test_mails_go_to_a_file_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the demo runs on what the package itself needs."""
    monkeypatch.setitem(sys.modules, "aiosmtplib", None)

    with open_mailbox(tmp_path) as mail:
        none = mail.subjects("ada@example.org")
        (tmp_path / "caught.jsonl").write_text('{"to": "ada@example.org", "message": {"subject": "Hi"}}\n')
        found = mail.subjects("ada@example.org")

    assert f"catch://{tmp_path}/caught.jsonl" == mail.url
    assert ([], ["Hi"], []) == (none, found, mail.subjects("ben@example.org"))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to see child processes")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """During deliveries: no traceback, no process and no file are left."""
    with demo("--count", "600", "--rate", "60", folder=tmp_path) as process:
        assert process.stderr is not None
        progress = process.stderr.readline()
        dispatchers = children(process.pid)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)

    deadline = time.monotonic() + 60
    while (left := [pid for pid in dispatchers if Path(f"/proc/{pid}").exists()]) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "published" in progress
    assert 1 == len(dispatchers)
    assert code == process.returncode
    assert "Traceback" not in err
    assert [] == left
    assert [] == list(tmp_path.iterdir())


def test_an_early_ctrl_c_ends_it_too(tmp_path: Path) -> None:
    """While it still prepares, an interrupt neither hangs it nor leaves its folder behind."""
    with demo(folder=tmp_path) as process:
        deadline = time.monotonic() + 60
        while not any(tmp_path.glob("notifykit-demo-*")) and time.monotonic() < deadline:
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)

    assert (130, "") == (process.returncode, err)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--events", "no-such-file"], 2),
        (["--events", "bad.jsonl"], 2),
        (["--keep", "bad.jsonl"], 1),
        (["--url", "memory://"], 2),
    ],
)
def test_mistakes_are_reported_and_leave_nothing(tmp_path: Path, options: list[str], code: int) -> None:
    """One line, and no temporary folder."""
    (tmp_path / "bad.jsonl").write_text('{"type": 7}\n')

    with demo(*options, folder=tmp_path) as process:
        out, err = process.communicate(timeout=60)

    assert (code, "") == (process.returncode, out)
    assert 1 == len(err.splitlines())
    assert [tmp_path / "bad.jsonl"] == list(tmp_path.iterdir())


def test_the_samples_are_varied() -> None:
    """The events of the package: two dozen types of different families and sizes, not all ASCII."""
    text = (files("notifykit") / "samples" / "events.jsonl").read_text("utf-8")
    samples = load(None)
    sizes = sorted(len(line.encode()) for line in text.splitlines())

    assert 24 == len({sample.type for sample in samples}) == len(samples)
    assert 5 <= len({sample.type.partition(".")[0] for sample in samples})
    assert sizes[0] >= 300
    assert 7000 < sizes[-1] <= 8192
    assert not text.isascii()


def test_the_subscriptions_fit_any_events() -> None:
    """Each subscription matches some events of its tenant, and the same seed gives the same events."""
    samples = load(None)
    events = demo_events(samples, 120, seed=1)

    matched = {subscription.role.name: sum(map(subscription.wants, events)) for subscription in subscriptions(samples)}

    assert set(matched) == {role.name for role in ROLES}
    assert all(0 < count < len(events) for count in matched.values())
    assert events == demo_events(samples, 120, seed=1)
    assert events != demo_events(samples, 120, seed=2)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda receivers, path: receivers["healthy"].accepted.clear(), "healthy: 1 of 1 events did not arrive"),
        (
            lambda receivers, path: receivers["slow"].attempts.update([(path, "evt_x")]),
            "slow: 1 unexpected events arrived",
        ),
        (lambda receivers, path: setattr(receivers["flaky"], "refused", 1), "flaky: 1 requests failed verification"),
    ],
    ids=["lost", "misdirected", "forged"],
)
def test_the_demo_detects_problems(spoil: Any, problem: str) -> None:
    """A lost event, one that goes to the wrong receiver and a bad signature are problems."""
    subscription = subscriptions(load(None))[0]
    receivers = {role.name: DemoReceiver(role) for role in ROLES}
    receivers["healthy"].attempts[(subscription.path, "evt_1")] = 1
    receivers["healthy"].accepted[(subscription.path, "evt_1")] = 2.0
    right = compare({subscription: {"evt_1"}}, receivers, {subscription: 0}, {"evt_1": 1.0})

    spoil(receivers, subscription.path)
    wrong = compare({subscription: {"evt_1"}}, receivers, {subscription: 0}, {"evt_1": 1.0})

    assert ([], 1000) == (right.problems, right.rows[0].percentile(0.5))
    assert 1 == len(wrong.problems)
    assert wrong.problems[0].startswith(problem)
