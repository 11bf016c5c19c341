"""The tree of settings, each default beside its field and its sentence under it."""

from __future__ import annotations

import typing
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from detectord.config.quantities import Duration, Size, Start

FieldPattern = Annotated[
    str,
    Meta(pattern=r"^[^.*\s]+(\.[^.*\s]+)*(\.\*)?$", description="a field path, or one with `.*` at its end"),
]
_LEAST_ALERT_BYTES: Final = Size(16 << 10)
Positive = Annotated[int, Meta(ge=1)]
Topic = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,249}$", description="a topic name")]
Word = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9._-]{1,200}$", description="letters, digits, dots, dashes, underscores"),
]
Listen = Annotated[
    str,
    Meta(
        pattern=r"^(\[[0-9a-fA-F:.]+\]|[^:\s\[\]]*):[0-9]{1,5}$",
        description="an address and a port such as 0.0.0.0:9464",
    ),
]
Property = str | int | float | bool


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of the tree."""


def keys_of(kind: type[Section]) -> dict[str, Any]:
    """The keys of a section and their types, in order."""
    return typing.get_type_hints(kind, include_extras=True)


class SourceConfig(Section, frozen=True):
    """Topics that are read alike."""

    topics: Annotated[tuple[Topic, ...], Meta(min_length=1)]
    """The topics to read."""
    keyed_by: Literal["host.id"] | None = None
    """What the record key holds. `host.id` saves reading it from the event; a key that does not hold it
    costs balance, never a match."""
    index: str | None = None
    """The index name that the rules' index patterns are held against, for events that do not tell theirs;
    `{event.dataset}` in it stands for the event's value."""
    index_force: bool = False
    """`true`: `index` holds for all events of these topics, whatever they tell."""
    unknown_index: Literal["match", "drop"] = "match"
    """What becomes of an event whose index nothing tells: it matches every rule's index patterns, or no
    rule sees it."""


class InputConfig(Section, frozen=True):
    """What is read."""

    start: Start = Start("latest")
    """Where reading begins on a partition that has no committed position: `latest`, `earliest`,
    `now-15m`, or a time."""
    max_event_bytes: Size = Size(1 << 20)
    """A longer record goes to the dead-letter topic as `too_large`."""


class ClientProperties(Section, frozen=True):
    """Settings of one of the two clients."""

    properties: dict[str, Property] = msgspec.field(default_factory=dict)
    """librdkafka settings for this client alone; they win over `kafka.properties`."""


_OWNED: Final = frozenset(
    {
        "auto.offset.reset",
        "client.id",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.idempotence",
        "enable.partition.eof",
        "group.id",
        "group.instance.id",
        "isolation.level",
        "transactional.id",
    }
)
_SECURITY: Final = (
    "security_protocol",
    "sasl_mechanism",
    "sasl_username",
    "sasl_password",
    "ssl_ca_location",
    "ssl_certificate_location",
    "ssl_key_location",
    "ssl_key_password",
)


class KafkaConfig(Section, frozen=True):
    """The brokers, and how to reach them."""

    bootstrap_servers: Annotated[str, Meta(min_length=1)]
    """Brokers to ask first, `host:port`, separated by commas."""
    group: Word = "detectord"
    """The consumer group. Instances of one group share the partitions."""
    topic_prefix: Word = "detectord"
    """What the names of our own topics begin with: `<prefix>.alerts`, `<prefix>.dlq`, `<prefix>.ledger`,
    `<prefix>.state`."""
    security_protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = "plaintext"
    """How the connection is protected and who we are."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "GSSAPI"] | None = None
    """The SASL mechanism, with `sasl_plaintext` and `sasl_ssl`."""
    sasl_username: str | None = None
    """The user name for PLAIN and SCRAM."""
    sasl_password: str | None = None
    """The password for PLAIN and SCRAM; better said as DETECTORD_KAFKA__SASL_PASSWORD_FILE."""
    ssl_ca_location: str | None = None
    """The file with the certificates that a broker's certificate must come from."""
    ssl_certificate_location: str | None = None
    """Our own certificate, for mutual TLS."""
    ssl_key_location: str | None = None
    """The private key of our certificate."""
    ssl_key_password: str | None = None
    """The pass phrase of that key."""
    properties: dict[str, Property] = msgspec.field(default_factory=dict)
    """librdkafka settings for both clients, by their librdkafka names. Those that detectord decides
    itself are refused."""
    consumer: ClientProperties = ClientProperties()
    """The consumer alone."""
    producer: ClientProperties = ClientProperties()
    """The producer alone."""

    def __post_init__(self) -> None:
        named = {name.replace("_", "."): name for name in ("bootstrap_servers", *_SECURITY)}
        for where, given in (
            ("properties", self.properties),
            ("consumer.properties", self.consumer.properties),
            ("producer.properties", self.producer.properties),
        ):
            for name in given:
                if name in _OWNED:
                    raise ValueError(f"{where}: `{name}` is decided by detectord and cannot be set")
                if name in named:
                    raise ValueError(f"{where}: `{name}` has a key of its own: kafka.{named[name]}")
        if self.security_protocol.startswith("sasl") and self.sasl_mechanism is None:
            raise ValueError(f"security_protocol {self.security_protocol} needs sasl_mechanism")

    def security(self) -> dict[str, Property]:
        """How to connect and as whom, as librdkafka settings."""
        said = {name.replace("_", "."): getattr(self, name) for name in _SECURITY}
        return {name: value for name, value in said.items() if value is not None}


class DeliveryConfig(Section, frozen=True):
    """When what was found becomes visible."""

    mode: Literal["at_least_once", "exactly_once"] = "at_least_once"
    """`exactly_once`: alerts, dead letters, the state of sequences and positions in one transaction, so that
    a crash loses and repeats nothing; needs a broker with transactions, and the topics of state and hits.
    `at_least_once`: after a crash an alert may be published again, with the same id, and half-done
    sequences are lost."""
    commit_interval: Duration = Duration.parse("500ms")
    """Longest time between two commits while there is something to commit."""
    max_records: Positive = 50_000
    """Input records after which a commit is due earlier."""
    max_bytes: Size = Size(16 << 20)
    """Bytes of input after which a commit is due earlier."""


class BatchConfig(Section, frozen=True):
    """How records travel to the workers."""

    max_records: Annotated[int, Meta(ge=1, le=100_000)] = 1_000
    """Most records taken from the source at once."""
    max_wait: Duration = Duration.parse("50ms")
    """Longest wait for the first of them."""
    in_flight_bytes: Size = Size(16 << 20)
    """Bytes that may be on their way to the workers before reading pauses."""
    worker_timeout: Duration = Duration.parse("60s")
    """A worker that has not answered a batch for this long is replaced."""


class SelectorConfig(Section, frozen=True):
    """Rules that are meant. A list that is empty says nothing."""

    rule_ids: tuple[str, ...] = ()
    """Rules by their rule_id."""
    tags: tuple[str, ...] = ()
    """Globs: rules with a tag that fits one of them, as in `"OS: *"`."""
    paths: tuple[str, ...] = ()
    """Globs: rules whose file's path, or an end of it, fits one of them, as in `windows/*`."""
    integrations: tuple[str, ...] = ()
    """Rules that read the data of one of these integrations."""


class IncludeConfig(SelectorConfig, frozen=True):
    """Which rules run: those that every list means."""


class ExcludeConfig(SelectorConfig, frozen=True):
    """Which rules do not run: those that any list means."""


class RulesConfig(Section, frozen=True):
    """Which rules run."""

    paths: tuple[str, ...] = ("/rules",)
    """Rule files, or folders of them."""
    maturity: tuple[str, ...] = ("production",)
    """The maturities that are loaded."""
    cache: str | None = None
    """A directory for what was read from rule files, so that the next start is faster. It may be deleted at
    any time. It is only used if nobody else may write to it. Without it nothing is kept."""
    strict_fields: bool = False
    """Refuse a rule that asks for a field no schema knows and that is not marked with `?`; else it is a
    warning."""
    min_loaded: Annotated[int, Meta(ge=0)] = 1
    """Fewer loaded rules than this, and the daemon refuses to start (exit 65)."""
    include: IncludeConfig = IncludeConfig()
    exclude: ExcludeConfig = ExcludeConfig()
    min_severity: Literal["low", "medium", "high", "critical"] = "low"
    """Rules of a lower severity do not run."""
    overlay: tuple[str, ...] = ()
    """Files with changes to single rules, by rule_id; of two that say the same the later wins."""
    version_lock: str | None = None
    """A file with the versions of rules whose own files have none, as Elastic's `version.lock.json`."""
    attack_version: str | None = None
    """Where a rule names its threats for several versions of ATT&CK: the version that alerts show."""
    ignore_index: bool = False
    """`true`: every rule sees every event, whatever its index patterns say."""
    watch: bool = False
    """Reload when the files change. Accepted, but not supported yet: rules are read at start."""


class EngineConfig(Section, frozen=True):
    """Bounds of the evaluation."""

    max_key_tuples: Positive = 1_000
    """Most join keys that one event may take part with, when its key fields hold several values."""
    max_lineage: Positive = 10_000
    """Most processes remembered a host, for rules that ask for the relatives of a process."""


class TimeConfig(Section, frozen=True):
    """Event time."""

    allowed_lateness: Duration = Duration.parse("10s")
    """How long a sequence step waits for events that happened before it. 0: order of arrival, alerts at
    once."""
    idle_timeout: Duration = Duration.parse("30s")
    """A partition at its end for this long no longer holds the watermark back."""
    max_future: Duration = Duration.parse("5m")
    """An event further ahead of its record's time than this is ordered by the record's time."""
    max_skew: Duration = Duration.parse("60s")
    """While catching up, a partition this far ahead of the slowest is paused. Accepted, but not supported
    yet: nothing is paused, and the hits that wait take memory instead."""


class StateConfig(Section, frozen=True):
    """Half-done sequences."""

    max_bytes: Size = Size(1 << 30)
    """Most memory for partials; beyond it the oldest are given up, counted."""
    max_event_bytes: Size = Size(256 << 10)
    """A longer event is trimmed before a sequence keeps it."""
    max_span: Duration = Duration.parse("12h")
    """A sequence with a longer maxspan is matched with this one, and a warning says so."""
    partitions: Annotated[int, Meta(ge=1, le=4096)] = 64
    """State partitions. Fixed for the life of a deployment."""


class AlertConfig(Section, frozen=True):
    """What an alert looks like."""

    topic: Topic | None = None
    """The topic for alerts; without it `<kafka.topic_prefix>.alerts`."""
    format: Literal["elastic"] = "elastic"
    """The document form."""
    building_blocks: Literal["separate", "none"] = "separate"
    """`separate`: a sequence gives a record for each of its events, then one for the whole. `none`:
    only the last."""
    redact: tuple[FieldPattern, ...] = ()
    """Field paths whose values are left out of alerts; `a.b.*` means everything below `a.b`."""
    space: Annotated[str, Meta(min_length=1)] = "default"
    """The value of `kibana.space_ids`."""
    event_kind: Literal["signal", "alert"] = "signal"
    """The value of `event.kind`."""
    key_style: Literal["elastic", "nested", "flat"] = "elastic"
    """`elastic`: `kibana.*` as dotted keys, all else nested. `nested` and `flat`: all keys alike."""
    rule_detail: Literal["minimal", "standard", "full"] = "standard"
    """How much of the rule each alert carries."""
    max_bytes: Size = Size(900_000)
    """A longer alert is cut, the largest raw fields first. At least 16KiB."""

    def __post_init__(self) -> None:
        if self.max_bytes < _LEAST_ALERT_BYTES:
            raise ValueError(f"max_bytes: {self.max_bytes} is too small, an alert needs {_LEAST_ALERT_BYTES}")


class DlqConfig(Section, frozen=True):
    """Records that are no events."""

    topic: Topic | None = None
    """The topic for them; without it `<kafka.topic_prefix>.dlq`."""
    max_value_bytes: Size = Size(900_000)
    """A longer value is cut; headers then say its size and SHA-256."""


class HttpConfig(Section, frozen=True):
    """Metrics and health."""

    listen: Listen = "0.0.0.0:9464"
    """Address and port of `/metrics`, `/healthz`, `/readyz`, `/status`, `/rules`. Port 0: any free one."""

    @property
    def address(self) -> tuple[str, int]:
        """Host (without brackets; empty means all) and port."""
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)

    def __post_init__(self) -> None:
        if self.address[1] > 65535:
            raise ValueError(f"listen: there is no port {self.address[1]}")


class LogConfig(Section, frozen=True):
    """Logs."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least level that is written."""
    format: Literal["auto", "json", "console"] = "auto"
    """`json`: one ECS document a line. `console`: for people. `auto`: console on a terminal, else json."""


class MetricsConfig(Section, frozen=True):
    """Metrics."""

    per_rule: bool = True
    """Label metrics with the rule's id. `false`: one series for all rules."""


class StartupConfig(Section, frozen=True):
    """Starting."""

    timeout: Duration = Duration.parse("120s")
    """How long to try to reach the brokers before giving up (exit 69)."""


class ShutdownConfig(Section, frozen=True):
    """Stopping."""

    timeout: Duration = Duration.parse("45s")
    """How long a drain may take before giving up (exit 75)."""


class Config(Section, frozen=True):
    """The whole configuration."""

    sources: Annotated[tuple[SourceConfig, ...], Meta(min_length=1)]
    """What to read."""
    kafka: KafkaConfig
    """The brokers."""
    instance: Word = "detectord-0"
    """The name of this instance, the same after a restart."""
    workers: Annotated[int, Meta(ge=1, le=256)] = 2
    """Worker processes."""
    input: InputConfig = InputConfig()
    batch: BatchConfig = BatchConfig()
    delivery: DeliveryConfig = DeliveryConfig()
    rules: RulesConfig = RulesConfig()
    engine: EngineConfig = EngineConfig()
    time: TimeConfig = TimeConfig()
    state: StateConfig = StateConfig()
    alert: AlertConfig = AlertConfig()
    dlq: DlqConfig = DlqConfig()
    http: HttpConfig = HttpConfig()
    log: LogConfig = LogConfig()
    metrics: MetricsConfig = MetricsConfig()
    startup: StartupConfig = StartupConfig()
    shutdown: ShutdownConfig = ShutdownConfig()

    def __post_init__(self) -> None:
        topics = [topic for source in self.sources for topic in source.topics]
        twice = sorted({topic for topic in topics if topics.count(topic) > 1})
        if twice:
            raise ValueError(f"sources: topic {twice[0]} is named more than once")
        if self.dlq_topic in topics:
            raise ValueError(
                f"dlq.topic: {self.dlq_topic} is also read; a bad record would go round for ever"
            )

    @property
    def topics(self) -> tuple[str, ...]:
        """Every topic that is read, in the order of the file."""
        return tuple(topic for source in self.sources for topic in source.topics)

    @property
    def alert_topic(self) -> str:
        """Where alerts go."""
        return self.alert.topic or f"{self.kafka.topic_prefix}.alerts"

    @property
    def dlq_topic(self) -> str:
        """Where dead letters go."""
        return self.dlq.topic or f"{self.kafka.topic_prefix}.dlq"

    @property
    def ledger_topic(self) -> str:
        """Where the coverage ledger goes."""
        return f"{self.kafka.topic_prefix}.ledger"

    @property
    def state_topic(self) -> str:
        """Where state is kept, with exactly-once delivery."""
        return f"{self.kafka.topic_prefix}.state"

    @property
    def hits_topic(self) -> str:
        """Where instances tell each other step hits, with exactly-once delivery."""
        return f"{self.kafka.topic_prefix}.hits"

    @property
    def hits_group(self) -> str:
        """The group whose members keep the state partitions, with exactly-once delivery."""
        return f"{self.kafka.group}.hits"

    def not_yet(self) -> list[str]:
        """One sentence for each setting that is accepted but has no effect yet."""
        return ["rules.watch is not supported yet: rules are read at start"] if self.rules.watch else []
