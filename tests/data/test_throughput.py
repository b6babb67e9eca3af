import dataclasses
import itertools

import pytest
import tensorflow as tf

from keras_tricks.data import open_source, throughput
from keras_tricks.data.throughput import COLOUR, CROP, MIXING, RAND_AUGMENT, READ, Speeds
from keras_tricks.recipe import Augment, Recipe
from keras_tricks.utils.memory import free_memory

EVERYTHING = Augment(color_jitter="paper", pca_noise=0.1, rand_augment_layers=2, mixup_alpha=0.2, cutmix_alpha=1.0)
SPEEDS = Speeds(1000.0, 500.0, {CROP: 400.0, COLOUR: 250.0, RAND_AUGMENT: 100.0, MIXING: 90.9}, 100_000.0)


def switched_on(section):
    """The stages that a section has."""
    colour = section.flip or section.color_jitter != "none" or section.pca_noise > 0
    return [colour, section.rand_augment_layers > 0, section.mixup_alpha + section.cutmix_alpha > 0]


def test_each_stage_has_one_more_than_the_one_before():
    found = throughput.stages(EVERYTHING)
    assert list(found) == [CROP, COLOUR, RAND_AUGMENT, MIXING]
    stages = [[False] * 3, [True, False, False], [True, True, False], [True] * 3]
    assert [switched_on(s) for s in found.values()] == stages
    assert found[MIXING] == EVERYTHING and all(s.crop == EVERYTHING.crop for s in found.values())


def test_what_is_mixed_first_comes_first():
    found = throughput.stages(EVERYTHING.model_copy(update={"mix_first": True}))
    assert list(found) == [CROP, COLOUR, MIXING, RAND_AUGMENT]
    assert [switched_on(s) for s in found.values()][2] == [True, False, True]


@pytest.mark.parametrize("augment, names", [
    (Augment(flip=False), [CROP]), (Augment(), [CROP, COLOUR]), (Augment(flip=False, pca_noise=0.1), [CROP, COLOUR]),
    (Augment(flip=False, cutmix_alpha=1.0), [CROP, MIXING]),
])
def test_stages_that_a_recipe_does_not_have_are_left_out(augment, names):
    found = throughput.stages(augment)
    assert list(found) == names and list(found.values())[-1] == augment


def test_the_first_batch_is_not_counted_and_the_median_pass_is(monkeypatch):
    """Passes of 1, 8 and 2 seconds for 5 batches of 10 images."""
    clock = iter([0.0, 1.0, 10.0, 18.0, 20.0, 22.0])
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: next(clock))
    batches = itertools.count()
    assert throughput.images_per_second(batches, 10, 5) == 25.0
    assert next(batches) == 1 + 3 * 5


def test_costs_are_what_each_stage_adds():
    found = {name: round(1000 * seconds, 2) for name, seconds in throughput.costs(SPEEDS).items()}
    assert found == {READ: 1.0, CROP: 1.5, COLOUR: 1.5, RAND_AUGMENT: 6.0, MIXING: 1.0}


def test_the_table_and_its_sentences():
    lines = throughput.describe(SPEEDS, 1_000_000, free_bytes=200 * 2**30).splitlines()
    assert [line.split()[-3:] for line in lines[1:4]] == [
        ["1,000", "200", "%"], ["500", "100", "%"], ["400", "80", "%"]]
    text = "\n".join(lines)
    assert "makes 91 images/s. The largest cost is RandAugment: 6.00 of 11.00 ms per image." in text
    assert "keras-tricks data serve" in text
    assert "93.13 GiB, and 200.0 GiB of memory are free: they fit" in text
    assert "every epoch reads the disk" in throughput.describe(SPEEDS, 1_000_000, free_bytes=2**30)


def test_arrays_have_no_files_to_decode():
    arrays = dataclasses.replace(SPEEDS, decode=None)
    text = throughput.describe(arrays, 1000, free_bytes=2**30)
    assert "%" not in text and "GiB" not in text and "decode whole" not in text
    assert list(throughput.costs(arrays)) == list(SPEEDS.stages) and throughput.costs(arrays)[CROP] == 1 / 400


@pytest.mark.parametrize("stream", [False, True])
def test_measuring_examples_by_number_and_as_a_stream(stream):
    source = open_source("digits")
    split = source.train.take(100)
    if stream:
        def scan(epoch, seed):
            return tf.data.Dataset.range(100).map(lambda i: (i, *source.train.fetch(i)))

        split = dataclasses.replace(split, fetch=None, scan=scan)
    recipe = Recipe(data={"image_size": 8}, augment=Augment(mixup_alpha=0.2), schedule={"batch_size": 30})
    found = throughput.measure(recipe, split, 10, batches=2)
    assert found.read > 0 and found.decode is None and list(found.stages) == [CROP, COLOUR, MIXING]
    assert found.image_bytes == 8 * 8 * 3


def test_free_memory_is_less_than_there_is():
    free = free_memory()
    assert free is None or 0 < free < 2**50
