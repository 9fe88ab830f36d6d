"""What a plugin provides: filled by the decorators when the author's file is imported."""

import dataclasses
import inspect
import json
import typing

from . import types

VOLATILITIES = ("immutable", "stable", "volatile")


@dataclasses.dataclass
class Scalar:
    """A function for SQL expressions."""

    name: str
    call: typing.Callable
    args: list[str]
    returns: str
    volatility: str
    strict: bool
    vectorized: bool
    doc: str


@dataclasses.dataclass
class Step:
    """A transform or a filter, with the columns that it reads and returns."""

    call: typing.Callable
    reads: typing.Any
    returns: typing.Any = None


@dataclasses.dataclass
class Registry:
    """All that one plugin provides."""

    name: str = ""
    version: str = ""
    doc: str = ""
    config_schema: dict | None = None
    scalars: dict[str, Scalar] = dataclasses.field(default_factory=dict)
    transform: Step | None = None
    filter: Step | None = None

    def clear(self) -> None:
        """Forgets everything, for tests that make several plugins."""
        self.__init__()

    def check(self) -> None:
        """Raises if no plugin can be made of it."""
        if not self.name:
            raise TypeError("plugin.py has no `plugin(name=..., version=...)`")
        if not (self.scalars or self.transform or self.filter):
            raise TypeError("plugin.py has no `@scalar`, `@transform` or `@filter`")


registry = Registry()


def plugin(name: str, version: str, *, doc: str = "", config_schema: dict | None = None) -> None:
    """Says what the plugin is called, and with a JSON Schema how it is configured."""
    registry.name, registry.version, registry.doc = name, version, doc
    if config_schema is not None:
        json.dumps(config_schema)
    registry.config_schema = config_schema


def scalar(
    name: str | typing.Callable | None = None,
    *,
    args: list[str] | None = None,
    returns: str | None = None,
    strict: bool | None = None,
    volatility: str = "immutable",
    vectorized: bool = False,
    doc: str | None = None,
):
    """Makes a function of SQL expressions. Types that are not given come from the annotations.

    It is called for each row, and not for rows with a NULL among the arguments, unless `strict`
    is False or an argument is annotated `X | None`. With `vectorized` it is called with whole
    columns and returns as many values as they have.
    """
    if callable(name):
        return scalar()(name)
    if volatility not in VOLATILITIES:
        raise TypeError(f"volatility is one of {', '.join(VOLATILITIES)}")

    def register(call: typing.Callable) -> typing.Callable:
        called = name or call.__name__
        if called in registry.scalars:
            raise TypeError(f"there are two functions `{called}`")
        arg_types, return_type, is_strict = _signature(called, call, args, returns, vectorized)
        registry.scalars[called] = Scalar(
            called,
            call,
            [types.format_of(one) for one in arg_types],
            types.format_of(return_type),
            volatility,
            is_strict if strict is None else strict,
            vectorized,
            inspect.cleandoc(call.__doc__ or "") if doc is None else doc,
        )
        return call

    return register


def _signature(
    called: str,
    call: typing.Callable,
    args: list[str] | None,
    returns: str | None,
    vectorized: bool,
) -> tuple[list[str], str, bool]:
    """Types of arguments and result, and whether no argument may be None."""
    if args is not None and returns is not None:
        return args, returns, True
    if vectorized:
        raise TypeError(f"`{called}` is vectorized: it needs `args` and `returns`")
    hints = typing.get_type_hints(call, include_extras=True)
    strict = True
    if args is None:
        args = []
        for parameter in inspect.signature(call).parameters.values():
            where = f"argument `{parameter.name}` of `{called}`"
            if parameter.name not in hints:
                raise TypeError(f"{where} has neither an annotation nor a type in `args`")
            type_name, optional = types.of_annotation(hints[parameter.name], where)
            args.append(type_name)
            strict = strict and not optional
    if returns is None:
        if "return" not in hints:
            raise TypeError(f"`{called}` has neither an annotation `->` nor `returns`")
        returns = types.of_annotation(hints["return"], f"result of `{called}`")[0]
    return args, returns, strict


def transform(call: typing.Callable | None = None, *, reads=None, returns=None):
    """Makes the transform of the plugin: `function(context, batch, config)` -> the batch.

    `reads`: {column: type}, or a function of the configuration that returns it; a type may be a
    list of types, "decimal" for any, or "any". Without it all columns are read.
    `returns`: {column: type} or a function of the configuration and {column: type} of what is
    read. Without it the columns that are read are returned, with their types.
    """
    if call is not None:
        return transform()(call)

    def register(call: typing.Callable) -> typing.Callable:
        if registry.transform is not None:
            raise TypeError("a plugin has one `@transform`")
        registry.transform = Step(call, reads, returns)
        return call

    return register


def filter(call: typing.Callable | None = None, *, reads=None):
    """Makes the filter of the plugin: `function(context, batch, config)` -> a mask.

    The mask has a truth value for each row; rows without a true one are dropped.
    """
    if call is not None:
        return filter()(call)

    def register(call: typing.Callable) -> typing.Callable:
        if registry.filter is not None:
            raise TypeError("a plugin has one `@filter`")
        registry.filter = Step(call, reads)
        return call

    return register
