"""Frozen parts: by name, including nested layers, and all normalization layers."""

import keras
import pytest

import keras_tricks as kt
from keras_tricks.utils.errors import UserError


def small():
    return kt.models.create_model("test_resnet", input_shape=(96, 96, 3))


def test_a_part_is_a_layer_or_what_begins_with_its_name():
    model = small()
    kt.surgery.freeze(model, ["stem", "stage1"])
    frozen = {v.path.partition("/")[0].partition("_")[0] for v in model.variables} - {
        v.path.partition("/")[0].partition("_")[0] for v in model.trainable_variables}
    assert frozen == {"stem", "stage1"}


def test_stage1_is_not_stage10():
    inputs = keras.Input((4,))
    x = keras.layers.Dense(2, name="stage1_a")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, name="stage10_a")(x))
    kt.surgery.freeze(model, ["stage1"])
    assert [v.path for v in model.trainable_variables] == ["stage10_a/kernel", "stage10_a/bias"]


def test_norms_wherever_they_are():
    model = small()
    norms = {v.path for v in model.trainable_variables if v.name in ("gamma", "beta")}
    kt.surgery.freeze(model, [], norms=True)
    assert any(path.startswith("stem/bn") for path in norms), "one of them is inside a layer"
    assert not norms & {v.path for v in model.trainable_variables}


def test_mistakes():
    with pytest.raises(UserError, match="test_resnet has no part 'steem'. Did you mean \"stem\""):
        kt.surgery.freeze(small(), ["steem"])
    with pytest.raises(UserError, match="leaves nothing to train"):
        kt.surgery.freeze(small(), ["stem", "stage1", "stage2", "head"])


def test_parts_of_models_inside_models():
    pixels = keras.Input((96, 96, 3))
    inner = kt.models.create_model("test_resnet", input_shape=(96, 96, 3), include_top=False)
    outer = keras.Sequential([pixels, keras.Model(pixels, inner(pixels)), keras.layers.GlobalAveragePooling2D(),
                              keras.layers.Dense(2, name="top")])
    kt.surgery.freeze(outer, ["stem", "stage1"])
    paths = [v.path.rpartition("test_resnet/")[2] for v in outer.trainable_variables]
    parts = {path.partition("_")[0].partition("/")[0] for path in paths}
    assert parts >= {"stage2"} and not parts & {"stem", "stage1"}
    with pytest.raises(UserError, match="no part 'stag2'.*stage2"):
        kt.surgery.freeze(outer, ["stag2"])


def test_layers_of_a_subclassed_model_and_one_that_is_not_built():
    class Own(keras.Model):
        def __init__(self):
            super().__init__(name="own")
            self.norms = [keras.layers.BatchNormalization(name=f"norm{i}") for i in range(2)]
            self.top = keras.layers.Dense(2, name="top")

        def call(self, inputs):
            return self.top(self.norms[1](self.norms[0](inputs)))

    model = Own()
    with pytest.raises(UserError, match="own is not built"):
        kt.surgery.freeze(model, ["top"])
    model(keras.ops.ones((1, 3)))
    kt.surgery.freeze(model, [], norms=True)
    assert [v.path.rpartition("own/")[2] for v in model.trainable_variables] == ["top/kernel", "top/bias"]


@pytest.mark.slow
def test_a_linear_probe_trains_the_classifier_alone(tmp_path):
    """The recipe `transfer/linear_probe`, on the digits and small: every other variable stays, with its statistics."""
    pytest.importorskip("tensorflow")
    from keras_tricks.weights import safetensors_io

    recipe = kt.load_recipe("transfer/linear_probe")
    assert kt.load_recipe("transfer/photos").model.freeze == () and recipe.model.name == "resnet50d"
    small_one = recipe.replace(
        data={"source": "digits", "image_size": 8, "eval_crop": "whole", "train_images": 64, "workers": 1},
        augment={"crop": "none", "flip": False}, schedule={"epochs": 1, "batch_size": 32}, export={"formats": ()},
        model={"name": "test_resnet", "freeze": ("stem", "stage1", "stage2"), "options": {"stem": "cifar"}})
    assert set(small_one.model.freeze) < set(recipe.model.freeze)
    start = kt.models.create_model("test_resnet", classes=10, input_shape=(8, 8, 3), stem="cifar")
    before = safetensors_io.by_path(start.variables)
    safetensors_io.save(tmp_path / "start.safetensors", before)
    probe = small_one.replace(model={"weights": str(tmp_path / "start.safetensors")})
    run = kt.train(probe, tmp_path / "run", verbose=0)
    changed = {path for path, variable in safetensors_io.by_path(run.network.variables).items()
               if path in before and "seed" not in path
               and (keras.ops.convert_to_numpy(variable) != keras.ops.convert_to_numpy(before[path])).any()}
    assert changed == {"head/kernel", "head/bias"}
