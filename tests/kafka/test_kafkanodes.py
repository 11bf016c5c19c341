"""The brokers of our own that tests run on."""

from __future__ import annotations

import itertools
import os
import socket

import pytest
from kafkanodes import ApacheKafka, NoKafkaError, free_ports, left_out


@pytest.mark.broker
@pytest.mark.slow
def test_a_node_gets_another_port_and_leaves_nothing() -> None:
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        somebody.listen()
        taken = somebody.getsockname()[1]
        try:
            kafka = ApacheKafka(ports=itertools.chain([taken], free_ports()))
        except NoKafkaError as e:
            left_out(f"no Apache Kafka of our own: {e}")
        with kafka as cluster:
            (node,) = cluster.nodes
            assert node.address != f"127.0.0.1:{taken}"
            pid, folder = node.pid, node.folder
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
