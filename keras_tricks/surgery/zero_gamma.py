"""Zero gamma for an existing model.

Finds the last batch normalization of every residual branch by traversing the graph backwards from each `Add`, and sets
its gamma to 0. See `keras_tricks/initializers/zero_gamma.py` for the trick.
"""

import warnings

import keras

from keras_tricks.layers import DropPath
from keras_tricks.layers.chain import Chain
from keras_tricks.utils.graph import Graph, every_layer

# Layers allowed between the last normalization of a branch and the addition: they map zero to zero.
TRANSPARENT = (keras.layers.Dropout, keras.layers.ReLU, keras.layers.Identity, keras.layers.MaxPooling2D,
               keras.layers.AveragePooling2D, keras.layers.ZeroPadding2D, DropPath)


def zero_gamma(model: keras.Model) -> list[str]:
    """Sets the gamma of the last batch normalization of each residual branch to 0, in place.

    An `Add` of two tensors (or `x + y`) is residual if one side, the shortcut, has at most one convolution between it
    and the common ancestor, and the other side, the branch, has more. The normalization of the shortcut keeps its
    gamma, as does one whose output is also read elsewhere. Models inside the model are searched too.

    Args:
        model: built functional or sequential `keras.Model`, from this zoo, `keras.applications` or your own code.

    Returns:
        The names of the changed layers, in graph order. For a model without a residual addition the list is empty and a
        warning is raised. A warning names a layer of your own with normalization inside, which is not searched.

    Raises:
        UserError: the model, or a model inside it, is subclassed or not built.
    """
    graph = Graph(model)
    norms = [norm for add in graph.additions() if (norm := _last_norm(graph, _branch(graph, add), add)) is not None]
    calls = [call.layer for call in graph.calls]
    changed = []
    for norm in dict.fromkeys(norms):
        if norms.count(norm) == calls.count(norm):  # a shared layer must end a branch wherever it is called
            norm.gamma.assign(keras.ops.zeros(norm.gamma.shape))
            changed.append(norm.name)
    hidden = next((layer for layer in calls if _normalizes_inside(layer)), None)
    if hidden is not None:
        warnings.warn(f"zero_gamma did not search inside {hidden.name} ({type(hidden).__name__}), a layer with batch "
                      "normalization whose own code calls it.", stacklevel=2)
    elif not changed:
        message = f"zero_gamma changed nothing: {model.name} has no addition with a normalized branch."
        warnings.warn(message, stacklevel=2)
    return changed


def _branch(graph, add):
    """The residual branch of an addition, or `None` if neither side is a shortcut."""
    counts = graph.convolutions(*add.inputs)
    if min(counts) > 1 or counts[0] == counts[1]:
        return None
    return add.inputs[counts[1] > counts[0]]


def _last_norm(graph, tensor, reader):
    """The batch normalization that outputs `tensor`, ignoring layers that map zero to zero; `None` if there is none."""
    call = None if tensor is None else graph.producer(tensor)
    if call is None or graph.consumers(tensor) != [reader] or graph.is_output(tensor):
        return None
    if isinstance(call.layer, keras.layers.BatchNormalization):
        return call.layer if call.layer.scale else None
    return _last_norm(graph, call.inputs[0], call) if _keeps_zero(call.layer) else None


def _keeps_zero(layer):
    if isinstance(layer, keras.layers.Activation):
        return float(keras.ops.convert_to_numpy(layer.activation(keras.ops.zeros((1, 1))))[0, 0]) == 0.0
    return isinstance(layer, TRANSPARENT)


def _normalizes_inside(layer):
    """Whether a layer other than ours calls batch normalization in its own code."""
    if not isinstance(layer, keras.layers.Layer) or isinstance(layer, Chain):
        return False
    return any(isinstance(inner, keras.layers.BatchNormalization) for inner in every_layer(layer))
