"""Uncompressed images: Pillow opens them, and a crop is a slice."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_tricks.data.augment import crops, pixmap


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (37, 53, 3), "uint8")


def test_pillow_reads_the_same_pixels(pixels):
    with Image.open(io.BytesIO(pixmap.encode(pixels))) as image:
        assert image.format == "PPM"
        np.testing.assert_array_equal(np.asarray(image), pixels)


@pytest.mark.parametrize("box", [(0, 0, 37, 53), (5, 7, 20, 30), (36, 52, 1, 1)])
@pytest.mark.parametrize("in_graph", [True, False])
def test_a_crop_is_a_slice(pixels, box, in_graph):
    def sides_and_crop(content):
        return tf.stack(crops.image_shape(content)), crops.crop(content, *box)

    content = tf.constant(pixmap.encode(pixels))
    sides, cropped = (tf.function(sides_and_crop) if in_graph else sides_and_crop)(content)
    assert sides.numpy().tolist() == [37, 53]
    top, left, height, width = box
    np.testing.assert_array_equal(cropped, pixels[top : top + height, left : left + width])


@pytest.mark.parametrize("content", [b"", b"P6", b"P6 53 37 255\n" + bytes(40), b"P6 00053 0003x 255\n",
                                     b"\xff\xd8\xff"])
def test_other_files_are_none(content):
    assert not pixmap.is_pixmap(tf.constant(content)) and pixmap.size(content) is None


def test_the_header(pixels):
    content = pixmap.encode(pixels)
    assert pixmap.is_pixmap(tf.constant(content)) and pixmap.size(content[: pixmap.HEADER]) == (37, 53)
    assert len(content) == pixmap.HEADER + pixels.size
