"""Files and folders of results: writable or a `UserError`, and replaced in one step or left as they were."""

import contextlib
import errno
import os
import pathlib
import tempfile

from keras_tricks.utils.errors import UserError


@contextlib.contextmanager
def atomic_write(path, flag=None):
    """Gives a temporary path beside `path` to write to, and moves it to `path` when the block succeeds.

    A reader sees the old file or the new one, never half of it. File and folder are flushed to the disk, so that this
    also holds after a power failure. The temporary name carries the process, so two writers do not share it.

    Args:
        path: file to replace. The suffix is kept, so that libraries that go by it write the right format.
        flag: the argument with which the user named the file, such as `"--plot"`. Defaults to `None`: we named it.

    Raises:
        UserError: a file named by the user cannot be written.
    """
    path = pathlib.Path(path)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        _remove_abandoned(path)
        yield partial
        flush_to_disk(partial)
        os.replace(partial, path)
        flush_to_disk(path.parent)
    except OSError as error:
        if flag is None:
            raise
        raise UserError(f"{path} cannot be written ({error.strerror}). Give {flag} another name.") from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def write_text(path, text, flag=None):
    """Replaces a file by `text` in UTF-8, in one step. Arguments and errors as for `atomic_write`."""
    with atomic_write(path, flag) as partial:
        partial.write_text(text, encoding="utf-8")


def flush_to_disk(path):
    """Returns when a file, or the list of files of a folder, is on the disk. Folders are skipped on Windows."""
    if os.name == "nt" and os.path.isdir(path):
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # file systems that cannot flush
            raise
    finally:
        os.close(descriptor)


def _remove_abandoned(path):
    """Removes temporary files of processes that were killed while they wrote `path`."""
    for left in path.parent.glob(f".{path.stem}.*.partial{path.suffix}"):
        process = left.name.removeprefix(f".{path.stem}.").partition(".")[0]
        if process.isdigit() and not _is_running(int(process)):
            left.unlink(missing_ok=True)


def _is_running(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def is_disk_full(error):
    """Whether an error says that the disk, or the user's quota, is full."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)


def writable_folder(path):
    """Returns the folder as a `Path`, created if missing. Raises `UserError` when nothing can be written to it."""
    folder = pathlib.Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # nameless: several workers may try the folder at once
    except OSError as error:
        raise UserError(f"The output folder {folder} cannot be written ({error.strerror}): give --output.") from None
    return folder
