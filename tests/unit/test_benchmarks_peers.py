"""The benchmark's peers are distinguished, do our job, and leave nothing behind; their figures need a network."""

from __future__ import annotations

import ast
import base64
import contextlib
import json
import os
import sys
import time
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from benchmarks import peers
from benchmarks.payloads import order
from benchmarks.peers import catalog, live
from benchmarks.peers.groups import Group
from benchmarks.peers.shared import webhook
from benchmarks.peers.valkey import ValkeyServer

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(Path(webhook.__file__).parent)  # peers import it as a module of its own
    from benchmarks.peers.shared import commands

PEERS = sorted(catalog.PEERS)
posix_only = pytest.mark.skipif(os.name == "nt", reason="process groups are POSIX")


def functions(path: Path) -> set[str]:
    """Return the names of a file's functions."""
    found = ast.walk(ast.parse(path.read_text("utf-8")))
    return {node.name for node in found if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("name", PEERS)
def test_peer_shows_its_whole_job(name):
    """The worker, the producer and the count of results are in one file, so that a figure can be checked."""
    peer = catalog.PEERS[name]
    wanted = {"deliver", "publish", "stored"}
    wanted |= {"prepare"} if peer.store == "postgres" else set()
    wanted |= {"work"} if peer.worker[: len(catalog.JOB)] == catalog.JOB else set()

    found = functions(peers.source(name))

    assert wanted == wanted & found


@pytest.mark.parametrize("name", peers.NAMES)
def test_peer_says_what_it_needs(name):
    """Every requirement has a floor, so that a figure is not one of an old release."""
    lines = catalog.requirements(name).read_text("utf-8").split()

    assert lines
    assert all(">=" in line for line in lines)


@pytest.mark.parametrize("name", PEERS)
def test_peer_needs_what_it_is_measured_with(name):
    """The packages whose versions are reported are the ones that were asked for."""
    peer = catalog.PEERS[name]

    wanted = {line.partition(">=")[0].partition("[")[0] for line in catalog.requirements(name).read_text().split()}

    assert {peer.distribution, peer.client} <= wanted


def test_peer_on_valkey_is_measured_with_both_promises():
    """A peer that may lose the last second in a power cut is also measured with a setting that loses nothing."""
    weaker = {name: peer for name, peer in catalog.PEERS.items() if not peer.is_durable}

    stronger = {name: catalog.PEERS[f"{name}-always"] for name in weaker}

    assert {"celery", "dramatiq", "taskiq", "arq", "saq"} == set(weaker)
    assert all(peer.is_durable for peer in stronger.values())
    assert all(peers.source(name) == peers.source(f"{name}-always") for name in weaker)
    assert {"Valkey, AOF everysec"} == {peer.keeps for peer in weaker.values()}
    assert {"Valkey, AOF always"} == {peer.keeps for peer in stronger.values()}


@pytest.mark.parametrize("fsync", ["everysec", "always"])
def test_valkey_starts_with_the_promised_fsync(fsync, tmp_path):
    """The promise in the table is the one that the server was started with."""
    server = ValkeyServer(tmp_path, fsync=fsync)
    server._program = "valkey-server"

    command = server._command()

    assert fsync == command[command.index("--appendfsync") + 1]
    assert "yes" == command[command.index("--appendonly") + 1]


def test_threads_publish_each_event_once():
    """Threads that share the numbers of the events leave none out and repeat none."""
    published = []

    timing = commands.in_threads(500, 200, 4, lambda message_id, body: published.append(message_id))

    assert 500 == timing["events"]
    assert [webhook.message(200, at)[0] for at in range(500)] == sorted(published)


@pytest.mark.parametrize("size", [200, 1000, 10_000])
def test_peers_send_what_we_send(size):
    """A peer's body carries the same data as an event of ours."""
    message_id, body = webhook.message(size, 7)

    event = json.loads(body)

    assert message_id == event["id"]
    assert order(size, 7, sent=event["data"]["sent"]) == event["data"]


def test_peers_sign_as_the_standard_says():
    """A receiver that verifies Standard Webhooks accepts what a peer sends."""
    message_id, body = webhook.message(1000, 7)
    receiver = Webhook(base64.b64encode(webhook._KEY).decode())

    verified = receiver.verify(body, webhook.headers(message_id, body.encode()))

    assert json.loads(body) == verified


def test_absent_prototype_is_unavailable(tmp_path, monkeypatch):
    """Without the prototype beside the checkout there is no figure, and a reason, before anything is installed."""
    monkeypatch.setattr(live, "PROTOTYPE", tmp_path / "a" / "b" / "c" / "d" / "proto.py")

    with pytest.raises(peers.PeerUnavailable, match="beside the checkout"):
        peers.measure("prototype", events=1)


@posix_only
def test_children_of_a_worker_end_with_its_group(tmp_path):
    """A worker that ignores SIGTERM, and the processes it forked, are gone when the measurement is over."""
    script = (
        "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); child = os.fork()\n"
        "if child: print(child, flush=True)\n"
        "time.sleep(600)"
    )
    python = Path(sys.executable)

    with Group(python.parent, tmp_path, {}, tmp_path / "log", patience=0.2) as group:
        worker = group.start([python.name, "-c", script], pipe=True)
        assert worker.stdout is not None
        child = int(worker.stdout.readline())
    worker.stdout.close()

    assert worker.returncode == -9
    assert wait_until_gone(child)


@posix_only
def test_failed_command_shows_its_log(tmp_path):
    """The error of a peer that cannot run shows what it printed last."""
    python = Path(sys.executable)

    with (
        Group(python.parent, tmp_path, {}, tmp_path / "log") as group,
        pytest.raises(peers.PeerUnavailable, match=r"(?s)ended with 1.*no such queue"),
    ):
        group.run([python.name, "-c", "raise SystemExit('no such queue')"])


def wait_until_gone(pid: int) -> bool:
    """Return whether a process has ended, or ends within the time an init takes to notice."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        with contextlib.suppress(OSError):  # a container may have no init that notices
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        time.sleep(0.01)
    return False
