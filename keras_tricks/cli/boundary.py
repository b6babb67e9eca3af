"""The boundary of the program: whatever ends a command becomes one line on stderr and an exit code.

    2          a mistake of the user, a `UserError`
    1          anything else: a full disk, too little memory, a fault of the package
    128 + n    ended by signal n: 130 for Ctrl-C, 141 when the reader of the output left
"""

import contextlib
import errno
import os
import sys
import traceback

from keras_tricks.cli import console
from keras_tricks.utils.atomic_files import is_disk_full
from keras_tricks.utils.errors import UserError, kept_traceback, one_line
from keras_tricks.utils.memory import is_out_of_memory

BAD_PATH = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EPERM,
            errno.EROFS)
TRACEBACK = "KERAS_TRICKS_TRACEBACK"  # environment variable that prints the traceback of errors of exit code 1


@contextlib.contextmanager
def boundary():
    """A context that ends the process in one line when the code inside raises."""
    try:
        yield
        sys.stdout.flush()
    except UserError as error:
        _end(one_line(error), getattr(error, "exit_code", 2))
    except BrokenPipeError:
        console.drop_output()
        sys.exit(141)
    except KeyboardInterrupt:
        _end("interrupted", 130)
    except Exception as error:
        if os.environ.get(TRACEBACK):
            traceback.print_exc()
        _end(describe(error), 2 if is_bad_path(error) else 1)


def describe(error):
    """An error that is not a `UserError`, in one line with what to do."""
    if is_disk_full(error):
        return f"The disk is full ({one_line(error)}). Free some space and run the command again; a training " \
               "continues with --resume."
    if is_out_of_memory(error):
        return f"Out of memory ({one_line(error)}). Give the command a smaller batch or network, or end other " \
               "processes; a training continues with --resume."
    if is_bad_path(error):
        return one_line(error)
    what = one_line(error) if isinstance(error, OSError) else f"{type(error).__name__}: {one_line(error)}"
    kept = kept_traceback(error)
    where = f"The traceback is in {kept}." if kept else f"{TRACEBACK}=1 shows where it happened."
    return f"{what.rstrip('.')}. {where}"


def is_bad_path(error):
    """Whether an error says that a file cannot be used as it was named: its name, its kind or its permissions."""
    return isinstance(error, OSError) and error.filename is not None and error.errno in BAD_PATH


def _end(message, code):
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        print(f"keras-tricks: {message}", file=sys.stderr, flush=True)
    sys.unraisablehook = lambda _: None  # destructors of TensorFlow that fail after a lost worker: the line is the last
    sys.exit(code)
