"""From file, environment and command line to the tree, or to every finding at once."""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import yaml

from detectord.config.quantities import decode
from detectord.config.tree import Config, Section, keys_of

DEFAULT_PATH: Final = "/etc/detectord/detectord.yml"
PREFIX: Final = "DETECTORD_"
_FILE_LIMIT: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding: the path of the key (empty: the whole), what is wrong, who said it, a way out."""

    path: str
    message: str
    said_in: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.said_in}: {self.path}" if self.path else self.said_in
        return f"{place}: {self.message}" + (f"; {self.hint}" if self.hint else "")


class ConfigError(Exception):
    """The configuration cannot be used. One line a finding."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


def _closest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    return f"did you mean `{near[0]}`?" if near else ""


def _bare(kind: Any) -> Any:
    """The type without its constraints and without `| None`."""
    if typing.get_origin(kind) is Annotated:
        return _bare(typing.get_args(kind)[0])
    if typing.get_origin(kind) in {typing.Union, types.UnionType}:
        inner = [arm for arm in typing.get_args(kind) if arm is not type(None)]
        return _bare(inner[0]) if len(inner) == 1 else kind
    return kind


def _as_section(kind: Any) -> type[Section] | None:
    bare = _bare(kind)
    return bare if isinstance(bare, type) and issubclass(bare, Section) else None


def _as_list_of_keys_of(kind: Any) -> type[Section] | None:
    bare = _bare(kind)
    return _as_section(typing.get_args(bare)[0]) if typing.get_origin(bare) is tuple else None


def _required(kind: type[Section]) -> set[str]:
    return {f.name for f in msgspec.structs.fields(kind) if f.required}


@dataclass
class _Reading:
    """What was said so far: the nested values, who said each, and the findings."""

    values: dict[str, Any]
    file: str
    origins: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def origin(self, path: str) -> str:
        """Who said the value at `path` or the nearest one around it."""
        while path:
            if path in self.origins:
                return self.origins[path]
            path = path.rpartition(".")[0]
        return self.file

    def blame(self, path: str, message: str, hint: str = "") -> None:
        """Note a finding."""
        self.problems.append(Problem(path, message, self.origin(path), hint))

    def put(self, path: Sequence[str], value: object, origin: str) -> None:
        """Let `value` win at `path`."""
        inner = self.values
        for key in path[:-1]:
            if not isinstance(inner.get(key), dict):
                inner[key] = {}
            inner = inner[key]
        inner[path[-1]] = value
        self.origins[".".join(path)] = origin

    def check(self, kind: type[Section], values: object, path: str = "") -> None:
        """Collect what is wrong with `values` as a section of this kind."""
        if not isinstance(values, dict):
            self.blame(path, f"expected a section, found {values!r:.60}")
            return
        known = keys_of(kind)
        for key, value in values.items():
            inner = f"{path}.{key}" if path else str(key)
            if key in known:
                self._check_value(known[key], value, inner)
            else:
                self.blame(inner, "unknown key", _closest(str(key), list(known)))
        for key in sorted(_required(kind) - values.keys()):
            inner = f"{path}.{key}" if path else key
            section = _as_section(known[key])
            if section is None:
                self.blame(inner, "is required")
            else:
                self.check(section, {}, inner)

    def _check_value(self, kind: Any, value: object, path: str) -> None:
        section, several = _as_section(kind), _as_list_of_keys_of(kind)
        if section is not None:
            self.check(section, {} if value is None else value, path)
        elif several is not None and isinstance(value, list) and value:
            for i, each in enumerate(value):
                self.check(several, each, f"{path}[{i}]")
        else:
            try:
                msgspec.convert(value, kind, dec_hook=decode)
            except msgspec.ValidationError as error:
                place, sentence = _placed(str(error), path)
                self.blame(
                    place,
                    _expected(kind if place == path else _element(kind)) or sentence,
                    _closest_choice(kind, value),
                )


_AT: Final = re.compile(r" - at `(?:key in )?\$?(.*?)`$", re.DOTALL)


def _placed(text: str, path: str) -> tuple[str, str]:
    """A msgspec message as (path of the key, sentence)."""
    found = _AT.search(text)
    inner = found[1].replace("[...]", "") if found else ""
    sentence = text[: found.start()] if found else text
    return (path + inner).strip("."), sentence[:1].lower() + sentence[1:]


def _expected(kind: Any) -> str:
    """What a value of this kind must be, where msgspec would only show a pattern."""
    if choices := _choices(kind):
        return f"expected one of {', '.join(choices)}"
    if typing.get_origin(kind) is Annotated:
        described = [m.description for m in typing.get_args(kind)[1:] if getattr(m, "description", None)]
        return f"expected {described[0]}" if described else ""
    arms = [_expected(arm) for arm in typing.get_args(kind)] if _allows_none(kind) else []
    return next((arm for arm in arms if arm), "")


def _element(kind: Any) -> Any:
    """The type of a list's elements."""
    return (*typing.get_args(_bare(kind)), Any)[0]


def _choices(kind: Any) -> tuple[str, ...]:
    bare = _bare(kind)
    return typing.get_args(bare) if typing.get_origin(bare) is Literal else ()


def _closest_choice(kind: Any, value: object) -> str:
    return _closest(value, _choices(kind)) if isinstance(value, str) else ""


def _without_empty(kind: type[Section], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with each section that was named but left empty (`kafka:` and nothing) as {}."""
    known = keys_of(kind)
    result: dict[str, Any] = {}
    for key, value in values.items():
        section = _as_section(known[key])
        result[key] = _without_empty(section, value or {}) if section else value
    return result


class _Yaml(yaml.SafeLoader):
    """Safe YAML in which a key may stand only once and a date stays the text it was."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own shape
        first: [(tag, pattern) for tag, pattern in known if tag != "tag:yaml.org,2002:timestamp"]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[object] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.MarkedYAMLError(None, None, f"the key `{key.value}` stands twice", key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return node


def _read_text(path: str) -> str:
    with Path(path).open("rb") as file:
        data = file.read(_FILE_LIMIT + 1)
    if len(data) > _FILE_LIMIT:
        raise ValueError("is longer than 1 MiB")
    return data.decode("utf-8")


def _read_file(path: str) -> dict[str, Any]:
    """The values of a file.

    Raises:
        ConfigError: it cannot be read, or is not YAML or TOML, or not a mapping.
    """
    try:
        text = _read_text(path)
        # Safe: the loader is yaml.SafeLoader with fewer types.
        values = tomllib.loads(text) if path.endswith(".toml") else yaml.load(text, Loader=_Yaml)  # noqa: S506 - a SafeLoader
    except RecursionError:
        raise ConfigError([Problem("", "is nested too deeply", path)]) from None
    except OSError as error:
        raise ConfigError([Problem("", f"cannot be read: {error.strerror or error}", path)]) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else path
        raise ConfigError([Problem("", str(error.problem), place)]) from None
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigError([Problem("", str(error), path)]) from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError([Problem("", "is not a mapping of keys to values", path)])
    return values


def _from_text(kind: Any, text: str) -> object:
    """A value that was written as text, in the shape in which a file would hold it.

    Raises:
        ValueError: the text does not say a value of this kind.
    """
    bare = _bare(kind)
    if typing.get_origin(bare) is tuple and not text.lstrip().startswith("["):
        if _as_list_of_keys_of(kind):
            raise ValueError("expected a JSON list")
        return [part.strip() for part in text.split(",") if part.strip()]
    if typing.get_origin(bare) in {tuple, dict} or _as_section(kind):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            if typing.get_origin(bare) is not tuple:
                raise ValueError("expected JSON") from None
            example = "" if _as_list_of_keys_of(kind) else """, such as ["a", "b"]"""
            raise ValueError(f"expected a JSON list{example}") from None
    if bare in {int, float, bool}:
        return msgspec.convert(text, bare, strict=False)
    return None if text == "" and bare is not kind and _allows_none(kind) else text


def _allows_none(kind: Any) -> bool:
    if typing.get_origin(kind) is Annotated:
        return _allows_none(typing.get_args(kind)[0])
    return type(None) in typing.get_args(kind)


def _find(names: Sequence[str]) -> tuple[Any, str]:
    """The type at a path of keys, or None and a hint."""
    kind: Any = Config
    for depth, name in enumerate(names):
        section = _as_section(kind)
        if section is None or name not in keys_of(section):
            near = _closest(name, list(keys_of(section))) if section else ""
            return None, near.replace("`", f"`{PREFIX}" + "".join(f"{n}__" for n in names[:depth]).upper(), 1)
        kind = keys_of(section)[name]
    return kind, ""


def environment_name(path: str) -> str:
    """The environment variable for a key."""
    return PREFIX + path.upper().replace(".", "__")


def _variables(environ: Mapping[str, str]) -> Iterator[tuple[str, list[str], Any, bool]]:
    """Our variables: name, path, type (None: unknown), and whether the value is in a file.

    A name without `__` that is no key is somebody else's (service links in a container are named
    after the service), unless it looks like a key misspelt.
    """
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name == f"{PREFIX}CONFIG":
            continue
        path = name[len(PREFIX) :].lower().split("__")
        kind, _ = _find(path)
        if kind is not None:
            yield name, path, kind, False
            continue
        if name.endswith("_FILE"):
            shorter = [*path[:-1], path[-1].removesuffix("_file")]
            if (kind := _find(shorter)[0]) is not None:
                yield name, shorter, kind, True
                continue
        if len(path) > 1 or difflib.get_close_matches(path[0], list(keys_of(Config)), n=1, cutoff=0.8):
            yield name, path, None, False


def _apply_environment(reading: _Reading, environ: Mapping[str, str]) -> None:
    for name, path, kind, in_file in _variables(environ):
        dotted = ".".join(path)
        if kind is None:
            hint = _find(path)[1]
            upper = re.sub(r"`(.+)`", lambda found: f"`{found[1].upper()}`", hint)
            reading.problems.append(Problem("", "names no setting", name, upper))
            continue
        if in_file and environment_name(dotted) in environ:
            reading.problems.append(Problem(dotted, f"{environment_name(dotted)} is set as well", name))
            continue
        try:
            text = _read_text(environ[name]).removesuffix("\n") if in_file else environ[name]
            reading.put(path, _from_text(kind, text), name)
        except (OSError, ValueError) as error:
            reading.problems.append(Problem(dotted, _reason(error), name))


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text[:1].lower() + text[1:]


def _apply_overrides(reading: _Reading, overrides: Mapping[str, object]) -> None:
    for dotted, value in overrides.items():
        if value is None:
            continue
        kind, _ = _find(dotted.split("."))
        if kind is None:
            reading.problems.append(Problem(dotted, "names no setting", "command line"))
            continue
        try:
            said = _from_text(kind, value) if isinstance(value, str) else value
            reading.put(dotted.split("."), said, "command line")
        except ValueError as error:
            reading.problems.append(Problem(dotted, _reason(error), "command line"))


def load_config(
    path: str | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    overrides: Mapping[str, object] | None = None,
) -> Config:
    """The configuration in effect.

    `path` names the file; without it $DETECTORD_CONFIG does, then /etc/detectord/detectord.yml if
    it is there. `overrides` are the flags of the command line by dotted path; None means not given.

    Raises:
        ConfigError: with every finding.
    """
    named = path or environ.get(f"{PREFIX}CONFIG")
    file = named or DEFAULT_PATH
    values = _read_file(file) if named or Path(file).exists() else {}
    reading = _Reading(values, file if values or named else f"{DEFAULT_PATH} (not there)")
    _apply_environment(reading, environ)
    _apply_overrides(reading, overrides or {})
    said_wrong = list(reading.problems)
    reading.check(Config, reading.values)
    if reading.problems:
        # A value that could not be understood is already reported; that it is missing is no news.
        told = {problem.path for problem in said_wrong}
        raise ConfigError([p for p in reading.problems if p in said_wrong or p.path not in told])
    try:
        return msgspec.convert(_without_empty(Config, reading.values), Config, dec_hook=decode)
    except msgspec.ValidationError as error:
        section, sentence = _placed(str(error), "")
        key, colon, rest = sentence.partition(": ")
        inner = f"{section}.{key}".strip(".") if colon and " " not in key else section
        message = rest if colon and " " not in key else sentence
        raise ConfigError([Problem(inner, message, reading.origin(inner))]) from None
