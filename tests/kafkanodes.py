"""Apache Kafka for tests: its own brokers, from its jars, on loopback and with the machine's Java.

Rule 1: what it is made of is in `tests/kafka/pom.xml` and nowhere else. Maven copies the jars once, into the
user's cache; a changed pom.xml is another folder there.
Rule 2: a cluster leaves nothing behind. Its data is in a folder of its own, which goes with it; its processes
are ended by their ids, and by the system should we be killed ourselves.
Rule 3: nothing waits for a fixed time. A cluster is ready when it lists all of its brokers.

Any number may run side by side. A node keeps its ports over a restart, so they are chosen where the system
does not take those of outgoing connections from.

`make kafka` runs one to try things on, until interrupted.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NoReturn

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

POM = Path(__file__).parent / "kafka" / "pom.xml"

QUICK = ("-Xmx256m", "-XX:TieredStopAtLevel=1")
"""For a broker that starts soon and ends soon: without the compiler that takes its time."""

FAST = ("-Xmx512m",)
"""For a broker that is measured."""

FETCH_SECONDS = 240
START_SECONDS = 90

SETTINGS = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    # What is waited for in production is not waited for here.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
    "controller.quorum.election.timeout.ms": "500",
    "controller.quorum.fetch.timeout.ms": "1000",
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "3000",
    # Small: a test has few records, and a machine may run several brokers.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "log.segment.bytes": "16777216",
    "log.index.size.max.bytes": "1048576",
    "log.cleaner.dedupe.buffer.size": "4194304",
    "log.cleaner.backoff.ms": "500",
    "log.retention.check.interval.ms": "500",
    "num.network.threads": "2",
    "num.io.threads": "2",
}


class NoKafkaError(Exception):
    """Apache Kafka cannot be had on this machine; the message says what is missing."""


class NodeDiedError(Exception):
    """A node ended by itself. The message is the end of its log."""


class Software:
    """The jars, copied by Maven when first asked for.

    Raises:
        NoKafkaError: there is no Java or no Maven, or Maven cannot copy them.
    """

    def __init__(self) -> None:
        java, maven = shutil.which("java"), shutil.which("mvn")
        if java is None:
            raise NoKafkaError("Java is not installed")
        self._java = java
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "detectord"
        self._home = cache / f"kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
        if not self._home.exists():
            if maven is None:
                raise NoKafkaError("its jars are not in the cache, and Maven is not installed")
            _copy_jars(maven, self._home)

    def command(self, options: Iterable[str], main: str, *arguments: str) -> list[str]:
        """What runs a class of it."""
        # Should we be killed, the system kills it, too; where that program is missing, nobody does.
        with_us = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        fixed = ["-Xms64m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true"]
        log = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        classes = ["-cp", f"{self._home}/*"]
        return [*with_us, self._java, *fixed, *options, log, *classes, main, *arguments]


def _copy_jars(maven: str, home: Path) -> None:
    """Into a folder beside `home` first, so that `home` is whole or not there."""
    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as place:
        target = Path(place) / "jars"
        command = [maven, "--batch-mode", "--no-transfer-progress", "--quiet", "--strict-checksums"]
        command += ["--file", str(POM), "dependency:copy-dependencies", "-DincludeScope=runtime"]
        try:
            done = subprocess.run(
                [*command, f"-DoutputDirectory={target}"],
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=FETCH_SECONDS,
            )
        except subprocess.TimeoutExpired as e:
            raise NoKafkaError(f"Maven did not bring its jars within {FETCH_SECONDS} s") from e
        if done.returncode != 0:
            raise NoKafkaError(f"Maven cannot bring its jars: {(done.stdout + done.stderr).strip()[:500]}")
        try:
            target.rename(home)
        except OSError:  # someone else was quicker
            if not home.exists():
                raise


def free_ports() -> Iterator[int]:
    """Ports that nobody listens on, below those of outgoing connections."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        yield port


class Node:
    """One broker that is a controller as well, as a process that can be ended, stopped and started again.
    `beside`: the port of its second listener, if it has one."""

    def __init__(
        self, number: int, port: int, folder: Path, command: Sequence[str], beside: int | None = None
    ) -> None:
        self.number = number
        self.address = f"127.0.0.1:{port}"
        self.beside = f"127.0.0.1:{beside}" if beside else ""
        self.folder = folder
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the node was never started"
        return self._process.pid

    def start(self) -> None:
        """Begin; `ApacheKafka.wait` tells when it is there."""
        with (self.folder / "node.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def check(self) -> None:
        """See that the process lives.

        Raises:
            NodeDiedError: it does not.
        """
        if self._process is not None and self._process.poll() is not None:
            raise NodeDiedError((self.folder / "node.log").read_text(errors="replace")[-5_000:])

    def kill(self) -> None:
        """SIGKILL. What it has written so far is still there at the next start."""
        self._end(signal.SIGKILL)

    def shut_down(self) -> None:
        """SIGTERM: it hands its partitions over first."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None, "the node was never started"
        self._process.send_signal(how)
        self._process.wait(60)
        self._process = None

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Inside, the process stands still: connections stay open, and nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)
        # Until then a thread of it may still give an answer
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    @property
    def is_running(self) -> bool:
        return self._process is not None


class Cluster:
    """A Kafka that several tests use at a time; they keep apart by topic and group.

    `nodes` are its nodes if it is ours, and nothing if somebody else runs it.
    """

    def __init__(self, bootstrap_servers: str, nodes: Sequence[Node] = (), *, replicas: int = 1) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.nodes = nodes
        self.replicas = replicas
        self.admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
        self._made: list[str] = []

    def topic(self, partitions: int, stem: str = "topic", **settings: str) -> str:
        """A new topic. Settings are the broker's, with underscores for their dots."""
        name = f"{stem}-{uuid.uuid4().hex[:12]}"
        self.create([name], partitions, **settings)
        return name

    def create(self, names: Sequence[str], partitions: int, **settings: str) -> None:
        """Make topics of these names."""
        # Tests write old events, too; those would be deleted for their age.
        config = {"retention.ms": "-1", **{name.replace("_", "."): value for name, value in settings.items()}}
        new = [NewTopic(name, partitions, self.replicas, config=config) for name in names]
        for made in self.admin.create_topics(new, operation_timeout=30).values():
            made.result(30)
        self._made += names

    def close(self) -> None:
        """Leave somebody else's cluster as it was found; of ours nothing will be left anyway."""
        if self._made and not self.nodes:
            for gone in self.admin.delete_topics(self._made, operation_timeout=30).values():
                gone.result(30)

    def node(self) -> Node:
        """Our one node; where there is none, the test that asks for it is left out."""
        if not self.nodes:
            pytest.skip("the Kafka of this run is not ours to stop")
        return self.nodes[0]

    @contextmanager
    def down(self) -> Iterator[None]:
        """Nobody answers."""
        with self.node().stopped():
            yield


class ApacheKafka:
    """A cluster of our own nodes, there inside a `with` block.

    `by_way_of`: each node has a second listener, whose clients are told this address instead of its own.

    Raises:
        NoKafkaError: it cannot be had on this machine.
        NodeDiedError: a node ended by itself instead of starting.
    """

    def __init__(
        self,
        nodes: int = 1,
        *,
        options: Iterable[str] = QUICK,
        ports: Iterator[int] | None = None,
        by_way_of: str | None = None,
    ) -> None:
        self._count = nodes
        self._by_way_of = by_way_of
        self._options = tuple(options)
        self._ports = ports or free_ports()
        self._software = Software()
        self._nodes: Sequence[Node] = ()

    def __enter__(self) -> Cluster:
        self._folder = Path(tempfile.mkdtemp(prefix="detectord-kafka-"))
        try:
            return self._start()
        except BaseException:
            self._discard()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._discard()

    def _start(self) -> Cluster:
        for attempt in itertools.count(1):
            self._nodes = self._format()
            addresses = ",".join(node.address for node in self._nodes)
            cluster = Cluster(addresses, self._nodes, replicas=self._count)
            for node in self._nodes:
                node.start()
            try:
                wait_for_brokers(cluster)
            except NodeDiedError as e:
                # Between our look at a port and its use somebody took it.
                if attempt == 3 or "Address already in use" not in str(e):
                    raise
                self._kill()
            else:
                return cluster
        raise AssertionError("unreachable")

    def _discard(self) -> None:
        self._kill()
        shutil.rmtree(self._folder)

    def _kill(self) -> None:
        for node in self._nodes:
            if node.is_running:
                node.kill()

    def _format(self) -> list[Node]:
        """New nodes on new ports, their folders ready for a first start."""
        numbers = range(1, self._count + 1)
        ports = {number: (next(self._ports), next(self._ports)) for number in numbers}
        voters = ",".join(f"{number}@127.0.0.1:{ports[number][1]}" for number in numbers)
        nodes = []
        for number in numbers:
            folder = self._folder / f"{ports[number][0]}"
            folder.mkdir()
            settings = {
                **SETTINGS,
                "node.id": str(number),
                "controller.quorum.voters": voters,
                "listeners": "PLAINTEXT://127.0.0.1:{},CONTROLLER://127.0.0.1:{}".format(*ports[number]),
                "advertised.listeners": f"PLAINTEXT://127.0.0.1:{ports[number][0]}",
                "log.dirs": str(folder / "data"),
                "default.replication.factor": str(self._count),
                "offsets.topic.replication.factor": str(self._count),
                "transaction.state.log.replication.factor": str(self._count),
                "transaction.state.log.min.isr": str(self._count // 2 + 1),
                "min.insync.replicas": str(self._count // 2 + 1),
            }
            beside = next(self._ports) if self._by_way_of else None
            if beside:
                settings["listeners"] += f",BESIDE://127.0.0.1:{beside}"
                settings["advertised.listeners"] += f",BESIDE://{self._by_way_of}"
                settings["listener.security.protocol.map"] += ",BESIDE:PLAINTEXT"
            file = folder / "server.properties"
            file.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
            command = self._software.command(self._options, "kafka.Kafka", str(file))
            nodes.append(Node(number, ports[number][0], folder, command, beside))
        self._format_data(nodes)
        return nodes

    def _format_data(self, nodes: Sequence[Node]) -> None:
        """Format the first node's data; the others' differ in their ids only, and a JVM takes its time."""
        first, *others = nodes
        format_ = [
            "format",
            "--cluster-id",
            _random_id(),
            "--config",
            str(first.folder / "server.properties"),
        ]
        done = subprocess.run(
            self._software.command(self._options, "kafka.tools.StorageTool", *format_),
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:  # such as a Java that is too old for it
            raise NoKafkaError(f"it does not run here: {(done.stdout + done.stderr).strip()[-500:]}")
        for node in others:
            shutil.copytree(first.folder / "data", node.folder / "data")
            file = node.folder / "data" / "meta.properties"
            own = {"node.id": str(node.number), "directory.id": _random_id()}
            pairs = (line.partition("=") for line in file.read_text().splitlines() if line[:1] != "#")
            file.write_text("".join(f"{name}={own.get(name, value)}\n" for name, _, value in pairs))


def _random_id() -> str:
    """An id as Kafka writes them. It takes none that looks like an option."""
    return "d" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]


def left_out(reason: str) -> NoReturn:
    """End a test that has no Kafka: it is skipped, or fails where a Kafka is required."""
    if os.environ.get("DETECTORD_REQUIRE_KAFKA") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def wait_for_brokers(cluster: Cluster) -> None:
    """Wait until the running nodes, and only they, are the brokers of the cluster.

    Raises:
        NodeDiedError: one of them ended by itself.
    """
    running = {node.number for node in cluster.nodes if node.is_running}
    until = time.monotonic() + START_SECONDS
    while True:
        for node in cluster.nodes:
            node.check()
        try:
            brokers = set(cluster.admin.list_topics(timeout=0.5).brokers)
        except KafkaException:
            brokers = set()
        if brokers == running:
            return
        assert time.monotonic() < until, f"brokers {brokers} instead of {running} after {START_SECONDS} s"
        time.sleep(0.05)


def main(nodes: int = 1) -> None:
    """Run a cluster until interrupted."""
    with ApacheKafka(nodes, options=FAST) as cluster:
        print(f"DETECTORD_TEST_KAFKA={cluster.bootstrap_servers}", flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    main(*map(int, sys.argv[1:]))
