"""A classifier loaded for other classes: reordered by name, or initialized again."""

import keras
import numpy as np
import pytest

from keras_tricks.weights import find, match_classifier, safetensors_io


def network():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.layers.Dense(3, name="head")(keras.layers.Dense(5, name="body")(inputs)))


def loaded():
    model = network()
    model.get_layer("head").set_weights([np.arange(15.0).reshape(5, 3), np.array([7.0, 8.0, 9.0])])
    return model


def test_the_same_names_in_another_order(caplog):
    model = loaded()
    with caplog.at_level("INFO", logger="absl"):
        match_classifier(model, ("cat", "dog", "ship"), ("ship", "cat", "dog"), "best.safetensors")
    kernel, bias = model.get_layer("head").get_weights()
    np.testing.assert_array_equal(bias, [9, 7, 8])
    np.testing.assert_array_equal(kernel[0], [2, 0, 1])
    assert "its classes are in another order" in caplog.text


def test_as_many_other_classes_are_not_taken_for_the_same(caplog):
    model = loaded()
    body = model.get_layer("body").get_weights()[0]
    match_classifier(model, ("cat", "dog", "ship"), ("cat", "dog", "cow"), "best.safetensors")
    kernel, bias = model.get_layer("head").get_weights()
    assert (bias == 0).all() and np.abs(kernel).max() < 2 and np.ptp(kernel) > 0
    np.testing.assert_array_equal(model.get_layer("body").get_weights()[0], body)
    assert "best.safetensors: its classifier has other classes (only in the data: cow; only in the weights: ship)" in (
        caplog.text)


@pytest.mark.parametrize("metadata, names", [
    ({"classes": '["a, b", "c"]'}, ("a, b", "c")),
    ({"about": '{"set of classes": "a, b, c"}'}, ("a", "b", "c")),  # of 0.1.0
    ({"about": '{"set of classes": "a, b, c, d"}'}, ()),  # one of the three has a comma in its name
    ({"about": "{}"}, ()), ({"about": "["}, ()), ({"classes": "3"}, ()), ({}, ())])
def test_a_file_of_a_run_names_its_classes_wherever_it_is(tmp_path, metadata, names):
    safetensors_io.save(tmp_path / "w.safetensors", {"model/head/kernel": np.zeros((4, 3), "float32")}, metadata)
    assert find(tmp_path / "w.safetensors").class_names == names


def test_a_damaged_file_names_none(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"damaged")
    assert find(tmp_path / "w.safetensors").class_names == ()


def test_equal_or_unknown_names_change_nothing(caplog):
    for known in ((), ("cat", "dog", "ship"), ("1", "2", "3", "4")):
        model = loaded()
        match_classifier(model, known, ("cat", "dog", "ship"), "x")
        np.testing.assert_array_equal(model.get_layer("head").get_weights()[1], [7, 8, 9])
    assert not caplog.text
