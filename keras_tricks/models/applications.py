"""Two models of `keras.applications` under zoo names: the Bag of Tricks refines them (arXiv:1812.01187, table 6)."""

import inspect
import re
from typing import Any

import keras

from keras_tricks.models.heads import finish
from keras_tricks.models.registry import variant
from keras_tricks.utils.errors import UserError, check_choice
from keras_tricks.utils.types import Activation, Path, Shape


def Application(builder: str, default_size: int, include_top: bool = True, weights: Path | None = None,
                input_tensor: Any = None, input_shape: Shape | None = None, pooling: str | None = None,
                classes: int = 1000, classifier_activation: Activation | None = "softmax", name: str | None = None, *,
                dropout_rate: float | None = None) -> keras.Model:
    """A `keras.applications` model. The other arguments are those of Keras.

    Args:
        dropout_rate: float in [0, 1), before the classifier. Defaults to `None`: that of Keras, 0.001 for MobileNet and
            none for Inception-v3 (gluon-cv, with which the Bag of Tricks was trained: 0 and 0.5).

    `classifier_activation=None` gives logits. The last layers compute in float32 under mixed precision.
    """
    build = getattr(keras.applications, builder)
    check_choice("pooling", pooling, (None, "avg", "max"))  # Keras ignores other words
    built_in = "dropout" in inspect.signature(build).parameters
    extra = {} if dropout_rate is None or not built_in else {"dropout": dropout_rate}
    input_shape = input_shape or ((default_size, default_size, 3) if include_top else None)
    try:
        dropout = keras.layers.Dropout(dropout_rate or 0.0, name="dropout")
        model = build(include_top=include_top, weights=None, input_tensor=input_tensor, input_shape=input_shape,
                      pooling=pooling, classes=classes, classifier_activation=classifier_activation, name=name, **extra)
    except (ValueError, TypeError) as error:
        raise UserError(f"{builder} of keras.applications: {' '.join(str(error).split())}") from error
    if input_tensor is None:
        model = _with_fixed_names(model)
    outputs = model.output
    if include_top and dropout_rate and not built_in:
        outputs = model.layers[-1](dropout(model.layers[-1].input))
    if include_top and keras.config.dtype_policy().compute_dtype != "float32":
        outputs = keras.layers.Activation("linear", dtype="float32", name="head_float32")(outputs)
    return finish(model.input, outputs, name, weights)


def _with_fixed_names(model):
    """The model with its layers `conv2d_94 ... conv2d_187` renamed to `conv2d ... conv2d_93`, so that weight files fit.

    Keras numbers unnamed layers across the whole process, so their names depend on the models built before.
    """
    kinds = "conv2d|batch_normalization|activation|average_pooling2d|max_pooling2d"
    found = {layer.name: re.fullmatch(rf"({kinds})(?:_(\d+))?", layer.name) for layer in model.layers}
    unnamed = {name: (match[1], int(match[2] or 0)) for name, match in found.items() if match}
    if not unnamed:
        return model
    first = {kind: min(n for k, n in unnamed.values() if k == kind) for kind, _ in unnamed.values()}

    def renamed(layer):
        config = layer.get_config()
        if layer.name in unnamed:
            kind, number = unnamed[layer.name]
            config["name"] = f"{kind}_{number - first[kind]}" if number > first[kind] else kind
        return layer.__class__.from_config(config)

    return keras.models.clone_model(model, clone_function=renamed)


InceptionV3 = variant(
    "InceptionV3", Application, "InceptionV3", 299, key="inception_v3", paper="1512.00567",
    info=dict(input_size=(299, 299, 3), test_input_size=(299, 299, 3)),
)
MobileNet = variant("MobileNet", Application, "MobileNet", 224, paper="1704.04861")
