"""Trackers of experiments, with the real packages where they are installed, offline."""

import importlib.util
import json

import pytest
from support.tiny_runs import NO_EXPORT, leave_tensorflow_as_it_was, summary, tiny  # noqa: F401

import keras_tricks as kt
from keras_tricks import callbacks
from keras_tricks.utils.errors import UserError

COLUMNS = {"train_loss": ("loss", 1), "val_loss": ("val_loss", 1), "top1": ("val_top1", 100), "top5": ("val_top5", 100)}


def logged(*names):
    return tiny(data={"train_images": 400}, train={"loggers": names}, export=NO_EXPORT)


def assert_holds_summary(folder, epochs):
    """Whether the logs of the epochs, a list of dicts, hold the numbers of `summary.csv`."""
    rows = summary(folder)
    assert len(rows) == len(epochs)
    for row, logs in zip(rows, epochs, strict=True):
        for column, (name, factor) in COLUMNS.items():
            assert float(row[column]) == pytest.approx(factor * logs[name], rel=1e-4)


def interrupted(recipe, folder, monkeypatch):
    """A run killed in its second epoch and resumed."""
    original = callbacks.BatchSizeScheduler.on_train_batch_begin

    def hook(this, batch, logs=None):
        if (this.epoch, batch) == (1, 1):
            raise KeyboardInterrupt
        original(this, batch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.BatchSizeScheduler, "on_train_batch_begin", hook)
        with pytest.raises(KeyboardInterrupt):
            kt.train(recipe, folder, verbose=0)
    assert len(summary(folder)) == 1
    kt.train(resume=folder, verbose=0)


def test_tensorboard_is_the_default(tmp_path):
    assert tiny().train.loggers == ("tensorboard",)
    kt.train(tiny(train={"loggers": ()}, schedule={"epochs": 1}, export=NO_EXPORT), tmp_path, verbose=0)
    assert not (tmp_path / "events").exists() and (tmp_path / "summary.csv").is_file()


def test_a_missing_package_is_named_before_anything_is_written(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *args: None if name == "wandb" else find(name, *args))
    with pytest.raises(UserError, match=r"`train.loggers` has wandb, which is not installed: pip install wandb, or pip "
                                        r"install 'keras-tricks\[loggers\]'"):
        kt.train(logged("wandb"), tmp_path / "run", verbose=0)
    assert not (tmp_path / "run").exists()


def test_mlflow_holds_the_numbers_of_the_summary(tmp_path, monkeypatch):
    pytest.importorskip("mlflow.keras")
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    interrupted(logged("mlflow"), tmp_path / "run", monkeypatch)
    client = mlflow.tracking.MlflowClient()
    experiment = client.get_experiment_by_name("keras_tricks")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "run" and run.data.params["schedule.epochs"] == "2" and run.info.status == "FINISHED"
    assert json.loads((tmp_path / "run" / "loggers.json").read_text()) == {"mlflow": run.info.run_id}
    names = {name for name, _ in COLUMNS.values()}
    metrics = {name: sorted((m.step, m.value) for m in client.get_metric_history(run.info.run_id, name))
               for name in names}
    assert_holds_summary(tmp_path / "run", [{n: metrics[n][epoch][1] for n in names} for epoch in range(2)])


def test_wandb_holds_the_numbers_of_the_summary(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    rows, write = [], wandb.sdk.wandb_run.Run.log

    def log(self, data, *args, **kwargs):
        rows.append({key.removeprefix("epoch/"): value for key, value in data.items()})
        return write(self, data, *args, **kwargs)

    monkeypatch.setattr(wandb.sdk.wandb_run.Run, "log", log)
    interrupted(logged("wandb", "tensorboard"), tmp_path / "run", monkeypatch)
    assert wandb.run is None
    assert_holds_summary(tmp_path / "run", rows)
    assert [row["epoch"] for row in rows] == [0, 1]
    number = json.loads((tmp_path / "run" / "loggers.json").read_text())["wandb"]
    files = list((tmp_path / "run" / "wandb").glob(f"offline-run-*-{number}/run-{number}.wandb"))
    assert len(files) == 2 and (tmp_path / "run" / "events").is_dir()  # a file for each process, one run


def test_trackio_holds_the_numbers_of_the_summary(tmp_path, monkeypatch):
    trackio = pytest.importorskip("trackio")
    rows, write = [], trackio.log
    monkeypatch.setattr(trackio, "log", lambda logs, step: (rows.append((step, logs)), write(logs, step=step)))
    monkeypatch.setenv("TRACKIO_PROJECT", f"keras_tricks_{tmp_path.name}")
    interrupted(logged("trackio"), tmp_path / "run", monkeypatch)
    assert [step for step, _ in rows] == [0, 1]
    assert_holds_summary(tmp_path / "run", [logs for _, logs in rows])
