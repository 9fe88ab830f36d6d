"""Arrow buffers to Python values and back. Knows one column at a time, and no host."""

import array as packed
import dataclasses
import datetime
import decimal
import itertools
import math
import operator
import typing
import uuid

from .errors import PluginError
from .types import name_of


@dataclasses.dataclass(slots=True)
class Array:
    """The values of one column: its length, how many are NULL, and Arrow's buffers."""

    length: int
    null_count: int
    buffers: list[bytes]


# Type codes of `array` and `memoryview.cast` with the same size on every platform.
CODES = {
    "c": "b",
    "C": "B",
    "s": "h",
    "S": "H",
    "i": "i",
    "I": "I",
    "l": "q",
    "L": "Q",
    "f": "f",
    "g": "d",
    "tdD": "i",
    "ttu": "q",
    "tsu:": "q",
    "tsu:UTC": "q",
}

_TEXT_FORMATS = ("u", "z")
_TO_DIGITS = bytes.maketrans(b"\0\1", b"01")
_TO_BITS = bytes.maketrans(b"01", b"\0\1")

_DATE_EPOCH = datetime.date(1970, 1, 1).toordinal()
_EPOCH = datetime.datetime(1970, 1, 1)
_EPOCH_UTC = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_MICROSECOND = datetime.timedelta(microseconds=1)
_DAY_US = 86_400_000_000
# Wide enough for every sum of 38 digits; the default context would round to 28.
_WIDE = decimal.Context(prec=80, Emax=999, Emin=-999)

# What syncset carries in place of values that Arrow has not.
_DECIMAL_NAN = -(1 << 127)
_INFINITIES = {
    "tdD": {(1 << 31) - 1: math.inf, -(1 << 31): -math.inf},
    "tsu:": {(1 << 63) - 1: math.inf, -(1 << 63): -math.inf},
}
_INFINITIES["tsu:UTC"] = _INFINITIES["tsu:"]


def pack_bits(bits: typing.Iterable[object]) -> bytes:
    """A bitmap, least significant bit first, of truth values."""
    flags = bytes(map(bool, bits))
    if not flags:
        return b""
    number = int(flags.translate(_TO_DIGITS)[::-1], 2)
    return number.to_bytes((len(flags) + 7) // 8, "little")


def unpack_bits(bitmap: bytes, length: int) -> bytes:
    """One byte, 0 or 1, for each of the first `length` bits."""
    if not length:
        return b""
    number = int.from_bytes(bitmap[: (length + 7) // 8], "little")
    digits = format(number, f"0{length}b")
    return digits[::-1][:length].encode().translate(_TO_BITS)


def validity(array: Array) -> bytes | None:
    """One byte for each value, 0 for NULL; None if no value is NULL."""
    if not array.null_count or not array.buffers[0]:
        return None
    return unpack_bits(array.buffers[0], array.length)


def numbers(array: Array, format: str) -> memoryview:
    """The values of a column of numbers or times where they are; what is NULL has any value."""
    return memoryview(array.buffers[1])[: array.length * _width(format)].cast(CODES[format])


def decode(array: Array, format: str) -> list:
    """The values of a column, None for NULL."""
    if not array.length:
        return []
    valid = validity(array)
    if format in CODES:
        values = numbers(array, format).tolist()
        if format[0] == "t":
            return _decode_times(values, valid, format)
    elif format == "b":
        values = list(map(bool, unpack_bits(array.buffers[1], array.length)))
    elif format in _TEXT_FORMATS:
        values = _decode_bytes(array, format == "u")
    elif format == "w:16":
        data = array.buffers[1]
        values = [uuid.UUID(bytes=data[at : at + 16]) for at in range(0, 16 * array.length, 16)]
    elif format.startswith("d:"):
        values = _decode_decimals(array, format)
    else:
        raise PluginError(f"this SDK does not read columns of type `{format}`")
    if valid is None:
        return values
    return [value if known else None for value, known in zip(values, valid)]


def _decode_bytes(array: Array, is_text: bool) -> list:
    offsets = memoryview(array.buffers[1]).cast("i").tolist()[: array.length + 1]
    data = array.buffers[2]
    if not is_text:
        return [data[start:end] for start, end in itertools.pairwise(offsets)]
    if data.isascii():
        # One character is one byte: decoded once, then cut.
        text = data.decode("ascii")
        return [text[start:end] for start, end in itertools.pairwise(offsets)]
    return [data[start:end].decode() for start, end in itertools.pairwise(offsets)]


def _decode_decimals(array: Array, format: str) -> list:
    scale = int(format.split(",")[1])
    halves = memoryview(array.buffers[1])[: array.length * 16]
    low, high = halves.cast("Q")[::2].tolist(), halves.cast("B").cast("q")[1::2].tolist()
    values = []
    for lower, upper in zip(low, high):
        number = (upper << 64) | lower
        if number == _DECIMAL_NAN:
            values.append(decimal.Decimal("NaN"))
        else:
            values.append(decimal.Decimal(number).scaleb(-scale, _WIDE))
    return values


def _decode_times(values: list, valid: bytes | None, format: str) -> list:
    # Only what is not NULL: the others may hold anything.
    decoded: list = []
    one = _TIME_DECODERS[format]
    special = _INFINITIES.get(format, {})
    try:
        for value, known in zip(values, valid or itertools.repeat(1)):
            if not known:
                decoded.append(None)
            elif value in special:
                decoded.append(special[value])
            else:
                decoded.append(one(value))
    except (ValueError, OverflowError):
        raise PluginError(
            f"a {name_of(format)} that Python has not; `column.numbers` has it as a number",
            row=len(decoded),
        ) from None
    return decoded


def _time_of_day(value: int) -> datetime.time:
    if not 0 <= value < _DAY_US:
        raise ValueError("outside of a day")
    seconds, microsecond = divmod(value, 1_000_000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return datetime.time(hour, minute, second, microsecond)


_TIME_DECODERS: dict[str, typing.Callable[[int], object]] = {
    "tdD": lambda value: datetime.date.fromordinal(_DATE_EPOCH + value),
    "ttu": _time_of_day,
    "tsu:": lambda value: _EPOCH + datetime.timedelta(0, 0, value),
    "tsu:UTC": lambda value: _EPOCH_UTC + datetime.timedelta(0, 0, value),
}


def encode(values: typing.Sequence, format: str) -> Array:
    """The buffers of a column. A value of another type is a `PluginError` with its row."""
    if format in CODES and isinstance(values, (packed.array, memoryview)):
        return _encode_packed(values, format)
    values = values if isinstance(values, (list, tuple)) else list(values)
    valid, null_count = b"", 0
    # By identity: `in` would also ask values that are equal to everything.
    if any(map(operator.is_, values, itertools.repeat(None))):
        known = [value is not None for value in values]
        null_count = len(values) - sum(known)
        valid = pack_bits(known)
    try:
        buffers = _encode_values(values, format, null_count > 0)
    except (TypeError, ValueError, OverflowError, AttributeError, decimal.InvalidOperation):
        _name_the_row(values, format)
        raise
    return Array(len(values), null_count, [valid, *buffers])


def _encode_packed(values: packed.array | memoryview, format: str) -> Array:
    code = values.typecode if isinstance(values, packed.array) else values.format
    if code != CODES[format]:
        raise PluginError(f"expected numbers of type code `{CODES[format]}`, got `{code}`")
    return Array(len(values), 0, [b"", values.tobytes()])


def _encode_values(values: typing.Sequence, format: str, has_nulls: bool) -> list[bytes]:
    if format in _TEXT_FORMATS:
        return _encode_bytes(values, format, has_nulls)
    if format == "b":
        for value in values:
            if value is not None and not isinstance(value, bool):
                raise TypeError("not a bool")
        return [pack_bits(values)]
    if format == "w:16":
        zero = bytes(16)
        return [b"".join([zero if value is None else value.bytes for value in values])]
    if format.startswith("d:"):
        precision, scale = map(int, format[2:].split(","))
        return [b"".join([_decimal_bytes(value, precision, scale) for value in values])]
    if format not in CODES:
        raise PluginError(f"this SDK does not write columns of type `{format}`")
    if format[0] == "t":
        one = _TIME_ENCODERS[format]
        values = [0 if value is None else one(value) for value in values]
    elif has_nulls:
        values = [0 if value is None else value for value in values]
    return [packed.array(CODES[format], values).tobytes()]


def _encode_bytes(values: typing.Sequence, format: str, has_nulls: bool) -> list[bytes]:
    empty = "" if format == "u" else b""
    if has_nulls:
        values = [empty if value is None else value for value in values]
    if format == "u":
        text = "".join(values)
        if text.isascii():
            data, lengths = text.encode("ascii"), map(len, values)
        else:
            parts = [value.encode() for value in values]
            data, lengths = b"".join(parts), map(len, parts)
    else:
        data, lengths = b"".join(values), map(len, values)
    # `array` refuses what does not fit 32 bits.
    offsets = packed.array("i", itertools.accumulate(lengths, initial=0))
    return [offsets.tobytes(), data]


def _decimal_bytes(value: object, precision: int, scale: int) -> bytes:
    if value is None:
        return bytes(16)
    if isinstance(value, bool) or not isinstance(value, (int, decimal.Decimal)):
        raise TypeError("not a Decimal")
    number = decimal.Decimal(value)
    if number.is_nan():
        return _DECIMAL_NAN.to_bytes(16, "little", signed=True)
    shifted = number.scaleb(scale, _WIDE)
    whole = int(shifted)
    if whole != shifted:
        raise ValueError(f"more than {scale} digits after the point")
    if abs(whole) >= 10**precision:
        raise ValueError(f"more than {precision} digits")
    return whole.to_bytes(16, "little", signed=True)


def _date_days(value: object) -> int:
    # A datetime is a date too, but not one that anybody means here.
    if isinstance(value, datetime.datetime) or not isinstance(value, datetime.date):
        return _infinity(value, "tdD")
    return value.toordinal() - _DATE_EPOCH


def _time_us(value: object) -> int:
    if not isinstance(value, datetime.time) or value.tzinfo is not None:
        raise TypeError("not a time without a zone")
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    return seconds * 1_000_000 + value.microsecond


def _timestamp_us(value: object) -> int:
    if not isinstance(value, datetime.datetime):
        return _infinity(value, "tsu:")
    if value.tzinfo is not None:
        raise TypeError("it has a zone")
    return (value - _EPOCH) // _MICROSECOND


def _timestamptz_us(value: object) -> int:
    if not isinstance(value, datetime.datetime):
        return _infinity(value, "tsu:")
    if value.tzinfo is None:
        raise TypeError("it has no zone")
    return (value - _EPOCH_UTC) // _MICROSECOND


def _infinity(value: object, format: str) -> int:
    for number, infinity in _INFINITIES[format].items():
        if isinstance(value, float) and value == infinity:
            return number
    raise TypeError(f"not a {name_of(format)}")


_TIME_ENCODERS: dict[str, typing.Callable[[typing.Any], int]] = {
    "tdD": _date_days,
    "ttu": _time_us,
    "tsu:": _timestamp_us,
    "tsu:UTC": _timestamptz_us,
}


def _name_the_row(values: typing.Sequence, format: str) -> None:
    for row, value in enumerate(values):
        try:
            _encode_values([value], format, value is None)
        except PluginError:
            raise
        except Exception as error:
            kind = type(value).__name__
            why = f": {error}" if type(error) is ValueError and format.startswith("d:") else ""
            raise PluginError(
                f"a value does not fit {name_of(format)} (it is of Python's type {kind}){why}",
                row=row,
            ) from None


def take(array: Array, format: str, rows: typing.Sequence[int]) -> Array:
    """The values of some rows, without looking at what they are."""
    valid = validity(array)
    bitmap, null_count = b"", 0
    if valid is not None:
        kept = bytes([valid[row] for row in rows])
        bitmap, null_count = pack_bits(kept), kept.count(0)
    if format == "b":
        bits = unpack_bits(array.buffers[1], array.length)
        return Array(len(rows), null_count, [bitmap, pack_bits([bits[row] for row in rows])])
    if format in _TEXT_FORMATS:
        parts = _decode_bytes(array, False) if array.length else []
        parts = [parts[row] for row in rows]
        offsets = packed.array("i", itertools.accumulate(map(len, parts), initial=0))
        return Array(len(rows), null_count, [bitmap, offsets.tobytes(), b"".join(parts)])
    width, data = _width(format), array.buffers[1]
    values = b"".join([data[row * width : (row + 1) * width] for row in rows])
    return Array(len(rows), null_count, [bitmap, values])


def _width(format: str) -> int:
    if format in CODES:
        return packed.array(CODES[format]).itemsize
    if format == "w:16" or format.startswith("d:"):
        return 16
    raise PluginError(f"this SDK does not know columns of type `{format}`")
