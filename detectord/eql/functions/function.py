"""What a function of EQL is, and what holds for every one of them.

A function is written once, as a plain Python function over the values it is really about; the
decorator `function` gives it its signature and examples, and its name: `ends_with` is `endsWith`.
`Function.call` does the rest, the same for all:

Rule 1: a null argument gives null, unless its parameter is nullable.
Rule 2: a value of another type than the parameter's is converted as a field of that type would
convert it (a number becomes its JSON text, a numeric string its number); what cannot be converted
gives null, as a wrong number of arguments does. No argument makes a call raise.
Rule 3: `~` folds every text argument. Folding keeps positions, so a function that cuts a part
out of its first argument returns the `slice`, and the part is cut from the argument as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from detectord.eql.text import Number, Scalar, fold, json_text, parse_number
from detectord.eql.types import Type


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter.

    `optional`: may be left out. `many`: the last one, and may be repeated. `literal`: takes only
    literals. `nullable`: null is an answer of its own here, not the end of the call. `whole`: a
    NUMBER without a fraction. An IP parameter takes an address field or a string.
    """

    name: str
    type: Type
    optional: bool = False
    many: bool = False
    literal: bool = False
    nullable: bool = False
    whole: bool = False


@dataclass(frozen=True, slots=True)
class Function:
    """A function: signature, documentation, and how to call it.

    `foldable`: `name~` exists. `examples` are calls in EQL with constant arguments, and their
    values. `least` and `most` are how many arguments it takes; None is any number.
    """

    name: str
    params: tuple[Param, ...]
    returns: Type
    foldable: bool
    examples: Mapping[str, Scalar | None]
    doc: str
    body: Callable[..., Any] = field(repr=False)
    least: int = field(init=False)
    most: int | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "least", sum(not param.optional for param in self.params))
        object.__setattr__(self, "most", None if self.params[-1].many else len(self.params))

    def param(self, position: int) -> Param:
        """The parameter that the argument at `position` (from 0) belongs to."""
        return self.params[min(position, len(self.params) - 1)]

    def call(self, args: Sequence[Scalar | None], insensitive: bool = False) -> Scalar | None:
        """The value of the call, None for null. Never raises, whatever the arguments."""
        if len(args) < self.least or (self.most is not None and len(args) > self.most):
            return None
        values: list[Scalar | None] = []
        for position, arg in enumerate(args):
            param = self.param(position)
            value = None if arg is None else _CONVERSIONS[param.type](arg)
            if param.whole and value is not None:
                value = _whole(value)
            if value is None and not (arg is None and param.nullable):
                return None
            values.append(value)
        if insensitive and self.foldable:
            result = self.body(*[fold(value) if isinstance(value, str) else value for value in values])
        else:
            result = self.body(*values)
        if isinstance(result, slice):
            whole = values[0]
            assert isinstance(whole, str)
            return whole[result]
        return result  # type: ignore[no-any-return]  # a body answers with what `returns` says


def function(
    *params: Param, returns: Type, examples: Mapping[str, Scalar | None], foldable: bool = False
) -> Callable[[Callable[..., Any]], Function]:
    """Make a Python function an EQL function. It gets one converted value an argument."""

    def decorate(body: Callable[..., Any]) -> Function:
        first, *rest = body.__name__.split("_")
        return Function(
            name=first + "".join(map(str.capitalize, rest)),
            params=params,
            returns=returns,
            foldable=foldable,
            examples=MappingProxyType(dict(examples)),
            doc=(body.__doc__ or "").strip(),
            body=body,
        )

    return decorate


def _text(value: Scalar) -> str | None:
    if isinstance(value, str):
        return value
    return json_text(value) if isinstance(value, (int, float)) else None


def _number(value: Scalar) -> Number | None:
    if isinstance(value, str):
        return parse_number(value)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _whole(value: Scalar) -> int | None:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) else None


def _boolean(value: Scalar) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}.get(value) if isinstance(value, str) else None


def _address(value: Scalar) -> str | None:
    return value if isinstance(value, str) else None


def _anything(value: Scalar) -> Scalar | None:
    return value if isinstance(value, (str, int, float)) else None


_CONVERSIONS: Mapping[Type, Callable[[Scalar], Scalar | None]] = {
    Type.STRING: _text,
    Type.NUMBER: _number,
    Type.BOOLEAN: _boolean,
    Type.IP: _address,
    Type.ANY: _anything,
}
