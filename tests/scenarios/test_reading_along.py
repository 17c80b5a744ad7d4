"""Pages work as their readers use them: the tutorial is typed line by line, programs are files that commands run."""

from __future__ import annotations

import ast
import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path

import attrs
import httpx
import pytest

from notifykit import Notifykit, Step
from notifykit.testing.servers import free_port

pytestmark = pytest.mark.in_turn

ROOT = Path(__file__).parents[2]
PAGES = sorted(page for page in (ROOT / "docs" / "tutorial").glob("*.md") if page.stem != "index")
if not PAGES:
    pytest.skip("needs docs/", allow_module_level=True)

BLOCK = re.compile(r"^```(python|text|sh)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
#: What cannot be run here: it installs from the package index.
INSTALL = "pip install"
#: The names that the README's transaction leaves to its reader.
MODELS = """
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[str] = mapped_column(primary_key=True)


Base.metadata.create_all(create_engine("sqlite:///shop.db"))
order = Order(id="A-1")
"""


def blocks(page: Path, kind: str) -> list[str]:
    """Return the blocks of a page that are marked as ``kind``."""
    return [text for name, text in BLOCK.findall(page.read_text("utf-8")) if name == kind]


def without_settings() -> dict[str, str]:
    """Return this environment without the variables of notifykit."""
    return {name: value for name, value in os.environ.items() if not name.startswith("NOTIFYKIT_")}


def run(command: list[str], folder: Path, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command in the reader's folder."""
    return subprocess.run(
        command,
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
        env=without_settings(),
        check=False,
    )


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="from Python 3.13 on the prompt needs a terminal")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_works_when_it_is_typed_along(page: Path, tmp_path: Path) -> None:
    """No line is an error at this Python's prompt, what the page shows is printed, and its commands find the data."""
    typed = "\n".join(blocks(page, "python"))  # an empty line ends a block that the last line is in
    commands = [line for block in blocks(page, "sh") for line in block.splitlines() if not line.startswith(INSTALL)]

    said = run([sys.executable, "-m", "asyncio"], tmp_path, typed)
    shown = [run([sys.executable, "-m", *command.split()], tmp_path) for command in commands]

    assert [] == re.findall(r"^.*(?:Traceback|Error).*$", said.stderr, flags=re.MULTILINE)
    printed = said.stdout.replace(">>> ", "").replace("... ", "")
    at = 0
    for expected in blocks(page, "text"):
        at = printed.index(expected, at) + len(expected)
    for answer in shown:
        assert (0, "") == (answer.returncode, answer.stderr)
        assert "delivered" in answer.stdout


def test_the_transaction_of_the_readme_publishes(tmp_path: Path) -> None:
    """With the names that the snippet leaves to its reader, it stores an order and its event together."""
    quickstart, transaction, _ = blocks(ROOT / "README.md", "python")
    declared = quickstart[quickstart.index("import attrs") : quickstart.index("class Receiver")]
    (tmp_path / "program.py").write_text(declared + MODELS + transaction)
    migrated = run([sys.executable, "-m", "notifykit", "migrate", "--url", "sqlite:///shop.db"], tmp_path)

    done = run([sys.executable, "program.py"], tmp_path)

    assert (0, 0, "") == (migrated.returncode, done.returncode, done.stderr)
    with closing(sqlite3.connect(tmp_path / "shop.db")) as db:
        assert [("A-1",)] == db.execute("SELECT id FROM orders").fetchall()
        assert [("order.shipped",)] == db.execute("SELECT type FROM notifykit_events").fetchall()


async def test_the_readme_tells_a_person(capsys: pytest.CaptureFixture[str]) -> None:
    """With a kit that sends e-mails, the person of the snippet gets the comment in the inbox at once."""
    *_, snippet = blocks(ROOT / "README.md", "python")
    code = compile(snippet, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)

    async with Notifykit("memory://", email="catch://") as kit:
        await eval(code, {"attrs": attrs, "kit": kit, "Step": Step, "timedelta": timedelta})
        async with kit.dispatcher() as dispatcher:
            await dispatcher.drained()
        (item,) = (await kit.inbox("user:42", tenant="acme").page()).items

    assert {"text": "Nice!"} == item.data
    assert "email: sent to ada@example.org at" in capsys.readouterr().out


def test_flask_runs_the_program_of_its_page(tmp_path: Path) -> None:
    """``flask --app shop run`` finds the program, and an order that is posted is an event in the store."""
    page = ROOT / "docs" / "howto" / "flask-sqlalchemy.md"
    (tmp_path / "shop.py").write_text(blocks(page, "python")[0])
    run([sys.executable, "-m", "notifykit", "migrate", "--url", "sqlite:///shop.db"], tmp_path)
    assert "\nflask --app shop run\n" in blocks(page, "sh")[0]
    port = free_port()
    env = without_settings() | {"NOTIFYKIT_URL": "sqlite:///shop.db"}
    command = [sys.executable, "-m", "flask", "--app", "shop", "run", "--port", str(port)]

    with subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.DEVNULL) as server:
        try:
            end = time.monotonic() + 30
            while server.poll() is None and time.monotonic() < end:
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                time.sleep(0.05)
            answer = httpx.post(f"http://127.0.0.1:{port}/orders", json={"order_id": "A-1"}, timeout=30)
        finally:
            server.terminate()

    assert 201 == answer.status_code
    with closing(sqlite3.connect(tmp_path / "shop.db")) as db:
        assert [(answer.json()["event_id"],)] == db.execute("SELECT id FROM notifykit_events").fetchall()
