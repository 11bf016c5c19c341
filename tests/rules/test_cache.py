"""The cache of rules: the same result as without it, never trusted, never in the way."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import ast_strategies
import pytest
from hypothesis import given
from hypothesis import strategies as st
from testing import REPOSITORY, shared_data

from detectord.compiler import compile_rule
from detectord.eql import ast, parser
from detectord.events.fields import FIELD_TYPES, FieldTypes
from detectord.rules import cache, load
from detectord.rules.findings import Finding
from detectord.rules.ledger import Loaded
from detectord.rules.rule import Rule
from detectord.rules.schema import Reading, ReadOptions

RULES = REPOSITORY / "rules"
BROKEN = '[metadata]\nmaturity = "production"\n[rule]\ntype = "eql"\nquery = "any where nope(1)"\nx = 1\n'

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def spans(node: object) -> list[object]:
    """Every span in a tree, which equality leaves out."""
    if isinstance(node, tuple):
        return [found for each in node for found in spans(each)]
    if not isinstance(node, ast.Node):
        return []
    fields = [getattr(node, each.name) for each in dataclasses.fields(node)]
    return [each for each in fields if isinstance(each, ast.Span)] + [
        found for each in fields for found in spans(each)
    ]


def test_the_generated_trees_have_every_kind_of_node() -> None:
    known = {kind for kind in vars(ast).values() if isinstance(kind, type) and issubclass(kind, ast.Node)}
    assert known - {ast.Node} <= set(cache._shapes().known)


@given(query=ast_strategies.queries, extra=plain, threat=st.lists(st.dictionaries(st.text(), plain)))
def test_an_entry_is_the_reading(query: ast.Query, extra: object, threat: list[dict[str, object]]) -> None:
    rule = Rule(
        rule_id="r", name="n", query_text="any where true", query=query, tags=("a", "b"),
        threat=tuple(threat), extra={"note": extra}, look_back=7,
    )  # fmt: skip
    found = Finding("W101", None, 3, 4, "message", "text", 3, 9, "hint")
    reading = Reading("r", "n", (found,), rule, (("rule.x", found),))
    again = cache.from_bytes(cache.to_bytes(reading))
    assert again == reading
    assert again.rule is not None
    assert spans(again.rule.query) == spans(query)
    assert type(again.rule.threat) is tuple


@given(st.binary(max_size=60))
def test_any_bytes_are_an_entry_or_an_error_that_is_expected(data: bytes) -> None:
    with contextlib.suppress(ValueError, TypeError, LookupError, RecursionError):
        assert isinstance(cache.from_bytes(data), Reading)


def loaded(directory: Path, *paths: Path) -> Loaded:
    return load.load(paths or [RULES], cache=directory)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read by parsing, from now on."""
    names: list[str] = []
    original = load.read_bytes

    def read_bytes(data: bytes, file: str, options: ReadOptions) -> Reading:
        names.append(file)
        return original(data, file, options)

    monkeypatch.setattr(load, "read_bytes", read_bytes)
    return names


def pack(directory: Path) -> Path:
    (found,) = directory.iterdir()
    return found


def test_the_second_load_parses_nothing_and_is_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "broken.toml").write_text(BROKEN)
    paths = [RULES, tmp_path / "rules"]
    first = loaded(tmp_path / "cache", *paths)
    assert first == load.load(paths)
    assert first.refused
    names = counted(monkeypatch)
    assert loaded(tmp_path / "cache", *paths) == first
    assert names == []


def test_elastics_rules_are_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = shared_data("elastic-rules")
    first = loaded(tmp_path, rules)
    names = counted(monkeypatch)
    second = loaded(tmp_path, rules)
    assert names == []
    assert second == first
    assert [spans(rule.query) for rule in second.rules] == [spans(rule.query) for rule in first.rules]


def test_a_changed_file_and_other_options_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "r.toml"
    file.write_text(BROKEN)
    loaded(tmp_path / "c", file)
    names = counted(monkeypatch)
    file.write_text(BROKEN + "# changed\n")
    loaded(tmp_path / "c", file)
    load.load([file], cache=tmp_path / "c", types={"a": "long"})
    load.load([file], cache=tmp_path / "c", types=FieldTypes({"a.*": "long"}))
    load.load([file], cache=tmp_path / "c", types=FieldTypes({"a.*": "date"}))
    load.load([file], cache=tmp_path / "c", types=FieldTypes({"b": "long"}, FieldTypes({"a.*": "date"})))
    load.load([file], cache=tmp_path / "c", types=FIELD_TYPES)
    load.load([file], cache=tmp_path / "c", types=FIELD_TYPES, strict_fields=True)
    load.load([file], cache=tmp_path / "c", maturity=("beta",))
    assert len(names) == 8


def test_what_is_gone_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    for name in ("a", "b"):
        (tmp_path / "r" / f"{name}.toml").write_text(BROKEN + f"# {name}\n")
    loaded(tmp_path / "c", tmp_path / "r")
    before = pack(tmp_path / "c").stat().st_size
    (tmp_path / "r" / "a.toml").unlink()
    loaded(tmp_path / "c", tmp_path / "r")
    assert pack(tmp_path / "c").stat().st_size < before * 0.6


def test_only_so_many_packs_are_kept(tmp_path: Path) -> None:
    for number in range(cache.MAX_PACKS + 3):
        file = tmp_path / f"{number}.toml"
        file.write_text(BROKEN)
        loaded(tmp_path / "c", file)
    assert len(list((tmp_path / "c").iterdir())) == cache.MAX_PACKS


def cut(data: bytes) -> bytes:
    return data[:-1]


def flipped(data: bytes) -> bytes:
    return data[:100] + bytes([data[100] ^ 1]) + data[101:]


def with_another_body(_: bytes) -> bytes:
    body = b"\x81\xc4\x01a\xc4\x01b"
    return hashlib.sha256(body).digest() + body


@pytest.mark.parametrize("damage", [cut, flipped, with_another_body, lambda _: b"", lambda _: b"\x00" * 40])
def test_a_damaged_pack_is_ignored(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    first = loaded(tmp_path)
    path = pack(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    assert loaded(tmp_path) == first
    assert pack(tmp_path).stat().st_size > 1_000


def test_a_damaged_entry_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "r.toml"
    file.write_text(BROKEN)
    opened = cache.open_cache(tmp_path / "c", [file], ("production",), {})
    opened._used[opened.key(file.read_bytes(), str(file), tmp_path.name)] = b"\x93\x07"
    opened.save()
    names = counted(monkeypatch)
    assert loaded(tmp_path / "c", file).refused
    assert names == [str(file)]


def test_it_may_be_deleted(tmp_path: Path) -> None:
    first = loaded(tmp_path / "c")
    pack(tmp_path / "c").unlink()
    (tmp_path / "c").rmdir()
    assert loaded(tmp_path / "c") == first


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_directory_that_others_may_write_to_is_not_used(tmp_path: Path, mode: int) -> None:
    directory = tmp_path / "c"
    directory.mkdir()
    directory.chmod(mode)
    found = loaded(directory)
    (warning,) = found.warnings
    assert (warning.code, warning.file) == ("W450", str(directory))
    assert "other users may write" in warning.message
    assert dataclasses.replace(found, warnings=()) == load.load([RULES])
    assert list(directory.iterdir()) == []


def test_a_pack_that_others_may_write_to_is_not_used(tmp_path: Path) -> None:
    loaded(tmp_path)
    pack(tmp_path).chmod(0o666)
    (warning,) = loaded(tmp_path).warnings
    assert warning.code == "W450"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_another_users_directory_is_not_used(tmp_path: Path) -> None:
    directory = tmp_path / "c"
    directory.mkdir(mode=0o755)
    os.chown(directory, 12345, 12345)
    (warning,) = loaded(directory).warnings
    assert "belongs to another user" in warning.message


def test_no_directory_can_be_made_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (warning,) = loaded(tmp_path / "file" / "c").warnings
    assert warning.code == "W450"


def test_a_pack_is_not_a_link_or_a_pipe(tmp_path: Path) -> None:
    loaded(tmp_path)
    path = pack(tmp_path)
    path.unlink()
    os.mkfifo(path)
    assert loaded(tmp_path).rules
    path.unlink()
    path.symlink_to("/etc/hostname")
    (warning,) = loaded(tmp_path).warnings
    assert warning.code == "W450"


def test_a_worker_parses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded(tmp_path)
    sent = pickle.dumps(loaded(tmp_path).rules)

    def parsed(*_: object) -> None:
        raise AssertionError("a worker has parsed a query")

    monkeypatch.setattr(parser, "scan", parsed)
    for rule in pickle.loads(sent):
        assert compile_rule(rule).steps


def test_what_cannot_be_written_down_is_not_kept(tmp_path: Path) -> None:
    opened = cache.open_cache(tmp_path, [], (), {})
    opened.put(b"a", Reading("\ud800", "", ()))
    opened.put(b"b", Reading("b", "", ()))
    opened.save()
    again = cache.open_cache(tmp_path, [], (), {})
    assert again.get(b"a") is None
    assert again.get(b"b") == Reading("b", "", ())
