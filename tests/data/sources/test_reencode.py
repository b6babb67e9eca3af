"""Packed data with smaller images: sizes, labels and orientation; the default is copies."""

import io
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_tricks import cli, load_recipe
from keras_tricks.data.augment.orientation import ORIENTATION, orientation
from keras_tricks.data.augment.preprocessing import training_image
from keras_tricks.data.sources.open_source import open_source
from keras_tricks.data.sources.reencode import Encoding
from keras_tricks.data.sources.remote_split import remote_record_split
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


# --- uncompressed -----------------------------------------------------------------------------------------------------


def packed(folder, target, *options):
    words = ["data", "pack", "image_folder", "--data-dir", folder, "--output", target, *options]
    cli.run(cli.parse(["keras-tricks", *map(str, words)]))
    return target


def fetched(split):
    return [(image.numpy(), int(label), bool(same)) for image, label, same in
            (split.fetch(tf.constant(i, tf.int64)) for i in range(split.num_examples))]


def test_uncompressed_pixels_are_those_before_compression():
    content = jpeg(800, 600)
    stored = Encoding(400, uncompressed=1.0)(content)
    reduced = Image.open(io.BytesIO(content)).convert("RGB").resize((400, 300), Image.Resampling.BOX)
    np.testing.assert_array_equal(Image.open(io.BytesIO(stored)), reduced)


def test_a_share_is_uncompressed_whatever_the_order():
    contents = [jpeg(32 + i, 32) for i in range(200)]
    kinds = [Encoding(None, 90, 0.5)(content)[:2] == b"P6" for content in contents]
    assert 70 < sum(kinds) < 130
    assert [Encoding(None, 90, 0.5)(content)[:2] == b"P6" for content in contents[::-1]] == kinds[::-1]
    assert not any(Encoding(None, 90, 0.0)(content)[:2] == b"P6" for content in contents[:20])


def test_uncompressed_images_are_arrays_with_the_pixels_that_a_service_reads(folder, tmp_path):
    root = packed(folder, tmp_path / "new", "--max-side", "150", "--uncompressed")
    here, there = (fetched(split) for split in (open_source("tfrecord", root).train,
                                                remote_record_split(root, "train")))
    assert [label for _, label, _ in here] == [label for _, label, _ in there] == [0, 0, 1, 1, 1]
    for (array, *_), (content, *_) in zip(here, there, strict=True):
        assert array.shape == (100, 150, 3) or array.shape == (99, 150, 3)
        np.testing.assert_array_equal(array, Image.open(io.BytesIO(content)))


def test_training_crops_are_those_of_the_stored_images(folder, tmp_path):
    """The same seeds on arrays, on the pixmaps that a service reads, and on a mix with PNGs of the same pixels."""
    root = packed(folder, tmp_path / "new", "--uncompressed")
    arrays, encoded = open_source("tfrecord", root).train, remote_record_split(root, "train")
    recipe = load_recipe("bag_of_tricks/resnet50d")
    data = recipe.data.model_copy(update={"image_size": 64})

    def crop_of(image, i):
        return training_image(image, data, recipe.augment, tf.stack([7, i]))

    for i in range(5):
        position = tf.constant(i, tf.int64)
        array = arrays.fetch(position)[0]
        crop = crop_of(array, i)
        np.testing.assert_array_equal(crop, crop_of(encoded.fetch(position)[0], i))
        np.testing.assert_array_equal(crop, crop_of(tf.io.encode_png(array), i))


@pytest.mark.parametrize("exif, side", [("ignore", 300), ("apply", 200)])
def test_an_uncompressed_set_keeps_the_orientation(folder, tmp_path, exif, side):
    root = shutil.copytree(folder, tmp_path / "photos")
    (root / "train" / "ant" / "0.jpg").write_bytes(jpeg(300, 200, turn=6))
    root = packed(root, tmp_path / "new", "--uncompressed")
    found = fetched(open_source("tfrecord", root, section=load_recipe("quickstart").data.model_copy(
        update={"exif": exif})).train)
    assert [image.shape[1] for image, *_ in found[:3]] == [side, 301, 300]


def test_a_flipped_pixel_and_a_lost_end_are_found(folder, tmp_path):
    root = packed(folder, tmp_path / "new", "--uncompressed")
    (shard,) = root.glob("train-*")
    with np.load(root / "train.index.npz") as file:
        offset, length = file["offset"], file["length"]
    split = open_source("tfrecord", root).train
    assert all(same for *_, same in fetched(split))  # their checksums are not computed again
    content = bytearray(shard.read_bytes())
    content[offset[1] + 5000] ^= 1
    shard.write_bytes(bytes(content))
    fresh = open_source("tfrecord", root).train
    assert [same for *_, same in fetched(fresh)] == [True, False, True, True, True]
    assert "its checksum is wrong" in str(fresh.bad.reasons)
    shard.write_bytes(bytes(content[: offset[4] + length[4] - 1]))
    assert [same for *_, same in fetched(split)] == [True, True, True, True, False]


def test_another_share_is_refused(capsys):
    with pytest.raises(UserError, match="`uncompressed` must be from 0 to 1"):
        Encoding(None, 90, 1.5)
    with pytest.raises(SystemExit):
        cli.parse("keras-tricks data pack digits --output o --uncompressed 1.5".split())
    assert "expected a number from 0 to 1. Received: '1.5'" in capsys.readouterr().err
