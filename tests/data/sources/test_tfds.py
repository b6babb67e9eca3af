import os
import socket

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets

from keras_tricks.data import open_source, training_batches
from keras_tricks.data.pipeline import evaluation_batches
from keras_tricks.recipe import Augment, Data
from keras_tricks.schedules import batch_size_plan
from keras_tricks.utils.errors import UserError

TRAIN, TEST = 50, 12
DATA = Data(image_size=8, eval_crop="whole", mean=(0.0,) * 3, std=(1.0,) * 3)
PLAIN = Augment(crop="none", flip=False)


def image_of(number):
    """Each image has one colour, its number, which identifies the example."""
    return np.full((8, 8, 3), number, "uint8")


def prepare(folder, dataset, version, splits, classes=5, encoding="png", extra=False, label=None, label_of=None,
            file_format=None):
    """Writes a data set with TFDS: `splits` is {split: numbers of its images}; label = number % classes.

    `label` and `label_of`: another feature for the labels, and the function of the number that gives them.
    """

    class Dataset(tensorflow_datasets.core.GeneratorBasedBuilder, skip_registration=True):
        name = dataset
        url_infos = {}  # else TFDS looks for a file of checksums in the folder of this file
        VERSION = tensorflow_datasets.core.Version(version)

        def _info(self):
            features = {"image": tensorflow_datasets.features.Image(shape=(8, 8, 3), encoding_format=encoding)}
            if classes:
                names = [f"class {c}" for c in range(classes)]
                features["label"] = tensorflow_datasets.features.ClassLabel(names=names)
            if label is not None:
                features["label"] = label
            if extra:
                features["id"] = tensorflow_datasets.features.Text()
            return tensorflow_datasets.core.DatasetInfo(
                builder=self, features=tensorflow_datasets.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(numbers) for split, numbers in splits.items()}

        def _generate_examples(self, numbers):
            for n in numbers:
                own = n % max(classes, 1) if label_of is None else label_of(n)
                example = {"image": image_of(n), "label": own, "id": str(n)}
                yield n, {key: example[key] for key in self.info.features}

    Dataset(data_dir=folder, file_format=file_format).download_and_prepare()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A TFDS data folder with CIFAR-10's and ImageNet's names and features."""
    folder = tmp_path_factory.mktemp("tensorflow_datasets")
    train_and_test = {"train": range(TRAIN), "test": range(100, 100 + TEST)}
    prepare(folder, "cifar10", "3.0.2", train_and_test, extra=True)
    prepare(folder, "cifar10", "3.0.10", {"train": range(TRAIN - 1), "test": range(100, 100 + TEST)}, extra=True)
    with_validation = {"train": range(TRAIN), "validation": range(100, 100 + TEST), "test": range(3)}
    prepare(folder, "imagenet2012", "5.1.0", with_validation, encoding="jpeg")
    prepare(folder, "unlabelled", "1.0.0", {"train": range(3)}, classes=0)
    prepare(folder, "undivided", "1.0.0", {"train": range(20)})
    return folder


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was used")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def numbers(batches):
    """The number of every example of every batch, in order."""
    return np.concatenate([x[:, 0, 0, 0] for x, *_ in batches.as_numpy_iterator()]).round().astype(int)


def plan(split, batch_size, epochs=1):
    return batch_size_plan(0.1, batch_size, epochs, split.num_examples, mode="decay")


@pytest.mark.parametrize("name, examples", [("cifar10:3.0.2", TRAIN), ("imagenet2012", TRAIN)])
def test_prepared_data_is_found_without_network(folder, name, examples):
    source = open_source(f"tfds:{name}", folder)
    assert source.name == name.partition(":")[0]
    assert source.class_names == tuple(f"class {c}" for c in range(5))
    assert (source.train.num_examples, source.validation.num_examples) == (examples, TEST)
    found = []
    batches = training_batches(source.train, DATA, PLAIN, 5, plan(source.train, 10), seed=3)
    for images, labels in batches.as_numpy_iterator():
        assert images.shape == (10, 8, 8, 3) and labels.shape == (10, 5)
        n = images[:, 0, 0, 0].round().astype(int)
        np.testing.assert_array_equal(labels.argmax(axis=1), n % 5)
        found.extend(n)
    assert sorted(found) == list(range(TRAIN))


def test_the_newest_version_is_opened_unless_one_is_named(folder):
    assert open_source("tfds:cifar10", folder).train.num_examples == TRAIN - 1  # 3.0.10 is newer than 3.0.2
    assert open_source("tfds:cifar10:3.0.2", folder).train.num_examples == TRAIN


def test_the_data_folder_may_come_from_the_environment(folder, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
    assert open_source("tfds:imagenet2012").train.num_examples == TRAIN


@pytest.mark.parametrize("seed", [0, 3])
def test_order_is_a_function_of_seed_and_epoch_only(folder, seed):
    split = open_source("tfds:cifar10:3.0.2", folder).train

    def order(seed, epochs, start_epoch=0, workers=0):
        data = DATA.model_copy(update={"workers": workers})
        return numbers(training_batches(split, data, PLAIN, 5, plan(split, 10, epochs), seed,
                                        range(start_epoch, epochs)))

    tf.random.set_seed(seed)  # as training does
    three = order(seed, 3)
    epochs = three.reshape(3, TRAIN)
    assert all(sorted(e) == list(range(TRAIN)) for e in epochs)
    assert len({e.tobytes() for e in epochs}) == 3 and (epochs[0] != np.arange(TRAIN)).any()
    tf.random.set_seed(12345)  # neither TensorFlow's seed nor the number of workers has an effect
    np.testing.assert_array_equal(order(seed, 3, workers=1), three)
    np.testing.assert_array_equal(order(seed, 3, workers=4), three)
    np.testing.assert_array_equal(order(seed, 3, start_epoch=2), epochs[2])
    assert (order(seed + 1, 1) != epochs[0]).any()


def test_augmented_batches_do_not_depend_on_workers_and_resume(folder):
    split = open_source("tfds:imagenet2012", folder).train
    augment = Augment(color_jitter="paper", pca_noise=0.1, mixup_alpha=0.2, mixup_per="sample")

    def batches(workers, start_epoch=0):
        data = DATA.model_copy(update={"workers": workers})
        batches = training_batches(split, data, augment, 5, plan(split, 8, 2), 1, range(start_epoch, 2))
        return list(batches.as_numpy_iterator())

    one, four, resumed = batches(1), batches(4), batches(2, start_epoch=1)
    assert len(one) == 12
    for (x, y), (x4, y4) in zip(one, four, strict=True):
        np.testing.assert_array_equal(x, x4)
        np.testing.assert_array_equal(y, y4)
    for (x, y), (x2, y2) in zip(one[6:], resumed, strict=True):
        np.testing.assert_array_equal(x, x2)
        np.testing.assert_array_equal(y, y2)


def test_evaluation_reads_the_validation_split_once(folder):
    source = open_source("tfds:imagenet2012", folder)
    batches = list(evaluation_batches(source.validation, DATA, 5, 5).as_numpy_iterator())
    images, labels, weights = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    assert weights.tolist() == [1] * TEST + [0] * 3  # the last of three batches is padded
    found = images[:TEST, 0, 0, 0].round().astype(int)
    assert sorted(found) == list(range(100, 100 + TEST))
    np.testing.assert_array_equal(labels[:TEST].argmax(axis=1), found % 5)


def test_slices_make_two_splits_of_one(folder):
    source = open_source("tfds:undivided", folder, train_split="train[:75%]", validation_split="train[75%:]")
    assert (source.train.num_examples, source.validation.num_examples) == (15, 5)
    seen = numbers(training_batches(source.train, DATA, PLAIN, 5, plan(source.train, 5), 0))
    held_out = numbers(evaluation_batches(source.validation, DATA, 5, 5))
    assert sorted([*seen, *held_out]) == list(range(20))


def test_missing_data_gives_the_next_command(tmp_path, folder):
    with pytest.raises(UserError) as error:
        open_source("tfds:cifar10", tmp_path)
    assert f"tfds:cifar10 is not prepared in {tmp_path}" in str(error.value)
    assert f"tfds build cifar10 --data_dir {tmp_path}" in str(error.value)
    with pytest.raises(UserError, match="tfds:cifar10:9.9.9 is not prepared"):
        open_source("tfds:cifar10:9.9.9", folder)


def test_missing_imagenet_names_its_two_files(tmp_path):
    with pytest.raises(UserError) as error:
        open_source("tfds:imagenet2012", tmp_path)
    for text in ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", f"{tmp_path}{os.sep}downloads{os.sep}manual",
                 f"tfds build imagenet2012 --data_dir {tmp_path}"):
        assert text in str(error.value)


def test_data_that_does_not_classify_is_refused(folder):
    with pytest.raises(UserError, match="tfds:unlabelled has the features image; .*label"):
        open_source("tfds:unlabelled", folder)
    with pytest.raises(UserError, match="tfds:undivided has only the splits train: give --set data.validation_split"):
        open_source("tfds:undivided", folder)


def test_unknown_split_is_a_user_error(folder):
    with pytest.raises(UserError, match="no split 'trian'; it has train, .* Did you mean \"train\""):
        open_source("tfds:undivided", folder, train_split="trian", validation_split="train")


FEATURES = tensorflow_datasets.features
FEW = {"train": range(20), "test": range(100, 106)}


@pytest.mark.parametrize("name, label", [
    ("scalars", FEATURES.Scalar(np.int64)), ("tensors", FEATURES.Tensor(shape=(), dtype=np.int32)),
    ("unnamed", FEATURES.ClassLabel(num_classes=5)),
])
def test_integer_labels_without_names_are_numbered(tmp_path, name, label):
    prepare(tmp_path, name, "1.0.0", FEW, label=label)
    source = open_source(f"tfds:{name}", tmp_path)
    assert source.class_names == tuple("01234") and len(source.identity) == 64


@pytest.mark.parametrize("name, label, label_of, words", [
    ("texts", FEATURES.Text(), str, "one integer for each image is needed"),
    ("floats", FEATURES.Scalar(np.float32), float, "type float32 .*one integer for each image"),
    ("several", FEATURES.Sequence(FEATURES.ClassLabel(num_classes=3)), lambda n: [n % 3], "one integer for each image"),
    ("negative", FEATURES.Scalar(np.int64), lambda n: n % 5 - 1, "labels from -1 to 3 for 26 images"),
    ("large", FEATURES.Scalar(np.int64), lambda n: n * 10**9, "labels from 0 to 105000000000 for 26 images"),
])
def test_labels_that_are_no_classes_are_refused(tmp_path, name, label, label_of, words):
    prepare(tmp_path, name, "1.0.0", FEW, label=label, label_of=label_of)
    with pytest.raises(UserError, match=words):
        open_source(f"tfds:{name}", tmp_path)


# ---- read by index


@pytest.fixture(scope="module")
def random_access(tmp_path_factory):
    pytest.importorskip("array_record")
    folder = tmp_path_factory.mktemp("random_access")
    prepare(folder, "cifar10", "3.0.2", {"train": range(TRAIN), "test": range(100, 100 + TEST)},
            file_format="array_record")
    return folder


def test_array_records_are_read_by_index(random_access):
    source = open_source("tfds:cifar10", random_access, train_split="train[:80%]")
    assert source.train.scan is None and source.train.num_examples == 40
    image, label, intact = source.train.fetch(tf.constant(7, tf.int64))
    number = int(tf.io.decode_png(image)[0, 0, 0])
    assert int(label) == number % 5 and bool(intact)
    assert sorted(numbers(evaluation_batches(source.validation, DATA, 5, 5)))[-TEST:] == list(range(100, 100 + TEST))
    assert source.train.take(5).num_examples == 5, "a stream cannot be thinned out"


def test_processes_divide_array_records(random_access):
    split = open_source("tfds:cifar10", random_access).train
    whole = numbers(training_batches(split, DATA, PLAIN, 5, plan(split, 10), seed=3))
    parts = [numbers(training_batches(split, DATA, PLAIN, 5, plan(split, 10), seed=3, part=p, parts=2)) for p in (0, 1)]
    assert sorted(whole) == list(range(TRAIN)) and sorted([*parts[0], *parts[1]]) == sorted(whole)
    assert [len(part) for part in parts] == [TRAIN // 2] * 2
