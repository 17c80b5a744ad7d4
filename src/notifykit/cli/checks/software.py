"""Checks of this machine: versions and what is installed."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator

from ...distribution import NAME, NAMESAKE, version, with_extras
from ...environment import VARIABLES, misspelt
from ...native import is_compiled
from ..text import plain
from .finding import Finding

#: The packages of each extra.
EXTRAS = {
    "asyncpg": "postgres",
    "asyncmy": "mysql",
    "redis": "redis",
    "orjson": "speed",
    "uvloop": "speed",
    "h2": "http2",
    "jsonschema-rs": "schema",
    "aiosmtplib": "email",
    "minijinja": "templates",
}


def python() -> Iterator[Finding]:
    """Report the version of Python."""
    supported = sys.version_info >= (3, 11)
    yield Finding(
        "python",
        "ok" if supported else "bad",
        f"{platform.python_implementation()} {platform.python_version()} on {platform.system()}",
        "" if supported else "Python 3.11 or newer is needed",
    )


def package() -> Iterator[Finding]:
    """Report the version of this package, and whether it is compiled."""
    form = ", compiled" if is_compiled() else ""
    yield Finding("notifykit", "ok", (version() or "not installed, run from its source") + form)


def extras() -> Iterator[Finding]:
    """Report which extras are installed."""
    found = {name: version(name) for name in EXTRAS}
    present = ", ".join(f"{name} {text}" for name, text in found.items() if text) or "none"
    missing = sorted({EXTRAS[name] for name, text in found.items() if not text})
    wanted = f"to install: pip install '{with_extras(*missing)}'" if missing else ""
    yield Finding("extras", "note" if missing else "ok", present, wanted)


def namesake() -> Iterator[Finding]:
    """Find the package of another project that has the same import name."""
    if (other := version(NAMESAKE)) is not None:
        yield Finding(
            "namesake",
            "bad",
            f"{NAMESAKE} {other} is installed: another project, whose files replace those of this package",
            f"pip uninstall {NAMESAKE}; then pip install --force-reinstall --no-deps {NAME}",
        )


def environment() -> Iterator[Finding]:
    """Find variables that the library does not read, because a mistyped one would be ignored silently."""
    for name, meant in misspelt(os.environ).items():
        yield Finding(
            "environment",
            "warn",
            f"{plain(name)} is not a variable of notifykit and is ignored",
            f"did you mean {meant}?" if meant else f"the variables are {', '.join(VARIABLES)}",
        )
