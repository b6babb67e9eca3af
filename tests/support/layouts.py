"""Folders of images as people have them: how each is made, and what should become of it.

Images of class 0 are grey 60, those of class 1 grey 160, so that the pixels show the label.
"""

import io
import os
import pathlib
import struct
import typing
import zipfile
import zlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_tricks.data import open_source
from keras_tricks.data.check import check
from keras_tricks.recipe import Augment, Data, Model, Recipe, Schedule
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.summary import read_summary

SIDE = 16
GREYS = (60, 160)
TWO = "2 classes, 8 + 4 images"


class Layout(typing.NamedTuple):
    """`make(root)` fills a folder and may return another one to open. `expected` is the `summary` of data that can be
    trained on, or `"refused: ..."` with words of the message. `opens` is the summary of data that only a training
    refuses."""

    name: str
    make: Callable[[pathlib.Path], pathlib.Path | None]
    expected: str = TWO
    opens: str = ""


# ---- files


def encoded(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def grey(label, size=(SIDE, SIDE)):
    return Image.new("RGB", size, (GREYS[label % 2],) * 3)


def png(label):
    return encoded(grey(label), "PNG")


def saved_as(kind, mode="RGB", **options):
    return lambda label: encoded(grey(label).convert(mode), kind, **options)


def deep_png(label):
    return encoded(Image.fromarray(np.full((SIDE, SIDE), GREYS[label] * 257, "uint16")), "PNG")


def palette(label):
    return encoded(grey(label).quantize(16), "PNG")


def animation(kind):
    def make(label):
        return encoded(grey(label), kind, save_all=True, append_images=[grey(1 - label)] * 2, duration=50)

    return make


def rotated(label):
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(grey(label, (SIDE, 2 * SIDE)), "JPEG", exif=exif, quality=95)


def huge(label):
    """A PNG of 15,000 x 15,000 pixels in 30 kB."""
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 15_000, 15_000, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(15_000 * 1_876), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


# ---- folders


def fill(folder, label, count, content=png, file="{}.png"):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (folder / file.format(i)).write_bytes(content(label))


def splits(root, train="train", val="val", classes=("cat", "dog"), content=png, file="{}.png", counts=(4, 2)):
    """`<train>/<class>/` with four images, `<val>/<class>/` with two. Returns `root`."""
    for split, count in zip((train, val), counts, strict=True):
        for label, own in enumerate(classes):
            fill(root / split / own, label, count, content, file)
    return root


def layout(name, expected=TWO, **options):
    return Layout(name, lambda root: splits(root, **options), expected)


def changed(name, change, expected=TWO, **options):
    """The usual layout, with a change: a function of its root."""
    def make(root):
        splits(root, **options)
        return change(root)

    return Layout(name, make, expected)


def add(path, content):
    """Adds a file to the usual layout."""
    def change(root):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)

    return change


def run_all(*changes):
    def change(root):
        for one in changes:
            one(root)

    return change


def link_images(root):
    os.symlink(root / "train/cat/0.png", root / "train/cat/again.png")
    os.link(root / "train/dog/0.png", root / "train/dog/again.png")


def link_class(root):
    os.rename(root / "train/dog", root.parent / "dogs")
    os.symlink(root.parent / "dogs", root / "train/dog")


def link_loop(root):
    os.symlink(root / "train/cat", root / "train/cat/loop")


def remove_class(path):
    def change(root):
        for file in (root / path).iterdir():
            file.unlink()
        (root / path).rmdir()

    return change


def read_only(root):
    for path in [root, *root.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)


def archive(root):
    path = root / "photos.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("train/cat/0.png", png(0))
    return path


def archive_inside(root):
    archive(root)


def nested(root):
    for split, count in (("train", 2), ("val", 1)):
        for label, name in enumerate(("cat", "dog")):
            for inner in ("2023", "2024/summer"):
                fill(root / split / name / inner, label, count)


def flat(count):
    def make(root):
        for label, name in enumerate(("cat", "dog")):
            fill(root / name, label, count)

    return make


def below(path):
    def make(root):
        splits(root / "photos")
        return root / path

    return make


def files_only(root):
    fill(root, 0, 5)


def three_sets(root):
    splits(root)
    splits(root, "train", "test")


# ---- the table

LAYOUTS = [
    layout("train/ and val/, PNG"),
    layout("train/ and valid/", val="valid"),
    layout("train/ and validation/", val="validation"),
    layout("train/ and dev/", val="dev"),
    layout("train/ and test/", val="test"),
    layout("Train/ and Val/", train="Train", val="Val"),
    layout("training/ and validation/", train="training", val="validation"),
    layout("TRAIN/ and TEST/", train="TRAIN", val="TEST"),
    Layout("train/, val/ and test/", three_sets),
    Layout("class folders alone, 20 images each", flat(20), "2 classes, 36 + 4 images"),
    Layout("class folders alone, 3 images each", flat(3), "refused: no class of 10 images"),
    Layout("nested sub-folders under a class", nested),
    Layout("images without class folders", files_only, "refused: has 5 images but no class folder"),
    Layout("an empty folder", lambda root: None, "refused: is empty"),
    Layout("a folder that does not exist", lambda root: root / "photos", "refused: does not exist"),
    Layout("the parent of the data folder", below("."), "refused: one class folder, photos/"),
    Layout("a training folder instead of its parent", below("photos/train"), "refused: --data-dir"),
    Layout("a class folder instead of its parent", below("photos/train/cat"), "refused: has 4 images but no class"),
    Layout("train/ without a validation folder", lambda root: fill(root / "train/cat", 0, 3),
           "refused: none of val/"),
    Layout("val/ without a training folder", lambda root: fill(root / "val/cat", 0, 3), "refused: no train/"),
    Layout("folders of splits with other names", lambda root: splits(root, "train_set", "test_set") and None,
           "refused: data.train_split=NAME"),
    Layout("a zip archive instead of a folder", archive, "refused: is an archive: unpack it"),
    Layout("a folder with a zip archive", archive_inside, "refused: 1 .zip"),
    layout("JPEG", content=saved_as("JPEG"), file="{}.jpg"),
    layout("suffix .JPG", content=saved_as("JPEG"), file="{}.JPG"),
    layout("suffix .jfif", content=saved_as("JPEG"), file="{}.jfif"),
    layout("no suffix", content=saved_as("JPEG"), file="{}"),
    layout("WebP", content=saved_as("WEBP", lossless=True), file="{}.webp"),
    layout("GIF", content=saved_as("GIF"), file="{}.gif"),
    layout("animated GIF: its first image", content=animation("GIF"), file="{}.gif"),
    layout("TIFF", content=saved_as("TIFF"), file="{}.tif"),
    layout("TIFF of several pages: the first", content=animation("TIFF"), file="{}.TIFF"),
    layout("BMP", content=saved_as("BMP"), file="{}.bmp"),
    layout("PPM", content=saved_as("PPM"), file="{}.ppm"),
    layout("JPEG 2000", content=saved_as("JPEG2000"), file="{}.jp2"),
    layout("CMYK JPEG", content=saved_as("JPEG", "CMYK", quality=95), file="{}.jpg"),
    layout("grey JPEG", content=saved_as("JPEG", "L"), file="{}.jpg"),
    layout("progressive JPEG", content=saved_as("JPEG", progressive=True), file="{}.jpg"),
    layout("JPEG with an EXIF orientation", content=rotated, file="{}.jpg"),
    layout("16-bit PNG", content=deep_png),
    layout("palette PNG", content=palette),
    layout("PNG with transparency", content=saved_as("PNG", "RGBA")),
    layout("black and white TIFF", "2 classes, 8 + 4 images, other pixels", content=saved_as("TIFF", "1"),
           file="{}.tif"),
    layout("PNG named .jpg", file="{}.jpg"),
    changed("__MACOSX, .git, .DS_Store, Thumbs.db", run_all(
        add("__MACOSX/train/._0.png", b"x"), add("train/__MACOSX/._0.png", b"x"), add("train/.git/0.png", b"x"),
        add("train/cat/.DS_Store", b"x"), add("train/cat/._0.png", b"x"), add("train/cat/Thumbs.db", b"x"))),
    changed("an empty folder beside the classes", lambda root: (root / "train/empty").mkdir()),
    changed("notes beside the images", run_all(add("train/cat/notes.txt", b"x"), add("README.md", b"x"))),
    changed("an image beside the class folders", add("train/0.png", png(0))),
    changed("an image beside train/ and val/", add("0.png", png(0))),
    changed("a folder with notes only among the classes", add("train/notes/a.txt", b"x"), "refused: has no image"),
    changed("a class that validation lacks", remove_class("val/dog"), "2 classes, 8 + 2 images"),
    changed("a class that training lacks", lambda root: fill(root / "val/fish", 0, 2),
            "refused: classes that"),
    changed("validation classes in another case", lambda root: os.rename(root / "val/dog", root / "val/Dog"),
            "refused: Did you mean"),
    changed("images listed twice through links", link_images),
    changed("a link to a class folder", link_class),
    changed("a link to its own folder", link_loop),
    changed("a link to nothing", lambda root: os.symlink(root / "gone.png", root / "train/cat/link.png"),
            "2 classes, 9 + 4 images, 1 broken"),
    Layout("one class", lambda root: splits(root, classes=("cat",)), "refused: has one class",
           "1 classes, 4 + 2 images"),
    layout("one image a class", "2 classes, 2 + 2 images", counts=(1, 1)),
    layout("names in other scripts", classes=("кошка", "犬"), file="фото {}.png"),
    layout("spaces and signs in names", classes=("a cat", "b & 'dog' [1]"), file="photo {} (1).png"),
    layout("class folders named by numbers", classes=("1", "10")),
    layout("class folders with a suffix", classes=("cat.v1", "dog.v1")),
    layout("class folders with an image's suffix", classes=("cat.png", "dog.jpg")),
    changed("a file of zero bytes", add("train/cat/x.png", b""), "2 classes, 9 + 4 images, 1 broken"),
    changed("a truncated JPEG", add("train/cat/x.jpg", saved_as("JPEG")(0)[:-60]),
            "2 classes, 9 + 4 images, 1 broken"),
    changed("a page of HTML named .jpg", add("train/cat/x.jpg", b"<html>gone</html>"),
            "2 classes, 9 + 4 images, 1 broken"),
    changed("an image of 225 million pixels", add("train/cat/x.png", huge(0)), "2 classes, 9 + 4 images, 1 broken"),
    layout("only broken images", "refused: can be read", content=lambda label: b"broken"),
    changed("a read-only folder", read_only),
]


def summary(data_dir):
    """`"2 classes, 8 + 4 images, 1 broken"` of a folder that opens, `"refused: ..."` of another one."""
    try:
        source = open_source("image_folder", data_dir)
        lines = list(check("image_folder", data_dir))
        wrong = sum(_wrong(split) for split in (source.train, source.validation))
    except UserError as error:
        return f"refused: {error}"
    broken = sum(int(line.split()[1].replace(",", "")) for line in lines if line.startswith("broken "))
    text = f"{source.num_classes} classes, {source.train.num_examples} + {source.validation.num_examples} images"
    return text + (f", {broken} broken" if broken else "") + (", other pixels" if wrong else "")


def _wrong(split):
    """The number of images whose grey is not that of their label."""
    wrong = 0
    for i in range(split.num_examples):
        image, label, intact = split.fetch(tf.constant(i, "int64"))
        value = int(tf.io.decode_image(image, channels=3, expand_animations=False)[-1, -1, 0])
        wrong += bool(intact) and abs(value - GREYS[int(label) % 2]) > 3
    return wrong


def matches(actual, expected):
    return expected.removeprefix("refused: ") in actual if expected.startswith("refused") else actual == expected


RECIPE = Recipe(
    name="layouts", data=Data(source="image_folder", image_size=SIDE, eval_crop="whole", workers=1),
    augment=Augment(crop="none", flip=False), model=Model(name="support.own_parts:build", options={"width": 4}),
    schedule=Schedule(batch_size=2, epochs=1), export={"formats": ()})


def train(data_dir, folder, run):
    """Trains for one epoch with the command line. `summary` of the data, or `"refused: ..."` with the line on stderr.

    Args:
        data_dir: folder of the images.
        folder: run folder.
        run: function of the words of a command that returns (exit code, stderr).
    """
    recipe = folder.parent / "layouts.json"
    recipe.write_text(RECIPE.to_json())
    code, error = run(["train", str(recipe), "--data-dir", str(data_dir), "--output", str(folder)])
    if code:
        return f"refused: {error}"
    rows = read_summary(folder)
    return summary(data_dir) if len(rows) == 1 and rows[0]["top1"] else f"{len(rows)} epochs"
