"""Packed data with smaller images: sizes, labels and orientation; the default is copies."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_tricks import cli
from keras_tricks.data.augment.orientation import ORIENTATION, orientation
from keras_tricks.data.sources.open_source import open_source
from keras_tricks.data.sources.reencode import Encoding
from keras_tricks.utils.errors import UserError


def jpeg(width, height, quality=97, turn=None, kind="JPEG"):
    """A smooth picture, as photographs are."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([128 + 100 * np.sin(x / 31), 128 + 100 * np.cos(y / 23), 128 + 50 * np.sin((x + y) / 41)], -1)
    options, out = {"quality": quality}, io.BytesIO()
    if turn:
        options["exif"] = Image.Exif()
        options["exif"][ORIENTATION] = turn
    Image.fromarray(pixels.astype("uint8")).save(out, kind, **options)
    return out.getvalue()


def size(content):
    return Image.open(io.BytesIO(content)).size


@pytest.mark.parametrize("before, after", [((800, 600), (500, 375)), ((333, 1000), (166, 500)), ((500, 20), (500, 20)),
                                           ((64, 48), (64, 48)), ((3000, 1), (500, 1))])
def test_the_longer_side(before, after):
    """FFCV: `(ratio * size).astype(int)`."""
    assert size(Encoding(500)(jpeg(*before))) == after


def test_pixels_are_the_average_of_areas():
    content = jpeg(800, 600)
    new = np.asarray(Image.open(io.BytesIO(Encoding(400, 100)(content))), "float32")
    whole = np.asarray(Image.open(io.BytesIO(content)), "float32").reshape(300, 2, 400, 2, 3).mean((1, 3))
    assert np.abs(new - whole).mean() < 1.5


def test_a_file_that_would_grow_stays():
    small = jpeg(64, 48, quality=20)
    assert Encoding(500, 100)(small) == small
    assert len(Encoding(None, 80)(jpeg(64, 48))) < len(jpeg(64, 48))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_orientation_is_kept(kind):
    assert orientation(Encoding(100)(jpeg(300, 200, turn=6, kind=kind))) == 6
    assert b"Exif" not in Encoding(100)(jpeg(300, 200, kind=kind))


def test_arguments_are_checked():
    with pytest.raises(UserError, match="`max_side` must be 1 or more"):
        Encoding(0)
    with pytest.raises(UserError, match="`quality` must be from 1 to 100"):
        Encoding(500, 101)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    for split, count in (("train", 3), ("val", 1)):
        for label in ("ant", "bee"):
            (root / split / label).mkdir(parents=True)
            for i in range(count):
                (root / split / label / f"{i}.jpg").write_bytes(jpeg(300 + i, 200))
    (root / "train" / "ant" / "2.jpg").write_bytes(b"broken")
    return root


@pytest.mark.parametrize("options, sides", [((), (300, 301)), (("--max-side", "150"), (150, 150)),
                                            (("--quality", "50"), (300, 301))])
def test_pack(folder, tmp_path, options, sides, capsys):
    words = ["data", "pack", "image_folder", "--data-dir", str(folder), "--output", str(tmp_path / "new"), *options]
    cli.run(cli.parse(["keras-tricks", *words]))
    split, files = open_source("tfrecord", tmp_path / "new").train, open_source("image_folder", folder).train
    assert "5 images in 1 shards" in capsys.readouterr().out  # without the broken one
    found = [split.fetch(tf.constant(i, tf.int64)) for i in range(5)]
    assert [int(label) for _, label, _ in found] == [0, 0, 1, 1, 1]
    assert tuple(size(image.numpy())[0] for image, *_ in found[:2]) == sides
    copied = [image.numpy() == files.fetch(tf.constant(i, tf.int64))[0].numpy() for i, (image, *_) in enumerate(found)]
    assert copied[:2] == [not options] * 2
