"""Runs a plugin as syncset would, without WebAssembly: for the author's own tests.

    import plugin
    from syncset_plugin import testing

    rows = testing.transform([{"phone": "0171 2345678", "country": "DE"}], {"column": "phone"})
    assert rows == [{"phone": "+491712345678", "country": "DE"}]
"""

import json
import typing

from . import arrays, types
from .batch import Context, Field
from .errors import PluginError
from .registry import registry
from .runtime import Runtime

CONTEXT = Context("a_pipeline", "a_table", 1_700_000_000_000_000)


def transform(
    rows: list[dict],
    config: dict | None = None,
    *,
    columns: typing.Mapping[str, str] | None = None,
    context: Context = CONTEXT,
) -> list[dict]:
    """The rows as they are after the transform: changed, with further columns, or fewer.

    `columns` has the types of columns that `reads` leaves open: {"amount": "decimal(12,2)"}.
    """
    runtime, passed = _bound(rows, config, columns)
    count, made, origins = runtime.transform(context, len(rows), passed)
    kept = [dict(rows[row]) for row in (range(len(rows)) if origins is None else origins)]
    if len(kept) != count:
        raise PluginError(f"{count} rows came back, made from {len(kept)}")
    for field, array in zip(runtime.output, made, strict=True):
        for row, value in zip(kept, arrays.decode(array, field.format), strict=True):
            row[field.name] = value
    return kept


def keep(
    rows: list[dict],
    config: dict | None = None,
    *,
    columns: typing.Mapping[str, str] | None = None,
    context: Context = CONTEXT,
) -> list[dict]:
    """The rows that the filter keeps."""
    runtime, passed = _bound(rows, config, columns)
    bits = arrays.unpack_bits(runtime.keep(context, len(rows), passed), len(rows))
    return [row for row, stays in zip(rows, bits) if stays]


def call(name: str, *args: list) -> list:
    """What a function gives for columns of arguments, NULL where it is strict."""
    function = registry.scalars[name]
    rows = len(args[0]) if args else 1
    passed = [(False, arrays.encode(values, format)) for values, format in zip(args, function.args)]
    return arrays.decode(Runtime().call(name, rows, passed), function.returns)


def _bound(
    rows: list[dict], config: dict | None, columns: typing.Mapping[str, str] | None
) -> tuple[Runtime, list[arrays.Array]]:
    runtime = Runtime()
    read = runtime.configure(json.dumps(config or {}))
    named = dict(columns or {})
    if read is None:
        read = {name: [types.format_of(one)] for name, one in named.items()}
    fields = []
    for name, formats in read.items():
        if name in named:
            formats = [types.format_of(named[name])]
        if len(formats) != 1 or formats[0].endswith("*"):
            raise TypeError(f"`{name}` can be of several types: say which in `columns`")
        fields.append(Field(name, formats[0], True))
    runtime.bind(fields)
    return runtime, [arrays.encode([row[one.name] for row in rows], one.format) for one in fields]
