"""Two models of `keras.applications` by zoo name: the Bag of Tricks refines them too (arXiv:1812.01187, table 6)."""

import re

import keras

from keras_tricks.models.heads import finish
from keras_tricks.models.registry import variant


def Application(builder, default_size, include_top=True, weights=None, input_tensor=None, input_shape=None,
                pooling=None, classes=1000, classifier_activation="softmax", name=None, *, dropout_rate=None):
    """A `keras.applications` model. `dropout_rate` is only for those that have one (MobileNet); see Keras for the rest.

    `classifier_activation=None` gives logits. The last layers compute in float32 under mixed precision.
    """
    build = getattr(keras.applications, builder)
    extra = {} if dropout_rate is None else {"dropout": dropout_rate}
    input_shape = input_shape or ((default_size, default_size, 3) if include_top else None)
    model = build(include_top=include_top, weights=None, input_tensor=input_tensor, input_shape=input_shape,
                  pooling=pooling, classes=classes, classifier_activation=classifier_activation, name=name, **extra)
    if input_tensor is None:
        model = _with_fixed_names(model)
    outputs = model.output
    if include_top and keras.config.dtype_policy().compute_dtype != "float32":
        outputs = keras.layers.Activation("linear", dtype="float32", name="head_float32")(outputs)
    return finish(model.input, outputs, name, weights)


def _with_fixed_names(model):
    """The model, its layers `conv2d_94 ... conv2d_187` renamed `conv2d ... conv2d_93`, so that weight files fit.

    Keras numbers unnamed layers over the whole process: without this the names depend on what was built before.
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
    "InceptionV3", Application, key="inception_v3", builder="InceptionV3", default_size=299, paper="1512.00567",
    info=dict(input_size=(299, 299, 3), test_input_size=(299, 299, 3)),
)
MobileNet = variant("MobileNet", Application, builder="MobileNet", default_size=224, paper="1704.04861")
