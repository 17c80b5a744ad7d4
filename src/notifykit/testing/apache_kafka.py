"""Apache Kafka itself, one node without ZooKeeper, where this machine has Java and Maven."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from .broker_servers import accepts
from .servers import HOST, Server, ServerUnavailableError, free_port

VERSION = "4.1.1"
#: Seconds that the download of some 45 MB may take.
_PATIENCE = 600
_PROJECT = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>notifykit</groupId><artifactId>kafka-for-tests</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-nop</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
"""


class ApacheKafkaServer(Server):
    """Apache Kafka; its jars come from Maven Central once, into the cache folder of the user.

    Args:
        advertised: The port that it tells clients to use, of a proxy before it; by default its own.
    """

    name = "apache-kafka"

    def __init__(self, advertised: int | None = None) -> None:
        super().__init__()
        self._advertised = advertised

    def _prepare(self) -> None:
        if shutil.which("java") is None:
            raise ServerUnavailableError(
                "no Java 17 here: apt-get install default-jre-headless, or give the URL of one"
            )
        self._jars = _jars()
        self._properties = self.folder / "server.properties"
        controller = free_port()
        properties = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{HOST}:{controller}",
            "listeners": f"PLAINTEXT://{HOST}:{self.port},CONTROLLER://{HOST}:{controller}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{self._advertised or self.port}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": self.folder / "data",
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 500,
        }
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
        self._run(
            *self._java("kafka.tools.StorageTool"),
            "format",
            "-t",
            "4L6g3nShT-eMCtK--X86sw",
            "-c",
            str(self._properties),
        )
        self.url = f"kafka://{HOST}:{self.port}"

    def _java(self, main: str) -> list[str]:
        return ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", f"{self._jars}/*", main]

    def _command(self) -> list[str]:
        return [*self._java("kafka.Kafka"), str(self._properties)]

    def _is_ready(self, pid: int) -> bool:
        del pid
        return accepts(self.port)


def _jars() -> Path:
    """Return the folder of Kafka's jars, which are downloaded if they are not there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "notifykit-tests" / f"kafka-{VERSION}"
    if folder.is_dir():
        return folder
    if shutil.which("mvn") is None:
        raise ServerUnavailableError("Kafka's jars are not here, and no Maven to fetch them: apt-get install maven")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        Path(work, "pom.xml").write_text(_PROJECT)
        command = (
            "mvn",
            "-q",
            "-B",
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            "-DoutputDirectory=jars",
        )
        try:
            done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=_PATIENCE, check=False)
        except subprocess.TimeoutExpired as error:
            raise ServerUnavailableError(f"Maven did not fetch Kafka's jars within {_PATIENCE} s") from error
        if done.returncode:
            raise ServerUnavailableError(f"Maven could not fetch Kafka's jars: {(done.stdout + done.stderr)[-500:]}")
        if not folder.is_dir():  # another process may have been faster
            Path(work, "jars").rename(folder)
    return folder
