"""Data that are handed over: arrays, `tf.data.Dataset`s and data sources, and one line for what is wrong in them."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from support.image_folders import SIZE, content, evaluated, trained

from keras_tricks.data import as_source, open_source
from keras_tricks.data.sources import arrays as arrays_module
from keras_tricks.data.sources import dataset as dataset_module
from keras_tricks.data.sources.as_source import hold_out
from keras_tricks.utils.errors import UserError

X = np.broadcast_to(np.arange(20, 50, dtype="uint8")[:, None, None, None], (30, SIZE, SIZE, 3)).copy()
X[:, 0, 0] = 0  # as in the files of `content`
Y = np.arange(30) % 3
VALIDATION = X[:6], Y[:6]
EXPECTED = dict(zip(range(20, 50), Y.tolist(), strict=True))


class Photos:
    """A data source of the documented form."""

    class_names = ("a", "b", "c")

    def __init__(self, images=X, labels=Y):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], self.labels[index]


def held(split, num_classes=3):
    values, labels, weights = evaluated(split, num_classes)
    assert (weights == 1).all()
    return dict(zip(values.tolist(), labels.tolist(), strict=True))


def refused(data, *words, **options):
    with pytest.raises(UserError) as caught:
        as_source(data, **options)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def dataset(x=X, y=Y):
    return tf.data.Dataset.from_tensor_slices((x, y))


def generated(x=X, y=Y, **spec):
    spec = {"shape": (None, None, 3), "dtype": tf.uint8, **spec}
    made = tf.data.Dataset.from_generator(lambda: zip(x, y, strict=True),
                                          output_signature=(tf.TensorSpec(**spec), tf.TensorSpec((), tf.int64)))
    return made.apply(tf.data.experimental.assert_cardinality(len(x)))


class Folder(Photos):
    """A data set as those of torchvision."""

    class_names, classes = None, ["a", "b", "c"]


def encoded(x):
    return [content(int(image[-1, -1, 0])) for image in x]


FORMS = {
    "arrays": lambda x, y: (x, y),
    "list of labels": lambda x, y: [x, y.tolist()],
    "column of labels": lambda x, y: (x, y[:, None]),
    "dataset": dataset,
    "mapped dataset": lambda x, y: dataset(x + 1, y).map(lambda x, y: (x - 1, y)).cache().prefetch(2),
    "dict": lambda x, y: tf.data.Dataset.from_tensor_slices({"image": x, "label": y, "id": y}),
    "encoded dataset": lambda x, y: dataset(encoded(x), y),
    "generator": generated,
    "encoded generator": lambda x, y: generated(encoded(x), y, shape=(), dtype=tf.string),
    "data source": Photos,
    "encoded data source": lambda x, y: Photos(encoded(x), y),
    "Pillow data source": lambda x, y: Photos([Image.fromarray(i) for i in x], y),
    "classes for class_names": Folder,
}


@pytest.mark.parametrize("form", FORMS)
def test_the_examples_are_those_handed_over(form):
    source = as_source((FORMS[form](X, Y), FORMS[form](X[:6], Y[:6])))
    assert source.num_classes == 3 and source.train.num_examples == 30
    assert source.class_names in (("0", "1", "2"), ("a", "b", "c"))
    assert held(source.train) == EXPECTED
    assert held(source.validation) == {20 + i: i % 3 for i in range(6)}
    assert source.train.fetch is not None


@pytest.mark.parametrize("form", [form for form in FORMS if form != "arrays"])
def test_batches_equal_those_of_arrays(form):
    made, expected = (trained(as_source((make(X, Y), make(X[:6], Y[:6]))).train, 3, epochs=2)
                      for make in (FORMS[form], FORMS["arrays"]))
    assert len(made) == len(expected) == 14
    for (x, y), (x_expected, y_expected) in zip(made, expected, strict=True):
        np.testing.assert_array_equal(x, x_expected)
        np.testing.assert_array_equal(y, y_expected)


@pytest.fixture
def stream(monkeypatch):
    """A large data set, which is not kept in memory."""
    monkeypatch.setattr(dataset_module, "IN_MEMORY", 100)
    monkeypatch.setattr(dataset_module, "SHUFFLE_BUFFER", 10)
    return as_source((dataset(), dataset()))


def test_a_large_data_set_is_a_stream(stream, caplog):
    split = stream.train
    assert split.fetch is None and "as a stream" in stream.description
    assert held(split) == EXPECTED
    made = trained(split, 3, batch_size=10)
    assert sorted(int(v) for x, _ in made for v in x[:, -1, -1, 0].round()) == list(EXPECTED)
    orders = [[int(i) for i, *_ in split.scan(tf.constant(epoch, tf.int64), tf.constant(3, tf.int64))]
              for epoch in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2] and sorted(orders[2]) == list(range(30))


def test_what_differs_at_each_pass_is_a_stream(caplog):
    source = as_source((dataset().shuffle(30), dataset()))
    assert "data[0] differs at each pass" in caplog.text and "data[1]" not in caplog.text
    assert source.train.fetch is None and source.validation.fetch is not None
    assert sorted(held(source.train)) == sorted(EXPECTED)


def test_images_of_several_sizes():
    sizes = tf.data.Dataset.range(20).map(lambda i: (tf.fill((4 + i, 16, 3), tf.cast(20 + i, tf.uint8)), i % 3))
    assert held(as_source((sizes, sizes)).train) == {20 + i: i % 3 for i in range(20)}


def test_grey_images():
    grey = as_source(((X[..., 0], Y), (X[..., :1], Y)))
    assert held(grey.train) == held(grey.validation) == EXPECTED
    grey = as_source((dataset(X[..., :1]), Photos(X[..., 0])), class_names=Photos.class_names)
    assert held(grey.train) == held(grey.validation) == EXPECTED


def test_names_as_labels():
    names = np.array(["dog", "ant", "cat"])[Y]
    source = as_source(((X, names), (X[:2], list(names[:2]))))
    assert source.class_names == ("ant", "cat", "dog") and held(source.validation) == {20: 2, 21: 0}
    assert as_source(((X, Y), VALIDATION), class_names=["x", "y", "z", "w"]).class_names == ("x", "y", "z", "w")
    refused(((X, names), (X[:1], ["dogs"])), 'Did you mean "dog"?')
    refused(((X, names), VALIDATION), "one part has class names")


def test_validation_with_its_classes_in_another_order():
    other = Photos(X, 2 - Y)
    other.class_names = ("c", "b", "a")
    assert held(as_source((Photos(), other)).validation) == EXPECTED


def test_large_arrays_are_read_where_they_are(monkeypatch, tmp_path):
    small = as_source(((X, Y), VALIDATION))
    np.save(tmp_path / "x.npy", X)
    monkeypatch.setattr(arrays_module, "LARGE", 100)
    monkeypatch.setattr(arrays_module, "CHECKED", 5)
    large = as_source(((np.load(tmp_path / "x.npy", mmap_mode="r"), Y), VALIDATION))
    assert large.train.content is None and large.train.bad is not None
    for (x, _), (x_expected, _) in zip(trained(large.train, 3), trained(small.train, 3), strict=True):
        np.testing.assert_array_equal(x, x_expected)


def test_the_identity_is_that_of_the_content():
    first = as_source(((X, Y), VALIDATION)).identity
    assert as_source(((X.copy(), Y.astype("int32")), VALIDATION)).identity == first
    others = [((X[::-1], Y), VALIDATION), ((X, Y[::-1]), VALIDATION), ((X, Y), (X[:5], Y[:5])),
              ((X.reshape(30, -1, 2, 3), Y), VALIDATION)]
    assert len({first, *(as_source(data).identity for data in others)}) == 5
    for form in ("dataset", "data source", "encoded generator"):
        a, b = (as_source((FORMS[form](x, Y), FORMS[form](X[:6], Y[:6]))).identity for x in (X, X + 1))
        assert a != b


def test_broken_examples_of_a_data_source_are_replaced():
    class Broken(Photos):
        def __getitem__(self, index):
            if index == 3:
                raise KeyError("lost")
            if index == 4:
                return b"GIF", 1
            if index == 5:
                return np.zeros((4, 4, 3), "uint8"), 1
            return content(20 + index), Y[index]

    source = as_source((Broken(), Broken()))
    values = sorted(int(v) for x, _ in trained(source.train, 3, batch_size=15) for v in x[:, -1, -1, 0].round())
    assert values.count(26) == 4 and len(values) == 30
    assert [r for _, r in sorted(source.train.bad.reasons.items())] == [
        "KeyError: 'lost'", "cannot identify image file", "some images are the content of files and others are pixels"]
    _, _, weights = evaluated(source.validation, 3)
    assert weights.tolist() == [1] * 3 + [0] * 3 + [1] * 24


@pytest.mark.parametrize("data, words", [
    (None, ["`data` must be", "Received: NoneType"]),
    ((X, Y, X), ["Received: tuple of 3"]),
    ((X, Y), ["`data[0]` must be (images, labels)", "Received: ndarray"]),
    (((X / 255, Y), VALIDATION), ["data[0]", "uint8 in 0-255", "float64", "(255 * x)"]),
    (((np.moveaxis(X, -1, 1), Y), VALIDATION), ["(n, height, width, 3)", "(30, 3, 16, 16)"]),
    (((X[0, 0], Y), VALIDATION), ["(n, height, width, 3)"]),
    (((X, Y[:5]), VALIDATION), ["30 images and 5 labels"]),
    (((X[:0], Y[:0]), VALIDATION), ["at least one", "0 images"]),
    (((X, Y - 1), VALIDATION), ["0 or more", "-1 at 0"]),
    (((X, Y / 2), VALIDATION), ["integers or names", "float64"]),
    (((X, np.eye(3)[Y]), VALIDATION), ["y.argmax(axis=-1)", "(30, 3)"]),
    ((([X[0], X[1][:3]], Y[:2]), VALIDATION), ["data[0][0] cannot be made an array"]),
    ((VALIDATION, (X, Y + 1)), ["labels up to 3", "0 to 2"]),
    ((dataset().batch(8), dataset()), ["data[0] is batched", "(None, 16, 16, 3)", "unbatch()", "assert_cardinality"]),
    ((dataset(), dataset().repeat()), ["data[1] has no end", "repeat()"]),
    ((dataset().filter(lambda x, y: y > 0), dataset()), ["unknown length", "assert_cardinality(n)"]),
    ((dataset().take(0), dataset()), ["no examples"]),
    ((dataset(X / 255), dataset()), ["images of float64", "uint8 (height, width, 3)"]),
    ((dataset(y=np.eye(3)[Y]), dataset()), ["Convert one-hot labels", "(30, 3)"]),
    ((dataset(y=Y - 1), dataset()), ["0 or more"]),
    ((tf.data.Dataset.range(3), dataset()), ["has the elements"]),
    ((dataset().apply(tf.data.experimental.assert_cardinality(31)), dataset()), ["data[0] cannot be read", "31"]),
    ((Photos(X[:0]), Photos()), ["no examples"]),
    ((Photos(X / 255), Photos()), ["example 0", "uint8", "float64"]),
    ((Photos(labels=Y / 2), Photos()), ["example 0", "integer"]),
    ((Photos(images=[1] * 30), Photos()), ["example 0"]),
    ((type("Nameless", (Photos,), {"class_names": ()})(), Photos()), ["class_names must be a list"]),
    ((type("Twice", (Photos,), {"class_names": ("a", "a")})(), Photos()), ["class_names must be different"]),
])
def test_errors_are_one_line(data, words):
    refused(data, *words)


def test_held_out_images_are_no_training_images(stream):
    source = hold_out(as_source(((X, Y), VALIDATION)), 0.3)
    train, validation = held(source.train), held(source.validation)
    assert not train.keys() & validation.keys() and train | validation == EXPECTED
    with pytest.raises(UserError, match="read by number"):
        hold_out(stream, 0.3)


# --- import paths -----------------------------------------------------------------------------------------------------

MODULE = """
import numpy as np

X = np.zeros((20, 4, 4, 3), "uint8")
Y = np.arange(20) % 2

def open_source(data):
    return (X, Y), (X[: data.max_bad_images], Y[: data.max_bad_images])

def fails(data):
    raise RuntimeError("no camera")

def nothing(data):
    pass

NUMBER = 3
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_own_data.py").write_text(MODULE)


def test_a_function_by_import_path_gets_the_section(module):
    source = open_source("my_own_data:open_source", max_bad_images=7)
    assert (source.train.num_examples, source.validation.num_examples) == (20, 7)
    assert source.name == "my_own_data:open_source" and source.class_names == ("0", "1")


@pytest.mark.parametrize("path, words", [
    ("my_own_data:fails", ["the function failed: RuntimeError: no camera"]),
    ("my_own_data:nothing", ["`my_own_data:nothing` must be ((x, y)", "Received: NoneType"]),
    ("my_own_data:NUMBER", ["not a function but int"]),
    ("my_own_data:open_sources", ['Did you mean "open_source"?']),
    ("no_such_data:open_source", ["no module no_such_data"]),
    ("python", ["given to kt.train"]),
])
def test_wrong_import_paths(module, path, words):
    with pytest.raises(UserError) as caught:
        open_source(path)
    assert all(word in str(caught.value) for word in words) and "\n" not in str(caught.value)


def test_a_file_of_another_format_is_converted():
    out = io.BytesIO()
    Image.fromarray(X[3]).save(out, "BMP")
    source = as_source((Photos([out.getvalue()] * 30), Photos([content(23)] * 30)))
    assert held(source.train) == {23: 2}
