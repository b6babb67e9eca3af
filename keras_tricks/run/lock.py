"""One writer per run folder or output. The lock is the operating system's (`filelock`) and ends with its process."""

import contextlib
import datetime
import logging
import os
import pathlib
import socket

import filelock

from keras_tricks.utils.errors import UserError

log = logging.getLogger("absl")


@contextlib.contextmanager
def locked(folder):
    """A context in which no other process writes to the run folder. A stale lock is ignored.

    `.lock` is the locked file; `.owner` names the process that holds the lock.

    Raises:
        UserError: another process, which the message names, writes to the folder.
    """
    owner = folder / ".owner"
    if (folder / ".lock").is_dir():
        raise UserError(f"{folder / '.lock'} is a folder, and must be a file: remove it.")
    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        holder = _read(owner) or "its name is unknown"
        raise UserError(f"Another process writes to {folder}: {holder}. Wait for it, stop it, or give --output "
                        "another folder.") from None
    except (OSError, NotImplementedError) as error:  # some network file systems
        log.warning("%s cannot be locked (%s). Make sure that no other process writes there.", folder, error)
        yield
        return
    if previous := _read(owner):
        log.info("%s: the last process ended without releasing its lock: %s", folder, previous)
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    try:
        with contextlib.suppress(OSError):  # a full disk is reported when the run writes
            owner.unlink(missing_ok=True)  # a named pipe would block
            owner.write_text(f"process {os.getpid()} on {socket.gethostname()}, since {now}\n")
        yield
    finally:
        with contextlib.suppress(OSError):
            owner.unlink(missing_ok=True)
        lock.release()


def writer_of(folder):
    """The process that writes to a run folder at this moment, as text; `""` if there is none, or locks do not work."""
    lock = filelock.FileLock(pathlib.Path(folder) / ".lock")
    if not os.path.isfile(lock.lock_file):
        return ""
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return _read(pathlib.Path(folder) / ".owner") or "a process whose name is unknown"
    except (OSError, NotImplementedError):
        return ""
    lock.release()
    return ""


@contextlib.contextmanager
def locked_output(folder, timeout=0):
    """A context in which no other process writes the same output folder. Leaves no file behind.

    Args:
        folder: `pathlib.Path`, an existing folder.
        timeout: number of seconds to wait for another process; -1 waits without a limit. Defaults to `0`.

    Raises:
        UserError: another process still writes there.
    """
    path = folder / ".export.lock"
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=timeout)
    except filelock.Timeout:
        raise UserError(f"Another process writes to {folder}: wait for it, or give --output another folder.") from None
    except (OSError, NotImplementedError) as error:  # some network file systems
        log.warning("%s cannot be locked (%s). Make sure that no other process writes there.", folder, error)
        yield
        return
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)  # before the release: afterwards it may be the file of the next process
        lock.release()


def _read(path):
    with contextlib.suppress(OSError):
        return path.read_text(errors="replace").strip() if path.is_file() else ""
    return ""
