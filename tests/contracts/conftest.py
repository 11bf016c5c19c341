"""The brokers of the Kafka implementations."""

from brokers import broker
from mockcluster import cluster

__all__ = ["broker", "cluster"]
