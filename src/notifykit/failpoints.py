"""Named places in the code where a test can make the process die, stop or fail: used by the crash tests.

Off unless the environment variable ``NOTIFYKIT_FAILPOINTS`` is set when the package is
imported; when off, each failpoint costs one check of a global, some 30 ns.  Never set it in production::

    NOTIFYKIT_FAILPOINTS="fan.committed=kill,res.committed=sleep:0.2@3"

An action follows each name; with ``@n`` it happens only the n-th time the failpoint is reached, without
it every time:

``kill``      SIGKILL to this process: nothing is flushed, closed or given back;
``stop``      SIGSTOP to this process, until it gets SIGCONT;
``hang``      this thread blocks for ever;
``sleep:S``   this thread sleeps for S seconds;
``raise``     :class:`FailpointError`, which every caller must handle like an unavailable store.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable
from typing import Final, NoReturn

from .environment import FAILPOINTS
from .errors import ConfigurationError, StoreUnavailableError

VARIABLE: Final = FAILPOINTS
_ENTRY = re.compile(
    r"(?P<name>[a-z]+\.[a-z_]+)=(?P<action>kill|stop|hang|raise|sleep:[0-9.]+)(?:@(?P<nth>[1-9][0-9]*))?"
)


class FailpointError(StoreUnavailableError):
    """A failpoint with the action ``raise`` was reached."""


class _Failpoint:
    """One armed place."""

    def __init__(self, act: Callable[[], None], nth: int | None) -> None:
        self._act = act
        self._nth = nth
        self._passed = 0
        self._lock = threading.Lock()

    def reach(self) -> None:
        with self._lock:
            self._passed += 1
            due = self._nth is None or self._passed == self._nth
        if due:
            self._act()


_armed: dict[str, _Failpoint] = {}
_on = False


def failpoint(name: str) -> None:
    """Run the action that the environment sets for ``name``; usually there is none."""
    if _on and name in _armed:
        _armed[name].reach()


def arm(text: str) -> None:
    """Arm the failpoints that ``text`` lists, and no others.

    Raises:
        ConfigurationError: It cannot be read.
    """
    global _on  # noqa: PLW0603  # one global is what makes it free while it is off
    armed = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        match = _ENTRY.fullmatch(entry)
        if match is None:
            raise ConfigurationError(f"{VARIABLE}: {entry!r} is not name=action or name=action@n")
        nth = match["nth"]
        armed[match["name"]] = _Failpoint(_action(match["name"], match["action"]), int(nth) if nth else None)
    _armed.clear()
    _armed.update(armed)
    _on = bool(armed)


def _action(name: str, text: str) -> Callable[[], None]:
    kind, _, seconds = text.partition(":")

    def fail() -> NoReturn:
        raise FailpointError(f"failpoint {name} is set to raise")

    def hang() -> None:
        while True:
            time.sleep(3600)

    return {
        "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
        "sleep": lambda: time.sleep(float(seconds)),
        "hang": hang,
        "raise": fail,
    }[kind]


arm(os.environ.get(VARIABLE, ""))
