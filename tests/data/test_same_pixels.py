"""The same seed, epoch and example give the same pixels: from files or shards, with 1 or 16 parallel calls, on one
replica or two, in one run or after a resume. Every random part of the pipeline is on."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from support.batches import assert_same

from keras_tricks import distribution
from keras_tricks.data import open_source, training_batches
from keras_tricks.data.sources.tfrecord import pack
from keras_tricks.recipe import Augment, Data
from keras_tricks.schedules import batch_size_plan

SIZE, BATCH, STEPS, CLASSES = 16, 8, 4, 3
EVERYTHING = Augment(crop_area=(0.2, 1.0), color_jitter="paper", pca_noise=0.1, rand_augment_layers=1,
                     mixup_alpha=0.2, cutmix_alpha=1.0, mixup_per="sample")
AUGMENTS = {"mixed last": EVERYTHING, "mixed first": EVERYTHING.model_copy(update={"mix_first": True})}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """37 images of different sizes, JPEG and PNG, of three classes."""
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for number in range(37):
        for split in ("train", "val"):
            path = root / split / f"class {number % CLASSES}" / f"{number}.{'png' if number % 5 == 0 else 'jpg'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 256, (20 + number % 7, 30 - number % 4, 3), dtype="uint8")
            Image.fromarray(pixels).save(path)
    return root


@pytest.fixture(scope="module")
def splits(folder):
    pack(open_source("image_folder", folder), folder / "shards")
    return {"files": open_source("image_folder", folder).train,
            "shards": open_source("tfrecord", folder / "shards").train}


def dataset(split, augment, workers=1, epochs=range(2), seed=7):
    data = Data(image_size=SIZE, workers=workers)
    plan = batch_size_plan(0.1, BATCH, 2, split.num_examples, mode="decay")
    return training_batches(split, data, augment, CLASSES, plan, seed, epochs)


def batches(*args, **options):
    return list(dataset(*args, **options).as_numpy_iterator())


@pytest.fixture(scope="module")
def reference(splits):
    """Two epochs of files, one call at a time."""
    return functools.cache(lambda name: batches(splits["files"], AUGMENTS[name]))


@pytest.mark.parametrize("augment", AUGMENTS)
@pytest.mark.parametrize("kind, workers", [("files", 16), ("shards", 1), ("shards", 16)])
def test_files_or_shards_with_one_call_or_many(splits, reference, kind, workers, augment):
    assert_same(reference(augment), batches(splits[kind], AUGMENTS[augment], workers))


@pytest.mark.parametrize("augment", AUGMENTS)
def test_before_and_after_a_resume(splits, reference, augment):
    assert len(reference(augment)) == 2 * STEPS
    resumed = batches(splits["shards"], AUGMENTS[augment], workers=16, epochs=range(1, 2))
    assert_same(reference(augment)[STEPS:], resumed)


@pytest.mark.parametrize("augment", AUGMENTS)
def test_two_replicas_share_the_batch_of_one(splits, reference, augment):
    distribution.apply_patches()
    strategy = distribution.mirrored([device.name for device in tf.config.list_logical_devices("CPU")[:2]])
    shared = strategy.experimental_distribute_dataset(dataset(splits["files"], AUGMENTS[augment], workers=16))
    halves = [tuple(strategy.experimental_local_results(part) for part in batch) for batch in shared]
    assert all(len(part) == 2 and len(half) == BATCH // 2 for batch in halves for part in batch for half in part)
    assert_same(reference(augment), [tuple(np.concatenate(part) for part in batch) for batch in halves])


def test_another_seed_or_epoch_gives_other_pixels(splits, reference):
    """Shows that the comparisons above cover random operations."""
    whole = reference("mixed last")
    other_seed = batches(splits["files"], AUGMENTS["mixed last"], seed=8, epochs=range(1))
    for others in (whole[STEPS:], other_seed):
        for (x, y), (other_x, other_y) in zip(whole[:STEPS], others, strict=True):
            assert (x != other_x).mean() > 0.5 and (y != other_y).any()
