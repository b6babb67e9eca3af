"""The deployable model: normalization before the network, softmax (or sigmoid) after it, float32 inside."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras


@contextlib.contextmanager
def precision(policy: Any) -> Iterator[None]:
    """Sets another precision policy, such as `"float32"`, inside the context and restores the previous one after it."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@keras.saving.register_keras_serializable(package="keras_tricks")
class Normalize(keras.layers.Layer):
    """(x - mean) / std on the 0-255 scale, as in the training pipeline.

    Args:
        mean, std: floats, one for each channel (RGB).

    Input shape: `(batch, height, width, channels)`, uint8 or float. Output: float32 of the same shape.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.mean, self.std = tuple(mean), tuple(std)

    def call(self, inputs: Any) -> Any:
        mean, std = (keras.ops.convert_to_tensor(v, "float32") for v in (self.mean, self.std))
        return (keras.ops.cast(inputs, "float32") - mean) / std

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def compute_output_spec(self, inputs: Any) -> Any:
        return keras.KerasTensor(inputs.shape, "float32")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mean": self.mean, "std": self.std}


def deployable(build: Callable[[], keras.Model], trained: keras.Model, data: Any,
               dtype: str = "float32") -> keras.Model:
    """The model to distribute: pixels in 0-255 in, probabilities out, in float32 whatever the training precision.

    Args:
        build: function `() -> keras.Model`, the network that returns logits, in the current precision policy.
        trained: the trained network, with the same variables in the same order.
        data: the `data` section of the recipe, which gives size, mean and std.
        dtype: precision policy of the model. Defaults to `"float32"`.

    Returns:
        A `keras.Model`: float32 `(batch, size, size, channels)` in 0-255 -> float32 `(batch, classes)` summing to 1,
        or, with several labels an image (`data.multi_label`), the probability of each class.
    """
    with precision(dtype):
        network = build()
        for new, old in zip(network.variables, trained.variables, strict=True):
            new.assign(old)
        channels = getattr(data, "channels", 3)
        mean, std = (tuple(values) * (channels if len(values) == 1 else 1) for values in (data.mean, data.std))
        pixels = keras.Input((data.test_size, data.test_size, channels), name="pixels", dtype="float32")
        x = Normalize(mean, std, name="normalize")(pixels)
        x = network(x)
        several = getattr(data, "multi_label", False)
        activation = keras.layers.Activation("sigmoid", name="probabilities", dtype="float32") if several else \
            keras.layers.Softmax(name="probabilities", dtype="float32")
        outputs = activation(x)
        return keras.Model(pixels, outputs, name=f"{trained.name}_deploy")
