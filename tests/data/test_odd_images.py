"""Unusual and broken files in training, evaluation, `data check` and `data pack`: correct pixels, or a report.

Each file is a class, so that the label identifies the file of an image.
"""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from keras_tricks import cli
from keras_tricks.data import evaluation_batches, open_source, training_batches
from keras_tricks.data.augment import crops
from keras_tricks.data.check import check
from keras_tricks.data.sources.image_files import MAX_PIXELS, check_image
from keras_tricks.data.sources.image_folder import find_broken
from keras_tricks.data.sources.tfrecord import pack
from keras_tricks.recipe import Augment, Data
from keras_tricks.schedules import batch_size_plan
from keras_tricks.utils.errors import UserError

SIZE = 40
DATA = Data(image_size=SIZE, eval_crop="whole", mean=(0.0,) * 3, std=(1.0,) * 3)
PLAIN = Augment(crop="none", flip=False)


def photograph(width=SIZE, height=SIZE, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype="uint8")
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def by_pillow(content):
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, depth, color, rows):
    """Builds a PNG file from chunks, for kinds that Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    chunks = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows, 1)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def with_a_wrong_note(content):
    """The same PNG with a text chunk whose checksum is wrong. TensorFlow skips it."""
    return content[:33] + chunk(b"tEXt", b"Comment\0none")[:-1] + b"?" + content[33:]


def png_16_bit(channels):
    """(file, the high bytes of its pixels)."""
    values = np.random.default_rng(channels).integers(0, 2**16, (SIZE, SIZE, channels)).astype(">u2")
    content = png(SIZE, SIZE, 16, {1: 0, 3: 2}[channels], b"".join(b"\0" + row.tobytes() for row in values))
    return content, np.broadcast_to(values >> 8, (SIZE, SIZE, 3))


def ycck(cmyk):
    """The same file marked as YCCK, by one byte of Adobe's segment."""
    content = bytearray(cmyk)
    start = content.index(b"Adobe")
    content[start + 11] = 2
    return bytes(content)


def rotated():
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90 degrees to show"
    return encoded(photograph(), "JPEG", exif=exif)


def animation():
    frames = [photograph(seed=seed).quantize(64) for seed in range(3)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


RGB, GREY, CMYK = photograph(), photograph().convert("L"), photograph().convert("CMYK")
GREY_16, GREY_16_PIXELS = png_16_bit(1)
RGB_16, RGB_16_PIXELS = png_16_bit(3)
BOMB = png(15_000, 15_000, 1, 0, bytes(15_000 * 1_876))  # 123 kB that decode to 675 MB
NOT_AS_PILLOW = {  # it clips 16 bits at 255, and rejects a file with a wrong note
    "16 bits grey.png": GREY_16_PIXELS, "16 bits grey, bytes after its end.png": GREY_16_PIXELS,
    "wrong note.png": np.asarray(RGB),
}

READABLE = {
    "grey.jpg": encoded(GREY, "JPEG"),
    "grey.png": encoded(GREY, "PNG"),
    "grey with alpha.png": encoded(RGB.convert("LA"), "PNG"),
    "black and white.png": encoded(RGB.convert("1"), "PNG"),
    "alpha.png": encoded(RGB.convert("RGBA"), "PNG"),
    "palette.png": encoded(RGB.quantize(16), "PNG", transparency=3),
    "wrong note.png": with_a_wrong_note(encoded(RGB, "PNG")),
    "16 bits.png": RGB_16,
    "16 bits grey.png": GREY_16,
    "16 bits grey, bytes after its end.png": GREY_16 + b"\0",
    "cmyk.jpg": encoded(CMYK, "JPEG", quality=95),
    "cmyk, bytes after its end.jpg": encoded(CMYK, "JPEG", quality=95) + b"\0",
    "ycck.jpg": ycck(encoded(CMYK, "JPEG", quality=95)),
    "no colour transform.jpg": encoded(RGB, "JPEG", keep_rgb=True),
    "progressive.jpg": encoded(RGB, "JPEG", progressive=True),
    "rotated.jpg": rotated(),
    "gif named.png": encoded(RGB.quantize(64), "GIF"),
    "animation named.png": animation(),
    "animation named.jpg": animation(),
    "png named.jpg": encoded(RGB, "PNG"),
    "jpeg named.png": encoded(RGB, "JPEG"),
    "one pixel.jpg": encoded(photograph(1, 1), "JPEG"),
    "one pixel.png": encoded(photograph(1, 1), "PNG"),
    "wide.jpg": encoded(photograph(20_000, 10), "JPEG"),
    "wide.png": encoded(photograph(20_000, 10), "PNG"),
}
BROKEN = {  # and part of the reason
    "empty.jpg": (b"", "empty file"),
    "text.jpg": (b"a page that says the image is gone", "cannot identify image file"),
    "truncated.jpg": (encoded(RGB, "JPEG")[:-100], "truncated"),
    "truncated.png": (encoded(RGB, "PNG")[:-100], "truncated"),
    "flipped byte.png": (encoded(RGB, "PNG").replace(b"IDATx", b"IDATy"), "checksum of its chunk at byte 33"),
    "bomb.png": (BOMB, f"15000 x 15000 pixels, more than {MAX_PIXELS:,}"),
    "bomb, bytes after its end.png": (BOMB + b"\0", "Image size (225000000 pixels) exceeds limit"),
    "float.png": (encoded(Image.fromarray(np.ones((4, 4), "float32")), "TIFF"), "its pixels (F) are not bytes"),
}
FILES = READABLE | {name: content for name, (content, _) in BROKEN.items()}
CLASSES = sorted(FILES)


def by_label(batches):
    """{label: image} of all images with a weight above 0."""
    found = {}
    for images, labels, *weights in batches.as_numpy_iterator():
        assert np.isfinite(images).all() and images.shape[1:] == (SIZE, SIZE, 3)
        kept = weights[0] > 0 if weights else np.ones(len(images), bool)
        found |= dict(zip(labels.argmax(axis=1)[kept], images[kept], strict=True))
    return {CLASSES[label]: image for label, image in found.items()}


def trained(split):
    plan = batch_size_plan(0.1, 1, 1, split.num_examples, mode="decay")
    return by_label(training_batches(split, DATA, PLAIN, len(CLASSES), plan, 0))


def evaluated(split):
    return by_label(evaluation_batches(split, DATA, len(CLASSES), 4))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("odd")
    for split in ("train", "val"):
        for name, content in FILES.items():
            (root / split / name).mkdir(parents=True)
            (root / split / name / f"image{name[-4:]}").write_bytes(content)
    return root


@pytest.fixture(scope="module")
def files(folder):
    return open_source("image_folder", folder)


@pytest.fixture(scope="module")
def images(files, folder):
    """{way: {class: image}} for four ways to read the same files."""
    target = folder / "shards"
    pack(open_source("image_folder", folder), target)
    shards = open_source("tfrecord", target)
    return {
        "training": trained(files.train), "evaluation": evaluated(files.validation),
        "training from shards": trained(shards.train), "evaluation from shards": evaluated(shards.validation),
    }


@pytest.fixture(scope="module")
def report(folder):
    return list(check("image_folder", folder))


WAYS = "training", "evaluation", "training from shards", "evaluation from shards"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", READABLE)
def test_pixels_are_pillows(images, way, name):
    pixels = NOT_AS_PILLOW.get(name)
    pixels = by_pillow(READABLE[name]) if pixels is None else pixels
    expected = crops.resize(tf.constant(pixels), SIZE, SIZE)
    np.testing.assert_allclose(images[way][name], expected, atol=2 if READABLE[name][:1] == b"\xff" else 1e-3)


@pytest.mark.parametrize("way", WAYS)
def test_nothing_comes_of_broken_files(images, way):
    assert sorted(images[way]) == sorted(READABLE)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_broken_files_are_named_with_a_reason(files, images, split):
    reasons = {path.split("/")[-2]: reason for path, reason in getattr(files, split).bad.reasons.items()}
    assert sorted(reasons) == sorted(BROKEN)
    assert all(words in reasons[name] for name, (_, words) in BROKEN.items()), reasons


def test_check_names_them_and_counts_them(folder, report):
    assert report.count(f"broken      {len(BROKEN):>9}") == 2
    lines = [line for line in report if line.startswith("  ")]
    assert len(lines) == 2 * len(BROKEN)
    for name, (_, words) in BROKEN.items():
        start = f"  {folder}/train/{name}/image{name[-4:]}: "
        assert [words in line for line in lines if line.startswith(start)] == [True]


def test_an_orientation_is_not_applied(images):
    """As in Pillow's `convert("RGB")`, which timm's and torchvision's loaders call."""
    with Image.open(io.BytesIO(READABLE["rotated.jpg"])) as image:
        turned = np.asarray(ImageOps.exif_transpose(image).convert("RGB"), "float32")
    assert np.abs(images["training"]["rotated.jpg"] - turned).mean() > 20


def test_pillow_alone_would_cut_16_bits_off_at_255():
    """The reason why 16-bit grey PNG is not read like in Pillow. Fails when Pillow fixes this."""
    assert (by_pillow(GREY_16) == 255).mean() > 0.9 and GREY_16_PIXELS.mean() < 140


# ---- damage inside a JPEG file with intact ends

INSIDE = {
    "huffman table": lambda c: c.replace(b"\xff\xc4\x00\x1f", b"\xff\xc4\x00\x1e", 1),
    "size": lambda c: c.replace(struct.pack(">HH", SIZE, SIZE), struct.pack(">HH", 65_000, 65_000), 1),
    "quantization table": lambda c: c.replace(b"\xff\xdb\x00\x43\x00", b"\xff\xdb\x00\x43\x09", 1),
    "start of a second image": lambda c: c[:-40] + c[2:],
}


@pytest.fixture(params=INSIDE)
def damaged_inside(request, tmp_path):
    """Four good images and one damaged inside, in training and in validation."""
    whole = encoded(RGB, "JPEG")
    damaged = INSIDE[request.param](whole)
    assert damaged != whole
    for split in ("train", "val"):
        for label in ("a", "b"):
            (tmp_path / split / label).mkdir(parents=True)
            for i in range(2):
                (tmp_path / split / label / f"{i}.jpg").write_bytes(whole)
        (tmp_path / split / "a" / "2.jpg").write_bytes(damaged)
    return tmp_path


def test_damage_inside_stops_training_until_it_is_found(damaged_inside):
    split = open_source("image_folder", damaged_inside).train
    plan = batch_size_plan(0.1, 5, 1, 5, mode="decay")
    with pytest.raises(tf.errors.InvalidArgumentError, match="JPEG"):
        list(training_batches(split, DATA, PLAIN, 2, plan, 0))
    for path, reason in find_broken(split):
        split.bad.add(path, reason)
    assert list(split.bad.reasons) == [str(damaged_inside / "train" / "a" / "2.jpg")]
    ((images, labels),) = training_batches(split, DATA, PLAIN, 2, plan, 0).as_numpy_iterator()
    assert labels.sum(axis=0).tolist() == [2, 3]  # the next image replaces it, with its label
    np.testing.assert_array_equal(images, np.broadcast_to(images[0], images.shape))


def test_damage_inside_is_left_out_of_the_evaluation(damaged_inside):
    split = open_source("image_folder", damaged_inside).validation
    for path, reason in find_broken(split):
        split.bad.add(path, reason)
    ((_, _, weights),) = evaluation_batches(split, DATA, 2, 5).as_numpy_iterator()
    assert weights.tolist() == [1, 1, 0, 1, 1]


def test_damage_inside_is_not_packed(damaged_inside, caplog):
    source = open_source("image_folder", damaged_inside)
    with caplog.at_level("WARNING", logger="absl"):
        description = pack(source, damaged_inside / "shards")
    assert [description["splits"][name]["examples"] for name in ("train", "validation")] == [4, 4]
    assert sum("left out, broken" in m and "a/2.jpg" in m for m in caplog.messages) == len(caplog.messages) == 2


def test_a_jpeg_too_large_for_tensorflow_is_refused_with_its_size(tmp_path):
    path = tmp_path / "large.jpg"
    path.write_bytes(INSIDE["size"](encoded(RGB, "JPEG")))
    with pytest.raises(ValueError, match=f"65000 x 65000 pixels, more than {MAX_PIXELS:,}"):
        check_image(path)


# ---- the command line


def call(*arguments):
    return cli.run(cli.parse(["keras-tricks", *map(str, arguments)]))


def simple(root, names):
    for split in ("train", "val"):
        (root / split / "a").mkdir(parents=True)
        for name in names:
            (root / split / "a" / name).write_bytes(FILES["grey.jpg"])
    return root


def test_check_and_pack_from_the_command_line(tmp_path, capsys, caplog):
    root = simple(tmp_path / "images", ["1.jpg", "2.jpg"])
    (root / "train" / "a" / "2.jpg").write_bytes(b"")
    call("data", "check", "image_folder", "--data-dir", root)
    assert f"broken              1\n  {root}/train/a/2.jpg: empty file\n" in capsys.readouterr().out
    with caplog.at_level("WARNING", logger="absl"):
        call("data", "pack", "image_folder", "--data-dir", root, "--output", tmp_path / "shards")
    assert "train               1 images in 1 shards" in capsys.readouterr().out
    assert caplog.messages == [f"left out, broken: {root}/train/a/2.jpg: empty file"]


def test_too_many_broken_files_stop_pack(tmp_path):
    root = simple(tmp_path / "images", ["1.jpg", "2.jpg"])
    (root / "train" / "a" / "2.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="1 images cannot be read.*2.jpg"):
        pack(open_source("image_folder", root, max_bad_images=0), tmp_path / "shards")
    assert not (tmp_path / "shards").exists()


def test_files_that_are_not_read_are_counted(tmp_path):
    root = simple(tmp_path, ["1.jpg"])
    for name in ("notes.txt", "2.TXT", "labels.csv", ".hidden"):
        (root / "train" / "a" / name).write_bytes(FILES["animation named.png"])
    (root / "train" / "readme").write_text("beside the class folders")
    lines = [line for line in check("image_folder", root) if line.startswith("not read")]
    assert lines == ["not read            4 files with other suffixes: 2 .txt, 1 .csv, 1 without suffix"]


def test_slow_files_are_counted_with_what_to_do(tmp_path):
    root = simple(tmp_path, ["1.jpg", "2.gif"])
    contents = {"3": "animation named.png", "4.PNG": "grey.png", "5.jpg": "cmyk, bytes after its end.jpg"}
    for name, content in contents.items():
        (root / "val" / "a" / name).write_bytes(FILES[content])
    lines = [line for line in check("image_folder", root) if line.startswith("slow")]
    assert len(lines) == 1 and lines[0].startswith("slow                2 images") and "data pack" in lines[0]
