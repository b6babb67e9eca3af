"""Converts a deployed model to Keras' own layers, so that `keras.models.load_model` opens it without this package.

    kt.layers.BatchNormalization, GhostBatchNormalization   keras.layers.BatchNormalization
    DeepStem, AvgPoolShortcut                               the layers inside, named `stem_conv1`
    SqueezeExcite                                           pooling, two Dense layers, Multiply
    DropPath                                                Dropout with one number for each image
    ScaledActivation                                        Activation, Rescaling
    GroupedConv2D                                           Conv2D
    Normalize                                               Normalization

Four layers have trained weights without a counterpart in Keras: ScaledWSConv2D, WSConv2D, SkipGain and ScalarBias. They
remain; `fold` replaces them. Inference gives the same numbers. On a CPU the training step of Keras' grouped
convolutions and batch normalizations is slower.
"""

import zipfile

import keras

from keras_tricks import layers as zoo
from keras_tricks.export.deploy import Normalize
from keras_tricks.layers.chain import Chain
from keras_tricks.utils.types import Path

K = keras.layers
PACKAGE = "keras_tricks"


def stock(model: keras.Model) -> keras.Model:
    """The same model built from Keras' own layers where they exist. `model` is not changed.

    Args:
        model: built functional `keras.Model`. Any other model is returned unchanged.

    Returns:
        A `keras.Model` with the name, inputs and outputs of `model`.
    """
    if not _is_functional(model):
        return model
    plain = keras.Model(model.input, model.output, name=model.name)  # a compiled model would be compiled again
    return keras.models.clone_model(plain, clone_function=lambda layer: layer, call_function=_Caller())


def needs_package(path: Path) -> bool:
    """Whether a `.keras` file contains layers of this package, which must be imported before the file is opened."""
    with zipfile.ZipFile(path) as archive:
        return PACKAGE.encode() in archive.read("config.json")


class _Caller:
    """Calls Keras' layers in place of ours."""

    def __init__(self):
        self.made = {}  # {(id of a layer, name): its copy}: a layer called twice has one copy

    def __call__(self, operation, *args, **kwargs):
        if isinstance(operation, keras.Model) and _is_functional(operation):
            return self._copy(operation, lambda: stock(operation), operation.name)(*args, **kwargs)
        if not isinstance(operation, K.Layer):
            return operation(*args, **kwargs)
        return self.call(operation, operation.name, *args, **kwargs)

    def call(self, layer, name, x, *args, **kwargs):
        if isinstance(layer, Normalize):
            variance = [std * std for std in layer.std]
            return self._new(layer, K.Normalization, name, x, mean=list(layer.mean), variance=variance)
        if isinstance(layer, Chain):
            for inner in layer.layers:
                x = self.call(inner, f"{name}_{inner.name}", x)
            return x
        if isinstance(layer, zoo.SqueezeExcite):
            return self._squeeze_excite(layer, name, x)
        if isinstance(layer, zoo.ScaledActivation):
            return self._scaled_activation(layer, name, x)
        if isinstance(layer, zoo.DropPath):
            if not layer.rate or not layer.rescale:
                return x
            noise = (None, *(1,) * (len(x.shape) - 1))
            return self._new(layer, K.Dropout, name, x, rate=layer.rate, noise_shape=noise, seed=layer.seed)
        if isinstance(layer, zoo.BatchNormalization):
            return self._own(layer, K.BatchNormalization, name, x, options={"synchronized": False})
        if isinstance(layer, zoo.GroupedConv2D):
            return self._own(layer, K.Conv2D, name, x)
        return self._own(layer, type(layer), name, x, *args, **kwargs)

    def _squeeze_excite(self, layer, name, x):
        gate = x
        for inner in layer.layers:
            gate = self.call(inner, f"{name}_{inner.name}", gate)
        if layer.scale != 1.0:
            gate = self._new(layer, K.Rescaling, f"{name}_scale", gate, scale=layer.scale)
        return self._new(layer, K.Multiply, name, [x, gate])

    def _scaled_activation(self, layer, name, x):
        if layer.activation == "gelu_tanh":
            x = keras.ops.gelu(x, approximate=True)
        elif layer.activation == "leaky_relu":
            x = self._new(layer, K.LeakyReLU, name, x, negative_slope=0.01)
        elif layer.activation not in ("identity", "linear"):
            x = self._new(layer, K.Activation, name, x, activation=layer.activation)
        return x if layer.factor == 1.0 else self._new(layer, K.Rescaling, f"{name}_gain", x, scale=layer.factor)

    def _new(self, layer, kind, name, x, **config):
        """Calls a layer without weights, in the precision of the one it replaces."""
        return self._copy(layer, lambda: kind(name=name, dtype=layer.dtype_policy, **config), name)(x)

    def _own(self, layer, kind, name, x, *args, options=None, **kwargs):
        """Calls a layer of a kind that has the weights and the arguments of `layer`, but for `options`."""
        config = {k: v for k, v in layer.get_config().items() if k != "ghost_size" and not _is_ours(v)}
        config |= {"name": name, **(options or {})}
        copy = self._copy(layer, lambda: kind.from_config(config), name)
        outputs = copy(x, *args, **kwargs)
        copy.set_weights(layer.get_weights())
        return outputs

    def _copy(self, layer, make, name):
        key = id(layer), name
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]


def _is_ours(value):
    """Whether a value of a config, such as an initializer, is a class of this package."""
    return isinstance(value, dict) and str(value.get("registered_name", "")).startswith(PACKAGE)


def _is_functional(model):
    return type(model).__name__ == "Functional"
