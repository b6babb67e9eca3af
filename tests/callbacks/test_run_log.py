import csv
import time
import types

import keras
import numpy as np
import pytest
from PIL import Image

from keras_tricks.callbacks import RunLog
from keras_tricks.schedules import batch_size_plan
from keras_tricks.utils.summary import COLUMNS, draw_curves, read_summary, write_summary

STEPS, BATCH, N, MOMENTUM = 5, 8, 43, 0.9


def fit(folder, epochs, initial_epoch=0, clock=None, callbacks=(), evaluate=True, seed=0):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(7)])
    metrics = [keras.metrics.CategoricalAccuracy(name="top1"), keras.metrics.TopKCategoricalAccuracy(k=5, name="top5")]
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05), loss, weighted_metrics=metrics)
    model.optimizer.build(model.trainable_variables)
    model.optimizer.iterations.assign(initial_epoch * STEPS)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(STEPS * BATCH, 3)), np.eye(7)[rng.integers(0, 7, STEPS * BATCH)]
    log = RunLog(folder, batch_size_plan(0.05, BATCH, 9, N, mode="decay", momentum=MOMENTUM), clock)
    history = model.fit(x, y, batch_size=BATCH, epochs=epochs, initial_epoch=initial_epoch, verbose=0,
                        validation_data=(x, y) if evaluate else None, callbacks=[*callbacks, log])
    return history.history


def test_the_columns_of_the_design_and_their_numbers(tmp_path):
    history = fit(tmp_path, epochs=3)
    header = (tmp_path / "summary.csv").read_text().splitlines()[0]
    assert header == ("epoch,step,images,lr,batch_size,noise_scale,train_loss,val_loss,top1,top5,ema_top1,"
                      "images_per_s,data_wait,seconds")
    rows = read_summary(tmp_path)
    assert len(rows) == 3
    for i, row in enumerate(rows):
        assert (row["epoch"], row["step"], row["images"]) == (str(i + 1), str(5 * (i + 1)), str(40 * (i + 1)))
        assert row["batch_size"] == "8" and float(row["lr"]) == pytest.approx(0.05)
        assert float(row["noise_scale"]) == pytest.approx(0.05 * 43 / (8 * 0.1), rel=1e-5)
        for column, key, factor in (("train_loss", "loss", 1), ("val_loss", "val_loss", 1),
                                    ("top1", "val_top1", 100), ("top5", "val_top5", 100)):
            assert float(row[column]) == pytest.approx(factor * history[key][i], rel=1e-5)
        assert row["ema_top1"] == "" and row["data_wait"] == ""
        # Images of the epoch divided by its seconds without the evaluation.
        assert float(row["images_per_s"]) * float(row["seconds"]) >= STEPS * BATCH * 0.999


@pytest.mark.filterwarnings("error::UserWarning:keras_tricks")
def test_without_evaluation_its_cells_are_empty(tmp_path):
    fit(tmp_path, epochs=1, evaluate=False)
    (row,) = read_summary(tmp_path)
    assert row["val_loss"] == row["top1"] == row["top5"] == "" and float(row["train_loss"]) > 0
    assert (tmp_path / "curves.png").is_file()


def test_the_share_of_waiting(tmp_path):
    clock = types.SimpleNamespace(seconds=7.0)  # waited before this run

    class Waiting(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            time.sleep(0.02)
            clock.seconds += 0.01

    fit(tmp_path, epochs=2, clock=clock, callbacks=[Waiting()])
    for row in read_summary(tmp_path):
        training_seconds = STEPS * BATCH / float(row["images_per_s"])
        assert float(row["data_wait"]) == pytest.approx(STEPS * 0.01 / training_seconds, rel=1e-4)
        assert 0 < float(row["data_wait"]) <= 0.5 and training_seconds < float(row["seconds"])


def test_a_continued_run_appends_and_a_repeated_epoch_replaces_its_row(tmp_path):
    fit(tmp_path, epochs=3)
    before = read_summary(tmp_path)
    fit(tmp_path, epochs=4, initial_epoch=1, seed=1)
    after = read_summary(tmp_path)
    assert [r["epoch"] for r in after] == ["1", "2", "3", "4"] and after[0] == before[0]
    assert after[1]["train_loss"] != before[1]["train_loss"]
    assert [r["step"] for r in after] == ["5", "10", "15", "20"]
    assert not list(tmp_path.glob(".*partial*"))


def test_a_crash_while_writing_leaves_the_old_file(tmp_path):
    write_summary(tmp_path, rows(1))
    before = (tmp_path / "summary.csv").read_text()

    def half():
        yield from rows(1)
        raise OSError("no space left on device")

    with pytest.raises(OSError):
        write_summary(tmp_path, half())
    assert (tmp_path / "summary.csv").read_text() == before and [p.name for p in tmp_path.iterdir()] == ["summary.csv"]


def test_tensorboard_events_hold_the_same_numbers(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fit(tmp_path, epochs=2)
    events = EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    rows = read_summary(tmp_path)
    import tensorflow as tf

    tensors = events.Tensors("top1")
    assert [e.step for e in tensors] == [5, 10]
    values = [float(tf.make_ndarray(e.tensor_proto)) for e in tensors]
    assert values == pytest.approx([float(r["top1"]) for r in rows], rel=1e-5)


def rows(count, **changes):
    return [{**dict.fromkeys(COLUMNS, ""), "epoch": i + 1, "step": i, "images": i, "lr": 0.1 / (i + 1),
             "batch_size": 64, "train_loss": 2 / (i + 1), "val_loss": 1.5 / (i + 1), "top1": 90 + i / 10, "top5": 99.0,
             **changes} for i in range(count)]


@pytest.mark.parametrize("count, changes", [(1, {}), (12, {}), (3, {"top1": "", "top5": "", "val_loss": ""})])
def test_curves_are_drawn(tmp_path, count, changes):
    write_summary(tmp_path, rows(count, **changes))
    draw_curves(tmp_path)
    image = np.asarray(Image.open(tmp_path / "curves.png").convert("RGB"))
    assert image.shape[0] > 300 and image.shape[1] > 3 * 300
    assert 0.01 < (image < 200).any(axis=-1).mean() < 0.5  # ink on white paper
    colours = {tuple(c) for c in image.reshape(-1, 3)}
    assert (31, 119, 180) in colours and len(list(tmp_path.glob(".*"))) == 0


def test_no_rows_no_picture(tmp_path):
    draw_curves(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_plain_csv(tmp_path):
    write_summary(tmp_path, rows(2))
    with open(tmp_path / "summary.csv", newline="") as file:
        assert [tuple(r) for r in csv.DictReader(file)] == [COLUMNS] * 2
