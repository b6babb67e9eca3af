"""Trains a Keras model of your own with a recipe, evaluates the run, and fine-tunes it. About 20 seconds.

    python examples/train_your_own_model.py

The recipe names the function by its import path, so every command rebuilds the model: `keras-tricks evaluate RUN`,
`predict`, `export`, `train --resume RUN`, `train --weights RUN`. Run them from this folder, which holds the module.
"""

import pathlib
import tempfile

import keras

import keras_tricks as kt


def build(input_shape, classes, width=16):
    """Your own code, without keras_tricks: normalized images in, logits out."""
    x = inputs = keras.Input(input_shape)
    for filters, strides in ((width, 1), (2 * width, 2), (4 * width, 2)):
        x = keras.layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.ReLU()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(classes)(x))


def main(folder):
    recipe = kt.load_recipe("quickstart").replace(
        model={"name": "train_your_own_model:build", "options": {"width": 24}, "zero_gamma": False},
        schedule={"epochs": 8, "warmup_epochs": 1}, export={"formats": ("keras",)})
    run = kt.train(recipe, folder / "run", verbose=2)  # kt.train(recipe, model=build) does the same
    found = kt.evaluate(recipe, folder / "run")
    print(f"top-1 of {run.network.count_params():,} parameters: {100 * found['top1']:.2f} %")
    if found["top1"] < 0.9:
        raise SystemExit("the example must reach 90 %")

    tuned = recipe.replace(model={"weights": str(folder / "run"), "freeze": ("conv2d",)},
                           schedule={"epochs": 1, "base_learning_rate": 0.01})
    kt.train(tuned, folder / "fine_tuned", verbose=2)


if __name__ == "__main__":  # the module is imported again, by its path
    with tempfile.TemporaryDirectory() as scratch:
        main(pathlib.Path(scratch))
