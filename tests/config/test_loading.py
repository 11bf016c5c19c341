"""Where values come from, who wins, and what is said of those that are wrong."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from detectord.config import ConfigError, Duration, Size, Start, environment_name, load_config, show

HERE = Path(__file__).parent
LEAST = str(HERE / "least.good.yml")
WHOLE = str(HERE / "whole.good.yml")


def findings(path: str | None = LEAST, environ: dict[str, str] | None = None, **overrides: object) -> str:
    with pytest.raises(ConfigError) as raised:
        load_config(path, environ=environ or {}, overrides=overrides)
    return str(raised.value)


def test_flag_wins_over_environment_over_file_over_default() -> None:
    environ = {"DETECTORD_WORKERS": "4", "DETECTORD_KAFKA__GROUP": "red"}
    config = load_config(WHOLE, environ=environ, overrides={"workers": 5, "log.level": None})
    assert (config.workers, config.kafka.group, config.instance) == (5, "red", "node-7")
    assert config.log.level == "debug"
    assert load_config(LEAST, environ={}).kafka.group == "detectord"


@pytest.mark.parametrize(
    ("name", "text", "path", "value"),
    [
        ("DETECTORD_RULES__PATHS", "/a, /b,", "rules.paths", ("/a", "/b")),
        ("DETECTORD_RULES__PATHS", '["/a,b"]', "rules.paths", ("/a,b",)),
        ("DETECTORD_RULES__PATHS", "", "rules.paths", ()),
        ("DETECTORD_KAFKA__PROPERTIES", '{"client.rack": "r"}', "kafka.properties", {"client.rack": "r"}),
        ("DETECTORD_METRICS__PER_RULE", "false", "metrics.per_rule", False),
        ("DETECTORD_TIME__ALLOWED_LATENESS", "0", "time.allowed_lateness", 0),
        ("DETECTORD_STATE__MAX_BYTES", "1048576", "state.max_bytes", 1 << 20),
        ("DETECTORD_KAFKA__SASL_USERNAME", "", "kafka.sasl_username", None),
        ("DETECTORD_KAFKA__BOOTSTRAP_SERVERS", "a:1,b:2", "kafka.bootstrap_servers", "a:1,b:2"),
    ],
)
def test_environment(name: str, text: str, path: str, value: object) -> None:
    config: object = load_config(LEAST, environ={name: text})
    for key in path.split("."):
        config = getattr(config, key)
    assert config == value


def test_everything_may_come_from_the_environment() -> None:
    environ = {
        "DETECTORD_KAFKA__BOOTSTRAP_SERVERS": "k:9092",
        "DETECTORD_SOURCES": '[{"topics": ["a"]}, {"topics": ["b"], "keyed_by": "host.id"}]',
    }
    assert load_config(None, environ=environ).topics == ("a", "b")


def test_a_secret_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("pa ss\n\n")
    environ = {"DETECTORD_KAFKA__SASL_PASSWORD_FILE": str(tmp_path / "password")}
    assert load_config(LEAST, environ=environ).kafka.sasl_password == "pa ss\n"


@pytest.mark.parametrize(
    ("environ", "finding"),
    [
        (
            {"DETECTORD_KAFKA__GRUOP": "x"},
            "DETECTORD_KAFKA__GRUOP: names no setting; did you mean `DETECTORD_KAFKA__GROUP`?",
        ),
        ({"DETECTORD_WORKER": "2"}, "DETECTORD_WORKER: names no setting; did you mean `DETECTORD_WORKERS`?"),
        ({"DETECTORD_LOG": "3"}, "DETECTORD_LOG: log: expected a section, found 3"),
        ({"DETECTORD_SOURCES": "ecs.endpoint"}, "DETECTORD_SOURCES: sources: expected a JSON list"),
        ({"DETECTORD_SOURCES": "[" * 100_000}, "DETECTORD_SOURCES: sources: expected a JSON list"),
        (
            {"DETECTORD_RULES__PATHS": "[/etc/x]"},
            'DETECTORD_RULES__PATHS: rules.paths: expected a JSON list, such as ["a", "b"]',
        ),
        ({"DETECTORD_WORKERS": "two"}, "DETECTORD_WORKERS: workers: expected `int`, got `str`"),
        (
            {"DETECTORD_KAFKA__GROUP": "a", "DETECTORD_KAFKA__GROUP_FILE": "/b"},
            "DETECTORD_KAFKA__GROUP_FILE: kafka.group: DETECTORD_KAFKA__GROUP is set as well",
        ),
        (
            {"DETECTORD_KAFKA__GROUP_FILE": "/nowhere/at/all"},
            "DETECTORD_KAFKA__GROUP_FILE: kafka.group: no such file or directory",
        ),
    ],
)  # fmt: skip
def test_wrong_environment(environ: dict[str, str], finding: str) -> None:
    assert findings(environ=environ) == finding


@pytest.mark.parametrize(
    "name",
    ["DETECTORD_PORT", "DETECTORD_SERVICE_HOST", "DETECTORD_PORT_9464_TCP_ADDR", "DETECTORD_REQUIRE_KAFKA"],
)
def test_a_variable_that_is_nobodys_key_is_left_alone(name: str) -> None:
    assert load_config(LEAST, environ={name: "x"}).instance == "detectord-0"


def test_wrong_flags() -> None:
    assert findings(workers="x") == "command line: workers: expected `int`, got `str`"
    assert findings(**{"no.such": "x"}) == "command line: no.such: names no setting"


def test_the_file_is_named() -> None:
    assert load_config(None, environ={"DETECTORD_CONFIG": WHOLE}).instance == "node-7"
    assert findings("/nowhere.yml") == "/nowhere.yml: cannot be read: No such file or directory"
    assert "detectord.yml (not there): sources: is required" in findings(None)


@pytest.mark.parametrize(
    ("name", "data", "finding"),
    [
        ("a.toml", b"sources =\n", "(at line 1"),
        ("a.yml", b"\xff\xfe\x00", ""),
        ("a.yml", b"a: " + b"[\n" * 5_000, "nested too deeply"),
        ("a.yml", b"a: " + b"{b: " * 5_000, ""),
        ("a.yml", b" " * (1 << 20) + b"a", "is longer than 1 MiB"),
        ("a.yml", b"a: &x [*x]", "a: unknown key"),
        ("a.yml", b"workers: &x [*x]", "workers: expected `int`"),
        ("a.yml", b"? [1, 2]\n: 3", ""),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, data: bytes, finding: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert finding in findings(str(path))


@given(
    st.binary(max_size=60)
    | st.text(alphabet="sourcekaf:[]{}&*!|>-?\n\"' #,%@1.~", max_size=60).map(str.encode)
)
def test_any_file_loads_or_is_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yml"
    path.write_bytes(data)
    with pytest.raises(ConfigError):  # none of these can name a broker and a topic
        load_config(str(path), environ={})


# --- values with a unit ---


@given(st.integers(0, (1 << 63) - 1))
def test_quantities_read_back_as_written(number: int) -> None:
    assert Duration.parse(str(Duration(number))) == number
    assert Size.parse(str(Size(number))) == number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.5s", 1_500_000_000),
        ("0", 0),
        (0, 0),
        ("250us", 250_000),
        ("2d", 172_800_000_000_000),
        ("10 s", 10**10),
    ],
)
def test_durations(text: object, value: int) -> None:
    assert Duration.parse(text) == value


@pytest.mark.parametrize(
    "text", ["", "5", 5, 0.5, "-1s", "1S", "٣s", "1e3s", "1..5s", True, False, None, "9" * 5000 + "s"]
)
def test_no_durations(text: object) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        Duration.parse(text)


@pytest.mark.parametrize(
    ("said", "fixed"),
    [
        ("latest", "latest"),
        ("earliest", "earliest"),
        ("now-15m", "2026-02-01T08:45:00Z"),
        ("now-100000d", "earliest"),
        ("now-9000000000s", "earliest"),
        ("1969-12-31", "earliest"),
        ("2026-02-01T10:00:00+01:00", "2026-02-01T09:00:00Z"),
        ("2026-02-01", "2026-02-01T00:00:00Z"),
    ],
)
def test_starts(said: str, fixed: str) -> None:
    assert Start.parse(said).fixed(datetime(2026, 2, 1, 9, tzinfo=UTC)) == fixed


# --- showing ---


def test_what_is_shown_is_what_was_read_but_for_secrets(tmp_path: Path) -> None:
    shown = show(load_config(WHOLE, environ={}))
    assert "correct horse" not in shown
    assert "battery staple" not in shown
    path = tmp_path / "shown.yml"
    path.write_text(shown)
    again = load_config(str(path), environ={})
    assert again.kafka.sasl_password == "***"
    assert show(again) == shown


@pytest.mark.parametrize(
    ("name", "hidden"),
    [
        ("sasl.oauthbearer.client.secret", True),
        ("ssl.key.pem", True),
        ("ssl.keystore.password", True),
        ("SASL.JAAS.config", True),
        ("client.rack", False),
    ],
)
def test_secrets_are_masked(name: str, hidden: bool) -> None:
    config = load_config(LEAST, environ={}, overrides={"kafka.properties": {name: "hunter2"}})
    assert (yaml.safe_load(show(config))["kafka"]["properties"][name] == "***") is hidden


def test_environment_names() -> None:
    assert environment_name("kafka.sasl_password") == "DETECTORD_KAFKA__SASL_PASSWORD"
    assert re.fullmatch(r"[A-Z_]+", environment_name("a.b"))
