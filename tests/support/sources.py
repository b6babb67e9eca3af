"""The same small images as every kind of source: (how a recipe or `kt.train` gets it, options of a `Data` section)."""

import io
import json
import tarfile

import numpy as np
import pytest
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


def hf(folder):
    """A data set of the real package, saved to disk. Skips if it is not installed."""
    hub = pytest.importorskip("datasets")
    features = hub.Features({"picture": hub.Image(), "digit": hub.ClassLabel(names=list(NAMES)),
                             "id": hub.Value("int32")})

    def make(numbers):
        x, y = images_and_labels(numbers)
        columns = {"picture": [{"bytes": png(image), "path": None} for image in x], "digit": y, "id": list(numbers)}
        return hub.Dataset.from_dict(columns, features=features)

    if not (folder / "hf").exists():
        hub.DatasetDict({"train": make(TRAIN), "test": make(VALIDATION)}).save_to_disk(folder / "hf")
    return None, {"source": f"hf:{folder / 'hf'}"}


def write_shards(folder, name, numbers, per_shard=50, form="cls"):
    """`folder/<name>-000000.tar`, ... in the layout of the `webdataset` package."""
    folder.mkdir(exist_ok=True)
    for start in range(0, len(numbers), per_shard):
        with tarfile.open(folder / f"{name}-{start // per_shard:06d}.tar", "w") as shard:
            own = numbers[start : start + per_shard]
            for number, image, label in zip(own, *images_and_labels(own), strict=True):
                text = str(label) if form == "cls" else json.dumps({"label": int(label), "id": number})
                for extension, content in (("png", png(image)), (form, text.encode())):
                    member = tarfile.TarInfo(f"digits/{number:05d}.{extension}")
                    member.size = len(content)
                    shard.addfile(member, io.BytesIO(content))
    return folder


def webdataset(folder):
    write_shards(folder / "shards", "train", TRAIN)
    write_shards(folder / "shards", "val", VALIDATION, form="json")
    return None, {"source": "webdataset", "data_dir": str(folder / "shards")}


def import_path(folder):
    return None, {"source": "support.sources:open_digits"}


def open_digits(data):
    return pair(Digits)


SOURCES = {"arrays": arrays, "datasets": datasets, "generators": generators, "data sources": data_sources,
           "csv": csv, "hf": hf, "webdataset": webdataset, "import path": import_path}
