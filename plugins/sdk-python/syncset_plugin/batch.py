"""Rows as an author sees them: columns that are decoded when they are first looked at."""

import collections.abc
import dataclasses
import datetime
import functools
import typing

from . import arrays
from .arrays import Array
from .errors import PluginError, RowError
from .types import name_of


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """Name, format and nullability of a column."""

    name: str
    format: str
    nullable: bool

    @property
    def type(self) -> str:
        """The type as authors write it, such as `text`."""
        return name_of(self.format)


@dataclasses.dataclass(frozen=True, slots=True)
class Context:
    """All that a plugin may know of "where" and "now"; a repeated call is given the same."""

    pipeline: str
    table: str
    run_time_us: int

    @property
    def run_time(self) -> datetime.datetime:
        """When the run began, in UTC: what a plugin has in place of a clock."""
        return arrays._EPOCH_UTC + datetime.timedelta(microseconds=self.run_time_us)


class Column(collections.abc.Sequence):
    """The values of one column, None for NULL. They are decoded at the first look, once."""

    def __init__(self, array: Array, field: Field, origins: list[int] | None = None):
        self.array = array
        self.field = field
        self._origins = origins

    @property
    def name(self) -> str:
        """The name of the column."""
        return self.field.name

    @property
    def type(self) -> str:
        """The type of the column, such as `decimal(12,2)`."""
        return self.field.type

    @property
    def null_count(self) -> int:
        """How many values are NULL."""
        return self.array.null_count

    @functools.cached_property
    def values(self) -> list:
        """All values as a list."""
        try:
            return arrays.decode(self.array, self.field.format)
        except PluginError as error:
            row = _origin(self._origins, error.row)
            raise PluginError(error.message, row=row, column=self.name) from None

    @property
    def numbers(self) -> memoryview:
        """The values of a column of numbers where they are, not copied.

        Days for `date`, microseconds for `time` and timestamps. Where `valid` has a 0, anything.
        """
        if self.field.format not in arrays.CODES:
            raise PluginError(f"`{self.name}` is a column of {self.type}, not of numbers")
        return arrays.numbers(self.array, self.field.format)

    @property
    def valid(self) -> bytes | None:
        """One byte for each value, 0 for NULL and 1 for others; None if no value is NULL."""
        return arrays.validity(self.array)

    def to_list(self) -> list:
        """All values as a list of one's own."""
        return list(self.values)

    def map(self, function: typing.Callable, *, nulls: bool = False) -> list:
        """What `function` makes of each value. NULL stays NULL, unless it wants to see `nulls`."""
        return each(function, [self], nulls, self._origins, column=self.name)

    def __len__(self) -> int:
        return self.array.length

    def __getitem__(self, row):
        return self.values[row]

    def __iter__(self):
        return iter(self.values)

    def __repr__(self) -> str:
        # No values: a column is easily printed, and what is printed is logged.
        return f"<Column {self.name} {self.type}, {len(self)} values, {self.null_count} NULL>"

    def _taken(self, rows: list[int], origins: list[int]) -> "Column":
        return Column(arrays.take(self.array, self.field.format, rows), self.field, origins)


class _SetColumn(Column):
    """A column that was set: its values become buffers when they are asked for."""

    def __init__(self, given: typing.Sequence, field: Field, origins: list[int] | None):
        self.field = field
        self._given = given
        self._origins = origins

    @functools.cached_property
    def array(self) -> Array:
        try:
            return arrays.encode(self._given, self.field.format)
        except PluginError as error:
            row = _origin(self._origins, error.row)
            raise PluginError(error.message, row=row, column=self.name) from None

    @functools.cached_property
    def values(self) -> list:
        return list(self._given)

    @property
    def null_count(self) -> int:
        return sum(value is None for value in self._given)

    def __len__(self) -> int:
        return len(self._given)

    def _taken(self, rows: list[int], origins: list[int]) -> Column:
        return _SetColumn([self._given[row] for row in rows], self.field, origins)


def _origin(origins: list[int] | None, row: int | None) -> int | None:
    return row if origins is None or row is None else origins[row]


def each(
    function: typing.Callable,
    columns: typing.Sequence[typing.Iterable],
    nulls: bool,
    origins: list[int] | None = None,
    column: str | None = None,
) -> list:
    """Calls `function` with the values of each row. An exception names the row."""
    made: list = []
    append = made.append
    try:
        if nulls or not any(_may_be_null(one) for one in columns):
            for value in map(function, *columns):
                append(value)
        else:
            for values in zip(*columns):
                if any(value is None for value in values):
                    append(None)
                else:
                    append(function(*values))
    except PluginError as error:
        row = _origin(origins, len(made)) if error.row is None else error.row
        raise RowError(row, error.message, column=error.column or column) from error
    except Exception as error:
        # Told by whoever catches it; the author's own tests see the exception as it is.
        error._syncset_row = _origin(origins, len(made))
        error._syncset_column = column
        raise
    return made


def _may_be_null(values: typing.Iterable) -> bool:
    return values.null_count > 0 if isinstance(values, Column) else True


class Batch:
    """Some rows of a table: the columns that the plugin reads, and those that it sets.

    `batch["phone"]` is a `Column`; `batch["phone"] = values` sets one that the plugin returns.
    """

    def __init__(
        self,
        schema: typing.Sequence[Field],
        columns: typing.Sequence[Array],
        rows: int,
        output: typing.Sequence[Field] = (),
        origins: list[int] | None = None,
    ):
        self._columns: dict[str, Column] = {
            field.name: Column(array, field, origins)
            for field, array in zip(schema, columns, strict=True)
        }
        self._output = {field.name: field for field in output}
        self._rows = rows
        self.origins = origins

    def __len__(self) -> int:
        """How many rows there are."""
        return self._rows

    @property
    def names(self) -> list[str]:
        """The names of the columns that can be read."""
        return list(self._columns)

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __getitem__(self, name: str) -> Column:
        try:
            return self._columns[name]
        except KeyError:
            raise PluginError(f"column `{name}` is not among those that are read") from None

    def __setitem__(self, name: str, values: typing.Iterable) -> None:
        if name not in self._output:
            raise PluginError(f"column `{name}` is set, but not in `returns`")
        if isinstance(values, Column):
            values = values.values
        elif isinstance(values, (str, bytes)) or not hasattr(values, "__getitem__"):
            values = list(values)
        if len(values) != self._rows:
            raise PluginError(f"{len(values)} values for {self._rows} rows", column=name)
        self._columns[name] = _SetColumn(values, self._output[name], self.origins)

    def map(self, function: typing.Callable, *names: str, nulls: bool = False) -> list:
        """What `function` makes of the values of some columns, row by row.

        A row with a NULL among them gives None, unless `function` wants to see `nulls`.
        """
        if not names:
            raise PluginError("`batch.map` needs the name of a column")
        return each(function, [self[name] for name in names], nulls, self.origins)

    def rows(self) -> typing.Iterator[dict]:
        """Each row as a dict. Comfortable, and several times slower than columns."""
        names = self.names
        for values in zip(*(self._columns[name] for name in names)):
            yield dict(zip(names, values))

    def keep(self, which: typing.Iterable) -> "Batch":
        """A batch of the rows that stay; the others leave the selection.

        `which` is a mask, one truth value for each row (None drops), or the numbers of the rows.
        """
        rows = self._numbers_of(list(which))
        origins = rows if self.origins is None else [self.origins[row] for row in rows]
        kept = Batch([], [], len(rows), list(self._output.values()), origins)
        for name, column in self._columns.items():
            kept._columns[name] = column._taken(rows, origins)
        return kept

    def _numbers_of(self, which: list) -> list[int]:
        if which and all(isinstance(one, bool) or one is None for one in which):
            if len(which) != self._rows:
                raise PluginError(f"`keep` has a mask of {len(which)} for {self._rows} rows")
            return [row for row, stays in enumerate(which) if stays]
        last = -1
        for row in which:
            if isinstance(row, bool) or not isinstance(row, int) or not last < row < self._rows:
                raise PluginError("`keep` takes a mask, or numbers of rows in rising order")
            last = row
        return which

    def arrays(self) -> list[Array]:
        """The buffers of the columns that are returned, in the order of `returns`."""
        return [self._array(field) for field in self._output.values()]

    def _array(self, field: Field) -> Array:
        column = self._columns.get(field.name)
        if column is None:
            raise PluginError("it is in `returns`, but was not set", column=field.name)
        if column.field.format != field.format:
            column = _SetColumn(column.values, field, self.origins)
        if column.array.null_count and not field.nullable:
            row = arrays.validity(column.array).index(0)
            message = "NULL in a column that cannot have it"
            raise PluginError(message, row=_origin(self.origins, row), column=field.name)
        return column.array
