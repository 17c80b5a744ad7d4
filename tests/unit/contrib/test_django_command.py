"""``manage.py notifykit``: the command line knows the project's database and the settings of its kit."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

import notifykit
from notifykit import EgressRules, KeyRing
from notifykit.contrib.django import publish, store_url
from notifykit.contrib.django.management.commands.notifykit import Command
from notifykit.default import configured
from notifykit.testing import Outbox
from tests.unit.contrib.conftest import django_database

SETTINGS = """
SECRET_KEY = "x"
INSTALLED_APPS = ["notifykit.contrib.django"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.db"}}
"""


@pytest.fixture(autouse=True)
def no_kit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No settings but those of the test, and no default kit before or after it."""
    for name in [name for name in os.environ if name.startswith("NOTIFYKIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("notifykit.default._kit", None)
    yield
    if (kit := configured()) is not None:
        kit.close()


def ran(*arguments: str) -> tuple[int, str]:
    """Run the command; return its exit code and what it wrote."""
    out = io.StringIO()
    try:
        call_command(Command(), *arguments, stdout=out)
    except SystemExit as ended:
        return int(ended.code or 0), out.getvalue()
    return 0, out.getvalue()


def test_it_works_on_djangos_database(url: str) -> None:
    """What is published through Django is found without naming the database; the environment stays as it was."""
    publish(notifykit.Event(type="order.placed", data={}), tenant="acme", kit=notifykit.Notifykit(store_url()))

    code, out = ran("events", "list", "--tenant", "acme", "--json")

    assert (0, "order.placed") == (code, json.loads(out)["type"])
    assert "NOTIFYKIT_URL" not in os.environ


def test_exit_codes_are_passed_on(url: str) -> None:
    """A missing object is exit code 3, as on the shell."""
    assert 3 == ran("endpoints", "show", "end_1")[0]


def test_another_database_can_be_named(url: str, tmp_path: Path) -> None:
    """By its alias in the settings."""
    other = {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "other.db"}
    with django_database("other", other):
        code, out = ran("--database", "other", "migrate", "--json")

    assert (0, True) == (code, json.loads(out)["url"].endswith("other.db"))


def test_a_database_that_is_not_there_is_one_line(url: str) -> None:
    """Django shows it without a traceback."""
    with pytest.raises(CommandError, match="'shop' doesn't exist"):
        ran("--database", "shop", "stats")


def test_the_configured_kit_counts(url: str, tmp_path: Path) -> None:
    """Its database, its keys and its egress rules, none of which stands in a variable of the environment."""
    ring = KeyRing.generate("shop")
    rules = EgressRules(allow=["127.0.0.0/8"], allow_names=["hooks.internal"], allow_http=True)
    kit = notifykit.configure(f"sqlite:///{tmp_path / 'kit.db'}", keys=ring, egress=rules, environment="production")

    code, _ = ran("endpoints", "create", "http://127.0.0.1:9000/", "--tenant", "acme")
    (endpoint,) = kit.blocking.endpoints.list(tenant="acme")
    named, _ = ran("endpoints", "create", "http://hooks.internal/", "--tenant", "umbrella")

    assert (0, 0, "http://127.0.0.1:9000/") == (code, named, endpoint.url)
    assert endpoint.secrets[0].value.startswith("whsec_")
    assert 0 == ran("check")[0]
    assert "NOTIFYKIT_KEYS" not in os.environ


def test_in_a_test_with_an_outbox_it_still_asks_the_database(url: str) -> None:
    """A kit in memory has no URL."""
    with Outbox():
        code, out = ran("stats", "--json")

    assert (0, "all") == (code, json.loads(out)["tenants"])


def test_the_app_is_found_by_manage(tmp_path: Path) -> None:
    """With the app installed, ``manage.py`` knows the command; Django's own options are not passed on."""
    (tmp_path / "shop_settings.py").write_text(SETTINGS, "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, "-m", "django", "notifykit", "migrate", "--settings", "shop_settings", "--json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment,
    )

    assert (0, "") == (done.returncode, done.stderr)
    assert json.loads(done.stdout)["url"].endswith("shop.db")
