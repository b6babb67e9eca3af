import keras
import numpy as np
import pytest
from support import own_parts

import keras_tricks as kt
from keras_tricks.models.own import name_of
from keras_tricks.utils.errors import UserError
from keras_tricks.weights import safetensors_io

SHAPE = (8, 8, 3)


def create(name, **kwargs):
    return kt.models.create_model(f"support.own_parts:{name}", **{"input_shape": SHAPE, "classes": 10, **kwargs})


def test_a_function_by_import_path_or_itself_builds_the_model():
    model = create("build", width=4)
    assert model.output_shape == (None, 10) and model.layers[1].filters == 4
    assert kt.models.create_model(own_parts.build, input_shape=SHAPE, num_classes=3).output_shape == (None, 3)
    assert create("subclassed")(np.zeros((1, *SHAPE), "float32")).shape == (1, 10)


@pytest.mark.parametrize("name, message", {
    "softmax": r"returns probabilities \(softmax\), and must return logits: leave out the activation",
    "hidden_softmax": r"returns probabilities \(rows that sum to 1\)",
    "seven_classes": r"logits of shape \(2, 10\) for two images of shape \(8, 8, 3\). It returned: \(2, 7\)",
    "five_channels": r"cannot be called on images of shape \(8, 8, 3\): ValueError: ",
    "raises": r"own_parts:raises raised RuntimeError: no such layer$",
    "no_model": r"must return a keras.Model. Received: str",
    "no_classes": r"takes no argument `classes`. It takes: input_shape",
    "NUMBER": r"is int, not a function that builds a model",
    "bild": r'has no bild. Did you mean "build"',
}.items())
def test_another_result_is_an_error_of_one_line(name, message):
    with pytest.raises(UserError, match=message) as error:
        create(name)
    assert "\n" not in str(error.value)


def test_other_arguments_are_named():
    with pytest.raises(UserError, match='takes no argument `widht`. Did you mean "width"'):
        create("build", widht=4)
    with pytest.raises(UserError, match="zero_gamma. Call kt.surgery.zero_gamma|zero_gamma`. Call kt.surgery"):
        create("build", zero_gamma=True)
    with pytest.raises(UserError, match="there is no module nothing_here"):
        kt.models.create_model("nothing_here.nets:build")
    with pytest.raises(UserError, match="returns logits: leave out `classifier_activation`"):
        create("build", classifier_activation="softmax")


def test_models_of_keras_applications_return_logits_and_do_not_normalize():
    model = kt.models.create_model("keras.applications:MobileNetV3Small", input_shape=(32, 32, 3), classes=4)
    assert model.output_shape == (None, 4) and kt.models.own.normalizes_itself(model) is None
    logits = keras.ops.convert_to_numpy(model(np.ones((1, 32, 32, 3), "float32")))
    assert not np.isclose(logits.sum(), 1.0)
    assert kt.models.own.normalizes_itself(create("rescaled")).startswith("rescaling")


def test_logits_are_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = create("build")
    assert model.output.dtype == "float32" and model.layers[1].compute_dtype == "bfloat16"


def test_nothing_is_assumed_about_the_arguments_of_a_user():
    assert kt.models.registry.defaults_of("support.own_parts:build") == {}
    assert kt.models.registry.defaults_of("<function build>") == {}
    assert kt.models.arguments_of("support.own_parts:build") == ("input_shape", "classes", "width")


def test_a_function_has_a_name():
    assert name_of(own_parts.build) == "support.own_parts:build"
    assert name_of(lambda input_shape, classes: None) == "<function lambda>"

    def build(input_shape, classes):
        return None

    assert name_of(build) == "<function build>"
    with pytest.raises(UserError, match="<function build>, which was handed to kt.train and has no import path. Put"):
        kt.models.create_model("<function build>")


def test_weights_of_unnamed_layers_load_after_other_models_were_built(tmp_path):
    first = create("build")
    safetensors_io.save(tmp_path / "w.safetensors", safetensors_io.weights_of(first))
    keras.layers.Conv2D(1, 1)  # takes a number
    second = create("build", weights=tmp_path / "w.safetensors")
    assert first.variables[0].path != second.variables[0].path
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    other = create("build", classes=3, weights=tmp_path / "w.safetensors")  # the classifier is new
    np.testing.assert_array_equal(first.get_weights()[0], other.get_weights()[0])
    assert other.output_shape == (None, 3)
