"""The broker of the Kafka implementations."""

from mockcluster import cluster

__all__ = ["cluster"]
