import numpy as np
from sklearn.datasets import load_digits

from keras_tricks.data import evaluation_batches, open_source
from keras_tricks.recipe import Data

DATA = Data(image_size=8, eval_crop="whole", mean=(0.0,) * 3, std=(1.0,) * 3)


def read(split):
    batches = list(evaluation_batches(split, DATA, 10, 200).as_numpy_iterator())
    images, labels, weights = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return images[weights > 0], labels[weights > 0].argmax(axis=1)


def test_every_third_image_is_held_out():
    source, raw = open_source("digits"), load_digits()
    assert source.class_names == tuple("0123456789") and source.num_classes == 10
    assert (source.train.num_examples, source.validation.num_examples) == (1198, 599)
    held_out = np.arange(1797) % 3 == 2
    for split, chosen in ((source.train, ~held_out), (source.validation, held_out)):
        images, labels = read(split)
        np.testing.assert_array_equal(labels, raw.target[chosen])
        np.testing.assert_allclose(images[..., 0], raw.images[chosen] * 255 / 16, atol=0.5)  # 0-16 stretched to 0-255
        np.testing.assert_array_equal(images[..., 0], images[..., 1])
        np.testing.assert_array_equal(images[..., 0], images[..., 2])


def test_every_digit_is_in_both_parts_about_equally_often():
    source = open_source("digits")
    for split, low, high in ((source.train, 100, 140), (source.validation, 45, 75)):
        counts = np.bincount(read(split)[1], minlength=10)
        assert counts.min() > low and counts.max() < high


def test_fetch_gives_uint8_int32_and_intact():
    image, label, intact = open_source("digits").validation.fetch(7)
    assert image.dtype == "uint8" and image.shape == (8, 8, 3) and label.dtype == "int32" and bool(intact)
