"""A run on several workers: the settings that they must share, and the error of the worker that failed first.

A worker that fails writes its message to `failed/worker-1.txt` in the run folder. The others lose their connection to
it, read the file and raise its message. A worker that was killed writes nothing. The first of the others to notice
finds out whose address accepts no connection and writes its name to `failed/lost.txt`, which the rest read. If workers
do not share the folder, each looks for itself.
"""

import contextlib
import hashlib
import pathlib
import time

import keras

from keras_tricks.distribution.shared_texts import PeerFailed, WorkersDiffer
from keras_tricks.run.environment import installed_version
from keras_tricks.run.failures import WorkerLost
from keras_tricks.run.resolve import flatten
from keras_tricks.utils.atomic_files import write_text
from keras_tricks.utils.errors import UserError, one_line

MAY_DIFFER = {"name", "about", "data.data_dir", "data.workers", "data.service", "train.strategy",
              "train.logical_devices"}
WEIGHT_FILES = ("model.weights", "loss.teacher_weights")
LOST = "lost.txt"
LINGER = 3  # seconds in which a worker that ends is still found alive by the others


def experiment(recipe):
    """The settings that all workers of a run must share, a dict of str to str.

    The recipe as `{"section.key": JSON text}` without the keys that may differ between machines, the Keras backend, and
    versions. Weight files are compared by their content, because their paths may differ.
    """
    values = {key: text for key, text in flatten(recipe).items() if key not in MAY_DIFFER}
    for key in WEIGHT_FILES:
        section, _, field = key.partition(".")
        values[key] = _content(getattr(getattr(recipe, section), field)) or values[key]
    backend = keras.backend.backend()
    packages = dict.fromkeys(("keras-tricks", "keras", "tensorflow", backend))
    return values | {"backend": backend} | {f"{name} version": installed_version(name) or "none" for name in packages}


def _content(path):
    """Name and digest of a file; `None` for anything else."""
    if path is None or not pathlib.Path(path).is_file():
        return None
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return f"{pathlib.Path(path).name} (sha256 {digest.hexdigest()[:16]})"


@contextlib.contextmanager
def report_failures(folder, workers, index, is_lost_peer, unreachable=None):
    """A context that writes the error of this worker for the others, and replaces a lost connection by its cause.

    Args:
        folder: run folder that all workers share. `None`: nothing is written or read.
        workers: names of all workers, such as `["worker 0", "worker 1"]`.
        index: index of this worker.
        is_lost_peer: function of an error that returns whether the backend raises it when another worker has ended.
        unreachable: function without arguments that returns the names of the other workers that have ended. Defaults
            to `None`: they are not looked for.

    Raises:
        WorkerLost: another worker failed. The message names it and, if it could write one, its error.
    """
    files = {name: _file(folder, name) for name in workers if folder is not None}
    own = files.pop(workers[index], None)
    others = [name for name in workers if name != workers[index]]
    with contextlib.suppress(OSError):
        if own is not None:  # left by an earlier start
            own.with_name(LOST).unlink(missing_ok=True)
            own.unlink(missing_ok=True)
            own.parent.rmdir()
    try:
        yield
    except WorkersDiffer:  # all workers raise it
        raise
    except PeerFailed as error:
        raise WorkerLost(str(error), str(error)) from None
    except BaseException as error:
        if not others:
            raise
        if not isinstance(error, WorkerLost) and not is_lost_peer(error):
            _write(own, error)
            raise
        reason = error.reason if isinstance(error, WorkerLost) else one_line(error, 200)
        failed = " ".join(f"{name} failed: {text}" for name, path in files.items() if (text := _read(path)))
        raise WorkerLost(reason, failed or f"{_find_lost(own, others, unreachable)} ended or cannot be reached "
                                           f"({reason})") from None


def _find_lost(own, others, unreachable):
    """Whom a worker has lost: the names that another worker wrote, or those it finds; else all that it can be."""
    path = None if own is None else own.with_name(LOST)
    if len(others) == 1:
        return others[0]
    if path is not None and (found := _read(path)):
        return found
    found = ", ".join(unreachable() if unreachable is not None else [])
    if not found:
        return f"one of {', '.join(others)}"
    with contextlib.suppress(OSError):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "x", encoding="utf-8") as file:  # the first of the others to notice
                file.write(found)
    time.sleep(LINGER)
    return (path is not None and _read(path)) or found


def _file(folder, name):
    return pathlib.Path(folder) / "failed" / f"{name.replace(' ', '-')}.txt"


def _write(path, error):
    with contextlib.suppress(OSError):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            text = one_line(error)
            write_text(path, (text if isinstance(error, UserError) else f"{type(error).__name__}: {text}") + "\n")


def _read(path):
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8").strip()
    return ""
