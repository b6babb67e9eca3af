"""The same small images as every kind of source: (how a recipe or `kt.train` gets it, options of a `Data` section)."""

import io

import numpy as np
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_digits

TRAIN, VALIDATION = range(120), range(120, 160)
NAMES = tuple(str(digit) for digit in range(10))


def images_and_labels(numbers):
    """uint8 `(n, 8, 8, 3)` and integers `(n,)`."""
    raw = load_digits()
    chosen = list(numbers)
    pixels = np.repeat((raw.images[chosen] * 15).astype("uint8")[..., None], 3, axis=-1)
    return pixels, raw.target[chosen]


def png(pixels):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


class Digits:
    """A `DataSource`."""

    class_names = NAMES

    def __init__(self, numbers):
        self.images, self.labels = images_and_labels(numbers)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return png(self.images[index]), self.labels[index]


def write_csv(folder):
    """`digits.csv` with a PNG file for each image."""
    (folder / "digits").mkdir(exist_ok=True)
    lines = ["path,label,split"]
    for split, numbers in (("train", TRAIN), ("validation", VALIDATION)):
        for number, image, label in zip(numbers, *images_and_labels(numbers), strict=True):
            (folder / "digits" / f"{number}.png").write_bytes(png(image))
            lines.append(f"digits/{number}.png,{label},{split}")
    (folder / "digits.csv").write_text("\n".join(lines) + "\n")
    return folder / "digits.csv"


def pair(make):
    return make(TRAIN), make(VALIDATION)


def arrays(folder):
    return pair(images_and_labels), {}


def datasets(folder):
    return pair(lambda numbers: tf.data.Dataset.from_tensor_slices(images_and_labels(numbers))), {}


def generators(folder):
    def make(numbers):
        x, y = images_and_labels(numbers)
        signature = tf.TensorSpec((8, 8, 3), tf.uint8), tf.TensorSpec((), tf.int64)
        made = tf.data.Dataset.from_generator(lambda: zip(x, y, strict=True), output_signature=signature)
        return made.apply(tf.data.experimental.assert_cardinality(len(x)))

    return pair(make), {}


def data_sources(folder):
    return pair(Digits), {}


def csv(folder):
    return None, {"source": "csv", "data_dir": str(write_csv(folder))}


def import_path(folder):
    return None, {"source": "support.sources:open_digits"}


def open_digits(data):
    return pair(Digits)


SOURCES = {"arrays": arrays, "datasets": datasets, "generators": generators, "data sources": data_sources,
           "csv": csv, "import path": import_path}
