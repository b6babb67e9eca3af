"""Trains on images with several labels: which of three properties a digit has. About 30 seconds.

    python examples/train_multi_label.py

The labels are an array (n, classes) of 0 and 1; a CSV file with cells such as `even;prime` gives the same.
"""

import pathlib
import tempfile

import keras
import numpy as np
from sklearn.datasets import load_digits

import keras_tricks as kt

NAMES = ("even", "above 4", "prime")
raw = load_digits()
images = np.repeat((raw.images * 15).astype("uint8")[..., None], 3, axis=-1)[:700]
digits = raw.target[:700]
labels = np.stack([digits % 2 == 0, digits > 4, np.isin(digits, (2, 3, 5, 7))], axis=1).astype("uint8")

recipe = kt.load_recipe("quickstart").replace(
    loss={"name": "binary_crossentropy", "label_smoothing": 0.0, "sum_classes": True},
    schedule={"epochs": 8, "batch_size": 50, "warmup_epochs": 1}, export={"formats": ("keras",)})

with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    run = kt.train(recipe, folder / "run", data=((images[:600], labels[:600]), (images[600:], labels[600:])))
    print(f"mAP {100 * run.history['val_map'][-1]:.1f} %, F1 {100 * run.history['val_f1'][-1]:.1f} %")

    model = keras.saving.load_model(folder / "run" / "export" / "model.keras")
    size = model.input_shape[1]
    pixels = keras.ops.image.resize(images[600:].astype("float32"), (size, size))
    for digit, row in list(zip(digits[600:], model.predict(pixels, verbose=0), strict=True))[:5]:
        found = [name for name, probability in zip(NAMES, row, strict=True) if probability > 0.5]
        print(f"{digit} is {', '.join(found) or 'none of them'}")
    if run.history["val_map"][-1] < 0.9:
        raise SystemExit("the mean average precision must be above 90 %")
