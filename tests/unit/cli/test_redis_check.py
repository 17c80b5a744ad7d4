"""``notifykit check`` says what a Redis server can lose."""

from __future__ import annotations

import json

import pytest

from notifykit.cli import main
from notifykit.testing.servers import ValkeyServer

redis = pytest.importorskip("redis", reason="needs redis")


def test_there_is_nothing_to_migrate(redis_url, capsys):
    """A deployment may run the command for each store."""
    code = main(["migrate", "--url", redis_url])

    assert (0, True) == (code, "no tables to migrate" in capsys.readouterr().out)


@pytest.mark.parametrize(
    ("settings", "level", "found"),
    [
        pytest.param({"appendfsync": "always"}, "ok", "on the disk before", id="always"),
        pytest.param({"appendfsync": "everysec"}, "note", "in the last two seconds", id="everysec"),
        pytest.param({"appendfsync": "no"}, "warn", "half a minute", id="no"),
        pytest.param({"appendonly": "no"}, "warn", "last snapshot", id="off"),
        pytest.param({"rename-command": "CONFIG nothing"}, "note", "does not say", id="forbidden"),
    ],
)
def test_the_check_says_what_a_power_cut_takes(redis_url, capsys, settings, level, found):
    """By the server's own settings, also where CONFIG is forbidden."""
    del redis_url  # skips where there is no server
    forbids = settings.pop("rename-command", None)
    with ValkeyServer(settings=settings) as server:
        if forbids:
            with redis.from_url(server.url) as client:
                client.execute_command("ACL", "SETUSER", "default", "-config")
        main(["check", "--json", "--url", server.url])

    findings = {each["name"]: each for each in map(json.loads, capsys.readouterr().out.splitlines())}
    assert level == findings["durability"]["level"]
    assert found in findings["durability"]["found"]
    assert "noeviction" in findings["memory"]["found"]
