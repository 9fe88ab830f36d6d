"""Plugins for syncset in Python: transforms, filters and functions for SQL expressions.

    from syncset_plugin import plugin, scalar

    plugin(name="phones", version="0.1.0")

    @scalar
    def normalise_phone(phone: str, country: str) -> str | None: ...
"""

from . import log
from .batch import Batch, Column, Context, Field
from .errors import PluginError, RowError
from .registry import filter, plugin, scalar, transform

__all__ = [
    "Batch",
    "Column",
    "Context",
    "Field",
    "PluginError",
    "RowError",
    "filter",
    "log",
    "plugin",
    "scalar",
    "transform",
]
