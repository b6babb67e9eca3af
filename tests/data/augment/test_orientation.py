"""The EXIF orientation: ignored by default, applied by `data.exif=apply` in training, evaluation and `predict`."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from keras_tricks import cli
from keras_tricks.data import evaluation_image, open_source
from keras_tricks.data.augment import crops
from keras_tricks.data.augment.orientation import orientation, turn_upright
from keras_tricks.data.augment.preprocessing import training_image
from keras_tricks.data.sources.image_files import readable_content
from keras_tricks.data.sources.remote_split import remote_split
from keras_tricks.recipe import Augment, Data
from keras_tricks.utils.errors import UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype="uint8")
DATA = Data(image_size=16, eval_crop="center", crop_pct=1.0)


def photo(turn, kind="JPEG"):
    exif, out = Image.Exif(), io.BytesIO()
    if turn:
        exif[274] = turn
    Image.fromarray(PIXELS).save(out, kind, exif=exif)
    return out.getvalue()


def expected(content):
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("turn", range(9))
def test_pixels_are_pillows(turn, kind):
    content = photo(turn, kind)
    assert orientation(content) == max(turn, 1)
    turned = turn_upright(content)
    np.testing.assert_array_equal(crops.crop(tf.constant(turned), 0, 0, *expected(content).shape[:2]),
                                  expected(content))
    assert (turned == content) == (turn < 2) and orientation(turned) == 1


@pytest.mark.parametrize("turn", [6, 8])
def test_crops_see_the_upright_image(turn):
    content, applied = tf.constant(photo(turn)), DATA.model_copy(update={"exif": "apply"})
    other = tf.io.encode_png(expected(content.numpy()))
    seed = tf.constant([1, 2])
    np.testing.assert_array_equal(evaluation_image(content, applied), evaluation_image(other, DATA))
    np.testing.assert_array_equal(training_image(content, applied, Augment(), seed),
                                  training_image(other, DATA, Augment(), seed))
    in_graph, = tf.data.Dataset.from_tensors(content).map(lambda c: evaluation_image(c, applied))
    np.testing.assert_array_equal(in_graph, evaluation_image(other, DATA))
    assert np.abs(in_graph - evaluation_image(content, DATA)).max() > 10


def test_the_default_ignores_it():
    np.testing.assert_array_equal(evaluation_image(tf.constant(photo(6)), DATA),
                                  evaluation_image(tf.constant(photo(0)), DATA))


def test_other_formats(tmp_path):
    (tmp_path / "a.webp").write_bytes(photo(6, "WEBP"))
    assert orientation(readable_content(tmp_path / "a.webp")[0]) == 6
    assert turn_upright(b"") == b"" and turn_upright(b"Exif") == b"Exif" and orientation(photo(6)[:100]) in (1, 6)


def test_data_check_counts_them(tmp_path, capsys):
    for split in ("train", "val"):
        for name, turns in {"a": (6, 0, 1), "b": (3,)}.items():
            (tmp_path / split / name).mkdir(parents=True)
            for i, turn in enumerate(turns):
                (tmp_path / split / name / f"{i}.jpg").write_bytes(photo(turn))
    cli.run(cli.parse(["keras-tricks", "data", "check", "image_folder", "--data-dir", str(tmp_path)]))
    assert capsys.readouterr().out.count("turned              2 images have an EXIF orientation") == 2
    with pytest.raises(UserError, match="data.exif=apply"):
        data = Data(source="image_folder", data_dir=str(tmp_path), exif="apply")
        remote_split(data, open_source("image_folder", tmp_path))
