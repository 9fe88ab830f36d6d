"""What a plugin raises to stop, and how an exception is told without telling any value."""

import types as python_types

FRAMES_MAX = 5


class PluginError(Exception):
    """The plugin cannot go on. The message is shown to the user, so it must not hold values."""

    def __init__(self, message: str, *, row: int | None = None, column: str | None = None):
        super().__init__(message)
        self.message = message
        self.row = row
        self.column = column


class RowError(PluginError):
    """One row cannot be processed: `row` counts from zero in the batch that was passed in.

    In a function of a row leave `row` out, it is known there: `raise RowError(message=...)`.
    """

    def __init__(self, row: int | None = None, message: str = "", *, column: str | None = None):
        super().__init__(message, row=row, column=column)


def frames(error: BaseException) -> list[str]:
    """The last places of a traceback, the innermost last.

    `traceback` itself would open source files, which a plugin has none of.
    """
    places = []
    trace: python_types.TracebackType | None = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        name = code.co_filename.rsplit("/", 1)[-1]
        inside = "/syncset_plugin/" in code.co_filename
        if not inside:
            places.append(f"{name}:{trace.tb_lineno} in {code.co_name}")
        trace = trace.tb_next
    return places[-FRAMES_MAX:]
