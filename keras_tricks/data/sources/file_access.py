"""Access to files and folders that may not be what their names suggest: pipes, devices, stale handles, lost links."""

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable

from keras_tricks.utils.errors import UserError
from keras_tricks.utils.text import printable

# What archives, desktops and disks add to folders.
SYSTEM_FOLDERS = frozenset({"__MACOSX", "__pycache__", "@eaDir", "lost+found", "$RECYCLE.BIN",
                            "System Volume Information"})
KINDS = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
         stat.S_IFDIR: "a folder"}
LARGEST = 2**30  # bytes of a file; encoded images have fewer, and TensorFlow's strings end at 2**31
RETRIED = (errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ETIMEDOUT)
DELAYS = (0.1, 0.3, 1.0)  # seconds before each further attempt


def retry(function: Callable, *args):
    """Calls a function, and again after an error that passes: a stale handle of a network file system, no free handle.

    Raises:
        OSError: another error, or the same one four times.
    """
    for delay in DELAYS:
        try:
            return function(*args)
        except OSError as error:
            if error.errno not in RETRIED:
                raise
        time.sleep(delay)
    return function(*args)


def list_entries(folder: str | os.PathLike) -> list[os.DirEntry]:
    """The entries of a folder, sorted by name. Raises `UserError` if it cannot be listed."""

    def scan():
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)

    try:
        return retry(scan)
    except OSError as error:
        raise UserError(f"The folder {printable(folder)} cannot be listed ({error.strerror}).") from None


def is_folder(entry: os.DirEntry) -> bool:
    """Whether an entry is a folder or a link to one."""
    with contextlib.suppress(OSError):
        return retry(entry.is_dir)
    return False


def sub_folders(folder: str | os.PathLike) -> list[os.DirEntry]:
    """The sub-folders of a folder, without hidden ones and those of the operating system."""
    return [entry for entry in list_entries(folder)
            if not entry.name.startswith(".") and entry.name not in SYSTEM_FOLDERS and is_folder(entry)]


def read_regular_file(path: str | os.PathLike) -> bytes:
    """The content of a file. Does not open anything else, such as a named pipe, which could block.

    Raises:
        ValueError: it cannot be read. The message is the reason.
    """

    def read():
        _check_regular(os.stat(path))
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as file:
            _check_regular(os.fstat(descriptor))  # it may have been replaced
            return file.read(LARGEST)

    try:
        return retry(read)
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None


def _check_regular(status):
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        raise ValueError(f"it is {KINDS.get(kind, 'not a regular file')}")
    if fault := size_fault(status.st_size):
        raise ValueError(fault)


def size_fault(size: int) -> str:
    """Why a file of `size` bytes cannot be an image, or `""`."""
    return f"it has {size / 2**30:.1f} GiB, more than an encoded image" if size > LARGEST else ""
