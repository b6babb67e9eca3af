import io
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from support.image_folders import DATA, evaluated, make, trained, value

from keras_tricks.data import evaluation_batches, open_source
from keras_tricks.data.check import check
from keras_tricks.data.sources.bad_images import TooManyBadImages
from keras_tricks.data.sources.image_files import check_image
from keras_tricks.recipe import Augment
from keras_tricks.utils.errors import UserError


def photograph(kind, **options):
    coarse = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype="uint8")
    out = io.BytesIO()
    Image.fromarray(coarse).resize((40, 40), Image.Resampling.BICUBIC).save(out, kind, **options)
    return out.getvalue()


# ---- layout


@pytest.mark.parametrize("name", ["val", "validation", "test"])
def test_training_and_validation_folders(tmp_path, name):
    make(tmp_path / "train", ["zebra", "Ape", "cat"])
    make(tmp_path / name, ["zebra", "Ape", "cat"], count=2)
    source = open_source("image_folder", tmp_path)
    assert source.class_names == ("Ape", "cat", "zebra") and source.name == tmp_path.name
    assert (source.train.num_examples, source.validation.num_examples) == (12, 6)
    values, labels, weights = evaluated(source.validation, 3)
    # Created as zebra, Ape, cat (20, 40, 60), read in the order of the sorted names.
    np.testing.assert_array_equal(values, [40, 41, 60, 61, 20, 21])
    np.testing.assert_array_equal(labels, [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(weights, 1.0)


def test_val_wins_over_test_unless_another_is_named(tmp_path):
    make(tmp_path / "train", ["a"])
    make(tmp_path / "val", ["a"], count=2)
    make(tmp_path / "test", ["a"], count=3)
    assert open_source("image_folder", tmp_path).validation.num_examples == 2
    assert open_source("image_folder", tmp_path, validation_split="test").validation.num_examples == 3
    with pytest.raises(UserError, match="`data.validation_split` is 'tset'.* no such folder.* Did you mean \"test\""):
        open_source("image_folder", tmp_path, validation_split="tset")


def test_every_tenth_image_of_a_class_is_held_out(tmp_path):
    make(tmp_path, ["a", "b"], count=20)
    source = open_source("image_folder", tmp_path)
    held_out, labels, _ = evaluated(source.validation, 2)
    np.testing.assert_array_equal(held_out, [20 + 9, 20 + 19, 40 + 9, 40 + 19])
    np.testing.assert_array_equal(labels, [0, 0, 1, 1])
    assert source.train.num_examples == 36
    assert not {str(p) for p in source.train.paths} & {str(p) for p in source.validation.paths}


def test_hidden_files_and_other_files_are_not_images(tmp_path):
    make(tmp_path / "train", ["a"])
    make(tmp_path / "val", ["a"])
    (tmp_path / "train" / "a" / ".DS_Store.png").write_bytes(b"x")
    (tmp_path / "train" / "a" / "notes.txt").write_text("x")
    (tmp_path / "train" / ".cache").mkdir()
    assert open_source("image_folder", tmp_path).train.num_examples == 4


@pytest.mark.parametrize("suffix, kind", [(".jpg", "JPEG"), (".JPEG", "JPEG"), (".png", "PNG"), (".bmp", "BMP")])
def test_kinds_of_files(tmp_path, suffix, kind):
    make(tmp_path / "train", ["a", "b"], suffix=suffix, kind=kind)
    make(tmp_path / "val", ["a", "b"], suffix=suffix, kind=kind)
    source = open_source("image_folder", tmp_path, max_bad_images=0)
    values, labels, weights = evaluated(source.validation, 2)
    np.testing.assert_allclose(values, [20, 21, 22, 23, 40, 41, 42, 43], atol=1 if kind == "JPEG" else 0)
    np.testing.assert_array_equal(labels, [0, 0, 0, 0, 1, 1, 1, 1])
    assert (weights == 1).all() and not source.validation.bad.reasons


# ---- errors


def layouts(root):
    """Folders with an error, and the expected part of the message."""
    make(root / "empty class" / "train", ["a", "b"])
    shutil.copytree(root / "empty class" / "train", root / "empty class" / "val")
    for path in (root / "empty class" / "train" / "b").iterdir():
        path.unlink()
    shutil.copytree(root / "empty class", root / "no image")
    (root / "no image" / "train" / "b" / "notes.txt").write_text("x")
    (root / "empty").mkdir()
    make(root / "no val" / "train", ["a"])
    make(root / "different" / "train", ["a", "b"])
    make(root / "different" / "val", ["a", "c"])
    (root / "file").write_text("x")


@pytest.mark.parametrize(
    "name, words",
    [
        ("empty class", ["empty class/val has classes that", "empty class/train does not have: b."]),
        ("no image", ["no image/train/b has no image", "JPEG", "1 not read", ".txt", "remove the folder"]),
        ("empty", ["empty is empty", "one sub-folder per class"]),
        ("missing", ["missing does not exist", "--data-dir"]),
        ("file", ["file is a file: give --data-dir a folder"]),
        ("no val", ["train/ but none of val/, valid/, validation/, dev/, test/"]),
        ("different", ["different/val has classes that", "different/train does not have: c.", "has a, b."]),
    ],
)
def test_mistakes_are_user_errors(tmp_path, name, words):
    layouts(tmp_path)
    with pytest.raises(UserError) as error:
        open_source("image_folder", tmp_path / name)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_no_folder_at_all():
    with pytest.raises(UserError, match="image_folder needs a folder: give --data-dir"):
        open_source("image_folder")


def test_too_few_images_to_hold_any_out(tmp_path):
    make(tmp_path, ["a", "b"], count=3)
    with pytest.raises(UserError, match="no class of 10 images, so none can be held out.* Make train/ and val/"):
        open_source("image_folder", tmp_path)


@pytest.mark.parametrize("name", ["image_foldr", "digit", "tfds"])
def test_unknown_source_names_the_nearest(name):
    with pytest.raises(UserError, match=r"`data.source` must be one of .*Did you mean"):
        open_source(name)


# ---- broken images

BROKEN = {
    "text": b"not an image at all, but named like one",
    "empty": b"",
    "truncated.jpg": photograph("JPEG")[:-300],
    "truncated.png": photograph("PNG")[:-300],
    "header only": photograph("JPEG")[:20],
}


@pytest.fixture
def folder(tmp_path):
    make(tmp_path / "train", ["a", "b"], count=8)
    make(tmp_path / "val", ["a", "b"], count=4)
    return tmp_path


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_training_names_a_broken_image_and_takes_the_next(folder, broken):
    path = folder / "train" / "a" / "a_03.png"
    path.write_bytes(broken)
    split = open_source("image_folder", folder).train
    batches = trained(split, 2, epochs=2)
    assert len(batches) == 8 and all(len(x) == 4 for x, _ in batches)
    assert list(split.bad.reasons) == [str(path)] and split.bad.reasons[str(path)]
    for epoch in (batches[:4], batches[4:]):
        values = sorted(np.concatenate([value(x) for x, _ in epoch]))
        assert values == [20, 21, 22, 24, 24, 25, 26, 27, *range(40, 48)]  # 23 is broken, 24 replaces it
    for images, labels in batches:
        np.testing.assert_array_equal(labels.argmax(axis=1), (value(images) >= 40).astype(int))


def test_the_replacement_has_its_own_label(folder):
    (folder / "train" / "a" / "a_07.png").write_bytes(b"")  # the last of its class: the next is b_00
    split = open_source("image_folder", folder).train
    batches = trained(split, 2)
    values = np.concatenate([value(x) for x, _ in batches])
    labels = np.concatenate([y.argmax(axis=1) for _, y in batches])
    assert sorted(values) == [*range(20, 27), 40, 40, *range(41, 48)]
    np.testing.assert_array_equal(labels, (values >= 40).astype(int))


def test_batches_with_broken_images_do_not_depend_on_workers(folder):
    for name in ("a/a_03.png", "b/b_00.png", "b/b_07.png"):
        (folder / "train" / name).write_bytes(b"broken")
    augment = Augment(color_jitter="paper", mixup_alpha=0.2)
    one, four = (trained(open_source("image_folder", folder).train, 2, workers=n, augment=augment) for n in (1, 4))
    for (x, y), (x4, y4) in zip(one, four, strict=True):
        np.testing.assert_array_equal(x, x4)
        np.testing.assert_array_equal(y, y4)


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_evaluation_gives_a_broken_image_no_weight(folder, broken):
    path = folder / "val" / "a" / "a_01.png"
    path.write_bytes(broken)
    split = open_source("image_folder", folder).validation
    values, _, weights = evaluated(split, 2, batch_size=3)
    np.testing.assert_array_equal(weights, [1, 0, 1, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(values[weights == 1], [20, 22, 23, 40, 41, 42, 43])
    assert list(split.bad.reasons) == [str(path)]


def test_more_broken_images_than_allowed_stop_with_their_names(folder):
    names = ["a_01.png", "a_02.png", "a_05.png"]
    for name in names:
        (folder / "train" / "a" / name).write_bytes(b"broken")
    allowed = open_source("image_folder", folder, max_bad_images=3).train
    assert len(trained(allowed, 2)) == 4
    split = open_source("image_folder", folder, max_bad_images=2).train
    with pytest.raises(tf.errors.OpError):
        trained(split, 2)
    with pytest.raises(TooManyBadImages, match="3 images cannot be read, more than `data.max_bad_images`=2") as error:
        split.bad.check()
    assert all(name in str(error.value) for name in names)


def test_a_folder_of_broken_images_stops_even_when_that_many_are_allowed(folder):
    for path in (folder / "train").rglob("*.png"):
        path.write_bytes(b"broken")
    split = open_source("image_folder", folder, max_bad_images=100).train
    with pytest.raises(tf.errors.OpError):
        trained(split, 2)
    with pytest.raises(TooManyBadImages, match=r"None of the 16 images .*[ab]_0\d.png"):
        split.bad.check()


def test_a_jpeg_with_bytes_after_its_end_is_read(folder):
    jpeg = photograph("JPEG", quality=95, subsampling=0)  # cameras and editors append data
    paths = [folder / "val" / "a" / name for name in ("a_00.png", "a_01.png")]
    paths[0].write_bytes(jpeg)
    paths[1].write_bytes(jpeg + b"\0\0trailing bytes of an editor")
    split = open_source("image_folder", folder, max_bad_images=0).validation
    images, _, weights = next(evaluation_batches(split, DATA, 2, 2).as_numpy_iterator())
    assert (weights == 1).all() and not split.bad.reasons
    np.testing.assert_allclose(images[0], images[1], atol=16)  # TensorFlow's fast decoder, and PIL
    assert images[0].std() > 20


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF"])
def test_a_truncated_file_is_read_or_rejected_with_a_reason(tmp_path, kind):
    whole = photograph(kind)
    path = tmp_path / "image.jpg"
    for length in sorted({*range(0, 64), *range(64, len(whole), max(len(whole) // 60, 1)), len(whole)}):
        path.write_bytes(whole[:length])
        try:
            readable = check_image(path)
        except (OSError, ValueError, SyntaxError):
            assert length < len(whole)
        else:
            assert tf.io.decode_png(readable, channels=3).shape == (40, 40, 3)


# ---- data check


def test_check_counts_and_names_the_broken(folder):
    (folder / "val" / "b" / "b_02.png").write_bytes(b"")
    text = "\n".join(check("image_folder", folder))
    assert "2 classes (a, b)" in text
    assert "training           16 images" in text and "validation          8 images" in text
    assert text.count("broken              0") == 1 and text.count("broken              1") == 1
    assert f"{folder}/val/b/b_02.png: empty file" in text


def test_check_of_digits_needs_no_files():
    assert list(check("digits"))[1:] == ["training        1,198 images", "validation        599 images"]
