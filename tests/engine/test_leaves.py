"""An index of leaves finds those that hold, and one made for some of them finds these."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from detectord.compiler.predicates import Exists, FieldLeaf, InBlocks, Member, Range, Regex, Wildcards
from detectord.engine.leaves import FieldIndex
from detectord.eql.text import Scalar

TEXTS = ("a", "A", "ab", "cmd.exe", "CMD.EXE", "10.0.0.1", "7", "7.0", "true", "")
texts = st.sampled_from(TEXTS)
scalars = st.one_of(texts, st.integers(6, 8), st.sampled_from([7.0, -0.0, True, False]))
patterns = st.frozensets(st.sampled_from(["a*", "*.exe", "c?d*", "*", "ab", "*b"]), min_size=1, max_size=3)

leaves = st.one_of(
    st.builds(Exists, st.just("f"), st.sampled_from(["text", "numbers"])),
    st.builds(Member, st.just("f"), st.just("text"), st.frozensets(texts, min_size=1, max_size=3)),
    st.builds(
        Member, st.just("f"), st.just("folded"), st.frozensets(texts.map(str.lower), min_size=1, max_size=3)
    ),
    st.builds(Range, st.just("f"), st.just("numbers"), st.sampled_from(["<", ">="]), st.integers(6, 8)),
    st.builds(InBlocks, st.just("f"), st.just(frozenset(["10.0.0.0/8"]))),
    st.builds(Wildcards, st.just("f"), st.sampled_from(["text", "folded"]), patterns),
    st.builds(Regex, st.just("f"), st.sampled_from([("a.*",), ("[0-9]+", "cmd.*")]), st.booleans()),
)


@settings(deadline=None)
@given(st.lists(leaves, min_size=1, max_size=8), st.sets(st.integers(0, 7)), st.lists(scalars, max_size=6))
def test_the_index_of_some_leaves_finds_those(
    indexed: list[FieldLeaf], some: set[int], asked: list[Scalar]
) -> None:
    whole = FieldIndex(enumerate(indexed))
    chosen = whole.among(some)
    for value in asked:
        # An index of one leaf has nothing to choose from
        holding = {n for n, leaf in enumerate(indexed) if FieldIndex([(n, leaf)]).holding(value)}
        assert set(whole.holding(value)) == holding
        assert some & set(chosen.holding(value)) == some & holding
