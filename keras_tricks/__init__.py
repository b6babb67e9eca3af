"""Published image-classification results, obtainable in Keras with one command, the same on any number of devices.

The data flow, which is also the order of a `Recipe`'s sections, of `training.py` and of the README:

    data       images on disk                                   encoded bytes or uint8 (h, w, 3)
      |  kt.data        decode, crop, resize                    float32 (size, size, 3), 0-255
    augment    kt.data  flip, colour, RandAugment, mixing       float32 (batch, size, size, 3), normalized
      |                                                         float32 (batch, classes), soft labels
    model      kt.models, kt.layers, kt.initializers            float32 (batch, classes), logits
      |
    loss       kt.losses                                        float32 scalar
      |
    optimizer  kt.optimizers                                    one update per variable
      |
    schedule   kt.schedules, kt.callbacks                       learning rate and batch size at every update
      |
    train      kt.train, `keras-tricks train`                   runs/<name>/: summary.csv, curves.png, checkpoints
      |
    export     kt.export                                        .keras, SavedModel: pixels in, probabilities out

`kt.surgery` changes a model that is already there, `kt.weights` reads the weights of others, `kt.analysis` looks at a
model without training it.

Models, layers, losses, optimizers and schedules use `keras` and `keras.ops` only and run on every Keras backend; what
needs TensorFlow (`kt.data`, `kt.distribution`, training) is imported when first used.
"""

import contextlib
import importlib

from keras_tricks import quiet

__version__ = "0.1.0"

# Registered classes must exist before a file that names them is loaded, so these are imported at once.
with quiet.native_notes_held_back() if quiet.is_program() else contextlib.nullcontext():
    from keras_tricks import analysis, callbacks, export, initializers, layers, losses, models
    from keras_tricks import ops, optimizers, schedules, surgery, weights

_LAZY = {
    "data": "keras_tricks.data",
    "distribution": "keras_tricks.distribution",
    "train": "keras_tricks.training:train",
    "evaluate": "keras_tricks.evaluation:evaluate",
    "Recipe": "keras_tricks.recipe:Recipe",
    "load_recipe": "keras_tricks.recipe:load_recipe",
    "list_recipes": "keras_tricks.recipe:list_recipes",
}


def __getattr__(name):
    if name not in _LAZY:
        raise AttributeError(f"module 'keras_tricks' has no attribute {name!r}")
    module, _, attribute = _LAZY[name].partition(":")
    found = importlib.import_module(module)
    return getattr(found, attribute) if attribute else found


def __dir__():
    return sorted([*globals(), *_LAZY])
