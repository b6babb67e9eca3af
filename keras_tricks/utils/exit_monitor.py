"""A second process that reports in one line that the first one was killed from outside.

The system kills a process when memory runs out, and native code may abort it. Python then cannot print anything, so a
child waits on a pipe for the end of its parent. The parent writes a byte before it ends normally; if the pipe closes
without that byte, the child prints the line. The exit code is the parent's: 137 for SIGKILL, 134 for an abort.
"""

import contextlib
import os
import signal
from os import _exit  # without the clean-up that belongs to the parent

_pipe = None  # the writing end, in the monitored process


def start():
    """Starts the child. Call it before threads and large imports. Does nothing on Windows."""
    global _pipe
    if os.name == "nt" or _pipe is not None:
        return
    reading, _pipe = os.pipe()
    parent = os.getpid()
    try:
        child = os.fork()
    except OSError:  # no process or memory left: continue without it
        os.close(reading)
        stop()
        return
    if child:
        os.close(reading)
        return
    try:
        os.close(_pipe)
        os.setsid()  # Ctrl-C and a closed terminal are for the parent
        _wait(reading, parent)
    finally:
        _exit(0)


def stop():
    """Ends the child without a message, because this process ends normally or has reported its error."""
    global _pipe
    if _pipe is not None:
        with contextlib.suppress(OSError):
            os.write(_pipe, b".")
        os.close(_pipe)
        _pipe = None


def _wait(reading, parent):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)  # a reader of the output must not wait for this process
    if not os.read(reading, 1):
        with contextlib.suppress(OSError):
            os.write(2, f"keras-tricks: process {parent} was killed, or native code aborted it, as happens when memory "
                        "runs out. A training continues with --resume.\n".encode())
