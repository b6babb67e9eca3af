import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_tricks.data.augment import crops


def photograph(height, width, seed=0):
    """A smooth random uint8 image, which JPEG compresses with little loss."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype="uint8")
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def encoded(image, kind, **options):
    out = io.BytesIO()
    Image.fromarray(image).save(out, kind, **options)
    return tf.constant(out.getvalue())


def ramp(height, width):
    """Red is the row number, green the column number."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, 0 * rows], axis=-1).astype("uint8")


def boxes(height, width, count, **ranges):
    """`count` boxes (top, left, height, width), one per seed."""
    draw = lambda i: tf.stack(crops.random_resized_box(height, width, tf.stack([7, i]), **ranges))  # noqa: E731
    return np.array(list(tf.data.Dataset.range(count).map(draw).as_numpy_iterator()))


@pytest.mark.parametrize("height, width", [(300, 400), (400, 300), (57, 90), (8, 8), (1, 1), (2, 3)])
def test_boxes_lie_inside_the_image(height, width):
    top, left, h, w = boxes(height, width, 1000).T
    assert (top >= 0).all() and (left >= 0).all() and (h >= 1).all() and (w >= 1).all()
    assert (top + h <= height).all() and (left + w <= width).all()


def test_boxes_have_the_area_and_aspect_asked_for():
    height, width = 400, 500
    _, _, h, w = boxes(height, width, 3000, area=(0.2, 0.6), aspect=(0.5, 1.5)).T
    rounding = (h + w) / 2 + 1  # each side is rounded to a pixel
    assert (h * w >= 0.2 * height * width - rounding).all() and (h * w <= 0.6 * height * width + rounding).all()
    assert ((w + 0.51) / (h - 0.51) >= 0.5).all() and ((w - 0.51) / (h + 0.51) <= 1.5).all()
    assert (h * w).min() < 0.22 * height * width and (h * w).max() > 0.55 * height * width


def test_area_aspect_and_place_are_uniform():
    # Every candidate fits, so none is rejected and the draws follow the paper's distribution.
    top, left, h, w = boxes(1000, 1000, 4000, area=(0.08, 0.4)).T
    assert np.mean(h * w) / 1e6 == pytest.approx(0.24, abs=0.006)
    assert np.mean(w / h) == pytest.approx((3 / 4 + 4 / 3) / 2, abs=0.01)  # log-uniform would be 1.0138
    assert np.mean(top / (1000 - h)) == pytest.approx(0.5, abs=0.02)
    assert np.mean(left / (1000 - w)) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    "height, width, box",
    [(1000, 10, (493, 0, 13, 10)), (10, 1000, (0, 493, 10, 13))],  # 10 / (3/4) and 10 * 4/3 round to 13
)
def test_extreme_shapes_fall_back_to_the_largest_centred_box(height, width, box):
    assert (boxes(height, width, 20) == box).all()


BOXES = [(0, 0, 61, 83), (13, 7, 30, 41), (60, 82, 1, 1)]


@pytest.mark.parametrize("box", BOXES)
def test_cutting_a_jpeg_is_decoding_it_and_slicing(box):
    jpeg = encoded(photograph(61, 83), "JPEG", quality=90, subsampling=0)
    top, left, height, width = box
    whole = tf.io.decode_jpeg(jpeg, channels=3, dct_method="INTEGER_ACCURATE").numpy()
    np.testing.assert_array_equal(crops.crop(jpeg, *box), whole[top : top + height, left : left + width])


@pytest.mark.parametrize("box", BOXES)
def test_cutting_a_jpeg_of_half_colour_resolution_differs_in_its_last_column_at_most(box):
    # libjpeg interpolates the colour of the last column from its right neighbour, which is outside the box.
    jpeg = encoded(photograph(61, 83), "JPEG", quality=90, subsampling=2)
    top, left, height, width = box
    whole = tf.io.decode_jpeg(jpeg, channels=3, dct_method="INTEGER_ACCURATE").numpy()
    whole = whole[top : top + height, left : left + width].astype(int)
    difference = np.abs(crops.crop(jpeg, *box).numpy().astype(int) - whole)
    assert (difference[:, :-1] == 0).all() and difference.max() <= 24


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_cutting_a_lossless_file_or_an_array_is_slicing(kind):
    image = photograph(20, 30)
    source = encoded(image, kind) if kind == "PNG" else tf.constant(image)
    np.testing.assert_array_equal(crops.crop(source, 3, 5, 10, 12), image[3:13, 5:17])


@pytest.mark.parametrize("mode, kind", [("L", "JPEG"), ("CMYK", "JPEG"), ("L", "PNG"), ("RGBA", "PNG"), ("P", "PNG")])
def test_other_colour_modes_give_three_channels(mode, kind):
    out = io.BytesIO()
    Image.fromarray(photograph(20, 30)).convert(mode).save(out, kind)
    result = crops.resize_whole(tf.constant(out.getvalue()), 16)
    assert result.shape == (16, 16, 3) and result.dtype == tf.float32
    assert 0 <= tf.reduce_min(result) < tf.reduce_max(result) <= 255


def test_random_resized_crop_of_a_file_is_that_of_its_pixels():
    jpeg = encoded(photograph(90, 120), "JPEG", quality=95, subsampling=0)
    pixels = tf.io.decode_jpeg(jpeg, channels=3, dct_method="INTEGER_ACCURATE")
    for seed in range(5):
        from_file = crops.random_resized_crop(jpeg, 32, (seed, 1))
        np.testing.assert_array_equal(from_file, crops.random_resized_crop(pixels, 32, (seed, 1)))
        assert from_file.shape == (32, 32, 3) and from_file.dtype == tf.float32


def test_crops_are_functions_of_the_seed():
    image = tf.constant(photograph(64, 64))
    for crop in (crops.random_resized_crop, crops.pad_crop):
        first = crop(image, 32, (3, 5)).numpy()
        np.testing.assert_array_equal(first, crop(image, 32, (3, 5)))
        others = [crop(image, 32, (3, i)).numpy() for i in range(6, 12)]
        assert any((first != other).any() for other in others)


@pytest.mark.parametrize("height, width, first", [(60, 40, (7, 2)), (40, 60, (2, 7)), (40, 40, (2, 2))])
def test_short_side_crop_takes_the_centre(height, width, first):
    # Short side 40 -> 20, so a pixel of the result is two of the image, and its centre is between them.
    crop = crops.short_side_crop(tf.constant(ramp(height, width)), 16, 20).numpy()
    rows, columns = (2 * (np.arange(16) + start) + 0.5 for start in first)
    np.testing.assert_allclose(crop[..., 0], np.repeat(rows[:, None], 16, axis=1), atol=1e-4)
    np.testing.assert_allclose(crop[..., 1], np.repeat(columns[None], 16, axis=0), atol=1e-4)


def test_short_side_crop_keeps_the_aspect_of_odd_sizes():
    # 375 x 500 -> 256 x 341 (341.33 rounded): a column of the result is 500/341 columns of the image.
    image = np.broadcast_to((np.arange(500) / 2).astype("uint8")[None, :, None], (375, 500, 3))
    crop = crops.short_side_crop(tf.constant(image), 224, 256).numpy()
    assert crop.shape == (224, 224, 3)
    expected = ((np.arange(224) + 58 + 0.5) * 500 / 341 - 0.5) / 2
    np.testing.assert_allclose(crop[100, :, 0], expected, atol=0.51)  # the image has integer values


def test_short_side_crop_of_the_whole_short_side():
    image = photograph(30, 20)
    np.testing.assert_array_equal(crops.short_side_crop(tf.constant(image), 20, 20), image[5:25])


@pytest.mark.parametrize("mode, name", [("REFLECT", "reflect"), ("CONSTANT", "constant")])
def test_pad_crop_cuts_windows_of_the_padded_image(mode, name):
    image = np.random.default_rng(1).integers(0, 256, (12, 12, 3), dtype="uint8")
    padded = np.pad(image, [(2, 2), (2, 2), (0, 0)], mode=name).astype("float32")
    windows = {padded[i : i + 12, j : j + 12].tobytes(): (i, j) for i in range(5) for j in range(5)}
    assert len(windows) == 25
    draw = lambda i: crops.pad_crop(tf.constant(image), 12, tf.stack([0, i]), pad=2, mode=mode)  # noqa: E731
    found = {windows[w.tobytes()] for w in tf.data.Dataset.range(300).map(draw).as_numpy_iterator()}
    assert len(found) == 25  # every window is reached: the offsets 0 and 4 too


def test_pad_crop_resizes_first():
    image = tf.constant(photograph(8, 8))
    np.testing.assert_array_equal(crops.pad_crop(image, 16, (0, 0), pad=0), crops.resize_whole(image, 16))


def test_an_image_of_the_right_size_is_only_cast():
    image = photograph(24, 24)
    result = crops.resize_whole(tf.constant(image), 24)
    assert result.dtype == tf.float32
    np.testing.assert_array_equal(result, image)


def test_antialias_is_what_pillow_does():
    image = photograph(96, 96, seed=2).copy()
    image[::2] = 255 - image[::2]  # rows that alias when every fourth is read
    pillow = np.asarray(Image.fromarray(image).resize((24, 24), Image.Resampling.BILINEAR), "float32")
    np.testing.assert_allclose(crops.resize_whole(tf.constant(image), 24, antialias=True), pillow, atol=1.01)
    assert np.abs(crops.resize_whole(tf.constant(image), 24) - pillow).max() > 20


# ---- evaluation crops of the papers, compared with Pillow


PILLOW = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def pillow_resized(image, height, width, interpolation):
    """float32, not clamped. Pillow antialiases when it reduces an image; otherwise it equals TensorFlow."""
    planes = [Image.fromarray(image[..., c].astype("float32"), "F") for c in range(3)]
    return np.stack([np.asarray(p.resize((width, height), PILLOW[interpolation])) for p in planes], axis=-1)


def center_square(height, width, size, crop_pct):
    """The published rule in NumPy: (top, left, side)."""
    padding = round(size * (1 / crop_pct - 1))
    side = int(np.float32(size / (size + padding)) * np.float32(min(height, width)))
    return (height - side + 1) // 2, (width - side + 1) // 2, side


RESIZES = [  # larger without, smaller with antialiasing
    (30, 50, 64, "bilinear", False), (50, 30, 64, "bicubic", False), (33, 33, 40, "bicubic", False),
    (201, 300, 64, "bilinear", True), (300, 201, 48, "bicubic", True),
]


@pytest.mark.parametrize("height, width, size, interpolation, antialias", RESIZES)
@pytest.mark.parametrize("crop_pct", [0.875, 0.9, 1.0])
def test_center_crop_is_the_published_square_resized(height, width, size, interpolation, antialias, crop_pct):
    image = photograph(height, width)
    found = crops.center_crop(tf.constant(image), size, crop_pct, interpolation=interpolation, antialias=antialias)
    top, left, side = center_square(height, width, size, crop_pct)
    expected = pillow_resized(image[top : top + side, left : left + side], size, size, interpolation)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, expected, atol=0.15)  # TensorFlow rounds bicubic weights to a table


@pytest.mark.parametrize("height, width, size, interpolation, antialias", RESIZES)
@pytest.mark.parametrize("padding", [32, 7, 0])
def test_squash_crop_resizes_both_sides_then_cuts(height, width, size, interpolation, antialias, padding):
    image = photograph(height, width)
    if antialias:
        size = size // 2  # so that the larger side with its padding is still smaller than the image
    found = crops.squash_crop(tf.constant(image), size, padding, interpolation=interpolation, antialias=antialias)
    first = (padding + 1) // 2
    expected = pillow_resized(image, size + padding, size + padding, interpolation)
    assert found.shape == (size, size, 3) and found.dtype == tf.float32
    np.testing.assert_allclose(found, expected[first : first + size, first : first + size], atol=0.15)


@pytest.mark.parametrize("height, width, size, crop_pct, box", [
    (375, 500, 224, 0.875, (24, 86, 328, 328)),  # 0.875 * 375 = 328.1
    (500, 375, 256, 0.875, (87, 24, 327, 327)),  # 256 / (256 + 37) * 375 = 327.6
    (375, 500, 160, 0.875, (24, 87, 327, 327)),  # 160 / (160 + 23) * 375 = 327.9
    (375, 500, 320, 1.0, (0, 63, 375, 375)),
    (1, 9, 224, 0.875, (0, 4, 1, 1)),  # never nothing
])
def test_the_square_of_center_crop(height, width, size, crop_pct, box):
    assert tuple(map(int, crops.center_box(height, width, size, crop_pct))) == box


def test_crops_of_a_file_are_those_of_its_pixels():
    jpeg = encoded(photograph(90, 120), "JPEG", quality=95, subsampling=0)
    pixels = tf.io.decode_jpeg(jpeg, channels=3, dct_method="INTEGER_ACCURATE")
    for crop in (crops.center_crop, crops.squash_crop):
        np.testing.assert_array_equal(crop(jpeg, 48), crop(pixels, 48))


def test_bicubic_is_not_clamped():
    image = np.zeros((20, 20, 3), "uint8")
    image[:, 10:] = 255
    for crop in (crops.center_crop, crops.squash_crop):
        found = crop(tf.constant(image), 64, interpolation="bicubic").numpy()
        assert found.min() < -5 and found.max() > 260


# ---- TensorFlow's distorted boxes


def distorted(height, width, count, **arguments):
    draw = lambda i: tf.stack(crops.distorted_box(height, width, tf.stack([7, i]), **arguments))  # noqa: E731
    return np.array(list(tf.data.Dataset.range(count).map(draw, 4).batch(1000).as_numpy_iterator())).reshape(-1, 4)


def of_the_op(height, width, count, covered=0.1, area=(0.08, 1.0), aspect=(3 / 4, 4 / 3)):
    """Boxes of TensorFlow's op, whose random numbers are others."""

    def draw(i):
        begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
            (height, width, 3), tf.constant([0.0, 0.0, 1.0, 1.0], shape=(1, 1, 4)), tf.stack([3, i]),
            min_object_covered=covered, aspect_ratio_range=aspect, area_range=area, max_attempts=10,
            use_image_if_no_bounding_boxes=True)
        return tf.concat([begin[:2], size[:2]], axis=0)

    return np.array(list(tf.data.Dataset.range(count).map(draw, 4).batch(1000).as_numpy_iterator())).reshape(-1, 4)


def distance(a, b):
    """Kolmogorov and Smirnov's: the largest difference of the two distribution functions."""
    values = np.sort(np.concatenate([a, b]))
    return np.abs(np.searchsorted(np.sort(a), values, "right") / len(a)
                  - np.searchsorted(np.sort(b), values, "right") / len(b)).max()


@pytest.mark.parametrize("height, width", [(375, 500), (300, 200)])
def test_distorted_boxes_follow_the_law_of_the_op(height, width):
    """20,000 boxes each: the distance of equal laws exceeds 0.0195 once in a thousand."""
    ours, theirs = distorted(height, width, 20_000), of_the_op(height, width, 20_000)
    for name, a, b in (("top", *(x[:, 0] for x in (ours, theirs))), ("left", *(x[:, 1] for x in (ours, theirs))),
                       ("height", *(x[:, 2] for x in (ours, theirs))), ("width", *(x[:, 3] for x in (ours, theirs))),
                       ("area", *(x[:, 2] * x[:, 3] for x in (ours, theirs))),
                       ("aspect", *(x[:, 3] / x[:, 2] for x in (ours, theirs)))):
        assert distance(a, b) < 0.0195, name


def test_the_two_laws_differ_in_area():
    """Means at 375 x 500, and the share of boxes below a quarter and below a tenth of the image."""
    share = lambda box: box[:, 2] * box[:, 3] / (375 * 500)  # noqa: E731
    law, uniform = share(distorted(375, 500, 4000)), share(boxes(375, 500, 4000))
    assert law.mean() == pytest.approx(0.387, abs=0.01) and uniform.mean() == pytest.approx(0.44, abs=0.015)
    assert (law < 0.25).mean() == pytest.approx(0.336, abs=0.025)
    assert (law < 0.0999).mean() == 0 < (uniform < 0.1).mean()


@pytest.mark.parametrize("height, width", [(300, 400), (57, 90), (8, 8), (2, 3), (1, 1)])
def test_distorted_boxes_lie_inside_the_image(height, width):
    top, left, h, w = distorted(height, width, 1000).T
    assert (top >= 0).all() and (left >= 0).all() and (h >= 1).all() and (w >= 1).all()
    assert (top + h <= height).all() and (left + w <= width).all()


def test_an_image_that_no_distorted_box_fits_gets_the_centre_crop():
    image = tf.constant(photograph(20, 1000))
    assert (distorted(20, 1000, 20) == (0, 0, 20, 1000)).all()
    np.testing.assert_array_equal(crops.distorted_crop(image, 16, tf.constant([1, 2])),
                                  crops.center_crop(image, 16))
