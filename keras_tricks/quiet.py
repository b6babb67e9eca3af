"""A quiet start for the program: TensorFlow's native libraries write notes to stderr while they load.

As a library the package leaves stderr alone; `import keras_tricks` is silent or not as `import keras` is.
"""

import contextlib
import os
import pathlib
import sys
import tempfile


def is_program():
    """Whether this process is `keras-tricks ...`, `python -m keras_tricks ...`, or a child of multiprocessing."""
    arguments = sys.orig_argv
    script = any(pathlib.PurePath(a).name in ("keras-tricks", "keras-tricks.exe") for a in arguments[:3])
    module = "-m" in arguments and arguments[arguments.index("-m") + 1 :][:1] == ["keras_tricks"]
    return script or module or "--multiprocessing-fork" in arguments


@contextlib.contextmanager
def native_notes_held_back():
    """Holds back what is written to stderr below Python; shows it when the block fails."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as notes:
        os.dup2(notes.fileno(), 2)
        try:
            yield
        except BaseException:
            notes.seek(0)
            os.write(kept, notes.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
