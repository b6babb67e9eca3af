"""The folder of a run: whose it is, and what is written to it beside what the callbacks write.

    recipe.json  env.json  log.txt  .lock           `training.py`, with what stands here
    summary.csv  curves.png  events/  checkpoints/  kt.callbacks
    export/                                         kt.export
"""

import contextlib
import datetime
import json
import logging
import os
import pathlib
import platform
import socket

import absl.logging
import keras

from keras_tricks.callbacks.run_log import read_summary
from keras_tricks.errors import UserError, check_choice, is_ours
from keras_tricks.files import writable_folder
from keras_tricks.recipe import Recipe, load_recipe

log = logging.getLogger("absl")


# What may differ when a run is continued: it does not change the weights, or only where they are computed.
FREE = {"name", "about", "export", "data.data_dir", "data.max_bad_images", "data.workers", "data.service",
        "train.strategy", "train.logical_devices", "train.max_batch_per_replica", "train.static_shapes",
        "train.deterministic", "train.eval_batch_size", "train.evaluate_every", "train.steps_per_execution",
        "train.jit_compile", "train.checkpoint_minutes", "train.checkpoint_steps", "train.keep_checkpoints",
        "train.stall_minutes"}  # fmt: skip


def is_run(folder):
    return (pathlib.Path(folder) / "recipe.json").is_file()


def recipe_of(folder):
    """The `Recipe` of a run folder. Raises `UserError` when it is none."""
    folder = pathlib.Path(folder)
    if not is_run(folder):
        raise UserError(f"{folder} is not a run folder: it has no recipe.json.")
    return Recipe.from_json((folder / "recipe.json").read_text(), folder / "recipe.json")


def finished(run, recipe):
    """The rows of `summary.csv` of a complete run of that recipe, or `None`.

    Raises:
        UserError: the folder holds a run of another recipe.
    """
    if not is_run(run):
        return None
    if recipe_of(run) != recipe:
        raise UserError(f"{run} holds a run of other settings: give --output another folder, or remove it.")
    summary = read_summary(run)
    return summary if len(summary) == recipe.schedule.epochs and summary[-1]["top1"] else None


def continued_recipe(folder, recipe, changes):
    """The recipe a run goes on with: its own, and the given one's where they may differ.

    Args:
        folder: run folder.
        recipe: the `Recipe` asked for.
        changes: `None` refuses differences that change what is learned, `"new"` takes those of `recipe`, `"run"` stays
            with those of the run.

    Raises:
        UserError: there are such differences, and nobody said which win.
    """
    check_choice("changes", changes, (None, "new", "run"))
    old, new = flat(recipe_of(folder)), flat(recipe)
    different = [key for key in {**old, **new} if old.get(key) != new.get(key) and not is_free(key)]
    if changes == "new" or not different:
        return recipe
    if changes == "run":
        sections = recipe_of(folder).model_dump()
        free = {key: value for key, value in flat(recipe, text=False).items() if is_free(key)}
        for key, value in free.items():
            section, _, field = key.partition(".")
            if field:
                sections[section][field] = value
            else:
                sections[section] = value
        return Recipe(**sections)
    shown = ", ".join(f"{key} was {old.get(key)}, now {new.get(key)}" for key in different[:3])
    more = f" and {len(different) - 3} more" if len(different) > 3 else ""
    raise UserError(f"The run in {folder} was started with another recipe ({shown}{more}). Say which wins: "
                    "--changes run goes on as it began, --changes new goes on with the new values.")


def flat(recipe, text=True):
    """{"section.key": value as JSON} of a recipe."""
    found = {}
    for section, values in recipe.model_dump().items():
        if isinstance(values, dict) and section != "about":
            found |= {f"{section}.{key}": json.dumps(v) if text else v for key, v in values.items()}
        else:
            found[section] = json.dumps(values) if text else values
    return found


def is_free(key):
    return key in FREE or key.split(".")[0] in FREE


def which_run(recipe, output, resume, changes):
    """(recipe, output, whether a run may be continued) from the arguments of `train`."""
    if resume and resume not in (True, "auto"):
        if output is not None and pathlib.Path(output) != pathlib.Path(resume):
            raise UserError(f"--resume {resume} continues the run there: leave out --output {output}.")
        output, own = resume, recipe_of(resume)
        recipe = own if recipe is None else recipe
    if recipe is None:
        raise UserError("train needs a recipe, or --resume and the folder of a run.")
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    folder = pathlib.Path(output or pathlib.Path("runs") / recipe.name.replace("/", "-"))
    if resume and is_run(folder):
        recipe = continued_recipe(folder, recipe, changes)
    return recipe, output, bool(resume)


def claim_folder(recipe, output, resume):
    """The run folder, made and known to be writable."""
    base = pathlib.Path("runs") / recipe.name.replace("/", "-")
    if output is None and not resume:
        folder, number = base, 1
        while folder.exists():
            number += 1
            folder = base.with_name(f"{base.name}-{number}")
    else:
        folder = pathlib.Path(output or base)
        if not resume and is_run(folder):
            raise UserError(f"{folder} already holds a run. Give --output another folder, or --resume to continue it.")
    return writable_folder(folder)


@contextlib.contextmanager
def locked(folder):
    """A context in which this process alone writes to the run folder. The lock of a process that ended is no lock.

    Raises:
        UserError: another process is writing there; it is named.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with open(folder / ".lock", "a+") as file:
        file.seek(0)
        owner = file.read().strip()
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = owner or "it has not said which"
            raise UserError(f"Another process writes to {folder}: {owner}. Wait for it, stop it, or give --output "
                            "another folder.") from None
        except OSError as error:  # some network file systems
            log.warning("%s cannot be locked (%s): let no other process write there", folder, error.strerror)
            yield
            return
        if owner:
            log.info("%s was left by a process that ended without saying so: %s", folder, owner)
        file.truncate(0)
        now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        with contextlib.suppress(OSError):  # a full disk is told of later
            file.write(f"process {os.getpid()} on {socket.gethostname()}, since {now}\n")
            file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def environment():
    """Versions and devices, for `env.json`."""
    import importlib.metadata

    import tensorflow as tf

    def version(package):
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return None

    packages = ("keras-tricks", "keras", "tensorflow", "numpy", "tensorflow-datasets")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "devices": [d.name for d in tf.config.list_logical_devices()],
        "backend": keras.backend.backend(),
        "versions": {p: version(p) for p in packages},
    }


class log_file:
    """Copies log lines to `log.txt` of the run folder while open."""

    def __init__(self, folder):
        self.handler = logging.FileHandler(folder / "log.txt")
        self.handler.handleError = lambda record: None  # a full disk ends the run in words of its own
        self.handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self.handler.addFilter(is_ours)

    def __enter__(self):
        log.addHandler(self.handler)
        # Through absl: Keras and TensorFlow save and restore absl's verbosity, which undoes `log.setLevel`.
        self.verbosity = absl.logging.get_verbosity()
        absl.logging.set_verbosity(absl.logging.INFO)

    def __exit__(self, *_):
        log.removeHandler(self.handler)
        absl.logging.set_verbosity(self.verbosity)
        self.handler.close()


def report_bad_images(source):
    for name, split in (("training", source.train), ("validation", source.validation)):
        if split.bad is not None and split.bad.reasons:
            log.warning("%d broken %s images were left out:", len(split.bad.reasons), name)
            for path, reason in split.bad.reasons.items():
                log.warning("  %s: %s", path, reason)


def report_result(folder):
    rows = read_summary(folder)
    scored = [r for r in rows if r["top1"]]
    if scored:
        best = max(scored, key=lambda r: float(r["top1"]))
        log.info("top-1 %s %% after the last epoch; best %s %% after epoch %s. Everything is in %s",
                 rows[-1]["top1"], best["top1"], best["epoch"], folder)
    waits = [float(r["data_wait"]) for r in rows if r["data_wait"]]
    if waits and sum(waits) / len(waits) > 0.2:
        log.warning("input-bound: %.0f %% of the training time was spent waiting for images. `keras-tricks benchmark "
                    "--data %s` says what they cost; a data service (--data-service) lets other machines make them.",
                    100 * sum(waits) / len(waits), folder / "recipe.json")
