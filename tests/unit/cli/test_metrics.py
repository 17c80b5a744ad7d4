"""``--metrics``: what a worker and a server measure, and whether they live, on a port of their own."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import subprocess
import sys

import httpx
import pytest

from notifykit import Notifykit
from notifykit.cli import metrics as metrics_module
from notifykit.cli.metrics import Address, Metrics, address
from tests.unit.cli.driving import Command, Desk, publish, start, wait_until


def free_ports() -> int:
    """Return the first of two ports that are free."""
    while True:
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port: int = one.getsockname()[1]
            two.bind(("127.0.0.1", port + 1))
            return port


def read(port: int, path: str = "/metrics") -> str:
    with httpx.Client() as client:
        return client.get(f"http://127.0.0.1:{port}{path}").raise_for_status().text


@pytest.fixture
def ports() -> int:
    return free_ports()


@pytest.mark.thorough
def test_each_worker_of_a_supervisor_has_a_port(cli: Command, desk: Desk, ports: int) -> None:
    """Together they count what they have delivered, and each says when it was alive and how much waits."""
    cli("endpoints", "create", desk.url, "--events", "**")
    publish(cli)
    with start("run", "--json", "--processes", "2", "--metrics", str(ports)) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            wait_until(lambda: bool(desk.requests), "a delivery")
            counted = re.compile(r'notifykit_attempts_total{channel="webhook",outcome="accepted",provider=""} 1\.0')
            wait_until(lambda: any(counted.search(read(port)) for port in (ports, ports + 1)), "a count")
            pages = [read(port) for port in (ports, ports + 1)]
            health = read(ports, "/healthz")
        finally:
            process.terminate()
            process.communicate(timeout=60)

    assert "ok\n" == health
    for page in pages:
        assert re.search(r"notifykit_worker_alive_timestamp_seconds 1\.\d+e\+09", page)
        assert 'notifykit_backlog{state="dead"} 0.0' in page
        assert "process_cpu_seconds_total" in page


@pytest.mark.thorough
def test_the_environment_says_where_the_server_has_them(
    cli: Command, ports: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server without a dispatcher says how much waits."""
    cli("migrate")
    publish(cli)
    monkeypatch.setenv("NOTIFYKIT_METRICS", f"127.0.0.1:{ports}")
    with start("serve", "--json", "--no-dispatch", "--port", "0") as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            wait_until(lambda: 'notifykit_backlog{state="unplanned"} 1.0' in read(ports), "the count")
        finally:
            process.terminate()
            process.communicate(timeout=60)


def test_a_port_that_is_taken_is_an_error(cli: Command, ports: int) -> None:
    """The command ends and says what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports))
        taken.listen()
        done = subprocess.run(
            [sys.executable, "-m", "notifykit", "serve", "--port", "0", "--metrics", str(ports)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert 1 == done.returncode
    assert f"cannot serve metrics on 127.0.0.1:{ports}; try another --metrics" in done.stderr


async def test_a_hung_loop_is_not_healthy(monkeypatch: pytest.MonkeyPatch, ports: int) -> None:
    """An orchestrator restarts such a process; a store that is away is no reason to."""
    monkeypatch.setattr(metrics_module, "_HUNG", -1)
    async with Notifykit("memory://") as kit, Metrics(Address("127.0.0.1", ports)).serving(kit):
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports}") as client:
            hung = await client.get("/healthz")
            monkeypatch.setattr(metrics_module, "_HUNG", 60)
            well = await client.get("/healthz")
            other = await client.get("/")
        await asyncio.sleep(0)

    assert [503, 200, 404] == [each.status_code for each in (hung, well, other)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9464", Address("127.0.0.1", 9464)),
        ("0.0.0.0:9464", Address("0.0.0.0", 9464)),
        ("[::1]:9464", Address("::1", 9464)),
    ],
)
def test_an_address_is_a_port_and_perhaps_a_host(text: str, expected: Address) -> None:
    """Without a host only this machine is served."""
    assert expected == address(text)
