"""Planted copies, look-alikes and leaks are found, and nothing else."""

import io
import itertools
import json
import pathlib

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from keras_tricks.data import open_source
from keras_tricks.data.check import check
from keras_tricks.data.duplicates import find_duplicates, near_pairs, perceptual_hash
from keras_tricks.data.sources.as_source import as_source

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


def picture(seed, side=48):
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype="uint8")
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def encoded(image, kind="PNG", **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """(folder, {names of a planted group}): 100 training and 40 validation images, of which some are repeated."""
    root = tmp_path_factory.mktemp("planted")
    for split, first, count in (("train", 0, 100), ("val", 100, 40)):
        for i in range(first, first + count):
            folder = root / split / ("a", "b")[i % 2]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{i:03}.png").write_bytes(encoded(picture(i)))
    kinds = {  # name of a new file: its content
        "train/a/copy.png": (0, encoded(picture(0))),
        "train/b/other_label.png": (2, encoded(picture(2))),
        "train/a/again.jpg": (4, encoded(picture(4), "JPEG", quality=60)),
        "train/a/small.png": (6, encoded(picture(6).resize((36, 36), Image.Resampling.BICUBIC))),
        "train/a/bright.png": (8, encoded(ImageEnhance.Brightness(picture(8)).enhance(1.04))),
        "val/a/leak.png": (10, encoded(picture(10))),
        "val/b/leak.jpg": (12, encoded(picture(12), "JPEG", quality=70)),
        "train/a/broken.png": (None, b"broken"),
    }
    groups = set()
    for name, (original, content) in kinds.items():
        (root / name).write_bytes(content)
        if original is not None:
            groups.add(frozenset({f"train/a/{original:03}.png", name}))
    return root, groups


def test_planted_groups_are_found_and_no_others(planted):
    root, groups = planted
    source = open_source("image_folder", root)
    found = find_duplicates(source)
    names = {frozenset(pathlib.Path(e.name).relative_to(root).as_posix() for e in group.examples): group
             for group in found}
    assert names.keys() == groups
    new = {kind: {max(group, key=groups_order).rpartition("/")[2] for group, d in names.items() if getattr(d, kind)}
           for kind in ("copies", "is_leak", "labels_differ")}
    assert new == {"copies": {"copy.png", "other_label.png", "leak.png"}, "is_leak": {"leak.png", "leak.jpg"},
                   "labels_differ": {"other_label.png", "leak.jpg"}}


def groups_order(name):
    """The planted file of a group comes last."""
    return not name.rpartition("/")[2][:1].isdigit()


def test_check_names_them(planted):
    root, _ = planted
    lines = list(check("image_folder", root, duplicates=True))
    assert [line for line in lines if line.startswith(("copies", "alike", "leaks", "labels"))] == [
        "copies              3 images have the same pixels as an earlier one",
        "alike               4 images look like an earlier one: compressed again, resized, brighter",
        "leaks               2 pictures are in training and in validation",
        "labels              2 pictures are there with different labels"]
    start = lines.index("labels              2 pictures are there with different labels") + 1
    assert lines[start] == (f"  alike, leak, labels differ: {root}/train/a/012.png (training, a) = "
                            f"{root}/val/b/leak.jpg (validation, b)")
    assert len(lines[start:]) == 7 and not any("broken" in line for line in lines[start:])


def test_arrays_have_numbers_instead_of_names():
    x = np.stack([np.asarray(picture(i)) for i in (0, 1, 2, 1)])
    source = as_source(((x, np.array([0, 1, 0, 0])), (x[:2], np.array([0, 1]))))
    found = find_duplicates(source)
    assert [[e.name for e in group.examples] for group in found] == [
        ["training[0]", "validation[0]"], ["training[1]", "training[3]", "validation[1]"]]
    assert [group.labels_differ for group in found] == [False, True]


def test_near_pairs_are_those_of_every_comparison():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 60, "uint64")
    near = hashes[:30] ^ sum((np.uint64(1) << rng.integers(0, 64, 30, "uint64")) for _ in range(6)).astype("uint64")
    hashes = np.concatenate([hashes, near, hashes[:3]])
    expected = {(i, j) for i, j in itertools.combinations(range(len(hashes)), 2)
                if int(hashes[i] ^ hashes[j]).bit_count() <= 7}
    found = {(int(i), int(j)) for left, right in near_pairs(hashes) for i, j in zip(left, right, strict=True)}
    assert found == expected and len(found) > 20


def golden_picture(seed):
    """As in tests/golden/make_imagehash.py."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype="uint8")
    return Image.fromarray(coarse).resize((60 + seed, 48), Image.Resampling.BICUBIC)


def test_the_hash_is_that_of_imagehash():
    expected = json.loads((GOLDEN / "imagehash.json").read_text())
    assert {seed: f"{perceptual_hash(golden_picture(int(seed))):016x}" for seed in expected} == expected
