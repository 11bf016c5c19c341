"""The configuration: one tree of frozen sections, each default beside its field.

Rule 1: `tree` is the only list of settings. The reader, the environment, `config show` and
docs/config.md all walk it, so a new setting is one field with a sentence under it.
Rule 2: nothing is guessed. An unknown key, a value of another type, a key twice: each is a finding
with the path of the key and who said it, and all findings are reported together.

A setting comes from the command line, else from the environment, else from the file (YAML or TOML),
else from its default. In the environment the path is written in capitals with two underscores
between its parts, `DETECTORD_KAFKA__GROUP`, and the same name with `_FILE` behind it names a file
that holds the value. Lists are separated by commas or are JSON; mappings are JSON.
"""

from __future__ import annotations

from detectord.config.quantities import Duration, Size, Start
from detectord.config.reading import ConfigError, Problem, environment_name, load_config
from detectord.config.showing import masked, show
from detectord.config.tree import (
    AlertConfig,
    BatchConfig,
    Config,
    DeliveryConfig,
    DlqConfig,
    EngineConfig,
    HttpConfig,
    InputConfig,
    KafkaConfig,
    LogConfig,
    MetricsConfig,
    RulesConfig,
    Section,
    SelectorConfig,
    ShutdownConfig,
    SourceConfig,
    StartupConfig,
    StateConfig,
    TimeConfig,
)

__all__ = [
    "AlertConfig",
    "BatchConfig",
    "Config",
    "ConfigError",
    "DeliveryConfig",
    "DlqConfig",
    "Duration",
    "EngineConfig",
    "HttpConfig",
    "InputConfig",
    "KafkaConfig",
    "LogConfig",
    "MetricsConfig",
    "Problem",
    "RulesConfig",
    "Section",
    "SelectorConfig",
    "ShutdownConfig",
    "Size",
    "SourceConfig",
    "Start",
    "StartupConfig",
    "StateConfig",
    "TimeConfig",
    "environment_name",
    "load_config",
    "masked",
    "show",
]
