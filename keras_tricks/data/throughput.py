"""`keras-tricks benchmark --data`: images per second of each stage of the input pipeline, on the recipe's own data.

A stage is the real pipeline of the recipe with the later stages off; beside them stand reading alone, and reading and
decoding whole images, which a pipeline without augmentation could reach at best if it decoded every pixel. (Cropping
decodes only the crop of a JPEG, and can be faster.) Examples come in training order.
"""

import dataclasses
import statistics
import time

from keras_tricks import schedules

PASSES = 3
READ, CROP, COLOUR, RAND_AUGMENT, MIXING = "read", "decode, crop", "+ flip, colour", "+ RandAugment", "+ mixing"
HELP = "other machines can take it over: keras-tricks data serve."
WORDS = {  # stage: what it is called in a sentence, and what can be done about it
    READ: ("reading", "Pack the files (keras-tricks data pack), or keep them on a faster disk."),
    CROP: ("the crop with its decoding", f"Smaller image files cost less, or {HELP}"),
    COLOUR: ("flip and colour", f"Without colour jitter and PCA noise there is less of it, or {HELP}"),
    RAND_AUGMENT: ("RandAugment", f"Fewer layers cost less, or {HELP}"),
    MIXING: ("mixing", "The machine that trains does it; with augment.mix_first others can, but read images twice."),
}


@dataclasses.dataclass(frozen=True)
class Speeds:
    """Images per second.

    Attributes:
        read: of reading alone.
        decode: of reading and decoding whole images; `None` where the source holds arrays.
        stages: {name: of the pipeline up to this stage}, in order; the last is the whole pipeline.
        image_bytes: mean size of an encoded image, or of an array.
    """

    read: float
    decode: float | None
    stages: dict
    image_bytes: float


def stages(augment):
    """{name: `augment` section with the later stages off} of what a recipe does, in order."""
    off = {
        COLOUR: {"flip": False, "color_jitter": "none", "pca_noise": 0.0},
        RAND_AUGMENT: {"rand_augment_layers": 0},
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
    """The `Speeds` of a recipe's pipeline on a split: medians of three passes of `batches`, after one more."""
    import tensorflow as tf

    from keras_tricks import data as kt_data
    from keras_tricks.data import crops
    from keras_tricks.data.pipeline import PARALLEL_CALLS

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
        return tf.size(crops.cut(image, 0, 0, *crops.image_shape(image)))

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
    """Of a dataset of batches of `size`: the median of three passes of `batches`, after one batch not counted."""
    iterator, passes = iter(dataset), []
    next(iterator)
    for _ in range(PASSES):
        start = time.perf_counter()
        for _ in range(batches):
            next(iterator)
        passes.append(batches * size / (time.perf_counter() - start))
    return statistics.median(passes)


def costs(speeds):
    """{stage: seconds per image it adds}. Reading arrays costs nothing worth a stage of its own."""
    times = {} if speeds.decode is None else {READ: 1 / speeds.read}
    times |= {name: 1 / speed for name, speed in speeds.stages.items()}
    before = [0.0, *times.values()]
    return {name: seconds - earlier for (name, seconds), earlier in zip(times.items(), before, strict=False)}


def describe(speeds, num_examples, free_bytes=None):
    """The table and what follows from it, as text.

    Args:
        speeds: `Speeds`.
        num_examples: integer, images of the training split.
        free_bytes: memory that is free, or `None` where that is unknown.
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
    name, advice = WORDS[largest]
    lines += ["", f"The whole pipeline makes {whole:,.0f} images/s. The largest cost is {name}: "
                  f"{1000 * spent[largest]:.2f} of {1000 / whole:.2f} ms per image."]
    if speeds.decode is None:
        return "\n".join(lines)
    lines.append(advice)
    if free_bytes is not None:
        total = speeds.image_bytes * num_examples
        fits = "they fit: only the first epoch reads the disk" if total < free_bytes else "every epoch reads the disk"
        lines.append(f"The files have about {total / 2**30:.2f} GiB, and {free_bytes / 2**30:.1f} GiB of memory are "
                     f"free: {fits}.")
    return "\n".join(lines)


def free_memory():
    """Bytes the system could give to files, or `None` where it does not say."""
    try:
        with open("/proc/meminfo") as file:
            line = next(line for line in file if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None
    return int(line.split()[1]) * 1024
