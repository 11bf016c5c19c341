"""The two brokers that a test of Kafka runs on: the mock cluster, which is always there and fails on
order, and Apache Kafka, which is right where they differ."""

from __future__ import annotations

import pytest
from kafkanodes import Cluster
from mockcluster import MockCluster

Broker = MockCluster | Cluster


@pytest.fixture(params=["mock", "real"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each in turn. A `conftest.py` imports it."""
    name = {"mock": "cluster", "real": "real_kafka"}[request.param]
    broker: Broker = request.getfixturevalue(name)
    return broker
