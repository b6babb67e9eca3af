"""The streams of the program: usable when one is closed, its encoding is narrow or its reader has left."""

import contextlib
import io
import logging
import os
import sys

from absl import logging as absl_logging

log = logging.getLogger("absl")

STREAMS = {"stdout": 1, "stderr": 2}  # attribute of `sys`: file descriptor


def prepare():
    """Makes `sys.stdout` and `sys.stderr` safe to print to. The program calls it first.

    A closed stream becomes the null device. Otherwise the next file that the process opens gets its number, and native
    code writes messages into that file. A character that the encoding of a stream lacks is printed as an escape.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # `open` returns the lowest number that is free
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name, descriptor in STREAMS.items():
        stream = getattr(sys, name)
        if stream is None:
            _replace(name, io.FileIO(descriptor, "w", closefd=False), "utf-8")
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def ignore_write_errors():
    """Lets the process continue when its output can no longer be written; the output is dropped from then on.

    For commands that write files: `keras-tricks train quickstart | head -1` trains to the end.
    """
    for name, descriptor in STREAMS.items():
        stream = getattr(sys, name)
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
        _replace(name, _DroppableOutput(descriptor, "w", closefd=False), stream.encoding)


def drop_output():
    """Sends the rest of the output to the null device. Nothing is left to fail when Python flushes it at exit."""
    for descriptor in STREAMS.values():
        _drop(descriptor)


def _replace(name, raw, encoding):
    stream = io.TextIOWrapper(io.BufferedWriter(raw), encoding, "backslashreplace",
                              line_buffering=name == "stderr" or raw.isatty())
    setattr(sys, name, stream)
    if name == "stderr":
        absl_logging.get_absl_handler().python_handler.setStream(stream)


class _DroppableOutput(io.FileIO):
    """A stream whose writes never fail. A reader that left, a closed terminal or a full disk ends the output only."""

    def write(self, data):
        try:
            return super().write(data)
        except OSError as error:
            _drop(self.fileno())
            if self.fileno() == STREAMS["stdout"]:
                log.warning("the output cannot be written any more (%s): continuing without it", error.strerror)
            return memoryview(data).nbytes


def _drop(descriptor):
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, descriptor)
    os.close(null)
