"""Where numbers stop being numbers: the first layer of a network whose output is not finite."""

import keras
import numpy as np


def first_non_finite(model, images):
    """The first layer, in the order of computation, with an infinite output or NaN.

    Args:
        model: functional `keras.Model`.
        images: float array `(batch, height, width, channels)`, what the model takes.

    Returns:
        A sentence about the input, the layer and whether its own weights are finite, or `None`: all is finite.
    """
    if not np.isfinite(images).all():
        return "the images themselves are not finite"
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    outputs = keras.Model(model.input, [layer.output for layer in layers])(images, training=False)
    for layer, output in zip(layers, outputs, strict=True):
        if all(np.isfinite(np.asarray(o, "float32")).all() for o in keras.tree.flatten(output)):
            continue
        for weight in layer.weights:
            if not np.isfinite(np.asarray(keras.ops.convert_to_numpy(weight), "float32")).all():
                return f"the first layer that is not finite is {layer.name}: its {weight.name} is not, after that step"
        return f"the first layer that is not finite is {layer.name}, its weights are"
    return None
