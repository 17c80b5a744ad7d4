"""``notifykit catch``: the page with people's messages, over a real socket."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import httpx
import pytest

from notifykit.cli.catch.command import Page
from notifykit.cli.catch.tail import Tail
from notifykit.cli.receiver import Receiver
from tests.unit.cli.driving import Command, start

EMAIL = {"channel": "email", "to": "ada@example.org", "message": {"subject": "Hi", "text": "Hi", "html": "<p>Hi</p>"}}


def append(file: Path, *messages: object) -> None:
    with file.open("a") as lines:
        lines.writelines(json.dumps(message) + "\n" for message in messages)


async def test_the_page_gets_messages_as_they_come(tmp_path: Path) -> None:
    """A request that asks for later messages waits until there is one."""
    file = tmp_path / "caught.jsonl"
    page = Page(Tail(file))
    async with (
        Receiver(page.handle) as receiver,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{receiver.port}") as client,
    ):
        page.port = receiver.port
        following = asyncio.create_task(page.follow())
        waiting = asyncio.create_task(client.get("/messages?after=0"))
        await asyncio.sleep(0)
        append(file, EMAIL, {"channel": "sms", "message": {"text": "Hello"}})
        found = (await waiting).json()["messages"]
        again = (await client.get("/messages?after=1")).json()["messages"]
        html = await client.get("/html/1")
        missing = [(await client.get(path)).status_code for path in ("/html/2", "/html/9", "/html/x", "/other")]
        bad = (await client.get("/messages?after=x")).status_code
        page_itself = [await client.get(path) for path in ("/", "/page.js", "/page.css")]
        elsewhere = await client.get("/", headers={"host": "evil.example"})
        posted = await client.post("/")
        following.cancel()

    assert [1, 2] == [message["number"] for message in found]
    assert ["sms"] == [message["channel"] for message in again]
    assert "<p>Hi</p>" == html.text
    assert html.headers["content-security-policy"].startswith("sandbox")
    assert ([404] * 4, 400, 403, 405) == (missing, bad, elsewhere.status_code, posted.status_code)
    assert all("script-src 'self'" in answer.headers["content-security-policy"] for answer in page_itself)


def test_it_runs_until_it_is_interrupted(tmp_path: Path) -> None:
    """It says where the page is; Ctrl-C ends it without a word."""
    file = tmp_path / "caught.jsonl"
    append(file, EMAIL)
    with start("catch", "--no-browser", "--port", "0", "--json", "--file", str(file)) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        answer = httpx.get(said["page"] + "messages?after=0").json()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)

    assert str(file) == said["file"]
    assert ["Hi"] == [message["message"]["subject"] for message in answer["messages"]]
    assert (130, "") == (process.returncode, err)


@pytest.mark.parametrize("name", [".", "missing/caught.jsonl", "caught\0.jsonl"])
def test_a_file_that_cannot_be_is_refused(cli: Command, name: str) -> None:
    """A folder, a file in a folder that is missing, and a name that no file has."""
    answer = cli("catch", "--no-browser", "--file", name)

    assert 1 == answer.code
    assert "--file" in answer.err
