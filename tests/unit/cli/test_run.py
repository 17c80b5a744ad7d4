"""``notifykit run``: the dispatcher in processes of their own, under real signals."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from notifykit.cli import supervisor
from notifykit.cli.failures import CommandError
from notifykit.cli.worker import encode
from notifykit.dispatch.settings import DispatchSettings
from notifykit.options import EgressRules
from tests.unit.cli.driving import Command, Desk, start, wait_until


@contextlib.contextmanager
def running(*options: str) -> Iterator[tuple[subprocess.Popen[str], Any]]:
    """Run ``notifykit run --json``; yield the process and its ready line; leave nothing behind."""
    with start("run", "--json", *options) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline() or "{}")
        try:
            yield process, ready
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=60)


def is_alive(pid: int) -> bool:
    """Tell whether a process exists and is no zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_drains(cli: Command, desk: Desk, number: signal.Signals, code: int) -> None:
    """What is under way when the signal comes is finished and recorded; nothing is claimed any more."""
    from notifykit.cli.receiver import Reply

    cli("endpoints", "create", desk.url, "--events", "**")
    begun = desk.requests

    async def slow(request: Any) -> Reply:
        import asyncio

        begun.append(request)
        await asyncio.sleep(0.5)
        return Reply(200)

    desk.receiver._handle = slow
    cli("publish", "a.b", "{}")
    with running() as (process, ready):
        wait_until(lambda: len(begun) == 1, "the request")
        process.send_signal(number)
        done = process.wait(60)

    assert [process.pid] == ready["pids"]
    assert code == done
    assert ["delivered"] == [record["state"] for record in cli("deliveries", "list", "--json").records]


def test_a_second_signal_kills(cli: Command, desk: Desk) -> None:
    """A drain that takes too long is cut short; the delivery stays leased and is not lost."""
    from notifykit.cli.receiver import Reply

    cli("endpoints", "create", desk.url, "--events", "**")

    async def hanging(request: Any) -> Reply:
        import asyncio

        desk.requests.append(request)
        await asyncio.sleep(60)
        return Reply(200)

    desk.receiver._handle = hanging
    cli("publish", "a.b", "{}")
    with running() as (process, _):
        wait_until(lambda: len(desk.requests) == 1, "the request")
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)  # two signals at once would be one
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)

    assert -signal.SIGTERM == code
    assert ["sending"] == [record["state"] for record in cli("deliveries", "list", "--json").records]


def test_several_processes_share_the_work_and_a_crashed_one_comes_back(cli: Command, desk: Desk) -> None:
    """Two workers deliver; one that is killed is replaced; SIGTERM ends all of them."""
    cli("endpoints", "create", desk.url, "--events", "**")
    with running("--processes", "2") as (process, ready):
        first, second = ready["pids"]
        for n in range(20):
            cli("publish", "a.b", json.dumps({"n": n}))
        wait_until(lambda: len(desk.requests) == 20, "20 deliveries")
        os.kill(first, signal.SIGKILL)
        assert process.stderr is not None
        ended, back = process.stderr.readline(), process.stderr.readline()
        third = int(back.split("worker ")[1].split()[0])
        both_work = is_alive(second) and is_alive(third)
        cli("publish", "a.b", "{}")
        wait_until(lambda: len(desk.requests) == 21, "the last delivery")
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)

    assert f"worker {first} ended (killed by signal 9)" in ended
    assert both_work
    assert 0 == code
    assert [] == [pid for pid in (first, second, third) if is_alive(pid)]
    assert {"delivered"} == {record["state"] for record in cli("deliveries", "list", "--json").records}


def test_workers_do_not_outlive_their_supervisor(cli: Command) -> None:
    """Even ``kill -9`` on the supervisor leaves no worker running."""
    cli("migrate")
    with running("--processes", "2") as (process, ready):
        process.kill()
        process.wait(60)
        wait_until(lambda: not any(map(is_alive, ready["pids"])), "the end of the workers")

    assert 2 == len(ready["pids"])


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_store_that_is_away_ends_it_with_4(processes: str) -> None:
    """Nothing is started that could not work; the line says what to do."""
    with start("run", "--processes", processes, "--url", "postgresql://app@127.0.0.1:1/app") as process:
        out, err = process.communicate(timeout=60)

    assert (4, "") == (process.returncode, out)
    assert 1 == len(err.splitlines())


def test_a_relay_without_a_broker_is_refused(cli: Command, store_url: str) -> None:
    """It would do nothing."""
    answer = cli("run", "--roles", "relay", "--url", store_url)

    assert (2, True) == (answer.code, "give --broker" in answer.err)


def _orders(url: str) -> bytes:
    return encode(url, EgressRules(), DispatchSettings(), 0)


async def test_a_worker_that_cannot_start_says_why() -> None:
    """Its reason and exit code reach the supervisor."""
    worker = await supervisor.Worker.start(_orders("postgresql://app@127.0.0.1:1/app"))

    with pytest.raises(CommandError, match="not available") as caught:
        await worker.ready()

    assert 4 == caught.value.code


async def test_workers_that_die_during_the_first_start_are_started_again(monkeypatch, sqlite_store_url) -> None:
    """Neither a worker that dies, nor one that refuses, nor a machine without room for it ends the others."""
    orders = _orders(sqlite_store_url)
    start = supervisor.Worker.start
    notes: list[str] = []
    ready: list[list[int]] = []
    first = ["dies", "refuses", "no room"]

    async def start_badly(_: bytes) -> supervisor.Worker:
        how = first.pop(0) if first else "works"
        if how == "no room":
            raise OSError("no room for a process")
        worker = await start(_orders("postgresql://app@127.0.0.1:1/app") if how == "refuses" else orders)
        if how == "dies":
            worker.kill()
        return worker

    monkeypatch.setattr(supervisor.Worker, "start", start_badly)
    monkeypatch.setattr(supervisor, "FIRST_PAUSE", 0.01)
    keeper = supervisor.Supervisor(orders, 3, notes.append)
    async with asyncio.timeout(120), asyncio.TaskGroup() as tasks:
        tasks.create_task(keeper.run(lambda: ready.append(keeper.pids)))
        while len(keeper.pids) < 3:
            await asyncio.sleep(0.01)
        pids = keeper.pids
        keeper.stop()

    assert 1 == len(ready)
    assert set(ready[0]) <= set(pids)
    for why in ("it ended at once (killed by signal 9)", "the database is not available", "no room"):
        assert [] != [line for line in notes if f"a worker could not start: {why}" in line and "another in 0.0" in line]
    assert [] == [pid for pid in pids if is_alive(pid)]


async def test_a_worker_that_says_something_else_is_replaced(monkeypatch) -> None:
    """What else a process writes to its stdout, by a hook of Python's start, does not end the supervisor."""
    monkeypatch.setattr("sys.executable", "/bin/echo")

    with pytest.raises(CommandError, match="unexpected output"):
        await (await supervisor.Worker.start(b"{}\n")).ready()


def test_settings_reach_the_workers() -> None:
    """What is told on the command line arrives unchanged on the other side of the pipe."""
    from notifykit.cli.commands import build
    from notifykit.cli.run import settings_of
    from notifykit.codec import structure

    given = ["--concurrency", "high=3,low=1", "--batch", "50", "--lease", "90s", "--roles", "plan,clean"]
    settings = settings_of(build().parse_args(["run", *given]))

    orders = json.loads(encode("sqlite://", EgressRules(), settings, 0))

    assert settings == structure(orders["settings"], DispatchSettings)
    assert ({"high": 3, "normal": 384, "low": 1}, 50) == (dict(settings.concurrency), settings.batch)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit of open files")
def test_as_many_files_as_the_system_allows_may_be_open():
    """A process that begins with the usual low limit of open files raises it: every receiver takes one."""
    code = "import resource as r; from notifykit.cli.serving import open_many_files; open_many_files(); "
    code += "print(*r.getrlimit(r.RLIMIT_NOFILE))"

    shown = subprocess.run(
        ["sh", "-c", 'ulimit -S -n 256; exec "$@"', "sh", sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
    )

    soft, hard = shown.stdout.split()
    assert soft == hard != "256"


@pytest.mark.thorough
@pytest.mark.parametrize("processes", ["1", "2"])
def test_workers_end_when_the_tables_become_newer(cli: Command, desk: Desk, processes: str) -> None:
    """They finish, none is started again, and the exit code says that it is the host's turn."""
    cli("endpoints", "create", desk.url, "--events", "**")
    with running("--processes", processes) as (process, _):
        with sqlite3.connect(os.environ["NOTIFYKIT_URL"].removeprefix("sqlite:///")) as connection:
            connection.execute("UPDATE notifykit_alembic SET version_num = '9999'")
        connection.close()
        code = process.wait(30)
        assert process.stderr is not None
        said = process.stderr.read()

    assert 5 == code
    assert "newer" in said
    assert "upgrade" in said
