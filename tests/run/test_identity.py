"""Weights, runs, data and exports are matched by class names, and a run continues on the images it began with."""

import json
import shutil

import keras
import numpy as np
import pytest
from support.photos import CLASSES, made_run, photos, recipe
from support.tiny_runs import leave_tensorflow_as_it_was  # noqa: F401

import keras_tricks as kt
from keras_tricks import training
from keras_tricks.cli.export import ExportOptions, export_run
from keras_tricks.run.folder import completed_summary
from keras_tricks.run.lock import locked_output
from keras_tricks.run.start import IDENTITY
from keras_tricks.utils.errors import UserError
from keras_tricks.weights import safetensors_io

PIXELS = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype("float32")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return made_run(tmp_path_factory.mktemp("runs") / "run", recipe())


def logits(model):
    return keras.ops.convert_to_numpy(model(PIXELS, training=False))


# ---- fine-tuning


def test_fine_tuning_on_the_same_classes_in_another_order(made):
    folder, network = made
    started = training.build_network(recipe(model={"weights": str(folder)}), 3, ("ship", "cat", "dog"))
    np.testing.assert_allclose(logits(started), logits(network)[:, [2, 0, 1]], atol=1e-5)


def test_fine_tuning_on_as_many_other_classes_begins_with_a_new_classifier(made, caplog):
    folder, network = made
    started = training.build_network(recipe(model={"weights": str(folder)}), 3, ("cow", "pig", "hen"))
    assert "its classifier has other classes (only in the data: cow, pig, hen; only in the weights: cat" in caplog.text
    assert not np.allclose(started.get_layer("head").kernel, network.get_layer("head").kernel)
    np.testing.assert_array_equal(started.layers[1].get_weights()[0], network.layers[1].get_weights()[0])


def test_a_network_whose_weights_are_replaced_anyway_does_not_read_them(made):
    built = training.build_network(recipe(model={"weights": "missing.safetensors"}), 3, initial=False)
    assert built.output_shape == (None, 3)


# ---- a teacher


def taught(folder, **changes):
    return recipe(loss={"teacher": "test_resnet", "teacher_weights": str(folder), **changes})


@pytest.mark.parametrize("names", [CLASSES, ("ship", "cat", "dog"), ("dog", "ship")])
def test_a_teacher_answers_for_the_classes_of_the_student(made, names):
    folder, network = made  # its options, such as the stem, are those of the run
    teacher = training.build_teacher(taught(folder), len(names), names)
    np.testing.assert_allclose(logits(teacher), logits(network)[:, [CLASSES.index(n) for n in names]], atol=1e-5)


def test_teachers_that_do_not_fit(made, tmp_path):
    folder, _ = made
    with pytest.raises(UserError, match="has other classes than the data .only in the data: cow; only in the teacher:"):
        training.build_teacher(taught(folder), 3, ("cat", "dog", "cow"))
    with pytest.raises(UserError, match="`loss.teacher` is resnet20, and the run .* is of test_resnet"):
        training.build_teacher(taught(folder, teacher="resnet20"), 3, CLASSES)
    with pytest.raises(UserError, match="was trained with the mean"):
        training.build_teacher(taught(folder).replace(data={"mean": (0.0,) * 3}), 3, CLASSES)
    nameless = tmp_path / "w.safetensors"
    shutil.copy(folder / "checkpoints" / "best.safetensors", nameless)
    with pytest.raises(UserError, match="has shape"):  # once it taught with a classifier of random numbers
        training.build_teacher(taught(nameless, teacher_options={"stem": "cifar"}), 2, ("cat", "dog"))


# ---- the data of a run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("trained")
    photos(root / "data" / "train", count=16), photos(root / "data" / "val", count=4, first=16)
    own = recipe(root / "data", schedule={"decay": "constant"})
    kt.train(own, root / "run", verbose=0)
    return root, own


@pytest.fixture
def copy(trained, tmp_path):
    root, own = trained
    shutil.copytree(root, tmp_path / "copy")
    own = own.replace(data={"data_dir": str(tmp_path / "copy" / "data")})
    (tmp_path / "copy" / "run" / "recipe.json").write_text(own.to_json())
    return tmp_path / "copy", own


def longer(own, **changes):
    return own.replace(schedule={"epochs": 2}).replace(**changes)


def resume(root, own):
    return kt.train(own, root / "run", resume=True, changes="new", verbose=0)


def test_a_run_keeps_its_class_names_whatever_it_exports(trained):
    root, _ = trained
    assert json.loads((root / "run" / "classes.json").read_text()) == list(CLASSES)
    assert not list((root / "run" / "export").glob("*.keras"))


def test_replaced_images_are_refused(copy):
    """As many, under other names. A folder that was only moved is the same."""
    root, own = copy
    shutil.rmtree(root / "data" / "train")
    photos(root / "data" / "train", count=16, first=40)
    with pytest.raises(UserError, match=r"belongs to a run with another set of images \(names and sizes\): '\w{16}', "
                                        r"now '\w{16}'"):
        resume(root, longer(own))


def test_other_names_of_as_many_classes_are_refused(copy):
    root, own = copy
    for part in ("train", "val"):
        (root / "data" / part / "ship").rename(root / "data" / part / "boat")
    with pytest.raises(UserError, match="another set of classes: 'cat, dog, ship', now 'boat, cat, dog'"):
        resume(root, longer(own))


def test_images_that_the_new_recipe_chooses_otherwise_may_differ(copy):
    root, own = copy
    resume(root, longer(own, data={"train_images": 32}))
    assert (root / "run" / "summary.csv").read_text().count("\n") == 3


def test_a_run_of_before_continues_without_the_comparison(copy):
    root, own = copy
    for path in (root / "run" / "checkpoints").glob("last*.safetensors"):
        tensors, metadata = safetensors_io.read(path)
        about = json.loads(metadata["about"])
        assert about.pop(IDENTITY)
        safetensors_io.save(path, tensors, metadata | {"about": json.dumps(about)})
    (root / "run" / "classes.json").unlink()
    resume(root, longer(own))
    assert (root / "run" / "classes.json").is_file()


def test_a_study_reads_no_run_on_other_classes(trained):
    root, own = trained
    assert len(completed_summary(root / "run", own, CLASSES)) == 1
    with pytest.raises(UserError, match="has a run on other classes .only in the data: cow; only in the run: ship"):
        completed_summary(root / "run", own, ("cat", "cow", "dog"))
    with pytest.raises(UserError, match="has a run on other classes .their order differs"):
        completed_summary(root / "run", own, CLASSES[::-1])


# ---- exports


def test_an_export_has_the_names_of_its_weights(made, tmp_path):
    folder, _ = made
    other, _ = made_run(tmp_path / "other", recipe(), ("hen", "pig"))
    written = export_run(folder, ExportOptions(("keras",), layout="huggingface"), tmp_path / "out", other)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["label_names"] == ["hen", "pig"]
    assert keras.models.load_model(written["keras"], compile=False).output_shape == (None, 2)


def test_two_exports_into_one_folder(made, tmp_path):
    folder, _ = made
    (tmp_path / "out").mkdir()
    with locked_output(tmp_path / "out"):
        with pytest.raises(UserError, match="Another process writes to .*out: wait for it, or give --output another"):
            export_run(folder, ExportOptions(("keras",)), tmp_path / "out")
    export_run(folder, ExportOptions(("keras",)), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["README.md", "model.keras"]


def test_damaged_class_names(made, tmp_path):
    shutil.copytree(made[0], tmp_path / "run")
    (tmp_path / "run" / "classes.json").write_text("[")
    with pytest.raises(UserError, match="classes.json is not a JSON list of class names"):
        export_run(tmp_path / "run", ExportOptions(("keras",)))
