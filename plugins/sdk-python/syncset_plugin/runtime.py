"""Answers the calls of the host with what the author registered. Knows nothing of WebAssembly."""

import contextlib
import json
import typing

from . import arrays, log, types
from .arrays import Array
from .batch import Batch, Column, Context, Field, each
from .errors import PluginError, frames
from .registry import Registry, Step, registry

SDK = "syncset-plugin-python 0.1.0"


class Runtime:
    """One instance of a plugin: `configure` once, then `bind`, then the calls with rows."""

    def __init__(self, provided: Registry = registry):
        self._provided = provided
        self._config: dict = {}
        self._input: list[Field] = []
        self._output: list[Field] = []

    @property
    def output(self) -> list[Field]:
        """The columns that `transform` returns, once it is bound."""
        return self._output

    def configure(self, text: str) -> dict[str, list[str]] | None:
        """The columns that are read with the formats that they may have; None: all columns."""
        with _told("configuration", private=False):
            config = json.loads(text or "{}")
            schema = self._provided.config_schema or {}
            for key in schema.get("required", ()):
                if key not in config:
                    raise PluginError(f"the configuration has no `{key}`")
            self._config = config
            read: dict[str, list[str]] = {}
            for step in self._steps():
                columns = _reads(step, config)
                if columns is None:
                    return None
                for name, formats in columns.items():
                    read[name] = _both(name, read.get(name), formats)
            return read

    def bind(self, input: list[Field]) -> list[Field]:
        """The columns that `transform` returns for those that it is passed."""
        with _told("columns", private=False):
            self._input = input
            step = self._provided.transform
            self._output = [] if step is None else self._returned(step)
            return self._output

    def transform(
        self, context: Context, rows: int, columns: list[Array]
    ) -> tuple[int, list[Array], list[int] | None]:
        """How many rows are returned, their columns, and the rows that they were made from."""
        with _told("transform"):
            step = _provided(self._provided.transform, "transform")
            batch = Batch(self._input, columns, rows, self._output)
            made = step.call(context, batch, self._config)
            made = batch if made is None else made
            if not isinstance(made, Batch):
                raise PluginError("the transform returned something else than a batch")
            return len(made), made.arrays(), made.origins

    def keep(self, context: Context, rows: int, columns: list[Array]) -> bytes:
        """A bitmap of the rows that stay."""
        with _told("filter"):
            step = _provided(self._provided.filter, "filter")
            batch = Batch(self._input, columns, rows)
            mask = list(step.call(context, batch, self._config))
            if len(mask) != rows:
                raise PluginError(f"the filter returned {len(mask)} values for {rows} rows")
            return arrays.pack_bits(mask)

    def call(self, name: str, rows: int, args: list[tuple[bool, Array]]) -> Array:
        """What a function makes of its arguments: for each whether it is constant, and values."""
        with _told(f"function `{name}`"):
            function = self._provided.scalars.get(name)
            if function is None:
                raise PluginError(f"there is no function `{name}`")
            if len(args) != len(function.args):
                raise PluginError(f"{len(args)} arguments for the {len(function.args)} of `{name}`")
            fields = [Field(str(at), one, True) for at, one in enumerate(function.args, start=1)]
            columns = [
                _constant(Column(values, field), rows) if constant else Column(values, field)
                for (constant, values), field in zip(args, fields)
            ]
            if function.vectorized:
                made = function.call(*columns)
            elif columns:
                made = each(function.call, columns, nulls=not function.strict)
            else:
                made = each(lambda _: function.call(), [range(rows)], nulls=True)
            if len(made) != rows:
                raise PluginError(f"`{name}` returned {len(made)} values for {rows} rows")
            if function.vectorized and function.strict:
                made = _null_where_null(made, columns)
            return arrays.encode(made, function.returns)

    def _steps(self) -> list[Step]:
        both = [self._provided.transform, self._provided.filter]
        return [step for step in both if step is not None]

    def _returned(self, step: Step) -> list[Field]:
        read = _reads(step, self._config)
        own = [field for field in self._input if read is None or field.name in read]
        if step.returns is None:
            return own
        returns = step.returns
        if callable(returns):
            returns = returns(self._config, {field.name: field.type for field in own})
        return [Field(name, *types.returned(one)) for name, one in returns.items()]


def _reads(step: Step, config: dict) -> dict[str, list[str]] | None:
    reads = step.reads(config) if callable(step.reads) else step.reads
    if reads is None:
        return None
    return {name: types.patterns_of(one) for name, one in reads.items()}


def _both(name: str, left: list[str] | None, right: list[str]) -> list[str]:
    """The formats that transform and filter both take; an empty list is any."""
    if not left or not right:
        return left or right
    common = [one for one in left if one in right]
    if not common:
        raise PluginError("transform and filter read it with different types", column=name)
    return common


def _provided(step: Step | None, kind: str) -> Step:
    if step is None:
        raise PluginError(f"the plugin has no {kind}")
    return step


class _Constant(Column):
    """One value that stands for every row."""

    def __init__(self, column: Column, rows: int):
        super().__init__(column.array, column.field)
        self._rows = rows

    @property
    def values(self) -> list:
        return arrays.decode(self.array, self.field.format) * self._rows

    @property
    def null_count(self) -> int:
        return self.array.null_count * self._rows

    @property
    def valid(self) -> bytes | None:
        return bytes(self._rows) if self.array.null_count else None

    @property
    def numbers(self) -> memoryview:
        one = super().numbers
        return memoryview(one.tobytes() * self._rows).cast(one.format)

    def __len__(self) -> int:
        return self._rows


def _constant(column: Column, rows: int) -> Column:
    return _Constant(column, rows)


def _null_where_null(made: typing.Sequence, columns: list[Column]) -> typing.Sequence:
    for column in columns:
        valid = column.valid
        if valid is not None:
            made = [value if known else None for value, known in zip(made, valid, strict=True)]
    return made


@contextlib.contextmanager
def _told(what: str, *, private: bool = True):
    """Turns every exception into a `PluginError`.

    The text of an exception that the author did not write may hold a value: where there are
    rows, it goes to the log of level debug only.
    """
    try:
        yield
    except PluginError as error:
        if error.__cause__ is not None or frames(error):
            _log_frames(error.__cause__ or error, "debug")
        raise
    except BaseException as error:
        kind = type(error).__name__
        places = frames(error)
        _log_frames(error, "error")
        text = str(error)
        # The name of a module is no value, and what to do is known from it alone.
        private = private and not isinstance(error, ImportError)
        if private and text:
            log.debug(f"{kind}: {text}")
        place = f" at {places[-1]}" if places else ""
        message = f"{what}: {kind}{place}" + (f": {text}" if text and not private else "")
        row = getattr(error, "_syncset_row", None)
        column = getattr(error, "_syncset_column", None)
        raise PluginError(message, row=row, column=column) from error


def _log_frames(error: BaseException, level: str) -> None:
    for place in frames(error):
        getattr(log, level)(place)
