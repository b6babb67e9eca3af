"""Images with several labels: every source, training, evaluation, prediction, export, and what is refused."""

import csv
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_digits
from support.tiny_runs import kill_in_the_second_epoch, leave_tensorflow_as_it_was, state, summary, tiny  # noqa: F401

import keras_tricks as kt
from keras_tricks import cli, evaluation, training
from keras_tricks.run.given_data import given_data
from keras_tricks.utils.errors import UserError

NAMES = ("even", "large", "prime")
TRAIN, VALIDATION = range(120), range(120, 170)


def labels_of(digits):
    """The properties of digits: uint8 `(n, 3)`. 1 has none of them."""
    digits = np.asarray(digits)[:, None]
    return np.concatenate([digits % 2 == 0, digits > 4, np.isin(digits, (2, 3, 5, 7))], axis=1).astype("uint8")


def images_and_labels(numbers):
    raw = load_digits()
    chosen = list(numbers)
    return np.repeat((raw.images[chosen] * 15).astype("uint8")[..., None], 3, axis=-1), labels_of(raw.target[chosen])


def texts(labels, separator=";"):
    """`even;large` for each row; the separator alone for none."""
    return [separator.join(name for name, own in zip(NAMES, row, strict=True) if own) or separator for row in labels]


def arrays():
    return images_and_labels(TRAIN), images_and_labels(VALIDATION)


def write_csv(folder, separator=";", train=TRAIN, validation=VALIDATION):
    (folder / "images").mkdir(exist_ok=True)
    rows = [("path", "label", "split")]
    for split, numbers in (("train", train), ("validation", validation)):
        x, y = images_and_labels(numbers)
        for number, image, text in zip(numbers, x, texts(y, separator), strict=True):
            Image.fromarray(image).save(folder / "images" / f"{number}.png")
            rows.append((f"images/{number}.png", text, split))
    with open(folder / "photos.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "photos.csv"


def recipe(**changes):
    found = tiny(data={"multi_label": True}, loss={"name": "binary_crossentropy", "label_smoothing": 0.0},
                 schedule={"batch_size": 20, "epochs": 2}, export={"formats": ()}, train={"checkpoint_steps": 1})
    return found.replace(**changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("multi")
    write_csv(folder)
    return folder


@pytest.fixture(scope="module")
def of_csv(folder):
    return recipe(data={"source": "csv", "data_dir": str(folder / "photos.csv")})


@pytest.fixture(scope="module")
def trained(of_csv, tmp_path_factory):
    """A run with an average and an export."""
    changes = {"optimizer": {"ema_decay": 0.9}, "export": {"formats": ("keras",)}}
    return kt.train(of_csv.replace(**changes), tmp_path_factory.mktemp("runs") / "run", verbose=0)


def batches(source, recipe):
    from keras_tricks.data import training_batches
    from keras_tricks.schedules import batch_size_plan

    plan = batch_size_plan(0.1, 20, 1, source.train.num_examples, mode="decay")
    return list(training_batches(source.train, recipe.data, recipe.augment, 3, plan, 3).as_numpy_iterator())


# --- sources ----------------------------------------------------------------------------------------------------------


def hf(folder, column):
    hub = pytest.importorskip("datasets")
    kind = {"lists": hub.Sequence(hub.ClassLabel(names=list(NAMES))), "texts": hub.Value("string")}[column]

    def make(numbers):
        x, y = images_and_labels(numbers)
        files = [{"bytes": tf.io.encode_png(image).numpy(), "path": None} for image in x]
        labels = [np.flatnonzero(row).tolist() for row in y] if column == "lists" else texts(y)
        return hub.Dataset.from_dict({"image": files, "label": labels},
                                     features=hub.Features({"image": hub.Image(), "label": kind}))

    hub.DatasetDict({"train": make(TRAIN), "test": make(VALIDATION)}).save_to_disk(folder / f"hf_{column}")
    return None, {"source": f"hf:{folder / f'hf_{column}'}"}


def webdataset(folder, form):
    import io
    import tarfile

    shards = folder / f"shards_{form}"
    shards.mkdir()
    for split, numbers in (("train", TRAIN), ("val", VALIDATION)):
        with tarfile.open(shards / f"{split}-000000.tar", "w") as shard:
            x, y = images_and_labels(numbers)
            for number, image, row, text in zip(numbers, x, y, texts(y), strict=True):
                own = [name for name, has in zip(NAMES, row, strict=True) if has]
                label = text if form == "cls" else json.dumps({"label": own})
                for name, content in (("png", tf.io.encode_png(image).numpy()), (form, label.encode())):
                    member = tarfile.TarInfo(f"{number:05d}.{name}")
                    member.size = len(content)
                    shard.addfile(member, io.BytesIO(content))
    return None, {"source": "webdataset", "data_dir": str(shards)}


class Photos:
    class_names = NAMES

    def __init__(self, numbers):
        self.images, self.labels = images_and_labels(numbers)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], self.labels[index].astype("float32")


def of_tf_data(dtype):
    return tuple(tf.data.Dataset.from_tensor_slices((x, y.astype(dtype))) for x, y in arrays()), {}


SOURCES = {
    "csv": lambda f: (None, {"source": "csv", "data_dir": str(f / "photos.csv")}),
    "hf of lists": lambda f: hf(f, "lists"),
    "hf of texts": lambda f: hf(f, "texts"),
    "webdataset cls": lambda f: webdataset(f, "cls"),
    "webdataset json": lambda f: webdataset(f, "json"),
    "tf.data": lambda f: of_tf_data("float32"),
    "tf.data bool": lambda f: of_tf_data("bool"),
    "own": lambda f: ((Photos(TRAIN), Photos(VALIDATION)), {}),
}


@pytest.fixture(scope="module")
def reference():
    own = recipe()
    return batches(given_data(arrays()).source, own)


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_gives_the_batches_of_arrays(folder, reference, name):
    data, section = SOURCES[name](folder)
    given = given_data(data)
    own = recipe(data=section if given is None else given.section)
    source = training.open_data(own.data, given and given.source)
    assert source.multi_label and source.num_classes == 3
    assert data is not None and not isinstance(data[0], Photos) or source.class_names == NAMES
    for (x, y), (images, labels) in zip(batches(source, own), reference, strict=True):
        np.testing.assert_array_equal(x, images)
        np.testing.assert_array_equal(y, labels)
    np.testing.assert_array_equal(
        np.concatenate([y for _, y, w in training.validation_batches(_ready(own, source)).as_numpy_iterator()])[:50],
        images_and_labels(VALIDATION)[1])


def _ready(recipe, source):
    import types

    from keras_tricks.distribution import make_devices

    return types.SimpleNamespace(recipe=recipe, source=source, plan=None, devices=make_devices("one", None, "x"))


def test_without_a_split_every_tenth_of_the_rarest_label_is_held_out(folder):
    lines = (folder / "photos.csv").read_text().splitlines()
    (folder / "whole.csv").write_text("\n".join(line.rsplit(",", 1)[0] for line in lines) + "\n")
    source = training.open_data(recipe(data={"source": "csv", "data_dir": str(folder / "whole.csv")}).data)
    assert 12 <= source.validation.num_examples <= 17
    assert source.validation.labels.any(axis=0).all() and source.train.labels.any(axis=0).all()


def test_another_separator(tmp_path):
    own = recipe(data={"source": "csv", "data_dir": str(write_csv(tmp_path, " | ")), "label_separator": "|"})
    np.testing.assert_array_equal(training.open_data(own.data).train.labels, images_and_labels(TRAIN)[1])


# --- a run ------------------------------------------------------------------------------------------------------------


def test_summary_and_history(trained):
    rows = summary(trained.folder)
    assert float(rows[-1]["val_map"]) == pytest.approx(100 * trained.history["val_map"][-1], rel=1e-4)
    assert float(rows[-1]["val_f1"]) == pytest.approx(100 * trained.history["val_f1"][-1], rel=1e-4)
    assert float(rows[-1]["val_ema_map"]) > 0 and rows[-1]["top5"] == "" and float(rows[-1]["top1"]) > 0


def test_the_loss_is_a_mean_over_images_and_classes(trained, of_csv):
    values = kt.evaluate(of_csv, trained.folder)
    x, y = images_and_labels(VALIDATION)
    logits = keras.ops.convert_to_numpy(trained.network((x.astype("float32") - 78) / 96, training=False))
    expected = float(np.mean(np.maximum(logits, 0) - logits * y + np.log1p(np.exp(-np.abs(logits)))))
    assert values["loss"] == pytest.approx(expected, rel=1e-4)
    assert set(values) == {"loss", "top1", "map", "f1"}
    assert values["top1"] == pytest.approx(np.mean(y[np.arange(50), logits.argmax(1)]))


def test_evaluate_prints_map_and_f1(trained, capsys):
    args = cli.parse(["keras-tricks", "evaluate", str(trained.folder)])
    args.run(args)
    out = capsys.readouterr().out
    assert "images      50\n" in out and "\nmap  " in out and "\nf1  " in out and "top5" not in out
    args = cli.parse(["keras-tricks", "evaluate", str(trained.folder), "--format", "json"])
    args.run(args)
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 50 and [c["images"] for c in found["classes"]] == images_and_labels(VALIDATION)[1].sum(
        axis=0).tolist()
    assert all(0 <= c["recall"] <= 1 for c in found["classes"]) and 0 <= found["map"] <= 1


def test_permuted_classes_are_evaluated_by_name(trained, folder, capsys):
    """`classes.txt` of the other data names the classes in another order."""
    other = folder / "other"
    other.mkdir()
    write_csv(other)
    (other / "classes.txt").write_text("prime\neven\nlarge\n")
    printed = []
    for path in (folder / "photos.csv", other / "photos.csv"):
        args = cli.parse(["keras-tricks", "evaluate", str(trained.folder), "--data-dir", str(path)])
        args.run(args)
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]


def test_predict_and_exports_give_sigmoids(trained, folder):
    files = [folder / "images" / f"{number}.png" for number in (120, 121, 122, 123)]
    answers = [found for _, found in evaluation.predict(trained.folder, files)]
    pixels = images_and_labels(range(120, 124))[0].astype("float32")
    logits = keras.ops.convert_to_numpy(trained.network((pixels - 78) / 96, training=False))
    expected = 1 / (1 + np.exp(-logits))
    for found, row in zip(answers, expected, strict=True):
        assert {label for label, _ in found} == {name for name, p in zip(NAMES, row, strict=True) if p > 0.5}
        assert [p for _, p in found] == sorted((p for _, p in found), reverse=True)
    np.testing.assert_allclose(trained.model.predict(pixels, verbose=0), expected, rtol=1e-4, atol=1e-6)
    loaded = keras.saving.load_model(trained.folder / "export" / "model.keras")
    np.testing.assert_allclose(loaded.predict(pixels, verbose=0), expected, rtol=1e-4, atol=1e-6)


def test_the_report_says_what_does_not_apply(trained, tmp_path):
    from keras_tricks.report import write_report

    found = write_report(trained.folder, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "need one label an image" in text and "mAP" in text and found.answers is None


def test_the_best_epoch_is_that_of_the_best_map(trained):
    from keras_tricks.utils.summary import best_row, score_of

    rows = summary(trained.folder)
    assert score_of(best_row(rows)) == ("mAP", max((r["val_ema_map"] for r in rows), key=float))
    _, metadata = state(trained.folder)
    assert metadata["monitor"] == "val_ema_map"


@pytest.mark.slow
def test_killed_in_mid_epoch_and_resumed_is_uninterrupted(trained, of_csv, tmp_path, monkeypatch):
    own = of_csv.replace(optimizer={"ema_decay": 0.9})
    kill_in_the_second_epoch(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        kt.train(own, tmp_path / "run", verbose=0)
    monkeypatch.undo()
    kt.train(resume=tmp_path / "run", verbose=0)
    (tensors, _), (expected, _) = state(tmp_path / "run"), state(trained.folder)
    assert tensors.keys() == expected.keys()
    for key in tensors:
        np.testing.assert_array_equal(tensors[key], expected[key], err_msg=key)
    columns = ("train_loss", "val_map", "val_f1", "val_ema_map")
    assert [[r[c] for c in columns] for r in summary(tmp_path / "run")] == [
        [r[c] for c in columns] for r in summary(trained.folder)]


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_replicas_equal_one_device(of_csv, tmp_path, monkeypatch, count):
    from keras_tricks import distribution
    from keras_tricks.distribution.devices import TensorFlowDevices

    own = of_csv.replace(schedule={"epochs": 1, "base_learning_rate": 0.01}, train={"strategy": "one"},
                         model={"options": {"stem": "cifar", "sync_bn": True}})
    one = kt.train(own, tmp_path / "one", verbose=0)
    names = [device.name for device in tf.config.list_logical_devices("CPU")][:count]
    monkeypatch.setattr(distribution, "make_devices", lambda *_: TensorFlowDevices(distribution.mirrored(names)))
    several = kt.train(own, tmp_path / "several", verbose=0)
    for name in ("loss", "val_loss", "val_map", "val_f1", "val_top1"):
        assert one.history[name][-1] == pytest.approx(several.history[name][-1], rel=1e-4), name
    weights, others = (np.concatenate([np.ravel(w) for w in run.network.get_weights()]) for run in (one, several))
    assert np.abs(weights - others).max() <= 1e-4 * np.abs(weights).max()


# --- data check and data pack -----------------------------------------------------------------------------------------


def data(*words):
    args = cli.parse(["keras-tricks", "data", *map(str, words)])
    args.run(args)


def words_of(section):
    words = [section["source"], "--set", "data.multi_label=true"]
    return [*words, "--data-dir", section["data_dir"]] if "data_dir" in section else words


def two_tables(folder):
    """A folder with `train.csv` and `validation.csv`."""
    header, *rows = (write_csv(folder)).read_text().splitlines()
    for split in ("train", "validation"):
        own = [row.rsplit(",", 1)[0] for row in rows if row.endswith(split)]
        (folder / f"{split}.csv").write_text("\n".join(["path,label", *own]) + "\n")
    return None, {"source": "csv", "data_dir": str(folder)}


def open_photos(data):
    return Photos(TRAIN), Photos(VALIDATION)


PACKED = {**{name: SOURCES[name] for name in ("csv", "hf of lists", "webdataset cls", "webdataset json")},
          "two tables": two_tables, "import path": lambda f: (None, {"source": f"{__name__}:open_photos"})}


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name == "csv" else pytest.mark.slow)
                                  for name in PACKED])
def test_check_and_pack_keep_the_labels(name, tmp_path, reference, capsys):
    """The shards give the batches of the source, which are those of arrays."""
    write_csv(tmp_path)
    _, section = PACKED[name](tmp_path)
    data("check", *words_of(section))
    lines = capsys.readouterr().out.splitlines()
    expected = [images_and_labels(numbers)[1] for numbers in (TRAIN, VALIDATION)]
    for split, labels in zip(("training", "validation"), expected, strict=True):
        own = labels.sum(axis=1)
        assert (f"labels      {own.mean():>9.2f} an image in {split}, from {own.min()} to {own.max()}; "
                f"{(own == 0).sum()} images have none") in lines
    for k, label in enumerate(NAMES):
        a, b = (labels[:, k] for labels in expected)
        assert (f"  {label}: {a.sum()} training images ({100 * a.mean():.1f} %), {b.sum()} validation images "
                f"({100 * b.mean():.1f} %)") in lines
    data("pack", *words_of(section), "--output", tmp_path / "packed", "--shard-mib", 1)
    assert capsys.readouterr().out.endswith(
        "--set data.multi_label=true --set loss.name=binary_crossentropy\n")
    own = recipe(data={"source": "tfrecord", "data_dir": str(tmp_path / "packed")})
    source = training.open_data(own.data)
    assert source.multi_label and source.class_names == NAMES
    np.testing.assert_array_equal(source.train.labels, expected[0])
    for (x, y), (images, labels) in zip(batches(source, own), reference, strict=True):
        np.testing.assert_array_equal(x, images)
        np.testing.assert_array_equal(y, labels)


@pytest.fixture(scope="module")
def packed(folder, tmp_path_factory):
    target = tmp_path_factory.mktemp("packed") / "shards"
    data("pack", *words_of({"source": "csv", "data_dir": str(folder / "photos.csv")}), "--output", target)
    return target


@pytest.mark.slow
def test_shards_train_to_the_weights_of_their_source(of_csv, packed, tmp_path):
    own = of_csv.replace(schedule={"epochs": 1})
    run = kt.train(own, tmp_path / "csv", verbose=0)
    other = kt.train(own.replace(data={"source": "tfrecord", "data_dir": str(packed)}), tmp_path / "shards", verbose=0)
    for a, b in zip(run.network.get_weights(), other.network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert run.history == other.history


def test_shards_of_several_labels_are_checked(packed, tmp_path, capsys):
    """Labels that differ between shards and index, another number of classes, and the key that is missing."""
    import shutil

    from keras_tricks.data.sources.shard_check import find_wrong_records
    from keras_tricks.data.sources.shard_index import file_sha256

    data("check", "tfrecord", "--set", "data.multi_label=true", "--data-dir", packed)
    assert "wrong" not in capsys.readouterr().out
    with pytest.raises(UserError, match="several labels an image: --set data.multi_label=true"):
        training.open_data(tiny(data={"source": "tfrecord", "data_dir": str(packed)}).data)
    root = shutil.copytree(packed, tmp_path / "copy")
    description = json.loads((root / "dataset.json").read_text())
    assert description["version"] == 2

    def changed(**columns):
        with np.load(packed / "train.index.npz") as file:
            np.savez(root / "train.index.npz", **(dict(file) | columns))
        description["splits"]["train"]["index_sha256"] = file_sha256(root / "train.index.npz")
        (root / "dataset.json").write_text(json.dumps(description))

    labels = images_and_labels(TRAIN)[1]
    other = labels.copy()
    other[5] = (1, 0, 1)
    changed(label=other)
    number = ", ".join(map(str, np.flatnonzero(labels[5])))
    (place, why), = find_wrong_records(root)
    assert place.endswith("example 5") and why == f"its label is {number} in the shard and 0, 2 in the index"
    for wrong, words in ((labels[:, :2], r"its labels have the shape \(120, 2\)"), (2 * labels, "other labels than 0"),
                         (labels[:, 0], r"its labels have the shape \(120,\)"), (labels[:9], "one number for each")):
        changed(label=wrong)
        with pytest.raises(UserError, match=words):
            training.open_data(recipe(data={"source": "tfrecord", "data_dir": str(root)}).data)


@pytest.mark.parametrize("limit", [2**22, 0])
def test_a_service_reads_shards_of_several_labels(packed, monkeypatch, limit):
    """From constants of the graph, and from the index file."""
    from keras_tricks.data.sources import remote_split

    monkeypatch.setattr(remote_split, "MAX_CONSTANT", limit)
    split = remote_split.remote_record_split(packed, "train")
    examples = list(tf.data.Dataset.range(120).map(split.fetch).as_numpy_iterator())
    np.testing.assert_array_equal([label for _, label, _ in examples], images_and_labels(TRAIN)[1])
    assert split.multi_label and all(intact for *_, intact in examples)


def test_duplicates_and_leaks_of_several_labels(tmp_path, capsys):
    x, _ = images_and_labels(range(6))
    rows = ["path,label,split", "0.png,even;prime,train", "1.png,even,train", "2.png,;,train", "3.png,prime,train",
            "4.png,prime;even,validation", "5.png,large;even,validation"]
    for number, image in enumerate((x[0], x[1], x[0], x[3], x[3], x[5])):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    (tmp_path / "photos.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "classes.txt").write_text("even\nlarge\nprime\n")
    data("check", "csv", "--data-dir", tmp_path / "photos.csv", "--set", "data.multi_label=true", "--duplicates")
    out = capsys.readouterr().out
    assert "leaks               1 pictures are in training and in validation" in out
    assert "labels              2 pictures are there with different labels" in out
    assert "copies, leak, labels differ: " in out and "(training, prime) = " in out
    assert "(validation, even and prime)" in out and "(training, no label)" in out


def test_suspicious_labels_of_both_splits(trained, capsys):
    data("check", "--labels", trained.folder)
    out = capsys.readouterr().out.splitlines()
    for name, count in (("validation", 50), ("training", 120)):
        assert any(line.startswith("suspicious") and f" labels of {count} {name} images" in line for line in out)


@pytest.mark.slow
def test_wrong_labels_of_images_with_several_are_found(tmp_path, capsys):
    """The network of a run on the right labels finds the wrong ones of other images."""
    (tmp_path / "right").mkdir()
    table = write_csv(tmp_path / "right", train=range(200, 1000))
    own = recipe(data={"source": "csv", "data_dir": str(table)}, schedule={"epochs": 6, "base_learning_rate": 2.0})
    run = kt.train(own, tmp_path / "run", verbose=0)
    lines = table.read_text().splitlines()
    places = [i for i, line in enumerate(lines) if line.endswith("validation")][3::10]
    wrong = set()
    for i in places:
        path, label, split = lines[i].split(",")
        names = [name for name in label.split(";") if name and name != "even"]
        names += [] if "even" in label else ["even"]
        lines[i] = f"{path},{';'.join(names) or ';'},{split}"
        wrong.add((str(tmp_path / "right" / path), "even"))
    table.write_text("\n".join(lines) + "\n")
    data("check", "--labels", run.folder)
    out = capsys.readouterr().out.splitlines()
    place = next(i for i, line in enumerate(out) if line.endswith(" labels of 50 validation images"))
    count = int(out[place].split()[1])
    found = {(line.split(": ")[0].strip(), line.split("labelled ")[1].split(",")[0])
             for line in out[place + 1 : place + 1 + count]}
    assert len(wrong) == 5 and len(wrong & found) >= 4
    assert len(found - wrong) <= 15  # of 145 right labels
    assert any("not labelled even, but probably (" in line for line in out)


def test_further_channels_are_compared_and_not_packed(tmp_path, capsys):
    """Images of five channels: equal in three of them, broken, and refused by `data pack`."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 8, 8, 5), dtype="uint8")
    images[1] = images[0]
    images[2, ..., :3] = images[0, ..., :3]
    rows = ["path,label,split"]
    for number, image in enumerate(images):
        np.save(tmp_path / f"{number}.npy", image)
        rows.append(f"{number}.npy,even;large,{'train' if number < 4 else 'validation'}")
    np.save(tmp_path / "3.npy", images[3, ..., :4])
    (tmp_path / "photos.csv").write_text("\n".join(rows) + "\n")
    words = ["csv", "--data-dir", tmp_path / "photos.csv", "--set", "data.multi_label=true",
             "--set", "data.channels=5", "--set", "data.mean=[0]", "--set", "data.std=[1]"]
    data("check", *words, "--duplicates")
    out = capsys.readouterr().out
    assert "broken              1\n" in out
    assert "3.npy: expected the shape (height, width, 5), received (8, 8, 4)" in out
    assert "copies              1 images" in out and "alike               0 images" in out
    with pytest.raises(UserError, match="has images of 5 channels, and packed data are JPEG and PNG images in colour"):
        data("pack", *words, "--output", tmp_path / "packed")


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes, words", [
    ({"loss": {"name": "crossentropy"}}, "--set loss.name=binary_crossentropy"),
    ({"loss": {"class_weight": "balanced"}}, "`loss.class_weight` needs one label an image"),
    ({"loss": {"class_weight": {"even": 2.0}}}, "`loss.class_weight` needs one label an image"),
    ({"data": {"sampling": "balanced"}}, "`data.sampling=balanced` needs one label an image"),
    ({"loss": {"teacher": "test_resnet", "teacher_weights": "x"}}, "leave out the teacher"),
    ({"data": {"source": "digits"}}, "gives one label an image"),
])
def test_contradictions(of_csv, tmp_path, changes, words):
    with pytest.raises(UserError, match=words) as error:
        kt.train(of_csv.replace(**changes), tmp_path / "run", dry_run=True, verbose=0)
    assert "\n" not in str(error.value)


def test_arrays_need_the_binary_loss():
    with pytest.raises(UserError, match="--set loss.name=binary_crossentropy"):
        kt.train(tiny(schedule={"batch_size": 20}), data=arrays(), dry_run=True, verbose=0)


X, Y = images_and_labels(range(20))


@pytest.mark.parametrize("data, words", [
    (((X, Y), (X, np.zeros(20, int))), "one part has several labels"),
    (((X, Y), (X, Y[:, :2])), "labels of 3 classes, and .* of 2"),
    (((X, Y + 1), (X, Y)), r"must be 0 and 1, one column for each class. Received: 2"),
    (((X, Y * 0.5), (X, Y)), r"must be 0 and 1, one column for each class. Received: 0.5"),
    ((tf.data.Dataset.from_tensor_slices((X, Y * 0.5)),) * 2, "must be 0 and 1, one column for each class"),
    (((X, np.eye(3)[Y.argmax(1)]),) * 2, r"Convert one-hot labels with y.argmax"),
])
def test_wrong_labels(data, words):
    with pytest.raises(UserError, match=words) as error:
        given_data(data)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text, words", [
    ("path,label\na.png,even;large\nb.png,\n", "line 3: the cell of label is empty. Fill it"),
    ("path,label\na.png,;\nb.png,;\n", "no example has a label"),
    ("path,label\na.png,1;2\nb.png,-1;2\n", "a label must be a name or a whole number from 0. Received: '-1'.*line 3"),
])
def test_wrong_rows(tmp_path, text, words):
    for name in "ab":
        Image.fromarray(X[0]).save(tmp_path / f"{name}.png")
    (tmp_path / "photos.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        training.open_data(recipe(data={"source": "csv", "data_dir": str(tmp_path / "photos.csv")}).data)


def test_lists_of_labels_without_the_key(folder, tmp_path):
    _, section = hf(tmp_path, "lists")
    with pytest.raises(UserError, match=r"--set data.multi_label=true"):
        training.open_data(tiny(data=section).data)
