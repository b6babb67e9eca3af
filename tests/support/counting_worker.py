"""One worker of `test_four_workers.py`: trains a small network without batch statistics and counts its images.

    TF_CONFIG=... python tests/support/counting_worker.py FOLDER RUN [--epochs N] [--resume] ...
"""

import argparse
import dataclasses
import json
import os
import pathlib
import sys
import time

sys.path[:0] = [str(pathlib.Path(__file__).parents[1]), str(pathlib.Path(__file__).parents[2])]

BATCH, TRAIN_IMAGES, VALIDATION_IMAGES = 64, 1198, 599
STEPS = TRAIN_IMAGES // BATCH


def counting(split, fetched):
    """The split, with a fetch that appends each index to a list."""
    import tensorflow as tf

    def note(index):
        fetched.append(int(index))
        return index

    def fetch(index):
        return split.fetch(tf.ensure_shape(tf.numpy_function(note, [index], tf.int64), ()))

    return dataclasses.replace(split, fetch=fetch)


def build(input_shape, classes):
    import keras

    x = inputs = keras.Input(input_shape)
    for strides in (1, 2):
        x = keras.layers.Conv2D(8, 3, strides, padding="same", activation="relu")(x)
    return keras.Model(inputs, keras.layers.Dense(classes)(keras.layers.GlobalAveragePooling2D()(x)))


def recipe(epochs, strategy="auto"):
    from keras_tricks import load_recipe

    return load_recipe("quickstart").replace(
        model={"options": {}, "zero_gamma": False},
        schedule={"epochs": epochs, "batch_size": BATCH, "base_learning_rate": 0.01},
        augment={"mixup_alpha": 0.2}, export={"formats": []}, train={"strategy": strategy, "eval_batch_size": 300})


def train(folder, run, epochs=2, pause=0.0, resume=False, strategy="auto"):
    """Trains, and writes the counted images to `folder/<run>_<process>.json`. Returns the `Run`."""
    import keras

    import keras_tricks as kt

    fetched = {"train": [], "validation": []}
    source = kt.data.open_source("digits")
    source = dataclasses.replace(source, train=counting(source.train, fetched["train"]),
                                 validation=counting(source.validation, fetched["validation"]))
    wait = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: time.sleep(pause))
    done = kt.train(recipe(epochs, strategy), folder / run, resume=resume, data=source, model=build, verbose=2,
                    callbacks=[wait])
    counts = {"fetched": fetched, "val_loss": done.history["val_loss"]}
    (folder / f"{run}_{process_index()}.json").write_text(json.dumps(counts))
    return done


def process_index():
    return json.loads(os.environ["TF_CONFIG"])["task"]["index"] if "TF_CONFIG" in os.environ else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("run")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--strategy", default="auto")
    parser.add_argument("--resume", action="store_true")
    from keras_tricks.utils.errors import UserError

    try:
        train(**vars(parser.parse_args()))
    except UserError as error:
        print(f"keras-tricks: {error}", file=sys.stderr)
        return getattr(error, "exit_code", 2)
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # as the program: the end of Python can print errors of threads of TensorFlow
