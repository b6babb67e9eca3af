"""`keras-tricks benchmark --data`: images per second of each stage of the input pipeline, on the recipe's own data.

A stage is the real pipeline of the recipe with the later stages switched off. Two more numbers serve as a reference:
reading alone, and reading and decoding whole images, which bounds a pipeline that decodes every pixel. (Of a JPEG only
the crop is decoded, which can be faster.) Examples are read in training order.
"""

import dataclasses
import statistics
import time

from keras_tricks import schedules

PASSES = 3
READ, CROP, COLOUR, RAND_AUGMENT, MIXING = "read", "decode, crop", "+ flip, colour", "+ RandAugment", "+ mixing"
SERVICE_HINT = "let other machines do it: keras-tricks data serve."
ADVICE = {  # stage: its name in a sentence, and how to make it faster
    READ: ("reading", "Pack the files (keras-tricks data pack), or use a faster disk."),
    CROP: ("decoding and cropping", f"Use smaller image files, or {SERVICE_HINT}"),
    COLOUR: ("flip and colour", f"Switch off colour jitter and PCA noise, or {SERVICE_HINT}"),
    RAND_AUGMENT: ("RandAugment", f"Use fewer layers, or {SERVICE_HINT}"),
    MIXING: ("mixing", "The trainer does it. With augment.mix_first other machines can, but read each image twice."),
}


@dataclasses.dataclass(frozen=True)
class Speeds:
    """Images per second.

    Attributes:
        read: reading alone.
        decode: reading and decoding whole images, or `None` if the source contains arrays.
        stages: {name: the pipeline up to this stage}, in order. The last is the whole pipeline.
        image_bytes: mean size of an encoded image, or of an array, in bytes.
    """

    read: float
    decode: float | None
    stages: dict
    image_bytes: float


def stages(augment):
    """{name: `augment` section with the later stages off} of the stages that a recipe uses, in order."""
    off = {
        COLOUR: {"flip": False, "color_jitter": "none", "pca_noise": 0.0},
        RAND_AUGMENT: {"rand_augment_layers": 0, "trivial_augment": False, "random_erasing": 0.0},
        MIXING: {"mixup_alpha": 0.0, "cutmix_alpha": 0.0},
    }
    order = [COLOUR, MIXING, RAND_AUGMENT] if augment.mix_first else [COLOUR, RAND_AUGMENT, MIXING]
    used = [name for name in order if any(getattr(augment, key) != value for key, value in off[name].items())]
    sections = {}
    for count, name in enumerate([CROP, *used]):
        later = {key: value for stage in used[count:] for key, value in off[stage].items()}
        sections[name] = augment.model_copy(update=later)
    return sections


def measure(recipe, split, num_classes, batches=5):
    """The `Speeds` of a recipe's pipeline on a split: medians of three passes of `batches`, after a warmup batch."""
    import tensorflow as tf

    from keras_tricks import data as kt_data
    from keras_tricks.data.augment import crops
    from keras_tricks.data.batch_range import PARALLEL_CALLS

    size = min(recipe.schedule.batch_size, split.num_examples)
    count = (1 + PASSES * batches) * size
    epochs = -(-count // (split.num_examples // size * size))
    plan = schedules.batch_size_plan(0.1, size, epochs, split.num_examples, mode="decay")

    def alone(work):
        workers = recipe.data.workers or PARALLEL_CALLS
        examples = kt_data.training_examples(split, range(epochs), recipe.seed, workers)
        return examples.map(lambda image, *_: work(image), workers).batch(size)

    def image_bytes(image):
        return tf.size(image) if image.dtype != tf.string else tf.strings.length(image)

    def decoded(image):
        return tf.size(crops.crop(image, 0, 0, *crops.image_shape(image)))

    def pipeline(augment):
        return kt_data.training_batches(split, recipe.data, augment, num_classes, plan, recipe.seed)

    encoded = next(iter(kt_data.training_examples(split, range(1), recipe.seed)))[0].dtype == tf.string
    sizes = next(iter(alone(image_bytes))).numpy()
    return Speeds(
        images_per_second(alone(image_bytes), size, batches),
        images_per_second(alone(decoded), size, batches) if encoded else None,
        {name: images_per_second(pipeline(section), size, batches) for name, section in stages(recipe.augment).items()},
        float(sizes.mean()),
    )


def images_per_second(dataset, size, batches):
    """Images per second of a dataset with batches of `size`: median of three passes, after a warmup batch."""
    iterator, passes = iter(dataset), []
    next(iterator)
    for _ in range(PASSES):
        start = time.perf_counter()
        for _ in range(batches):
            next(iterator)
        passes.append(batches * size / (time.perf_counter() - start))
    return statistics.median(passes)


def costs(speeds):
    """{stage: seconds per image it adds}. Reading arrays is too fast to be a separate stage."""
    times = {} if speeds.decode is None else {READ: 1 / speeds.read}
    times |= {name: 1 / speed for name, speed in speeds.stages.items()}
    before = [0.0, *times.values()]
    return {name: seconds - earlier for (name, seconds), earlier in zip(times.items(), before, strict=False)}


def describe(speeds, num_examples, free_bytes=None):
    """The table, the largest cost and an advice, as text.

    Args:
        speeds: `Speeds`.
        num_examples: integer, images of the training split.
        free_bytes: free memory, or `None` if it is unknown.
    """
    rows = {READ: speeds.read}
    rows |= {} if speeds.decode is None else {"decode whole images": speeds.decode}
    rows |= speeds.stages
    lines = [f"{'stage':<24}{'images/s':>10}{'of decoding':>14}"]
    for name, speed in rows.items():
        share = "" if speeds.decode is None else f"{100 * speed / speeds.decode:.0f} %"
        lines.append(f"{name:<24}{speed:>10,.0f}{share:>14}")
    spent = costs(speeds)
    largest = max(spent, key=spent.get)
    whole = list(speeds.stages.values())[-1]
    name, advice = ADVICE[largest]
    lines += ["", f"The whole pipeline makes {whole:,.0f} images/s. The largest cost is {name}: "
                  f"{1000 * spent[largest]:.2f} of {1000 / whole:.2f} ms per image."]
    if speeds.decode is None:
        return "\n".join(lines)
    lines.append(advice)
    if free_bytes is not None:
        total = speeds.image_bytes * num_examples
        fits = "they fit: only the first epoch reads the disk" if total < free_bytes else "every epoch reads the disk"
        lines.append(f"The files take about {total / 2**30:.2f} GiB, and {free_bytes / 2**30:.1f} GiB of memory are "
                     f"free: {fits}.")
    return "\n".join(lines)
