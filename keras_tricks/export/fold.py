"""Folding: the same outputs from fewer operations. Operations that only training needs become plain convolutions.

    batch normalization after a convolution         into its kernel and bias
    standardized kernels and their gains            into a plain kernel
    constants after an activation                   into the convolutions that read it
    alpha, skip gain after a convolution or a gate  into its kernel and bias, into the gate
    dropout, drop path                              removed

A batch normalization that does not follow a convolution, such as the first one of a pre-activation block, remains.
"""

import dataclasses

import keras
import numpy as np

from keras_tricks import layers as zoo
from keras_tricks.layers.chain import Chain
from keras_tricks.utils.errors import UserError
from keras_tricks.utils.graph import Graph, deep_graphs, every_layer, packed

K = keras.layers
INFERENCE_NOOPS = (K.Dropout, K.SpatialDropout2D, K.GaussianNoise, K.Identity, zoo.DropPath)
# Layers that commute with a positive factor.
HOMOGENEOUS = (K.ZeroPadding2D, K.Cropping2D, K.AveragePooling2D, K.GlobalAveragePooling2D, K.MaxPooling2D, K.Flatten)


def fold(model: keras.Model) -> keras.Model:
    """A model for inference with the same outputs and fewer operations. `model` is not changed.

    Args:
        model: built functional or sequential `keras.Model` from this zoo, `keras.applications` or your own code. Its
            current moving statistics are used.

    Returns:
        A float32 functional `keras.Model` with the name, inputs and outputs of `model`. Layers of inner models become
        its own. A convolution that is called twice becomes two, because what follows it may differ.

    Raises:
        UserError: the model, or a model inside it, is subclassed or not built; it is compiled with trainable batch
            normalization, whose statistics would still change; a layer has no config to copy it from.
    """
    graph = Graph(model)
    _check_statistics(model)
    inputs = [keras.Input(batch_shape=t.shape, dtype=t.dtype, name=t.name) for t in model.inputs]
    values = _Folding(graph, inputs).values
    outputs = [values[id(t)].tensor() for t in graph.outputs]
    with deep_graphs():
        return keras.Model(packed(model, "input", inputs), packed(model, "output", outputs), name=model.name)


def _check_statistics(model):
    norms = [layer for layer in every_layer(model) if isinstance(layer, K.BatchNormalization) and layer.trainable]
    if norms and getattr(model, "optimizer", None) is not None:
        raise UserError(
            f"{model.name} is compiled for training and its {len(norms)} batch normalizations, {norms[0].name!r} "
            "first, are trainable: folding would fix statistics that still change. Set `model.trainable = False` after "
            "training.")


# A value represents a tensor of the old model. It is a convolution that is not built yet, so that later layers can be
# folded into it, or a tensor with a constant factor to fold into the convolutions that read it.


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
    """A convolution or dense layer to build with these weights."""

    layer: K.Layer
    name: str
    source: keras.KerasTensor
    kernel: np.ndarray
    bias: np.ndarray
    made: keras.KerasTensor | None = None

    @property
    def foldable(self):
        """Whether the next layer can be folded into this one."""
        return self.layer.activation in (None, keras.activations.linear)

    def with_affine(self, scale, shift=0.0):
        """The same layer with its output scaled and shifted, by numbers or by one value per channel."""
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
    """A squeeze-excite to build with this factor."""

    layer: zoo.SqueezeExcite
    name: str
    source: keras.KerasTensor
    factor: float = 1.0
    made: keras.KerasTensor | None = None
    foldable = True

    def with_affine(self, scale, shift=0.0):
        return dataclasses.replace(self, factor=self.factor * scale)

    def tensor(self):
        if self.made is None:
            self.made = _clone(self.layer, self.name, self.source, scale=self.layer.scale * self.factor)
        return self.made


class _Folding:
    """Folds the calls of a graph one after the other. `values`: {id of a tensor: value}."""

    def __init__(self, graph, inputs):
        self.graph = graph
        self.values = {id(old): _Ready(new) for old, new in zip(graph.inputs, inputs, strict=True)}
        self.names, self.copies = set(), {}
        for call in graph.calls:
            sources = [self.values[id(t)] for t in call.inputs]
            self.values.update(zip(map(id, call.outputs), self._call(call, sources), strict=True))

    def _call(self, call, sources):
        sole_reader = (len(call.inputs) == 1 and self.graph.consumers(call.inputs[0]) == [call]
                       and not self.graph.is_output(call.inputs[0]))
        name = self._name(call)
        if sources and isinstance(call.layer, K.Layer):
            folded = _fold(call.layer, name, sources, sole_reader)
            if folded is not None:
                return folded
        return [_Ready(t) for t in keras.tree.flatten(self._copied(call, name))]

    def _copied(self, call, name):
        """Calls a copy of the layer; one copy for all calls of a layer."""
        def new(leaf):
            return self.values[id(leaf)].tensor() if isinstance(leaf, keras.KerasTensor) else leaf

        args, kwargs = keras.tree.map_structure(new, (call.args, call.kwargs))
        layer = call.layer
        if id(layer) not in self.copies:
            self.copies[id(layer)] = _copy(layer, name)
        outputs = self.copies[id(layer)](*args, **kwargs)
        if isinstance(layer, K.Layer):
            self.copies[id(layer)].set_weights(layer.get_weights())
        return outputs

    def _name(self, call):
        """The layer's name; with the models around it, and a number, where that is taken."""
        names = [call.layer.name, call.name.replace("/", "_")]
        names += (f"{names[1]}_{number}" for number in range(2, 2 + len(self.graph.calls)))
        name = next(n for n in names if n not in self.names)
        self.names.add(name)
        return name


def _fold(layer, name, sources, sole_reader):
    """Values of a layer's outputs, or `None` for a layer that stays. `sole_reader`: no other call reads its input."""
    source = sources[0]
    foldable = sole_reader and not isinstance(source, _Ready) and source.foldable
    if isinstance(layer, INFERENCE_NOOPS):
        return [source]
    if isinstance(layer, Chain):
        for inner in layer.layers:
            inner_name, alone = f"{name}_{inner.name}", sole_reader or inner is not layer.layers[0]
            folded = _fold(inner, inner_name, [source], alone)
            (source,) = folded or [_Ready(_clone(inner, inner_name, source.tensor()))]
        return [source]
    if isinstance(layer, (K.Conv2D, K.DepthwiseConv2D, K.Dense)):
        return [_linear(layer, name, source)]
    if isinstance(layer, K.BatchNormalization) and foldable and isinstance(source, _Linear) and _is_last_axis(layer):
        return [source.with_affine(*_scale_and_shift(layer))]
    if isinstance(layer, zoo.SqueezeExcite):
        return [_Gate(layer, name, source.tensor())]
    factor = _factor(layer)
    if factor is not None:
        return [source.with_affine(factor) if foldable else _Ready(source.tensor(), factor)]
    if isinstance(layer, zoo.ScaledActivation):
        plain = zoo.ScaledActivation(layer.activation, "none", name=name, dtype="float32")
        return [_Ready(plain(source.tensor()), layer.factor)]
    if isinstance(layer, zoo.ScalarBias):
        bias = float(keras.ops.convert_to_numpy(layer.bias))
        return [_Ready(K.Rescaling(1.0, bias, name=name, dtype="float32")(source.tensor()))]
    if isinstance(layer, HOMOGENEOUS) and isinstance(source, _Ready) and source.factor > 0:
        return [_Ready(_clone(layer, name, source.made), source.factor)]
    return None


def _is_last_axis(norm):
    return norm.axis == -1 or (norm.input_spec is not None and norm.axis == norm.input_spec.ndim - 1)


def _factor(layer):
    """The constant by which a layer multiplies its input; `None` for other layers."""
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
    copy = _copy(layer, name, **changes)
    outputs = copy(inputs)
    copy.set_weights(layer.get_weights())
    return outputs


def _copy(layer, name, **changes):
    """A copy of a layer, in float32, or of an operation such as `x + y`, without weights yet."""
    try:
        config = layer.get_config()
        if isinstance(layer, K.Layer):
            config = {**config, "dtype": "float32", "name": name, **changes}
        return type(layer).from_config(config)
    except (NotImplementedError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"fold cannot copy layer {layer.name!r} ({type(layer).__name__}): {reason}") from error
