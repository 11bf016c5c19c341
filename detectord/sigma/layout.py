"""A query as lines that a person can read.

What fits on a line stands on one. Else each operand of an `and` or `or` has its own, and so has each item
of a list; what is inside parentheses is indented. The text parses to the tree that was given.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from detectord.eql import ast
from detectord.eql.printer import expression_text, field_text

WIDTH = 110
_INDENT = "  "
_ROOM = 20


def flat(expr: ast.Expr) -> ast.Expr:
    """The expression with less of the same: no `and` right inside an `and` nor `or` inside an `or`, and one
    list for the patterns that an `or` holds against one field. It means the same."""
    match expr:
        case ast.And(operands):
            return ast.And(tuple(_spliced(ast.And, operands)))
        case ast.Or(operands):
            gathered = _gathered(list(_spliced(ast.Or, operands)))
            return gathered[0] if len(gathered) == 1 else ast.Or(tuple(gathered))
        case ast.Not(operand):
            return ast.Not(flat(operand))
        case _:
            return expr


def _spliced(kind: type[ast.And] | type[ast.Or], operands: Sequence[ast.Expr]) -> Iterator[ast.Expr]:
    for operand in map(flat, operands):
        if isinstance(operand, kind):
            yield from operand.operands
        else:
            yield operand


def _gathered(operands: Sequence[ast.Expr]) -> list[ast.Expr]:
    """Operands of an `or`, patterns of one operator and field put together where the first of them stands."""
    gathered: dict[object, ast.Expr] = {}
    for operand in operands:
        key: object = id(operand)
        if isinstance(operand, ast.Pattern):
            key = (operand.op, operand.value)
            earlier = gathered.get(key)
            if isinstance(earlier, ast.Pattern):
                patterns = dict.fromkeys((*earlier.patterns, *operand.patterns))
                operand = ast.Pattern(operand.op, operand.value, tuple(patterns))
        gathered[key] = operand
    return list(gathered.values())


def event_query(category: str | None, condition: ast.Expr, *, width: int = WIDTH) -> str:
    """`category where condition`, laid out; a leaf that is longer than `width` stays so."""
    head = f"{category or 'any'} where"
    lines = _lines(condition, width)
    if len(lines) == 1 and len(head) + len(lines[0]) < width:
        return f"{head} {lines[0]}"
    return "\n".join([head, *_indented(lines)])


def sequence(steps: Sequence[tuple[str | None, ast.Expr, Sequence[str]]], maxspan: str) -> str:
    """A sequence of (category, condition, join keys), laid out."""
    lines = [f"sequence with maxspan={maxspan}"]
    for category, condition, keys in steps:
        event = event_query(category, condition).split("\n")
        step = [f"[{event[0]}]"] if len(event) == 1 else [f"[{event[0]}", *event[1:], "]"]
        by = f" by {', '.join(field_text(ast.Field(key)) for key in keys)}" if keys else ""
        lines += _indented([*step[:-1], step[-1] + by])
    return "\n".join(lines)


def _indented(lines: Sequence[str]) -> list[str]:
    return [_INDENT + line for line in lines]


def _lines(expr: ast.Expr, width: int) -> list[str]:
    """The expression, on one line if it is short enough with some room for its indentation."""
    text = expression_text(expr)
    if len(text) <= width - _ROOM:
        return [text]
    match expr:
        case ast.And(operands):
            return _joined([_operand(each, width, (ast.And, ast.Or)) for each in operands], "and")
        case ast.Or(operands):
            return _joined([_operand(each, width, (ast.Or,), long=(ast.And,)) for each in operands], "or")
        case ast.Not(operand):
            lines = _operand(operand, width, (ast.And, ast.Or))
            return [f"not {lines[0]}", *lines[1:]]
        case ast.Pattern(op, value, patterns) if len(patterns) > 1:
            texts = [expression_text(pattern) for pattern in patterns]
            items = [*(f"{text}," for text in texts[:-1]), texts[-1]]
            return [f"{_operand_text(value)} {op} (", *_indented(items), ")"]
        case _:
            return [text]


def _operand_text(value: ast.Expr) -> str:
    """What stands left of a pattern: a field or a call, else it needs parentheses."""
    text = expression_text(value)
    return text if isinstance(value, (ast.Field, ast.Call, ast.Literal, ast.ArraySearch)) else f"({text})"


def _operand(
    expr: ast.Expr, width: int, grouped: tuple[type[ast.Expr], ...], long: tuple[type[ast.Expr], ...] = ()
) -> list[str]:
    """An operand's lines, in parentheses if it is of a kind that needs them there, or is `long` and has
    several lines, in which precedence would be hard to see."""
    lines = _lines(expr, width)
    if not isinstance(expr, grouped) and (len(lines) == 1 or not isinstance(expr, long)):
        return lines
    return [f"({lines[0]})"] if len(lines) == 1 else ["(", *_indented(lines), ")"]


def _joined(operands: Sequence[list[str]], word: str) -> list[str]:
    lines: list[str] = []
    for operand in operands[:-1]:
        lines += [*operand[:-1], f"{operand[-1]} {word}"]
    return [*lines, *operands[-1]]
