"""Tar shards in the layout of the `webdataset` package."""

import gzip
import io
import json
import tarfile

import pytest
from support.image_folders import content, evaluated, trained

from keras_tricks.data import open_source
from keras_tricks.utils.errors import UserError


def write(path, *examples):
    """A shard. An example is (key, {extension: bytes or text})."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as shard:
        for key, members in examples:
            for extension, data in members.items():
                data = data if isinstance(data, bytes) else data.encode()
                member = tarfile.TarInfo(f"{key}.{extension}")
                member.size = len(data)
                shard.addfile(member, io.BytesIO(data))
    return path


def plain(start, count, label=lambda i: str(i % 2)):
    return [(f"{start + i:04}", {"png": content(start + i), "cls": label(i)}) for i in range(count)]


def held(split):
    values, labels, _ = evaluated(split, 2)
    return dict(zip(values.tolist(), labels.tolist(), strict=True))


def refused(folder, *words, **options):
    with pytest.raises(UserError) as caught:
        open_source("webdataset", folder, **options)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


@pytest.mark.parametrize("names", [
    ("train-000000.tar", "val-000000.tar"), ("train/0.tar", "validation/0.tar"),
    ("imagenet1k-train-0000.tar", "imagenet1k-validation-00.tar"), ("Train_1.tar", "Test_1.tar"),
])
def test_splits_by_the_names_of_shards(tmp_path, names):
    write(tmp_path / names[0], *plain(20, 5))
    write(tmp_path / names[1], *plain(40, 4))
    source = open_source("webdataset", tmp_path)
    assert held(source.train) == {20 + i: i % 2 for i in range(5)}
    assert held(source.validation) == {40 + i: i % 2 for i in range(4)}


def test_every_tenth_image_is_held_out(tmp_path):
    write(tmp_path / "0.tar", *plain(20, 12))
    write(tmp_path / "1.tar", *plain(32, 10))
    for place in (tmp_path, tmp_path / "{0..1}.tar", tmp_path / "*.tar"):
        source = open_source("webdataset", place)
        assert sorted(held(source.validation)) == [38, 39] and source.train.num_examples == 20


def test_the_layout_of_the_real_package(tmp_path):
    wds = pytest.importorskip("webdataset")
    for name in ("train", "val"):
        with wds.ShardWriter(str(tmp_path / f"{name}-%06d.tar"), maxcount=4, verbose=0) as sink:
            for i in range(10):
                sink.write({"__key__": f"a/{i:03}", "png": content(20 + i), "cls": i % 2, "json": {"id": i}})
    expected = [(sample["__key__"], int(sample["cls"])) for sample in wds.WebDataset(
        [str(p) for p in sorted(tmp_path.glob("train-*.tar"))], shardshuffle=False)]
    source = open_source("webdataset", tmp_path)
    assert [path.partition("/")[2] for path in source.train.paths] == [key for key, _ in expected]
    assert source.train.labels.tolist() == [label for _, label in expected]
    assert held(source.train) == {20 + i: i % 2 for i in range(10)}


def test_members(tmp_path):
    image, other = content(20), content(30)
    write(tmp_path / "train.tar", ("a/b.c/1", {"png": image, "json": json.dumps({"label": "dog", "kind": "x"})}),
          ("a/b.c/2", {"cam1.PNG": image, "cam2.png": other, "json": json.dumps({"label": "cat", "kind": "y"})}))
    write(tmp_path / "val.tar", ("3", {"png": image, "txt": "a caption", "cls": "dog\n", "kind": "y"}))
    source = open_source("webdataset", tmp_path)
    assert source.class_names == ("cat", "dog") and source.train.labels.tolist() == [1, 0]
    source = open_source("webdataset", tmp_path, label_column="kind")
    assert source.class_names == ("x", "y") and source.validation.labels.tolist() == [1]
    (tmp_path / "val.tar").unlink()
    write(tmp_path / "val.tar", ("4", {"cam2.png": other, "cls": "cat"}))
    assert held(open_source("webdataset", tmp_path, image_column="cam2.png").validation) == {30: 0}


def test_examples_without_image_or_label_are_left_out(tmp_path, caplog):
    write(tmp_path / "train.tar", *plain(20, 4), ("x", {"cls": "0"}), ("y", {"png": content(9)}))
    write(tmp_path / "val.tar", *plain(40, 4))
    with caplog.at_level("INFO"):
        source = open_source("webdataset", tmp_path)
    assert source.train.num_examples == 4
    assert "1 left out: an example without an image: train.tar/x" in caplog.text
    assert "1 left out: an example without a label: train.tar/y" in caplog.text


def test_broken_images_are_replaced(tmp_path):
    write(tmp_path / "train.tar", *plain(20, 6), ("x", {"png": content(9)[:40], "cls": "0"}))
    write(tmp_path / "val.tar", *plain(40, 4))
    source = open_source("webdataset", tmp_path)
    (images, _), = trained(source.train, 2, batch_size=7)
    assert len(images) == 7 and list(source.train.bad.reasons) == ["train.tar/x"]


def test_a_list_of_classes(tmp_path):
    write(tmp_path / "train.tar", *plain(20, 4))
    write(tmp_path / "val.tar", *plain(40, 4))
    (tmp_path / "classes.txt").write_text("dog\ncat\nbird\n")
    assert open_source("webdataset", tmp_path).class_names == ("dog", "cat", "bird")
    write(tmp_path / "train.tar", *plain(20, 4, lambda i: str(i)))
    refused(tmp_path, "'3' (train.tar/0023)", "0 to 2")


def test_what_is_wrong_is_one_line(tmp_path):
    refused(None, "--data-dir FOLDER")
    refused(tmp_path, "has no shard (*.tar)")
    refused(tmp_path / "none-{00..03}.tar", "none-00.tar does not exist")
    shard = write(tmp_path / "train.tar", *plain(20, 4))
    refused(tmp_path, "'dev'", "no shard", validation_split="dev")
    refused(tmp_path, "no class of 10 images")
    shard.write_bytes(shard.read_bytes()[:3000])
    refused(tmp_path, "train.tar cannot be read", "unexpected end of data")
    shard.write_bytes(b"no tar" * 1000)
    refused(tmp_path, "train.tar cannot be read")
    write(shard, ("a", {"txt": "caption"}))
    refused(tmp_path, "no example with an image and a label")
    write(shard, ("a", {"png": content(3), "json": "{"}))
    refused(tmp_path, "the label of train.tar/a cannot be read")
    write(shard, ("a", {"png": content(3), "json": '{"label": [1, 2]}'}))
    refused(tmp_path, "must be a name or a number", "[1, 2]")
    (tmp_path / "train.tar.gz").write_bytes(gzip.compress(shard.read_bytes()))
    shard.unlink()
    refused(tmp_path, "compressed shards, such as train.tar.gz")
