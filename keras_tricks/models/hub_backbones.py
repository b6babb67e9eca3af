"""Backbones of keras-hub as classifiers, by name.

    keras_hub.models:ResNetBackbone    the class; `options` are its arguments
    keras_hub:resnet_18_imagenet       a preset, whose configuration keras-hub downloads or has in its cache

Average pooling and a Dense layer without activation follow the backbone. With `options={"load_weights": true}` a preset
has its weights; without it they are initial.
"""

from collections.abc import Callable
from typing import Any

import keras

from keras_tricks.utils.errors import UserError, one_line

MODULE = "keras_hub"


def is_preset(path: str) -> bool:
    """Whether an import path has the form `keras_hub:<preset>`."""
    return path.partition(":")[0] == MODULE


def is_backbone(found: Any) -> bool:
    """Whether an object is a class of backbones of keras-hub."""
    return isinstance(found, type) and found.__module__.startswith(f"{MODULE}.") and hasattr(found, "from_preset") and (
        found.__name__.endswith("Backbone"))


def builder(found: Any, name: str) -> Callable[..., keras.Model]:
    """A function `(input_shape, classes, **options)` that builds a classifier.

    Args:
        found: class of backbones, or the name of a preset.
        name: its name in messages.
    """

    def build(input_shape, classes, **options):
        backbone = _of_preset(found, input_shape, options) if isinstance(found, str) else found(
            image_shape=input_shape, **options)
        features = backbone.output
        if not hasattr(features, "shape"):
            raise UserError(f"`model.name`: the backbone of {name} has several outputs: build the model in a function "
                            "of your own, mypackage.nets:build.")
        if len(features.shape) == 4:
            features = keras.layers.GlobalAveragePooling2D(name="head_pool")(features)
        elif len(features.shape) == 3:
            features = keras.layers.GlobalAveragePooling1D(name="head_pool")(features)
        outputs = keras.layers.Dense(classes, dtype="float32", name="head")(features)
        return keras.Model(backbone.input, outputs, name=backbone.name)

    return build


def _of_preset(preset, input_shape, options):
    try:
        import keras_hub
    except ImportError:
        raise UserError(f"`model.name` is keras_hub:{preset}, and keras-hub is not installed: pip install keras-hub.") \
            from None
    try:
        return keras_hub.models.Backbone.from_preset(preset, **{"load_weights": False, "image_shape": input_shape,
                                                                **options})
    except Exception as error:
        why = one_line(error)[:300].rstrip(".")
        raise UserError(f"`model.name`: keras-hub cannot open its preset {preset}: {why}. A preset that is not in "
                        "keras-hub's cache needs a network; keras_hub.models:NAME needs none.") from error
