"""Names of types, and the Arrow format strings that stand for them between host and plugin."""

import datetime
import decimal
import re
import types as python_types
import typing
import uuid

FORMATS = {
    "bool": "b",
    "i8": "c",
    "u8": "C",
    "i16": "s",
    "u16": "S",
    "i32": "i",
    "u32": "I",
    "i64": "l",
    "u64": "L",
    "f32": "f",
    "f64": "g",
    "text": "u",
    "bytes": "z",
    "uuid": "w:16",
    "date": "tdD",
    "time": "ttu",
    "timestamp": "tsu:",
    "timestamptz": "tsu:UTC",
}

DECIMAL_DIGITS_MAX = 38

_NAMES = {format: name for name, format in FORMATS.items()}
_DECIMAL = re.compile(r"decimal\(\s*(\d+)\s*,\s*(\d+)\s*\)")
_OF_ANNOTATION = {
    bool: "bool",
    int: "i64",
    float: "f64",
    str: "text",
    bytes: "bytes",
    uuid.UUID: "uuid",
    datetime.date: "date",
    datetime.time: "time",
}


def format_of(name: str) -> str:
    """The format string of a type such as `text` or `decimal(12,2)`."""
    if name in FORMATS:
        return FORMATS[name]
    match = _DECIMAL.fullmatch(name)
    if match is None:
        known = ", ".join([*FORMATS, "decimal(P,S)"])
        raise TypeError(f"unknown type `{name}`; there are {known}")
    precision, scale = int(match[1]), int(match[2])
    if not (1 <= precision <= DECIMAL_DIGITS_MAX and scale <= precision):
        raise TypeError(f"`{name}`: 1 <= P <= {DECIMAL_DIGITS_MAX}, 0 <= S <= P")
    return f"d:{precision},{scale}"


def name_of(format: str) -> str:
    """What authors call the type of a format string; the format itself if it is another one."""
    if format.startswith("d:"):
        return f"decimal({format[2:]})"
    return _NAMES.get(format, format)


def patterns_of(names: str | typing.Iterable[str]) -> list[str]:
    """The format strings that a column which is read may have. An empty list is any type."""
    names = [names] if isinstance(names, str) else list(names)
    if "any" in names:
        return []
    return ["d:*" if name == "decimal" else format_of(name) for name in names]


def returned(name: str) -> tuple[str, bool]:
    """Format and nullability of what is returned: `text`, or `text not null`."""
    plain = name.removesuffix(" not null")
    return format_of(plain), plain == name


def of_annotation(annotation: object, where: str) -> tuple[str, bool]:
    """The type that an annotation stands for, and whether None is in it.

    `Annotated[Decimal, "decimal(12,2)"]` names a type that Python has no class of its own for.
    """
    if typing.get_origin(annotation) in (typing.Union, python_types.UnionType):
        others = [one for one in typing.get_args(annotation) if one is not type(None)]
        optional = len(others) < len(typing.get_args(annotation))
        if len(others) == 1:
            return of_annotation(others[0], where)[0], optional
        raise TypeError(f"{where}: `{annotation}` is more than one type")
    if typing.get_origin(annotation) is typing.Annotated:
        base, *notes = typing.get_args(annotation)
        for note in notes:
            if isinstance(note, str):
                format_of(note)
                return note, of_annotation_is_optional(base)
        return of_annotation(base, where)
    if annotation is decimal.Decimal:
        raise TypeError(f'{where}: say how wide, as in Annotated[Decimal, "decimal(12,2)"]')
    if annotation is datetime.datetime:
        raise TypeError(
            f'{where}: say which, Annotated[datetime, "timestamp"] or '
            'Annotated[datetime, "timestamptz"]'
        )
    try:
        return _OF_ANNOTATION[annotation], False
    except (KeyError, TypeError):
        raise TypeError(f"{where}: no type for the annotation `{annotation}`") from None


def of_annotation_is_optional(annotation: object) -> bool:
    """True for `X | None`."""
    return type(None) in typing.get_args(annotation)
