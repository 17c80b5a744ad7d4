"""Importing the package stays cheap: clients that a program may not use are not loaded with it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

LOADED = "import json, sys, {module}; print(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
CLIENTS = {
    "aiosqlite", "alembic", "asyncpg", "babel", "css_inline", "django", "fastapi", "flask", "h2", "jsonschema_rs",
    "minijinja", "uvloop",
}  # fmt: skip


def loaded_by(module: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded after importing ``module``."""
    script = LOADED.format(module=module)
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("module", ["notifykit", "notifykit.ports", "notifykit.errors"])
def test_no_optional_client_is_loaded(module: str) -> None:
    """Importing the public names brings neither a database driver nor a web framework."""
    loaded = loaded_by(module)

    assert module.partition(".")[0] in loaded
    assert set() == loaded & CLIENTS


def test_the_receiver_side_is_importable_alone() -> None:
    """A program that only verifies webhooks does not pay for the dispatcher's clients."""
    loaded = loaded_by("notifykit.signing")

    assert set() == loaded & (CLIENTS | {"anyio", "httptools", "httpx", "sqlalchemy"})
