"""Looks for the clocks of `datetime`, which cannot be made to fail with a word of why."""

import ast
import pathlib
import sys

_CLOCKS = {"now", "utcnow", "today"}
_CLASSES = {"datetime", "date"}


def clocks(source: str) -> list[int]:
    """The lines of calls such as `datetime.now()` and `datetime.date.today()`."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in _CLOCKS:
            owner = node.value
            named = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", None)
            if named in _CLASSES:
                lines.append(node.lineno)
    return sorted(lines)


def check(folder: pathlib.Path) -> None:
    """Raises if a module that was imported from a folder asks for the time."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file is None or pathlib.Path(file).parent != folder:
            continue
        for line in clocks(pathlib.Path(file).read_text()):
            name = pathlib.Path(file).name
            raise RuntimeError(f"{name}:{line}: a plugin has no clock: use `context.run_time`")
