"""What an import brings with it: a receiver pays for the standard library and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

HEAVY = {
    "sqlalchemy",
    "alembic",
    "httpx",
    "httptools",
    "anyio",
    "asyncio",
    "attr",
    "attrs",
    "cattrs",
    "cryptography",
    "ssl",
}


def imported_by(statements: str) -> set[str]:
    """Return the modules that ``python -X importtime`` reports for ``statements`` in a fresh interpreter."""
    command = [
        sys.executable,
        "-X",
        "importtime",
        "-c",
        f"import sys; print('from here', file=sys.stderr); {statements}",
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    report = done.stderr.partition("from here")[2]  # the interpreter's own start imports these
    return set(re.findall(r"^import time:.*\|\s+(\S+)$", report, flags=re.MULTILINE))


def heavy(modules: set[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules} & HEAVY


def test_importing_the_receiver_side_brings_nothing_heavy():
    """Neither the database nor the network nor Ed25519 is loaded by a program that only verifies."""
    modules = imported_by("import notifykit.signing")

    assert "notifykit.signing.verifier" in modules
    assert set() == heavy(modules)
    assert {"notifykit", "notifykit.errors"} == {
        name for name in modules if name.startswith("notifykit") and not name.startswith("notifykit.signing")
    }


def test_signing_and_verifying_with_a_shared_secret_brings_nothing_heavy():
    """The common case stays with the standard library, from the key to the verdict."""
    modules = imported_by(
        "from notifykit.signing import Signer, Verifier, generate_secret; import time; key = generate_secret(); "
        "now = int(time.time()); Verifier(key).verify(b'{}', Signer(key).headers('msg_1', now, b'{}'))"
    )

    assert "notifykit.signing.signer" in modules
    assert set() == heavy(modules)


@pytest.mark.parametrize("key", ["generate_secret('v1a')", "public_key('whsk_' + 'A' * 43 + '=')"])
def test_cryptography_is_imported_with_the_first_ed25519_key(key):
    """Only programs with ``v1a`` keys pay for it, and the check above can see it."""
    modules = imported_by(f"from notifykit.signing import generate_secret, public_key; {key}")

    assert "cryptography" in heavy(modules)


def test_templates_are_imported_with_the_first_one():
    """A program that publishes, and one whose classes make its messages, needs none of what templates need."""
    modules = imported_by("import notifykit; notifykit.Notifykit; from notifykit.templates import MethodRenderer")

    assert "notifykit.templates.methods" in modules
    assert not {"minijinja", "babel", "css_inline"} & {module.partition(".")[0] for module in modules}


def test_parsing_an_event_brings_attrs_only():
    """The event class is loaded when it is asked for."""
    modules = imported_by("from notifykit.signing import ReceivedEvent")

    assert {"attr", "attrs"} == heavy(modules)
