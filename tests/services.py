"""Where the tests find their servers: a URL in the environment, else a private one.

``NOTIFYKIT_REQUIRE`` names what must not be missing (``postgres``, ``mysql``, ``redis``, ``kafka``, ``apache-kafka``,
``nats``, ``rabbitmq``, ``aws``, ``pgbouncer``, ``promtool``, ``chromium``, ``data``, or ``all`` for every server and
tool), so that a missing one fails the run in CI.

From a shell, one server for several test processes::

    python tests/services.py run postgres -- pytest -n 2
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from notifykit.testing.apache_kafka import ApacheKafkaServer
from notifykit.testing.broker_servers import AwsServer, KafkaServer, NatsServer, RabbitServer
from notifykit.testing.mysql_servers import MariadbServer
from notifykit.testing.servers import PostgresServer, Server, ServerUnavailableError, ValkeyServer

REQUIRED = frozenset(os.environ.get("NOTIFYKIT_REQUIRE", "").replace(",", " ").split())


@dataclass(frozen=True)
class Service:
    """A kind of server that tests can ask for.

    Attributes:
        variable: The environment variable that may hold the URL of a running one.
        private: Makes one of our own.
    """

    variable: str
    private: Callable[[], Server]


#: A new kind of server is one line here and one fixture in ``conftest.py``.
SERVICES = {
    "postgres": Service(
        "NOTIFYKIT_TEST_POSTGRES_URL", lambda: PostgresServer(settings={"max_prepared_transactions": 10})
    ),
    "mysql": Service("NOTIFYKIT_TEST_MYSQL_URL", MariadbServer),
    "redis": Service("NOTIFYKIT_TEST_REDIS_URL", ValkeyServer),
    "kafka": Service("NOTIFYKIT_TEST_KAFKA_URL", KafkaServer),
    "apache-kafka": Service("NOTIFYKIT_TEST_APACHE_KAFKA_URL", ApacheKafkaServer),
    "nats": Service("NOTIFYKIT_TEST_NATS_URL", NatsServer),
    "rabbitmq": Service("NOTIFYKIT_TEST_RABBITMQ_URL", RabbitServer),
    "aws": Service("NOTIFYKIT_TEST_AWS_URL", AwsServer),
}
#: What stands in front of a server: tests start it themselves.
IN_FRONT = frozenset({"pgbouncer"})
#: What tests call.
TOOLS = frozenset({"chromium", "promtool"})


def is_required(name: str) -> bool:
    """Return whether a run without ``name`` must fail; ``all`` stands for every server."""
    return name in REQUIRED or ("all" in REQUIRED and name in {*SERVICES, *IN_FRONT, *TOOLS})


@contextmanager
def running(name: str) -> Iterator[str]:
    """Yield the URL of the service ``name``; a private server is stopped at the end.

    Raises:
        ServerUnavailableError: No URL was given and this machine has no such server.
    """
    service = SERVICES[name]
    if url := os.environ.get(service.variable):
        yield url
        return
    with service.private() as server:
        yield server.url


def main(arguments: Sequence[str]) -> int:
    """Start the named servers, run the command after ``--`` with their URLs in its environment, stop them."""
    if "--" not in arguments or arguments[0] != "run":
        print(__doc__, file=sys.stderr)
        return 2
    split = arguments.index("--")
    names, command = arguments[1:split] or list(SERVICES), arguments[split + 1 :]
    if unknown := set(names) - set(SERVICES):
        print(f"no such service: {', '.join(sorted(unknown))}; there are {', '.join(SERVICES)}", file=sys.stderr)
        return 2
    environment = dict(os.environ)
    with ExitStack() as servers:
        for name in names:
            try:
                environment[SERVICES[name].variable] = servers.enter_context(running(name))
            except ServerUnavailableError as error:
                print(f"{name}: {error}", file=sys.stderr)
                if is_required(name):
                    return 1
        try:
            return subprocess.call(command, env=environment)
        except KeyboardInterrupt:
            return 130


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
