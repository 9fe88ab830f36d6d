"""What componentize-py builds: the exports of the world `batch-plugin`, around the author's file.

Only importable while a component is built.
"""

import json
import pathlib

from . import guard

guard.install()

import plugin as _author  # noqa: E402
from componentize_py_types import Err  # noqa: E402
from wit_world.exports import plugin as wit_plugin  # noqa: E402
from wit_world.exports import transform as wit_transform  # noqa: E402
from wit_world.imports import host, types  # noqa: E402

from . import lint, log  # noqa: E402
from .batch import Context, Field  # noqa: E402
from .errors import PluginError  # noqa: E402
from .registry import registry  # noqa: E402
from .runtime import SDK, Runtime  # noqa: E402

lint.check(pathlib.Path(_author.__file__).parent)
registry.check()
_runtime = Runtime()


def _to_host(level: str, message: str) -> None:
    host.log(host.Level[level.upper()], message)


def _enter() -> None:
    guard.seal()
    log.to(_to_host)


def _answer(function, *args):
    _enter()
    try:
        return function(*args)
    except PluginError as error:
        raise Err(types.PluginError(error.message, error.row, error.column)) from None


def _context(context: types.Context) -> Context:
    return Context(context.pipeline, context.table, context.run_time_us)


class Plugin:
    def describe(self) -> wit_plugin.Description:
        _enter()
        provides = wit_plugin.Provides(0)
        if registry.transform:
            provides |= wit_plugin.Provides.TRANSFORM
        if registry.filter:
            provides |= wit_plugin.Provides.FILTER
        if registry.scalars:
            provides |= wit_plugin.Provides.SCALAR
        functions = [
            wit_plugin.Function(
                one.name,
                one.args,
                one.returns,
                wit_plugin.Volatility[one.volatility.upper()],
                one.strict,
                one.doc,
            )
            for one in registry.scalars.values()
        ]
        schema = registry.config_schema
        return wit_plugin.Description(
            registry.name,
            registry.version,
            SDK,
            registry.doc,
            provides,
            "" if schema is None else json.dumps(schema),
            functions,
        )

    def configure(self, text: str) -> list[wit_plugin.Column] | None:
        read = _answer(_runtime.configure, text)
        if read is None:
            return None
        return [wit_plugin.Column(name, formats) for name, formats in read.items()]

    def bind(self, input: list[types.Field]) -> list[types.Field]:
        fields = [Field(one.name, one.format, one.nullable) for one in input]
        made = _answer(_runtime.bind, fields)
        return [types.Field(one.name, one.format, one.nullable) for one in made]


class Transform:
    def transform(self, context: types.Context, input: types.Batch) -> wit_transform.Output:
        # The records of the bindings have the fields of `arrays.Array`.
        rows, arrays, origins = _answer(
            _runtime.transform, _context(context), input.rows, input.arrays
        )
        return wit_transform.Output(types.Batch(rows, arrays), origins)


class Filter:
    def keep(self, context: types.Context, input: types.Batch) -> bytes:
        return _answer(_runtime.keep, _context(context), input.rows, input.arrays)


class Scalar:
    def call(self, function: str, rows: int, args: list) -> types.Array:
        pairs = [(one.is_constant, one.values) for one in args]
        return _answer(_runtime.call, function, rows, pairs)
