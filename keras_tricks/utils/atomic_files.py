"""Atomic writing of result files, and checks that a folder is writable."""

import contextlib
import errno
import os
import pathlib
import tempfile

from keras_tricks.utils.errors import UserError


@contextlib.contextmanager
def atomic_write(path, flag=None):
    """Yields a temporary path in the folder of `path` and renames it to `path` if the block succeeds.

    A reader sees the old file or the new one, never a partial one. File and folder are flushed to disk, so that this
    also holds after a power failure. The temporary name contains the process id, so that two writers do not share it.

    Args:
        path: file to replace. Its suffix is kept, for libraries that choose the format by the suffix.
        flag: the argument that set the path, such as `"--plot"`. Defaults to `None`: the user did not choose the path.

    Raises:
        UserError: a file at a path that the user chose cannot be written.
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
        free = "Free some space, or give" if is_disk_full(error) else "Give"
        raise UserError(f"{path} cannot be written ({error.strerror}). {free} {flag} another name.") from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def write_text(path, text, flag=None):
    """Replaces a file atomically with `text` in UTF-8. Arguments and errors are those of `atomic_write`."""
    with atomic_write(path, flag) as partial:
        partial.write_text(text, encoding="utf-8")


def flush_to_disk(path):
    """Waits until a file, or the entries of a folder, are on disk. Skips folders on Windows."""
    if os.name == "nt" and os.path.isdir(path):
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # the file system does not support it
            raise
    finally:
        os.close(descriptor)


def flush_tree(path):
    """`flush_to_disk` for a file, or for a folder and everything in it."""
    for root, _, names in os.walk(path):
        for name in names:
            flush_to_disk(os.path.join(root, name))
        flush_to_disk(root)
    if os.path.isfile(path):
        flush_to_disk(path)


def check_regular(path):
    """Raises `UserError` if `path` is neither a file nor a folder: a named pipe would block its reader."""
    path = pathlib.Path(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        raise UserError(f"{path} is a pipe, a socket or a device, and must be a file: remove it.")


def _remove_abandoned(path):
    """Removes temporary files that killed processes left while writing `path`."""
    for left in path.parent.glob(f".{path.stem}.*.partial{path.suffix}"):
        process = left.name.removeprefix(f".{path.stem}.").partition(".")[0]
        if process.isdigit() and not _is_running(int(process)):
            left.unlink(missing_ok=True)


def _is_running(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # a process of another user
        return True
    return True


def is_disk_full(error):
    """Whether the cause of an error is a full disk or an exceeded quota."""
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)


def writable_folder(path):
    """Returns the folder as a `Path`, created if missing. Raises `UserError` if it is not writable."""
    folder = pathlib.Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # unnamed, because several workers may test the folder at once
    except OSError as error:
        free = "free some space, or give" if is_disk_full(error) else "give"
        raise UserError(f"The output folder {folder} cannot be written ({error.strerror}): {free} --output another "
                        "folder.") from None
    return folder
