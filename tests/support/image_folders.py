"""Small folders of images whose gray value says which file they came from, and the pipelines that read them."""

import io

import numpy as np
from PIL import Image

from keras_tricks.data import evaluation_batches, training_batches
from keras_tricks.recipe import Augment, Data
from keras_tricks.schedules import batch_size_plan

SIZE = 16
DATA = Data(image_size=SIZE, eval_crop="whole", mean=(0.0,) * 3, std=(1.0,) * 3)
PLAIN = Augment(crop="none", flip=False)


def content(value, kind="PNG", size=SIZE):
    """A file of one gray value, with a darker corner so that it is not trivially small."""
    pixels = np.full((size, size, 3), value, "uint8")
    pixels[0, 0] = 0
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **({"quality": 95} if kind == "JPEG" else {}))
    return out.getvalue()


def make(root, classes, count=4, suffix=".png", kind="PNG"):
    """`root/<class>/<class>_<i>.png`; images of class c are gray 20 * c + i + 20."""
    for label, name in enumerate(classes):
        folder = root / name
        folder.mkdir(parents=True)
        for i in range(count):
            (folder / f"{name}_{i:02}{suffix}").write_bytes(content(20 * label + i + 20, kind))
    return root


def value(images):
    """The gray value of each image: its last pixel."""
    return images[:, -1, -1, 0].round().astype(int)


def evaluated(split, num_classes, batch_size=4, data=DATA):
    parts = list(evaluation_batches(split, data, num_classes, batch_size).as_numpy_iterator())
    images, labels, weights = (np.concatenate(p) for p in zip(*parts, strict=True))
    real = slice(split.num_examples)  # without the padding of the last batch
    return value(images)[real], labels.argmax(axis=1)[real], weights[real]


def trained(split, num_classes, batch_size=4, epochs=1, workers=0, augment=PLAIN):
    data = DATA.model_copy(update={"workers": workers})
    plan = batch_size_plan(0.1, batch_size, epochs, split.num_examples, mode="decay")
    return list(training_batches(split, data, augment, num_classes, plan, 0).as_numpy_iterator())


def make_splits(root, classes=("a", "b"), count=4, **options):
    """`train/` and `val/` with the same files."""
    for name in ("train", "val"):
        make(root / name, classes, count, **options)
    return root


def mixed_folder(root, images, growth):
    """Writes `train/` and `val/` with two classes: JPEG, one PNG, one BMP, and one training image that is cut off.

    Args:
        images: training images a class. Validation has 2 a class.
        growth: pixels by which the heights 12, 12 + growth, 12 + 2 growth differ.
    """
    rng = np.random.default_rng(0)
    for split, count in (("train", images), ("val", 2)):
        for label in ("ant", "bee"):
            (root / split / label).mkdir(parents=True)
            for i in range(count):
                image = Image.fromarray(rng.integers(0, 256, (12 + growth * (i % 3), 14, 3), dtype="uint8"))
                image.save(root / split / label / f"{i:03d}.{ {3: 'png', 4: 'bmp'}.get(i, 'jpg') }")
    broken = root / "train" / "bee" / "005.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
