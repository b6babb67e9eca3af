"""A folder of images: one sub-folder per class, `train/` and `val/` above them.

Broken files cost nothing when there are none: the graph looks at the first and last bytes of each file, and at the
checksums of a PNG. A suspicious one is decoded in Python; when that fails its name is kept and, in training, the next
readable image of the split takes its place, so that batches, steps and resumes stay what they would have been.

A JPEG has no checksum to tell that it is damaged between its ends. Mostly it decodes, with wrong pixels in places, in
Pillow as well. One that cannot be decoded ends the pipeline with TensorFlow's error, unless what `find_broken` finds
was added to `split.bad` before the pipeline was made.

Pixels are those that Pillow's `convert("RGB")` gives: an EXIF orientation is not applied (as in the loaders of timm and
torchvision), a colour profile and transparency are ignored, an animation is its first frame. The exception is grey PNG
of 16 bits, of which the high byte is taken; Pillow cuts it off at 255.
"""

import io
import os
import pathlib
import re
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from keras_tricks.data import crops
from keras_tricks.data.minival import split_off
from keras_tricks.data.source import Source, Split
from keras_tricks.utils.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
VALIDATION_NAMES = ("val", "validation", "test")
HOLD_OUT = 10  # without a validation folder every tenth image of a class is held out
MAX_PIXELS = 2**29 // 3  # TensorFlow refuses larger JPEG files, and Pillow larger images


class TooManyBadImages(UserError):
    """More broken images than `data.max_bad_images` allows."""


class BadImages:
    """The broken images of a split, by name, with a limit."""

    def __init__(self, limit):
        self.limit = limit
        self.total = None  # images of the split
        self.reasons = {}

    def add(self, path, reason):
        self.reasons.setdefault(path, reason)
        self.check()

    def check(self):
        """Raises `TooManyBadImages` with the first names when there are more than the limit, or nothing else."""
        shown = "; ".join(f"{p} ({r})" for p, r in list(self.reasons.items())[:10])
        if len(self.reasons) == self.total:
            raise TooManyBadImages(f"None of the {self.total} images of the split can be read: {shown}.")
        if len(self.reasons) > self.limit:
            raise TooManyBadImages(
                f"{len(self.reasons)} images cannot be read, more than `data.max_bad_images`={self.limit}: {shown}. "
                "Remove or replace them, or allow more with --set data.max_bad_images=N."
            )


def image_folder(data_dir, max_bad_images=100, train_split="train", validation_split=None, minival=0.0):
    """Opens `data_dir/<split>/<class>/<image>`, or `data_dir/<class>/<image>` and holds out every tenth image.

    Args:
        data_dir: folder.
        max_bad_images: integer >= 0.
        train_split: name of the training folder. Defaults to `"train"`.
        validation_split: name of the validation folder. Defaults to the first that exists of `val`, `validation`,
            `test`.
        minival: float in [0, 1), share of the training images to validate on instead. Which ones, their names decide
            (`<class>/<file>`).

    Raises:
        UserError: missing or empty folder, a class folder with no image, classes that differ between the splits.
    """
    if data_dir is None:
        raise UserError("The source image_folder needs a folder: give --data-dir FOLDER (or data.data_dir).")
    root = pathlib.Path(data_dir).expanduser()
    if not root.is_dir():
        raise UserError(f"The data folder {root} does not exist. Give --data-dir a folder with one sub-folder a class.")
    train_root = root / train_split
    if not train_root.is_dir():
        classes, files = _scan(root)
        held_out = {path for paths in files for path in paths[HOLD_OUT - 1 :: HOLD_OUT]}
        pick = lambda keep: [[p for p in paths if (p in held_out) != keep] for paths in files]  # noqa: E731
        train, validation = pick(True), pick(False)
        if not held_out:
            raise UserError(f"{root} has no {train_split}/ and no class of {HOLD_OUT} images, so none can be held out "
                            f"to validate on. Make {train_split}/ and {VALIDATION_NAMES[0]}/ in it.")
    else:
        names = (validation_split,) if validation_split else VALIDATION_NAMES
        validation_root = next((root / n for n in names if (root / n).is_dir()), None)
        if validation_root is None:
            wanted = ", ".join(f"{n}/" for n in names)
            raise UserError(f"{root} has {train_split}/ but none of {wanted} to validate on.")
        classes, train = _scan(train_root)
        validation_classes, validation = _scan(validation_root)
        if classes != validation_classes:
            odd = sorted(set(classes) ^ set(validation_classes))
            raise UserError(f"{train_root} and {validation_root} have different classes; only in one of them: "
                            f"{', '.join(odd[:5])}.")
    if minival:
        train, validation = split_by_class(classes, train, minival)
    return Source(
        name=root.name, class_names=classes,
        train=file_split(train, BadImages(max_bad_images)),
        validation=file_split(validation, BadImages(max_bad_images)),
    )


def split_by_class(classes, files, minival):
    """Two lists of paths by class in place of one."""
    rows = [(label, path) for label, paths in enumerate(files) for path in paths]
    parts = split_off([f"{classes[label]}/{os.path.basename(path)}" for label, path in rows], minival)
    divided = [[[] for _ in classes] for _ in parts]
    for by_class, part in zip(divided, parts, strict=True):
        for label, path in (rows[i] for i in part):
            by_class[label].append(path)
    return divided


def _scan(root):
    """(class names, image paths of each class), both sorted, so that labels do not depend on the file system."""
    with os.scandir(root) as entries:
        classes = tuple(sorted(e.name for e in entries if e.is_dir() and not e.name.startswith(".")))
    if not classes:
        raise UserError(f"The data folder {root} is empty: expected one sub-folder per class, with images in it.")
    files = []
    for name in classes:
        with os.scandir(root / name) as entries:
            found = sorted(e.path for e in entries if e.name.lower().endswith(SUFFIXES) and not e.name.startswith("."))
        if not found:
            raise UserError(f"The class folder {root / name} has no image ({', '.join(SUFFIXES)}). "
                            "Add images or remove the folder.")
        files.append(found)
    return classes, files


def file_split(files, bad):
    """A split over paths grouped by class: `files[label]` is a list of paths."""
    path_list = [path for paths in files for path in paths]
    label_list = [label for label, paths in enumerate(files) for _ in paths]
    paths, labels = tf.constant(path_list), tf.constant(label_list, "int32")
    bad.total = len(path_list)

    def repair(index):
        """The first readable file at or after `index`: (content, label, whether it is `index` itself)."""
        for step in range(len(path_list)):
            i = (int(index) + step) % len(path_list)
            if path_list[i] in bad.reasons:
                continue
            try:
                return check_image(path_list[i]), label_list[i], step == 0
            except ValueError as error:
                bad.add(path_list[i], str(error))
        bad.check()  # raises: no image is left

    def fetch(index):
        content, label = tf.io.read_file(tf.gather(paths, index)), tf.gather(labels, index)
        whole = has_end_markers(content)
        whole = tf.cond(whole & ~tf.io.is_jpeg(content), lambda: png_checksums_ok(content), lambda: whole)
        if bad.reasons:  # found before this pipeline was made
            whole &= ~tf.gather(tf.constant([path in bad.reasons for path in path_list]), index)

        def repaired():
            new, new_label, same = tf.numpy_function(repair, [index], (tf.string, tf.int64, tf.bool), stateful=False)
            new, new_label, same = (tf.ensure_shape(t, ()) for t in (new, new_label, same))
            return new, tf.cast(new_label, tf.int32), same

        return tf.cond(whole, lambda: (content, label, True), repaired)

    return Split(num_examples=len(path_list), fetch=fetch, paths=tuple(path_list), bad=bad)


def has_end_markers(content):
    """Whether a file begins like a JPEG or PNG and ends like one: a bool scalar, in the graph, without decoding."""
    size = tf.strings.length(content)
    head = tf.strings.substr(content, 0, tf.minimum(size, 3))
    tail = tf.strings.substr(content, tf.maximum(size - 8, 0), tf.minimum(size, 8))
    last_two = tf.strings.substr(tail, tf.maximum(tf.strings.length(tail) - 2, 0), 2)
    jpeg = (head == b"\xff\xd8\xff") & (last_two == b"\xff\xd9")
    png = (head == b"\x89PN") & (tail == b"IEND\xaeB`\x82")
    return (size > 16) & (jpeg | png)


def png_checksums_ok(content):
    """Whether a PNG file has the checksums it should have, and not too many pixels: a bool scalar, in the graph."""
    sound = tf.numpy_function(lambda file: np.bool_(not png_fault(file)), [content], tf.bool, stateful=False)
    return tf.ensure_shape(sound, ())


def png_fault(content):
    """What is wrong with a PNG file, in words; `""` if nothing is. Every chunk ends with a checksum.

    Those of chunks that decoders may ignore (the first letter of their kind is small) do not count.
    """
    view, start = memoryview(content), 8
    while start + 12 <= len(view):
        length, kind = struct.unpack(">I4s", view[start : start + 8])
        end = start + 8 + length
        if kind[:1].isupper() and view[end : end + 4] != zlib.crc32(view[start + 4 : end]).to_bytes(4, "big"):
            return f"the checksum of its chunk at byte {start} is wrong"
        if kind == b"IHDR" and (fault := _too_large(*struct.unpack(">II", view[start + 8 : start + 16]))):
            return fault
        start = end + 4
    return "" if start == len(view) else "bytes are missing or left over"


def decoding_fault(content):
    """Why the pipeline cannot decode an encoded image, in words; `""` if it can. Decodes all of it."""
    try:
        height, width = crops.image_shape(tf.constant(content))
        if fault := _too_large(int(width), int(height)):
            return fault
        crops.cut(tf.constant(content), 0, 0, height, width)
    except tf.errors.OpError as error:
        return re.sub(r"^{{.*?}} | \[Op:.*", "", error.message)
    return ""


def _too_large(width, height):
    return f"{width} x {height} pixels, more than {MAX_PIXELS:,} in all" if width * height > MAX_PIXELS else ""


def check_image(path):
    """Decodes a file fully. Returns content that the pipeline decodes; raises `ValueError` with the reason if none.

    A readable image of another kind (BMP, GIF, a JPEG with bytes after its end) is handed on as PNG.
    """
    try:
        content = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from None
    if not content:
        raise ValueError("empty file")
    if has_end_markers(tf.constant(content)):
        fault = "" if tf.io.is_jpeg(content) else png_fault(content)
        if fault := fault or decoding_fault(content):
            raise ValueError(fault)
        return content
    out = io.BytesIO()
    _decoded_by_pillow(content).save(out, "PNG")
    return out.getvalue()


def _decoded_by_pillow(content):
    """The first frame as an RGB image. Raises `ValueError` with the reason, whatever kind of error Pillow raises."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            if image.mode.startswith("I;16"):
                image = Image.fromarray((np.asarray(image) >> 8).astype("uint8"))
            if image.mode in ("I", "F"):
                raise ValueError(f"its pixels ({image.mode}) are not bytes")
            return image.convert("RGB")
    except Exception as error:
        reason = re.sub(r" <_io.*>$", "", str(error))
        raise ValueError(reason or type(error).__name__) from None


def find_broken(split):
    """Yields (path, reason) for every file of an image folder's split that cannot be decoded. Reads all of them.

    `split.bad.add(path, reason)` leaves one out of the pipelines made afterwards.
    """

    def fault(path):
        try:
            check_image(path)
        except ValueError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor() as pool:
        yield from ((path, why) for path, why in zip(split.paths, pool.map(fault, split.paths), strict=True) if why)
