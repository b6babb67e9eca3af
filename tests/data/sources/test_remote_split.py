import io
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from support.image_folders import mixed_folder

from keras_tricks import training
from keras_tricks.data import open_source
from keras_tricks.data.sources import remote_split, shard_index
from keras_tricks.data.sources.tfrecord import pack
from keras_tricks.recipe import Data
from keras_tricks.utils.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes of JPEGs; `train` also has a PNG (003), a BMP (004) and a truncated file (005)."""
    root = tmp_path_factory.mktemp("images")
    mixed_folder(root, images=12, growth=20)
    return root


@pytest.fixture(scope="module")
def packed(folder, tmp_path_factory):
    target = tmp_path_factory.mktemp("packed") / "shards"
    pack(open_source("image_folder", folder), target, shard_bytes=6000)
    return target


def fetched(split):
    examples = tf.data.Dataset.range(split.num_examples).map(split.fetch)
    return [(image, int(label), bool(intact)) for image, label, intact in examples.as_numpy_iterator()]


def opened(name, root):
    data = Data(source=name, data_dir=str(root))
    source = open_source(name, root)
    return data, source


def test_files_are_the_same_but_those_that_need_a_look(folder):
    data, source = opened("image_folder", folder)
    here, there = fetched(source.train), fetched(remote_split.remote_split(data, source))
    looked_at = [path.endswith((".png", ".bmp", "bee/005.jpg")) for path in source.train.paths]
    assert sum(looked_at) == 5 and [intact for *_, intact in there] == [not odd for odd in looked_at]
    for (image, label, _), (content, number, intact) in zip(here, there, strict=True):
        if intact:
            assert (content, number) == (image, label)
        assert Image.open(io.BytesIO(content)).convert("RGB").size[0] > 0  # decodes, whatever it is


def test_files_found_broken_before_are_not_intact(folder):
    data, source = opened("image_folder", folder)
    source.train.bad.add(source.train.paths[1], "found before")
    there = fetched(remote_split.remote_split(data, source))
    assert [intact for *_, intact in there][:3] == [True, False, True]


def test_files_that_are_not_jpeg_are_logged(folder, caplog):
    remote_split.remote_split(*opened("image_folder", folder))
    assert "4 of 24 training files are not JPEG files" in caplog.text and "keras-tricks data pack" in caplog.text


def test_shards_are_the_same(packed):
    data, source = opened("tfrecord", packed)
    here, there = fetched(source.train), fetched(remote_split.remote_split(data, source))
    assert here == there and len(here) == 23 and all(intact for *_, intact in there)


def test_arrays_are_the_same():
    source = open_source("digits")
    assert remote_split.remote_split(Data(), source) is source.train


@pytest.mark.parametrize("name", ["image_folder", "tfrecord"])
def test_fewer_images_are_the_same_ones(folder, packed, name):
    import dataclasses

    data, source = opened(name, folder if name == "image_folder" else packed)
    source = dataclasses.replace(source, train=source.train.take(7))
    there = fetched(remote_split.remote_split(data.model_copy(update={"train_images": 7}), source))
    here = fetched(source.train)
    assert len(there) == 7 and all(a == b for a, b in zip(here, there, strict=True) if b[2])


def operations(split):
    """Names of all operations of `fetch`, including those of its branches."""
    graph = tf.function(split.fetch).get_concrete_function(tf.TensorSpec((), tf.int64)).graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    return {node.op for node in nodes}


def test_a_large_index_is_read_from_its_file(packed, monkeypatch):
    constants = fetched(remote_split.remote_record_split(packed, "train"))
    monkeypatch.setattr(remote_split, "MAX_CONSTANT", 0)
    split = remote_split.remote_record_split(packed, "train")
    assert "FixedLengthRecordDatasetV2" in operations(split)
    assert fetched(split) == constants
    assert fetched(split.take(5)) == fetched(remote_split.remote_record_split(packed, "train").take(5))


# --- a long list of files ---------------------------------------------------------------------------------------------


def graph_bytes(split):
    """Size of the graph that a worker receives."""
    sent = tf.data.Dataset.range(split.num_examples).map(split.fetch)
    return len(tf.raw_ops.DatasetToGraphV2(input_dataset=tf.data.experimental.to_variant(sent)).numpy())


@pytest.mark.parametrize("name", ["image_folder", "csv", "csv of several labels"])
def test_a_long_list_of_files_is_read_from_a_file_beside_them(folder, tmp_path, name, monkeypatch):
    root = shutil.copytree(folder, tmp_path / "photos")
    options = {}
    if name != "image_folder":
        rows = [f"{path.relative_to(root)},{path.parent.name}{';wasp' * (name != 'csv')},train"
                for path in sorted(root.glob("train/*/*"))]
        (root / "list.csv").write_text("\n".join(["path,label,split", *rows, *[row[:-5] + "val" for row in rows[:2]]]))
        options = {"data_dir": str(root / "list.csv"), "source": "csv"}
        options |= {"multi_label": True} if name != "csv" else {}
    data = Data(**{"source": "image_folder", "data_dir": str(root), **options})
    source = training.open_data(data)
    constants = examples_of(remote_split.remote_split(data, source))
    monkeypatch.setattr(remote_split, "MAX_CONSTANT", 0)
    split = remote_split.remote_split(data, source)
    (written,) = root.glob(".files-*.keras_tricks")
    for one, other in zip(examples_of(split), constants, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)
    again, before = training.open_data(data), written.stat().st_mtime_ns
    assert again.identity == source.identity and again.train.left_out == source.train.left_out
    remote_split.remote_split(data, again)
    assert written.stat().st_mtime_ns == before  # written once


def examples_of(split):
    return list(tf.data.Dataset.range(split.num_examples).map(split.fetch).as_numpy_iterator())


def test_the_graph_refers_to_the_list(tmp_path):
    """30 kB, whatever the number of files; the names alone have 34 MB for a million."""
    sizes = []
    for count in (120_000, 240_000):
        paths = [f"/data/imagenet/train/n{i % 1000:08d}/n{i % 1000:08d}_{i}.JPEG" for i in range(count)]
        split = remote_split.remote_file_split(paths, np.arange(count) % 1000, folder=tmp_path)
        sizes.append(graph_bytes(split))
    assert len(list(tmp_path.glob(".files-*"))) == 2
    assert max(sizes) < 40_000 and abs(sizes[1] - sizes[0]) < 200


def test_without_permission_the_graph_holds_the_names(folder, monkeypatch, caplog):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(remote_split, "MAX_CONSTANT", 0)
    monkeypatch.setattr(remote_split, "write_file_list", refuse)
    data, source = opened("image_folder", folder)
    assert len(fetched(remote_split.remote_split(data, source))) == 24
    assert "cannot be written (Permission denied), so every worker receives the names" in caplog.text
    monkeypatch.setattr(remote_split, "MAX_GRAPH", 0)
    with pytest.raises(UserError, match="The names of 24 files have 0.0 GB, and TensorFlow sends at most 2 GB"):
        remote_split.remote_split(data, source)


@pytest.mark.parametrize("name", ["image_folder", "tfrecord"])
def test_no_python_function_is_left_in_the_graph(folder, packed, name):
    data, source = opened(name, folder if name == "image_folder" else packed)
    python = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
    assert operations(source.train) & python  # the test finds them
    assert not operations(remote_split.remote_split(data, source)) & python


@pytest.mark.parametrize("place", [40, -30])
def test_a_flipped_byte_is_seen_wherever_it_is(packed, tmp_path, place):
    """In the image or in the label after it."""
    root = shutil.copytree(packed, tmp_path / "copy")
    with np.load(root / "train.index.npz") as index:
        first, second = int(index["offset"][0]), int(index["start"][1])
    path = next(root.glob("train-00000*"))
    content = bytearray(path.read_bytes())
    end = second - shard_index.FOOTER
    content[first + place if place > 0 else end + place] ^= 1
    path.write_bytes(bytes(content))
    image, _, intact = fetched(remote_split.remote_record_split(root, "train"))[0]
    assert not intact and tf.io.decode_png(image).shape == (1, 1, 3)
    assert all(intact for *_, intact in fetched(remote_split.remote_record_split(root, "train"))[1:])


def test_shards_packed_by_0_1_0_have_no_record_starts_and_are_scanned(packed, tmp_path):
    with np.load(packed / "train.index.npz") as file:
        index = dict(file)
    stored = index.pop("start")
    description = json.loads((packed / "dataset.json").read_text())["splits"]["train"]
    shards = [packed / shard["file"] for shard in description["shards"]]
    assert len(shards) > 1
    np.testing.assert_array_equal(shard_index.record_starts(shards, index), stored)


def test_an_index_of_other_shards_is_refused(packed, tmp_path):
    root = shutil.copytree(packed, tmp_path / "copy")
    with np.load(root / "train.index.npz") as file:
        index = {**file, "length": file["length"] + 1}
    np.savez(root / "train.index.npz", **index)
    with pytest.raises(UserError, match="train.index.npz does not fit its shards: copy or pack the data again"):
        remote_split.remote_record_split(root, "train")


def test_a_stream_is_refused_with_what_to_do():
    with pytest.raises(UserError, match="tfds:cifar10 is a stream. Pack it: keras-tricks data pack tfds:cifar10"):
        remote_split.remote_split(Data(source="tfds:cifar10"), None)


@pytest.mark.parametrize("source", ["hf:user/photos", "webdataset"])
def test_functions_of_this_process_are_refused_with_what_to_do(source):
    with pytest.raises(UserError, match=f"{source} is read by functions of this process. Pack it: keras-tricks data "
                                        f"pack {source} --output FOLDER") as error:
        remote_split.remote_split(Data(source=source), None)
    assert "\n" not in str(error.value)
