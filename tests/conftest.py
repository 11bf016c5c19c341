"""What every test may ask for."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

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
def real_kafka() -> Iterator[str]:
    """Bootstrap servers of an Apache Kafka: the one that DETECTORD_TEST_KAFKA names, else one in a
    container. Without either the test is left out, or fails if DETECTORD_REQUIRE_KAFKA is 1."""
    given = os.environ.get("DETECTORD_TEST_KAFKA")
    if given:
        yield given
        return
    if not _docker_answers():
        reason = "no Apache Kafka: DETECTORD_TEST_KAFKA is not set and no Docker engine answers"
        if os.environ.get("DETECTORD_REQUIRE_KAFKA") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    from testcontainers.kafka import KafkaContainer

    with KafkaContainer("apache/kafka:4.2.0").with_kraft() as container:
        yield container.get_bootstrap_server()


def _docker_answers() -> bool:
    docker = shutil.which("docker")
    return docker is not None and subprocess.run([docker, "info"], capture_output=True).returncode == 0


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
