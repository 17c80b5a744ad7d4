"""An environment of its own for each peer, below ``.bench``: their requirements exclude each other's."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from .catalog import CHECKOUT, PeerUnavailable, requirements

_FOLDER = CHECKOUT / ".bench"


def environment(name: str, say: Callable[[str], None]) -> Path:
    """Return the folder of the peer's programs, after installing them where that has not been done.

    Raises:
        PeerUnavailable: The packages could not be installed.
    """
    wanted = requirements(name)
    folder = _FOLDER / wanted.parent.name
    programs = folder / "bin"
    stamp = folder / "installed"
    origin = hashlib.sha256(wanted.read_bytes() + f"{CHECKOUT} {sys.version}".encode()).hexdigest()
    if not (stamp.exists() and stamp.read_text() == origin):
        say(f"installing {name} into {folder.relative_to(CHECKOUT)} ...")
        shutil.rmtree(folder, ignore_errors=True)
        _install(name, folder, wanted)
        stamp.write_text(origin)
    return programs


def version(programs: Path, distribution: str) -> str:
    """Return the installed version of a package."""
    script = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"
    command = [str(programs / "python"), "-c", script, distribution]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _install(name: str, folder: Path, wanted: Path) -> None:
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    python = str(folder / "bin" / "python")
    if uv:
        _run(name, uv, "venv", "-q", "--no-python-downloads", "-p", sys.executable, str(folder))
        _run(name, uv, "pip", "install", "-q", "-p", python, "-r", str(wanted))
    else:
        _run(name, sys.executable, "-m", "venv", "--without-pip", str(folder))  # Debian's Python has no ensurepip
        _run(name, sys.executable, "-m", "pip", "--python", python, "install", "-q", "-r", str(wanted))


def _run(name: str, *command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise PeerUnavailable(
            f"{name} could not be installed; it needs a package index. "
            f"`{' '.join(command)}` said:\n{(done.stdout + done.stderr).strip()[-1500:]}"
        )
