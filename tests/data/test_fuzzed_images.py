"""Thousands of damaged image files in the training and evaluation pipelines: each is decoded or reported as broken.

File i is damaged by a generator seeded with i. `find_broken` checks the files first; then no pipeline may fail.
"""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_tricks.data import evaluation_batches, training_batches
from keras_tricks.data.augment import crops
from keras_tricks.data.sources.bad_images import BadImages
from keras_tricks.data.sources.image_files import check_image, decoding_fault
from keras_tricks.data.sources.image_folder import file_split, find_broken
from keras_tricks.recipe import Augment, Data
from keras_tricks.schedules import batch_size_plan

CLASSES, SIZE, BATCH = 5, 32, 50
DATA = Data(image_size=SIZE, eval_crop="whole", mean=(0.0,) * 3, std=(1.0,) * 3)


def photograph(seed, width=72, height=56):
    """Smooth shapes with noise, so that a file has many bytes to damage."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype="uint8"))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), int)
    return Image.fromarray((smooth + rng.integers(-10, 11, smooth.shape)).clip(0, 255).astype("uint8"))


def encoded(image, kind="JPEG", **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


JPEGS = [
    encoded(photograph(0)),
    encoded(photograph(1), progressive=True),
    encoded(photograph(2).convert("L")),
    encoded(photograph(3), quality=95, subsampling=0),
    encoded(photograph(4), restart_marker_blocks=4),
    encoded(photograph(5).convert("CMYK")),
]


def header_length(content):
    """Bytes before the pixels of a JPEG: its first scan."""
    return content.index(b"\xff\xda")


def flipped(content, rng, first=0, last=None):
    """Replaces one to seven random bytes."""
    damaged = bytearray(content)
    for _ in range(rng.integers(1, 8)):
        damaged[rng.integers(first, last or len(damaged))] = rng.integers(256)
    return bytes(damaged)


def flipped_in_header(content, rng):
    return flipped(content, rng, 2, header_length(content))


def flipped_in_pixels(content, rng):
    return flipped(content, rng, header_length(content), len(content) - 2)


def truncated(content, rng):
    return content[: rng.integers(0, len(content))]


def truncated_with_an_end(content, rng):
    return truncated(content, rng) + b"\xff\xd9"


def spliced(content, rng):
    """Continues with the content of another file, from a random position."""
    other = JPEGS[rng.integers(len(JPEGS))]
    return content[: rng.integers(2, len(content))] + other[rng.integers(2, len(other)) :]


def with_a_gap(content, rng):
    """Inserts zeros, as in an incomplete download."""
    first, last = np.sort(rng.integers(2, len(content) - 2, 2))
    return content[:first] + bytes(last - first) + content[last:]


def of_another_size(content, rng):
    """Changes the height or width in the header."""
    frame = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))
    sizes = rng.choice([0, 1, 7, 56, 57, 300, 65_535], 2).tolist()
    return content[: frame + 5] + struct.pack(">HH", *sizes) + content[frame + 9 :]


DAMAGES = (flipped, flipped_in_header, flipped_in_pixels, truncated, truncated_with_an_end, spliced, with_a_gap,
           of_another_size)


def damaged_jpeg(number):
    """(file, kind of damage)."""
    rng = np.random.default_rng(number)
    damage = DAMAGES[number % len(DAMAGES)]
    return damage(JPEGS[number // len(DAMAGES) % len(JPEGS)], rng), damage.__name__


def write(root, contents):
    """Writes files; returns those of each class, as `file_split` expects them."""
    paths = [root / f"{number:05}.jpg" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return [[str(path) for path in part] for part in np.array_split(paths, CLASSES)]


@pytest.mark.parametrize("count", [200, pytest.param(2400, marks=pytest.mark.slow)])
def test_damaged_jpegs_are_decoded_or_named(tmp_path, count):
    contents, damages = zip(*map(damaged_jpeg, range(count)), strict=True)
    split = file_split(write(tmp_path, contents), BadImages(limit=count))
    for path, reason in find_broken(split):
        split.bad.add(path, reason)
    found = dict(split.bad.reasons)
    intact = np.array([path not in found for path in split.paths])
    assert all(found.values())
    for damage in {d.__name__ for d in DAMAGES} - {"truncated", "truncated_with_an_end", "flipped_in_pixels"}:
        assert len({i for i, d in zip(intact, damages, strict=True) if d == damage}) == 2  # some decode, some do not
    print(f"{count} damaged JPEG files: {intact.sum()} decoded, {len(found)} named as broken")

    plan = batch_size_plan(0.1, BATCH, 1, count, mode="decay")
    batches = list(training_batches(split, DATA, Augment(), CLASSES, plan, 0).as_numpy_iterator())
    assert len(batches) == count // BATCH
    for images, labels in batches:
        assert images.shape == (BATCH, SIZE, SIZE, 3) and np.isfinite(images).all()
        assert images.min() >= 0 and images.max() <= 255 and (labels.sum(axis=1) == 1).all()
    weights = []
    for images, _, weight in evaluation_batches(split, DATA, CLASSES, BATCH).as_numpy_iterator():
        assert images.shape[1:] == (SIZE, SIZE, 3) and np.isfinite(images).all()
        weights.extend(weight)
    np.testing.assert_array_equal(weights, intact.astype("float32"))
    assert split.bad.reasons == found  # neither pipeline found another one


def test_without_find_broken_no_intact_image_is_replaced(tmp_path):
    """Files with intact ends that cannot be decoded raise TensorFlow's error; `find_broken` finds the same files."""
    contents = [damaged_jpeg(number)[0] for number in range(200)]
    split = file_split(write(tmp_path, contents), BadImages(limit=200))

    def decode(index):
        content, _, intact = split.fetch(index)
        return index, intact, tf.shape(crops.crop(content, 0, 0, *crops.image_shape(content)))

    decoded = tf.data.Dataset.range(200).map(decode, tf.data.AUTOTUNE).ignore_errors()
    intact = {split.paths[index] for index, intact, _ in decoded.as_numpy_iterator() if intact}
    replaced = set(split.bad.reasons)
    stopped = set(split.paths) - intact - replaced
    assert intact and replaced and stopped
    assert {path for path, _ in find_broken(split)} == replaced | stopped


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "WEBP", "TIFF"])
def test_other_damaged_files_are_decoded_or_rejected_with_a_reason(tmp_path, kind):
    whole, path = encoded(photograph(6, 40, 30), kind), tmp_path / "image.jpg"
    refused = 0
    for number in range(100):
        rng = np.random.default_rng(number)
        path.write_bytes((flipped, truncated, with_a_gap)[number % 3](whole, rng))
        try:
            content = check_image(path)
        except ValueError as error:
            refused += bool(str(error))
        else:
            assert decoding_fault(content) == ""
    assert 10 < refused <= 100
    path.write_bytes(whole)
    assert decoding_fault(check_image(path)) == ""


def test_damaged_pngs_are_reported_without_find_broken(tmp_path):
    """Each chunk of a PNG has a checksum, so the pipeline detects all damage."""
    whole = encoded(photograph(6), "PNG")
    contents = [flipped(whole, np.random.default_rng(number)) for number in range(98)] + [whole] * 2
    split = file_split(write(tmp_path, contents), BadImages(limit=99))
    plan = batch_size_plan(0.1, BATCH, 1, 100, mode="decay")
    batches = list(training_batches(split, DATA, Augment(), CLASSES, plan, 0).as_numpy_iterator())
    assert all(np.isfinite(images).all() for images, _ in batches) and len(batches) == 2
    assert {p for p, _ in find_broken(split)} == set(split.bad.reasons) and len(split.bad.reasons) > 90
