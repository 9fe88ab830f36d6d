"""Messages in syncset's own log. They must not hold values of private columns.

Outside of WebAssembly they go to standard error.
"""

import sys

LEVELS = ("trace", "debug", "info", "warn", "error")


def _to_standard_error(level: str, message: str) -> None:
    print(f"{level}: {message}", file=sys.stderr)


_sink = _to_standard_error


def to(sink) -> None:
    """Sends messages to `sink(level, message)` from here on."""
    global _sink
    _sink = sink


def trace(message: object) -> None:
    """Says what only the author of the plugin wants to know."""
    _sink("trace", str(message))


def debug(message: object) -> None:
    """Says what helps to find a mistake."""
    _sink("debug", str(message))


def info(message: object) -> None:
    """Says what a user may want to know."""
    _sink("info", str(message))


def warn(message: object) -> None:
    """Says what a user should look at."""
    _sink("warn", str(message))


def error(message: object) -> None:
    """Says what went wrong."""
    _sink("error", str(message))
