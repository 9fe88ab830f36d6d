"""Makes what a plugin cannot do an error that says so.

A component has no files, clock, random numbers or standard output: without this, touching one
ends the instance with `unreachable` and no word why. While the component is built, everything
works; from the first call on, nothing does.
"""

import builtins
import importlib.machinery
import io
import os
import random
import sys
import time

# Looked up late by modules that many plugins use; nothing can be imported after the build.
import _strptime  # noqa: F401
import encodings.cp1252  # noqa: F401
import encodings.idna  # noqa: F401
import encodings.iso8859_15  # noqa: F401
import encodings.utf_16  # noqa: F401

from . import log
from .errors import PluginError

_NO_CLOCK = "a plugin has no clock: use `context.run_time`"
_NO_CHANCE = "a plugin has no random numbers: use `random.Random(seed)` with a seed from the row"
_NO_FILES = "a plugin has no files: read them at the top of plugin.py, when it is built"

_CLOCKS = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")
_sealed = False


def _refused(original, why: str):
    def refuse(*args, **kwargs):
        if _sealed:
            raise PluginError(why)
        return original(*args, **kwargs)

    return refuse


class _Lines(io.TextIOBase):
    """A standard stream whose lines are messages in the log."""

    def __init__(self, say):
        self._say = say
        self._rest = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._say(line)
        return len(text)


def install() -> None:
    """Puts checks in place, before the author's file takes what it needs."""
    for name in (*_CLOCKS, "sleep", "process_time", "thread_time"):
        if hasattr(time, name):
            setattr(time, name, _refused(getattr(time, name), _NO_CLOCK))
    for name in ("gmtime", "localtime", "ctime", "asctime"):
        setattr(time, name, _without_now(getattr(time, name)))
    os.urandom = random._urandom = _refused(os.urandom, _NO_CHANCE)
    shared = random._inst
    for name in random.__all__:
        if getattr(getattr(random, name), "__self__", None) is shared:
            setattr(random, name, _refused(getattr(random, name), _NO_CHANCE))
    builtins.open = io.open = _refused(io.open, _NO_FILES)
    for name in ("open", "stat", "lstat", "listdir", "scandir"):
        setattr(os, name, _refused(getattr(os, name), _NO_FILES))
    builtins.input = _refused(builtins.input, "a plugin has no standard input")


def _without_now(original):
    def of(*args):
        # Without an argument, and `asctime` of nothing, they read the clock.
        if _sealed and (not args or args[0] is None):
            raise PluginError(_NO_CLOCK)
        return original(*args)

    return of


def seal() -> None:
    """From here on nothing of the world outside is there."""
    global _sealed
    if _sealed:
        return
    _sealed = True
    sys.stdout, sys.stderr = _Lines(log.info), _Lines(log.warn)
    # What is not loaded yet cannot be: let the import fail, and not the search for its file.
    sys.meta_path[:] = [one for one in sys.meta_path if one is not importlib.machinery.PathFinder]
