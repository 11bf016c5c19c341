"""`detectord topics`: make our topics on the cluster, or say how they differ from what they should be."""

from __future__ import annotations

from collections.abc import Mapping

import click

from detectord.cli.exits import ExitCode, Failure, explained
from detectord.cli.options import configuration, configured
from detectord.cli.output import say
from detectord.kafka import KafkaSettings
from detectord.runtime.topics import Cluster, TopicsError, differences, expected

REPLICAS = click.option(
    "--replicas",
    type=click.IntRange(min=1),
    help="Copies of each partition. Default: 3, or as many as there are brokers.",
)
TIMEOUT = click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    default=15.0,
    show_default=True,
    help="Seconds a request may take.",
)


@click.group()
def command() -> None:
    """Make or check the topics that detectord reads and writes."""


@command.command()
@configured
@REPLICAS
@TIMEOUT
def check(config_path: str | None, settings: Mapping[str, str], replicas: int | None, timeout: float) -> None:
    """Print what is not as it should be.

    Exits 1 if anything is not.
    """
    config = configuration(config_path, settings)
    with explained((TopicsError, ExitCode.UNAVAILABLE)):
        cluster = Cluster(KafkaSettings.of(config), timeout=timeout)
        wanted = expected(config)
        found = cluster.find(topic.name for topic in wanted)
        differing = differences(wanted, found, replicas or cluster.replicas())
    for line in differing:
        say(line)
    if differing:
        raise Failure(f"{len(differing)} differences", ExitCode.FAILED)
    say(f"all {len(wanted)} topics are as they should be", err=True)


@command.command()
@configured
@REPLICAS
@TIMEOUT
def create(
    config_path: str | None, settings: Mapping[str, str], replicas: int | None, timeout: float
) -> None:
    """Make the topics that do not exist.

    Those that do are left as they are.
    """
    config = configuration(config_path, settings)
    with explained((TopicsError, ExitCode.UNAVAILABLE)):
        cluster = Cluster(KafkaSettings.of(config), timeout=timeout)
        wanted = expected(config)
        found = cluster.find(topic.name for topic in wanted)
        missing = [topic for topic in wanted if topic.name not in found]
        made = cluster.create(missing, replicas or cluster.replicas())
    for name in made:
        say(name)
    say(f"{len(made)} made, {len(wanted) - len(made)} were there", err=True)
