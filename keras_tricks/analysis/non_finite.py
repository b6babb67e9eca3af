"""Finds the first layer of a network whose output is not finite."""

from typing import Any

import keras
import numpy as np

from keras_tricks.utils.graph import Graph


def first_non_finite(model: keras.Model, images: Any) -> str | None:
    """The first layer, in the order of computation, whose output contains an infinity or NaN.

    Args:
        model: functional `keras.Model`.
        images: float array `(batch, height, width, channels)`, the input of the model.

    Returns:
        A sentence that names the input or the layer and states whether the layer's weights are finite; `None` when
        everything is finite.
    """
    if not np.isfinite(images).all():
        return "the images themselves are not finite"
    found = []

    def look(call, *args, **kwargs):
        outputs = call.layer(*args, **kwargs)
        if not found and not all(_is_finite(o) for o in keras.tree.flatten(outputs)):
            found.append(call)
        return outputs

    graph = Graph(model)
    graph.run(look, [keras.ops.convert_to_tensor(images, graph.inputs[0].dtype)], training=False)
    if not found:
        return None
    for weight in getattr(found[0].layer, "weights", ()):
        if not _is_finite(weight):
            return f"the first layer that is not finite is {found[0].name}: its {weight.name} is not, after that step"
    return f"the first layer that is not finite is {found[0].name}, its weights are"


def _is_finite(tensor):
    return np.isfinite(np.asarray(keras.ops.convert_to_numpy(tensor), "float32")).all()
