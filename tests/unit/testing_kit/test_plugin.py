"""The pytest plugin, in runs of pytest that load only the plugin."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.in_turn

ROOT = Path(__file__).parents[3]

HOST = """
import attrs, notifykit, pytest
from datetime import timedelta

@notifykit.event("order.shipped")
@attrs.frozen
class OrderShipped:
    order_id: str

def test_sync(outbox):
    outbox.subscribe(tenant="acme")
    notifykit.publish(OrderShipped("A-1"), tenant="acme")
    outbox.advance(timedelta(hours=1))
    assert outbox.one(OrderShipped("A-1")).state == "delivered"

@pytest.mark.anyio
async def test_async(outbox, anyio_backend_name):
    assert anyio_backend_name == "asyncio"
    await notifykit.apublish(OrderShipped("A-2"), tenant="acme")
    outbox.assert_published(OrderShipped, order_id="A-2")

@pytest.fixture
def anyio_backend():
    return "asyncio"

class TestOwn:
    @pytest.fixture
    def outbox(self):
        return "the host's own"

    def test_a_fixture_of_the_same_name_wins(self, outbox):
        assert outbox == "the host's own"
"""


def pytest_in(folder, *arguments):
    """Run pytest in ``folder``; the plugin is named, so that it need not be installed."""
    plugin = ("-p", "no:notifykit", "-p", "notifykit.testing.plugin", "-p", "no:cacheprovider")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", *plugin, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


#: What Python and the plugins of other packages leave in the folder.
LEFT_BY_OTHERS = {"__pycache__", ".hypothesis"}


@pytest.fixture
def host(tmp_path):
    """The folder of a program's tests."""
    (tmp_path / "test_host.py").write_text(HOST)
    return tmp_path


def test_the_fixture_serves_a_programs_tests(host):
    """Sync and async tests, without a line of configuration, without warnings and without files."""
    done = pytest_in(host)

    assert "3 passed" in done.stdout, done.stdout + done.stderr
    assert ["test_host.py"] == [path.name for path in host.iterdir() if path.name not in LEFT_BY_OTHERS]


def test_the_fixture_describes_itself(host):
    """``pytest --fixtures`` is where people look."""
    done = pytest_in(host, "--fixtures")

    assert "outbox -- " in done.stdout
    assert "A kit in memory that replaces the default kit" in done.stdout


def test_a_run_that_does_not_use_it_does_not_pay_for_it(host):
    """Loading the plugin imports neither attrs nor a database nor an HTTP client."""
    (host / "test_host.py").write_text(
        "import sys\n"
        "def test_nothing_is_loaded():\n"
        "    loaded = {name for name in sys.modules if name.startswith('notifykit')}\n"
        "    assert loaded == {'notifykit', 'notifykit.testing', 'notifykit.testing.plugin'}\n"
        "    assert not {'sqlalchemy', 'httptools', 'cattrs'} & set(sys.modules)\n"
    )

    done = pytest_in(host, "-p", "no:hypothesispytest", "-p", "no:respx")

    assert "1 passed" in done.stdout, done.stdout


def test_pytest_finds_the_plugin_by_itself():
    """The entry point names a module that exists."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert {"notifykit": "notifykit.testing.plugin"} == project["entry-points"]["pytest11"]
