"""Grey images and images of many channels: the same pixels from every source, runs from end to end, what is refused."""

import io
import tarfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from support import sources
from support.tiny_runs import leave_tensorflow_as_it_was, tiny  # noqa: F401

import keras_tricks as kt
from keras_tricks import evaluation, training
from keras_tricks.data import evaluation_batches, training_batches
from keras_tricks.data.augment.preprocessing import in_channels
from keras_tricks.run.given_data import given_data
from keras_tricks.schedules import batch_size_plan
from keras_tricks.utils.errors import UserError

GREY = {"channels": 1, "mean": (78.0,), "std": (96.0,)}
FIVE = {"channels": 5, "mean": (78.0, 70.0, 60.0, 50.0, 40.0), "std": (96.0,)}
NO_COLOUR = {"color_jitter": "none"}


def recipe(section=(), **changes):
    return tiny(data=dict(section), schedule={"batch_size": 20, "epochs": 1}, export={"formats": ("keras",)}
                ).replace(**changes)


def evaluated(split, num_classes, data):
    """(pixels in 0-255, labels, weights) of a split, in order."""
    parts = list(evaluation_batches(split, data, num_classes, 10).as_numpy_iterator())
    images, labels, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
    return images * np.float32(data.std) + np.float32(data.mean), labels.argmax(axis=1), weights


def five(numbers):
    """Digits in five channels: themselves, and four shifted ones."""
    x, y = sources.images_and_labels(numbers)
    return np.stack([np.roll(x[..., 0], shift, axis=1) for shift in range(5)], axis=-1), y


def opened(data, section):
    given = given_data(data)
    own = recipe(section if given is None else {**section, **given.section})
    return training.open_data(own.data, given and given.source), own


# --- pixels -----------------------------------------------------------------------------------------------------------


def test_grey_is_luma_and_keeps_grey_pixels():
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 256, (9, 7, 3)).astype("float32")
    np.testing.assert_allclose(in_channels(tf.constant(colour), 1)[..., 0], colour @ [0.299, 0.587, 0.114], rtol=1e-5)
    grey = np.repeat(rng.random((9, 7, 1)).astype("float32") * 255, 3, axis=-1)
    np.testing.assert_array_equal(in_channels(tf.constant(grey), 1), grey[..., :1])


def test_a_photograph_is_that_of_pillow_up_to_rounding(tmp_path):
    from support.golden import golden_crops

    image = Image.fromarray(golden_crops()[0])
    (tmp_path / "a").mkdir()
    image.save(tmp_path / "photo.png")
    own = recipe({**GREY, "image_size": 48, "eval_crop": "center", "crop_pct": 1.0})
    from keras_tricks.data import image_of_file

    grey = image_of_file(tmp_path / "photo.png", own.data).numpy()
    assert grey.shape == (48, 48, 1)
    colour = image_of_file(tmp_path / "photo.png", own.data.model_copy(update={"channels": 3})).numpy()
    np.testing.assert_allclose(grey[..., 0], colour @ [0.299, 0.587, 0.114], atol=1e-3)


@pytest.mark.parametrize("name", ["arrays", "datasets", "csv", "hf", "webdataset"])
def test_every_source_gives_the_same_grey_images(tmp_path, name):
    data, section = sources.SOURCES[name](tmp_path)
    source, own = opened(data, {**section, **GREY})
    values, labels, _ = evaluated(source.validation, 10, data=own.data)
    x, y = sources.images_and_labels(sources.VALIDATION)
    assert values.shape == (40, 8, 8, 1) and labels.tolist() == y.tolist()
    np.testing.assert_allclose(values, x[..., :1], atol=1e-4)


def write_five(folder, form):
    lines = ["path,label,split"]
    for split, numbers in (("train", range(120)), ("validation", range(120, 160))):
        for number, image, label in zip(numbers, *five(numbers), strict=True):
            path = folder / f"{number}.{form}"
            if form == "npy":
                np.save(path, image)
            else:
                pages = [Image.fromarray(image[..., page]) for page in range(5)]
                pages[0].save(path, save_all=True, append_images=pages[1:])
            lines.append(f"{path.name},{label},{split}")
    (folder / "digits.csv").write_text("\n".join(lines) + "\n")
    return None, {"source": "csv", "data_dir": str(folder / "digits.csv")}


class Five:
    class_names = sources.NAMES

    def __init__(self, numbers):
        self.images, self.labels = five(numbers)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], self.labels[index]


def hf_arrays(folder, make=five, shape=(8, 8, 5), kind="Array3D"):
    """A data set with a column of arrays, made by the real package."""
    hub = pytest.importorskip("datasets")
    features = hub.Features({"bands": getattr(hub, kind)(shape=shape, dtype="uint8"),
                             "label": hub.ClassLabel(names=list(sources.NAMES)), "id": hub.Value("int32")})

    def part(numbers):
        x, y = make(numbers)
        return hub.Dataset.from_dict({"bands": list(x), "label": y, "id": list(numbers)}, features=features)

    hub.DatasetDict({"train": part(sources.TRAIN), "test": part(sources.VALIDATION)}).save_to_disk(folder / "arrays")
    return None, {"source": f"hf:{folder / 'arrays'}"}


def hf_tiffs(folder):
    """The `Image` column of a data set, with TIFF files of five pages."""
    hub = pytest.importorskip("datasets")
    write_five(folder, "tif")
    features = hub.Features({"image": hub.Image(), "label": hub.ClassLabel(names=list(sources.NAMES))})

    def part(numbers):
        content = [{"bytes": (folder / f"{number}.tif").read_bytes(), "path": None} for number in numbers]
        return hub.Dataset.from_dict({"image": content, "label": five(numbers)[1]}, features=features)

    hub.DatasetDict({"train": part(sources.TRAIN), "test": part(sources.VALIDATION)}).save_to_disk(folder / "tiffs")
    return None, {"source": f"hf:{folder / 'tiffs'}"}


def npy(image):
    out = io.BytesIO()
    np.save(out, image)
    return out.getvalue()


def write_shards(folder, make=five, encode=npy, extension="npy", further=()):
    """WebDataset shards whose examples have an array, a label and `further` members {extension: content}."""
    (folder / "shards").mkdir()
    for name, numbers in (("train", sources.TRAIN), ("val", sources.VALIDATION)):
        with tarfile.open(folder / "shards" / f"{name}-000000.tar", "w") as shard:
            for number, image, label in zip(numbers, *make(numbers), strict=True):
                members = {**dict(further), extension: encode(image), "cls": str(label).encode()}
                for key, content in members.items():
                    member = tarfile.TarInfo(f"{number:05d}.{key}")
                    member.size = len(content)
                    shard.addfile(member, io.BytesIO(content))
    return None, {"source": "webdataset", "data_dir": str(folder / "shards")}


OF_FIVE = {
    "hf Array3D": hf_arrays,
    "hf tif": hf_tiffs,
    "webdataset npy": write_shards,
    "webdataset npy and png": lambda f: write_shards(f, further={"png": b"a preview"}),
    "arrays": lambda f: (sources.pair(five), {}),
    "tf.data": lambda f: (sources.pair(lambda n: tf.data.Dataset.from_tensor_slices(five(n))), {}),
    "own": lambda f: (sources.pair(Five), {}),
    "npy": lambda f: write_five(f, "npy"),
    "tif": lambda f: write_five(f, "tif"),
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in (
    "hf tif", "webdataset npy and png") else ()) for name in OF_FIVE])
def test_every_source_gives_five_channels(tmp_path, name):
    data, section = OF_FIVE[name](tmp_path)
    source, own = opened(data, {**section, **FIVE})
    values, labels, _ = evaluated(source.validation, 10, data=own.data)
    x, y = five(range(120, 160))
    assert labels.tolist() == y.tolist()
    np.testing.assert_allclose(values, x, atol=1e-4)
    reference, own = opened(sources.pair(five), FIVE)
    plan, augment = batch_size_plan(0.1, 20, 1, 120, mode="decay"), own.replace(augment=NO_COLOUR).augment
    for (a, b), (c, d) in zip(*(training_batches(s.train, own.data, augment, 10, plan, 3).as_numpy_iterator()
                                for s in (source, reference)), strict=True):
        np.testing.assert_array_equal(a, c)
        np.testing.assert_array_equal(b, d)


@pytest.mark.parametrize("name", ["hf", "webdataset", "colour"])
def test_arrays_in_colour_and_grey(tmp_path, name):
    """`Array2D`, and `.npy` of one channel and of three, are read as images of three equal channels."""
    def grey(numbers):
        x, y = sources.images_and_labels(numbers)
        return x[..., 0], y

    _, made = {"hf": lambda: hf_arrays(tmp_path, grey, (8, 8), "Array2D"),
               "webdataset": lambda: write_shards(tmp_path, grey),
               "colour": lambda: write_shards(tmp_path, sources.images_and_labels)}[name]()
    for section in (GREY, {"mean": (0.0,), "std": (1.0,)}):
        source, own = opened(None, {**made, **section})
        values, labels, _ = evaluated(source.validation, 10, data=own.data)
        x, y = sources.images_and_labels(sources.VALIDATION)
        assert labels.tolist() == y.tolist()
        np.testing.assert_allclose(values, x[..., : own.data.channels], atol=1e-4)


def float_column(folder):
    hub = pytest.importorskip("datasets")
    features = hub.Features({"bands": hub.Array3D(shape=(8, 8, 5), dtype="float32"), "label": hub.Value("int32")})
    part = hub.Dataset.from_dict({"bands": list(np.zeros((12, 8, 8, 5), "float32")), "label": [0, 1] * 6},
                                 features=features)
    hub.DatasetDict({"train": part, "test": part}).save_to_disk(folder / "floats")
    return None, {"source": f"hf:{folder / 'floats'}"}


def channels_first(numbers):
    x, y = five(numbers)
    return x.transpose(0, 3, 1, 2), y


def floats(image):
    return npy(image.astype("float32"))


@pytest.mark.parametrize("make, words", [
    (float_column, "the column bands has arrays of float32, and images must be uint8 in 0-255. Convert them"),
    (lambda f: hf_arrays(f, channels_first, (5, 8, 8)),
     "gives images of 8 channels, and `data.channels` is 5: .*correct the order .height, width, channels"),
    (lambda f: write_shards(f, channels_first), r"None of the .*expected the shape \(height, width, 5\), received "
                                                r"\(5, 8, 8\)"),
    (lambda f: write_shards(f, encode=floats), "None of the .*expected pixels as uint8 in 0-255, received float32"),
    (lambda f: write_shards(f, encode=lambda image: npy(image)[:99]), "None of the .*not a .npy file that can be"),
    (lambda f: write_shards(f, encode=lambda image: b"text"), "None of the .*neither a .npy file nor an image"),
    (lambda f: write_shards(f, extension="npz"), "have no example with an image and a label"),
])
def test_arrays_of_another_kind_are_one_line(tmp_path, make, words):
    _, section = make(tmp_path)
    with pytest.raises(UserError, match=words) as error:
        opened(None, {**section, **FIVE, "max_bad_images": 1000})[0].train.fetch(tf.constant(0, tf.int64))
    assert "\n" not in str(error.value)


# --- runs -------------------------------------------------------------------------------------------------------------


def test_a_grey_run(tmp_path):
    """Trained, evaluated, exported; jitter works on the images in colour."""
    _, section = sources.csv(tmp_path)
    run = kt.train(recipe({**section, **GREY}), tmp_path / "run", verbose=0)
    assert run.network.input_shape == (None, 8, 8, 1) and run.model.input_shape == (None, 8, 8, 1)
    x, _ = sources.images_and_labels(range(120, 124))
    files = [tmp_path / "digits" / f"{n}.png" for n in range(120, 124)]
    expected = run.model.predict(x[..., :1].astype("float32"), verbose=0)
    for (_, found), row in zip(evaluation.predict(tmp_path / "run", files), expected, strict=True):
        assert found[0][0] == str(row.argmax()) and found[0][1] == pytest.approx(row.max(), rel=1e-4)
    values = kt.evaluate(recipe({**section, **GREY}), tmp_path / "run")
    assert values["top1"] == pytest.approx(max(run.history["val_top1"]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hf Array3D", "webdataset npy"])
def test_stored_arrays_train_to_the_weights_of_arrays(tmp_path, name):
    own = recipe(FIVE, augment=NO_COLOUR, export={"formats": ()})
    run = kt.train(own, tmp_path / "run", data=sources.pair(five), verbose=0)
    _, section = OF_FIVE[name](tmp_path)
    other = kt.train(own.replace(data=section), tmp_path / "other", verbose=0)
    for a, b in zip(run.network.get_weights(), other.network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_run_of_five_channels(tmp_path):
    """With everything that works on any number of channels."""
    _, section = write_five(tmp_path, "npy")
    augment = {"color_jitter": "none", "flip": True, "random_erasing": 0.5, "random_erasing_mode": "pixel",
               "cutmix_alpha": 1.0}
    own = recipe({**section, **FIVE}, augment=augment)
    run = kt.train(own, tmp_path / "run", verbose=0)
    assert run.network.input_shape == (None, 8, 8, 5)
    loaded = keras.saving.load_model(tmp_path / "run" / "export" / "model.keras")
    expected = loaded.predict(five(range(120, 124))[0].astype("float32"), verbose=0)
    files = [tmp_path / f"{n}.npy" for n in range(120, 124)]
    for (_, found), row in zip(evaluation.predict(tmp_path / "run", files), expected, strict=True):
        assert found[0][1] == pytest.approx(row.max(), rel=1e-4)
    assert kt.evaluate(own, tmp_path / "run")["top1"] == pytest.approx(max(run.history["val_top1"]))


def test_arrays_of_five_channels_train(tmp_path):
    own = recipe(FIVE, augment=NO_COLOUR, export={"formats": ()})
    run = kt.train(own, tmp_path / "run", data=OF_FIVE["arrays"](None)[0], verbose=0, dry_run=True)
    assert run.network.input_shape == (None, 8, 8, 5)


def test_five_channels_from_weights_of_three(tmp_path, caplog):
    from keras_tricks.weights import safetensors_io

    colour = training.build_network(recipe(), 10)
    safetensors_io.save(tmp_path / "colour.safetensors", safetensors_io.weights_of(colour), {})
    own = recipe({**GREY}, model={"weights": str(tmp_path / "colour.safetensors")})
    grey = training.build_network(own, 10)
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 1)).astype("float32")
    np.testing.assert_allclose(grey(x, training=False), colour(np.repeat(x, 3, axis=-1), training=False), rtol=1e-4,
                               atol=1e-5)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("section, augment, words", [
    ({"channels": 1}, {}, r"`data.mean` has 3 numbers, and `data.channels` is 1: .*--set data.mean=\[78.0\]"),
    (FIVE, {}, "`augment.color_jitter` needs images in colour or grey"),
    (FIVE, {**NO_COLOUR, "pca_noise": 0.1}, "`augment.pca_noise` needs"),
    (FIVE, {**NO_COLOUR, "rand_augment_layers": 2}, "`augment.rand_augment_layers` needs"),
    (FIVE, {**NO_COLOUR, "trivial_augment": True}, "`augment.trivial_augment` needs"),
    ({**FIVE, "channels": 5}, NO_COLOUR, "digits gives images of 3 channels, and `data.channels` is 5"),
])
def test_contradictions(tmp_path, section, augment, words):
    data = OF_FIVE["arrays"](None)[0] if section is FIVE else None
    with pytest.raises(UserError, match=words) as error:
        kt.train(recipe(section, augment=augment), tmp_path / "run", dry_run=True, verbose=0, data=data)
    assert "\n" not in str(error.value)


def test_channels_must_be_named(tmp_path):
    with pytest.raises(UserError, match="images of 5 channels, and `data.channels` is 3: set data.channels"):
        kt.train(recipe(), tmp_path / "run", data=OF_FIVE["arrays"](None)[0], dry_run=True, verbose=0)


def test_a_file_of_other_channels_is_broken(tmp_path):
    _, section = write_five(tmp_path, "npy")
    np.save(tmp_path / "125.npy", np.zeros((8, 8, 3), "uint8"))
    np.save(tmp_path / "126.npy", np.zeros((8, 8, 5), "float32"))
    (tmp_path / "127.npy").unlink()
    (tmp_path / "128.npy").write_bytes(b"no image")
    source, own = opened(None, {**section, **FIVE})
    _, _, weights = evaluated(source.validation, 10, data=own.data)
    assert np.flatnonzero(weights == 0).tolist() == [5, 6, 7, 8]
    reasons = " ".join(source.validation.bad.reasons.values())
    assert "(height, width, 5)" in reasons and "float32" in reasons and "neither a .npy file nor an image" in reasons


def test_the_service_is_refused(tmp_path):
    from keras_tricks.data.sources.remote_split import remote_split

    _, section = write_five(tmp_path, "npy")
    source, own = opened(None, {**section, **FIVE})
    with pytest.raises(UserError, match="the workers of `data.service` decode images in colour or grey"):
        remote_split(own.data, source)
