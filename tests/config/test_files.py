"""Whole files: each `.good` loads, each `.bad` gives exactly the findings of its `.out`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import golden
import pytest
import yaml

from detectord.config import Config, ConfigError, load_config, masked

HERE = Path(__file__).parent
GOOD = sorted(HERE.glob("*.good.*"))
BAD = sorted(path for path in HERE.glob("*.bad.*") if path.suffix != ".out")


def flat(values: Any, path: str = "") -> dict[str, Any]:
    """Every leaf by its path, list positions left out."""
    if isinstance(values, dict) and not path.endswith("properties"):
        return {
            k: v for key, each in values.items() for k, v in flat(each, f"{path}.{key}".lstrip(".")).items()
        }
    if isinstance(values, list) and values and isinstance(values[0], dict):
        return {k: v for each in values for k, v in flat(each, path).items()}
    return {path: values}


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.name)
def test_good(path: Path) -> None:
    assert isinstance(load_config(str(path), environ={}), Config)


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.name)
def test_bad(path: Path, update_goldens: bool) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(str(path), environ={})
    findings = str(raised.value).replace(f"{path}: ", "").replace(f"{path}:", "line ")
    golden.check(path.with_suffix(".out"), findings + "\n", update=update_goldens)


def test_every_setting_is_read_from_a_file() -> None:
    said = flat(yaml.safe_load((HERE / "whole.good.yml").read_text()))
    least = flat(masked(load_config(str(HERE / "least.good.yml"), environ={})))
    whole = flat(masked(load_config(str(HERE / "whole.good.yml"), environ={})))
    assert said.keys() == least.keys() == whole.keys()
    # At its default only what has just one value yet.
    assert {key for key in least if least[key] == whole[key]} == {"delivery.mode", "alert.format"}


def test_values_mean_what_they_say() -> None:
    config = load_config(str(HERE / "whole.good.yml"), environ={})
    assert config.time.max_future == 3_600_000_000_000
    assert config.batch.max_wait.seconds == 0.02
    assert config.state.max_event_bytes == 65_536
    assert config.alert.max_bytes == 500_000
    assert config.http.address == ("::1", 0)
    assert config.topics == ("ecs.endpoint", "ecs.windows")
    assert (config.alert_topic, config.dlq_topic) == ("blue.findings", "blue.bad")
    assert config.kafka.security() == {
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "reader",
        "sasl.password": "correct horse",
        "ssl.ca.location": "/etc/ssl/ca.pem",
        "ssl.certificate.location": "/etc/ssl/me.pem",
        "ssl.key.location": "/etc/ssl/me.key",
        "ssl.key.password": "battery staple",
    }
    assert config.not_yet() == ["rules.watch is not supported yet: rules are read at start"]


def test_defaults_follow_the_prefix() -> None:
    config = load_config(str(HERE / "least.good.yml"), environ={}, overrides={"kafka.topic_prefix": "red"})
    assert (config.alert_topic, config.dlq_topic) == ("red.alerts", "red.dlq")
