"""Quiet start of the program: TensorFlow's native libraries write messages to stderr while they load.

As a library the package does not change stderr: `import keras_tricks` prints no more than `import keras`.
"""

import contextlib
import os
import pathlib
import sys
import tempfile


def is_program():
    """Whether this process is `keras-tricks ...` or `python -m keras_tricks ...`."""
    arguments = sys.orig_argv
    script = any(pathlib.PurePath(a).name in ("keras-tricks", "keras-tricks.exe") for a in arguments[:3])
    module = "-m" in arguments and arguments[arguments.index("-m") + 1 :][:1] == ["keras_tricks"]
    return script or module


def is_child():
    """Whether this process was started by `multiprocessing`."""
    return "--multiprocessing-fork" in sys.orig_argv


@contextlib.contextmanager
def suppress_native_stderr():
    """Suppresses the output of native code to stderr. With `KERAS_TRICKS_TRACEBACK` a failing block prints it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        sys.stderr.flush()
        original = os.dup(2)
    except (AttributeError, OSError, ValueError):  # stderr is closed
        yield
        return
    with tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)
        try:
            yield
        except BaseException:
            notes.seek(0)
            if os.environ.get("KERAS_TRICKS_TRACEBACK"):
                os.write(original, notes.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)
