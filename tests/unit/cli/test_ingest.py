"""``notifykit ingest``: messages of a broker become events, until a signal comes."""

from __future__ import annotations

import json
import signal
import sys
from uuid import uuid4

import pytest

from notifykit.brokers.feeds.redis import RedisFeed
from tests.unit.cli.driving import start, wait_until


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["pigeon://coop", "--topic", "orders", "--type", "a.b"], "no feed for 'pigeon' URLs"),
        (["redis+stream://queue", "--topic", "orders"], "give either --type, or --map"),
        (["redis+stream://queue", "--topic", "orders", "--map", "json:loads", "--to", "x"], "go with --type"),
        (["redis+stream://queue", "--topic", "orders", "--map", "no.such:thing"], "write module:function"),
        (["redis+stream://queue", "--topic", "orders", "--map", ":thing"], "write module:function"),
    ],
)
def test_what_cannot_work_is_refused(cli, options, message):
    """Before anything is read; the message says what to do."""
    answer = cli("ingest", *options)

    assert answer.code != 0
    assert message in answer.err


def test_a_function_of_this_folder_is_found(cli, tmp_path, monkeypatch):
    """As it is by other programs that take MODULE:FUNCTION; a module that is wrong is one line."""
    (tmp_path / "shop_events.py").write_text("def from_message(message): ...\n")
    (tmp_path / "shop_broken.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder])

    found, broken = (
        cli("ingest", "pigeon://coop", "--topic", "orders", "--map", name)
        for name in ("shop_events:from_message", "shop_broken:from_message")
    )

    assert "no feed for 'pigeon' URLs" in found.err
    assert "--map shop_broken:from_message: ZeroDivisionError: division by zero; write module:function" in broken.err


def test_the_command_ends_with_its_reading(cli, monkeypatch, sqlite_store_url):
    """An error that nobody foresaw must not leave a process that reads no more."""

    async def receive(self, limit, *, wait):
        raise RuntimeError("bug")

    monkeypatch.setattr(RedisFeed, "receive", receive)

    options = ["--topic", "orders", "--type", "a.b", "--url", sqlite_store_url]
    answer = cli("ingest", "redis+stream://queue", *options)

    assert 1 == answer.code
    assert "unexpected RuntimeError: bug" in answer.err


def test_messages_become_events(cli, redis_url, sqlite_store_url):
    """In a process of its own, which SIGTERM ends in good order."""
    import redis

    topic = f"test-{uuid4().hex[:12]}"
    source = redis_url.replace("redis://", "redis+stream://")
    options = ["--topic", topic, "--type", "order.{status}", "--tenant", "{shop}", "--url", sqlite_store_url, "--json"]
    with redis.from_url(redis_url) as client, start("ingest", source, *options) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        client.xadd(topic, {"data": '{"status": "paid", "shop": "acme"}'})

        def published():
            return cli("events", "list", "--tenant", "acme", "--url", sqlite_store_url, "--json").records

        wait_until(lambda: bool(published()), "an event")
        process.send_signal(signal.SIGTERM)
        code = process.wait(30)
        said = process.stderr.read() if process.stderr else ""
        client.delete(topic)

    assert (True, 0) == (ready["ready"], code)
    assert ["order.paid"] == [event["type"] for event in published()]
    assert "1 messages became events, 0 are dead letters" in said
