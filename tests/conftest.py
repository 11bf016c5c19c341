"""What every test may ask for."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

import pytest
from hypothesis import HealthCheck, settings
from kafkanodes import SETTINGS, ApacheKafka, Cluster, NoKafkaError, left_out

# The same cases on every machine and in every run, however slow it is; `make fuzz` looks for new ones.
settings.register_profile(
    "same", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("same")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-goldens",
        action="store_true",
        help="rewrite the expected files of golden tests with what comes out now; then read the diff",
    )


@pytest.fixture(scope="session")
def update_goldens(pytestconfig: pytest.Config) -> bool:
    """True if a golden test is to write its expected file instead of comparing with it."""
    return bool(pytestconfig.getoption("--update-goldens"))


@pytest.fixture(scope="session")
def real_kafka() -> Iterator[Cluster]:
    """An Apache Kafka of one node: the one that DETECTORD_TEST_KAFKA names, else one in a container, else
    one from its jars. Where there is none the test is left out, or fails if DETECTORD_REQUIRE_KAFKA is 1."""
    with _given() or _in_a_container() or _from_jars(1) as cluster:
        yield cluster
        cluster.close()


@pytest.fixture(scope="module")
def three_nodes() -> Iterator[Cluster]:
    """An Apache Kafka of three nodes of our own, for tests that end some of them. They leave it whole."""
    with _from_jars(3) as cluster:
        yield cluster


def _given() -> AbstractContextManager[Cluster] | None:
    given = os.environ.get("DETECTORD_TEST_KAFKA")
    return nullcontext(Cluster(given)) if given else None


def _in_a_container() -> AbstractContextManager[Cluster] | None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "info"], capture_output=True).returncode != 0:
        return None
    return _container()


@contextmanager
def _container() -> Iterator[Cluster]:
    from testcontainers.community.kafka import KafkaContainer

    container = KafkaContainer().with_kraft()
    for name, value in SETTINGS.items():
        if name.startswith(("group.", "transaction.", "auto.")):
            container.with_env(f"KAFKA_{name.upper().replace('.', '_')}", value)
    with container:
        yield Cluster(container.get_bootstrap_server())


@contextmanager
def _from_jars(nodes: int) -> Iterator[Cluster]:
    with ExitStack() as stack:
        try:
            cluster = stack.enter_context(ApacheKafka(nodes))
        except NoKafkaError as e:
            left_out(f"no Apache Kafka: DETECTORD_TEST_KAFKA is not set, no Docker engine answers, and {e}")
        yield cluster


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """At the end, say plainly what was left out, and why: the skipped tests grouped by their reason."""
    reasons: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        place = report.longrepr
        reason = place[2] if isinstance(place, tuple) else str(place)
        reasons[reason.removeprefix("Skipped: ")] += 1
    waiting = len(terminalreporter.stats.get("xfailed", []))
    terminalreporter.section("left out")
    for reason, number in reasons.most_common():
        terminalreporter.line(f"{number:>5}  {reason}")
    if waiting:
        terminalreporter.line(f"{waiting:>5}  wait for a later version (expected failures)")
    if not reasons and not waiting:
        terminalreporter.line("nothing: every test ran")
