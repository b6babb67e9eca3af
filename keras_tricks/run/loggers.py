"""Experiment trackers of a run (`train.loggers`): W&B, MLflow and Trackio, through their own Keras callbacks.

    tensorboard   events/ in the run folder, written by `callbacks/run_log.py`
    wandb         a W&B run, by default of the project keras_tricks, with its files in the run folder; WANDB_PROJECT,
                  WANDB_MODE=offline and the other variables of W&B apply
    mlflow        an MLflow run, by default of the experiment keras_tricks; MLFLOW_TRACKING_URI and the others apply
    trackio       a Trackio run, by default of the project keras_tricks; TRACKIO_PROJECT and the others apply

They receive the recipe and the logs of every epoch. A run of a tracker that is open already is used and left open.
`loggers.json` holds the numbers of the runs, which a resumed run continues.
"""

import contextlib
import functools
import importlib.util
import json
import logging
import os

import keras

from keras_tricks.run.resolve import flatten
from keras_tricks.utils.atomic_files import write_text
from keras_tricks.utils.errors import UserError, one_line

log = logging.getLogger("absl")

PROJECT = "keras_tricks"
MODULES = {"wandb": "wandb", "mlflow": "mlflow", "trackio": "trackio"}


def check_loggers(names):
    """Raises a `UserError` if the package of a logger is not installed."""
    for name in names:
        if name in MODULES and importlib.util.find_spec(MODULES[name]) is None:
            raise UserError(f"`train.loggers` has {name}, which is not installed: pip install {name}, or "
                            "pip install 'keras-tricks[loggers]'.")


@contextlib.contextmanager
def open_loggers(recipe, folder):
    """A context in which the trackers of `train.loggers` have a run. Yields their callbacks.

    Raises:
        UserError: a tracker cannot start.
    """
    path, found = folder / "loggers.json", []
    numbers = _read_numbers(path)
    with contextlib.ExitStack() as stack:
        for name in recipe.train.loggers:
            if name not in OPENERS:
                continue
            try:
                callback, number, close = OPENERS[name](recipe, folder, numbers.get(name))
            except Exception as error:
                raise UserError(f"`train.loggers`: {name} cannot start: {one_line(error)}") from error
            stack.push(functools.partial(_close, close))
            found.append(callback)
            numbers[name] = number
        if found:
            write_text(path, json.dumps(numbers) + "\n")
        yield found


def _read_numbers(path):
    """{tracker: number of its run} of an earlier start."""
    try:
        numbers = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (ValueError, RecursionError):
        numbers = None
    if not isinstance(numbers, dict):
        raise UserError(f"{path} is damaged: remove it. The trackers then start new runs.")
    return numbers


def _close(close, kind, *_):
    """Ends the run of a tracker; `kind` is the type of the error that ends the training, or `None`."""
    close(kind is not None)


def _wandb(recipe, folder, number):
    import wandb
    from wandb.integration.keras import WandbMetricsLogger

    if wandb.run is not None:
        return WandbMetricsLogger(), wandb.run.id, lambda failed: None
    run = wandb.init(project=os.environ.get("WANDB_PROJECT", PROJECT), name=folder.name, id=number, resume="allow",
                     dir=os.environ.get("WANDB_DIR", str(folder)), config=recipe.model_dump(mode="json"))
    return WandbMetricsLogger(), run.id, lambda failed: run.finish(exit_code=int(failed))


def _mlflow(recipe, folder, number):
    import mlflow
    from mlflow.keras import MlflowCallback

    if mlflow.active_run() is not None:
        return MlflowCallback(), mlflow.active_run().info.run_id, lambda failed: None
    if number is None:
        mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT))
        run = mlflow.start_run(run_name=folder.name)
        mlflow.log_params({key: value[:6000] for key, value in flatten(recipe).items() if key != "about"})
    else:
        run = mlflow.start_run(run_id=number)

    def close(failed):
        mlflow.flush_async_logging()
        mlflow.end_run("FAILED" if failed else "FINISHED")

    return MlflowCallback(), run.info.run_id, close


def _trackio(recipe, folder, number):
    import trackio

    name = number or folder.name
    trackio.init(os.environ.get("TRACKIO_PROJECT", PROJECT), name=name, config=recipe.model_dump(mode="json"),
                 resume="allow", embed=False)
    write = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: trackio.log(dict(logs or {}), step=epoch))
    return write, name, lambda failed: trackio.finish()


OPENERS = {"wandb": _wandb, "mlflow": _mlflow, "trackio": _trackio}
