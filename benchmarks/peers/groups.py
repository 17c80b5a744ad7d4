"""The processes of one measurement: started in the peer's environment, ended together."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from .catalog import PeerUnavailable


class Group:
    """Processes of one environment; each leads a group of its own, and all groups end together.

    Args:
        programs: The folder of their programs.
        folder: Where they run.
        variables: Their environment variables, besides ours without ``PYTHON*``.
        log: The file for their output.
        patience: Seconds from SIGTERM to SIGKILL.
    """

    def __init__(
        self, programs: Path, folder: Path, variables: Mapping[str, str], log: Path, *, patience: float = 10.0
    ) -> None:
        self._programs = programs
        self._folder = folder
        self._log = log
        self._patience = patience
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        path = f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        self._variables = {**inherited, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1", **variables}
        self._running: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for sent in (signal.SIGTERM, signal.SIGKILL):
            for process in self._running:  # also where the leader has ended: its children may still run
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, sent)
            deadline = time.monotonic() + self._patience
            for process in self._running:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(deadline - time.monotonic(), 0.1))

    def start(self, command: Sequence[str], *, pipe: bool = False) -> subprocess.Popen[str]:
        """Start a command that does not outlive this process; what it prints goes to the log, or into a pipe."""
        setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
        ends_with_us = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
        with self._log.open("a") as log:
            process = subprocess.Popen(
                [*ends_with_us, str(self._programs / command[0]), *command[1:]],
                cwd=self._folder,
                env=self._variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipe else log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._running.append(process)
        return process

    def finish(self, process: subprocess.Popen[str], seconds: float = 120) -> Any:
        """Return the JSON that a command printed last, once it has ended."""
        try:
            printed, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise self.failure(f"`{_words(process)}` took longer than {seconds:.0f} s") from None
        self._running.remove(process)  # another process may get its id from now on
        if process.returncode:
            raise self.failure(f"`{_words(process)}` ended with {process.returncode}")
        return json.loads(printed.strip().splitlines()[-1]) if printed.strip() else None

    def run(self, command: Sequence[str]) -> Any:
        """Run a command to its end and return the JSON that it printed last."""
        return self.finish(self.start(command, pipe=True))

    def failure(self, what: str) -> PeerUnavailable:
        """Return what happened, with the end of the log."""
        return PeerUnavailable(f"{what}; the end of its log:\n{self._log.read_text(errors='replace')[-2000:]}")


def _words(process: subprocess.Popen[str]) -> str:
    """Return what was run, for people."""
    words = list(process.args) if isinstance(process.args, list) else [process.args]
    return shlex.join(Path(str(word)).name for word in words[words.index("--") + 1 if "--" in words else 0 :])
