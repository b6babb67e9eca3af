"""LiteRT (TensorFlow Lite) files for phones and boards, in float32 or with 8-bit integers inside."""

import pathlib

import numpy as np


def write(model, path, examples=None):
    """Writes a `.tflite` file.

    Args:
        model: `keras.Model` on the TensorFlow backend, with one input.
        path: path of the file.
        examples: float32 array `(n, height, width, 3)`, from which the ranges of all activations are measured; kernels
            and activations become 8-bit integers. Inputs and outputs stay float32. Defaults to `None`: float32.
    """
    import tensorflow as tf

    spec = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, name="pixels")
    call = tf.function(lambda pixels: model(pixels, training=False), input_signature=[spec])
    owner = tf.Module()
    owner.weights = [v.value for v in model.variables]  # the converter turns these into constants
    converter = tf.lite.TFLiteConverter.from_concrete_functions([call.get_concrete_function()], owner)
    if examples is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image[None]] for image in examples)
    pathlib.Path(path).write_bytes(converter.convert())


def predict(path, images):
    """The outputs of a `.tflite` file of `write`: float32 `(n, height, width, 3)` in 0-255 -> `(n, classes)`."""
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(str(path))
    interpreter.allocate_tensors()
    input_index = interpreter.get_input_details()[0]["index"]
    output_index = interpreter.get_output_details()[0]["index"]
    outputs = []
    for image in images:
        interpreter.set_tensor(input_index, np.asarray(image[None], "float32"))
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(output_index)[0])
    return np.stack(outputs)
