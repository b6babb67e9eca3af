"""Files and folders of results: writable or a `UserError`, and replaced in one step or left as they were."""

import contextlib
import errno
import os
import pathlib
import tempfile

from keras_tricks.errors import UserError


@contextlib.contextmanager
def replaced(path, flag=None):
    """Gives a path beside `path` to write to, and moves what was written there to `path` when the block ends well.

    A reader sees the old file or the new one, never half of it.

    Args:
        path: of the file; the suffix is kept, so that libraries that go by it write the right kind.
        flag: the argument by which the user named the file, such as `"--plot"`. Defaults to `None`: named by us.

    Raises:
        UserError: a file the user named cannot be written.
    """
    path = pathlib.Path(path)
    partial = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        if flag is None:
            raise
        raise UserError(f"{path} cannot be written ({error.strerror}): give {flag} another name.") from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def is_full(error):
    """Whether an error says that a disk, or what one may use of it, is full."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)


def writable_folder(path):
    """The folder as a `Path`, made if missing. Raises `UserError` when nothing can be written to it."""
    folder = pathlib.Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # without a name: other workers try the same at the same moment
    except OSError as error:
        raise UserError(f"The output folder {folder} cannot be written ({error.strerror}): give --output.") from None
    return folder
