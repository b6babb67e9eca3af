"""Images of a data set as thumbnails in a page: files of the validation split, and a batch as the network sees it."""

import base64
import io

import numpy as np
from PIL import Image

from keras_tricks import training
from keras_tricks.report.answers import on_one_device
from keras_tricks.run.build import plan_of_recipe

SIDE = 112  # pixels of the longer side of a thumbnail; smaller images keep their size
QUALITY = 82


def data_url(image, kind="JPEG"):
    """A Pillow image as a `data:` URL of a JPEG, or of a PNG if it has few pixels."""
    kind = "PNG" if image.width * image.height <= 16 * 16 else kind
    out = io.BytesIO()
    image.save(out, kind, **({"quality": QUALITY} if kind == "JPEG" else {"optimize": True}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(out.getvalue()).decode('ascii')}"


def thumbnail(content):
    """A `data:` URL of an encoded image, bytes, or of uint8 pixels; `""` if it cannot be read. Of more than three
    channels it shows the first three, of two the first."""
    if not isinstance(content, bytes):
        content = content[..., :3] if content.shape[-1] >= 3 else content[..., 0]
    try:
        image = Image.open(io.BytesIO(content)) if isinstance(content, bytes) else Image.fromarray(content)
        image = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return ""
    image.thumbnail((SIDE, SIDE))
    return data_url(image)


def thumbnails(split, numbers):
    """{index: `data:` URL} of some examples of a split."""
    from keras_tricks.data import contents_of

    return {number: thumbnail(content) for number, content in contents_of(split, numbers).items()}


def training_images(recipe, count=16):
    """The first training images of the first epoch, augmented and mixed.

    They are those of batches of `count` images: the batches of the run have other partners in mixup and CutMix.

    Args:
        recipe: `Recipe` of the run.
        count: integer.

    Returns:
        A list of (`data:` URL, [(class, share of the label), ...]) and the source, a `Source`.
    """
    from keras_tricks import data

    recipe = on_one_device(recipe)
    source = training.open_data(recipe.data)
    size = min(count, source.train.num_examples)
    small = recipe.replace(schedule={"batch_size": size, "mode": "decay"}, optimizer={"accumulation_steps": 1},
                           train={"steps_per_execution": 1, "max_batch_per_replica": None})
    plan = plan_of_recipe(small, source.train.num_examples, 1)
    batches = data.training_batches(source.train, recipe.data, recipe.augment, source.num_classes, plan, recipe.seed,
                                    range(1))
    images, labels = next(iter(batches.as_numpy_iterator()))
    pixels = np.clip(np.rint(images * np.array(recipe.data.std) + np.array(recipe.data.mean)), 0, 255).astype("uint8")
    found = []
    for image, label in zip(pixels, labels, strict=True):
        best = [int(i) for i in np.argsort(-label, kind="stable")[:2] if label[i] > 0]
        found.append((thumbnail(image), [(source.class_names[i], float(label[i])) for i in best]))
    return found, source
