#!/usr/bin/env python3
"""Everything a developer does here, from a bare Python: standard library only.

    python3 dev.py demo [...]     see it work, on the embedded defaults
    python3 dev.py test [...]     run the tests (arguments go to pytest), with real servers where there are any
    python3 dev.py bench [...]    run the benchmarks
    python3 dev.py docs           build the documentation
    python3 dev.py nox [...]      run any session of the noxfile, such as: nox -s lint types

Makes .venv and installs what the verb needs into it; again only when pyproject.toml or the Python has changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
PROJECT = HERE / "pyproject.toml"
VENV = HERE / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
#: Says what has been installed, and from which pyproject.toml.
STAMP = VENV / "installed.json"
#: The first release that knows dependency groups.
PIP = "pip>=25.1"


class Verb(NamedTuple):
    """What a verb runs, and what has to be installed for it."""

    command: tuple[str, ...]
    extras: str = ""
    groups: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()

    @property
    def needs(self) -> list[str]:
        """The arguments of ``pip install``."""
        groups = [part for group in self.groups for part in ("--group", f"{PROJECT}:{group}")]
        return ["-e", f"{HERE}[{self.extras}]" if self.extras else str(HERE), *groups, *self.packages]


VERBS = {
    "demo": Verb(("-m", "notifykit", "demo"), extras="speed"),
    "test": Verb(("-m", "pytest"), extras="all", groups=("test",)),
    "bench": Verb(("-m", "benchmarks"), extras="postgres,speed", groups=("bench",)),
    "docs": Verb(
        ("-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html"),
        extras="all",
        groups=("docs",),
    ),
    "nox": Verb(("-m", "nox"), packages=("nox[uv]",)),
}


def main(arguments: Sequence[str]) -> int:
    """Install what the verb needs, then run it."""
    if not arguments or arguments[0] not in VERBS:
        print(__doc__, file=sys.stderr)
        return 2
    verb = VERBS[arguments[0]]
    try:
        install(arguments[0], verb)
    except subprocess.CalledProcessError as error:
        print(f"dev.py: setting up .venv failed: {' '.join(map(str, error.cmd))}", file=sys.stderr)
        return 1
    return run([str(PYTHON), *verb.command, *arguments[1:]])


def install(name: str, verb: Verb) -> None:
    """Make the environment and install what the verb needs, unless that has been done."""
    origin = hashlib.sha256(PROJECT.read_bytes() + f"{HERE} {sys.version}".encode()).hexdigest()
    done = installed(origin)
    if name in done:
        return
    print(f"dev.py: installing what `{name}` needs into {VENV.name} ...", file=sys.stderr, flush=True)
    uv = shutil.which("uv")
    if not done:
        make_environment(uv)
    if uv:
        subprocess.run([uv, "pip", "install", "-q", "-p", str(PYTHON), *verb.needs], check=True, cwd=HERE)
    else:
        subprocess.run([str(PYTHON), "-m", "pip", "install", "-q", *verb.needs], check=True, cwd=HERE)
    STAMP.write_text(json.dumps({"origin": origin, "verbs": [*done, name]}))


def installed(origin: str) -> list[str]:
    """Return the verbs whose needs were installed from the pyproject.toml and the Python at hand."""
    try:
        stamp = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return []
    return list(stamp["verbs"]) if stamp["origin"] == origin else []


def make_environment(uv: str | None) -> None:
    """Make an empty .venv, with a pip that is new enough where uv does not take its place."""
    shutil.rmtree(VENV, ignore_errors=True)
    if uv:
        subprocess.run([uv, "venv", "-q", "--no-python-downloads", "-p", sys.executable, str(VENV)], check=True)
        return
    make = [sys.executable, "-m", "venv", str(VENV)]
    if subprocess.run(make, check=False, capture_output=True).returncode == 0:
        subprocess.run([str(PYTHON), "-m", "pip", "install", "-q", "-U", PIP], check=True)
        return
    # Debian without python3-venv: no ensurepip inside, but perhaps a pip outside.
    subprocess.run([*make, "--without-pip", "--clear"], check=True)
    outside = [sys.executable, "-m", "pip", "--python", str(PYTHON), "install", "-q", PIP]
    if subprocess.run(outside, check=False).returncode:
        sys.exit("dev.py: this Python has neither ensurepip nor pip; on Debian: apt-get install python3-venv")


def run(command: Sequence[str]) -> int:
    """Run the command to its end; a Ctrl-C is the command's to handle."""
    with subprocess.Popen(command, cwd=HERE) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 - this file also meets Pythons that the package does not support
        sys.exit("dev.py: Python 3.11 or newer is needed, this is " + sys.version.split()[0])
    try:
        raise SystemExit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
