"""The same outputs from fewer operations: what only training needs is folded into plain convolutions.

    batch normalization after a convolution         into its kernel and bias
    standardized kernels and their gains            into a plain kernel
    constants after an activation                   into the convolutions that read it
    alpha, skip gain after a convolution or a gate  into its kernel and bias, into the gate
    dropout, drop path                              gone

A batch normalization that follows no convolution, such as the first one of a pre-activation block, stays.
"""

import dataclasses

import keras
import numpy as np

from keras_tricks import layers as zoo
from keras_tricks.layers.chain import Chain
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.graph import Graph, tensors

K = keras.layers
INFERENCE_NOOPS = (K.Dropout, K.SpatialDropout2D, K.GaussianNoise, K.Identity, zoo.DropPath)
# Layers that commute with a positive factor.
HOMOGENEOUS = (K.ZeroPadding2D, K.Cropping2D, K.AveragePooling2D, K.GlobalAveragePooling2D, K.MaxPooling2D, K.Flatten)


def fold(model):
    """A model for inference with the same outputs and fewer operations. The given model is not changed.

    Args:
        model: built functional `keras.Model` of this zoo, `keras.applications` or your own, whose layers are called
            once. The moving statistics it has now are used.

    Returns:
        A float32 `keras.Model` with the name, inputs and outputs of the one given.

    Raises:
        UserError: not a functional model, a layer called more than once, or a compiled model whose batch normalization
            is trainable: its training would go on with other statistics.
    """
    _check(model)
    inputs = [keras.Input(batch_shape=t.shape, dtype=t.dtype, name=t.name) for t in model.inputs]
    values = _walk(model, inputs)
    outputs = keras.tree.map_structure(lambda t: values[id(t)].tensor(), model.output)
    return keras.Model(keras.tree.pack_sequence_as(model.input, inputs), outputs, name=model.name)


def _check(model):
    if not (isinstance(model, keras.Model) and model.built and tensors(model, "input") is not None):
        raise UserError(f"fold takes a built functional `keras.Model`. Received: {model!r}")
    norms = [layer for layer in model.layers if isinstance(layer, K.BatchNormalization) and layer.trainable]
    if norms and getattr(model, "optimizer", None) is not None:
        raise UserError(
            f"{model.name} is compiled for training and its {len(norms)} batch normalizations, {norms[0].name!r} "
            "first, are trainable: folding would fix statistics that still move. Set `model.trainable = False` when "
            "training is over.")


# A value stands for a tensor of the old model. It may be a convolution that is not made yet, waiting for what follows
# to be folded into it, or a tensor whose constant factor waits for the convolutions that read it.


@dataclasses.dataclass
class _Ready:
    """`factor` times a tensor."""

    made: keras.KerasTensor
    factor: float = 1.0

    def tensor(self):
        if self.factor != 1.0:
            self.made, self.factor = K.Rescaling(self.factor, dtype="float32")(self.made), 1.0
        return self.made


@dataclasses.dataclass
class _Linear:
    """A convolution or dense layer to be made with these weights."""

    layer: K.Layer
    name: str
    source: keras.KerasTensor
    kernel: np.ndarray
    bias: np.ndarray
    made: keras.KerasTensor | None = None

    @property
    def open(self):
        """Whether what follows can be folded in."""
        return self.layer.activation in (None, keras.activations.linear)

    def then(self, scale, shift=0.0):
        """The same, its output multiplied and moved; numbers or one per channel."""
        kernel_scale = np.reshape(scale, self.kernel.shape[2:]) if self._depthwise() and np.ndim(scale) else scale
        return dataclasses.replace(self, kernel=self.kernel * kernel_scale, bias=self.bias * scale + shift)

    def _depthwise(self):
        return isinstance(self.layer, K.DepthwiseConv2D)

    def tensor(self):
        if self.made is None:
            plain = _plain(self.layer, self.name)
            self.made = plain(self.source)
            plain.set_weights([self.kernel, self.bias])
        return self.made


@dataclasses.dataclass
class _Gate:
    """A squeeze-excite to be made with this factor."""

    layer: zoo.SqueezeExcite
    source: keras.KerasTensor
    factor: float = 1.0
    made: keras.KerasTensor | None = None
    open = True

    def then(self, scale, shift=0.0):
        return dataclasses.replace(self, factor=self.factor * scale)

    def tensor(self):
        if self.made is None:
            self.made = _clone(self.layer, self.layer.name, self.source, scale=self.layer.scale * self.factor)
        return self.made


def _walk(model, inputs):
    """{id of a tensor of `model`: value}, from its new inputs."""
    graph = Graph(model)
    values = {id(old): _Ready(new) for old, new in zip(model.inputs, inputs, strict=True)}
    outputs = {id(t) for t in model.outputs}
    for layer in model.layers:
        if isinstance(layer, K.InputLayer):
            continue
        if isinstance(layer, keras.Model):
            raise UserError(f"{model.name} holds the model {layer.name!r}: fold that one, and build around it again.")
        sources, results = (keras.tree.flatten(tensors(layer, side)) for side in ("input", "output"))
        _known(sources, values, model, layer)
        alone = len(sources) == 1 and len(graph.consumers[id(sources[0])]) == 1 and id(sources[0]) not in outputs
        made = _fold(layer, layer.name, [values[id(t)] for t in sources], alone)
        values.update(zip(map(id, results), made, strict=True))
    _known(model.outputs, values, model, model.layers[-1])
    return values


def _known(wanted, values, model, layer):
    if any(id(t) not in values for t in wanted):
        raise UserError(f"fold cannot follow {model.name} to layer {layer.name!r}: a layer is called more than once, "
                        "or an operation is used that is no layer.")


def _fold(layer, name, sources, alone):
    """The values of a layer's outputs. `alone`: nobody else reads its only input."""
    source = sources[0]
    waiting = alone and not isinstance(source, _Ready) and source.open
    if isinstance(layer, INFERENCE_NOOPS):
        return [source]
    if isinstance(layer, Chain):
        for inner in layer.layers:
            (source,) = _fold(inner, f"{name}_{inner.name}", [source], alone or inner is not layer.layers[0])
        return [source]
    if isinstance(layer, (K.Conv2D, K.DepthwiseConv2D, K.Dense)):
        return [_linear(layer, name, source)]
    if isinstance(layer, K.BatchNormalization) and waiting and isinstance(source, _Linear):
        return [source.then(*_scale_and_shift(layer))]
    if isinstance(layer, zoo.SqueezeExcite):
        return [_Gate(layer, source.tensor())]
    factor = _factor(layer)
    if factor is not None:
        return [source.then(factor) if waiting else _Ready(source.tensor(), factor)]
    if isinstance(layer, zoo.ScaledActivation):
        plain = zoo.ScaledActivation(layer.activation, "none", name=name, dtype="float32")
        return [_Ready(plain(source.tensor()), layer.factor)]
    if isinstance(layer, HOMOGENEOUS) and isinstance(source, _Ready) and source.factor > 0:
        return [_Ready(_clone(layer, name, source.made), source.factor)]
    made = _clone(layer, name, [s.tensor() for s in sources] if len(sources) > 1 else source.tensor())
    return [_Ready(t) for t in keras.tree.flatten(made)]


def _factor(layer):
    """The number a layer multiplies with; `None` for every other layer."""
    if isinstance(layer, zoo.SkipGain):
        return float(keras.ops.convert_to_numpy(layer.gain)) * layer.scale
    if isinstance(layer, K.Rescaling) and np.ndim(layer.scale) == 0 and np.all(np.asarray(layer.offset) == 0):
        return float(layer.scale)
    return None


def _linear(layer, name, source):
    kernel = layer.standardized_kernel() if hasattr(layer, "standardized_kernel") else layer.kernel
    kernel = keras.ops.convert_to_numpy(kernel).astype("float64")
    channels = kernel.shape[-1] * (kernel.shape[-2] if isinstance(layer, K.DepthwiseConv2D) else 1)
    bias = keras.ops.convert_to_numpy(layer.bias).astype("float64") if layer.use_bias else np.zeros(channels)
    if isinstance(source, _Ready):
        return _Linear(layer, name, source.made, kernel * source.factor, bias)
    return _Linear(layer, name, source.tensor(), kernel, bias)


def _scale_and_shift(norm):
    """A batch normalization at inference, as one multiplication and one addition per channel."""
    mean, variance, gamma, beta = (
        None if v is None else keras.ops.convert_to_numpy(v).astype("float64")
        for v in (norm.moving_mean, norm.moving_variance, norm.gamma, norm.beta)
    )
    scale = (1.0 if gamma is None else gamma) / np.sqrt(variance + norm.epsilon)
    return scale, (0.0 if beta is None else beta) - mean * scale


def _plain(layer, name):
    """An unbuilt Conv2D, DepthwiseConv2D or Dense in float32, with bias."""
    common = dict(activation=layer.activation, name=name, dtype="float32")
    if isinstance(layer, K.Dense):
        return K.Dense(layer.units, **common)
    shared = dict(kernel_size=layer.kernel_size, strides=layer.strides, padding=layer.padding,
                  dilation_rate=layer.dilation_rate, **common)
    if isinstance(layer, K.DepthwiseConv2D):
        return K.DepthwiseConv2D(depth_multiplier=layer.depth_multiplier, **shared)
    if layer.groups > 1:
        return zoo.GroupedConv2D(layer.filters, groups=layer.groups, **shared)
    return K.Conv2D(layer.filters, **shared)


def _clone(layer, name, inputs, **changes):
    """Calls a copy of a layer, in float32, with the same weights."""
    copy = type(layer).from_config({**layer.get_config(), "dtype": "float32", "name": name, **changes})
    outputs = copy(inputs)
    copy.set_weights(layer.get_weights())
    return outputs
