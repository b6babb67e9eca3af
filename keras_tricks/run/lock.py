"""One writer per run folder. The lock is the operating system's (`filelock`), so it ends with its process."""

import contextlib
import datetime
import logging
import os
import socket

import filelock

from keras_tricks.utils.errors import UserError

log = logging.getLogger("absl")


@contextlib.contextmanager
def locked(folder):
    """A context in which this process alone writes to a run folder. A stale lock is ignored.

    `.lock` is what is locked; `.owner` names the process that holds it.

    Raises:
        UserError: another process writes to the folder; the message names it.
    """
    owner = folder / ".owner"
    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        holder = _read(owner) or "it left no name"
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
            owner.write_text(f"process {os.getpid()} on {socket.gethostname()}, since {now}\n")
        yield
    finally:
        with contextlib.suppress(OSError):
            owner.unlink(missing_ok=True)
        lock.release()


def _read(path):
    with contextlib.suppress(OSError):
        return path.read_text(errors="replace").strip()
    return ""
