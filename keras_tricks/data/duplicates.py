"""Finds images that a data set has twice, within a split and across splits: copies, and images that look alike.

Copies have the same pixels. Images look alike if their perceptual hashes differ in at most `DISTANCE` of 64 bits and
their thumbnails by at most `DIFFERENCE` levels of 255 on average: the same photograph compressed again, resized, or a
little brighter. Cropped, turned and mirrored images are not found.

The hash is that of ImageHash's `phash`: the image in grey at 32 x 32 pixels, its discrete cosine transform, and for
each of the 8 x 8 lowest frequencies whether it is above their median (Zauner 2010; tests/golden compares them).
"""

import collections
import dataclasses
import hashlib
import io
import itertools
import typing
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from keras_tricks.data.sources.source import Source, Split

BITS, SIDE, THUMBNAIL = 8, 32, 8
DISTANCE = 7  # bits: with 8 groups of 8 bits, one group is equal
DIFFERENCE = 6.0  # levels of 255, the mean over the pixels of two thumbnails
BLOCK = 4096  # images that are compared at once


class Example(typing.NamedTuple):
    """An image of a data set: `split` is `"training"` or `"validation"`, `labels` a tuple of integers."""

    split: str
    number: int
    name: str
    labels: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Duplicates:
    """Images that are the same picture, in the order of the data set.

    Attributes:
        examples: tuple of two or more `Example`.
        copies: whether all of them have the same pixels.
    """

    examples: tuple[Example, ...]
    copies: bool

    @property
    def is_leak(self) -> bool:
        """Whether validation images are among them, and training images."""
        return len({example.split for example in self.examples}) > 1

    @property
    def labels_differ(self) -> bool:
        return len({example.labels for example in self.examples}) > 1


def find_duplicates(source: Source) -> list[Duplicates]:
    """Reads every image of a source. Broken images are left out.

    Only hashes with a byte in common are compared, about one pair of 32. Memory is about 1 kB an image.
    """
    examples, prints = [], []
    for name, split in (("training", source.train), ("validation", source.validation)):
        for number, image, further, labels in _readable(split):
            path = split.paths[number] if len(split.paths) else f"{name}[{number}]"
            examples.append(Example(name, number, str(path), labels))
            prints.append(fingerprint(image, further))
    if not prints:
        return []
    digests = [p.digest for p in prints]
    roots = _Sets(len(prints))
    first: dict[bytes, int] = {}
    for i, digest in enumerate(digests):
        roots.join(first.setdefault(digest, i), i)
    unique = np.array(sorted(first.values()))
    hashes = np.array([prints[i].hash for i in unique], "uint64")
    thumbnails = np.stack([prints[i].thumbnail for i in unique])
    for left, right in near_pairs(hashes):
        gap = np.abs(thumbnails[left].astype("int16") - thumbnails[right]).mean(axis=(1, 2, 3))
        for i, j in zip(left[gap <= DIFFERENCE], right[gap <= DIFFERENCE], strict=True):
            roots.join(int(unique[i]), int(unique[j]))
    return [Duplicates(tuple(examples[i] for i in group), len({digests[i] for i in group}) == 1)
            for group in roots.groups()]


class Fingerprint(typing.NamedTuple):
    """What is compared of an image: a digest of its pixels, its perceptual hash and a uint8 thumbnail."""

    digest: bytes
    hash: int
    thumbnail: np.ndarray


def fingerprint(image: typing.Any, further: np.ndarray | None = None) -> Fingerprint:
    """The `Fingerprint` of an RGB image of Pillow, and of its further channels, uint8 `(height, width, n)`.

    The perceptual hash is that of the RGB image alone.
    """
    from PIL import Image

    planes = [] if further is None else [Image.fromarray(further[..., i]) for i in range(further.shape[-1])]
    content = b"".join(part.tobytes() for part in (image, *planes))
    digest = hashlib.blake2b(content + repr(image.size).encode(), digest_size=16).digest()
    small = [np.asarray(part.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX), "uint8").reshape(
        THUMBNAIL, THUMBNAIL, -1) for part in (image, *planes)]
    return Fingerprint(digest, perceptual_hash(image), np.concatenate(small, axis=-1))


def perceptual_hash(image: typing.Any) -> int:
    """The 64 bits of ImageHash's `phash` of an image of Pillow, the lowest frequencies first."""
    import scipy.fft
    from PIL import Image

    pixels = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    low = scipy.fft.dct(scipy.fft.dct(pixels, axis=0), axis=1)[:BITS, :BITS]
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


def near_pairs(hashes: np.ndarray, distance: int = DISTANCE) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields two arrays of indices, the pairs `i < j` whose hashes differ in at most `distance` < 8 bits.

    Hashes with so few different bits have one of their eight bytes in common. A pair comes once for each of these.

    Args:
        hashes: uint64 array `(n,)`.
        distance: integer from 0 to 7.
    """
    parts = hashes.astype(">u8").view("uint8").reshape(-1, 8)
    for part in range(8):
        order = np.argsort(parts[:, part], kind="stable")
        ends = np.flatnonzero(np.diff(parts[order, part].astype("int16"))) + 1
        for group in np.split(order, ends):
            group = np.sort(group)
            for start in range(0, len(group), BLOCK):
                rows = group[start : start + BLOCK]
                columns = group[start:]
                for low in range(0, len(columns), BLOCK):
                    some = columns[low : low + BLOCK]
                    bits = np.bitwise_count(hashes[rows][:, None] ^ hashes[some][None, :])
                    left, right = np.nonzero(bits <= distance)
                    kept = rows[left] < some[right]
                    if kept.any():
                        yield rows[left[kept]], some[right[kept]]


class _Sets:
    """Disjoint sets of the numbers below `count`."""

    def __init__(self, count):
        self.parent = list(range(count))

    def root(self, i):
        while self.parent[i] != i:
            self.parent[i] = self.parent[self.parent[i]]
            i = self.parent[i]
        return i

    def join(self, i, j):
        i, j = sorted((self.root(i), self.root(j)))
        self.parent[j] = i

    def groups(self):
        """The sets of two or more, each sorted, in the order of their first numbers."""
        found = collections.defaultdict(list)
        for i in range(len(self.parent)):
            found[self.root(i)].append(i)
        return [group for group in found.values() if len(group) > 1]


def read_all(split: Split) -> Iterator[tuple[int, typing.Any, typing.Any, bool]]:
    """Yields (index, image, label, intact) of all examples of a split as in `Split`, in order."""
    if split.fetch is None:
        rows = split.scan(tf.constant(0, tf.int64), None)
    else:
        rows = tf.data.Dataset.range(split.num_examples).map(lambda i: (i, *split.fetch(i)), tf.data.AUTOTUNE)
    return itertools.islice(rows.as_numpy_iterator(), split.num_examples)


def _readable(split):
    """Yields (index, RGB image of Pillow, further channels or `None`, labels) of examples that are not broken."""
    for index, image, label, intact in read_all(split):
        if intact:
            labels = (int(label),) if np.ndim(label) == 0 else tuple(int(i) for i in np.flatnonzero(label))
            yield int(index), *_rgb(image), labels


def _rgb(image):
    """An encoded image, or uint8 pixels `(height, width, channels)`: (RGB image, channels that it lacks or `None`)."""
    from PIL import Image

    if isinstance(image, bytes):
        return Image.open(io.BytesIO(image)).convert("RGB"), None
    first = 3 if image.shape[-1] >= 3 else 1
    further = image[..., first:] if image.shape[-1] > first else None
    return Image.fromarray(image[..., :3] if first == 3 else image[..., 0]).convert("RGB"), further
