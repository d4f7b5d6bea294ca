"""A real Apache Kafka for tests and for development: one broker in KRaft mode, from Maven Central.

`make kafka` starts one on loopback and prints its address; Ctrl-C ends it. The jars are fetched once, with
Maven, into a cache outside the checkout.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from satellite.cli.ray_head import free_ports

VERSION = "4.1.0"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "satellite" / f"kafka-{VERSION}"
START_TIMEOUT_S = 60
# Little memory, and a JVM that starts fast rather than one that gets fast.
JAVA_OPTIONS = ("-Xmx512m", "-Xms128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
POM = f"""<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>satellite</groupId><artifactId>kafka</artifactId><version>1</version>
  <dependencies><dependency>
    <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version>
  </dependency></dependencies>
</project>
"""


class BrokerUnavailable(Exception):
    """No Kafka can be started here; says what to install."""


class Broker:
    """One broker. Its data outlives a restart.

    Args:
        folder: for its config, data and log.
        overrides: further properties of the broker.
    """

    def __init__(self, folder, **overrides):
        self.folder = Path(folder)
        self.port, self._controller_port = free_ports(2)
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.process = None
        self._properties = self.folder / "server.properties"
        properties = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://127.0.0.1:{self._controller_port}",
            "log.dirs": self.folder / "data",
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            "auto.create.topics.enable": "false",
            # A broker that was killed may come back at once, not only when it has been missed for long.
            "broker.session.timeout.ms": 2000,
            "broker.heartbeat.interval.ms": 500,
            **overrides,
        }
        self._properties.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))

    def format(self):
        """Prepare the folder of data."""
        done = subprocess.run(
            [*_java(), "kafka.tools.StorageTool", "format", "--cluster-id", "c2F0ZWxsaXRlLXRlc3RzMQ",
             "--config", str(self._properties)],
            capture_output=True, text=True, check=False, timeout=START_TIMEOUT_S,
        )  # fmt: skip
        if done.returncode:
            raise BrokerUnavailable(f"Kafka's storage cannot be formatted: {done.stdout}{done.stderr}")

    def start(self):
        """Start it and wait until it answers."""
        with (self.folder / "kafka.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*_java(), "kafka.Kafka", str(self._properties)],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                tail = (self.folder / "kafka.log").read_text(errors="replace")[-2000:]
                self.kill()
                raise BrokerUnavailable(f"Kafka does not start:\n{tail}")
            time.sleep(0.05)

    def stop(self):
        """End it the way an operator does."""
        if self.process is not None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
        self.kill()

    def kill(self):
        """End it without a warning."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def _answers(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@contextlib.contextmanager
def running(**overrides):
    """A broker in a scratch folder, ended and removed afterwards.

    Raises:
        BrokerUnavailable: Java or Maven are missing, or the jars cannot be fetched.
    """
    fetch()
    folder = Path(tempfile.mkdtemp(prefix="sat-kafka-"))
    broker = Broker(folder, **overrides)
    try:
        broker.format()
        broker.start()
        yield broker
    finally:
        broker.stop()
        shutil.rmtree(folder, ignore_errors=True)


def fetch():
    """Bring the jars into the cache, if they are not there.

    Raises:
        BrokerUnavailable: that is not possible here.
    """
    for program, package in (("java", "default-jre-headless"), ("mvn", "maven")):
        if shutil.which(program) is None and not (program == "mvn" and CACHE.is_dir()):
            raise BrokerUnavailable(
                f"there is no `{program}`; apt install {package} (brew install {package})"
            )
    if CACHE.is_dir():
        return
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE.parent) as scratch:
        (Path(scratch) / "pom.xml").write_text(POM)
        done = subprocess.run(
            ["mvn", "--batch-mode", "--quiet", "dependency:copy-dependencies", "-DoutputDirectory=lib"],
            cwd=scratch, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        if done.returncode:
            raise BrokerUnavailable(f"Maven cannot fetch Kafka {VERSION}: {done.stdout[-1000:]}")
        with contextlib.suppress(OSError):  # another run was faster
            (Path(scratch) / "lib").rename(CACHE)


def _java():
    return ["java", *JAVA_OPTIONS, "-Dlog4j2.level=WARN", "-cp", f"{CACHE}/*"]


def main():
    """Start one, print where, wait for Ctrl-C."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        with running() as broker:
            print(f"Kafka {VERSION} is up. Ctrl-C ends it, and its data is gone. In another shell:\n")
            print(f"  export SATELLITE_KAFKA_BOOTSTRAP={broker.bootstrap}", flush=True)
            broker.process.wait()
    except KeyboardInterrupt:
        pass
    except BrokerUnavailable as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
