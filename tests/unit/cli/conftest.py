"""A store of its own for each test, the command line in this process, and a receiver on loopback."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from notifykit import Notifykit
from notifykit.cli import main
from tests.unit.cli.driving import LOOPBACK, Answer, Command, Desk


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    """The URL of an SQLite store that does not exist yet."""
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, store_url: str) -> None:
    """Commands use the test's store, may deliver to loopback, and run in an empty folder."""
    for name in [name for name in os.environ if name.startswith("NOTIFYKIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NOTIFYKIT_URL", store_url)
    monkeypatch.setenv("NOTIFYKIT_ALLOW", "127.0.0.0/8")
    monkeypatch.setenv("NOTIFYKIT_ALLOW_HTTP", "1")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command line in this process."""

    def run(*arguments: str) -> Answer:
        capsys.readouterr()
        code = main(list(arguments))
        return Answer(code, *capsys.readouterr())

    return run


@pytest.fixture
def desk() -> Iterator[Desk]:
    """A real HTTP receiver in a thread of its own."""
    desk = Desk()
    with start_blocking_portal("asyncio") as portal, portal.wrap_async_context_manager(desk.receiver):
        yield desk


@pytest.fixture
def deliver(store_url: str) -> Callable[[], None]:
    """Run a dispatcher until nothing is due."""

    async def drain() -> None:
        async with Notifykit(store_url, egress=LOOPBACK) as kit, kit.dispatcher() as dispatcher, asyncio.timeout(10):
            await dispatcher.drained()

    return lambda: asyncio.run(drain())


@pytest.fixture
def endpoint(cli: Command, desk: Desk) -> str:
    """An endpoint that gets every ``order`` event, and gives up after the first failure."""
    created = cli("endpoints", "create", desk.url, "--events", "order.**", "--retry", "none", "--json").record
    id_: str = created["id"]
    return id_
