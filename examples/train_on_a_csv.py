"""Writes digits as PNG files with a CSV of paths and labels, and trains on it. About 30 seconds.

    python examples/train_on_a_csv.py

The same images as arrays give the same weights, bit by bit.
"""

import csv
import pathlib
import tempfile

import keras
import numpy as np
from sklearn.datasets import load_digits

import keras_tricks as kt

raw = load_digits()
images = np.repeat((raw.images * 15).astype("uint8")[..., None], 3, axis=-1)[:600]
labels = raw.target[:600]
train, validation = slice(0, 500), slice(500, 600)

recipe = kt.load_recipe("quickstart").replace(
    schedule={"epochs": 8, "batch_size": 50, "warmup_epochs": 1}, export={"formats": ()})

with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    (folder / "digits").mkdir()
    with open(folder / "digits.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "split"])
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            keras.utils.save_img(folder / "digits" / f"{number}.png", image, scale=False)
            rows.writerow([f"digits/{number}.png", label, "train" if number < 500 else "validation"])

    from_csv = recipe.replace(data={"source": "csv", "data_dir": str(folder / "digits.csv")})
    run = kt.train(from_csv, folder / "run")
    print(f"CSV: top-1 {100 * run.history['val_top1'][-1]:.1f} %")

    other = kt.train(recipe, folder / "arrays", verbose=0,
                     data=((images[train], labels[train]), (images[validation], labels[validation])))
    weights = zip(run.network.get_weights(), other.network.get_weights(), strict=True)
    same = all(np.array_equal(a, b) for a, b in weights)
    print("arrays give the same weights:", same)
    if not same:
        raise SystemExit("the weights must be the same")
